//! `STERNA_FUZZ=NAME cargo fuzz run --features libfuzzer any corpus/NAME` fuzzes the target called NAME.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<sterna_fuzz::Target> = LazyLock::new(|| {
    let name = std::env::var("STERNA_FUZZ").expect("set STERNA_FUZZ to the name of a target");
    sterna_fuzz::target(&name).expect("no target has that name")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));

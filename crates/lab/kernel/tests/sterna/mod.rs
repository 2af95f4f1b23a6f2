//! The program under test.

use std::path::PathBuf;

/// `$STERNA_BIN`, or `sterna` beside the test's own target directory; `None` and a word on standard error if it has not
/// been built. In CI it must be there.
pub(crate) fn program() -> Option<PathBuf> {
    let beside = || {
        let test = std::env::current_exe().expect("a test knows its own file");
        test.ancestors().nth(2).expect("it lies in target/debug/deps").join("sterna")
    };
    let path = std::env::var_os("STERNA_BIN").map_or_else(beside, PathBuf::from);
    if path.is_file() {
        return Some(path);
    }
    let missing = format!("{} is not there; build it with `cargo build -p sterna-cli`", path.display());
    assert!(std::env::var_os("CI").is_none(), "{missing}");
    eprintln!("SKIPPED: {missing}");
    None
}

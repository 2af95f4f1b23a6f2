//! Interop tests against third-party peers: browsers, coturn, aiortc.
//!
//! A third-party program that is missing is a visible skip on a person's machine and a failure in CI; see [`missing`].

mod foreign;

use std::path::{Path, PathBuf};

pub use foreign::Foreign;

/// Says that a third-party program is missing: loudly in CI (`CI` is set), where it must not be.
///
/// # Panics
/// In CI.
pub fn missing(program: &str) {
    let message = format!("{program} is missing; `cargo xtask install` installs it");
    assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{message}");
    eprintln!("SKIPPED: {message}");
}

/// The Python that has the packages of the tests: `STERNA_PYTHON`, or where xtask puts it.
pub fn python() -> Option<PathBuf> {
    let told = std::env::var_os("STERNA_PYTHON").map(PathBuf::from);
    let usual = PathBuf::from(FOLDER).join("../../../target/python/bin/python");
    told.into_iter().chain([usual]).find(|path| path.exists())
}

/// Chromium, where distributions put it.
pub fn chromium() -> Option<&'static Path> {
    ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
        .into_iter()
        .map(Path::new)
        .find(|path| path.exists())
}

/// Whether `npm ci` was run here.
pub fn packages() -> bool {
    Path::new(FOLDER).join("node_modules/playwright-core").exists()
}

/// Where this crate lies, with the scripts of the tests.
pub const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

/// The `sterna` program: `STERNA_BIN`, or the one beside the tests.
pub fn sterna() -> Option<PathBuf> {
    let told = std::env::var_os("STERNA_BIN").map(PathBuf::from);
    // Tests lie in target/debug/deps, programs in target/debug.
    let beside = std::env::current_exe().ok().and_then(|test| Some(test.parent()?.parent()?.join("sterna")));
    told.into_iter().chain(beside).find(|path| path.exists())
}

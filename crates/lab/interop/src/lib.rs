//! Interop tests against third-party peers: browsers, coturn, aiortc, GStreamer.
//!
//! A third-party program that is missing is a visible skip on a person's machine and a failure in CI; see [`missing`].

mod foreign;

use std::path::{Path, PathBuf};
use std::process::Stdio;

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

/// The system's Python, if GStreamer's webrtcbin and what scripts need of it are there.
pub fn gstreamer() -> Option<PathBuf> {
    let python = PathBuf::from("/usr/bin/python3");
    let script = "import gi; gi.require_version('GstWebRTC', '1.0'); gi.require_version('Gst', '1.0'); \
                  from gi.repository import Gst; Gst.init(None); \
                  assert all(map(Gst.ElementFactory.find, ['webrtcbin', 'nicesrc', 'vp8enc', 'opusenc', 'rtpvp8pay']))";
    let found = std::process::Command::new(&python).args(["-c", script]).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success()).then_some(python)
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

//! The program under test: a server of it on the public segment, and transfers from host to host.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use sterna_kernel::{Host, Lab, Program, Stop};

/// How long one event may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

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

/// Lets no more than 3 MB a second through a router, each way together: a transfer lasts.
#[track_caller]
pub(crate) fn throttle(router: &Host) {
    let rules = "add table ip slow; add chain ip slow forward { type filter hook forward priority -50; }; \
                 add rule ip slow forward limit rate over 3 mbytes/second burst 300 kbytes drop";
    assert!(router.command("nft").arg(rules).status().unwrap().success());
}

/// The next event of this name; without it the test has failed.
#[track_caller]
pub(crate) fn event(program: &mut Program, name: &str) -> Value {
    match program.event(name, PATIENCE) {
        Ok(event) => event,
        Err(error) => panic!("{error}"),
    }
}

/// A `sterna serve` on a host of its own on the public segment.
pub(crate) struct Server {
    pub(crate) host: Host,
    pub(crate) url: String,
    pub(crate) serve: Program,
    sterna: PathBuf,
    folder: PathBuf,
}

/// A file on its way from one host to another.
pub(crate) struct Transfer {
    pub(crate) sender: Program,
    pub(crate) receiver: Program,
    sent: PathBuf,
    received: PathBuf,
}

impl Server {
    /// Starts it; `more` are arguments.
    #[track_caller]
    pub(crate) fn start(lab: &mut Lab, name: &str, more: &[&str]) -> Option<Self> {
        let sterna = program()?;
        let host = lab.add_server(name, 1).unwrap();
        let folder = lab.folder().to_owned();
        let public = host.address().to_string();
        let usual = ["serve", "--listen", "0.0.0.0", "--public-ip", &public];
        let arguments = [&usual[..], more].concat();
        let mut serve = Program::start(&sterna, &host, &folder, &arguments, &Stop::default()).unwrap();
        event(&mut serve, "listening");
        Some(Self { host, url: format!("http://{public}:8080"), serve, sterna, folder })
    }

    /// Runs a command on a host, with this server.
    pub(crate) fn run(&self, host: &Host, arguments: &[&str]) -> Program {
        let arguments = [arguments, &["--server", &self.url]].concat();
        Program::start(&self.sterna, host, &self.folder, &arguments, &Stop::default()).unwrap()
    }

    /// Sends a file; `more` are arguments of both sides.
    #[track_caller]
    pub(crate) fn transfer(&self, from: &Host, to: &Host, bytes: usize, more: &[&str]) -> Transfer {
        let sent = self.folder.join("cargo.bin");
        fs::write(&sent, noise(bytes)).unwrap();
        let mut sender = self.run(from, &[&["send", sent.to_str().unwrap()], more].concat());
        let code = event(&mut sender, "code")["code"].as_str().expect("a code is a text").to_owned();
        let out = self.folder.join("out");
        fs::create_dir(&out).unwrap();
        let receive = ["receive", &code, "--yes", "--out", out.to_str().unwrap()];
        let receiver = self.run(to, &[&receive, more].concat());
        Transfer { sender, receiver, sent, received: out.join("cargo.bin") }
    }
}

impl Transfer {
    /// Both sides say that it is done, it is, and both end well. What they said then, and the path that they told last:
    /// the sender first.
    #[track_caller]
    pub(crate) fn done(mut self) -> [(Value, Value); 2] {
        let done = [&mut self.sender, &mut self.receiver].map(|side| event(side, "done"));
        let paths = [&self.sender, &self.receiver].map(|side| side.path().expect("it told one").clone());
        assert_eq!(done[0]["sha256"], done[1]["sha256"]);
        assert_eq!(done[0]["sha256"].as_str().map(str::len), Some(64), "{}", done[0]);
        self.sender.end(PATIENCE).unwrap();
        self.receiver.end(PATIENCE).unwrap();
        assert!(
            fs::read(&self.received).unwrap() == fs::read(&self.sent).unwrap(),
            "the file arrived intact"
        );
        let ([sent, received], [from, to]) = (done, paths);
        [(sent, from), (received, to)]
    }
}

/// Not a pattern that would look the same after a block got lost or came twice.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

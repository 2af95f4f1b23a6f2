//! The program under test: a server of it on the public segment, and transfers from host to host.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
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

/// A certificate for this name and its key, in files of the lab.
pub(crate) fn certificate(lab: &Lab, name: &str) -> [PathBuf; 2] {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let files = ["certificate", "key"].map(|what| lab.folder().join(format!("{name}.{what}.pem")));
    fs::write(&files[0], made.cert.pem()).unwrap();
    fs::write(&files[1], made.signing_key.serialize_pem()).unwrap();
    files
}

/// What `sterna doctor` finds on a host, whose environment `change` may change before.
#[track_caller]
pub(crate) fn doctor(host: &Host, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Value {
    let mut command = host.command(program().expect("the test has looked"));
    command.args(["doctor", "--json"]).args(arguments).stdin(Stdio::null());
    for name in ["STERNA_SERVER", "STERNA_CA"] {
        command.env_remove(name);
    }
    change(&mut command);
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The codes of the verdicts of a doctor's report.
pub(crate) fn codes(report: &Value) -> Vec<&str> {
    let verdicts = report["verdicts"].as_array().into_iter().flatten();
    verdicts.filter_map(|verdict| verdict["code"].as_str()).collect()
}

/// A `sterna serve` on a host of its own on the public segment.
pub(crate) struct Server {
    pub(crate) host: Host,
    pub(crate) url: String,
    pub(crate) serve: Program,
    /// Its certificate, if it has one.
    pub(crate) ca: Option<PathBuf>,
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
        Some(Self::on(host, lab, sterna, None, more))
    }

    /// Starts it on a host that there is already.
    #[track_caller]
    pub(crate) fn at(host: Host, lab: &Lab) -> Option<Self> {
        Some(Self::on(host, lab, program()?, None, &[]))
    }

    /// Starts one that has a certificate for its address, so that it is an `https:` server with TURN over TLS.
    #[track_caller]
    pub(crate) fn secured(lab: &mut Lab, name: &str, more: &[&str]) -> Option<Self> {
        let sterna = program()?;
        let host = lab.add_server(name, 1).unwrap();
        let [certificate, key] = certificate(lab, &host.address().to_string());
        let files = format!("{},{}", certificate.display(), key.display());
        Some(Self::on(host, lab, sterna, Some(certificate), &[&["--tls", &files], more].concat()))
    }

    fn on(host: Host, lab: &Lab, sterna: PathBuf, ca: Option<PathBuf>, more: &[&str]) -> Self {
        let folder = lab.folder().to_owned();
        let public = host.address().to_string();
        let usual = ["serve", "--listen", "0.0.0.0", "--public-ip", &public];
        let arguments = [&usual[..], more].concat();
        let mut serve = Program::start(&sterna, &host, &folder, &arguments, &Stop::default()).unwrap();
        event(&mut serve, "listening");
        let scheme = if ca.is_some() { "https" } else { "http" };
        Self { host, url: format!("{scheme}://{public}:8080"), serve, ca, sterna, folder }
    }

    /// What tells a command of this server.
    pub(crate) fn named(&self) -> Vec<&str> {
        let ca = self.ca.as_ref().map(|ca| ["--ca", ca.to_str().unwrap()]);
        [&["--server", &*self.url][..], ca.as_ref().map_or(&[], |ca| &ca[..])].concat()
    }

    /// Runs a command on a host, with this server.
    pub(crate) fn run(&self, host: &Host, arguments: &[&str]) -> Program {
        self.run_as(&self.sterna, host, arguments)
    }

    /// The same by another program, which in the end runs `sterna`.
    pub(crate) fn run_as(&self, program: &Path, host: &Host, arguments: &[&str]) -> Program {
        let arguments = [arguments, &self.named()].concat();
        Program::start(program, host, &self.folder, &arguments, &Stop::default()).unwrap()
    }

    /// Sends a file; `more` are arguments of both sides.
    #[track_caller]
    pub(crate) fn transfer(&self, from: &Host, to: &Host, bytes: usize, more: &[&str]) -> Transfer {
        self.transfer_by(&self.sterna, from, to, bytes, more)
    }

    /// The same by another program, which in the end runs `sterna`.
    #[track_caller]
    pub(crate) fn transfer_by(
        &self,
        program: &Path,
        from: &Host,
        to: &Host,
        bytes: usize,
        more: &[&str],
    ) -> Transfer {
        let sent = self.folder.join("cargo.bin");
        fs::write(&sent, noise(bytes)).unwrap();
        let mut sender = self.run_as(program, from, &[&["send", sent.to_str().unwrap()], more].concat());
        let code = event(&mut sender, "code")["code"].as_str().expect("a code is a text").to_owned();
        let out = self.folder.join("out");
        fs::create_dir(&out).unwrap();
        let receive = ["receive", &code, "--yes", "--out", out.to_str().unwrap()];
        let receiver = self.run_as(program, to, &[&receive, more].concat());
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
        assert_eq!(done[0]["blake3"], done[1]["blake3"]);
        assert_eq!(done[0]["blake3"].as_str().map(str::len), Some(64), "{}", done[0]);
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

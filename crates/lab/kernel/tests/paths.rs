//! The real `sterna` across real NATs: which path two peers find, that they say so, and that the file arrives.
//!
//! The program is `$STERNA_BIN`, or `sterna` beside the test's own target directory.

mod lab;

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use lab::lab;
use serde_json::Value;
use sterna_kernel::{Host, Lab, Preset};

/// How long one event may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const BYTES: usize = 3_000_001;

/// The program under test, or `None` and a word on standard error if it has not been built. In CI it must be there.
fn sterna() -> Option<PathBuf> {
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

/// A running `sterna` with `--json`, ended when dropped.
struct Running {
    name: String,
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    /// Read but not asked for yet.
    waiting: VecDeque<Value>,
    complaints: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    fn new(host: &Host, folder: &Path, arguments: &[&str]) -> Option<Self> {
        let home = folder.join(host.name());
        fs::create_dir_all(&home).unwrap();
        let mut command = host.command(sterna()?);
        command.args(arguments).arg("--json").current_dir(&home);
        command.env("HOME", &home).env("XDG_STATE_HOME", &home).env("XDG_CACHE_HOME", &home);
        command.env_remove("STERNA_SERVER").env_remove("STERNA_CODE");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("ip netns exec runs");
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let mut errors = child.stderr.take().unwrap();
        let complaints = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let name = format!("{} on {}", arguments[0], host.name());
        let (seen, waiting) = (Vec::new(), VecDeque::new());
        Some(Self { name, child, lines, seen, waiting, complaints: Some(complaints) })
    }

    /// Waits for an event of this name; others before it are passed over.
    #[track_caller]
    fn event(&mut self, name: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.waiting.pop_front() {
                if event["event"] == name {
                    return event;
                }
                if event["event"] == "failed" {
                    self.fail(&format!("it failed before `{name}`"));
                }
                continue;
            }
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    match serde_json::from_str(&line) {
                        Ok(event) => self.waiting.push_back(event),
                        Err(error) => self.fail(&format!("not JSON ({error}): {line}")),
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.fail(&format!("no `{name}` in {PATIENCE:?}")),
                Err(RecvTimeoutError::Disconnected) => self.fail(&format!("it ended before `{name}`")),
            }
        }
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    fn end(mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).is_ok() {}
        if Instant::now() >= deadline {
            self.fail("it does not end");
        }
        let status = self.child.wait().unwrap();
        if !status.success() {
            self.fail(&format!("it ended with {status}"));
        }
    }

    #[track_caller]
    fn fail(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        let complaints = self.complaints.take().map(|thread| thread.join().unwrap_or_default());
        panic!(
            "sterna {}: {what}\nit told:\n{}\nand complained:\n{}",
            self.name,
            self.seen.join("\n"),
            complaints.unwrap_or_default()
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of one's own, removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sterna-paths-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The `path` that each side told in its `connected` event.
struct Paths {
    sender: Value,
    receiver: Value,
}

/// Sends a file from one host to another by way of a server on the public segment.
#[track_caller]
fn transfer(lab: &mut Lab, from: &Host, to: &Host) -> Option<Paths> {
    let folder = Folder::new();
    let server = lab.add_server("server", 1).unwrap();
    let public = server.address().to_string();
    let mut serve =
        Running::new(&server, &folder.0, &["serve", "--listen", "0.0.0.0", "--public-ip", &public])?;
    serve.event("listening");
    let url = format!("http://{public}:8080");

    // Not a pattern that would look the same after a block got lost or came twice.
    let mut state = 1u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(BYTES)
    .collect();
    let file = folder.0.join("cargo.bin");
    fs::write(&file, &bytes).unwrap();

    let arguments = ["send", file.to_str().unwrap(), "--server", &url];
    let mut sender = Running::new(from, &folder.0, &arguments)?;
    let code = sender.event("code")["code"].as_str().expect("a code is a text").to_owned();
    let out = folder.0.join("out");
    fs::create_dir(&out).unwrap();
    let arguments = ["receive", &code, "--server", &url, "--yes", "--out", out.to_str().unwrap()];
    let mut receiver = Running::new(to, &folder.0, &arguments)?;

    let paths = Paths {
        receiver: receiver.event("connected")["path"].clone(),
        sender: sender.event("connected")["path"].clone(),
    };
    let (sent, got) = (sender.event("done"), receiver.event("done"));
    assert_eq!((&sent["bytes"], &got["bytes"]), (&BYTES.into(), &BYTES.into()));
    assert_eq!(sent["sha256"], got["sha256"]);
    assert_eq!(sent["sha256"].as_str().map(str::len), Some(64), "{sent}");
    sender.end();
    receiver.end();
    assert!(fs::read(out.join("cargo.bin")).unwrap() == bytes, "the file arrived intact");
    Some(paths)
}

#[track_caller]
fn between(sender: Preset, receiver: Preset) -> Option<Paths> {
    let mut lab = lab()?;
    let mut left = lab.add_site("left", sender).unwrap();
    let mut right = lab.add_site("right", receiver).unwrap();
    let alice = lab.add_host(&mut left, "alice").unwrap();
    let bob = lab.add_host(&mut right, "bob").unwrap();
    transfer(&mut lab, &alice, &bob)
}

#[track_caller]
fn assert_direct(paths: &Paths) {
    for path in [&paths.sender, &paths.receiver] {
        assert_eq!(path["kind"], "direct", "{path}");
        assert_eq!(path["protocol"], "udp", "{path}");
        assert_ne!(path["local"], "relay", "{path}");
        assert_ne!(path["remote"], "relay", "{path}");
        assert!(path["rtt_ms"].is_number(), "{path}");
    }
}

#[track_caller]
fn assert_relayed(paths: &Paths) {
    let sides = [&paths.sender, &paths.receiver];
    for path in sides {
        assert_eq!(path["kind"], "relayed", "{path}");
    }
    // Each side tells the first pair that worked for it; before nomination these may be two pairs, so either end of
    // each may be the relayed one.
    for path in sides {
        assert!([&path["local"], &path["remote"]].iter().any(|end| *end == "relay"), "{path}");
    }
}

#[test]
fn two_port_restricted_nats_are_crossed_directly() {
    let Some(paths) = between(Preset::PortRestricted, Preset::PortRestricted) else { return };
    assert_direct(&paths);
}

#[test]
fn two_symmetric_nats_need_the_relay() {
    let Some(paths) = between(Preset::Symmetric, Preset::Symmetric) else { return };
    assert_relayed(&paths);
    for path in [&paths.sender, &paths.receiver] {
        assert_eq!(path["protocol"], "udp", "{path}");
    }
}

#[test]
fn without_udp_the_relay_is_reached_by_tcp() {
    let Some(paths) = between(Preset::UdpBlocked, Preset::UdpBlocked) else { return };
    assert_relayed(&paths);
    for path in [&paths.sender, &paths.receiver] {
        assert_eq!((&path["local"], &path["protocol"]), (&"relay".into(), &"tcp".into()), "{path}");
    }
}

#[test]
fn one_side_without_udp_is_enough_to_need_it() {
    let Some(paths) = between(Preset::FullCone, Preset::UdpBlocked) else { return };
    assert_relayed(&paths);
    let path = &paths.receiver;
    assert_eq!((&path["local"], &path["protocol"]), (&"relay".into(), &"tcp".into()), "{path}");
}

#[test]
fn a_symmetric_nat_meets_an_address_restricted_one_directly() {
    // What most texts get wrong: the symmetric side's new port is learned as a peer-reflexive candidate.
    let Some(paths) = between(Preset::Symmetric, Preset::AddressRestricted) else { return };
    assert_direct(&paths);
}

#[test]
fn a_symmetric_nat_and_a_port_restricted_one_need_the_relay() {
    let Some(paths) = between(Preset::Symmetric, Preset::PortRestricted) else { return };
    assert_relayed(&paths);
}

#[test]
fn two_hosts_behind_one_nat_meet_at_home() {
    let Some(mut lab) = lab() else { return };
    let mut site = lab.add_site("home", Preset::Symmetric).unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| lab.add_host(&mut site, name).unwrap());
    let Some(paths) = transfer(&mut lab, &alice, &bob) else { return };
    assert_direct(&paths);
    for path in [&paths.sender, &paths.receiver] {
        assert_eq!(path["local"], "host", "{path}");
    }
}

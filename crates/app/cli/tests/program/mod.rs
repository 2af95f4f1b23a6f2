//! The real program, run as a person's shell would run it.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use serde_json::Value;

/// What takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(40);

/// One run of `sterna`.
pub(crate) struct Program {
    child: Child,
    pub(crate) input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: std::thread::JoinHandle<String>,
}

impl Program {
    /// Runs `sterna` with `--json`.
    pub(crate) fn json(arguments: &[&str]) -> Self {
        Self::run(&[&["--json"], arguments].concat(), &[])
    }

    pub(crate) fn run(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sterna"));
        for name in [
            "STERNA_SERVER",
            "STERNA_CODE",
            "STERNA_CA",
            "STERNA_CONFIG",
            "STERNA_SECRET",
            "HTTPS_PROXY",
            "ALL_PROXY",
            "https_proxy",
            "all_proxy",
        ] {
            command.env_remove(name);
        }
        command.args(arguments).envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let (send, lines) = mpsc::channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let input = child.stdin.take();
        Self { child, input, lines, errors }
    }

    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Some(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("nothing was said for {PATIENCE:?}"),
        }
    }

    /// The next event called `name`. A failure is an event that nobody should miss.
    pub(crate) fn event(&self, name: &str) -> Value {
        loop {
            let line = self.line().unwrap_or_else(|| panic!("ended without {name:?}"));
            assert!(line.starts_with("{\"event\":"), "{line}");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == name {
                return event;
            }
            assert_ne!(event["event"], "failed", "{event}");
        }
    }

    pub(crate) fn code(&self) -> (String, String) {
        let event = self.event("code");
        (event["code"].as_str().unwrap().to_owned(), event["link"].as_str().unwrap().to_owned())
    }

    /// Waits for the end: exit code and standard error.
    pub(crate) fn end(mut self) -> (i32, String) {
        drop(self.input.take());
        let started = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let errors = std::mem::replace(&mut self.errors, std::thread::spawn(String::new));
                return (status.code().unwrap_or(-1), errors.join().unwrap());
            }
            assert!(started.elapsed() < PATIENCE, "it does not end");
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// The failure that it ends with, and its exit code.
    pub(crate) fn failure(self) -> (Value, i32) {
        let event = self.event("failed");
        (event, self.end().0)
    }

    /// The number of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.input.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running server on free ports of this machine.
pub(crate) struct Server {
    pub(crate) program: Program,
    pub(crate) url: String,
    pub(crate) listening: Value,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(more: &[&str]) -> Self {
        let program =
            Program::json(&[&["serve", "--http", "0", "--stun", "0", "--stun-tls", "0"], more].concat());
        let listening = program.event("listening");
        Self { url: listening["http"].as_str().unwrap().to_owned(), program, listening }
    }
}

/// A folder for one test, removed at its end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sterna-test-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A file of bytes that do not repeat.
    pub(crate) fn noise(&self, name: &str, length: usize) -> String {
        let mut state = 0x2545_F491_4F6C_DD1Du64;
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(length);
        std::fs::write(self.path(name), bytes).unwrap();
        self.text(name)
    }

    /// Waits until a file in this folder has something in it, whatever its name.
    pub(crate) fn fills(&self, folder: &str) {
        let started = std::time::Instant::now();
        let has_some = || {
            let entries = std::fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.metadata().ok()).any(|it| it.is_file() && it.len() > 0)
        };
        while !has_some() {
            assert!(started.elapsed() < PATIENCE, "nothing comes into {folder:?}");
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether two files hold the same bytes.
pub(crate) fn same(a: &Path, b: &Path) -> bool {
    std::fs::read(a).unwrap() == std::fs::read(b).unwrap()
}

/// What lets a program believe that it is another time; `None` and a word on standard error if it is not installed.
pub(crate) fn another_time(offset: &str) -> Option<Vec<(String, String)>> {
    let Ok(output) = Command::new("faketime").args(["-f", offset, "env"]).output() else {
        let missing = "faketime is not there; install it with `apt-get install faketime`";
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let library =
        text.lines().find_map(|line| line.strip_prefix("LD_PRELOAD=")).expect("it preloads a library");
    let variables = [("LD_PRELOAD", library), ("FAKETIME", offset), ("FAKETIME_DONT_FAKE_MONOTONIC", "1")];
    Some(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
}

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::error::LabError;
use crate::lab::Host;
use crate::stop::Stop;

/// How often somebody who waits looks whether he is still to.
const GLANCE: Duration = Duration::from_millis(100);

/// A `sterna` with `--json` that runs on a host of the lab. Dropped, it is killed.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    stop: Stop,
    lines: Receiver<String>,
    told: Vec<String>,
    /// All events so far, and how many of them were asked for.
    events: Vec<Value>,
    seen: usize,
    complaints: Option<JoinHandle<String>>,
}

impl Program {
    /// Starts the program `sterna` with these arguments. It lives in a folder of its own below `folder`.
    ///
    /// # Errors
    /// [`LabError::Io`], if it cannot be started.
    pub fn start(
        sterna: &Path,
        host: &Host,
        folder: &Path,
        arguments: &[&str],
        stop: &Stop,
    ) -> Result<Self, LabError> {
        let name = format!("sterna {} on {}", arguments.first().unwrap_or(&""), host.name());
        let failed = |source| LabError::Io { what: format!("starting {name}"), source };
        let home = folder.join(host.name());
        fs::create_dir_all(&home).map_err(failed)?;
        let mut command = host.command(sterna);
        command.args(arguments).arg("--json").current_dir(&home);
        command.env("HOME", &home).env("XDG_STATE_HOME", &home).env("XDG_CACHE_HOME", &home);
        for name in ["STERNA_SERVER", "STERNA_CODE", "STERNA_CA", "STERNA_CONFIG"] {
            command.env_remove(name);
        }
        // Ctrl-C in a terminal is for us, who then end it.
        command.process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (sender, lines) = channel();
        let mut output: Box<dyn Read + Send> = Box::new(child.stdout.take().expect("it is piped"));
        let mut errors: Box<dyn Read + Send> = Box::new(child.stderr.take().expect("it is piped"));
        if arguments.first() == Some(&"pipe") {
            // Its standard output is for data.
            std::mem::swap(&mut output, &mut errors);
        }
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            lines.map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        let complaints = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = errors.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let complaints = Some(complaints);
        let (told, events) = (Vec::new(), Vec::new());
        Ok(Self { name, child, stop: stop.clone(), lines, told, events, seen: 0, complaints })
    }

    /// Waits for an event of this name; others before it are passed over.
    ///
    /// # Errors
    /// [`LabError::Failed`] with all that it said, if it fails, ends or takes longer than `patience`;
    /// [`LabError::Stopped`].
    pub fn event(&mut self, name: &str, patience: Duration) -> Result<Value, LabError> {
        let deadline = Instant::now() + patience;
        loop {
            while let Some(event) = self.events.get(self.seen) {
                self.seen += 1;
                if event["event"] == name {
                    return Ok(event.clone());
                }
                if event["event"] == "failed" {
                    return Err(self.failure(&format!("it failed before `{name}`")));
                }
            }
            match self.line(deadline)? {
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(event) => self.events.push(event),
                    Err(error) => return Err(self.failure(&format!("not JSON ({error}): {line}"))),
                },
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failure(&format!("no `{name}` in {patience:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(self.failure(&format!("it ended before `{name}`")));
                }
            }
        }
    }

    /// The path that it told last, of those events that were read so far.
    pub fn path(&self) -> Option<&Value> {
        self.events.iter().rev().find_map(|event| {
            let tells = ["connected", "path"].iter().any(|name| event["event"] == *name);
            event.get("path").filter(|_| tells)
        })
    }

    /// Ends its standard input, which is open and empty until then.
    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for its end, which must be a good one.
    ///
    /// # Errors
    /// As [`Program::event`].
    pub fn end(mut self, patience: Duration) -> Result<(), LabError> {
        match self.exit(patience)? {
            status if status.success() => Ok(()),
            status => Err(self.failure(&format!("it ended with {status}"))),
        }
    }

    /// Waits for its end, good or bad, and tells the exit code; -1 if a signal ended it.
    ///
    /// # Errors
    /// As [`Program::event`].
    pub fn exit_code(mut self, patience: Duration) -> Result<i32, LabError> {
        self.exit(patience).map(|status| status.code().unwrap_or(-1))
    }

    fn exit(&mut self, patience: Duration) -> Result<ExitStatus, LabError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.line(deadline)? {
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.failure(&format!("it does not end in {patience:?}")));
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let failed = |source| LabError::Io { what: format!("waiting for {}", self.name), source };
        self.child.wait().map_err(failed)
    }

    /// Kills it, as by `kill -9`: nothing is said to anybody.
    pub fn kill(self) {
        drop(self);
    }

    /// The next line that it prints.
    fn line(&mut self, deadline: Instant) -> Result<Result<String, RecvTimeoutError>, LabError> {
        loop {
            self.stop.check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left.min(GLANCE)) {
                Err(RecvTimeoutError::Timeout) if left > GLANCE => {}
                Ok(line) => {
                    self.told.push(line.clone());
                    return Ok(Ok(line));
                }
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn failure(&mut self, what: &str) -> LabError {
        let _ = self.child.kill();
        // What else it had to say: why it failed is often there.
        self.told.extend(self.lines.iter());
        let complaints = self.complaints.take().map(|thread| thread.join().unwrap_or_default());
        let (told, complaints) = (self.told.join("\n"), complaints.unwrap_or_default());
        let message = format!("{what}\nit told:\n{told}\nand complained:\n{complaints}");
        LabError::Failed { command: self.name.clone(), message }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

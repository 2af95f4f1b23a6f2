use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A peer of somebody else's making that a script plays: JSON lines in, events out.
///
/// Descriptions go both ways as `{"type", "sdp"}` with all candidates in them; `python/aiortc_peer.py` tells the rest.
pub struct Foreign {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Foreign {
    /// Starts a script, which ends with this value.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("the peer starts");
        let input = process.stdin.take().expect("piped");
        let output = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { _process: process, input, output }
    }

    /// Tells it something.
    ///
    /// # Panics
    /// If it has ended.
    pub async fn tell(&mut self, message: &Value) {
        println!("> {message}");
        self.input.write_all(format!("{message}\n").as_bytes()).await.expect("the peer listens");
    }

    /// The next event called `name`; others are passed over.
    ///
    /// # Panics
    /// If it ends before.
    pub async fn event(&mut self, name: &str) -> Value {
        self.one_of(&[name]).await
    }

    /// The next event called by one of these names; others are passed over.
    ///
    /// # Panics
    /// If it ends before.
    pub async fn one_of(&mut self, names: &[&str]) -> Value {
        loop {
            let line = self.output.next_line().await.expect("the peer's output is text");
            let line = line.unwrap_or_else(|| panic!("the peer ended without saying {names:?}"));
            // Shown if the test fails.
            println!("< {line}");
            let event: Value = serde_json::from_str(&line).expect("the peer says JSON");
            if event["event"].as_str().is_some_and(|name| names.contains(&name)) {
                return event;
            }
        }
    }

    /// Lets it close its connection and end.
    ///
    /// # Panics
    /// If it has ended.
    pub async fn quit(&mut self) {
        self.tell(&json!({ "quit": true })).await;
    }
}

//! A process for each end, UDP between them: this is the one that starts both, and carries their descriptions.
//!
//! What is said on standard input and output, one line each:
//! the ends tell their `address`, the one that offers its `offer` and the other its `answer`, and both are handed the
//! other's. Then the offerer says `ready` and the answerer `first`, when it has the first message, both with the time. `flood`
//! lets the offerer write until it hears `stop`; the answerer counts for a while and tells. Both tell what it took of the
//! processor's time.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use crate::contender::Channel;
use crate::flow::Flow;

/// What the processes are to do.
#[derive(Clone, Copy)]
pub struct Task {
    pub channel: Channel,
    /// Bytes of a message.
    pub size: usize,
    pub duration: Duration,
}

impl Task {
    /// As arguments of a process.
    fn arguments(self) -> [String; 3] {
        let channel = if self.channel == Channel::Reliable { "reliable" } else { "fleeting" };
        [channel.into(), self.size.to_string(), self.duration.as_millis().to_string()]
    }

    pub fn parse(arguments: &[String]) -> Option<Self> {
        let [channel, size, duration] = arguments else { return None };
        Some(Self {
            channel: if channel == "reliable" { Channel::Reliable } else { Channel::Fleeting },
            size: size.parse().ok()?,
            duration: Duration::from_millis(duration.parse().ok()?),
        })
    }
}

struct End {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    name: String,
}

impl End {
    fn start(name: &str, role: &str, task: Task) -> Self {
        let program = std::env::current_exe().expect("this program has a name");
        let mut command = Command::new(program);
        command.args(["--end", role, name]).args(task.arguments());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let input = child.stdin.take().expect("it is piped");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, input, output, name: format!("{name}, who {role}s") }
    }

    fn tell(&mut self, word: &str, rest: &str) {
        writeln!(self.input, "{word} {rest}").unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// The rest of the next line, which begins with this word.
    fn hear(&mut self, word: &str) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("it can be read");
        let rest =
            line.trim_end().strip_prefix(word).unwrap_or_else(|| panic!("{}: {word}? {line}", self.name));
        rest.trim_start().to_owned()
    }

    fn hear_numbers<const N: usize>(&mut self, word: &str) -> [u64; N] {
        let rest = self.hear(word);
        let numbers: Vec<u64> = rest.split(' ').map(|it| it.parse().expect("a number")).collect();
        numbers.try_into().expect("as many numbers as were asked for")
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Two processes with a connection.
struct Duel {
    ends: [End; 2],
    /// Milliseconds until the answerer had the first message.
    opened: f64,
}

impl Duel {
    fn start(name: &str, task: Task) -> Self {
        let mut ends = ["offer", "answer"].map(|role| End::start(name, role, task));
        let addresses = [0, 1].map(|end| ends[end].hear("address"));
        let [ours, theirs] = &mut ends;
        ours.tell("remote", &addresses[1]);
        theirs.tell("remote", &addresses[0]);
        theirs.tell("offer", &ours.hear("offer"));
        ours.tell("answer", &theirs.hear("answer"));
        let [ready] = ours.hear_numbers("ready");
        let [first] = theirs.hear_numbers("first");
        Self { opened: (first - ready) as f64 / 1e6, ends }
    }
}

/// Milliseconds until the answerer has the offerer's first message, from when both know the other's description.
pub fn open(name: &str) -> f64 {
    let task = Task { channel: Channel::Reliable, size: 1, duration: Duration::ZERO };
    Duel::start(name, task).opened
}

/// Messages from the offerer to the answerer.
pub fn flood(name: &str, task: Task) -> Flow {
    let mut duel = Duel::start(name, task);
    let [ours, theirs] = &mut duel.ends;
    ours.tell("flood", "");
    let [messages, bytes, time, receiver] = theirs.hear_numbers("received");
    ours.tell("stop", "");
    let [sent_for, sender] = ours.hear_numbers("sent");
    // The sender begins a little before, and ends a little after.
    let sender = sender as f64 * time as f64 / sent_for as f64;
    let processor = Duration::from_nanos(receiver) + Duration::from_nanos(sender as u64);
    Flow { messages, bytes, time: Duration::from_nanos(time), processor }
}

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use sterna_kernel::Host;

use crate::{Failure, channel, tcp};

/// Who may carry bytes from one host to the other.
pub(crate) const CONTESTANTS: [Contestant; 4] = [
    Contestant { name: "CUBIC", protocol: Protocol::Channel, congestion: "cubic" },
    Contestant { name: "after BBR", protocol: Protocol::Channel, congestion: "bbr" },
    Contestant { name: "TCP CUBIC", protocol: Protocol::Tcp, congestion: "cubic" },
    Contestant { name: "TCP BBR", protocol: Protocol::Tcp, congestion: "bbr" },
];

/// A protocol with a controller of its congestion.
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) congestion: &'static str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Channel,
    Tcp,
}

/// How long a transfer lasts: what comes in the first seconds does not count.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) warm: f64,
    pub(crate) count: f64,
}

/// One end, a process of its own. Dropped, it is killed.
struct End {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Contestant {
    /// Has bytes carried, and returns how many bits a second came.
    pub(crate) fn carry(&self, [giver, taker]: &[Host; 2], terms: Terms) -> Result<f64, Failure> {
        let kind = if self.protocol == Protocol::Tcp { "tcp" } else { "channel" };
        let part =
            |role: &str| format!("part={role},{kind},{},{},{}", self.congestion, terms.warm, terms.count);
        let mut takes = End::start(taker, &part("take"))?;
        let mut gives = End::start(giver, &part("give"))?;
        if self.protocol == Protocol::Tcp {
            // Where the other listens: there it can be connected to now.
            let port = takes.hear()?;
            gives.say(&format!("{}:{port}", taker.address()))?;
        } else {
            takes.say(&gives.hear()?)?;
            gives.say(&takes.hear()?)?;
        }
        Ok(takes.hear()?.parse()?)
    }
}

impl End {
    fn start(host: &Host, part: &str) -> Result<Self, Failure> {
        let mut command: Command = host.command(std::env::current_exe()?);
        let mut child = command.arg(part).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("it is piped")?;
        let output = BufReader::new(child.stdout.take().ok_or("it is piped")?);
        Ok(Self { child, input, output })
    }

    fn say(&mut self, line: &str) -> Result<(), Failure> {
        Ok(writeln!(self.input, "{line}")?)
    }

    fn hear(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err("an end has ended before its time".into()),
            _ => Ok(line.trim().to_owned()),
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Plays a part, in a process of its own: who gives does so until it is killed.
pub(crate) fn play(part: &str) -> Result<(), Failure> {
    let words: Vec<&str> = part.split(',').collect();
    let [role, kind, congestion, warm, count] = words[..] else { return Err("not a part".into()) };
    let terms = Terms { warm: warm.parse()?, count: count.parse()? };
    let said = || {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line.trim().to_owned())
    };
    match (role, kind) {
        ("give", "tcp") => tcp::give(&said()?, congestion),
        ("take", "tcp") => tcp::take(terms),
        ("give", _) => channel::give(congestion, said),
        _ => channel::take(congestion, &said()?, terms),
    }
}

/// Counts what arrives, from the first byte on.
pub(crate) struct Count {
    terms: Terms,
    first: Option<Instant>,
    bytes: usize,
}

impl Count {
    pub(crate) fn new(terms: Terms) -> Self {
        Self { terms, first: None, bytes: 0 }
    }

    /// So much arrived. Returns bits a second, once it is over.
    pub(crate) fn add(&mut self, bytes: usize) -> Option<f64> {
        let elapsed = self.first.get_or_insert_with(Instant::now).elapsed();
        let (begin, end) = (self.terms.warm, self.terms.warm + self.terms.count);
        if elapsed >= Duration::from_secs_f64(end) {
            return Some(self.bytes as f64 * 8.0 / self.terms.count);
        }
        if elapsed >= Duration::from_secs_f64(begin) {
            self.bytes += bytes;
        }
        None
    }
}

/// Says it to whoever started this process, and waits until that has heard enough.
pub(crate) fn tell(line: &str) -> Result<(), Failure> {
    println!("{line}");
    Ok(())
}

/// Stays until it is killed or its input ends.
pub(crate) fn rest() -> Result<(), Failure> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

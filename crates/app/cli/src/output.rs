//! What a command says: lines for a person, JSON objects for a program.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Where and how a command speaks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
    quiet: bool,
    /// Standard output is for data (`sterna pipe`): everything is said on standard error.
    aside: bool,
}

impl Output {
    pub(crate) fn new(json: bool, quiet: bool) -> Self {
        Self { json, quiet, aside: false }
    }

    /// The same, but nothing of it on standard output.
    pub(crate) fn aside(self) -> Self {
        Self { aside: true, ..self }
    }

    /// Whether a person is to be asked questions.
    pub(crate) fn can_ask(self) -> bool {
        !self.json && std::io::stdin().is_terminal()
    }

    /// Whether a program listens.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Whether only what matters is to be said.
    pub(crate) fn is_quiet(self) -> bool {
        self.quiet
    }

    /// An object for programs, as it is, on a line.
    pub(crate) fn object(self, object: &impl serde::Serialize) {
        self.print(&serde_json::to_string(object).expect("what we tell can be told in JSON"));
    }

    /// An event for programs: one JSON object on a line, `event` first.
    pub(crate) fn event(self, name: &str, fields: Value) {
        if self.json {
            self.print(&event_line(name, fields));
        }
    }

    /// A line for people: what they asked for.
    pub(crate) fn say(self, line: &str) {
        if !self.json {
            self.print(line);
        }
    }

    /// A line for people: what is going on.
    pub(crate) fn note(self, line: &str) {
        if !self.json && !self.quiet {
            eprintln!("{line}");
        }
    }

    /// The last word of a command that failed.
    pub(crate) fn failed(self, failure: &Failure) {
        if failure.message.is_empty() {
            // It has been told.
        } else if self.json {
            let mut fields = json!({ "code": failure.kind.name(), "message": failure.message });
            if !failure.verdicts.is_empty() {
                fields["verdicts"] = failure.verdicts.iter().map(verdict_json).collect();
            }
            self.event("failed", fields);
        } else {
            let (red, reset) = if colours() { ("\x1b[31m", "\x1b[0m") } else { ("", "") };
            eprintln!("{red}sterna: {}{reset}", failure.message);
            for verdict in &failure.verdicts {
                eprintln!("{verdict}");
            }
        }
    }

    /// Whether a person watches.
    pub(crate) fn shows_progress(self) -> bool {
        !self.json && !self.quiet
    }

    /// A meter for a transfer called `name`.
    pub(crate) fn meter(self, name: &str) -> Meter {
        let face = match (self.json, self.quiet) {
            (true, _) => Face::Json(self),
            (false, true) => Face::Silent,
            (false, false) => Face::Bar(bar(name)),
        };
        Meter { face, started: Instant::now(), have: 0, total: 0, last: 0 }
    }

    fn print(self, line: &str) {
        // A reader that has gone away is no reason to stop working.
        let _ = if self.aside {
            writeln!(std::io::stderr(), "{line}")
        } else {
            let mut stdout = std::io::stdout().lock();
            writeln!(stdout, "{line}").and_then(|()| stdout.flush())
        };
    }
}

/// A verdict as `docs/json.md` describes it.
pub(crate) fn verdict_json(verdict: &sterna::Verdict) -> Value {
    json!({
        "code": verdict.code.as_str(),
        "message": verdict.message(),
        "evidence": verdict.evidence,
        "advice": verdict.advice,
    })
}

/// Whether standard error takes colours: a terminal, and nobody said `NO_COLOR`.
fn colours() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn event_line(name: &str, fields: Value) -> String {
    let rest = fields.to_string();
    match rest.strip_prefix('{') {
        Some("}") | None => json!({ "event": name }).to_string(),
        Some(rest) => format!("{{\"event\":{},{rest}", Value::from(name)),
    }
}

/// How far a transfer is.
#[derive(Debug)]
pub(crate) struct Meter {
    face: Face,
    started: Instant,
    have: u64,
    total: u64,
    last: u64,
}

#[derive(Debug)]
enum Face {
    Silent,
    Bar(ProgressBar),
    Json(Output),
}

impl Meter {
    /// How often [`Meter::set`] is worth calling.
    pub(crate) const EVERY: Duration = Duration::from_millis(250);

    /// A meter that shows nothing.
    #[cfg(test)]
    pub(crate) fn silent() -> Self {
        Self { face: Face::Silent, started: Instant::now(), have: 0, total: 0, last: 0 }
    }

    /// Starts the clock: `have` of `total` bytes were there before.
    pub(crate) fn start(&mut self, total: u64, have: u64) {
        (self.started, self.total, self.have, self.last) = (Instant::now(), total, have, have);
        if let Face::Bar(bar) = &self.face {
            bar.set_length(total);
            bar.set_position(have);
            bar.reset_eta();
        }
    }

    /// `bytes` of the total are there now.
    pub(crate) fn set(&mut self, bytes: u64) {
        match &self.face {
            Face::Silent => {}
            Face::Bar(bar) => bar.set_position(bytes),
            Face::Json(output) => {
                if bytes != self.last {
                    let rate = (bytes - self.have) as f64 / self.seconds().max(1e-3);
                    let left = (self.total - bytes.min(self.total)) as f64 / rate.max(1.0);
                    let fields = json!({ "bytes": bytes, "total": self.total, "rate": rate.round(), "eta_s": round(left) });
                    output.event("progress", fields);
                }
            }
        }
        self.last = bytes;
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Takes the bar away.
    pub(crate) fn end(&self) {
        if let Face::Bar(bar) = &self.face {
            bar.finish_and_clear();
        }
    }
}

fn bar(name: &str) -> ProgressBar {
    let style = "{prefix:.bold} {wide_bar:.cyan/dim} {bytes}/{total_bytes} {bytes_per_sec} {eta} left";
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(8));
    bar.set_style(ProgressStyle::with_template(style).expect("the template is a constant"));
    bar.set_prefix(name.to_owned());
    bar
}

/// Three decimals are enough for a person's seconds.
pub(crate) fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// `1.50 GB`: bytes for a person.
pub(crate) fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "bytes" { format!("{bytes} bytes") } else { format!("{value:.2} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.2} TB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_comes_first() {
        assert_eq!(event_line("code", json!({ "a": 1 })), r#"{"event":"code","a":1}"#);
        assert_eq!(event_line("x", json!({})), r#"{"event":"x"}"#);
    }

    #[test]
    fn bytes_read_well() {
        assert_eq!(human_bytes(999), "999 bytes");
        assert_eq!(human_bytes(1_500_000_000), "1.50 GB");
    }
}

//! One question, asked several times: for a diagnosis it counts how often it was answered.

use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Path, Rng, Time, unmapped};

use crate::{ChangeRequest, Class, Message, MessageWriter, Method, TransactionId};

/// No request is asked more often.
pub(super) const MAX_SENT: u32 = 16;
/// By how much a question is prolonged that loss has left open.
const PROLONG: u32 = 4;
/// Silence is taken for an answer only if loss explains it with less than this chance.
const DOUBT: f64 = 1e-3;

/// What a probe is for. Each is there once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Purpose {
    /// Tests I: how does this server see us?
    Ask(usize),
    /// How does the server see the socket that is the other end of the hairpin?
    Introduce,
    /// Mapping test II: the server's other address, and the same port.
    OtherAddress,
    /// Mapping test III: the server's other address and other port.
    OtherBoth,
    /// The server's other port, at the same address.
    OtherPort,
    /// Filtering test II: answer from the other address and port.
    ChangeBoth,
    /// Filtering test III: answer from the other port.
    ChangePort,
    /// Answer to a socket that never sent anything.
    Unsolicited,
    /// To the outer address of our other socket.
    Hairpin(u8),
    /// A request and an answer that are too long for one packet.
    Fragments,
    /// Makes the mapping of this sleeper.
    Sleep(usize),
    /// Has the server send to that mapping.
    Rouse(usize),
}

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Between two requests.
    pub(super) gap: Duration,
    /// By how much the gap grows each time.
    pub(super) growth: Duration,
    /// How many requests.
    pub(super) limit: u32,
    /// How long the last one waits.
    pub(super) patience: Duration,
    /// Whether the first answer ends it.
    pub(super) once: bool,
}

/// What is in a request beyond its header.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Asks {
    pub(super) change: Option<ChangeRequest>,
    pub(super) response_port: Option<u16>,
    pub(super) padding: Option<usize>,
}

/// An answer, as far as it matters.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The way it came.
    pub(super) from: Path,
    /// The address in it, or the error code.
    pub(super) mapped: Result<SocketAddr, u16>,
    /// Whether XOR-MAPPED-ADDRESS and MAPPED-ADDRESS are the same; `None` without both.
    pub(super) agree: Option<bool>,
    pub(super) other: Option<SocketAddr>,
    pub(super) software: Option<String>,
    /// How long the message was.
    pub(super) length: usize,
}

#[derive(Debug)]
pub(super) struct Probe {
    pub(super) purpose: Purpose,
    pub(super) id: TransactionId,
    pub(super) path: Path,
    pace: Pace,
    bytes: Box<[u8]>,
    pub(super) sent: u32,
    pub(super) answered: u32,
    first_sent: Option<Time>,
    pub(super) last_sent: Option<Time>,
    pub(super) rtt: Option<Duration>,
    pub(super) answer: Option<Answer>,
    /// When to send again; the time of the end, once all is sent.
    next: Time,
    /// To be sent as soon as there is room.
    due: bool,
    ended: bool,
}

/// What the silence of a probe means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Silence {
    /// It is not silent.
    Answered,
    /// It may still be answered.
    Open,
    /// The answers do not come through.
    Certain,
    /// They may as well have been lost.
    Doubtful,
}

impl Probe {
    pub(super) fn new(
        rng: &mut Rng,
        start: Time,
        purpose: Purpose,
        path: Path,
        asks: Asks,
        pace: Pace,
    ) -> Self {
        let id = TransactionId::random(rng);
        let mut buffer = vec![0; 64 + asks.padding.unwrap_or(0).next_multiple_of(4)];
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, id);
        if let Some(change) = asks.change {
            writer.change_request(change);
        }
        if let Some(port) = asks.response_port {
            writer.response_port(port);
        }
        if let Some(bytes) = asks.padding {
            writer.padding(bytes);
        }
        let length = writer.finish().expect("the buffer is as long as its content");
        buffer.truncate(length);
        Self {
            purpose,
            id,
            path,
            pace,
            bytes: buffer.into(),
            sent: 0,
            answered: 0,
            first_sent: None,
            last_sent: None,
            rtt: None,
            answer: None,
            next: start,
            due: false,
            ended: false,
        }
    }

    /// The request, if it is to be sent.
    pub(super) fn due(&self) -> Option<&[u8]> {
        (self.due && !self.ended).then_some(&*self.bytes)
    }

    pub(super) fn was_sent(&mut self, now: Time) {
        self.due = false;
        self.first_sent.get_or_insert(now);
        self.last_sent = Some(now);
        self.sent += 1;
        let wait = if self.sent < self.pace.limit {
            self.pace.gap + self.pace.growth * (self.sent - 1)
        } else {
            self.pace.patience
        };
        self.next = now + wait;
    }

    /// Sends again what is due, and ends what has waited long enough.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        if self.ended || self.due || self.next > now {
            return;
        }
        if self.sent < self.pace.limit {
            self.due = true;
        } else {
            self.ended = true;
        }
    }

    /// When to be called for that.
    pub(super) fn next(&self) -> Option<Time> {
        (!self.ended && !self.due).then_some(self.next)
    }

    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Takes an answer to this probe.
    pub(super) fn handle_answer(&mut self, now: Time, from: Path, message: &Message<'_>) {
        self.answered += 1;
        if self.answer.is_none() {
            self.rtt = self.first_sent.filter(|_| self.sent == 1).map(|sent| now.since(sent));
            self.answer = Some(Answer::new(from, message));
        }
        self.ended |= self.pace.once;
    }

    /// It has been seen to work, by other signs than an answer.
    pub(super) fn succeed(&mut self) {
        self.answered += 1;
        self.ended = true;
    }

    /// Asks more often than was planned. `false`: that was done often enough.
    pub(super) fn prolong(&mut self) -> bool {
        if self.pace.limit >= MAX_SENT {
            return false;
        }
        self.pace.limit = (self.pace.limit + PROLONG).min(MAX_SENT);
        self.ended = false;
        self.due = true;
        true
    }

    /// What it means that there is no answer. `control` went the way that the answers would have come, and is answered
    /// unless packets are lost.
    pub(super) fn silence(&self, control: &Self) -> Silence {
        if self.answered > 0 {
            return Silence::Answered;
        }
        if !self.ended {
            return Silence::Open;
        }
        // Laplace's rule of succession: what fails of the next request, given what failed of these.
        let lost = f64::from(control.sent.saturating_sub(control.answered) + 1) / f64::from(control.sent + 2);
        if lost.powi(self.sent as i32) < DOUBT { Silence::Certain } else { Silence::Doubtful }
    }
}

impl Answer {
    fn new(from: Path, message: &Message<'_>) -> Self {
        let (xored, plain) = (message.xor_mapped_address(), message.mapped_address());
        let mapped = match message.class() {
            Class::Success => xored.or(plain).map(unmapped).ok_or(0),
            _ => Err(message.error_code().map_or(0, |error| error.code)),
        };
        Self {
            from,
            mapped,
            agree: xored.zip(plain).map(|(xored, plain)| unmapped(xored) == unmapped(plain)),
            other: message.other_address().map(unmapped),
            software: message
                .software()
                .map(|text| text.chars().filter(|c| !c.is_control()).take(64).collect()),
            length: message.bytes().len(),
        }
    }
}

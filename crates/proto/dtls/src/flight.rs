use std::time::Duration;

use sansio::Time;

use crate::message::{Fragment, MESSAGE_HEADER};
use crate::record;

/// A record's epoch and number.
pub(crate) type RecordNumber = (u64, u64);

/// Transmissions of a piece that are remembered, in case that an old one is acknowledged.
const REMEMBERED: usize = 8;
/// It is not worth while to begin a fragment with fewer bytes, where the message goes on in the next datagram.
const CRUMB: usize = 64;
/// The longest time between two transmissions.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Messages that are sent together, and again until the other side has answered or acknowledged them
/// (RFC 9147 §5.7 and §7.2).
#[derive(Debug)]
pub(crate) struct Flight {
    messages: Vec<Outbound>,
    pieces: Vec<Piece>,
    /// Whether it is sent again without being asked for.
    awaits: bool,
    wait: Duration,
    first_wait: Duration,
    repetitions: u32,
    sent: Option<Time>,
}

#[derive(Debug)]
struct Outbound {
    /// The records' content type.
    record: u8,
    kind: u8,
    number: u16,
    epoch: u64,
    body: Vec<u8>,
}

/// A part of a message, as it was sent or is to be sent.
#[derive(Clone, Debug)]
struct Piece {
    message: usize,
    from: usize,
    to: usize,
    /// The records that it was sent in.
    records: Vec<RecordNumber>,
    is_waiting: bool,
}

/// What goes into the next record.
#[derive(Debug)]
pub(crate) struct Portion {
    pub(crate) record: u8,
    pub(crate) epoch: u64,
    pub(crate) length: usize,
    piece: usize,
}

impl Flight {
    pub(crate) fn new(first_wait: Duration) -> Self {
        Self {
            messages: Vec::new(),
            pieces: Vec::new(),
            awaits: false,
            wait: first_wait,
            first_wait,
            repetitions: 0,
            sent: None,
        }
    }

    /// A new, empty flight in place of the old, which has arrived.
    pub(crate) fn begin(&mut self, awaits: bool) {
        *self = Self { awaits, ..Self::new(self.first_wait) };
    }

    /// Adds a handshake message.
    pub(crate) fn add(&mut self, kind: u8, number: u16, epoch: u64, body: Vec<u8>) {
        self.add_outbound(Outbound { record: record::HANDSHAKE, kind, number, epoch, body });
    }

    /// Adds the record of DTLS 1.2 that says that what follows is protected.
    pub(crate) fn add_change_cipher_spec(&mut self) {
        let record = record::CHANGE_CIPHER_SPEC;
        self.add_outbound(Outbound { record, kind: 0, number: 0, epoch: 0, body: vec![1] });
    }

    fn add_outbound(&mut self, outbound: Outbound) {
        let (message, to) = (self.messages.len(), outbound.body.len());
        self.messages.push(outbound);
        self.pieces.push(Piece { message, from: 0, to, records: Vec::new(), is_waiting: true });
    }

    /// Lets a traitor change what a message of this kind says, before it is sealed. Returns whether there is one.
    #[cfg(test)]
    pub(crate) fn tamper(&mut self, kind: u8, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(at) = self.messages.iter().position(|message| message.kind == kind) else { return false };
        change(&mut self.messages[at].body);
        let piece = self.pieces.iter_mut().find(|piece| piece.message == at).expect("it was not sent");
        piece.to = self.messages[at].body.len();
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Whether anything of it is to be sent now.
    pub(crate) fn is_waiting(&self) -> bool {
        self.pieces.iter().any(|piece| piece.is_waiting)
    }

    /// How long to wait for an answer; `None`: none is awaited, or nothing was sent.
    pub(crate) fn wait(&self) -> Option<Duration> {
        let awaited = self.awaits && !self.is_empty() && !self.is_waiting();
        awaited.then_some(self.wait)
    }

    /// How long an answer takes at most, as we guess.
    pub(crate) fn patience(&self) -> Duration {
        self.wait
    }

    pub(crate) fn repetitions(&self) -> u32 {
        self.repetitions
    }

    /// There was no answer: all that is not acknowledged is sent again, and the next answer has more time.
    pub(crate) fn repeat(&mut self) {
        self.repetitions += 1;
        self.wait = (self.wait * 2).min(LONGEST_WAIT.max(self.first_wait));
        self.pieces.iter_mut().for_each(|piece| piece.is_waiting = true);
    }

    /// The other side shows that it lacks something: all that is not acknowledged is sent again, unless it was sent
    /// just now.
    pub(crate) fn resend(&mut self, now: Time, unless: Duration) {
        if self.sent.is_some_and(|sent| now.since(sent) >= unless) {
            self.pieces.iter_mut().for_each(|piece| piece.is_waiting = true);
        }
    }

    /// Takes out what was in these records. Returns whether that was the last of it.
    pub(crate) fn acknowledge(&mut self, records: &[RecordNumber]) -> bool {
        let before = self.pieces.len();
        self.pieces.retain(|piece| !piece.records.iter().any(|record| records.contains(record)));
        before > 0 && self.pieces.is_empty()
    }

    /// What of it comes next and fits into a datagram that has `used` bytes already, and `room` in all. `overhead` tells
    /// what a record of an epoch adds.
    pub(crate) fn next(
        &mut self,
        used: usize,
        room: usize,
        overhead: impl Fn(u64) -> usize,
    ) -> Option<Portion> {
        let at = self.pieces.iter().position(|piece| piece.is_waiting)?;
        let piece = &self.pieces[at];
        let outbound = &self.messages[piece.message];
        let header = if outbound.record == record::HANDSHAKE { MESSAGE_HEADER } else { 0 };
        let fits = (room - used).checked_sub(overhead(outbound.epoch) + header)?;
        let length = piece.to - piece.from;
        if length > fits {
            if fits < CRUMB && used > 0 {
                return None;
            }
            let mut rest = piece.clone();
            rest.from += fits;
            self.pieces[at].to = rest.from;
            self.pieces.insert(at + 1, rest);
        }
        let length = header + length.min(fits);
        let Outbound { record, epoch, .. } = self.messages[self.pieces[at].message];
        Some(Portion { record, epoch, length, piece: at })
    }

    /// Writes a portion where it belongs in its record.
    pub(crate) fn write(&self, portion: &Portion, out: &mut [u8]) {
        let Piece { message, from, to, .. } = self.pieces[portion.piece];
        let Outbound { record, kind, number, ref body, .. } = self.messages[message];
        let mut at = 0;
        if record == record::HANDSHAKE {
            at = MESSAGE_HEADER;
            out[..at].copy_from_slice(&Fragment::header(kind, body.len(), number, from, to - from));
        }
        out[at..portion.length].copy_from_slice(&body[from..to]);
    }

    /// A portion was sent in this record.
    pub(crate) fn note(&mut self, now: Time, portion: &Portion, record: RecordNumber) {
        let piece = &mut self.pieces[portion.piece];
        piece.is_waiting = false;
        if piece.records.len() >= REMEMBERED {
            piece.records.remove(0);
        }
        piece.records.push(record);
        self.sent = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    /// Sends all that waits. Returns how long the datagrams and what the records' messages are.
    fn send(flight: &mut Flight, mtu: usize, next: &mut u64) -> Vec<usize> {
        let mut datagrams = Vec::new();
        while flight.is_waiting() {
            let mut used = 0;
            while let Some(portion) = flight.next(used, mtu, |_| 13) {
                let mut out = vec![0; portion.length];
                flight.write(&portion, &mut out);
                flight.note(Time::ZERO, &portion, (0, *next));
                *next += 1;
                used += 13 + portion.length;
            }
            assert!(used <= mtu);
            datagrams.push(used);
        }
        datagrams
    }

    #[test]
    fn messages_are_cut_and_packed_and_what_is_acknowledged_is_not_sent_again() {
        let mut flight = Flight::new(WAIT);
        flight.begin(true);
        flight.add(1, 0, 0, vec![1; 100]);
        flight.add(2, 1, 0, vec![2; 300]);
        assert_eq!(flight.wait(), None, "nothing was sent");
        let mut next = 0;
        assert_eq!(send(&mut flight, 256, &mut next), [256, 100 + 300 - 206 + 25]);
        assert_eq!(flight.wait(), Some(WAIT));
        assert!(!flight.acknowledge(&[(0, 1), (7, 7)]));
        flight.repeat();
        assert_eq!(send(&mut flight, 256, &mut next), [256, 88 + 25]);
        assert_eq!(flight.wait(), Some(2 * WAIT));
        assert!(!flight.acknowledge(&[(0, 0)]), "an old copy of the first");
        assert!(flight.acknowledge(&[(0, 4), (0, 2)]));
        assert_eq!(flight.wait(), None);
    }

    #[test]
    fn it_is_sent_again_when_asked_for_but_not_at_once() {
        let mut flight = Flight::new(WAIT);
        flight.begin(false);
        flight.add(1, 0, 0, vec![1; 10]);
        send(&mut flight, 256, &mut 0);
        assert_eq!(flight.wait(), None, "no answer is awaited");
        flight.resend(Time::ZERO + WAIT / 4, WAIT / 2);
        assert!(!flight.is_waiting());
        flight.resend(Time::ZERO + WAIT, WAIT / 2);
        assert!(flight.is_waiting());
    }
}

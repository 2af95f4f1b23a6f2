use std::time::Duration;

use sansio::Time;

use crate::codec::vector;
use crate::flight::{Flight, RecordNumber};
use crate::message::KEY_UPDATE;
use crate::protection::Sealer;
use crate::record::{self, HEADER};
use crate::schedule;
use crate::suite::Suite;

/// Records that are acknowledged at once.
const MOST_ACKNOWLEDGED: usize = 32;
/// Records that AES-GCM may seal with one key: 2^24.5 (RFC 8446 §5.5).
const MOST_SEALED: u64 = 23_726_566;

/// All that leaves: the flight that is under way, acknowledgements, alerts, and what seals them.
#[derive(Debug)]
pub(crate) struct Outgoing {
    mtu: usize,
    rekey_after: u64,
    /// The number of the next record without protection.
    pub(crate) next_plain: u64,
    /// The number of the next handshake message.
    pub(crate) next_message: u16,
    pub(crate) flight: Flight,
    /// By epoch.
    sealers: Vec<Sealer>,
    /// How keys are renewed, in DTLS 1.3.
    suite: Option<Suite>,
    is_renewing: bool,
    /// Records of the flight that is coming in, and whether they are to be acknowledged now.
    received: Vec<RecordNumber>,
    /// Whether one of them has not been acknowledged.
    is_behind: bool,
    acknowledges: bool,
    alert: Option<[u8; 2]>,
}

impl Outgoing {
    pub(crate) fn new(mtu: usize, first_wait: Duration, rekey_after: u64) -> Self {
        Self {
            mtu,
            rekey_after,
            next_plain: 0,
            next_message: 0,
            flight: Flight::new(first_wait),
            sealers: Vec::new(),
            suite: None,
            is_renewing: false,
            received: Vec::new(),
            is_behind: false,
            acknowledges: false,
            alert: None,
        }
    }

    /// The largest datagram that the handshake sends.
    pub(crate) fn mtu(&self) -> usize {
        self.mtu
    }

    /// Begins a flight: what came before it is answered by it.
    pub(crate) fn begin(&mut self, awaits: bool) {
        self.flight.begin(awaits);
        self.forget_received();
    }

    /// Adds a handshake message to the flight. Returns its number.
    pub(crate) fn add(&mut self, kind: u8, epoch: u64, body: Vec<u8>) -> u16 {
        let number = self.next_message;
        // A client may have begun with the last number there is, and a server goes on from there.
        self.next_message = number.wrapping_add(1);
        self.flight.add(kind, number, epoch, body);
        number
    }

    pub(crate) fn add_sealer(&mut self, sealer: Sealer) {
        self.sealers.reserve_exact(1);
        self.sealers.push(sealer);
    }

    /// What application data is sealed with.
    pub(crate) fn sealer(&mut self) -> Option<&mut Sealer> {
        self.sealers.last_mut()
    }

    /// Whether the key may seal no more.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.sealers
            .last()
            .is_some_and(|sealer| sealer.is_spent() || sealer.secret.is_some() && sealer.next >= MOST_SEALED)
    }

    /// The association is up: keys are renewed from here on, where the version can.
    pub(crate) fn connected(&mut self, suite: Suite) {
        self.suite = Some(suite);
        if self.flight.is_empty() {
            self.retire();
        }
    }

    /// Forgets the keys of epochs that are over.
    fn retire(&mut self) {
        self.sealers.drain(..self.sealers.len().saturating_sub(1));
        // They are large, and there will be one for most of the time.
        self.sealers.shrink_to_fit();
    }

    /// Begins to renew the key if it is time to.
    pub(crate) fn renew_if_due(&mut self) {
        let Some(sealer) = self.sealers.last() else { return };
        if sealer.secret.is_some() && sealer.next >= self.rekey_after {
            self.renew();
        }
    }

    /// Tells the other side that the key will change (RFC 9147 §8), unless it is being told.
    pub(crate) fn renew(&mut self) {
        let Some(epoch) = self.sealers.last().map(|sealer| sealer.epoch) else { return };
        if self.suite.is_some() && self.flight.is_empty() {
            self.flight.begin(true);
            self.is_renewing = true;
            self.add(KEY_UPDATE, epoch, vec![0]);
        }
    }

    /// The other side has received these records. Returns whether that is all of the flight.
    pub(crate) fn acknowledge(&mut self, records: &[RecordNumber]) -> bool {
        let is_done = self.flight.acknowledge(records);
        if is_done && self.suite.is_some() {
            if std::mem::take(&mut self.is_renewing) {
                self.change_key();
            }
            self.retire();
        }
        is_done
    }

    fn change_key(&mut self) {
        let (Some(suite), Some(old)) = (self.suite, self.sealers.last()) else { return };
        let Some(secret) = &old.secret else { return };
        let secret = schedule::updated(suite.hash, secret);
        let keys = schedule::keys(suite, &secret);
        self.sealers.push(Sealer::new(old.epoch + 1, keys, Some(secret)));
    }

    /// Notes a record with a part of the flight that is coming in.
    pub(crate) fn note_received(&mut self, record: RecordNumber) {
        if !self.received.contains(&record) {
            if self.received.len() >= MOST_ACKNOWLEDGED {
                self.received.remove(0);
            }
            self.received.push(record);
            self.is_behind = true;
        }
    }

    /// Whether something came in that was neither answered nor acknowledged.
    pub(crate) fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// What came in is to be acknowledged.
    pub(crate) fn acknowledge_received(&mut self) {
        self.acknowledges = true;
    }

    fn forget_received(&mut self) {
        self.received.clear();
        (self.is_behind, self.acknowledges) = (false, false);
    }

    /// The last word.
    pub(crate) fn alert(&mut self, level: u8, description: u8) {
        self.alert = Some([level, description]);
    }

    /// Takes back all of the handshake that has not left.
    pub(crate) fn withdraw(&mut self) {
        self.begin(false);
    }

    /// Whether there is anything to send.
    pub(crate) fn is_waiting(&self) -> bool {
        self.flight.is_waiting() || self.acknowledges || self.alert.is_some()
    }

    /// Fills a datagram, and returns how long it is.
    pub(crate) fn write(&mut self, now: Time, buffer: &mut [u8]) -> usize {
        let (room, mut used) = (buffer.len(), 0);
        if std::mem::take(&mut self.acknowledges) {
            used = self.write_ack(buffer);
        }
        while let Some(portion) = self.flight.next(used, room, |epoch| overhead(&self.sealers, epoch)) {
            let rest = &mut buffer[used..];
            let front = front(&self.sealers, portion.epoch);
            self.flight.write(&portion, &mut rest[front..]);
            let number = match sealer(&mut self.sealers, portion.epoch) {
                Some(sealer) => sealer.next,
                None => self.next_plain,
            };
            self.flight.note(now, &portion, (portion.epoch, number));
            used += self.finish(portion.record, portion.epoch, rest, portion.length);
        }
        let latest = self.sealers.last().map_or(0, |sealer| sealer.epoch);
        if !self.flight.is_waiting()
            && used + overhead(&self.sealers, latest) + 2 <= buffer.len()
            && let Some(alert) = self.alert.take()
        {
            let rest = &mut buffer[used..];
            rest[front(&self.sealers, latest)..][..2].copy_from_slice(&alert);
            used += self.finish(record::ALERT, latest, rest, 2);
        }
        used
    }

    fn write_ack(&mut self, buffer: &mut [u8]) -> usize {
        let epoch = self.sealers.last().map_or(0, |sealer| sealer.epoch);
        // What nobody protected is not believed, and so not sent.
        if epoch == 0 {
            return 0;
        }
        self.received.sort_unstable();
        let mut body = Vec::new();
        vector(&mut body, 2, |out| {
            for (epoch, number) in &self.received {
                out.extend(epoch.to_be_bytes());
                out.extend(number.to_be_bytes());
            }
        });
        if overhead(&self.sealers, epoch) + body.len() > buffer.len() {
            return 0;
        }
        buffer[front(&self.sealers, epoch)..][..body.len()].copy_from_slice(&body);
        self.is_behind = false;
        if self.suite.is_some() {
            self.received.clear();
        }
        self.finish(record::ACK, epoch, buffer, body.len())
    }

    /// Seals a record whose content is in its place, or gives it its header. Returns its length.
    fn finish(&mut self, kind: u8, epoch: u64, buffer: &mut [u8], content: usize) -> usize {
        if let Some(sealer) = sealer(&mut self.sealers, epoch) {
            return sealer.seal(kind, buffer, content);
        }
        buffer[..HEADER].copy_from_slice(&record::header(kind, 0, self.next_plain, content));
        self.next_plain += 1;
        HEADER + content
    }
}

fn sealer(sealers: &mut [Sealer], epoch: u64) -> Option<&mut Sealer> {
    sealers.iter_mut().find(|sealer| sealer.epoch == epoch)
}

fn front(sealers: &[Sealer], epoch: u64) -> usize {
    sealers.iter().find(|sealer| sealer.epoch == epoch).map_or(HEADER, Sealer::front)
}

fn overhead(sealers: &[Sealer], epoch: u64) -> usize {
    sealers.iter().find(|sealer| sealer.epoch == epoch).map_or(HEADER, Sealer::overhead)
}

use crate::protection::{Opened, Opener};
use crate::record::Record;
use crate::schedule;
use crate::suite::Suite;

/// Records that were not sealed with one key, before it is not trusted any more (RFC 9147 §4.5.3).
const MOST_FORGED: u64 = 1 << 36;
/// Records that came before their keys.
const MOST_HELD: usize = 32;
const MOST_HELD_BYTES: usize = 32 * 1024;

/// What opens records, and those that came before it could.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    /// By epoch.
    openers: Vec<Opener>,
    held: Vec<Vec<u8>>,
    is_fresh: bool,
}

impl Incoming {
    /// Keys of a new epoch.
    pub(crate) fn add(&mut self, opener: Opener) {
        // They are large, and few.
        self.openers.reserve_exact(1);
        self.openers.push(opener);
        self.is_fresh = true;
    }

    /// The newest epoch that records come in.
    pub(crate) fn epoch(&self) -> u64 {
        self.openers.last().map_or(0, |opener| opener.epoch)
    }

    /// What opens a record. Where only the low bits of its epoch are known: the newest that has them (RFC 9147 §4.2.2).
    fn opener(&mut self, record: &Record<'_>) -> Option<&mut Opener> {
        self.openers.iter_mut().rev().find(|opener| match *record {
            Record::Long { epoch, .. } => opener.epoch == u64::from(epoch),
            Record::Unified { epoch, .. } => opener.epoch & 0b11 == u64::from(epoch),
        })
    }

    /// Whether there is a key for a record.
    pub(crate) fn knows(&mut self, record: &Record<'_>) -> bool {
        self.opener(record).is_some()
    }

    /// Opens a protected record where it lies. Returns its epoch with it.
    pub(crate) fn open<'a>(&mut self, record: Record<'a>) -> Option<(u64, Opened<'a>)> {
        let opener = self.opener(&record)?;
        let opened = match record {
            Record::Long { sequence, bytes, .. } => opener.open_long(bytes, sequence),
            Record::Unified { header, bytes, .. } => opener.open_unified(bytes, header),
        };
        Some((opener.epoch, opened?))
    }

    /// Whether so much was forged that a key must not be trusted any more.
    pub(crate) fn is_besieged(&self) -> bool {
        self.openers.iter().any(|opener| opener.forged > MOST_FORGED)
    }

    /// Changes the key of what comes in (RFC 9147 §8). The one before stays, for what is late.
    pub(crate) fn renew(&mut self, suite: Suite) {
        let Some(latest) = self.openers.last() else { return };
        let Some(secret) = &latest.secret else { return };
        let secret = schedule::updated(suite.hash, secret);
        let next = Opener::new(latest.epoch + 1, schedule::keys(suite, &secret), Some(secret));
        self.add(next);
        self.openers.drain(..self.openers.len() - 2);
    }

    /// Keeps a record until there are keys for it. Returns whether there was room.
    pub(crate) fn hold(&mut self, record: &[u8]) -> bool {
        let bytes: usize = self.held.iter().map(Vec::len).sum();
        let fits = self.held.len() < MOST_HELD && bytes + record.len() <= MOST_HELD_BYTES;
        if fits {
            self.held.push(record.to_vec());
        }
        fits
    }

    /// The records that were kept, if there are new keys since.
    pub(crate) fn release(&mut self) -> Vec<Vec<u8>> {
        if std::mem::take(&mut self.is_fresh) { std::mem::take(&mut self.held) } else { Vec::new() }
    }
}

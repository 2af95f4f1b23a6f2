use std::fmt;
use std::hash::Hasher;

use sansio::{Path, Time};

use crate::nat::Refusal;

/// Records kept in full unless [`Trace::keep`] says otherwise; later ones count in the digest only.
const RECORDS: usize = 200_000;

/// A host or a box, as an index into [`Trace::name`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Place(pub(crate) u32);

/// What became of a packet at one place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fate {
    /// It left a host.
    Sent,
    /// A box gave it another path.
    Translated {
        /// The path it has from here on.
        to: Path,
    },
    /// A link made a second one out of it.
    Duplicated,
    /// A link changed some of its bits.
    Tampered,
    /// It reached a socket.
    Delivered,
    /// It went no further.
    Dropped(Cause),
}

/// Why a packet went no further.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The link lost it.
    Lost,
    /// The link's queue was full.
    QueueFull,
    /// It was larger than the link's MTU.
    TooBig {
        /// That MTU, in bytes.
        mtu: usize,
    },
    /// The link was down.
    LinkDown,
    /// The segment has no route to where it goes.
    NoRoute,
    /// The segment ought to have a host with this address, but has none.
    NoHost,
    /// The host has no socket there (any more).
    NoSocket,
    /// More of a stream waits to be sent than a driver would keep.
    StreamFull,
    /// The stream it belonged to is gone.
    StreamGone,
    /// A NAT or firewall let it not pass.
    Refused(Refusal),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost => f.write_str("lost on the link"),
            Self::QueueFull => f.write_str("the link's queue is full"),
            Self::TooBig { mtu } => write!(f, "larger than the link's MTU of {mtu}"),
            Self::LinkDown => f.write_str("the link is down"),
            Self::NoRoute => f.write_str("no route"),
            Self::NoHost => f.write_str("no host has this address"),
            Self::NoSocket => f.write_str("no socket is bound there"),
            Self::StreamFull => f.write_str("too much of the stream waits already"),
            Self::StreamGone => f.write_str("the stream is gone"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

/// One line of a [`Trace`]: something happened to a packet somewhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Record {
    /// When.
    pub time: Time,
    /// At which host or box.
    pub place: Place,
    /// Which packet: the same number from [`Fate::Sent`] to its end, duplicates and repeats included.
    pub packet: u64,
    /// From where to where, as the packet says when it comes to `place`: `local` is the sender's address.
    pub path: Path,
    /// Bytes of payload.
    pub length: usize,
    /// A hash of the payload.
    pub hash: u64,
    /// What became of it.
    pub fate: Fate,
}

/// Everything that happened to every packet, in order. Same seed, same trace.
///
/// Two traces are equal if their digests are, and the records they kept; [`fmt::Display`] prints a line a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    names: Vec<String>,
    records: Vec<Record>,
    limit: usize,
    total: u64,
    digest: u64,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { names: Vec::new(), records: Vec::new(), limit: RECORDS, total: 0, digest: FNV_OFFSET }
    }

    pub(crate) fn add_place(&mut self, name: String) -> Place {
        self.names.push(name);
        Place(u32::try_from(self.names.len() - 1).expect("fewer than 2^32 places"))
    }

    pub(crate) fn push(&mut self, record: Record) {
        let mut hasher = Fnv(self.digest);
        std::hash::Hash::hash(&record, &mut hasher);
        self.digest = hasher.finish();
        self.total += 1;
        if self.records.len() < self.limit {
            self.records.push(record);
        }
    }

    /// Keeps at most `limit` records; the digest and the total count all of them anyway.
    pub fn keep(&mut self, limit: usize) {
        self.limit = limit;
        self.records.truncate(limit);
    }

    /// The records that were kept: the oldest ones.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The records whose packet went no further.
    pub fn drops(&self) -> impl Iterator<Item = (&Record, Cause)> {
        self.records.iter().filter_map(|record| match record.fate {
            Fate::Dropped(cause) => Some((record, cause)),
            _ => None,
        })
    }

    /// How many records there were, kept or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// A hash over all records, kept or not: equal for equal runs.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The name of a host or box.
    pub fn name(&self, place: Place) -> &str {
        &self.names[place.0 as usize]
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.names.iter().map(String::len).max().unwrap_or(0);
        for record in &self.records {
            let Record { time, place, packet, path, length, hash, fate } = record;
            let (seconds, name) = (time.elapsed().as_secs_f64(), self.name(*place));
            write!(f, "{seconds:>11.6} {name:<width$} #{packet} {path} {length} B {:08x} ", *hash as u32)?;
            match fate {
                Fate::Sent => f.write_str("sent"),
                Fate::Translated { to } => write!(f, "becomes {} -> {}", to.local, to.remote),
                Fate::Duplicated => f.write_str("duplicated"),
                Fate::Tampered => f.write_str("tampered with"),
                Fate::Delivered => f.write_str("delivered"),
                Fate::Dropped(cause) => write!(f, "dropped: {cause}"),
            }?;
            writeln!(f)?;
        }
        if self.total > self.records.len() as u64 {
            writeln!(f, "… and {} more", self.total - self.records.len() as u64)?;
        }
        Ok(())
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// A hash that is the same on every machine and every day, eight bytes a round. Not secure, and need not be.
struct Fnv(u64);

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }
    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(FNV_PRIME).rotate_left(29);
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }
    fn write_u16(&mut self, n: u16) {
        self.write_u64(n.into());
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
    fn write_isize(&mut self, n: isize) {
        self.write_u64(n as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// The hash that a [`Record`] tells of a payload. Four lanes, since each waits long for its multiplication.
pub(crate) fn hash(payload: &[u8]) -> u64 {
    let mut lanes = [0, 1, 2, 3].map(|lane| Fnv(FNV_OFFSET ^ (payload.len() as u64 + lane)));
    for chunk in payload.chunks(32) {
        let mut block = [0; 32];
        block[..chunk.len()].copy_from_slice(chunk);
        for (lane, word) in lanes.iter_mut().zip(block.as_chunks::<8>().0) {
            lane.write_u64(u64::from_le_bytes(*word));
        }
    }
    let mut hasher = Fnv(FNV_OFFSET);
    for lane in lanes {
        hasher.write_u64(lane.0);
    }
    hasher.finish()
}

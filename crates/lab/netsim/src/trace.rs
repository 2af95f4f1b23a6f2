use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use crate::content::Content;
use crate::digest::{FNV_OFFSET, Fnv};
use crate::record::{Cause, Fate, Place, PlaceKind, Record};

/// Records kept in full unless told otherwise; later ones count in the digest only.
const RECORDS: usize = 200_000;

/// Everything that happened to every packet, in order. Same seed, same trace.
///
/// Two traces are equal if their digests are, and the records they kept; [`fmt::Display`] prints a line a record.
/// A packet's way is the records with its number: [`Fate::Sent`] at a host, [`Fate::Translated`] or
/// [`Fate::Passed`] at each box, [`Fate::Delivered`] or [`Fate::Dropped`] at the end. [`Trace::way`] finds them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trace {
    places: Vec<(String, PlaceKind)>,
    records: Vec<Record>,
    /// One for each record, if payloads are kept.
    payloads: Vec<Option<Arc<[u8]>>>,
    /// Records at the front that are only still there because taking them out one by one is slow.
    stale: usize,
    limit: usize,
    latest: bool,
    keeps_payloads: bool,
    digests: bool,
    total: u64,
    digest: u64,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self {
            places: Vec::new(),
            records: Vec::new(),
            payloads: Vec::new(),
            stale: 0,
            limit: RECORDS,
            latest: false,
            keeps_payloads: false,
            digests: true,
            total: 0,
            digest: FNV_OFFSET,
        }
    }

    pub(crate) fn add_place(&mut self, name: String, kind: PlaceKind) -> Place {
        self.places.push((name, kind));
        Place(u32::try_from(self.places.len() - 1).expect("fewer than 2^32 places"))
    }

    /// Whether anybody wants to know about packets.
    pub(crate) fn is_on(&self) -> bool {
        self.digests || self.limit > 0
    }

    pub(crate) fn keeps_payloads(&self) -> bool {
        self.keeps_payloads && self.limit > 0
    }

    pub(crate) fn push(&mut self, record: Record, payload: Option<&Arc<[u8]>>) {
        self.total += 1;
        if self.digests {
            let mut hasher = Fnv::from(self.digest);
            std::hash::Hash::hash(&record, &mut hasher);
            self.digest = hasher.finish();
        }
        if self.limit == 0 {
            return;
        }
        if self.records.len() - self.stale >= self.limit {
            if !self.latest {
                return;
            }
            self.stale += 1;
            if self.stale >= self.limit.max(64) {
                self.drop_stale();
            }
        }
        self.records.push(record);
        if self.keeps_payloads {
            self.payloads.push(payload.cloned());
        }
    }

    fn drop_stale(&mut self) {
        self.records.drain(..self.stale);
        if !self.payloads.is_empty() {
            self.payloads.drain(..self.stale);
        }
        self.stale = 0;
    }

    /// Keeps at most `limit` records, the oldest ones; the digest and the total count all of them anyway.
    pub fn keep(&mut self, limit: usize) {
        self.drop_stale();
        (self.limit, self.latest) = (limit, false);
        self.records.truncate(limit);
        self.payloads.truncate(limit);
    }

    /// Keeps at most `limit` records, the latest ones.
    pub fn keep_latest(&mut self, limit: usize) {
        (self.limit, self.latest) = (limit, true);
        self.stale = self.stale.max(self.records.len().saturating_sub(limit));
        self.drop_stale();
    }

    /// Keeps the payloads of all packets from now on, as far as their records are kept, for
    /// [`Trace::payload`] and [`Trace::pcapng`]. A packet's payload is kept once, however many records it has.
    pub fn keep_payloads(&mut self) {
        self.keeps_payloads = true;
        self.payloads.resize(self.records.len(), None);
    }

    /// Keeps nothing and makes no digest, for measurements: a run without a trace is faster. Records are still
    /// counted.
    pub fn off(&mut self) {
        self.keep(0);
        self.digests = false;
    }

    /// The records that were kept.
    pub fn records(&self) -> &[Record] {
        &self.records[self.stale..]
    }

    /// The payload of one of [`Trace::records`], if it was kept.
    pub fn payload(&self, index: usize) -> Option<&[u8]> {
        self.payloads.get(self.stale + index)?.as_deref()
    }

    /// What happened to one packet, in order.
    pub fn way(&self, packet: u64) -> impl Iterator<Item = &Record> {
        self.records().iter().filter(move |record| record.packet == packet)
    }

    /// The records whose packet went no further.
    pub fn drops(&self) -> impl Iterator<Item = (&Record, Cause)> {
        self.records().iter().filter_map(|record| match record.fate {
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

    /// All hosts and boxes, in the order in which they were added.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        (0..self.places.len()).map(|index| Place(index as u32))
    }

    /// The name of a host or box.
    pub fn name(&self, place: Place) -> &str {
        &self.places[place.0 as usize].0
    }

    /// What is at a place.
    pub fn kind(&self, place: Place) -> PlaceKind {
        self.places[place.0 as usize].1
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.places.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for record in self.records() {
            let Record { time, place, packet, path, content, length, hash, fate } = record;
            let (seconds, name) = (time.elapsed().as_secs_f64(), self.name(*place));
            write!(f, "{seconds:>11.6} {name:<width$} #{packet} {path} ")?;
            if *content != Content::Datagram {
                write!(f, "{content} ")?;
            }
            writeln!(f, "{length} B {:08x} {fate}", *hash as u32)?;
        }
        let (kept, total) = (self.records().len() as u64, self.total);
        match (total - kept, self.latest) {
            (0, _) => Ok(()),
            (missing, true) => writeln!(f, "… after {missing} others"),
            (missing, false) => writeln!(f, "… and {missing} more"),
        }
    }
}

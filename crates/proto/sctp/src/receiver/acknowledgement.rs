use std::time::Duration;

use crate::chunk::{DUPLICATES, SACK_HEADER};
use crate::packet::{Writer, kind};
use crate::ranges::Ranges;
use crate::serial::START;

/// A SACK waits so long at most for a second packet. RFC 9260 §6.2 allows 200 ms.
pub(crate) const DELAY: Duration = Duration::from_millis(20);
/// What gap blocks can name.
const SPAN: u64 = 65_000;
/// Gaps that are kept: far more than a SACK can tell.
const MOST_GAPS: usize = 4096;
/// A SACK of many blocks is long, so it is sent for so many packets as it has of these.
const BLOCKS: u32 = 8;

/// What has come, and what the peer has to hear of it.
#[derive(Debug)]
pub(crate) struct Acknowledgement {
    /// Everything up to this unrolled TSN has come.
    cumulative: u64,
    /// What came beyond a gap.
    beyond: Ranges,
    duplicates: Vec<u32>,
    /// Packets with data since the last SACK.
    packets: u32,
    /// Whether the packet that is being taken in has data.
    fresh: bool,
    due: bool,
    /// Whether the last gap was closed since the last SACK.
    has_closed: bool,
    /// The last SACK, to write the next one where it was.
    written: Vec<u8>,
    /// What the last SACK had no room for: from this number on.
    rest: Option<u64>,
    /// Up to where what SACKs had no room for was told.
    told: u64,
}

impl Acknowledgement {
    /// `first` is the peer's first TSN.
    pub(crate) fn new(first: u32) -> Self {
        Self {
            cumulative: START + u64::from(first) - 1,
            beyond: Ranges::default(),
            duplicates: Vec::new(),
            packets: 0,
            fresh: false,
            due: false,
            has_closed: false,
            written: Vec::new(),
            rest: None,
            told: 0,
        }
    }

    pub(crate) fn cumulative(&self) -> u64 {
        self.cumulative
    }

    /// Whether this number has come.
    pub(crate) fn has(&self, tsn: u64) -> bool {
        tsn <= self.cumulative || !self.beyond.is_empty() && self.beyond.contains(tsn)
    }

    /// Whether this number, which has not come, can be taken.
    pub(crate) fn takes(&self, tsn: u64) -> bool {
        let extends =
            tsn == self.cumulative + 1 || self.beyond.len() < MOST_GAPS || self.beyond.contains(tsn - 1);
        tsn - self.cumulative <= SPAN && extends
    }

    /// This number has come for the first time.
    pub(crate) fn arrived(&mut self, tsn: u64, immediately: bool) {
        self.fresh = true;
        self.due |= immediately;
        if self.beyond.is_empty() && tsn == self.cumulative + 1 {
            self.cumulative = tsn;
            return;
        }
        self.beyond.insert(tsn, tsn, |_| {});
        self.join();
    }

    fn join(&mut self) {
        if let Some(last) = self.beyond.take_from(self.cumulative + 1) {
            (self.cumulative, self.has_closed) = (last, true);
        }
    }

    /// This number has come before.
    pub(crate) fn repeated(&mut self, tsn: u32) {
        self.fresh = true;
        self.due = true;
        if self.duplicates.len() < DUPLICATES {
            self.duplicates.push(tsn);
        }
    }

    /// The peer has given up all up to this number. Returns whether that can be.
    pub(crate) fn forward(&mut self, tsn: u64) -> bool {
        let last = self.beyond.last().unwrap_or(self.cumulative);
        if tsn > last + SPAN {
            return false;
        }
        self.cumulative = self.cumulative.max(tsn);
        self.beyond.remove_below(self.cumulative + 1);
        self.join();
        true
    }

    /// A packet is taken in. Returns whether a SACK may wait.
    pub(crate) fn packet(&mut self) -> bool {
        if !std::mem::take(&mut self.fresh) {
            return false;
        }
        self.packets += 1;
        self.due |= self.packets >= self.patience();
        !self.due
    }

    /// After how many packets there is a SACK: every second (RFC 9260 §6.2), every one if there are gaps (§6.7), and fewer if there are
    /// so many that SACKs would take a good part of the way back.
    fn patience(&self) -> u32 {
        match self.beyond.len() as u32 {
            0 if !self.has_closed => 2,
            blocks => (blocks / BLOCKS).max(1),
        }
    }

    pub(crate) fn hurry(&mut self) {
        self.due = true;
    }

    pub(crate) fn is_due(&self) -> bool {
        self.due
    }

    /// Whether there is something that the peer has not heard.
    pub(crate) fn is_pending(&self) -> bool {
        self.due || self.packets > 0
    }

    /// Writes a SACK, with as many gaps as fit.
    pub(crate) fn write(&mut self, window: u32, writer: &mut Writer<'_>) {
        if writer.room() < SACK_HEADER {
            return;
        }
        let last = self.write_from(0, kind::SACK, window, writer);
        self.rest = last.filter(|last| self.beyond.last().is_some_and(|highest| highest > *last));
        self.duplicates.clear();
        (self.packets, self.due, self.has_closed) = (0, false, false);
    }

    /// Whether the last SACK had no room for all.
    pub(crate) fn has_more(&self) -> bool {
        self.rest.is_some()
    }

    /// Writes gaps that the last SACK had no room for, in turns if that are too many.
    pub(crate) fn write_more(&mut self, window: u32, writer: &mut Writer<'_>) {
        if let Some(rest) = self.rest.take() {
            let again = self.beyond.last().is_none_or(|highest| highest <= self.told);
            let from = if again { rest } else { self.told.max(rest) };
            self.told = self.write_from(from, kind::FURTHER_SACK, window, writer).unwrap_or(0);
        }
    }

    /// Writes the blocks beyond a number. Returns where the last of them ends.
    fn write_from(&mut self, from: u64, kind: u8, window: u32, writer: &mut Writer<'_>) -> Option<u64> {
        let room = writer.room().saturating_sub(SACK_HEADER) / 4;
        let repeated = self.duplicates.len().min(room);
        let fields = &mut self.written;
        fields.clear();
        fields.extend((self.cumulative as u32).to_be_bytes());
        fields.extend(window.to_be_bytes());
        fields.extend([0; 4]);
        let (mut gaps, mut last) = (0u16, None);
        for range in self.beyond.iter_above(from).take(room - repeated) {
            let distance = |tsn: u64| ((tsn - self.cumulative) as u16).to_be_bytes();
            fields.extend(distance(range.first));
            fields.extend(distance(range.last));
            (gaps, last) = (gaps + 1, Some(range.last));
        }
        self.duplicates.iter().take(repeated).for_each(|tsn| fields.extend(tsn.to_be_bytes()));
        fields[8..10].copy_from_slice(&gaps.to_be_bytes());
        fields[10..12].copy_from_slice(&(repeated as u16).to_be_bytes());
        writer.chunk(kind, 0, &[fields.as_slice()]);
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Sack;
    use crate::packet::{Header, parse};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// The SACK: cumulative number, gaps, duplicates.
    fn told(state: &mut Acknowledgement, room: usize) -> (u32, Vec<(u16, u16)>, u16) {
        let mut buffer = vec![0; 12 + room];
        let mut writer = Writer::new(&mut buffer, Header { source: 1, destination: 2, tag: 3 });
        state.write(7, &mut writer);
        let used = writer.finish(true);
        let sack = Sack::parse(parse(&buffer[..used]).unwrap().1.next().unwrap()).unwrap();
        (sack.cumulative, sack.gaps().collect(), sack.duplicates)
    }

    #[test]
    fn every_second_packet_is_acknowledged_and_gaps_at_once() {
        let mut state = Acknowledgement::new(100);
        let first = START + 100;
        state.arrived(first, false);
        assert!(state.packet() && !state.is_due() && state.is_pending());
        state.arrived(first + 1, false);
        assert!(!state.packet() && state.is_due());
        assert_eq!(told(&mut state, 500), (101, vec![], 0));
        assert!(!state.is_pending());
        state.arrived(first + 3, false);
        assert!(!state.packet() && state.is_due());
        state.repeated(100);
        assert_eq!(told(&mut state, 500), (101, vec![(2, 2)], 1));
        state.arrived(first + 2, false);
        assert!(!state.packet() && state.is_due(), "a gap is filled");
        assert_eq!(told(&mut state, 500), (103, vec![], 0));
    }

    #[test]
    fn what_is_too_far_ahead_is_refused() {
        let mut state = Acknowledgement::new(0);
        assert!(state.takes(START + SPAN - 1) && !state.takes(START + SPAN));
        for number in 1..=MOST_GAPS as u64 {
            assert!(state.takes(START + 2 * number));
            state.arrived(START + 2 * number, false);
        }
        assert!(!state.takes(START + 2 * MOST_GAPS as u64 + 2));
        assert!(state.takes(START));
        let (_, gaps, _) = told(&mut state, 100);
        assert_eq!(gaps.len(), 21, "as many as fit");
        assert!(!state.forward(START + 2 * MOST_GAPS as u64 + SPAN + 1));
        assert!(state.forward(START + 5));
        assert_eq!(state.cumulative(), START + 6);
    }

    proptest! {
        #[test]
        fn the_blocks_tell_what_came(numbers in prop::collection::vec(0..60u64, 1..80)) {
            let mut state = Acknowledgement::new(5);
            let first = START + 5;
            let mut model = BTreeSet::new();
            for number in numbers {
                prop_assert_eq!(state.has(first + number), !model.insert(number));
                if !state.has(first + number) {
                    state.arrived(first + number, false);
                }
                let cumulative = (0..).take_while(|at| model.contains(at)).count() as u64;
                prop_assert_eq!(state.cumulative(), first + cumulative - 1);
                let (_, gaps, _) = told(&mut state, 1000);
                let named: Vec<u64> = gaps.iter().flat_map(|(a, b)| u64::from(*a)..=u64::from(*b)).map(|it| it + cumulative - 1).collect();
                prop_assert_eq!(named, model.iter().copied().filter(|it| *it >= cumulative).collect::<Vec<_>>());
            }
        }
    }
}

use std::collections::BTreeMap;
use std::time::Duration;

use sansio::Time;

use crate::rtcp::{CongestionFeedback, CongestionStream, PacketMetric};
use crate::sequence::Unroller;

/// When each packet of each source came, for who wants to know it by source (RFC 8888).
#[derive(Debug, Default)]
pub(super) struct Observed {
    sources: BTreeMap<u32, Row>,
}

#[derive(Debug, Default)]
struct Row {
    numbers: Unroller,
    /// What has not been reported.
    came: BTreeMap<u64, Time>,
    /// The first number that has not been reported.
    next: Option<u64>,
}

/// Sources that are observed at most.
const MAX_SOURCES: usize = 128;
/// Packets of one source that wait to be reported, or lie between two that do.
const MAX_PACKETS: usize = 512;
/// Packets in one report, so that it fits into a datagram.
const MAX_REPORTED: usize = 300;
/// RFC 8888 §3.1: 0x1FFE and 0x1FFF mean other things.
const LONGEST: u128 = 0x1ffd;

impl Observed {
    /// A packet of a source came.
    pub(super) fn handle_packet(&mut self, now: Time, ssrc: u32, sequence_number: u16) {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&ssrc) {
            return;
        }
        let row = self.sources.entry(ssrc).or_default();
        let number = row.numbers.unroll(sequence_number);
        if row.next.is_none_or(|next| number >= next) {
            row.came.entry(number).or_insert(now);
            if row.came.len() > MAX_PACKETS {
                row.came.pop_first();
            }
        }
    }

    /// Whether there is nothing to report.
    pub(super) fn is_empty(&self) -> bool {
        self.sources.values().all(|row| row.came.is_empty())
    }

    /// The report about what came since the last one, by a clock in 65,536ths of a second. To be called until there is
    /// none.
    pub(super) fn report(&mut self, now: Time, sender: u32, timestamp: u32) -> Option<CongestionFeedback> {
        let mut left = MAX_REPORTED;
        let mut streams = Vec::new();
        for (ssrc, row) in &mut self.sources {
            if let Some(stream) = row.report(now, *ssrc, left) {
                left -= stream.packets.len();
                streams.push(stream);
            }
        }
        (!streams.is_empty()).then_some(CongestionFeedback { sender, streams, timestamp })
    }
}

impl Row {
    fn report(&mut self, now: Time, ssrc: u32, left: usize) -> Option<CongestionStream> {
        let (lowest, _) = self.came.first_key_value()?;
        // A hole larger than a report is passed over.
        let first = self.next.filter(|next| lowest - next < left as u64).unwrap_or(*lowest);
        let (highest, _) = self.came.last_key_value()?;
        let behind = (highest + 1).min(first + left as u64);
        let packets: Vec<_> =
            (first..behind).map(|number| self.came.remove(&number).map(|at| metric(now.since(at)))).collect();
        if packets.is_empty() {
            return None;
        }
        self.next = Some(behind);
        Some(CongestionStream { ssrc, first: first as u16, packets })
    }
}

/// A packet that came so long ago. Marks of the network are not known here.
fn metric(ago: Duration) -> PacketMetric {
    PacketMetric { ecn: 0, offset: (ago.as_micros() * 1024 / 1_000_000).min(LONGEST) as u16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_packet_is_reported_once_and_so_is_what_is_missing() {
        let at = |milliseconds| Time::from_start(Duration::from_millis(milliseconds));
        let mut observed = Observed::default();
        assert_eq!(observed.report(at(0), 1, 0), None);
        for (time, ssrc, number) in [(0, 7, 65_535), (125, 7, 1), (250, 8, 3), (250, 7, 1)] {
            observed.handle_packet(at(time), ssrc, number);
        }
        let report = observed.report(at(250), 1, 99).unwrap();
        let offsets = |stream: &CongestionStream| {
            let offsets = stream.packets.iter().map(|packet| packet.map(|packet| packet.offset));
            (stream.ssrc, stream.first, offsets.collect::<Vec<_>>())
        };
        let told: Vec<_> = report.streams.iter().map(offsets).collect();
        assert_eq!(told, [(7, 65_535, vec![Some(256), None, Some(128)]), (8, 3, vec![Some(0)])]);
        assert!(observed.is_empty());
        observed.handle_packet(at(300), 7, 0);
        assert!(observed.is_empty(), "it was told to be missing");
        // A hole out of all measure, and more than fits.
        (0..400).for_each(|number| observed.handle_packet(at(400), 7, 5000 + number));
        let lengths: Vec<_> = std::iter::from_fn(|| observed.report(at(400), 1, 0))
            .map(|report| (report.streams[0].first, report.streams[0].packets.len()))
            .collect();
        assert_eq!(lengths, [(5000, 300), (5300, 100)]);
    }
}

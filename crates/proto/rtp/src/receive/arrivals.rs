use std::collections::BTreeMap;

use sansio::Time;

use crate::rtcp::{Arrival, TransportFeedback};
use crate::sequence::Unroller;

/// When each packet of a transport arrived, for feedback about it
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01): from which the sender learns how fast he may send.
#[derive(Debug, Default)]
pub struct Arrivals {
    numbers: Unroller,
    /// What has not been reported, in quarters of a millisecond.
    arrived: BTreeMap<u64, i64>,
    /// The first number that has not been reported.
    next: Option<u64>,
    reports: u8,
}

/// Packets that wait to be reported; if nobody does, the oldest are forgotten.
const MAX_PACKETS: usize = 4096;
/// Packets that arrived in one report, so that it fits into a datagram.
const MAX_REPORTED: usize = 400;
/// The unit of a reference time, in quarters of a millisecond.
const REFERENCE: i64 = 256;

impl Arrivals {
    /// A packet came that had this transport-wide number.
    pub fn handle_packet(&mut self, now: Time, number: u16) {
        let number = self.numbers.unroll(number);
        let next = *self.next.get_or_insert(number);
        // What comes after it was reported as missing is not reported again.
        if number < next {
            return;
        }
        let ticks = (now.elapsed().as_micros() / 250) as i64;
        self.arrived.entry(number).or_insert(ticks);
        if self.arrived.len() > MAX_PACKETS {
            self.arrived.pop_first();
            self.next = self.arrived.first_key_value().map(|(first, _)| *first);
        }
    }

    /// Whether there is something to report. Browsers do it every 50 to 100 ms.
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    /// The report about what came since the last one, from us (`sender`) and about one of the sources that came
    /// (`media`). To be called until there is none: a report has no more than fits into a packet.
    pub fn report(&mut self, sender: u32, media: u32) -> Option<TransportFeedback> {
        let (first_arrived, ticks) =
            self.arrived.first_key_value().map(|(number, ticks)| (*number, *ticks))?;
        // After a hole larger than a report can say it begins behind.
        let first = self.next.filter(|next| first_arrived - next < 0x8000).unwrap_or(first_arrived);
        let reference = ticks.div_euclid(REFERENCE);
        let mut clock = reference * REFERENCE;
        let mut arrivals: Vec<Arrival> = Vec::new();
        let mut behind = first;
        while let Some(entry) = self.arrived.first_entry() {
            let (number, ticks) = (*entry.key(), *entry.get());
            // 8 s apart is another report; so is another half of the circle of numbers.
            let Ok(delta) = i16::try_from(ticks - clock) else { break };
            if arrivals.len() == MAX_REPORTED || number - first >= 0x8000 {
                break;
            }
            entry.remove();
            arrivals.push(Arrival { sequence_number: number as u16, delta });
            clock = ticks;
            behind = number + 1;
        }
        self.next = Some(behind);
        let number = self.reports;
        self.reports = self.reports.wrapping_add(1);
        Some(TransportFeedback {
            sender,
            media,
            first: first as u16,
            count: (behind - first) as u16,
            // 24 bits of it are sent, with a sign.
            reference: (reference as i32) << 8 >> 8,
            number,
            arrivals,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::{Compound, CompoundWriter, Packet};
    use proptest::prelude::*;
    use std::time::Duration;

    fn sent(feedback: &TransportFeedback) -> TransportFeedback {
        let mut buffer = [0; 1400];
        let mut writer = CompoundWriter::new(&mut buffer);
        writer.add(&Packet::from(feedback.clone())).expect("a report fits into a datagram");
        let length = writer.finish();
        match Compound::parse(&buffer[..length]).unwrap().next() {
            Some(Ok(Packet::TransportFeedback(feedback))) => feedback,
            other => panic!("{other:?}"),
        }
    }

    proptest! {
        /// What a sender reads out of reports is what came, packet by packet, and nothing else.
        #[test]
        fn everything_is_reported_once(
            start: u16,
            start_time in 0..10_000_000u64,
            steps in prop::collection::vec((1..5u16, 0..20_000u64, prop::bool::weighted(0.05), prop::bool::weighted(0.002)), 1..1500),
        ) {
            let mut arrivals = Arrivals::default();
            let (mut number, mut now) = (u64::from(start), Time::from_start(Duration::from_millis(start_time)));
            let (mut came, mut told) = (Vec::new(), Vec::new());
            let mut expected = u64::from(start) + 1;
            let mut tell = |arrivals: &mut Arrivals, told: &mut Vec<(u16, i64)>| {
                while let Some(feedback) = arrivals.report(1, 2) {
                    let feedback = sent(&feedback);
                    prop_assert_eq!(feedback.first, expected as u16);
                    expected += u64::from(feedback.count);
                    let mut clock = i64::from(feedback.reference) * REFERENCE;
                    for arrival in feedback.arrivals {
                        clock += i64::from(arrival.delta);
                        told.push((arrival.sequence_number, clock & 0xffff_ffff));
                    }
                }
                prop_assert!(arrivals.is_empty());
                Ok(())
            };
            for (at, (gap, micros, report, pause)) in steps.into_iter().enumerate() {
                number += if at == 0 { 1 } else { u64::from(gap) };
                now += Duration::from_micros(micros) + Duration::from_secs(if pause { 9 } else { 0 });
                arrivals.handle_packet(now, number as u16);
                arrivals.handle_packet(now, number as u16);
                came.push((number as u16, (now.elapsed().as_micros() / 250) as i64 & 0xffff_ffff));
                if report {
                    tell(&mut arrivals, &mut told)?;
                }
            }
            tell(&mut arrivals, &mut told)?;
            prop_assert_eq!(told, came);
        }
    }

    #[test]
    fn what_was_overtaken_is_told_as_long_as_it_was_not_reported() {
        let mut arrivals = Arrivals::default();
        let at = |milliseconds| Time::from_start(Duration::from_millis(milliseconds));
        arrivals.handle_packet(at(100), 10);
        arrivals.handle_packet(at(110), 12);
        arrivals.handle_packet(at(120), 11);
        let feedback = arrivals.report(1, 2).unwrap();
        let deltas: Vec<_> =
            feedback.arrivals.iter().map(|arrival| (arrival.sequence_number, arrival.delta)).collect();
        assert_eq!((feedback.reference, deltas), (1, vec![(10, 144), (11, 80), (12, -40)]));
        arrivals.handle_packet(at(130), 9);
        assert_eq!(arrivals.report(1, 2), None);
    }

    #[test]
    fn who_is_never_asked_forgets_the_oldest() {
        let mut arrivals = Arrivals::default();
        for number in 0..10_000 {
            arrivals.handle_packet(Time::ZERO, number);
        }
        assert_eq!(arrivals.arrived.len(), MAX_PACKETS);
        let feedback = arrivals.report(1, 2).unwrap();
        assert_eq!(
            (usize::from(feedback.first), feedback.arrivals.len()),
            (10_000 - MAX_PACKETS, MAX_REPORTED)
        );
    }
}

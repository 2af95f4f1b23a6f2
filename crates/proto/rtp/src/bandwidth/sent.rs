use std::collections::VecDeque;
use std::time::Duration;

use sansio::Time;

use crate::rtcp::TransportFeedback;
use crate::sequence::Unroller;

/// What is known of a packet that was sent, once the receiver has reported about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    pub(super) sent: Time,
    pub(super) bytes: usize,
    /// When it arrived, by the receiver's clock, from some moment on; `None` if it did not.
    pub(super) arrived: Option<Duration>,
    /// The probe that it was part of.
    pub(super) probe: Option<u32>,
}

/// The packets of a transport that nobody has reported about yet.
#[derive(Debug, Default)]
pub(super) struct SentPackets {
    numbers: Unroller,
    packets: VecDeque<SentPacket>,
    /// The receiver's clock goes around after 12 days; unrolled.
    reference: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct SentPacket {
    number: u64,
    at: Time,
    bytes: usize,
    probe: Option<u32>,
}

/// Packets that are remembered: a second and more of what the fastest send.
const MAX_PACKETS: usize = 8192;
/// The unit of a reference time.
const REFERENCE: Duration = Duration::from_millis(64);

impl SentPackets {
    /// Remembers a packet. Numbers come in their order.
    pub(super) fn push(&mut self, at: Time, number: u16, bytes: usize, probe: Option<u32>) {
        let number = self.numbers.unroll(number);
        if self.packets.back().is_some_and(|last| last.number >= number) {
            return;
        }
        if self.packets.len() == MAX_PACKETS {
            self.packets.pop_front();
        }
        self.packets.push_back(SentPacket { number, at, bytes, probe });
    }

    /// What the feedback says of packets that are remembered. Those before its first number are forgotten: feedback
    /// about them was lost.
    pub(super) fn outcomes(&mut self, feedback: &TransportFeedback) -> Vec<Outcome> {
        let first = self.numbers.peek(feedback.first);
        let behind = first + u64::from(feedback.count);
        while self.packets.front().is_some_and(|packet| packet.number < first) {
            self.packets.pop_front();
        }
        // Time before the first feedback's is there too, so that nothing is negative.
        let mut clock = (self.unrolled(feedback.reference) + (1 << 24)) * REFERENCE.as_micros() as i64;
        let mut arrivals = feedback.arrivals.iter().peekable();
        let mut outcomes = Vec::new();
        while let Some(packet) = self.packets.front().copied().filter(|packet| packet.number < behind) {
            let mut arrived = None;
            while let Some(arrival) =
                arrivals.next_if(|next| self.numbers.peek(next.sequence_number) <= packet.number)
            {
                clock += i64::from(arrival.delta) * 250;
                if self.numbers.peek(arrival.sequence_number) == packet.number {
                    arrived = Some(Duration::from_micros(clock.max(0).cast_unsigned()));
                }
            }
            outcomes.push(Outcome { sent: packet.at, bytes: packet.bytes, arrived, probe: packet.probe });
            self.packets.pop_front();
        }
        outcomes
    }

    /// The reference time nearest to the last one.
    fn unrolled(&mut self, reference: i32) -> i64 {
        let last = self.reference.unwrap_or(i64::from(reference));
        let ahead = (i64::from(reference) - last) & 0xff_ffff;
        let unrolled = last + if ahead < 0x80_0000 { ahead } else { ahead - 0x100_0000 };
        self.reference = Some(unrolled);
        unrolled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::Arrival;

    #[test]
    fn feedback_is_matched_with_what_was_sent() {
        let mut sent = SentPackets::default();
        for number in [65_534, 65_535, 0, 1, 2] {
            sent.push(Time::ZERO, number, 100, (number == 1).then_some(7));
        }
        let arrival = |sequence_number, delta| Arrival { sequence_number, delta };
        let mut feedback = TransportFeedback {
            first: 65_535,
            count: 3,
            reference: -1,
            arrivals: vec![arrival(65_535, 4), arrival(1, -2)],
            ..TransportFeedback::default()
        };
        let outcomes = sent.outcomes(&feedback);
        let arrived: Vec<_> = outcomes.iter().map(|outcome| outcome.arrived).collect();
        let start = REFERENCE * ((1 << 24) - 1);
        assert_eq!(
            arrived,
            [Some(start + Duration::from_millis(1)), None, Some(start + Duration::from_micros(500))]
        );
        assert_eq!(outcomes[2].probe, Some(7));
        assert_eq!(sent.outcomes(&feedback), [], "each is told once");
        // The clock goes on where its 24 bits go around.
        feedback =
            TransportFeedback { first: 2, count: 1, reference: 0, arrivals: vec![arrival(2, 0)], ..feedback };
        assert_eq!(sent.outcomes(&feedback)[0].arrived, Some(start + REFERENCE));
    }
}

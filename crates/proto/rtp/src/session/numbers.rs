use std::collections::VecDeque;

use crate::rtcp::{Arrival, CongestionFeedback, CongestionStream, TransportFeedback};

/// Which packet of which source had which number of the transport: so that feedback by source (RFC 8888) is understood
/// by who knows packets of the transport.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    /// What nobody has reported about, in the order in which it left.
    sent: VecDeque<Sent>,
    /// The clock of the reports, which goes around after 18 hours; unrolled.
    clock: Option<i64>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    number: u16,
    ssrc: u32,
    sequence_number: u16,
}

/// Packets that are remembered.
const MAX_PACKETS: usize = 8192;
/// The unit of a reference time, in quarters of a millisecond.
const REFERENCE: i64 = 256;

impl Numbers {
    /// A packet left.
    pub(super) fn push(&mut self, number: u16, ssrc: u32, sequence_number: u16) {
        if self.sent.len() == MAX_PACKETS {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent { number, ssrc, sequence_number });
    }

    /// The feedback as one about packets of the transport; `None` if it is about none that is remembered.
    pub(super) fn translate(&mut self, feedback: &CongestionFeedback) -> Option<TransportFeedback> {
        let clock = self.unrolled(feedback.timestamp);
        let reported = |sent: &Sent| {
            let stream = feedback.streams.iter().find(|stream| stream.ssrc == sent.ssrc)?;
            Some((sent.number, outcome(stream, sent.sequence_number)?))
        };
        let first = self.sent.iter().position(|sent| reported(sent).is_some())?;
        let behind = self.sent.iter().rposition(|sent| reported(sent).is_some())? + 1;
        // What lies between and is not reported was overtaken by what is: it counts as lost, as with other feedback.
        let outcomes: Vec<_> =
            self.sent.drain(..behind).skip(first).map(|sent| (sent.number, reported(&sent))).collect();
        let (number, _) = *outcomes.first()?;
        let came = |(number, outcome): &(u16, Option<(u16, Option<u16>)>)| {
            let (_, offset) = (*outcome)?;
            // 1,024ths of a second before the report's time, in quarters of a millisecond.
            Some((*number, clock - i64::from(offset?) * 4000 / 1024))
        };
        let (_, begin) = outcomes.iter().find_map(came).unwrap_or((number, clock));
        let reference = begin.div_euclid(REFERENCE);
        let mut last = reference * REFERENCE;
        let mut arrivals = Vec::new();
        for (sequence_number, ticks) in outcomes.iter().filter_map(came) {
            // 8 s apart is out of all measure.
            let Ok(delta) = i16::try_from(ticks - last) else { continue };
            arrivals.push(Arrival { sequence_number, delta });
            last = ticks;
        }
        Some(TransportFeedback {
            sender: feedback.sender,
            media: 0,
            first: number,
            count: outcomes.len() as u16,
            reference: (reference as i32) << 8 >> 8,
            number: 0,
            arrivals,
        })
    }

    /// The time of a report, in quarters of a millisecond: the nearest to the last one.
    fn unrolled(&mut self, timestamp: u32) -> i64 {
        let last = self.clock.unwrap_or(i64::from(timestamp));
        let unrolled = last + i64::from(timestamp.wrapping_sub(last as u32).cast_signed());
        self.clock = Some(unrolled);
        unrolled * 4000 / 65_536
    }
}

/// What is said of a packet: how long before the report it came, or that it did not; `None` if nothing is said.
fn outcome(stream: &CongestionStream, sequence_number: u16) -> Option<Option<u16>> {
    let at = usize::from(sequence_number.wrapping_sub(stream.first));
    stream.packets.get(at).map(|packet| packet.map(|packet| packet.offset))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtcp::PacketMetric;

    #[test]
    fn feedback_by_source_is_told_by_the_transports_numbers() {
        let mut numbers = Numbers::default();
        for (number, ssrc, sequence_number) in
            [(65_534, 7, 10), (65_535, 8, 99), (0, 7, 11), (1, 7, 12), (2, 8, 100)]
        {
            numbers.push(number, ssrc, sequence_number);
        }
        let metric = |offset| Some(PacketMetric { ecn: 0, offset });
        let stream = |ssrc, first, packets| CongestionStream { ssrc, first, packets };
        let feedback = CongestionFeedback {
            sender: 1,
            timestamp: 10 << 16,
            streams: vec![
                stream(7, 11, vec![metric(512), None]),
                stream(8, 99, vec![metric(256)]),
                stream(9, 0, vec![metric(0)]),
            ],
        };
        let told = numbers.translate(&feedback).unwrap();
        let mut clock = i64::from(told.reference) * REFERENCE;
        let arrivals: Vec<_> = told
            .arrivals
            .iter()
            .map(|arrival| {
                clock += i64::from(arrival.delta);
                (arrival.sequence_number, clock)
            })
            .collect();
        assert_eq!((told.first, told.count), (65_535, 3));
        assert_eq!(arrivals, [(65_535, 39_000), (0, 38_000)]);
        assert_eq!(numbers.translate(&feedback), None, "each is told once");
        assert_eq!(numbers.sent.len(), 1);
    }
}

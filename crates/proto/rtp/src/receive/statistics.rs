use std::time::Duration;

use sansio::Time;

use crate::ntp;
use crate::packet::Header;
use crate::rtcp::{ReportBlock, SenderReport};
use crate::sequence::Unroller;

/// What is counted of a source that is received, for reports about it (RFC 3550 §6.4, appendix A).
#[derive(Clone, Debug)]
pub struct Statistics {
    ssrc: u32,
    clock_rate: u32,
    numbers: Unroller,
    first: u64,
    received: u64,
    bytes: u64,
    /// How irregularly packets come, in 16ths of a unit of the timestamps.
    jitter: u64,
    /// When the last packet came, and its timestamp.
    last: Option<(Time, u32)>,
    /// What was expected and received when the last report was made.
    reported: (u64, u64),
    /// The last sender report, and when it came.
    sender: Option<(Time, SenderReport)>,
}

impl Statistics {
    /// Of a source whose timestamps grow by `clock_rate` in a second.
    pub fn new(ssrc: u32, clock_rate: u32) -> Self {
        Self {
            ssrc,
            clock_rate: clock_rate.max(1),
            numbers: Unroller::default(),
            first: 0,
            received: 0,
            bytes: 0,
            jitter: 0,
            last: None,
            reported: (0, 0),
            sender: None,
        }
    }

    /// Counts a packet that came, with so many bytes of payload. Retransmissions are not counted here: they are
    /// another source.
    pub fn handle_packet(&mut self, now: Time, header: &Header, bytes: usize) {
        let number = self.numbers.unroll(header.sequence_number);
        if self.received == 0 || number < self.first {
            self.first = number;
        }
        self.received += 1;
        self.bytes += bytes as u64;
        // RFC 3550 §A.8: packets of one timestamp, of one picture, say nothing about the network's haste.
        if let Some((then, timestamp)) = self.last.filter(|(_, timestamp)| *timestamp != header.timestamp) {
            let ticks = now.since(then).as_nanos() * u128::from(self.clock_rate) / 1_000_000_000;
            let transit = (ticks as i64) - i64::from(header.timestamp.wrapping_sub(timestamp).cast_signed());
            // What no network does is a clock that was set: it does not count.
            if transit.unsigned_abs() < 10 * u64::from(self.clock_rate) {
                self.jitter += transit.unsigned_abs();
                self.jitter -= (self.jitter - transit.unsigned_abs() + 8) >> 4;
            }
        }
        if self.last.is_none_or(|(_, timestamp)| timestamp != header.timestamp) {
            self.last = Some((now, header.timestamp));
        }
    }

    /// Remembers what the source says of itself.
    pub fn handle_sender_report(&mut self, now: Time, report: &SenderReport) {
        self.sender = Some((now, report.clone()));
    }

    /// The report about all that came since the last one.
    pub fn report(&mut self, now: Time) -> ReportBlock {
        let expected = self.expected();
        // RFC 3550 §A.3.
        let (expected_now, received_now) = (expected - self.reported.0, self.received - self.reported.1);
        self.reported = (expected, self.received);
        let lost_now = expected_now.saturating_sub(received_now);
        let fraction_lost = (lost_now * 256).checked_div(expected_now).unwrap_or(0).min(255) as u8;
        let (last_report, delay) = match &self.sender {
            Some((then, report)) => (ntp::middle(report.ntp), ntp::units(now.since(*then))),
            None => (0, 0),
        };
        ReportBlock {
            ssrc: self.ssrc,
            fraction_lost,
            lost: self.lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            // The unrolled numbers begin one circle above zero.
            highest_sequence_number: self.numbers.highest().map_or(0, |highest| (highest - (1 << 16)) as u32),
            jitter: (self.jitter >> 4) as u32,
            last_report,
            delay,
        }
    }

    /// The moment that a timestamp means by the sender's clock, as NTP counts, once he has said which is which: by
    /// this sound and pictures are put together again (RFC 3550 §6.4.1).
    pub fn captured(&self, timestamp: u32) -> Option<u64> {
        let (_, report) = self.sender.as_ref()?;
        let ticks = i64::from(timestamp.wrapping_sub(report.timestamp).cast_signed());
        let offset = (i128::from(ticks) << 32) / i128::from(self.clock_rate);
        Some(report.ntp.wrapping_add_signed(offset as i64))
    }

    /// Packets received.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Bytes of payload received.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Packets lost so far: fewer than none, if some came twice.
    pub fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    /// How irregularly packets come.
    pub fn jitter(&self) -> Duration {
        Duration::from_nanos(((self.jitter >> 4) * 1_000_000_000) / u64::from(self.clock_rate))
    }

    fn expected(&self) -> u64 {
        self.numbers.highest().map_or(0, |highest| highest - self.first + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Time {
        Time::from_start(Duration::from_millis(milliseconds))
    }

    fn packet(sequence_number: u16, timestamp: u32) -> Header {
        Header { sequence_number, timestamp, ssrc: 7, ..Header::default() }
    }

    #[test]
    fn losses_are_counted_since_the_last_report_and_in_all() {
        let mut statistics = Statistics::new(7, 48_000);
        for number in (0..100u16).filter(|number| number % 4 != 1) {
            statistics.handle_packet(
                at(number.into()),
                &packet(number.wrapping_sub(50), u32::from(number) * 48),
                10,
            );
        }
        let report = statistics.report(at(100));
        assert_eq!((report.fraction_lost, report.lost), (64, 25));
        assert_eq!(report.highest_sequence_number, (1 << 16) + 49, "it went around once");
        assert_eq!((statistics.received(), statistics.bytes()), (75, 750));
        for number in 100..110 {
            statistics.handle_packet(at(number.into()), &packet(number - 50, u32::from(number) * 48), 10);
        }
        let report = statistics.report(at(110));
        assert_eq!((report.fraction_lost, report.lost), (0, 25));
        // Twice is more than expected.
        for _ in 0..40 {
            statistics.handle_packet(at(110), &packet(59, 109 * 48), 10);
        }
        assert_eq!((statistics.report(at(111)).fraction_lost, statistics.lost()), (0, -15));
        assert_eq!(statistics.report(at(112)).fraction_lost, 0, "nothing was expected");
    }

    #[test]
    fn jitter_is_what_the_network_adds() {
        let mut even = Statistics::new(7, 8000);
        let mut uneven = Statistics::new(7, 8000);
        for number in 0..200u16 {
            let (header, time) = (packet(number, u32::from(number) * 160), u64::from(number) * 20);
            even.handle_packet(at(1000 + time), &header, 1);
            uneven.handle_packet(at(1000 + time + u64::from(number % 2) * 10), &header, 1);
        }
        assert_eq!(even.report(at(9000)).jitter, 0);
        // Every other packet is 10 ms late: the differences are 80 units.
        assert!((76..=80).contains(&uneven.report(at(9000)).jitter));
        assert!((9..=10).contains(&uneven.jitter().as_millis()));
    }

    #[test]
    fn a_timestamp_means_a_moment_once_the_sender_has_said_which() {
        let mut statistics = Statistics::new(7, 90_000);
        assert_eq!(statistics.captured(0), None);
        let report = SenderReport { ssrc: 7, ntp: 100 << 32, timestamp: 10, ..SenderReport::default() };
        statistics.handle_sender_report(at(500), &report);
        assert_eq!(statistics.captured(10 + 45_000), Some((100 << 32) + (1 << 31)));
        assert_eq!(statistics.captured(10u32.wrapping_sub(90_000)), Some(99 << 32));
        let block = statistics.report(at(750));
        assert_eq!((block.last_report, block.delay), (100 << 16, 1 << 14));
    }
}

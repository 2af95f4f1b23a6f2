use std::time::Duration;

use sansio::{Rng, Time};

use crate::ntp::{self, NtpClock};
use crate::packet::Header;
use crate::rtcp::{ReportBlock, SenderReport};

/// What a [`Source`] sends as.
#[derive(Clone, Copy, Debug)]
pub struct SourceConfig {
    /// Its number.
    pub ssrc: u32,
    /// The payload type that was negotiated for its format.
    pub payload_type: u8,
    /// By how much its timestamps grow in a second.
    pub clock_rate: u32,
}

/// A source that we send: it numbers packets, and counts them for reports (RFC 3550 §5.1, §6.4.1).
#[derive(Clone, Debug)]
pub struct Source {
    config: SourceConfig,
    next: u16,
    /// What is added to timestamps, so that nobody can guess them.
    offset: u32,
    packets: u64,
    bytes: u64,
    /// When something of this timestamp was captured.
    captured: Option<(Time, u32)>,
    fraction_lost: u8,
    lost: i32,
    round_trip: Option<Duration>,
}

impl Source {
    /// Begins with numbers that nobody can guess. The first sequence number lies below 32,768, as SRTP wants it
    /// (RFC 3711 §3.3.1).
    pub fn new(config: SourceConfig, rng: &mut Rng) -> Self {
        Self {
            config,
            next: (rng.next_u32() & 0x7fff) as u16,
            offset: rng.next_u32(),
            packets: 0,
            bytes: 0,
            captured: None,
            fraction_lost: 0,
            lost: 0,
            round_trip: None,
        }
    }

    /// Its number.
    pub fn ssrc(&self) -> u32 {
        self.config.ssrc
    }

    /// Sends under another payload type from now on, as a renegotiation may want it. The clock stays.
    pub fn set_payload_type(&mut self, payload_type: u8) {
        self.config.payload_type = payload_type;
    }

    /// Sends in another format from now on. If its clock is another, timestamps jump (RFC 7160 §4).
    pub fn set_format(&mut self, payload_type: u8, clock_rate: u32) {
        (self.config.payload_type, self.config.clock_rate) = (payload_type, clock_rate);
    }

    /// Counts a packet that somebody else has numbered and that leaves as one of this source.
    pub fn forward(&mut self, now: Time, timestamp: u32, bytes: usize) {
        if self.captured.is_none_or(|(_, last)| last != timestamp) {
            self.captured = Some((now, timestamp));
        }
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    /// The header of the next packet, for something that was captured `media` after the source's beginning and has so
    /// many bytes of payload; `now` is when that was, as far as it is known here.
    pub fn header(&mut self, now: Time, media: Duration, marker: bool, bytes: usize) -> Header {
        let ticks = media.as_nanos() * u128::from(self.config.clock_rate) / 1_000_000_000;
        self.header_at(now, ticks as u32, marker, bytes)
    }

    /// The same, for who counts in units of the format's clock himself.
    pub fn header_at(&mut self, now: Time, ticks: u32, marker: bool, bytes: usize) -> Header {
        let timestamp = self.offset.wrapping_add(ticks);
        // The first packet of a picture is nearest to when it was captured.
        self.forward(now, timestamp, bytes);
        let sequence_number = self.next;
        self.next = self.next.wrapping_add(1);
        let SourceConfig { ssrc, payload_type, .. } = self.config;
        Header { marker, payload_type, sequence_number, timestamp, ssrc }
    }

    /// What a report says now; `None` before anything was sent. What this side receives is added by who knows it.
    pub fn report(&self, now: Time, clock: &NtpClock) -> Option<SenderReport> {
        let (then, timestamp) = self.captured?;
        let ticks = now.since(then).as_nanos() * u128::from(self.config.clock_rate) / 1_000_000_000;
        Some(SenderReport {
            ssrc: self.config.ssrc,
            ntp: clock.at(now),
            timestamp: timestamp.wrapping_add(ticks as u32),
            packets: self.packets as u32,
            bytes: self.bytes as u32,
            reports: Vec::new(),
        })
    }

    /// Learns what the receiver says of this source: what is lost, and how long the way there and back is
    /// (RFC 3550 §6.4.1).
    pub fn handle_report(&mut self, now: Time, clock: &NtpClock, report: &ReportBlock) {
        if report.ssrc != self.config.ssrc {
            return;
        }
        (self.fraction_lost, self.lost) = (report.fraction_lost, report.lost);
        if report.last_report != 0 {
            let there_and_back =
                ntp::middle(clock.at(now)).wrapping_sub(report.last_report).wrapping_sub(report.delay);
            // What lies in the future is nobody's round trip.
            self.round_trip =
                Some(ntp::duration(there_and_back)).filter(|_| there_and_back < 1 << 31).or(self.round_trip);
        }
    }

    /// The way there and back, once a report has said so.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// The part that was lost lately, from 0 to 1.
    pub fn fraction_lost(&self) -> f64 {
        f64::from(self.fraction_lost) / 256.0
    }

    /// Packets that were lost so far.
    pub fn lost(&self) -> i32 {
        self.lost
    }

    /// Packets sent.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Bytes of payload sent.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

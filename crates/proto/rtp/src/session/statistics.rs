use std::sync::Arc;
use std::time::Duration;

use sansio::Time;

use crate::codecs::Codec;
use crate::srtp::Refusals;

/// What a [`Session`](super::Session) has counted, in the terms of the W3C's webrtc-stats.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SessionStatistics {
    /// What comes: `inbound-rtp`, and what its sender says of it: `remote-outbound-rtp`.
    pub inbound: Vec<InboundStream>,
    /// What goes: `outbound-rtp`, and what its receiver says of it: `remote-inbound-rtp`.
    pub outbound: Vec<OutboundStream>,
    /// What the way can carry, in bits per second: `availableOutgoingBitrate`.
    pub available_outgoing_bitrate: f64,
    /// How long packets seem to wait on the way there.
    pub queueing_delay: Duration,
    /// How long the way there and back is, by the last report that says so: `currentRoundTripTime`.
    pub round_trip_time: Option<Duration>,
    /// Packets that were not what they claimed to be.
    pub refusals: Refusals,
    /// Packets that were dropped after they had been verified, or before there were keys.
    pub drops: Drops,
}

/// Packets that were dropped, by reason. None of these ends anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Drops {
    /// They came before the keys, and too many of them.
    pub early: u64,
    /// They were no whole RTP or RTCP, or their payload was not what its type says.
    pub malformed: u64,
    /// They belong to no section, or to one in which nothing may come.
    pub unknown: u64,
    /// They had the number of one of the sources that we send (RFC 3550 §8.2).
    pub collided: u64,
    /// They were of new sources, and there are too many.
    pub too_many: u64,
    /// Events that nobody took.
    pub unheard: u64,
}

/// A source that comes: `inbound-rtp`, `remote-outbound-rtp`.
#[derive(Clone, PartialEq, Debug)]
pub struct InboundStream {
    /// `mid`
    pub mid: Arc<str>,
    /// `rid`
    pub rid: Option<Arc<str>>,
    /// `ssrc`
    pub ssrc: u32,
    /// The source of its retransmissions: `rtxSsrc`.
    pub rtx_ssrc: Option<u32>,
    /// The format: `codecId`.
    pub codec: Codec,
    /// Its payload type.
    pub payload_type: u8,
    /// The canonical name that its sender gave it.
    pub cname: Option<Box<str>>,
    /// `packetsReceived`, retransmissions apart.
    pub packets_received: u64,
    /// `bytesReceived`: of payload.
    pub bytes_received: u64,
    /// `headerBytesReceived`: with padding.
    pub header_bytes_received: u64,
    /// `packetsLost`
    pub packets_lost: i64,
    /// `packetsDiscarded`: that came too late, or could not be used without what was lost.
    pub packets_discarded: u64,
    /// `jitter`
    pub jitter: Duration,
    /// `lastPacketReceivedTimestamp`
    pub last_packet_received: Option<Time>,
    /// `framesReceived`
    pub frames_received: u64,
    /// Frames among them that need no other.
    pub key_frames_received: u64,
    /// `retransmittedPacketsReceived`
    pub retransmitted_packets_received: u64,
    /// `retransmittedBytesReceived`
    pub retransmitted_bytes_received: u64,
    /// Packets that came after they had been asked for.
    pub packets_recovered: u64,
    /// `nackCount`: of packets that ask.
    pub nack_count: u64,
    /// `pliCount`
    pub pli_count: u64,
    /// `firCount`
    pub fir_count: u64,
}

/// A source that goes: `outbound-rtp`, `remote-inbound-rtp`.
#[derive(Clone, PartialEq, Debug)]
pub struct OutboundStream {
    /// `mid`
    pub mid: Arc<str>,
    /// `rid`
    pub rid: Option<Arc<str>>,
    /// `ssrc`
    pub ssrc: u32,
    /// `rtxSsrc`
    pub rtx_ssrc: Option<u32>,
    /// `active`: it is sent if there is room for it.
    pub active: bool,
    /// The payload type of its format.
    pub payload_type: Option<u8>,
    /// `packetsSent`, retransmissions among them.
    pub packets_sent: u64,
    /// `bytesSent`: of payload.
    pub bytes_sent: u64,
    /// `headerBytesSent`: with padding.
    pub header_bytes_sent: u64,
    /// `retransmittedPacketsSent`
    pub retransmitted_packets_sent: u64,
    /// `retransmittedBytesSent`
    pub retransmitted_bytes_sent: u64,
    /// `targetBitrate`, in bits per second; 0 while it is paused.
    pub target_bitrate: u64,
    /// `framesSent`
    pub frames_sent: u64,
    /// `totalPacketSendDelay`: how long packets waited for their turn, all together.
    pub total_packet_send_delay: Duration,
    /// `nackCount`
    pub nack_count: u64,
    /// `pliCount`
    pub pli_count: u64,
    /// `firCount`
    pub fir_count: u64,
    /// `remote-inbound-rtp`: what the receiver says, once he has.
    pub remote: Option<RemoteInbound>,
}

/// What the receiver of a source says of it: `remote-inbound-rtp`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct RemoteInbound {
    /// `packetsLost`
    pub packets_lost: i32,
    /// `fractionLost`: since his last report, from 0 to 1.
    pub fraction_lost: f64,
    /// `jitter`
    pub jitter: Duration,
    /// `roundTripTime`
    pub round_trip_time: Option<Duration>,
    /// When he said so.
    pub at: Time,
}

//! What `getStats` tells of media.

use rtp::session::{Format, InboundStream, Kind, OutboundStream, SessionStatistics, Terms};
use serde::Serialize;

use crate::stats::{Stats, StatsOf, TRANSPORT};
use crate::{Connection, RtpCodec};

/// Media that comes, of one source (`RTCInboundRtpStreamStats`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InboundRtpStats {
    /// The source.
    pub ssrc: u32,
    /// `audio` or `video`.
    pub kind: &'static str,
    /// The id of its transport.
    pub transport_id: &'static str,
    /// The id of its format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec_id: Option<String>,
    /// Its section.
    pub mid: String,
    /// The encoding, if several come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// The name of the track.
    pub track_identifier: String,
    /// The source of its retransmissions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtx_ssrc: Option<u32>,
    /// Packets that came.
    pub packets_received: u64,
    /// Bytes of their payload.
    pub bytes_received: u64,
    /// Bytes of their headers and padding.
    pub header_bytes_received: u64,
    /// Packets that did not come, less those that came twice.
    pub packets_lost: i64,
    /// Packets that came too late, or were of no use.
    pub packets_discarded: u64,
    /// Seconds.
    pub jitter: f64,
    /// Milliseconds since the driver started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_packet_received_timestamp: Option<f64>,
    /// Whole frames.
    pub frames_received: u64,
    /// Packets that came again.
    pub retransmitted_packets_received: u64,
    /// Bytes of their payload.
    pub retransmitted_bytes_received: u64,
    /// How often it was asked for what is missing.
    pub nack_count: u64,
    /// How often it was said that a picture is broken.
    pub pli_count: u64,
    /// How often a picture was asked for that needs no other.
    pub fir_count: u64,
}

/// Media that goes, of one source (`RTCOutboundRtpStreamStats`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboundRtpStats {
    /// The source.
    pub ssrc: u32,
    /// `audio` or `video`.
    pub kind: &'static str,
    /// The id of its transport.
    pub transport_id: &'static str,
    /// The id of its format.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codec_id: Option<String>,
    /// Its section.
    pub mid: String,
    /// The encoding, if there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rid: Option<String>,
    /// The id of what the other side says of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_id: Option<String>,
    /// Whether it is sent.
    pub active: bool,
    /// The source of its retransmissions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rtx_ssrc: Option<u32>,
    /// Packets that were sent.
    pub packets_sent: u64,
    /// Bytes of their payload.
    pub bytes_sent: u64,
    /// Bytes of their headers and padding.
    pub header_bytes_sent: u64,
    /// Packets that were sent again.
    pub retransmitted_packets_sent: u64,
    /// Bytes of their payload.
    pub retransmitted_bytes_sent: u64,
    /// Bits a second that it may have.
    pub target_bitrate: u64,
    /// Whole frames.
    pub frames_sent: u64,
    /// Seconds that packets waited for their turn, all together.
    pub total_packet_send_delay: f64,
    /// How often the other side asked for what is missing.
    pub nack_count: u64,
    /// How often it said that a picture is broken.
    pub pli_count: u64,
    /// How often it asked for a picture that needs no other.
    pub fir_count: u64,
}

/// What the other side says of media that goes there (`RTCRemoteInboundRtpStreamStats`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteInboundRtpStats {
    /// The source.
    pub ssrc: u32,
    /// `audio` or `video`.
    pub kind: &'static str,
    /// The id of its transport.
    pub transport_id: &'static str,
    /// The id of what we say of it.
    pub local_id: String,
    /// Packets that did not come.
    pub packets_lost: i64,
    /// Since its last report: 0 to 1.
    pub fraction_lost: f64,
    /// Seconds.
    pub jitter: f64,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_trip_time: Option<f64>,
}

/// A format that was agreed on (`RTCCodecStats`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CodecStats {
    /// Its number in packets.
    pub payload_type: u8,
    /// The id of its transport.
    pub transport_id: &'static str,
    /// `video/VP8`, …
    pub mime_type: String,
    /// By how much timestamps grow in a second.
    pub clock_rate: u32,
    /// Channels of sound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<u8>,
    /// Its parameters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sdp_fmtp_line: String,
}

/// Adds all there is to tell of media. `stats`: makes an object of an id and of what it is about.
pub(crate) fn collect(
    connection: &Connection,
    statistics: &SessionStatistics,
    all: &mut Vec<Stats>,
    stats: impl Fn(String, StatsOf) -> Stats,
) {
    let terms = connection.terms();
    let mut known = std::collections::BTreeSet::new();
    let mut codec_of = |mid: &str, payload_type: u8, sends: bool, all: &mut Vec<Stats>| {
        let terms = terms.iter().find(|it| &*it.mid == mid)?;
        let formats = if sends { &terms.formats } else { &terms.expected };
        let format = formats.iter().find(|it| it.payload_type == payload_type)?;
        let id = format!("C{}{mid}_{payload_type}", if sends { 'O' } else { 'I' });
        if known.insert(id.clone()) {
            all.push(stats(id.clone(), StatsOf::Codec(codec(format))));
        }
        Some(id)
    };
    for stream in &statistics.inbound {
        let codec_id = codec_of(&stream.mid, stream.payload_type, false, all);
        let transceiver = connection.transceiver_of(&stream.mid);
        let track = transceiver.map(|it| it.remote_track().to_owned()).unwrap_or_default();
        let of = StatsOf::InboundRtp(Box::new(inbound(stream, kind(&terms, &stream.mid), codec_id, track)));
        all.push(stats(format!("I{}", stream.ssrc), of));
    }
    for stream in &statistics.outbound {
        let codec_id = stream.payload_type.and_then(|it| codec_of(&stream.mid, it, true, all));
        let kind = kind(&terms, &stream.mid);
        let id = format!("O{}", stream.ssrc);
        if let Some(remote) = &stream.remote {
            let of = RemoteInboundRtpStats {
                ssrc: stream.ssrc,
                kind,
                transport_id: TRANSPORT,
                local_id: id.clone(),
                packets_lost: remote.packets_lost.into(),
                fraction_lost: remote.fraction_lost,
                jitter: remote.jitter.as_secs_f64(),
                round_trip_time: remote.round_trip_time.map(|it| it.as_secs_f64()),
            };
            all.push(stats(format!("RI{}", stream.ssrc), StatsOf::RemoteInboundRtp(of)));
        }
        all.push(stats(id, StatsOf::OutboundRtp(Box::new(outbound(stream, kind, codec_id)))));
    }
}

fn kind(terms: &[Terms], mid: &str) -> &'static str {
    terms.iter().find(|it| &*it.mid == mid).map_or(Kind::Audio, |it| it.kind).name()
}

fn codec(format: &Format) -> CodecStats {
    let codec = RtpCodec { codec: format.codec, sdp_fmtp_line: format.parameters.to_string() };
    CodecStats {
        payload_type: format.payload_type,
        transport_id: TRANSPORT,
        mime_type: codec.mime_type(),
        clock_rate: format.clock_rate,
        channels: format.codec.is_audio().then_some(format.channels),
        sdp_fmtp_line: codec.sdp_fmtp_line,
    }
}

fn inbound(
    it: &InboundStream,
    kind: &'static str,
    codec_id: Option<String>,
    track: String,
) -> InboundRtpStats {
    InboundRtpStats {
        ssrc: it.ssrc,
        kind,
        transport_id: TRANSPORT,
        codec_id,
        mid: it.mid.to_string(),
        rid: it.rid.as_deref().map(String::from),
        track_identifier: track,
        rtx_ssrc: it.rtx_ssrc,
        packets_received: it.packets_received,
        bytes_received: it.bytes_received,
        header_bytes_received: it.header_bytes_received,
        packets_lost: it.packets_lost,
        packets_discarded: it.packets_discarded,
        jitter: it.jitter.as_secs_f64(),
        last_packet_received_timestamp: it.last_packet_received.map(|at| at.elapsed().as_secs_f64() * 1000.0),
        frames_received: it.frames_received,
        retransmitted_packets_received: it.retransmitted_packets_received,
        retransmitted_bytes_received: it.retransmitted_bytes_received,
        nack_count: it.nack_count,
        pli_count: it.pli_count,
        fir_count: it.fir_count,
    }
}

fn outbound(it: &OutboundStream, kind: &'static str, codec_id: Option<String>) -> OutboundRtpStats {
    OutboundRtpStats {
        ssrc: it.ssrc,
        kind,
        transport_id: TRANSPORT,
        codec_id,
        mid: it.mid.to_string(),
        rid: it.rid.as_deref().map(String::from),
        remote_id: it.remote.map(|_| format!("RI{}", it.ssrc)),
        active: it.active,
        rtx_ssrc: it.rtx_ssrc,
        packets_sent: it.packets_sent,
        bytes_sent: it.bytes_sent,
        header_bytes_sent: it.header_bytes_sent,
        retransmitted_packets_sent: it.retransmitted_packets_sent,
        retransmitted_bytes_sent: it.retransmitted_bytes_sent,
        target_bitrate: it.target_bitrate,
        frames_sent: it.frames_sent,
        total_packet_send_delay: it.total_packet_send_delay.as_secs_f64(),
        nack_count: it.nack_count,
        pli_count: it.pli_count,
        fir_count: it.fir_count,
    }
}

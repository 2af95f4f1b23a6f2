//! Statistics out of what sender and receiver have counted.

use std::time::Duration;

use crate::session::incoming::Incoming;
use crate::session::outgoing::Outgoing;
use crate::session::receiver::Receiver;
use crate::session::sender::Sender;
use crate::session::statistics::{InboundStream, OutboundStream, RemoteInbound, SessionStatistics};
use crate::srtp::Refusals;

pub(super) fn survey(
    sender: &Sender,
    receiver: &Receiver,
    refusals: Refusals,
    early: u64,
) -> SessionStatistics {
    let mut drops = receiver.drops;
    drops.early = early;
    SessionStatistics {
        inbound: receiver.sources.values().map(inbound).collect(),
        outbound: sender.outgoing.iter().map(outbound).collect(),
        available_outgoing_bitrate: sender.rate.estimate(),
        queueing_delay: sender.rate.queueing_delay(),
        round_trip_time: receiver.round_trip,
        refusals,
        drops,
    }
}

fn inbound(source: &Incoming) -> InboundStream {
    let (statistics, tally, buffered) = (&source.statistics, &source.tally, source.buffered());
    InboundStream {
        mid: source.stream.mid.clone(),
        rid: source.stream.rid.clone(),
        ssrc: source.stream.ssrc,
        rtx_ssrc: source.repair,
        codec: source.codec,
        payload_type: source.payload_type,
        cname: source.cname.clone(),
        packets_received: statistics.received(),
        bytes_received: statistics.bytes(),
        header_bytes_received: tally.header_bytes,
        packets_lost: statistics.lost(),
        packets_discarded: buffered.late + buffered.dropped,
        jitter: statistics.jitter(),
        last_packet_received: source.received,
        frames_received: tally.frames,
        key_frames_received: tally.key_frames,
        retransmitted_packets_received: tally.retransmitted,
        retransmitted_bytes_received: tally.retransmitted_bytes,
        packets_recovered: tally.recovered + buffered.recovered,
        nack_count: tally.nacks,
        pli_count: tally.plis,
        fir_count: tally.firs,
    }
}

fn outbound(one: &Outgoing) -> OutboundStream {
    let tally = &one.tally;
    let remote = one.report.map(|(at, block)| RemoteInbound {
        packets_lost: block.lost,
        fraction_lost: f64::from(block.fraction_lost) / 256.0,
        jitter: Duration::from_secs_f64(f64::from(block.jitter) / f64::from(one.clock_rate.max(1))),
        round_trip_time: one.source.round_trip(),
        at,
    });
    OutboundStream {
        mid: one.mid.clone(),
        rid: one.rid.clone(),
        ssrc: one.encoding.ssrc,
        rtx_ssrc: one.encoding.rtx_ssrc,
        active: one.encoding.active,
        payload_type: one.payload_type,
        packets_sent: tally.packets,
        bytes_sent: tally.bytes,
        header_bytes_sent: tally.header_bytes,
        retransmitted_packets_sent: tally.retransmitted,
        retransmitted_bytes_sent: tally.retransmitted_bytes,
        target_bitrate: one.told,
        frames_sent: tally.frames,
        total_packet_send_delay: tally.delay,
        nack_count: tally.nacks,
        pli_count: tally.plis,
        fir_count: tally.firs,
        remote,
    }
}

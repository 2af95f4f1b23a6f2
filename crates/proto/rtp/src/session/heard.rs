//! What the other side says by RTCP.

use sansio::Time;

use crate::ntp::NtpClock;
use crate::rtcp::{Compound, Packet, ReportBlock, SourceDescription};
use crate::session::receiver::Receiver;
use crate::session::reports::Reports;
use crate::session::sender::Sender;

/// Takes a compound that has been verified.
pub(super) fn handle_compound(
    now: Time,
    clock: &NtpClock,
    bytes: &[u8],
    sender: &mut Sender,
    receiver: &mut Receiver,
    reports: &mut Reports,
) {
    let Ok(compound) = Compound::parse(bytes) else {
        receiver.drops.malformed += 1;
        return;
    };
    for packet in compound {
        let Ok(packet) = packet else {
            receiver.drops.malformed += 1;
            continue;
        };
        match packet {
            Packet::SenderReport(report) => {
                if let Some(source) = receiver.sources.get_mut(&report.ssrc) {
                    source.heard = now;
                    source.statistics.handle_sender_report(now, &report);
                }
                handle_blocks(now, clock, &report.reports, sender, receiver);
            }
            Packet::ReceiverReport(report) => handle_blocks(now, clock, &report.reports, sender, receiver),
            Packet::SourceDescription(description) => handle_names(&description, receiver),
            Packet::Goodbye(goodbye) => goodbye.sources.into_iter().for_each(|ssrc| receiver.end(ssrc)),
            Packet::Nack(nack) => sender.handle_nack(now, nack.media, &nack.lost),
            Packet::PictureLoss(loss) => sender.handle_key_frame_request(now, loss.media, None),
            Packet::FullIntraRequest(request) => {
                for (ssrc, number) in request.requests {
                    sender.handle_key_frame_request(now, ssrc, Some(number));
                }
            }
            Packet::ExtendedReport(report) => {
                if let Some(round_trip) = reports.handle_extended(now, clock, sender, &report) {
                    receiver.set_round_trip(round_trip);
                }
            }
            Packet::TransportFeedback(feedback) => sender.rate.handle_feedback(now, &feedback),
            Packet::CongestionFeedback(feedback) => sender.rate.handle_congestion_feedback(now, &feedback),
            Packet::ReceiverEstimate(estimate) => {
                sender.rate.handle_receiver_estimate(estimate.bits_per_second);
            }
            _ => {}
        }
    }
    sender.allocate(now);
}

fn handle_blocks(
    now: Time,
    clock: &NtpClock,
    blocks: &[ReportBlock],
    sender: &mut Sender,
    receiver: &mut Receiver,
) {
    let before = sender.round_trip;
    blocks.iter().for_each(|block| sender.handle_report(now, clock, block));
    if let Some(round_trip) = sender.round_trip.filter(|_| sender.round_trip != before) {
        receiver.set_round_trip(round_trip);
    }
}

fn handle_names(description: &SourceDescription, receiver: &mut Receiver) {
    for description in &description.sources {
        let (Some(name), Some(source)) = (description.name(), receiver.sources.get_mut(&description.ssrc))
        else {
            continue;
        };
        if source.cname.as_deref() != Some(name) {
            source.cname = Some(name.into());
        }
    }
}

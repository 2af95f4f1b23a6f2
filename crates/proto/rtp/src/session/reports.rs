use std::collections::VecDeque;
use std::time::Duration;

use sansio::{Outbox, Rng, Time};

use crate::ntp::{self, NtpClock};
use crate::rtcp::{
    CompoundWriter, ExtendedBlock, ExtendedReport, FullIntraRequest, Goodbye, Nack, Packet, PictureLoss,
    ReceiverReport, ReportBlock, ReportDelay, SourceDescription,
};
use crate::session::incoming::Incoming;
use crate::session::receiver::Receiver;
use crate::session::sender::Sender;

/// What we say by RTCP, and when.
#[derive(Debug)]
pub(super) struct Reports {
    cname: Box<str>,
    /// What we are called while we send nothing.
    own: u32,
    /// Packets that wait for room.
    queue: VecDeque<Packet>,
    /// Whether feedback may travel without a report in front (RFC 5506).
    pub(super) reduced_size: bool,
    /// What time the other side's receiver said it was, and when; to be answered.
    reference: Option<(Time, ReportDelay)>,
    /// Whether we may say what time it is.
    pub(super) tells_time: bool,
    /// Bytes of a compound on the average (RFC 3550 §6.3.3).
    average: f64,
}

/// Bytes of a datagram with RTCP, before it is protected.
const MAX_BYTES: usize = 1100;
/// What one packet can count.
const MAX_BLOCKS: usize = 31;
/// Packets that wait for room at most; reports come again, and so does whoever misses something.
const MAX_QUEUE: usize = 128;
/// Sequence numbers in a packet that asks for them: in the worst case 4 bytes each.
const MAX_LOST: usize = 250;
/// Reports are so far apart at least. RFC 3550 §6.2 has 5 s, which profiles may shorten (RFC 4585 §3.4 has no least for
/// two who talk to each other): losses and the round trip are of use while they are new.
const LEAST: f64 = 1.0;
/// RTCP may have so much of the rate (RFC 3550 §6.2).
const PART: f64 = 0.05;

impl Reports {
    pub(super) fn new(cname: Box<str>, rng: &mut Rng) -> Self {
        Self {
            cname,
            own: rng.next_u32(),
            queue: VecDeque::new(),
            reduced_size: false,
            reference: None,
            tells_time: false,
            average: 128.0,
        }
    }

    /// How long until the next regular report (RFC 3550 §6.3.1): half as long for the first one, and never predictable.
    pub(super) fn interval(&self, rng: &mut Rng, rate: f64, first: bool) -> Duration {
        // Two members, each of whom has half of it.
        let needed = self.average * 8.0 * 2.0 / (PART * rate.max(1.0));
        let interval = needed.clamp(LEAST, 30.0) * if first { 0.5 } else { 1.0 };
        // RFC 3550 §6.3.1: e - 3/2 makes up for what reconsideration adds.
        Duration::from_secs_f64(interval * (0.5 + rng.unit()) / 1.21828)
    }

    /// The regular report: what each of our sources has sent, and what came of each of theirs.
    pub(super) fn report(&mut self, now: Time, clock: &NtpClock, sender: &Sender, receiver: &mut Receiver) {
        let mut blocks: Vec<ReportBlock> =
            receiver.sources.values_mut().filter_map(|source| block(now, source)).collect();
        let mut take = || blocks.drain(..blocks.len().min(MAX_BLOCKS)).collect::<Vec<_>>();
        let (mut said, mut time) = (false, None);
        for one in &sender.outgoing {
            if let Some(mut report) = one.source.report(now, clock) {
                report.reports = take();
                self.push(report.into());
                self.push(SourceDescription::canonical_name(one.encoding.ssrc, &self.cname).into());
                said = true;
            }
        }
        if !said && self.tells_time {
            let blocks = vec![ExtendedBlock::ReferenceTime(clock.at(now))];
            time = Some(ExtendedReport { ssrc: self.ssrc(sender), blocks });
        }
        loop {
            let reports = take();
            if reports.is_empty() && said {
                break;
            }
            let ssrc = self.ssrc(sender);
            self.push(ReceiverReport { ssrc, reports }.into());
            self.push(SourceDescription::canonical_name(ssrc, &self.cname).into());
            said = true;
        }
        if let Some(time) = time {
            self.push(time.into());
        }
        if let Some((then, delay)) = self.reference.take() {
            let delay = ReportDelay { delay: ntp::units(now.since(then)), ..delay };
            let blocks = vec![ExtendedBlock::Delays(vec![delay])];
            self.push(ExtendedReport { ssrc: self.ssrc(sender), blocks }.into());
        }
    }

    /// The other side's receiver says what time it is, or how long ago we said so: then this is how long the way there
    /// and back takes (RFC 3611 §4.5).
    pub(super) fn handle_extended(
        &mut self,
        now: Time,
        clock: &NtpClock,
        sender: &Sender,
        report: &ExtendedReport,
    ) -> Option<Duration> {
        let mut round_trip = None;
        for block in &report.blocks {
            match block {
                ExtendedBlock::ReferenceTime(time) => {
                    let delay = ReportDelay { ssrc: report.ssrc, last_report: ntp::middle(*time), delay: 0 };
                    self.reference = Some((now, delay));
                }
                ExtendedBlock::Delays(delays) => {
                    let own = self.ssrc(sender);
                    let ours = delays.iter().find(|delay| delay.ssrc == own && delay.last_report != 0);
                    round_trip = ours
                        .map(|ours| {
                            ntp::middle(clock.at(now)).wrapping_sub(ours.last_report).wrapping_sub(ours.delay)
                        })
                        // What lies in the future is nobody's round trip.
                        .filter(|units| *units < 1 << 31)
                        .map(ntp::duration)
                        .or(round_trip);
                }
                ExtendedBlock::Unknown(..) => {}
            }
        }
        round_trip
    }

    /// What cannot wait for the next report: which packets are missing, and that pictures are.
    pub(super) fn gather(&mut self, now: Time, sender: &Sender, receiver: &mut Receiver) {
        let ssrc = self.ssrc(sender);
        for source in receiver.sources.values_mut().filter(|source| !source.ended) {
            let media = source.stream.ssrc;
            if !source.lost.is_empty() {
                for lost in source.lost.chunks(MAX_LOST) {
                    source.tally.nacks += 1;
                    self.push(Nack { sender: ssrc, media, lost: lost.to_vec() }.into());
                }
                source.lost.clear();
            }
            let (pli, fir) = (source.feedback.pli, source.feedback.fir);
            if !pli && !fir {
                source.asking.satisfy();
            }
            let Some(number) = source.asking.take(now) else { continue };
            if pli {
                source.tally.plis += 1;
                self.push(PictureLoss { sender: ssrc, media }.into());
            } else {
                source.tally.firs += 1;
                self.push(FullIntraRequest { sender: ssrc, requests: vec![(media, number)] }.into());
            }
        }
    }

    /// When packets arrived, for who wants to know how fast he may send.
    pub(super) fn feedback(&mut self, now: Time, clock: &NtpClock, sender: &Sender, receiver: &mut Receiver) {
        let media = receiver.sources.keys().next().copied().unwrap_or(0);
        let ssrc = self.ssrc(sender);
        while let Some(feedback) = receiver.arrivals.report(ssrc, media) {
            self.push(feedback.into());
        }
        let timestamp = ntp::middle(clock.at(now));
        while let Some(feedback) = receiver.observed.report(now, ssrc, timestamp) {
            self.push(feedback.into());
        }
    }

    /// Sources of ours that are no more.
    pub(super) fn goodbye(&mut self, sources: &[u32]) {
        for sources in sources.chunks(MAX_BLOCKS) {
            self.push(Goodbye { sources: sources.to_vec(), reason: Vec::new() }.into());
        }
    }

    /// Writes what waits into an outbox that protects it.
    pub(super) fn transmit(&mut self, sender: &Sender, out: &mut dyn Outbox<()>) {
        let ssrc = self.ssrc(sender);
        while !self.queue.is_empty() && out.room() >= MAX_BYTES {
            let mut length = 0;
            let Self { queue, cname, reduced_size, .. } = self;
            out.send((), MAX_BYTES, &mut |buffer| {
                let mut writer = CompoundWriter::new(buffer);
                // RFC 3550 §6.1: a report comes first, and a canonical name is in it, but where both have agreed that it
                // need not be (RFC 5506).
                let report =
                    matches!(queue.front(), Some(Packet::SenderReport(_) | Packet::ReceiverReport(_)));
                if !report && !*reduced_size {
                    let empty = ReceiverReport { ssrc, reports: Vec::new() };
                    let _ = writer.add(&empty.into());
                    let _ = writer.add(&SourceDescription::canonical_name(ssrc, cname).into());
                }
                let before = writer.len();
                while let Some(packet) = queue.front() {
                    if writer.add(packet).is_err() && writer.len() > before {
                        break;
                    }
                    queue.pop_front();
                }
                length = writer.finish();
                length
            });
            // RFC 3550 §6.3.3, with the headers below.
            self.average += ((length + 28) as f64 - self.average) / 16.0;
        }
    }

    /// Who we are: one of the sources that we send, if there is one.
    fn ssrc(&self, sender: &Sender) -> u32 {
        sender.outgoing.first().map_or(self.own, |one| one.encoding.ssrc)
    }

    fn push(&mut self, packet: Packet) {
        if self.queue.len() >= MAX_QUEUE {
            self.queue.pop_front();
        }
        self.queue.push_back(packet);
    }
}

/// What is said of a source, if anything came of it since the last report.
fn block(now: Time, source: &mut Incoming) -> Option<ReportBlock> {
    let received = source.statistics.received();
    let before = std::mem::replace(&mut source.reported, received);
    (!source.ended && received != before).then(|| source.statistics.report(now))
}

use std::time::Duration;

use sansio::{Outbox, Rng, Time, Timers};

use crate::session::config::SessionConfig;
use crate::session::early::{self, Early};
use crate::session::event::Event;
use crate::session::frame::{OutgoingFrame, OutgoingPacket, SendError};
use crate::session::heard::handle_compound;
use crate::session::receiver::Receiver;
use crate::session::reports::Reports;
use crate::session::section::Section;
use crate::session::sender::Sender;
use crate::session::statistics::SessionStatistics;
use crate::session::survey::survey;
use crate::session::terms::Terms;
use crate::srtp::{MasterKey, Protect, Refusals, Unprotect};

/// One RTP session.
///
/// Until it has keys nothing leaves, and frames are refused: an old picture would be of no use to anybody when there are
/// some at last. [`Event::KeyFrameRequested`] then says that it is time. A few packets that come before the keys are kept.
#[derive(Debug)]
pub struct Session {
    config: SessionConfig,
    rng: Rng,
    sections: Vec<Section>,
    keys: Option<(Protect, Unprotect)>,
    early: Early,
    /// Packets that came too early.
    too_early: u64,
    sender: Sender,
    receiver: Receiver,
    reports: Reports,
    timers: Timers<Timer>,
    /// When what waits was last given a chance to leave, or its owner was last due to give it one.
    served: Option<Time>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Timer {
    /// The next regular report.
    Report,
    /// The next word about when packets arrived.
    Feedback,
    /// Sources are looked for that have been silent for long.
    Silence,
}

/// Why a key frame was not asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nothing comes there.
    #[error("nothing comes in this section, or under this name")]
    Unknown,
    /// The other side does not listen to such requests.
    #[error("key frames were not negotiated to be asked for")]
    NotNegotiated,
}

/// How often it is said when packets arrived.
const FEEDBACK: Duration = Duration::from_millis(50);
/// How often silent sources are looked for.
const SILENCE: Duration = Duration::from_secs(10);

impl Session {
    /// A session without terms and keys.
    pub fn new(config: SessionConfig) -> Self {
        let mut rng = Rng::new(config.seed);
        Self {
            reports: Reports::new(config.cname.clone(), &mut rng),
            rng,
            sections: Vec::new(),
            keys: None,
            early: Early::default(),
            too_early: 0,
            sender: Sender::new(config.bandwidth, config.max_packet.max(400)),
            receiver: Receiver::new(config.patience),
            timers: Timers::default(),
            served: None,
            config,
        }
    }

    /// Goes on under these terms, one for each media section. What they have in common with those before goes on as it
    /// was: sources that stay are not interrupted.
    pub fn set_terms(&mut self, now: Time, terms: Vec<Terms>) {
        self.sections = terms.into_iter().map(Section::new).collect();
        let gone = self.sender.set_terms(&self.sections, &mut self.rng);
        self.reports.goodbye(&gone);
        self.reports.reduced_size = self.sections.iter().all(|section| section.terms.reduced_size);
        self.reports.tells_time = self.sections.iter().any(|section| section.terms.receiver_time);
        self.receiver.set_terms(now, &self.sections);
        if self.keys.is_some() {
            self.begin(now);
        }
        self.set_cryptex();
    }

    /// There are keys: ours, and the other side's ([`MasterKey::pair`]). What came too early is taken now.
    pub fn set_keys(&mut self, now: Time, ours: &MasterKey, theirs: &MasterKey) {
        self.keys = Some((Protect::new(ours), Unprotect::new(theirs)));
        self.set_cryptex();
        self.begin(now);
        for (kind, mut packet) in self.early.take() {
            match kind {
                early::Kind::Rtp => self.handle_rtp(now, &mut packet),
                early::Kind::Rtcp => self.handle_rtcp(now, &mut packet),
            }
        }
    }

    fn set_cryptex(&mut self) {
        let cryptex = !self.sections.is_empty() && self.sections.iter().all(|section| section.terms.cryptex);
        if let Some((protect, _)) = &mut self.keys {
            protect.set_cryptex(cryptex);
        }
    }

    fn begin(&mut self, now: Time) {
        self.sender.begin(now);
        if self.timers.get(Timer::Report).is_none() && !self.sections.is_empty() {
            let interval = self.reports.interval(&mut self.rng, self.sender.rate.target(), true);
            self.timers.set(Timer::Report, now + interval);
            self.timers.set(Timer::Silence, now + SILENCE);
        }
    }

    /// Takes a packet of SRTP, which is opened where it lies.
    pub fn handle_rtp(&mut self, now: Time, packet: &mut [u8]) {
        let Some((_, unprotect)) = &mut self.keys else {
            self.too_early += u64::from(!self.early.keep(early::Kind::Rtp, packet));
            return;
        };
        let Ok(plain) = unprotect.unprotect(packet) else { return };
        let sender = &self.sender;
        let ours = |ssrc| sender.has(ssrc);
        self.receiver.handle_packet(now, plain, &self.sections, ours);
        if self.receiver.has_feedback() && self.timers.get(Timer::Feedback).is_none() {
            self.timers.set(Timer::Feedback, now + FEEDBACK);
        }
    }

    /// Takes a packet of SRTCP, which is opened where it lies.
    pub fn handle_rtcp(&mut self, now: Time, packet: &mut [u8]) {
        let Some((_, unprotect)) = &mut self.keys else {
            self.too_early += u64::from(!self.early.keep(early::Kind::Rtcp, packet));
            return;
        };
        let Ok(plain) = unprotect.unprotect_rtcp(packet) else { return };
        let Self { config, sender, receiver, reports, .. } = self;
        handle_compound(now, &config.clock, plain, sender, receiver, reports);
    }

    /// Sends a frame: of the section of this name, and of the encoding of this name, if there are several (without it: the
    /// first).
    ///
    /// # Errors
    /// Then nothing was sent, but for [`SendError::Full`].
    pub fn write_frame(
        &mut self,
        now: Time,
        mid: &str,
        rid: Option<&str>,
        frame: &OutgoingFrame<'_>,
    ) -> Result<(), SendError> {
        let section = self.sendable(mid)?;
        self.sender.write_frame(now, &self.sections[section], rid, frame)
    }

    /// Sends a packet as it is, for who forwards packets. One that was sent already is left out.
    ///
    /// # Errors
    /// Then it was not sent.
    pub fn write_packet(
        &mut self,
        now: Time,
        mid: &str,
        rid: Option<&str>,
        packet: &OutgoingPacket<'_>,
    ) -> Result<(), SendError> {
        let section = self.sendable(mid)?;
        self.sender.write_packet(now, &self.sections[section], rid, packet)
    }

    fn sendable(&self, mid: &str) -> Result<usize, SendError> {
        let at = self.sections.iter().position(|section| *section.mid == *mid).ok_or(SendError::Unknown)?;
        if self.keys.is_none() {
            return Err(SendError::NotReady);
        }
        Ok(at)
    }

    /// Asks for a picture that needs no other: of all that comes in a section, or of one of its encodings. Several wishes
    /// are one question, and questions have a distance of 300 ms.
    ///
    /// # Errors
    /// If nobody can be asked.
    pub fn request_key_frame(&mut self, mid: &str, rid: Option<&str>) -> Result<(), RequestError> {
        let mut result = Err(RequestError::Unknown);
        for source in self.receiver.streams(mid, rid) {
            if source.feedback.pli || source.feedback.fir {
                source.asking.want();
                result = Ok(());
            } else if result.is_err() {
                result = Err(RequestError::NotNegotiated);
            }
        }
        result
    }

    /// Says goodbye for all sources that were sent; what is written afterwards is not sent any more.
    pub fn close(&mut self, now: Time) {
        let gone = self.sender.set_terms(&[], &mut self.rng);
        self.reports.goodbye(&gone);
        self.sections.clear();
        self.receiver.set_terms(now, &[]);
        self.timers.clear();
    }

    /// Writes what has its turn: RTCP, and packets as the pacer lets them leave. Without keys there is nothing.
    pub fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox<()>) {
        let Some((protect, _)) = &mut self.keys else { return };
        let mut lane = protect.lane(out);
        self.reports.gather(now, &self.sender, &mut self.receiver);
        self.reports.transmit(&self.sender, &mut lane);
        self.sender.transmit(now, &self.sections, &mut lane);
        self.served = Some(now);
    }

    /// The next thing the owner should know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.receiver.events.pop_front().or_else(|| self.sender.events.pop_front())
    }

    /// When [`Session::handle_timeout`] wants to be called next, and [`Session::poll_transmit`] after it.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.keys.as_ref()?;
        // Whose turn has come and who is still there leaves with the next `poll_transmit`, if there is room: time does not
        // help him.
        let waits = |at: &Time| self.served.is_none_or(|served| *at > served);
        let leaves = self.sender.poll_timeout().filter(waits);
        [self.timers.next(), self.receiver.poll_timeout(), leaves].into_iter().flatten().min()
    }

    /// Does what is due: reports, questions for what is missing, looking for who has gone silent.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.keys.is_none() {
            return;
        }
        self.receiver.handle_timeout(now);
        self.reports.gather(now, &self.sender, &mut self.receiver);
        while let Some(timer) = self.timers.expired(now) {
            match timer {
                Timer::Report => {
                    self.reports.report(now, &self.config.clock, &self.sender, &mut self.receiver);
                    let interval = self.reports.interval(&mut self.rng, self.sender.rate.target(), false);
                    self.timers.set(Timer::Report, now + interval);
                }
                Timer::Feedback => {
                    self.reports.feedback(now, &self.config.clock, &self.sender, &mut self.receiver);
                }
                Timer::Silence => {
                    self.receiver.handle_silence(now);
                    self.timers.set(Timer::Silence, now + SILENCE);
                }
            }
        }
        self.served = Some(now);
    }

    /// What was counted.
    pub fn statistics(&self) -> SessionStatistics {
        let refusals = self.keys.as_ref().map_or(Refusals::default(), |(_, unprotect)| unprotect.refusals());
        survey(&self.sender, &self.receiver, refusals, self.too_early)
    }
}

//! The transceivers' half of a [`Connection`].

use rtp::ntp::NtpClock;
use rtp::session::{Delivery, OutgoingFrame, OutgoingPacket, RequestError, SessionConfig, SessionStatistics};
use sansio::Time;

use super::Connection;
use crate::media::Media;
use crate::{
    Direction, EncodingParameters, Event, MediaConfiguration, MediaKind, ReceivedFrame, ReceivedPacket,
    RtpCodec, Transceiver, TransceiverError, TransceiverId, TransceiverInit, WriteError,
};

impl Connection {
    /// Makes a transceiver (`addTransceiver`): a section of its own with the next exchange.
    ///
    /// # Errors
    /// If the encodings' names make no sense, or there are too many, or after closing.
    pub fn add_transceiver(
        &mut self,
        now: Time,
        kind: MediaKind,
        init: TransceiverInit,
    ) -> Result<TransceiverId, TransceiverError> {
        self.change_media(now, |media| media.add(kind, init))
    }

    /// Says that there is something to send (`addTrack`), by a transceiver that sends nothing yet or by a new one.
    ///
    /// # Errors
    /// If there are too many, or after closing.
    pub fn add_track(
        &mut self,
        now: Time,
        kind: MediaKind,
        streams: Vec<String>,
    ) -> Result<TransceiverId, TransceiverError> {
        self.change_media(now, |media| media.add_track(kind, streams))
    }

    /// Says that nothing is sent any more by a transceiver (`removeTrack`).
    ///
    /// # Errors
    /// If there is no such transceiver, or it is stopped.
    pub fn remove_track(&mut self, now: Time, id: TransceiverId) -> Result<(), TransceiverError> {
        self.change_media(now, |media| media.remove_track(id))
    }

    /// All transceivers that are not stopped on both sides, the oldest first (`getTransceivers`).
    pub fn transceivers(&self) -> impl Iterator<Item = &Transceiver> {
        self.media.iter().flat_map(|media| media.transceivers())
    }

    /// Looks at a transceiver; `None` once it is stopped on both sides.
    pub fn transceiver(&self, id: TransceiverId) -> Option<&Transceiver> {
        self.media.as_ref()?.transceiver(id)
    }

    /// The transceiver of the section with this name.
    pub fn transceiver_of(&self, mid: &str) -> Option<&Transceiver> {
        self.transceivers().find(|it| it.mid() == Some(mid))
    }

    /// Wishes for a direction (`direction`); it is so after the next exchange, as far as the other side agrees.
    ///
    /// # Errors
    /// If there is no such transceiver, or it is stopped.
    pub fn set_direction(
        &mut self,
        now: Time,
        id: TransceiverId,
        direction: Direction,
    ) -> Result<(), TransceiverError> {
        self.change_media(now, |media| media.set_direction(id, direction))
    }

    /// Says which streams what is sent belongs to (`setStreams`).
    ///
    /// # Errors
    /// If there is no such transceiver, or it is stopped.
    pub fn set_streams(
        &mut self,
        now: Time,
        id: TransceiverId,
        streams: Vec<String>,
    ) -> Result<(), TransceiverError> {
        self.change_media(now, |media| media.set_streams(id, streams))
    }

    /// Says which formats are offered and taken, the preferred first (`setCodecPreferences`); none: all that are known here,
    /// as [`RtpCodec::capabilities`] lists them. It counts from the next exchange on.
    ///
    /// # Errors
    /// If one is of the other kind, or there is no such transceiver, or it is stopped.
    pub fn set_codec_preferences(
        &mut self,
        now: Time,
        id: TransceiverId,
        codecs: Vec<RtpCodec>,
    ) -> Result<(), TransceiverError> {
        self.change_media(now, |media| media.set_codec_preferences(id, codecs))
    }

    /// Changes what is sent, at once (`setParameters`): the same encodings, with other limits.
    ///
    /// # Errors
    /// If they are others, or there is no such transceiver, or it is stopped.
    pub fn set_encodings(
        &mut self,
        now: Time,
        id: TransceiverId,
        encodings: &[EncodingParameters],
    ) -> Result<(), TransceiverError> {
        self.change_media(now, |media| media.set_encodings(id, encodings))?;
        self.apply_terms(now);
        Ok(())
    }

    /// Ends a transceiver (`stop`): nothing is sent by it any more, and the next exchange ends its section.
    ///
    /// # Errors
    /// If there is no such transceiver, or it is stopped.
    pub fn stop_transceiver(&mut self, now: Time, id: TransceiverId) -> Result<(), TransceiverError> {
        self.change_media(now, |media| media.stop(id))?;
        self.apply_terms(now);
        Ok(())
    }

    /// Says in what shape media that comes by a transceiver is handed over: frames for who decodes or stores them (at first),
    /// packets for who forwards them.
    ///
    /// # Errors
    /// If there is no such transceiver, or it is stopped.
    pub fn set_delivery(
        &mut self,
        now: Time,
        id: TransceiverId,
        delivery: Delivery,
    ) -> Result<(), TransceiverError> {
        self.change_media(now, |media| media.set_delivery(id, delivery))?;
        self.apply_terms(now);
        Ok(())
    }

    /// Sends a frame by a transceiver: of the encoding of this name, or of the only one. It leaves when its turn comes, with the
    /// next [`Machine::poll_transmit`](sansio::Machine::poll_transmit)s.
    ///
    /// # Errors
    /// If it was not taken: why. Nothing is taken before the connection is there; [`Event::KeyFrameRequested`] says when it is.
    pub fn write_frame(
        &mut self,
        now: Time,
        id: TransceiverId,
        rid: Option<&str>,
        frame: &OutgoingFrame<'_>,
    ) -> Result<(), WriteError> {
        let (mid, session) = self.sender(id)?;
        session.write_frame(now, mid, rid, frame)
    }

    /// Sends a packet as it is, for who forwards packets.
    ///
    /// # Errors
    /// As [`Connection::write_frame`].
    pub fn write_packet(
        &mut self,
        now: Time,
        id: TransceiverId,
        rid: Option<&str>,
        packet: &OutgoingPacket<'_>,
    ) -> Result<(), WriteError> {
        let (mid, session) = self.sender(id)?;
        session.write_packet(now, mid, rid, packet)
    }

    /// Asks the other side for a picture that needs no other, of what comes by a transceiver, or of one of its encodings.
    ///
    /// # Errors
    /// If nothing comes by it, or such questions were not agreed on.
    pub fn request_key_frame(&mut self, id: TransceiverId, rid: Option<&str>) -> Result<(), RequestError> {
        let mid = self.media.as_ref().and_then(|media| media.transceiver(id)?.mid());
        let session = self.transport.media_mut();
        let (Some(mid), Some(session)) = (mid, session) else { return Err(RequestError::Unknown) };
        session.request_key_frame(mid, rid)
    }

    /// What was counted of media; none before there was any.
    pub fn media_statistics(&self) -> Option<SessionStatistics> {
        Some(self.transport.media()?.statistics())
    }

    /// The name of a transceiver's section, and who sends there.
    fn sender(&mut self, id: TransceiverId) -> Result<(&str, &mut rtp::session::Session), WriteError> {
        let transceiver = self.media.as_ref().and_then(|media| media.transceiver(id));
        let mid = transceiver.ok_or(WriteError::Unknown)?.mid().ok_or(WriteError::NotReady)?;
        Ok((mid, self.transport.media_mut().ok_or(WriteError::NotReady)?))
    }

    /// What was agreed on, or wished for within that, counts from now on.
    fn apply_terms(&mut self, now: Time) {
        if self.is_closed() || self.peer_closed {
            return;
        }
        let Some(cname) = self.media.as_ref().map(|media| media.cname().into()) else { return };
        let terms = self.terms();
        let Self { transport, configuration, rng, .. } = self;
        transport.set_terms(now, terms, || {
            let config = SessionConfig::new(rng.fork());
            let clock = configuration.unix_time_at_start.map_or(config.clock, NtpClock::from_unix);
            let max_packet = config.max_packet.min(configuration.mtu.saturating_sub(crate::secure::ENVELOPE));
            let MediaConfiguration { patience, bandwidth, .. } =
                configuration.media.as_deref().cloned().unwrap_or_default();
            SessionConfig { cname, clock, max_packet, patience, bandwidth, ..config }
        });
    }

    /// Something has come, or has to be done.
    pub(super) fn handle_media(&mut self, event: rtp::session::Event) {
        use rtp::session::Event as News;
        let Some(media) = &mut self.media else { return };
        let event = match event {
            News::SourceAppeared(stream) => {
                media.source_appeared(&stream.mid);
                None
            }
            News::SourceEnded(stream) => {
                media.source_ended(&stream.mid);
                None
            }
            News::FrameReceived {
                stream,
                codec,
                payload_type,
                frame,
                captured,
                audio_level,
                orientation,
            } => {
                let received = ReceivedFrame {
                    rid: stream.rid,
                    ssrc: stream.ssrc,
                    codec,
                    payload_type,
                    frame,
                    captured,
                    audio_level,
                    orientation,
                };
                media
                    .heard(&stream.mid)
                    .map(|transceiver| Event::FrameReceived { transceiver, received: Box::new(received) })
            }
            News::PacketReceived { stream, header, payload, audio_level, orientation } => {
                let received = ReceivedPacket {
                    rid: stream.rid,
                    ssrc: stream.ssrc,
                    header,
                    payload,
                    audio_level,
                    orientation,
                };
                media
                    .heard(&stream.mid)
                    .map(|transceiver| Event::PacketReceived { transceiver, received: Box::new(received) })
            }
            News::KeyFrameRequested { mid, rid } => {
                media.id_of(&mid).map(|transceiver| Event::KeyFrameRequested { transceiver, rid })
            }
            News::BitrateChanged { mid, rid, bits_per_second } => media
                .id_of(&mid)
                .map(|transceiver| Event::BitrateChanged { transceiver, rid, bits_per_second }),
            _ => None,
        };
        self.tell_media();
        self.events.extend(event);
    }

    fn change_media<R>(
        &mut self,
        now: Time,
        change: impl FnOnce(&mut Media) -> Result<R, TransceiverError>,
    ) -> Result<R, TransceiverError> {
        if self.is_closed() || self.peer_closed {
            return Err(TransceiverError::Closed);
        }
        let result = change(self.media_mut())?;
        self.settle(now);
        Ok(result)
    }

    /// From now on media is of interest.
    fn media_mut(&mut self) -> &mut Media {
        self.negotiation.media = true;
        let Self { rng, configuration, .. } = self;
        self.media.get_or_insert_with(|| {
            let codecs = configuration.media.as_ref().map(|it| it.codecs.clone()).unwrap_or_default();
            Box::new(Media::new(sansio::Rng::new(rng.fork()), codecs))
        })
    }

    /// An offer of the other side's has been applied.
    pub(super) fn take_media(&mut self) {
        let Some(remote) = self.negotiation.remote() else { return };
        if !self.negotiation.media || (self.media.is_none() && !crate::media::is_in(&remote.session)) {
            return;
        }
        self.media_mut();
        let (Some(media), Some(remote)) = (&mut self.media, self.negotiation.remote()) else { return };
        let other = self.negotiation.pending_offer().map(|(_, other)| other);
        media.take_offer(&remote.session, other.as_ref());
    }

    /// An answer has been applied.
    pub(super) fn settle_media(&mut self, now: Time, is_final: bool) {
        let Some(media) = &mut self.media else { return };
        if let Some((local, remote, we_offered)) = self.negotiation.both() {
            media.settle(local, remote, we_offered, is_final);
        }
        self.apply_terms(now);
    }

    /// What the descriptions of the last exchange have agreed on for media, section by section.
    pub fn terms(&self) -> Vec<rtp::session::Terms> {
        match (&self.media, self.negotiation.both()) {
            (Some(media), Some((local, remote, we_offered))) => media.terms(local, remote, we_offered),
            _ => Vec::new(),
        }
    }

    /// What is in negotiation has been taken back.
    pub(super) fn rollback_media(&mut self) {
        if let Some(media) = &mut self.media {
            media.rollback();
        }
    }

    pub(super) fn close_media(&mut self) {
        if let Some(media) = &mut self.media {
            media.stop_all();
        }
        self.tell_media();
    }

    /// Passes on what has happened to transceivers.
    pub(super) fn tell_media(&mut self) {
        let Some(media) = &mut self.media else { return };
        self.events.extend(std::iter::from_fn(|| media.poll_event()));
    }

    /// Whether transceivers have something to negotiate.
    pub(super) fn is_media_news(&self) -> bool {
        let Some(media) = &self.media else { return false };
        let local = self.negotiation.current_local().map(|it| &it.session);
        let remote = self.negotiation.current_remote().map(|it| &it.session);
        media.is_negotiation_needed(local, remote, self.negotiation.we_offered())
    }
}

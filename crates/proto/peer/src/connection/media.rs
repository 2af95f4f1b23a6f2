//! The transceivers' half of a [`Connection`].

use sansio::Time;

use super::Connection;
use crate::media::Media;
use crate::{
    Direction, EncodingParameters, MediaKind, RtpCodec, Transceiver, TransceiverError, TransceiverId,
    TransceiverInit,
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
        self.change_media(now, |media| media.set_encodings(id, encodings))
    }

    /// Ends a transceiver (`stop`): nothing is sent by it any more, and the next exchange ends its section.
    ///
    /// # Errors
    /// If there is no such transceiver, or it is stopped.
    pub fn stop_transceiver(&mut self, now: Time, id: TransceiverId) -> Result<(), TransceiverError> {
        self.change_media(now, |media| media.stop(id))
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
        let rng = &mut self.rng;
        self.media.get_or_insert_with(|| Box::new(Media::new(sansio::Rng::new(rng.fork()))))
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
    pub(super) fn settle_media(&mut self, is_final: bool) {
        let Some(media) = &mut self.media else { return };
        if let Some((local, remote, we_offered)) = self.negotiation.both() {
            media.settle(local, remote, we_offered, is_final);
        }
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

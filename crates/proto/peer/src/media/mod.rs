//! Transceivers: what they are, what descriptions say of them, and what comes of that (RFC 9429, W3C webrtc-pc §5).

mod answer;
mod needed;
mod offer;
mod settle;
mod terms;

pub(crate) use offer::Planned;
pub(crate) use settle::is_in;

use std::collections::VecDeque;

use rtp::extension::Name;
use rtp::session::{Delivery, Kind};
use sansio::Rng;
use sdp::{Direction, Extmap, Msid, Rid, Rtp, Simulcast, SimulcastStream, Source, SourceGroup};

use crate::payload_types::PayloadTypes;
use crate::transceiver::Sending;
use crate::{
    EncodingParameters, Event, RtpCodec, Transceiver, TransceiverError, TransceiverId, TransceiverInit,
};

/// The most transceivers of a connection.
const MAX_TRANSCEIVERS: usize = 128;
/// The most encodings of one.
const MAX_ENCODINGS: usize = 8;

/// All transceivers of a connection.
pub(crate) struct Media {
    rng: Rng,
    /// What all that is sent has in common (RFC 7022).
    cname: String,
    /// What new transceivers prefer.
    codecs: Vec<RtpCodec>,
    transceivers: Vec<Transceiver>,
    types: PayloadTypes,
    next: u32,
    /// Which section of the description created last is whose.
    planned: Vec<(usize, TransceiverId)>,
    /// As they were in the stable state, while an exchange is under way.
    before: Option<Vec<Transceiver>>,
    events: VecDeque<Event>,
}

impl Media {
    pub(crate) fn new(mut rng: Rng, codecs: Vec<RtpCodec>) -> Self {
        Self {
            cname: rng.ice_chars(16),
            rng,
            codecs,
            transceivers: Vec::new(),
            types: PayloadTypes::default(),
            next: 0,
            planned: Vec::new(),
            before: None,
            events: VecDeque::new(),
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Those that are not stopped on both sides, the oldest first.
    pub(crate) fn transceivers(&self) -> impl Iterator<Item = &Transceiver> {
        self.transceivers.iter()
    }

    pub(crate) fn transceiver(&self, id: TransceiverId) -> Option<&Transceiver> {
        self.transceivers.iter().find(|it| it.id == id)
    }

    fn transceiver_mut(&mut self, id: TransceiverId) -> Option<&mut Transceiver> {
        self.transceivers.iter_mut().find(|it| it.id == id)
    }

    /// One that can still be changed.
    fn living(&mut self, id: TransceiverId) -> Result<&mut Transceiver, TransceiverError> {
        match self.transceiver_mut(id) {
            None => Err(TransceiverError::Unknown),
            Some(it) if it.stopping => Err(TransceiverError::Stopped),
            Some(it) => Ok(it),
        }
    }

    pub(crate) fn add(
        &mut self,
        kind: Kind,
        init: TransceiverInit,
    ) -> Result<TransceiverId, TransceiverError> {
        let TransceiverInit { direction, streams, mut send_encodings } = init;
        let rids: Vec<Option<&str>> = send_encodings.iter().map(|it| it.rid.as_deref()).collect();
        let distinct = rids.iter().enumerate().all(|(at, rid)| rid.is_none() || !rids[..at].contains(rid));
        let named = rids.iter().flatten().all(|rid| sdp::is_rid(rid) && rid.len() <= 16);
        if !distinct || !named || (rids.len() > 1 && rids.contains(&None)) {
            return Err(TransceiverError::Rid);
        }
        if self.transceivers.len() >= MAX_TRANSCEIVERS || send_encodings.len() > MAX_ENCODINGS {
            return Err(TransceiverError::TooMany);
        }
        match &mut send_encodings[..] {
            [] => send_encodings.push(EncodingParameters::default()),
            // W3C: the name of a single encoding is of no use.
            [only] => only.rid = None,
            // Sound is sent once: W3C "If kind is audio, remove all but the first".
            [first, ..] if kind == Kind::Audio => {
                first.rid = None;
                send_encodings.truncate(1);
            }
            _ => {}
        }
        let sending = send_encodings.into_iter().map(|it| self.sending(it)).collect();
        let id = self.insert(kind, direction, sending);
        if let Some(transceiver) = self.transceiver_mut(id) {
            transceiver.streams = streams;
        }
        Ok(id)
    }

    /// Something to send: by a transceiver that has nothing, or by a new one (webrtc-pc §5.1, `addTrack`).
    pub(crate) fn add_track(
        &mut self,
        kind: Kind,
        streams: Vec<String>,
    ) -> Result<TransceiverId, TransceiverError> {
        let is_free =
            |it: &&mut Transceiver| it.kind == kind && !it.stopping && !it.has_track && !it.has_sent;
        let free = self.transceivers.iter_mut().find(is_free).map(|it| {
            it.direction = Direction::new(true, it.direction.receives());
            it.streams.clone_from(&streams);
            it.id
        });
        let id = match free {
            Some(id) => id,
            None => self.add(kind, TransceiverInit { streams, ..TransceiverInit::default() })?,
        };
        if let Some(transceiver) = self.transceiver_mut(id) {
            transceiver.by_add_track |= free.is_none();
            transceiver.has_track = true;
        }
        Ok(id)
    }

    pub(crate) fn remove_track(&mut self, id: TransceiverId) -> Result<(), TransceiverError> {
        let transceiver = self.living(id)?;
        transceiver.has_track = false;
        transceiver.direction = Direction::new(false, transceiver.direction.receives());
        Ok(())
    }

    pub(crate) fn set_direction(
        &mut self,
        id: TransceiverId,
        direction: Direction,
    ) -> Result<(), TransceiverError> {
        self.living(id)?.direction = direction;
        Ok(())
    }

    pub(crate) fn set_streams(
        &mut self,
        id: TransceiverId,
        streams: Vec<String>,
    ) -> Result<(), TransceiverError> {
        self.living(id)?.streams = streams;
        Ok(())
    }

    pub(crate) fn set_codec_preferences(
        &mut self,
        id: TransceiverId,
        codecs: Vec<RtpCodec>,
    ) -> Result<(), TransceiverError> {
        let transceiver = self.living(id)?;
        let is_audio = transceiver.kind == Kind::Audio;
        if codecs.len() > 24 || codecs.iter().any(|it| it.codec.is_audio() != is_audio) {
            return Err(TransceiverError::Codec);
        }
        transceiver.preferences = codecs;
        Ok(())
    }

    pub(crate) fn set_delivery(
        &mut self,
        id: TransceiverId,
        delivery: Delivery,
    ) -> Result<(), TransceiverError> {
        self.living(id)?.delivery = delivery;
        Ok(())
    }

    /// What all that is sent has in common.
    pub(crate) fn cname(&self) -> &str {
        &self.cname
    }

    pub(crate) fn set_encodings(
        &mut self,
        id: TransceiverId,
        encodings: &[EncodingParameters],
    ) -> Result<(), TransceiverError> {
        let transceiver = self.living(id)?;
        let same = transceiver.encodings().map(|it| &it.rid).eq(encodings.iter().map(|it| &it.rid));
        if !same {
            return Err(TransceiverError::Rid);
        }
        transceiver.sending.iter_mut().zip(encodings).for_each(|(own, new)| own.parameters = new.clone());
        Ok(())
    }

    /// Ends a transceiver, with the next exchange if it is known to the other side.
    pub(crate) fn stop(&mut self, id: TransceiverId) -> Result<(), TransceiverError> {
        let transceiver = self.living(id)?;
        transceiver.stopping = true;
        transceiver.direction = Direction::Inactive;
        let unknown = transceiver.index.is_none();
        self.end_track(id);
        if unknown && !self.planned.iter().any(|(_, planned)| *planned == id) {
            self.transceivers.retain(|it| it.id != id);
        }
        Ok(())
    }

    pub(crate) fn stop_all(&mut self) {
        let ids: Vec<TransceiverId> = self.transceivers.iter().map(|it| it.id).collect();
        ids.into_iter().for_each(|id| self.end_track(id));
        self.transceivers.clear();
    }

    /// The remote track that came by it comes no more.
    fn end_track(&mut self, id: TransceiverId) {
        let Some(transceiver) = self.transceiver_mut(id) else { return };
        if std::mem::take(&mut transceiver.receiving) {
            transceiver.muted = true;
            self.events.push_back(Event::TrackEnded(id));
        }
    }

    /// What a new transceiver prefers; nothing: all that are known.
    fn preferences(&self, kind: Kind) -> Vec<RtpCodec> {
        let is_audio = kind == Kind::Audio;
        self.codecs.iter().filter(|it| it.codec.is_audio() == is_audio).cloned().collect()
    }

    /// What a transceiver takes that nobody has told otherwise.
    fn usual_codecs(&self, kind: Kind) -> Vec<RtpCodec> {
        let preferred = self.preferences(kind);
        if preferred.is_empty() { RtpCodec::capabilities(kind) } else { preferred }
    }

    fn insert(&mut self, kind: Kind, direction: Direction, sending: Vec<Sending>) -> TransceiverId {
        let id = TransceiverId(self.next);
        self.next = self.next.wrapping_add(1);
        let (track, remote_track) = (self.name(), self.name());
        let preferences = self.preferences(kind);
        self.transceivers.push(Transceiver {
            id,
            kind,
            mid: None,
            index: None,
            direction,
            current_direction: None,
            stopping: false,
            stopped: false,
            preferences,
            has_track: false,
            by_add_track: false,
            by_remote: false,
            has_sent: false,
            track,
            streams: Vec::new(),
            sending,
            receiving: false,
            muted: true,
            remote_track,
            remote_streams: Vec::new(),
            formats: Vec::new(),
            delivery: Delivery::default(),
            sources: 0,
        });
        id
    }

    fn sending(&mut self, parameters: EncodingParameters) -> Sending {
        let ssrc = self.new_ssrc(None);
        Sending { parameters, ssrc, rtx_ssrc: self.new_ssrc(Some(ssrc)) }
    }

    fn new_ssrc(&mut self, besides: Option<u32>) -> u32 {
        loop {
            let ssrc = self.rng.next_u64() as u32;
            let mut all = self.transceivers.iter().flat_map(|it| &it.sending);
            let taken = all.any(|it| it.ssrc == ssrc || it.rtx_ssrc == ssrc);
            if ssrc != 0 && !taken && besides != Some(ssrc) {
                return ssrc;
            }
        }
    }

    fn name(&mut self) -> String {
        self.rng.bytes::<12>().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The header extensions that are understood.
fn extensions(kind: Kind) -> &'static [Name] {
    match kind {
        Kind::Audio => &[
            Name::AudioLevel,
            Name::AbsoluteSendTime,
            Name::TransportSequenceNumber,
            Name::Mid,
            Name::AbsoluteCaptureTime,
        ],
        Kind::Video => &[
            Name::AbsoluteSendTime,
            Name::VideoOrientation,
            Name::TransportSequenceNumber,
            Name::Mid,
            Name::Rid,
            Name::RepairedRid,
            Name::AbsoluteCaptureTime,
        ],
    }
}

/// Writes what is said about what we send: streams, sources, encodings.
fn describe_sending(rtp: &mut Rtp, transceiver: &Transceiver, cname: &str) {
    if !rtp.direction.sends() {
        return;
    }
    let track = Some(transceiver.track.clone());
    let streams = transceiver.streams.iter();
    rtp.msids = streams.map(|it| Msid { stream: Some(it.clone()), track: track.clone() }).collect();
    if rtp.msids.is_empty() {
        rtp.msids.push(Msid { stream: None, track });
    }
    let sending = &transceiver.sending;
    if transceiver.is_simulcast() {
        let names = sending.iter().filter_map(|it| it.parameters.rid.as_deref());
        rtp.rids = names.clone().map(|rid| Rid::new(rid, true)).collect();
        let send = names.map(SimulcastStream::new).collect();
        rtp.simulcast = Some(Simulcast { send, receive: Vec::new() });
        return;
    }
    let Some(only) = sending.first() else { return };
    let source = |ssrc| Source { cname: Some(cname.into()), ..Source::new(ssrc) };
    rtp.sources.push(source(only.ssrc));
    if rtp.formats.iter().any(|format| format.is("rtx")) {
        rtp.groups.push(SourceGroup::retransmission(only.ssrc, only.rtx_ssrc));
        rtp.sources.push(source(only.rtx_ssrc));
    }
}

/// One that both directions have.
fn extmap(number: u8, name: Name) -> Extmap {
    Extmap::new(number.into(), name.uri())
}

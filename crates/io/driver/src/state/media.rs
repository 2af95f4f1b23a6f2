//! What the handles of media share with the engine: frames that wait to be read, and what whoever encodes has to know.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use peer::{
    Delivery, Event, OutgoingFrame, OutgoingPacket, ReceivedPacket, TransceiverError, TransceiverId,
    WriteError,
};
use sansio::Time;

use super::{State, Told};
use crate::inbox::Inbox;
use crate::wake::Waiting;
use crate::{Error, LocalFrame, LocalTrackEvent, RemoteFrame};

/// All transceivers that somebody holds, or by which something came.
#[derive(Debug, Default)]
pub(crate) struct Tracks(BTreeMap<TransceiverId, Box<Part>>);

/// What is kept for a transceiver.
#[derive(Debug, Default)]
struct Part {
    inbox: Inbox,
    readers: Waiting,
    /// What whoever encodes was not told yet: of each encoding and kind one at most.
    news: VecDeque<LocalTrackEvent>,
    /// What each encoding may have, as was told last.
    rates: Vec<(Option<Arc<str>>, u64)>,
    writers: Waiting,
    /// Whether what comes is wanted in packets.
    packets: bool,
    handles: usize,
    /// There were handles, and all are gone: nobody wants what comes.
    deserted: bool,
}

impl State {
    /// Somebody holds this transceiver.
    pub(crate) fn enter(&mut self, id: TransceiverId) {
        let part = self.part(id);
        part.handles += 1;
        part.deserted = false;
    }

    /// Somebody has let go of it.
    pub(crate) fn leave(&mut self, id: TransceiverId) {
        let part = self.part(id);
        part.handles = part.handles.saturating_sub(1);
        if part.handles == 0 {
            part.deserted = true;
            part.inbox.clear();
        }
        self.forget_tracks();
    }

    /// The next frame; `None` when there will be no more. Whether the engine has to be told that something was asked for.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &Context<'_>,
        id: TransceiverId,
    ) -> (Poll<Option<RemoteFrame>>, bool) {
        self.poll_inbox(cx, id, Inbox::pop_frame)
    }

    /// The next packet, likewise.
    pub(crate) fn poll_packet(
        &mut self,
        now: Time,
        cx: &Context<'_>,
        id: TransceiverId,
    ) -> (Poll<Option<ReceivedPacket>>, bool) {
        let changes = !self.part(id).packets;
        // What cannot be told to a transceiver that has ended need not be.
        let _ = self.set_delivery(now, id, Delivery::Packets);
        let (polled, asked) = self.poll_inbox(cx, id, Inbox::pop_packet);
        (polled, asked || changes)
    }

    fn poll_inbox<T>(
        &mut self,
        cx: &Context<'_>,
        id: TransceiverId,
        pop: impl Fn(&mut Inbox) -> Option<T>,
    ) -> (Poll<Option<T>>, bool) {
        let over = self.is_track_over(id);
        let part = self.part(id);
        if let Some(item) = pop(&mut part.inbox) {
            return (Poll::Ready(Some(item)), false);
        }
        if over {
            return (Poll::Ready(None), false);
        }
        part.readers.register(cx);
        let mut asked = false;
        while let Some(rid) = self.part(id).inbox.poll_key_frame_needed() {
            asked |= self.connection.request_key_frame(id, rid.as_deref()).is_ok();
        }
        (Poll::Pending, asked)
    }

    /// Says in what shape that which comes is read.
    pub(crate) fn set_delivery(
        &mut self,
        now: Time,
        id: TransceiverId,
        delivery: Delivery,
    ) -> Result<(), TransceiverError> {
        let packets = delivery == Delivery::Packets;
        if self.part(id).packets != packets {
            self.connection.set_delivery(now, id, delivery)?;
            self.part(id).packets = packets;
        }
        Ok(())
    }

    /// Frames or packets of a transceiver that nobody read in time.
    pub(crate) fn dropped(&self, id: TransceiverId) -> u64 {
        self.known_part(id).map_or(0, |part| part.inbox.dropped)
    }

    /// The next thing that whoever encodes has to know; `None` when there will be no more.
    pub(crate) fn poll_news(&mut self, cx: &Context<'_>, id: TransceiverId) -> Poll<Option<LocalTrackEvent>> {
        let over = self.is_track_over(id);
        let part = self.part(id);
        match part.news.pop_front() {
            Some(news) => Poll::Ready(Some(news)),
            None if over => Poll::Ready(None),
            None => {
                part.writers.register(cx);
                Poll::Pending
            }
        }
    }

    /// Waits until frames are taken.
    pub(crate) fn poll_ready(&mut self, cx: &Context<'_>, id: TransceiverId) -> Poll<Result<(), Error>> {
        if self.is_track_over(id) {
            let is_ended = self.is_over() || self.failure.is_some() || self.is_closed();
            let stopped = Error::Media(TransceiverError::Stopped);
            return Poll::Ready(Err(if is_ended { self.error() } else { stopped }));
        }
        let direction = self.connection.transceiver(id).and_then(|it| it.current_direction());
        let part = self.part(id);
        // Rates are told as soon as there are keys.
        if direction.is_some_and(|it| it.sends()) && !part.rates.is_empty() {
            return Poll::Ready(Ok(()));
        }
        part.writers.register(cx);
        Poll::Pending
    }

    /// What an encoding may have, as was told last.
    pub(crate) fn rate(&self, id: TransceiverId, rid: Option<&str>) -> Option<u64> {
        let of = |(own, _): &&(Option<Arc<str>>, u64)| own.as_deref() == rid;
        self.known_part(id)?.rates.iter().find(of).map(|(_, rate)| *rate)
    }

    /// Sends a frame.
    pub(crate) fn write_frame(
        &mut self,
        now: Time,
        captured: Option<Time>,
        id: TransceiverId,
        frame: &LocalFrame<'_>,
    ) -> Result<(), WriteError> {
        let payload_type = match (frame.payload_type, frame.codec) {
            (None, Some(codec)) => {
                let transceiver = self.connection.transceiver(id).ok_or(WriteError::Unknown)?;
                let formats = transceiver.remote_formats();
                let known = formats.iter().find(|format| format.codec == codec);
                let missing =
                    if formats.is_empty() { WriteError::NotReady } else { WriteError::UnknownFormat };
                Some(known.ok_or(missing)?.payload_type)
            }
            (told, _) => told,
        };
        let outgoing = OutgoingFrame {
            data: frame.data,
            time: frame.time,
            captured,
            payload_type,
            audio_level: frame.audio_level,
            orientation: frame.orientation,
            capture_time: frame.capture_time,
        };
        self.connection.write_frame(now, id, frame.rid, &outgoing)
    }

    /// Sends a packet.
    pub(crate) fn write_packet(
        &mut self,
        now: Time,
        id: TransceiverId,
        rid: Option<&str>,
        packet: &OutgoingPacket<'_>,
    ) -> Result<(), WriteError> {
        self.connection.write_packet(now, id, rid, packet)
    }

    /// Takes what the machine says of media. What is about something else is given back.
    pub(super) fn handle_media(&mut self, event: Event, wakers: &mut Vec<Waker>) -> Option<Event> {
        let limits = self.settings.limits;
        match event {
            Event::FrameReceived { transceiver, received } => {
                let clock = self.settings.clock;
                self.receive_media(transceiver, wakers, |inbox| inbox.take_frame(*received, clock, limits));
            }
            Event::PacketReceived { transceiver, received } => {
                self.receive_media(transceiver, wakers, |inbox| inbox.take_packet(*received, limits));
            }
            Event::KeyFrameRequested { transceiver, rid } => {
                self.announce(transceiver, LocalTrackEvent::KeyFrameRequested { rid }, wakers);
            }
            Event::BitrateChanged { transceiver, rid, bits_per_second } => {
                let rates = &mut self.part(transceiver).rates;
                match rates.iter_mut().find(|(own, _)| *own == rid) {
                    Some((_, rate)) => *rate = bits_per_second,
                    None => rates.push((rid.clone(), bits_per_second)),
                }
                let news = LocalTrackEvent::BitrateChanged { rid, bits_per_second };
                self.announce(transceiver, news, wakers);
            }
            Event::TrackEnded(id) => {
                self.wake_track(id, wakers);
                self.forget_tracks();
            }
            Event::TrackAdded { transceiver, .. } => self.tell_of_track(transceiver, Told::Track, wakers),
            Event::TrackMuted(id) => self.tell_of_track(id, Told::TrackMute, wakers),
            Event::TrackUnmuted(id) => self.tell_of_track(id, Told::TrackUnmute, wakers),
            Event::MediaRejected { mid, kind, because, .. } => {
                self.tell(Told::MediaRejected { mid, kind, because });
                self.listeners.drain_into(wakers);
            }
            other => return Some(other),
        }
        None
    }

    fn receive_media(&mut self, id: TransceiverId, wakers: &mut Vec<Waker>, take: impl FnOnce(&mut Inbox)) {
        if self.closing.is_some() {
            return;
        }
        let part = self.part(id);
        if !part.deserted {
            take(&mut part.inbox);
            part.readers.drain_into(wakers);
        }
    }

    /// Of one kind and one encoding only the latest is of interest.
    fn announce(&mut self, id: TransceiverId, news: LocalTrackEvent, wakers: &mut Vec<Waker>) {
        let part = self.part(id);
        part.news.retain(|earlier| !news.replaces(earlier));
        part.news.push_back(news);
        part.writers.drain_into(wakers);
    }

    fn tell_of_track(
        &mut self,
        id: TransceiverId,
        told: impl FnOnce(TransceiverId, peer::MediaKind) -> Told,
        wakers: &mut Vec<Waker>,
    ) {
        if let Some(transceiver) = self.connection.transceiver(id) {
            let told = told(id, transceiver.kind());
            self.tell(told);
            self.listeners.drain_into(wakers);
        }
    }

    pub(super) fn wake_tracks(&mut self, wakers: &mut Vec<Waker>) {
        for part in self.tracks.iter_mut().flat_map(|tracks| tracks.0.values_mut()) {
            part.readers.drain_into(wakers);
            part.writers.drain_into(wakers);
        }
    }

    pub(crate) fn wake_track(&mut self, id: TransceiverId, wakers: &mut Vec<Waker>) {
        if let Some(part) = self.tracks.as_mut().and_then(|tracks| tracks.0.get_mut(&id)) {
            part.readers.drain_into(wakers);
            part.writers.drain_into(wakers);
        }
    }

    /// Whether nothing will ever be sent or come by a transceiver again.
    fn is_track_over(&self, id: TransceiverId) -> bool {
        self.is_over()
            || self.failure.is_some()
            || self.connection.transceiver(id).is_none_or(peer::Transceiver::is_stopped)
    }

    fn known_part(&self, id: TransceiverId) -> Option<&Part> {
        self.tracks.as_ref()?.0.get(&id).map(|part| &**part)
    }

    fn part(&mut self, id: TransceiverId) -> &mut Part {
        self.tracks.get_or_insert_default().0.entry(id).or_default()
    }

    /// Lets go of those that have ended and that nobody holds.
    fn forget_tracks(&mut self) {
        let Self { tracks, connection, .. } = self;
        if let Some(tracks) = tracks {
            tracks.0.retain(|id, part| part.handles > 0 || connection.transceiver(*id).is_some());
        }
    }
}

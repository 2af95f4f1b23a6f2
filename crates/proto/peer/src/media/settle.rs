use sdp::{Direction, Rtp, Session};

use super::answer::{kind, nothing_common};
use super::{Media, terms};
use crate::{Event, Rejection, Transceiver, TransceiverId};

impl Media {
    /// A local offer or answer is applied: transceivers are in the sections that it gives them.
    pub(crate) fn set_local(&mut self, session: &Session) {
        self.before.get_or_insert_with(|| self.transceivers.clone());
        for (index, id) in std::mem::take(&mut self.planned) {
            let mid = session.section(index).and_then(|it| it.mid()).map(String::from);
            if let Some(transceiver) = self.transceiver_mut(id) {
                (transceiver.index, transceiver.mid) = (Some(index), mid);
            }
        }
    }

    /// An answer is applied, ours or theirs, provisional or not: what both descriptions say counts (webrtc-pc §4.4.1.5).
    pub(crate) fn settle(&mut self, local: &Session, remote: &Session, we_offered: bool, is_final: bool) {
        for at in 0..self.transceivers.len() {
            let transceiver = &self.transceivers[at];
            let (id, Some(index)) = (transceiver.id, transceiver.index) else { continue };
            let (Some(own), Some(other)) = (local.section(index), remote.section(index)) else { continue };
            if own.is_rejected() || other.is_rejected() {
                let because = other.rtp().ok().filter(|_| !other.is_rejected());
                let because = because.and_then(|theirs| nothing_common(&transceiver.codecs(), &theirs));
                self.refuse(id, own.mid(), because.unwrap_or(Rejection::Refused));
                self.transceivers[at].stopping = true;
                self.end_track(id);
                self.transceivers[at].stopped |= is_final;
                continue;
            }
            let (Ok(own), Ok(theirs)) = (own.rtp(), other.rtp()) else { continue };
            if we_offered {
                self.keep_encodings(at, &theirs);
                self.take_track(id, &theirs);
            }
            let direction = own.direction.and(theirs.direction.reversed());
            terms::learn(&mut self.types, &own, &theirs);
            let transceiver = &mut self.transceivers[at];
            transceiver.formats = terms::formats(&own, &theirs, we_offered).0;
            if is_final {
                transceiver.current_direction = Some(direction);
                transceiver.has_sent |= direction.sends();
            }
        }
        if is_final {
            self.transceivers.retain(|it| !it.stopped);
            self.before = None;
        }
    }

    /// The other side takes fewer encodings than were offered, or a single one without a name (RFC 8853 §5.3.3).
    fn keep_encodings(&mut self, at: usize, theirs: &Rtp) {
        let sending = &mut self.transceivers[at].sending;
        let taken: Vec<&str> = theirs.simulcast.iter().flat_map(|it| &it.receive).map(|it| it.id()).collect();
        let is_taken = |rid: &Option<String>| rid.as_deref().is_some_and(|rid| taken.contains(&rid));
        if sending.iter().any(|it| is_taken(&it.parameters.rid)) {
            sending.retain(|it| is_taken(&it.parameters.rid));
        } else if theirs.direction.receives() {
            sending.truncate(1);
            sending.iter_mut().for_each(|it| it.parameters.rid = None);
        }
    }

    /// What a remote description says of the track that comes (webrtc-pc §5.1.1, "process the addition" and "removal").
    pub(super) fn take_track(&mut self, id: TransceiverId, theirs: &Rtp) {
        let Some(transceiver) = self.transceiver_mut(id) else { return };
        let told: Vec<(Option<String>, Option<String>)> = match theirs.msids.is_empty() {
            false => theirs.msids.iter().map(|it| (it.stream.clone(), it.track.clone())).collect(),
            true => {
                theirs.sources.first().and_then(|it| legacy_msid(it.msid.as_deref()?)).into_iter().collect()
            }
        };
        let receives = theirs.direction.sends() && !transceiver.stopping;
        if receives {
            let mut streams: Vec<String> = told.iter().filter_map(|(stream, _)| stream.clone()).collect();
            streams.dedup();
            transceiver.remote_streams.clone_from(&streams);
            if let Some(track) =
                told.into_iter().find_map(|(_, track)| track).filter(|_| !transceiver.receiving)
            {
                transceiver.remote_track = track;
            }
            if !std::mem::replace(&mut transceiver.receiving, true) {
                transceiver.muted = true;
                self.events.push_back(Event::TrackAdded { transceiver: id, streams });
            }
        } else if std::mem::take(&mut transceiver.receiving) {
            transceiver.muted = true;
            transceiver.remote_streams.clear();
            self.events.push_back(Event::TrackMuted(id));
        }
    }

    /// Something came in the section of this name: by which transceiver.
    pub(crate) fn heard(&mut self, mid: &str) -> Option<TransceiverId> {
        let Self { transceivers, events, .. } = self;
        let transceiver = transceivers.iter_mut().find(|it| it.mid.as_deref() == Some(mid))?;
        if transceiver.receiving && std::mem::take(&mut transceiver.muted) {
            events.push_back(Event::TrackUnmuted(transceiver.id));
        }
        Some(transceiver.id)
    }

    /// A source began to be heard.
    pub(crate) fn source_appeared(&mut self, mid: &str) {
        if let Some(id) = self.heard(mid)
            && let Some(transceiver) = self.transceiver_mut(id)
        {
            transceiver.sources += 1;
        }
    }

    /// A source is heard no more; with the last one, the track falls silent.
    pub(crate) fn source_ended(&mut self, mid: &str) {
        let Self { transceivers, events, .. } = self;
        let Some(transceiver) = transceivers.iter_mut().find(|it| it.mid.as_deref() == Some(mid)) else {
            return;
        };
        transceiver.sources = transceiver.sources.saturating_sub(1);
        if transceiver.sources == 0 && transceiver.receiving && !transceiver.muted {
            transceiver.muted = true;
            events.push_back(Event::TrackMuted(transceiver.id));
        }
    }

    /// The transceiver of the section of this name.
    pub(crate) fn id_of(&self, mid: &str) -> Option<TransceiverId> {
        self.transceivers.iter().find(|it| it.mid.as_deref() == Some(mid)).map(|it| it.id)
    }

    /// What was in negotiation is taken back: transceivers are where they were, and those that it brought are gone, unless
    /// the application sends by them (RFC 9429 §5.7).
    pub(crate) fn rollback(&mut self) {
        self.planned.clear();
        let Some(before) = self.before.take() else { return };
        let unused =
            |it: &Transceiver| it.by_remote && !it.has_track && before.iter().all(|known| known.id != it.id);
        let gone: Vec<TransceiverId> =
            self.transceivers.iter().filter(|it| unused(it)).map(|it| it.id).collect();
        for id in gone {
            self.end_track(id);
            self.transceivers.retain(|it| it.id != id);
        }
        for transceiver in &mut self.transceivers {
            match before.iter().find(|it| it.id == transceiver.id) {
                Some(earlier) => restore(transceiver, earlier, &mut self.events),
                None => (transceiver.index, transceiver.mid) = (None, None),
            }
        }
        self.transceivers.retain(|it| !(it.stopping && it.index.is_none()));
    }
}

/// Whether there is a section of sound or pictures in this description.
pub(crate) fn is_in(session: &Session) -> bool {
    session.sections().any(|section| kind(section).is_some() && !section.is_rejected())
}

/// What the application wished meanwhile stays.
fn restore(
    transceiver: &mut Transceiver,
    earlier: &Transceiver,
    events: &mut std::collections::VecDeque<Event>,
) {
    let Transceiver { mid, index, stopped, receiving, sending, formats, .. } = earlier;
    (transceiver.mid, transceiver.index, transceiver.stopped) = (mid.clone(), *index, *stopped);
    transceiver.sending.clone_from(sending);
    transceiver.formats.clone_from(formats);
    transceiver.remote_streams.clone_from(&earlier.remote_streams);
    transceiver.remote_track.clone_from(&earlier.remote_track);
    match (std::mem::replace(&mut transceiver.receiving, *receiving), *receiving) {
        (true, false) => {
            transceiver.muted = true;
            events.push_back(Event::TrackMuted(transceiver.id));
        }
        (false, true) if !transceiver.stopping => {
            let streams = transceiver.remote_streams.clone();
            events.push_back(Event::TrackAdded { transceiver: transceiver.id, streams });
        }
        _ => {}
    }
    let was_alive = !earlier.stopping && transceiver.stopping && transceiver.direction == Direction::Inactive;
    transceiver.receiving &= !was_alive;
}

/// `stream track`, as `a=ssrc:… msid:` has it.
fn legacy_msid(text: &str) -> Option<(Option<String>, Option<String>)> {
    let (stream, track) = text.split_once(' ')?;
    Some(((stream != "-").then(|| stream.into()), Some(track.into())))
}

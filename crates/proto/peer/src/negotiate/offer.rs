use sdp::{Media, Origin, Section, Session, Setup};

use crate::TransceiverId;
use crate::description::{
    LocalTransport, carrier, data_section, media_section, parked_section, rejected_section,
};
use crate::media::Planned;

/// The protocol of media that we offer (RFC 9429 §5.1.2).
const PROTOCOL: &str = "UDP/TLS/RTP/SAVPF";

/// What an offer is made from.
pub(super) struct Outline<'a> {
    pub(super) origin: Origin,
    /// Our latest description, whose sections keep their places and names.
    pub(super) local: Option<&'a Session>,
    /// Theirs from the last completed exchange: what they rejected stays rejected.
    pub(super) remote: Option<&'a Session>,
    /// Whether there are, or were, data channels to carry.
    pub(super) data: bool,
    /// The sections of our transceivers.
    pub(super) media: &'a [Planned],
    pub(super) transport: &'a LocalTransport,
}

/// An offer that is being written.
struct Draft {
    session: Session,
    /// The names of the sections that share the transport.
    bundled: Vec<String>,
    /// Which section is whose.
    places: Vec<(usize, TransceiverId)>,
}

impl Outline<'_> {
    /// The offer (RFC 9429 §5.2), and which section is whose.
    pub(super) fn offer(self) -> (Session, Vec<(usize, TransceiverId)>) {
        let session = Session::new(self.origin.clone());
        let mut draft = Draft { session, bundled: Vec::new(), places: Vec::new() };
        let known = self.local.map_or(0, |local| local.media.len());
        let carries = self.carries();
        let mut carried = false;
        let (mut free_for_data, mut free_for_media) = (None, Vec::new());
        for index in 0..known {
            let Some(section) = self.local.and_then(|local| local.section(index)) else { continue };
            let alive = !self.is_rejected(index, section);
            let planned = self.media.iter().find(|it| it.place == Some(index));
            let media = match section.mid() {
                Some(mid) if alive && section.is_data() && !carried => {
                    carried = true;
                    draft.bundled.push(mid.into());
                    self.data_section(mid)
                }
                mid if let Some(planned) = planned => {
                    self.known_section(&mut draft, index, mid, planned, section)
                }
                Some(mid) if alive && !section.is_data() && carries => {
                    draft.bundled.push(mid.into());
                    parked_section(section.media(), self.transport, Setup::Actpass)
                }
                _ => {
                    if section.media().kind() == "application" {
                        free_for_data = free_for_data.or(Some(index));
                    } else {
                        free_for_media.push(index);
                    }
                    rejected_section(section.media(), carries.then_some((self.transport, Setup::Actpass)))
                }
            };
            draft.session.media.push(media);
        }
        let mut free_for_media = free_for_media.into_iter();
        for planned in self.media.iter().filter(|it| it.place.is_none()) {
            self.add_section(&mut draft, free_for_media.next(), planned);
        }
        if self.data && !carried {
            let mid = self.new_mid(&draft);
            let media = self.data_section(&mid);
            draft.bundled.push(mid);
            match free_for_data {
                // "that "m=" section MUST be recycled" (RFC 9429 §5.2.2)
                Some(place) => draft.session.media[place] = media,
                None => draft.session.media.push(media),
            }
        }
        self.finish(draft)
    }

    /// Whether there is anything that a transport is needed for.
    fn carries(&self) -> bool {
        self.data || self.media.iter().any(|it| it.rtp.is_some())
    }

    /// The section that a transceiver has had before.
    fn known_section(
        &self,
        draft: &mut Draft,
        index: usize,
        mid: Option<&str>,
        planned: &Planned,
        section: Section<'_>,
    ) -> Media {
        draft.places.push((index, planned.id));
        match &planned.rtp {
            Some(rtp) => {
                draft.bundled.extend(mid.map(String::from));
                let like = (planned.kind.name(), section.media().protocol());
                media_section(like, mid, rtp, self.transport, Setup::Actpass)
            }
            None => {
                let transport = self.carries().then_some((self.transport, Setup::Actpass));
                rejected_section(section.media(), transport)
            }
        }
    }

    /// The first section of a transceiver, in a place that is free, if there is one (RFC 9429 §5.2.2).
    fn add_section(&self, draft: &mut Draft, free: Option<usize>, planned: &Planned) {
        let Some(rtp) = &planned.rtp else { return };
        let mid = self.new_mid(draft);
        let like = (planned.kind.name(), PROTOCOL);
        let media = media_section(like, Some(&mid), rtp, self.transport, Setup::Actpass);
        draft.bundled.push(mid);
        let place = free.unwrap_or(draft.session.media.len());
        draft.places.push((place, planned.id));
        match free {
            Some(place) => draft.session.media[place] = media,
            None => draft.session.media.push(media),
        }
    }

    /// What concerns the session as a whole.
    fn finish(self, draft: Draft) -> (Session, Vec<(usize, TransceiverId)>) {
        let Draft { mut session, mut bundled, places } = draft;
        if !bundled.is_empty() {
            bundled.sort_by_key(|mid| self.place_in_group(mid));
            session.lines.push_attribute("group", &format!("BUNDLE {}", bundled.join(" ")));
            session.lines.push_attribute("ice-pacing", &self.transport.pacing.to_string());
        }
        session.lines.push_attribute("ice-options", &self.transport.options().collect::<Vec<_>>().join(" "));
        if let Some(media) = carrier(&session).and_then(|index| session.media.get_mut(index)) {
            self.transport.candidates.write(media);
        }
        (session, places)
    }

    fn data_section(&self, mid: &str) -> Media {
        // "The role value in the offer MUST be "actpass"" (RFC 9429 §5.2.1), also once the roles are settled.
        data_section(self.transport, Some(mid), Setup::Actpass, None)
    }

    /// Where it stands in our last BUNDLE group, whose first stays first (RFC 9143 §7.5).
    fn place_in_group(&self, mid: &str) -> usize {
        let group = self.local.and_then(Session::bundle);
        group.and_then(|group| group.mids().position(|it| it == mid)).unwrap_or(usize::MAX)
    }

    /// Whether one of the two sides has rejected the section at `index`.
    fn is_rejected(&self, index: usize, own: Section<'_>) -> bool {
        let theirs = self.remote.and_then(|remote| remote.section(index));
        own.is_rejected() || theirs.is_some_and(|theirs| theirs.is_rejected() && theirs.mid() == own.mid())
    }

    /// The smallest number that names no section yet: short, and telling nothing (RFC 9429 §5.2.1).
    fn new_mid(&self, draft: &Draft) -> String {
        let taken = |mid: &str| {
            let all = [self.local, self.remote, Some(&draft.session)];
            all.into_iter().flatten().any(|it| it.index_of(mid).is_some())
        };
        let known = self.local.map_or(0, |local| local.media.len());
        let mut number = known.max(draft.session.media.len());
        while taken(&number.to_string()) {
            number += 1;
        }
        number.to_string()
    }
}

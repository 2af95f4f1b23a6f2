use sdp::{Media, Origin, Section, Session, Setup};

use crate::description::{LocalTransport, carrier, data_section, parked_section, rejected_section};

/// What an offer is made from.
pub(super) struct Outline<'a> {
    pub(super) origin: Origin,
    /// Our latest description, whose sections keep their places and names.
    pub(super) local: Option<&'a Session>,
    /// Theirs from the last completed exchange: what they rejected stays rejected.
    pub(super) remote: Option<&'a Session>,
    /// Whether there are, or were, data channels to carry.
    pub(super) data: bool,
    pub(super) transport: &'a LocalTransport,
}

impl Outline<'_> {
    /// The offer (RFC 9429 §5.2).
    pub(super) fn offer(self) -> Session {
        let mut session = Session::new(self.origin.clone());
        let known = self.local.map_or(0, |local| local.media.len());
        let mut bundled: Vec<String> = Vec::new();
        let mut carried = false;
        let mut free_place = None;
        for index in 0..known {
            let Some(section) = self.local.and_then(|local| local.section(index)) else { continue };
            let alive = !self.is_rejected(index, section);
            let media = match section.mid() {
                Some(mid) if alive && section.is_data() && !carried => {
                    carried = true;
                    bundled.push(mid.into());
                    self.data_section(mid)
                }
                Some(mid) if alive && !section.is_data() && self.data => {
                    bundled.push(mid.into());
                    parked_section(section.media(), self.transport, Setup::Actpass)
                }
                _ => {
                    if section.media().kind() == "application" {
                        free_place = free_place.or(Some(index));
                    }
                    rejected_section(section.media(), self.data.then_some((self.transport, Setup::Actpass)))
                }
            };
            session.media.push(media);
        }
        if self.data && !carried {
            let mid = self.new_mid(known);
            let media = self.data_section(&mid);
            bundled.push(mid);
            match free_place {
                // "that "m=" section MUST be recycled" (RFC 9429 §5.2.2)
                Some(place) => session.media[place] = media,
                None => session.media.push(media),
            }
        }
        if !bundled.is_empty() {
            bundled.sort_by_key(|mid| self.place_in_group(mid));
            session.lines.push_attribute("group", &format!("BUNDLE {}", bundled.join(" ")));
            session.lines.push_attribute("ice-pacing", &self.transport.pacing.to_string());
        }
        session.lines.push_attribute("ice-options", &self.transport.options().collect::<Vec<_>>().join(" "));
        if let Some(media) = carrier(&session).and_then(|index| session.media.get_mut(index)) {
            self.transport.candidates.write(media);
        }
        session
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
    fn new_mid(&self, known: usize) -> String {
        let taken =
            |mid: &str| [self.local, self.remote].into_iter().flatten().any(|it| it.index_of(mid).is_some());
        let mut number = known;
        while taken(&number.to_string()) {
            number += 1;
        }
        number.to_string()
    }
}

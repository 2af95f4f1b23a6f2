use sdp::{Origin, Rtp, Section, Session, Setup};

use crate::description::{
    LocalTransport, carrier, data_section, media_section, parked_section, rejected_section,
};
use crate::negotiate::Remote;

/// What an answer is made from.
pub(super) struct Acceptance<'a> {
    pub(super) remote: &'a Remote,
    pub(super) transport: &'a LocalTransport,
    /// Our DTLS role.
    pub(super) setup: Setup,
    /// What is said in each section of sound or pictures that is taken. `None`: media is of no interest, see
    /// [`Configuration::media`](crate::Configuration::media).
    pub(super) media: Option<&'a [(usize, Rtp)]>,
}

/// The answer to `offer` (RFC 9429 §5.3). `accepted`: there is something in it to take.
///
/// Media that is of no interest is taken too if it is in the BUNDLE group, but silent. If the group's first section is
/// rejected, all must be (§5.3.1; Chromium refuses the answer), and aiortc waits forever for the transport of any other that
/// is: where media is of interest, only that first one is silent if it cannot be taken. All else is rejected. Nothing comes back
/// that is not understood.
pub(super) fn answer(origin: Origin, offer: &Session, accepted: Option<Acceptance<'_>>) -> Session {
    let mut session = Session::new(origin);
    let accepted = accepted.as_ref();
    let group = accepted.and_then(|it| offer.section(it.remote.index)?.bundle());
    let is_in_group = |mid: Option<&str>| mid.is_some_and(|mid| group.is_some_and(|it| it.contains(mid)));
    let is_first = |mid: Option<&str>| mid.is_some() && group.and_then(|it| it.mids().next()) == mid;
    for (index, offered) in offer.sections().enumerate() {
        let taken = accepted.and_then(|it| it.media?.iter().find(|(at, _)| *at == index));
        let media = match accepted {
            Some(it) if it.remote.index == index && offered.is_data() => {
                data_section(it.transport, offered.mid(), it.setup, Some(offered))
            }
            Some(it) if let Some((_, rtp)) = taken => {
                let like = (offered.media().kind(), offered.media().protocol());
                media_section(like, offered.mid(), rtp, it.transport, it.setup)
            }
            Some(it)
                if is_in_group(offered.mid())
                    && is_usable_media(offered)
                    && (it.media.is_none() || is_first(offered.mid())) =>
            {
                parked_section(offered.media(), it.transport, it.setup)
            }
            _ => rejected_section(offered.media(), accepted.map(|it| (it.transport, it.setup))),
        };
        session.media.push(media);
    }
    let Some(Acceptance { remote, transport, .. }) = accepted else { return session };
    let Some(anchor) = offer.section(remote.index) else { return session };
    if let Some(group) = group {
        let is_taken = |mid: &&str| {
            session
                .index_of(mid)
                .is_some_and(|index| session.section(index).is_some_and(|it| !it.is_rejected()))
        };
        let taken: Vec<&str> = group.mids().filter(is_taken).collect();
        let group = format!("BUNDLE {}", taken.join(" "));
        session.lines.push_attribute("group", &group);
    }
    if let Some(media) = carrier(&session).and_then(|index| session.media.get_mut(index)) {
        transport.candidates.write(media);
    }
    session.lines.push_attribute("ice-pacing", &transport.pacing.to_string());
    // RFC 9429 §5.3.1: those that are offered.
    let options: Vec<_> =
        transport.options().filter(|it| anchor.ice_options().any(|offered| offered == *it)).collect();
    if !options.is_empty() {
        session.lines.push_attribute("ice-options", &options.join(" "));
    }
    session
}

/// Whether it is offered, and not a second data section.
fn is_usable_media(offered: Section<'_>) -> bool {
    !offered.is_rejected() && offered.media().kind() != "application"
}

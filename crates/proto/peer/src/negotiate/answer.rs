use sdp::{Origin, Section, Session, Setup};

use crate::description::{LocalTransport, carrier, data_section, parked_section, rejected_section};
use crate::negotiate::Remote;

/// The answer to `offer` (RFC 9429 §5.3): `accepted` is the data section that is taken, with our transport and DTLS
/// role.
///
/// Media in its BUNDLE group is taken too, but silent. If the group's first section is rejected, all must be (§5.3.1;
/// Chromium refuses the answer), and aiortc waits forever for the transport of any other that is. All else is
/// rejected. Nothing comes back that is not understood.
pub(super) fn answer(
    origin: Origin,
    offer: &Session,
    accepted: Option<(&Remote, &LocalTransport, Setup)>,
) -> Session {
    let mut session = Session::new(origin);
    let group = accepted.and_then(|(remote, ..)| offer.section(remote.index)?.bundle());
    let is_in_group = |mid: Option<&str>| mid.is_some_and(|mid| group.is_some_and(|it| it.contains(mid)));
    for (index, offered) in offer.sections().enumerate() {
        let media = match accepted {
            Some((remote, transport, setup)) if remote.index == index => {
                data_section(transport, offered.mid(), setup, Some(offered))
            }
            Some((_, transport, setup)) if is_in_group(offered.mid()) && is_usable_media(offered) => {
                parked_section(offered.media(), transport, setup)
            }
            _ => rejected_section(offered.media(), accepted.map(|(_, transport, setup)| (transport, setup))),
        };
        session.media.push(media);
    }
    let Some((remote, transport, _)) = accepted else { return session };
    let Some(data) = offer.section(remote.index) else { return session };
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
        transport.options().filter(|it| data.ice_options().any(|offered| offered == *it)).collect();
    if !options.is_empty() {
        session.lines.push_attribute("ice-options", &options.join(" "));
    }
    session
}

/// Whether it is offered, and not a second data section.
fn is_usable_media(offered: Section<'_>) -> bool {
    !offered.is_rejected() && offered.media().kind() != "application"
}

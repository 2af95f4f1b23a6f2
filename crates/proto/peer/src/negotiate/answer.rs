use sdp::{Origin, Session, Setup};

use crate::description::{LocalTransport, data_section, rejected_section};
use crate::negotiate::Remote;

/// ICE options that an answer repeats if they are offered (RFC 9429 §5.3.1).
const OPTIONS: [&str; 2] = ["trickle", "ice2"];

/// The answer to `offer` (RFC 9429 §5.3): `accepted` is the data section that is taken, with our transport and DTLS
/// role; all else is rejected. Nothing comes back that is not understood.
pub(super) fn answer(
    origin: Origin,
    offer: &Session,
    accepted: Option<(&Remote, &LocalTransport, Setup)>,
) -> Session {
    let mut session = Session::new(origin);
    for (index, offered) in offer.sections().enumerate() {
        let media = match accepted.filter(|(remote, ..)| remote.index == index) {
            Some((_, transport, setup)) => {
                let mut media = data_section(transport, offered.mid(), setup, Some(offered));
                transport.candidates.write(&mut media);
                media
            }
            None => {
                rejected_section(offered.media(), accepted.map(|(_, transport, setup)| (transport, setup)))
            }
        };
        session.media.push(media);
    }
    let Some((remote, transport, _)) = accepted else { return session };
    let Some(data) = offer.section(remote.index) else { return session };
    if let (Some(_), Some(mid)) = (data.bundle(), data.mid()) {
        session.lines.push_attribute("group", &format!("BUNDLE {mid}"));
    }
    session.lines.push_attribute("ice-pacing", &transport.pacing.to_string());
    let options: Vec<_> =
        OPTIONS.into_iter().filter(|it| data.ice_options().any(|offered| offered == *it)).collect();
    if !options.is_empty() {
        session.lines.push_attribute("ice-options", &options.join(" "));
    }
    session
}

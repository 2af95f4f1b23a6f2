use rtp::codecs::Codec;
use rtp::extension::Name;
use rtp::session::Kind;
use sdp::{Direction, Format, Rid, Rtp, Section, Session, Simulcast, SimulcastStream};

use super::offer::{companion, format};
use super::{MAX_ENCODINGS, Media, describe_sending, extensions};
use crate::negotiate::{Remote, is_rtp};
use crate::transceiver::{in_words, names};
use crate::{EncodingParameters, Event, Rejection, RtpCodec, Transceiver, TransceiverId};

impl Media {
    /// An offer of the other side's is applied: each of its sections gets a transceiver, or is refused (RFC 9429 §5.10).
    pub(crate) fn take_offer(&mut self, session: &Session, remote: Option<&Remote>) {
        self.before.get_or_insert_with(|| self.transceivers.clone());
        for (index, section) in session.sections().enumerate() {
            let Some(kind) = kind(section) else { continue };
            let known = self.transceivers.iter().find(|it| it.index == Some(index)).map(|it| it.id);
            let Ok(rtp) = section.rtp() else { continue };
            if section.is_rejected() {
                known.iter().for_each(|id| self.refuse(*id, section.mid(), Rejection::Refused));
                continue;
            }
            let owner = known.and_then(|id| self.transceiver(id));
            let own = owner.map_or_else(|| self.usual_codecs(kind), Transceiver::codecs);
            if let Some(because) = refusal(session, section, &rtp, remote, &own) {
                match known {
                    Some(id) => self.refuse(id, section.mid(), because),
                    None => self.events.push_back(Event::MediaRejected {
                        mid: section.mid().map(String::from),
                        kind,
                        transceiver: None,
                        because,
                    }),
                }
                continue;
            }
            let id = known.or_else(|| self.adopt(kind, rtp.direction)).unwrap_or_else(|| {
                let sending = vec![self.sending(EncodingParameters::default())];
                let id = self.insert(kind, Direction::Recvonly, sending);
                if let Some(transceiver) = self.transceiver_mut(id) {
                    transceiver.by_remote = true;
                }
                id
            });
            self.propose_encodings(id, &rtp);
            if let Some(transceiver) = self.transceiver_mut(id) {
                transceiver.index = Some(index);
                transceiver.mid = section.mid().map(String::from);
            }
            self.take_track(id, &rtp);
        }
    }

    /// One that was made by `add_track` and is in no section yet, if the other side would receive what it sends.
    fn adopt(&mut self, kind: Kind, theirs: Direction) -> Option<TransceiverId> {
        let fits = |it: &&Transceiver| {
            it.kind == kind && it.by_add_track && it.index.is_none() && !it.stopping && theirs.receives()
        };
        self.transceivers.iter().find(fits).map(|it| it.id)
    }

    /// The other side wants several encodings: W3C's "proposed send encodings".
    fn propose_encodings(&mut self, id: TransceiverId, theirs: &Rtp) {
        let wanted: Vec<&str> =
            theirs.simulcast.iter().flat_map(|it| &it.receive).map(SimulcastStream::id).collect();
        let is_fresh = |it: &Transceiver| it.current_direction.is_none() && !it.is_simulcast();
        let usable = (2..=MAX_ENCODINGS).contains(&wanted.len()) && wanted.iter().all(|rid| rid.len() <= 16);
        if usable && self.transceiver(id).is_some_and(|it| is_fresh(it) && it.kind == Kind::Video) {
            let sending = wanted.iter().map(|rid| self.sending(EncodingParameters::named(rid))).collect();
            if let Some(transceiver) = self.transceiver_mut(id) {
                transceiver.sending = sending;
            }
        }
    }

    /// It ends because the other side, or we, do not take its section.
    pub(super) fn refuse(&mut self, id: TransceiverId, mid: Option<&str>, because: Rejection) {
        let Some(transceiver) = self.transceiver_mut(id) else { return };
        let (kind, was_stopping) = (transceiver.kind, std::mem::replace(&mut transceiver.stopping, true));
        transceiver.direction = Direction::Inactive;
        self.end_track(id);
        if !was_stopping {
            let mid = mid.map(String::from);
            self.events.push_back(Event::MediaRejected { mid, kind, transceiver: Some(id), because });
        }
    }

    /// What the answer says in each section that is taken (RFC 9429 §5.3.1).
    pub(crate) fn answer(&mut self, offer: &Session, remote: &Remote) -> Vec<(usize, Rtp)> {
        let mut accepted = Vec::new();
        self.planned.clear();
        for transceiver in &self.transceivers {
            let Some(index) = transceiver.index else { continue };
            self.planned.push((index, transceiver.id));
            let Some(section) = offer.section(index).filter(|it| !it.is_rejected()) else { continue };
            let Ok(theirs) = section.rtp() else { continue };
            let refused = refusal(offer, section, &theirs, Some(remote), &transceiver.codecs());
            if !transceiver.stopping && refused.is_none() {
                accepted.push((index, section_of(transceiver, &theirs, &self.cname)));
            }
        }
        accepted
    }
}

/// Sound or pictures, if it is either.
pub(super) fn kind(section: Section<'_>) -> Option<Kind> {
    match section.media().kind() {
        "audio" => Some(Kind::Audio),
        "video" => Some(Kind::Video),
        _ => None,
    }
}

/// Why a section cannot be taken, if it cannot.
fn refusal(
    session: &Session,
    section: Section<'_>,
    theirs: &Rtp,
    remote: Option<&Remote>,
    own: &[RtpCodec],
) -> Option<Rejection> {
    let carrier = remote.and_then(|remote| session.section(remote.index));
    let is_carried = carrier.is_some_and(|carrier| {
        let mid = |section: Section<'_>| section.mid().map(String::from);
        mid(carrier) == mid(section)
            || carrier.bundle().is_some_and(|group| section.mid().is_some_and(|mid| group.contains(mid)))
    });
    if !is_rtp(section) {
        Some(Rejection::Protocol)
    } else if !is_carried {
        Some(Rejection::NotBundled)
    } else if !theirs.rtcp_mux {
        Some(Rejection::NoRtcpMux)
    } else {
        nothing_common(own, theirs)
    }
}

/// That there is no format which both have, if there is none.
pub(super) fn nothing_common(own: &[RtpCodec], theirs: &Rtp) -> Option<Rejection> {
    if !common(own, theirs).is_empty() {
        return None;
    }
    let known: Vec<Codec> = theirs.formats.iter().filter_map(|it| it.name.parse().ok()).collect();
    let theirs = match known.is_empty() {
        true => in_words(theirs.formats.iter().map(|it| it.name.clone()).collect()),
        false => names(known),
    };
    Some(Rejection::NoCommonCodec { theirs, ours: names(own.iter().map(|it| it.codec).collect()) })
}

/// The formats that both have, in the order of theirs: ours, theirs, and where it stands in our list.
pub(super) fn common<'a>(own: &[RtpCodec], theirs: &'a Rtp) -> Vec<(usize, RtpCodec, &'a Format)> {
    let mut found: Vec<(usize, RtpCodec, &Format)> = Vec::new();
    for format in &theirs.formats {
        let Some(codec) = RtpCodec::of(format) else { continue };
        if let Some(at) = own.iter().position(|it| it.matches(&codec))
            && found.iter().all(|(known, ..)| *known != at)
        {
            found.push((at, own[at].clone(), format));
        }
    }
    found
}

/// The payload type of redundant copies of this one (RFC 2198 §5).
pub(super) fn redundancy(rtp: &Rtp, payload_type: u8) -> Option<u8> {
    let of = |format: &&Format| {
        let primary = format.parameters.split('/').next().and_then(|it| it.trim().parse().ok());
        format.is("red") && primary == Some(payload_type)
    };
    rtp.formats.iter().find(of).map(|format| format.payload_type)
}

fn section_of(transceiver: &Transceiver, theirs: &Rtp, cname: &str) -> Rtp {
    let direction = transceiver.direction.and(theirs.direction.reversed());
    let mut rtp = Rtp { direction, rtcp_mux: true, reduced_size: theirs.reduced_size, ..Rtp::default() };
    rtp.mixed_extensions = theirs.mixed_extensions;
    (rtp.cryptex, rtp.receiver_time) = (theirs.cryptex, theirs.receiver_time);
    let mut common = common(&transceiver.codecs(), theirs);
    if !transceiver.preferences.is_empty() {
        common.sort_by_key(|(at, ..)| *at);
    }
    for (_, own, format) in common {
        let number = format.payload_type;
        let mut answered = self::format(number, &own, answer_to(&own, format));
        answered.feedback.retain(|it| format.has_feedback(it));
        rtp.formats.push(answered);
        let with = match own.codec {
            Codec::Opus => redundancy(theirs, number),
            _ => theirs.retransmission(number),
        };
        rtp.formats.extend(with.map(|it| companion(it, number, &own)));
    }
    // One-byte headers have numbers up to 14 (RFC 8285 §4.2).
    let most = if theirs.mixed_extensions { 255 } else { 14 };
    for offered in &theirs.extensions {
        let known = Name::from_uri(&offered.uri).is_some_and(|it| extensions(transceiver.kind).contains(&it));
        if known && offered.id <= most {
            let mut extmap = offered.clone();
            extmap.direction = offered.direction.reversed();
            extmap.attributes.clear();
            rtp.extensions.push(extmap);
        }
    }
    describe_sending(&mut rtp, transceiver, cname);
    answer_simulcast(&mut rtp, theirs);
    rtp
}

/// Several encodings are sent if they are wanted, and received if they are sent (RFC 8853 §5.3.2).
fn answer_simulcast(rtp: &mut Rtp, theirs: &Rtp) {
    let offered = theirs.simulcast.clone().unwrap_or_default();
    let is_wanted = |id: &str| offered.receive.iter().any(|it| it.id() == id);
    let mut send: Vec<SimulcastStream> = rtp.simulcast.take().map(|it| it.send).unwrap_or_default();
    send.retain(|it| is_wanted(it.id()));
    let is_told = |id: &str| theirs.rids.iter().any(|rid| rid.id == id && rid.sends);
    let mut receive = offered.send;
    receive.retain(|it| rtp.direction.receives() && is_told(it.id()));
    rtp.rids = send.iter().map(|it| Rid::new(it.id(), true)).collect();
    for stream in &mut receive {
        stream.alternatives.truncate(1);
        rtp.rids.push(Rid::new(stream.id(), false));
    }
    rtp.simulcast = (!send.is_empty() || !receive.is_empty()).then_some(Simulcast { send, receive });
}

fn answer_to(own: &RtpCodec, format: &Format) -> String {
    RtpCodec::of(format).map_or_else(|| own.sdp_fmtp_line.clone(), |theirs| own.answer_to(&theirs))
}

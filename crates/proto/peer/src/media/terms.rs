use rtp::codecs::Codec;
use rtp::extension::Name;
use rtp::session::{self, Encoding, Feedback, RemoteSource, Terms};
use sdp::{Rtp, Session};

use super::Media;
use super::answer::redundancy;
use crate::RtpCodec;
use crate::payload_types::PayloadTypes;

impl Media {
    /// What both descriptions have agreed on, section by section.
    pub(crate) fn terms(&self, local: &Session, remote: &Session, we_offered: bool) -> Vec<Terms> {
        let mut all = Vec::new();
        for transceiver in self.transceivers.iter().filter(|it| !it.stopping) {
            let Some(index) = transceiver.index else { continue };
            let (Some(own), Some(other)) = (local.section(index), remote.section(index)) else { continue };
            if own.is_rejected() || other.is_rejected() {
                continue;
            }
            let (Ok(own), Ok(theirs)) = (own.rtp(), other.rtp()) else { continue };
            let direction = own.direction.and(theirs.direction.reversed());
            let wanted = theirs.simulcast.as_ref().map(|it| &it.receive[..]).unwrap_or_default();
            let is_paused = |rid: &str| wanted.iter().any(|it| it.id() == rid && it.paused);
            let has_rtx =
                own.formats.iter().any(|it| it.is("rtx")) && theirs.formats.iter().any(|it| it.is("rtx"));
            let encoding = |it: &crate::transceiver::Sending| Encoding {
                rid: it.parameters.rid.as_deref().map(Into::into),
                rtx_ssrc: has_rtx.then_some(it.rtx_ssrc),
                active: direction.sends()
                    && it.parameters.active
                    && !it.parameters.rid.as_deref().is_some_and(is_paused),
                max_bitrate: it.parameters.max_bitrate,
                ..Encoding::new(it.ssrc)
            };
            let (formats, expected) = formats(&own, &theirs, we_offered);
            let sent = theirs.simulcast.iter().flat_map(|it| &it.send).map(|it| it.id());
            let is_taken = |rid: &&str| own.rids.iter().any(|it| it.id == *rid && !it.sends);
            all.push(Terms {
                mid: transceiver.mid.as_deref().unwrap_or_default().into(),
                kind: transceiver.kind,
                // What was sent before and is not to be sent now goes on some day: as the same source, with the next numbers,
                // which its receiver waits for (RFC 3711 §3.3.1) and which must not come twice. Therefore it is switched off.
                send: (direction.sends() || transceiver.has_sent)
                    .then(|| transceiver.sending.iter().map(encoding).collect()),
                receive: direction.receives(),
                delivery: transceiver.delivery,
                formats,
                expected,
                extensions: extensions(&own, &theirs).collect(),
                mixed: own.mixed_extensions && theirs.mixed_extensions,
                reduced_size: own.reduced_size && theirs.reduced_size,
                cryptex: own.cryptex && theirs.cryptex,
                receiver_time: own.receiver_time && theirs.receiver_time,
                remote: if theirs.direction.sends() { remote_sources(&theirs) } else { Vec::new() },
                remote_rids: sent.filter(is_taken).map(Into::into).collect(),
            });
        }
        all
    }
}

/// From now on the numbers that were agreed on mean what they mean.
pub(super) fn learn(types: &mut PayloadTypes, own: &Rtp, theirs: &Rtp) {
    for format in formats(own, theirs, true).1 {
        let codec = RtpCodec { codec: format.codec, sdp_fmtp_line: format.parameters.into() };
        types.learn(format.payload_type, &codec, format.rtx.or(format.red));
    }
    extensions(own, theirs).for_each(|(number, name)| types.learn_extension(number, name));
}

/// What they take, and what we expect, each with its own payload types, in the order of whoever answered.
pub(super) fn formats(
    own: &Rtp,
    theirs: &Rtp,
    we_offered: bool,
) -> (Vec<session::Format>, Vec<session::Format>) {
    let known = |rtp: &Rtp| -> Vec<(RtpCodec, sdp::Format)> {
        rtp.formats.iter().filter_map(|it| Some((RtpCodec::of(it)?, it.clone()))).collect()
    };
    let (ours, others) = (known(own), known(theirs));
    let mut pairs = Vec::new();
    let (first, second) = if we_offered { (&others, &ours) } else { (&ours, &others) };
    for (codec, format) in first {
        let same_number =
            second.iter().find(|(it, other)| it.matches(codec) && other.payload_type == format.payload_type);
        if let Some((_, other)) = same_number.or_else(|| second.iter().find(|(it, _)| it.matches(codec))) {
            let (own, theirs) = if we_offered { (other, format) } else { (format, other) };
            pairs.push((codec.codec, own, theirs));
        }
    }
    let takes = pairs.iter().map(|(codec, ours, it)| described(*codec, it, ours, theirs, own)).collect();
    let expects =
        pairs.iter().map(|(codec, it, others)| described(*codec, it, others, own, theirs)).collect();
    (takes, expects)
}

/// A format of `side`, with the feedback and the companions that the other side has for it as well.
fn described(
    codec: Codec,
    format: &sdp::Format,
    other: &sdp::Format,
    side: &Rtp,
    opposite: &Rtp,
) -> session::Format {
    let both = |what: &str| format.has_feedback(what) && other.has_feedback(what);
    let if_both = |own: Option<u8>, others: Option<u8>| own.filter(|_| others.is_some());
    let number = format.payload_type;
    session::Format {
        payload_type: number,
        codec,
        clock_rate: format.clock_rate,
        channels: format.channels,
        parameters: format.parameters.as_str().into(),
        rtx: if_both(side.retransmission(number), opposite.retransmission(other.payload_type)),
        red: if_both(redundancy(side, number), redundancy(opposite, other.payload_type)),
        feedback: Feedback {
            nack: both("nack"),
            pli: both("nack pli"),
            fir: both("ccm fir"),
            transport_cc: both("transport-cc"),
            ccfb: both("ack ccfb"),
            remb: both("goog-remb"),
        },
    }
}

/// The header extensions that both have under the same number.
fn extensions(own: &Rtp, theirs: &Rtp) -> impl Iterator<Item = (u8, Name)> {
    own.extensions.iter().filter_map(|extmap| {
        let same = theirs.extensions.iter().any(|it| it.uri == extmap.uri && it.id == extmap.id);
        same.then(|| Some((extmap.number()?, Name::from_uri(&extmap.uri)?)))?
    })
}

fn remote_sources(theirs: &Rtp) -> Vec<RemoteSource> {
    let source = |it: &sdp::Source| RemoteSource {
        ssrc: it.ssrc,
        rtx_ssrc: theirs.repeated_by(it.ssrc),
        cname: it.cname.as_deref().map(Into::into),
    };
    theirs.primary_sources().map(source).collect()
}

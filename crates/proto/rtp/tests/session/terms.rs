use sterna_rtp::codecs::Codec;
use sterna_rtp::extension::Name;
use sterna_rtp::session::{Encoding, Feedback, Format, Kind, Terms};

pub(crate) fn opus() -> Format {
    let feedback = Feedback { nack: true, transport_cc: true, ..Feedback::default() };
    Format { red: Some(63), feedback, ..Format::new(111, Codec::Opus) }
}

pub(crate) fn vp8() -> Format {
    let feedback = Feedback { nack: true, pli: true, fir: true, transport_cc: true, ..Feedback::default() };
    Format { rtx: Some(97), feedback, ..Format::new(96, Codec::Vp8) }
}

pub(crate) fn extensions() -> Vec<(u8, Name)> {
    vec![
        (1, Name::AudioLevel),
        (2, Name::AbsoluteSendTime),
        (3, Name::TransportSequenceNumber),
        (4, Name::Mid),
        (5, Name::Rid),
        (6, Name::RepairedRid),
        (7, Name::VideoOrientation),
        (8, Name::AbsoluteCaptureTime),
    ]
}

/// A section in which `ssrc` sends, and its next two numbers retransmissions.
pub(crate) fn video(mid: &str, ssrc: u32) -> Terms {
    let encoding = Encoding { rtx_ssrc: Some(ssrc + 1), ..Encoding::new(ssrc) };
    Terms {
        mid: mid.into(),
        kind: Kind::Video,
        send: Some(vec![encoding]),
        receive: true,
        formats: vec![vp8()],
        expected: vec![vp8()],
        extensions: extensions(),
        reduced_size: true,
        ..Terms::default()
    }
}

pub(crate) fn audio(mid: &str, ssrc: u32) -> Terms {
    Terms {
        kind: Kind::Audio,
        send: Some(vec![Encoding::new(ssrc)]),
        formats: vec![opus()],
        expected: vec![opus()],
        ..video(mid, ssrc)
    }
}

/// Sound and pictures, both ways.
pub(crate) fn both(ssrc: u32) -> Vec<Terms> {
    vec![audio("0", ssrc), video("1", ssrc + 10)]
}

use crate::extension::{
    AudioLevel, Extension, Mid, Name, RepairedRid, Rid, TransportSequenceNumber, VideoOrientation,
};
use crate::packet::Packet;
use crate::session::section::Identifiers;

/// What a packet's header extensions say.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Marks<'a> {
    pub(super) mid: Option<&'a str>,
    pub(super) rid: Option<&'a str>,
    pub(super) repaired: Option<&'a str>,
    pub(super) number: Option<u16>,
    pub(super) audio_level: Option<AudioLevel>,
    pub(super) orientation: Option<VideoOrientation>,
}

impl<'a> Marks<'a> {
    pub(super) fn read(packet: &Packet<'a>, ids: &Identifiers) -> Self {
        let mut marks = Self::default();
        for (id, value) in packet.extensions() {
            match ids.name(id) {
                Some(Name::Mid) => marks.mid = Mid::read(value).map(|mid| mid.0),
                Some(Name::Rid) => marks.rid = Rid::read(value).map(|rid| rid.0),
                Some(Name::RepairedRid) => marks.repaired = RepairedRid::read(value).map(|rid| rid.0),
                Some(Name::TransportSequenceNumber) => {
                    marks.number = TransportSequenceNumber::read(value).map(|number| number.0);
                }
                Some(Name::AudioLevel) => marks.audio_level = AudioLevel::read(value),
                Some(Name::VideoOrientation) => marks.orientation = VideoOrientation::read(value),
                _ => {}
            }
        }
        marks
    }
}

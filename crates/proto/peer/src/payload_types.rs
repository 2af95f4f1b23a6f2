use rtp::extension::Name;

use crate::RtpCodec;

/// Which payload types and extension numbers mean what, on one transport: what has once been agreed on stays
/// (RFC 3264 §8.3.2), in all sections (RFC 9143 §9.1).
#[derive(Clone, Debug, Default)]
pub(crate) struct PayloadTypes {
    formats: Vec<Assigned>,
    extensions: Vec<(u8, Name)>,
}

#[derive(Clone, Debug)]
struct Assigned {
    number: u8,
    codec: RtpCodec,
    /// `rtx` or `red`.
    companion: Option<u8>,
}

impl PayloadTypes {
    /// The payload types of a format and of its companion.
    pub(crate) fn of(&mut self, codec: &RtpCodec) -> (u8, Option<u8>) {
        let wants_companion = codec.usual_payload_types().is_none_or(|(_, companion)| companion != 0);
        let at = match self.formats.iter().position(|known| known.codec.matches(codec)) {
            Some(at) => at,
            None => {
                let usual = codec.usual_payload_types().map(|(own, _)| own);
                let number = self.free(usual);
                self.formats.push(Assigned { number, codec: codec.clone(), companion: None });
                self.formats.len() - 1
            }
        };
        if wants_companion && self.formats[at].companion.is_none() {
            let usual = codec.usual_payload_types().map(|(_, companion)| companion);
            self.formats[at].companion = Some(self.free(usual));
        }
        (self.formats[at].number, self.formats[at].companion)
    }

    /// Both sides have agreed on these numbers: from now on they mean this.
    pub(crate) fn learn(&mut self, number: u8, codec: &RtpCodec, companion: Option<u8>) {
        let taken = |it: u8| it == number || Some(it) == companion;
        self.formats.retain(|known| !taken(known.number) && !known.codec.matches(codec));
        for known in &mut self.formats {
            known.companion = known.companion.filter(|it| !taken(*it));
        }
        self.formats.push(Assigned { number, codec: codec.clone(), companion });
    }

    /// The number of a header extension.
    pub(crate) fn extension(&mut self, name: Name) -> Option<u8> {
        if let Some((number, _)) = self.extensions.iter().find(|(_, known)| *known == name) {
            return Some(*number);
        }
        let is_free = |number: &u8| self.extensions.iter().all(|(known, _)| known != number);
        let number = (1..=14).find(is_free)?;
        self.extensions.push((number, name));
        Some(number)
    }

    /// Both sides have agreed on this number.
    pub(crate) fn learn_extension(&mut self, number: u8, name: Name) {
        self.extensions.retain(|(known, other)| *known != number && *other != name);
        self.extensions.push((number, name));
    }

    /// The usual number if nothing else has it, else the first that is left: dynamic ones, then those that RFC 3551 §6 leaves
    /// unassigned and that do not look like RTCP.
    fn free(&self, usual: Option<u8>) -> u8 {
        let is_free = |number: &u8| {
            let has = |it: &Assigned| it.number == *number || it.companion == Some(*number);
            !self.formats.iter().any(has)
        };
        let rest = (96..=127).chain(35..=63);
        // There are 61 numbers and not half as many formats.
        usual.into_iter().chain(rest).find(is_free).unwrap_or(127)
    }
}

#[cfg(test)]
mod tests {
    use rtp::session::Kind;

    use super::*;

    #[test]
    fn numbers_stay_and_give_way_to_what_was_agreed_on() {
        let mut types = PayloadTypes::default();
        let [vp8, vp9, ..] = &RtpCodec::capabilities(Kind::Video)[..] else { unreachable!() };
        assert_eq!((types.of(vp8), types.of(vp9)), ((96, Some(97)), (98, Some(99))));
        types.learn(98, vp8, Some(120));
        assert_eq!(types.of(vp8), (98, Some(120)));
        assert_eq!(types.of(vp9), (96, Some(99)), "98 is VP8 now");
        assert_eq!(types.of(vp9), types.of(vp9));
    }

    #[test]
    fn extensions_have_one_number_each() {
        let mut types = PayloadTypes::default();
        types.learn_extension(1, Name::TransportSequenceNumber);
        assert_eq!(types.extension(Name::Mid), Some(2));
        types.learn_extension(2, Name::AudioLevel);
        assert_eq!(types.extension(Name::Mid), Some(3));
        assert_eq!(types.extension(Name::TransportSequenceNumber), Some(1));
    }
}

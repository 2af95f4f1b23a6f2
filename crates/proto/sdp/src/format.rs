use crate::MediaError;

/// A format of media: what one payload type means (RFC 8866 §6.6, §6.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// The number in the packets: 0 to 127.
    pub payload_type: u8,
    /// Its name, such as `VP8`; whether letters are capital does not matter.
    pub name: String,
    /// By how much timestamps grow in a second.
    pub clock_rate: u32,
    /// For sound, how many channels; 1 otherwise.
    pub channels: u8,
    /// `a=fmtp`: parameters as they stand, `key=value;key=value` or something else; empty if there are none.
    pub parameters: String,
    /// `a=rtcp-fb`, each with single blanks: `nack`, `nack pli`, `ccm fir`, `transport-cc`.
    pub feedback: Vec<String>,
}

impl Format {
    /// One without parameters and feedback.
    pub fn new(payload_type: u8, name: &str, clock_rate: u32, channels: u8) -> Self {
        let (parameters, feedback) = (String::new(), Vec::new());
        Self { payload_type, name: name.into(), clock_rate, channels, parameters, feedback }
    }

    /// Whether it has this name.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value of a parameter: what follows `key=`.
    pub fn parameter(&self, key: &str) -> Option<&str> {
        parameter(&self.parameters, key)
    }

    /// For retransmissions (`rtx`): the payload type of what is repeated (RFC 4588 §8.1).
    pub fn repeats(&self) -> Option<u8> {
        self.is("rtx").then(|| self.parameter("apt")?.parse().ok())?
    }

    /// Whether the other side may send this feedback.
    pub fn has_feedback(&self, what: &str) -> bool {
        self.feedback.iter().any(|own| own == what)
    }

    /// `VP8/90000` or `opus/48000/2`: what `a=rtpmap` says.
    pub(crate) fn map(&self) -> String {
        match self.channels {
            0 | 1 => format!("{}/{}", self.name, self.clock_rate),
            channels => format!("{}/{}/{channels}", self.name, self.clock_rate),
        }
    }

    /// What follows the payload type in an `a=rtpmap`. Blanks at the end do no harm.
    pub(crate) fn read(payload_type: u8, map: &str) -> Result<Self, MediaError> {
        let read = || {
            let mut fields = map.trim().split('/');
            let (name, rate) = (fields.next()?, fields.next()?.parse().ok()?);
            let channels = fields.next().map_or(Some(1), |it| it.parse().ok())?;
            let well_formed = crate::attribute::is_token(name) && rate > 0 && fields.next().is_none();
            well_formed.then(|| Self::new(payload_type, name, rate, channels))
        };
        read().ok_or(MediaError::Rtpmap(payload_type))
    }

    /// What a payload type means that has a meaning without `a=rtpmap` (RFC 3551 §6), as far as it is in use.
    pub(crate) fn assigned(payload_type: u8) -> Option<Self> {
        let (name, rate) = match payload_type {
            0 => ("PCMU", 8000),
            3 => ("GSM", 8000),
            8 => ("PCMA", 8000),
            9 => ("G722", 8000),
            13 => ("CN", 8000),
            _ => return None,
        };
        Some(Self::new(payload_type, name, rate, 1))
    }
}

/// The value of a parameter in an `a=fmtp`: what follows `key=`, up to the next semicolon.
pub fn parameter<'a>(parameters: &'a str, key: &str) -> Option<&'a str> {
    parameters.split(';').find_map(|each| {
        let (own, value) = each.split_once('=')?;
        own.trim().eq_ignore_ascii_case(key).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_strictly() {
        let opus = Format::read(111, "opus/48000/2").unwrap();
        assert_eq!((opus.name.as_str(), opus.clock_rate, opus.channels), ("opus", 48_000, 2));
        assert_eq!((opus.map().as_str(), opus.is("OPUS")), ("opus/48000/2", true));
        assert_eq!(Format::read(9, "G722/8000/1 ").unwrap().map(), "G722/8000");
        for bad in ["", "opus", "opus/", "opus/x", "opus/0", "o pus/8000", "opus/48000/2/1", "opus/48000/300"]
        {
            assert_eq!(Format::read(111, bad), Err(MediaError::Rtpmap(111)), "{bad}");
        }
    }

    #[test]
    fn parameters_are_found_whatever_is_around_them() {
        let text = "level-asymmetry-allowed=1; Packetization-Mode=1 ;profile-level-id=42e01f";
        assert_eq!(parameter(text, "packetization-mode"), Some("1"));
        assert_eq!(parameter(text, "profile-level-id"), Some("42e01f"));
        assert_eq!(parameter(text, "mode"), None);
        assert_eq!(parameter("111/111", "111"), None);
    }
}

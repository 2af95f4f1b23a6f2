use super::{
    AbsoluteCaptureTime, AbsoluteSendTime, AudioLevel, Extension, Mid, RepairedRid, Rid,
    TransportSequenceNumber, VideoOrientation,
};

/// Which of the header extensions that are known here, as two peers agree on by URI (RFC 8285 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Name {
    /// [`Mid`].
    Mid,
    /// [`Rid`].
    Rid,
    /// [`RepairedRid`].
    RepairedRid,
    /// [`AbsoluteSendTime`].
    AbsoluteSendTime,
    /// [`AbsoluteCaptureTime`].
    AbsoluteCaptureTime,
    /// [`TransportSequenceNumber`].
    TransportSequenceNumber,
    /// [`AudioLevel`].
    AudioLevel,
    /// [`VideoOrientation`].
    VideoOrientation,
}

impl Name {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Mid,
        Self::Rid,
        Self::RepairedRid,
        Self::AbsoluteSendTime,
        Self::AbsoluteCaptureTime,
        Self::TransportSequenceNumber,
        Self::AudioLevel,
        Self::VideoOrientation,
    ];

    /// What descriptions call it.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Mid => Mid::URI,
            Self::Rid => Rid::URI,
            Self::RepairedRid => RepairedRid::URI,
            Self::AbsoluteSendTime => AbsoluteSendTime::URI,
            Self::AbsoluteCaptureTime => AbsoluteCaptureTime::URI,
            Self::TransportSequenceNumber => TransportSequenceNumber::URI,
            Self::AudioLevel => AudioLevel::URI,
            Self::VideoOrientation => VideoOrientation::URI,
        }
    }

    /// The one that descriptions call so; `None` if it is not known here.
    pub fn from_uri(uri: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.uri() == uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_uri() {
        for name in Name::ALL {
            assert_eq!(Name::from_uri(name.uri()), Some(name));
        }
        assert_eq!(Name::from_uri("urn:ietf:params:rtp-hdrext:toffset"), None);
    }
}

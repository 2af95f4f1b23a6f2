use crate::SrtpProfile;
use crate::codec::{Reader, numbers, vector};

pub(crate) const SUPPORTED_GROUPS: u16 = 10;
pub(crate) const EC_POINT_FORMATS: u16 = 11;
pub(crate) const SIGNATURE_ALGORITHMS: u16 = 13;
pub(crate) const USE_SRTP: u16 = 14;
pub(crate) const EXTENDED_MASTER_SECRET: u16 = 23;
pub(crate) const SUPPORTED_VERSIONS: u16 = 43;
pub(crate) const COOKIE: u16 = 44;
pub(crate) const KEY_SHARE: u16 = 51;
pub(crate) const RENEGOTIATION_INFO: u16 = 0xff01;

/// What our hello has, and may be answered; and the server's cookie.
pub(crate) const OFFERED: &[u16] = &[
    SUPPORTED_GROUPS,
    EC_POINT_FORMATS,
    SIGNATURE_ALGORITHMS,
    USE_SRTP,
    EXTENDED_MASTER_SECRET,
    SUPPORTED_VERSIONS,
    COOKIE,
    KEY_SHARE,
    RENEGOTIATION_INFO,
];

/// Extensions of one message. Browsers send fewer than 20.
const MOST: usize = 100;

/// Extensions of a hello and the like (RFC 8446 §4.2).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extensions<'a>(&'a [u8]);

impl<'a> Extensions<'a> {
    /// `None`: they are malformed, too many, or one is there twice.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (mut reader, mut seen) = (Reader::new(bytes), Vec::new());
        while !reader.is_empty() {
            let kind = reader.u16()?;
            reader.vector(2)?;
            if seen.contains(&kind) || seen.len() >= MOST {
                return None;
            }
            seen.push(kind);
        }
        Some(Self(bytes))
    }

    fn all(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || Some((reader.u16()?, reader.vector(2)?)))
    }

    /// Whether there are no others than these.
    pub(crate) fn are_among(self, kinds: &[u16]) -> bool {
        self.all().all(|(kind, _)| kinds.contains(&kind))
    }

    pub(crate) fn find(self, kind: u16) -> Option<&'a [u8]> {
        self.all().find(|&(known, _)| known == kind).map(|(_, value)| value)
    }

    pub(crate) fn has(self, kind: u16) -> bool {
        self.find(kind).is_some()
    }

    /// Whether a list of numbers, behind its length of `width` bytes, has this one.
    pub(crate) fn lists(self, kind: u16, width: usize, number: u16) -> bool {
        self.list(kind, width).is_some_and(|list| numbers(list).any(|listed| listed == number))
    }

    /// A list behind its length of `width` bytes.
    pub(crate) fn list(self, kind: u16, width: usize) -> Option<&'a [u8]> {
        Reader::new(self.find(kind)?).vector(width)
    }

    /// The shares of keys that a client shows, each with its group.
    pub(crate) fn key_shares(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut reader = Reader::new(self.list(KEY_SHARE, 2).unwrap_or_default());
        std::iter::from_fn(move || Some((reader.u16()?, reader.vector(2)?)))
    }

    /// The first of our profiles for SRTP that is among these (RFC 5764 §4.1.1).
    pub(crate) fn srtp(self) -> Option<SrtpProfile> {
        let offered = self.list(USE_SRTP, 2)?;
        SrtpProfile::ALL.into_iter().find(|profile| numbers(offered).any(|id| id == profile.id()))
    }
}

/// Appends an extension.
pub(crate) fn add(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    out.extend(kind.to_be_bytes());
    vector(out, 2, fill);
}

/// Appends the profiles for SRTP.
pub(crate) fn add_srtp(out: &mut Vec<u8>, profiles: &[SrtpProfile]) {
    add(out, USE_SRTP, |out| {
        vector(out, 2, |out| profiles.iter().for_each(|profile| out.extend(profile.id().to_be_bytes())));
        out.push(0);
    });
}

impl SrtpProfile {
    /// All of them, the best first.
    pub(crate) const ALL: [Self; 3] = [Self::Aes128Gcm, Self::Aes256Gcm, Self::Aes128CmSha1_80];

    pub(crate) fn id(self) -> u16 {
        match self {
            Self::Aes128CmSha1_80 => 1,
            Self::Aes128Gcm => 7,
            Self::Aes256Gcm => 8,
        }
    }

    /// Bytes of two keys and two salts.
    pub(crate) fn material(self) -> usize {
        match self {
            Self::Aes128CmSha1_80 => 2 * (16 + 14),
            Self::Aes128Gcm => 2 * (16 + 12),
            Self::Aes256Gcm => 2 * (32 + 12),
        }
    }
}

/// What the keys for SRTP are exported under (RFC 5764 §4.2).
pub(crate) const SRTP_LABEL: &[u8] = b"EXTRACTOR-dtls_srtp";

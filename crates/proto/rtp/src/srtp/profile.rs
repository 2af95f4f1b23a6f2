/// Which ciphers protect media, as DTLS negotiates them (RFC 5764 §4.1.2, RFC 7714 §14.2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Profile {
    /// AES-128 in Galois/counter mode, tags of 16 bytes.
    AeadAes128Gcm,
    /// AES-256 in Galois/counter mode, tags of 16 bytes.
    AeadAes256Gcm,
    /// AES-128 in counter mode, HMAC-SHA1 with tags of 10 bytes.
    Aes128CmSha1_80,
    /// AES-128 in counter mode, HMAC-SHA1 with tags of 4 bytes (of 10 for RTCP).
    Aes128CmSha1_32,
    /// AES-256 in counter mode, HMAC-SHA1 with tags of 10 bytes (RFC 6188). DTLS has no number for it.
    Aes256CmSha1_80,
    /// AES-256 in counter mode, HMAC-SHA1 with tags of 4 bytes, of 10 for RTCP (RFC 6188). DTLS has no number for it.
    Aes256CmSha1_32,
}

impl Profile {
    /// The profile that DTLS calls by this number.
    pub fn from_dtls(number: u16) -> Option<Self> {
        match number {
            0x0001 => Some(Self::Aes128CmSha1_80),
            0x0002 => Some(Self::Aes128CmSha1_32),
            0x0007 => Some(Self::AeadAes128Gcm),
            0x0008 => Some(Self::AeadAes256Gcm),
            _ => None,
        }
    }

    /// What DTLS calls it, if it can be negotiated there.
    pub fn dtls(self) -> Option<u16> {
        match self {
            Self::Aes128CmSha1_80 => Some(0x0001),
            Self::Aes128CmSha1_32 => Some(0x0002),
            Self::AeadAes128Gcm => Some(0x0007),
            Self::AeadAes256Gcm => Some(0x0008),
            Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 => None,
        }
    }

    /// Its name as webrtc-stats has it in `srtpCipher`.
    pub fn name(self) -> &'static str {
        match self {
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::Aes128CmSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Self::Aes256CmSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Self::Aes256CmSha1_32 => "AES_256_CM_HMAC_SHA1_32",
        }
    }

    /// Bytes of a master key.
    pub fn key_bytes(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::Aes128CmSha1_80 | Self::Aes128CmSha1_32 => 16,
            Self::AeadAes256Gcm | Self::Aes256CmSha1_80 | Self::Aes256CmSha1_32 => 32,
        }
    }

    /// Bytes of a master salt.
    pub fn salt_bytes(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    /// Bytes of the tag at the end of an RTP packet.
    pub fn tag_bytes(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 16,
            Self::Aes128CmSha1_80 | Self::Aes256CmSha1_80 => 10,
            Self::Aes128CmSha1_32 | Self::Aes256CmSha1_32 => 4,
        }
    }

    /// Bytes of the tag of an RTCP packet.
    pub(crate) fn rtcp_tag_bytes(self) -> usize {
        // RFC 5764 §4.1.2 and RFC 6188 §4: SRTCP has 80 bits even where SRTP has 32.
        if self.is_aead() { 16 } else { 10 }
    }

    pub(crate) fn is_aead(self) -> bool {
        matches!(self, Self::AeadAes128Gcm | Self::AeadAes256Gcm)
    }
}

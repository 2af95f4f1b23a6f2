/// Sorts what ICE passes on by its first byte (RFC 7983 §7), and counts what has no taker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demux {
    /// SRTP and SRTCP: all media sections are rejected.
    pub(crate) media: u64,
    /// Neither DTLS nor media. STUN and TURN do not come here: ICE has consumed them.
    pub(crate) unknown: u64,
}

impl Demux {
    /// Whether these bytes are for DTLS.
    pub(crate) fn is_dtls(&mut self, bytes: &[u8]) -> bool {
        match stun::classify(bytes) {
            stun::Packet::Dtls => return true,
            stun::Packet::Rtp | stun::Packet::Rtcp => self.media += 1,
            _ => self.unknown += 1,
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dtls_passes() {
        let mut demux = Demux::default();
        let passed: Vec<u8> = (0..=255).filter(|first| demux.is_dtls(&[*first, 0])).collect();
        assert_eq!(passed, (20..=63).collect::<Vec<u8>>());
        assert_eq!(demux, Demux { media: 64, unknown: 148 });
    }
}

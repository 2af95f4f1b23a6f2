/// Sorts what ICE passes on by its first bytes (RFC 7983 §7, RFC 5761 §4), and counts what has no taker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demux {
    /// SRTP and SRTCP that came while no media was agreed on.
    pub(crate) media: u64,
    /// Neither DTLS nor media. STUN and TURN do not come here: ICE has consumed them.
    pub(crate) unknown: u64,
}

/// Who takes a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taker {
    Dtls,
    Rtp,
    Rtcp,
}

impl Demux {
    /// Who these bytes are for. `media`: whether there is somebody to take media.
    pub(crate) fn sort(&mut self, bytes: &[u8], media: bool) -> Option<Taker> {
        match stun::classify(bytes) {
            stun::Packet::Dtls => return Some(Taker::Dtls),
            stun::Packet::Rtp if media => return Some(Taker::Rtp),
            stun::Packet::Rtcp if media => return Some(Taker::Rtcp),
            stun::Packet::Rtp | stun::Packet::Rtcp => self.media += 1,
            _ => self.unknown += 1,
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_dtls_passes_where_no_media_is_agreed_on() {
        let mut demux = Demux::default();
        let passed: Vec<u8> = (0..=255).filter(|first| demux.sort(&[*first, 0], false).is_some()).collect();
        assert_eq!(passed, (20..=63).collect::<Vec<u8>>());
        assert_eq!(demux, Demux { media: 64, unknown: 148 });
    }

    #[test]
    fn media_passes_where_it_is() {
        let mut demux = Demux::default();
        assert_eq!(demux.sort(&[128, 111], true), Some(Taker::Rtp));
        assert_eq!(demux.sort(&[128, 200], true), Some(Taker::Rtcp));
        assert_eq!(demux.sort(&[22, 254], true), Some(Taker::Dtls));
        assert_eq!((demux.sort(&[80, 0], true), demux.sort(&[], true)), (None, None));
    }
}

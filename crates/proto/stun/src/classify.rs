/// What a packet on a port that several protocols share is (RFC 7983 §7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Packet {
    /// STUN, and so also TURN's requests and indications and the checks of ICE.
    Stun,
    /// TURN ChannelData (RFC 8656 §12.4).
    ChannelData,
    /// A DTLS record.
    Dtls,
    /// RTP, encrypted or not.
    Rtp,
    /// RTCP, encrypted or not.
    Rtcp,
    /// None of these (ZRTP, for one), or nothing at all.
    Other,
}

/// Tells what a packet is by its first byte (RFC 7983 §7), and RTP from RTCP by its second (RFC 5761 §4).
///
/// This sorts, it does not judge: whether a packet is well-formed its own parser says.
pub fn classify(first_bytes: &[u8]) -> Packet {
    match *first_bytes {
        [0..=3, ..] => Packet::Stun,
        [20..=63, ..] => Packet::Dtls,
        [64..=79, ..] => Packet::ChannelData,
        [128..=191, 192..=223, ..] => Packet::Rtcp,
        [128..=191, ..] => Packet::Rtp,
        _ => Packet::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_sort_as_in_the_figure_of_rfc_7983() {
        let sorted = |range: std::ops::RangeInclusive<u8>, packet| {
            assert!(range.clone().all(|first| classify(&[first, 0]) == packet), "{range:?}");
        };
        sorted(0..=3, Packet::Stun);
        sorted(4..=19, Packet::Other);
        sorted(20..=63, Packet::Dtls);
        sorted(64..=79, Packet::ChannelData);
        sorted(80..=127, Packet::Other);
        sorted(128..=191, Packet::Rtp);
        sorted(192..=255, Packet::Other);
        assert_eq!(classify(&[]), Packet::Other);
    }

    #[test]
    fn rtcp_is_told_by_its_packet_type() {
        for (second, packet) in [
            (111, Packet::Rtp),
            (191, Packet::Rtp),
            (192, Packet::Rtcp),
            (200, Packet::Rtcp),
            (224, Packet::Rtp),
        ] {
            assert_eq!(classify(&[0x80, second]), packet, "{second}");
        }
    }
}

use super::Extension;

/// Defines a header extension whose value is a short text of letters, digits and a few signs.
macro_rules! name {
    ($(#[$documentation:meta])* $name:ident, $uri:literal) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct $name<'a>(pub &'a str);

        impl<'a> Extension<'a> for $name<'a> {
            const URI: &'static str = $uri;

            fn read(value: &'a [u8]) -> Option<Self> {
                text(value).map(Self)
            }

            fn write(&self, place: &mut [u8; 255]) -> usize {
                let length = self.0.len().min(place.len());
                place[..length].copy_from_slice(&self.0.as_bytes()[..length]);
                length
            }
        }
    };
}

name! {
    /// Which media section of the description a packet belongs to (RFC 9143 §14).
    Mid, "urn:ietf:params:rtp-hdrext:sdes:mid"
}
name! {
    /// Which layer of a simulcast a packet belongs to (RFC 8852 §4.1).
    Rid, "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
}
name! {
    /// Which layer of a simulcast a retransmitted packet repairs (RFC 8852 §4.2).
    RepairedRid, "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
}

/// A token of printable ASCII: neither empty nor anything that could break a line of SDP or of a log.
fn text(value: &[u8]) -> Option<&str> {
    (!value.is_empty() && value.iter().all(u8::is_ascii_graphic)).then(|| std::str::from_utf8(value).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_printable() {
        assert_eq!(Mid::read(b"audio-0"), Some(Mid("audio-0")));
        for wrong in [&b""[..], b"a b", b"a\n", "ä".as_bytes(), &[0xff]] {
            assert_eq!(Rid::read(wrong), None, "{wrong:?}");
        }
    }
}

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the nonce of an RFC 8489 server begins with.
const COOKIE: &[u8] = b"obMatJos2";

/// The security features that a server announces in its nonce, where nobody can take them out (RFC 8489
/// §18.1).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Features {
    /// It sends PASSWORD-ALGORITHMS.
    pub password_algorithms: bool,
    /// It takes USERHASH.
    pub username_anonymity: bool,
}

impl Features {
    /// Bytes of the nonce cookie: the fixed text and 24 bits in base64 (RFC 8489 §9.2).
    pub const COOKIE_BYTES: usize = 13;

    /// What a nonce announces; `None` if it does not begin with a nonce cookie.
    pub fn of(nonce: &[u8]) -> Option<Self> {
        let encoded = nonce.strip_prefix(COOKIE)?.first_chunk::<4>()?;
        let bits = STANDARD.decode(encoded).ok()?;
        let first = *bits.first()?;
        Some(Self { password_algorithms: first & 0x80 != 0, username_anonymity: first & 0x40 != 0 })
    }

    /// The nonce cookie.
    pub fn cookie(self) -> [u8; Self::COOKIE_BYTES] {
        let first = u8::from(self.password_algorithms) << 7 | u8::from(self.username_anonymity) << 6;
        let mut cookie = [0; Self::COOKIE_BYTES];
        let (text, bits) = cookie.split_at_mut(COOKIE.len());
        text.copy_from_slice(COOKIE);
        bits.copy_from_slice(STANDARD.encode([first, 0, 0]).as_bytes());
        cookie
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_survive_the_cookie() {
        for (password_algorithms, username_anonymity) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let features = Features { password_algorithms, username_anonymity };
            assert_eq!(Features::of(&features.cookie()), Some(features));
        }
        assert_eq!(&Features::default().cookie(), b"obMatJos2AAAA");
        assert_eq!(Features { password_algorithms: true, username_anonymity: false }.cookie()[9..], *b"gAAA");
    }

    #[test]
    fn what_is_no_cookie_announces_nothing() {
        for nonce in
            [&b""[..], b"obMatJos2", b"obMatJos2AAA", b"f//499k954d6OL34oL9FSTvy64sA", b"obMatJos2!!!!"]
        {
            assert_eq!(Features::of(nonce), None);
        }
    }
}

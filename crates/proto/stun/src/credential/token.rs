use std::fmt;
use std::time::Duration;

use crypto::aead::Aes256Gcm;

/// By how much clocks may differ, and messages be late (RFC 7635 §7).
const DELTA: Duration = Duration::from_secs(5);
/// "The key length of 160 bits MUST be supported" (RFC 7635 §6.2).
const SHORTEST_KEY: usize = 20;
const LONGEST_KEY: usize = 64;
const NONCE_BYTES: usize = 12;
/// Fractions of a second that a timestamp counts.
const FRACTIONS: u64 = 64_000;

/// What an authorization server and a STUN server share, so that the one can send clients to the other (RFC 7635 §4.1).
#[derive(Clone)]
pub struct TokenKey {
    kid: String,
    key: [u8; 32],
}

/// What an access token says of its owner: the key that signs his messages, and how long (RFC 7635 §6.2). Nothing of who
/// he is.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionKey {
    mac_key: Vec<u8>,
    /// Since 1970.
    issued: Duration,
    lifetime: Duration,
}

impl TokenKey {
    /// The key for AES-256-GCM that goes by the name `kid`, which clients put into USERNAME.
    pub fn new(kid: impl Into<String>, key: [u8; 32]) -> Self {
        Self { kid: kid.into(), key }
    }

    /// Its name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Makes an access token for the STUN server of this name, as an authorization server does. No nonce may be used twice
    /// with one key.
    pub fn seal(&self, server_name: &str, nonce: [u8; NONCE_BYTES], session: &SessionKey) -> Vec<u8> {
        let fraction = u64::from(session.issued.subsec_nanos()) * FRACTIONS / 1_000_000_000;
        let timestamp = session.issued.as_secs() << 16 | fraction;
        let lifetime = u32::try_from(session.lifetime.as_secs()).unwrap_or(u32::MAX);
        let block = [
            &(session.mac_key.len() as u16).to_be_bytes()[..],
            &session.mac_key,
            &timestamp.to_be_bytes(),
            &lifetime.to_be_bytes(),
        ]
        .concat();
        let sealed = Aes256Gcm::new(&self.key).seal(nonce, server_name.as_bytes(), &block);
        [&(NONCE_BYTES as u16).to_be_bytes()[..], &nonce, &sealed].concat()
    }

    /// Reads an access token that was made for the STUN server of this name. `None` if it was not.
    pub fn open(&self, server_name: &str, token: &[u8]) -> Option<SessionKey> {
        let (length, rest) = token.split_first_chunk()?;
        if usize::from(u16::from_be_bytes(*length)) != NONCE_BYTES {
            return None;
        }
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_BYTES>()?;
        let block = Aes256Gcm::new(&self.key).open(*nonce, server_name.as_bytes(), sealed).ok()?;
        let (length, rest) = block.split_first_chunk()?;
        let (mac_key, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        let (timestamp, lifetime) = rest.split_first_chunk()?;
        let timestamp = u64::from_be_bytes(*timestamp);
        let lifetime = u32::from_be_bytes(lifetime.try_into().ok()?);
        let fraction = (timestamp & 0xffff) * 1_000_000_000 / FRACTIONS;
        let issued = Duration::from_secs(timestamp >> 16) + Duration::from_nanos(fraction);
        let fits = (SHORTEST_KEY..=LONGEST_KEY).contains(&mac_key.len());
        let lifetime = Duration::from_secs(lifetime.into());
        fits.then(|| SessionKey { mac_key: mac_key.to_vec(), issued, lifetime })
    }
}

impl SessionKey {
    /// A key of 20 to 64 bytes that was given out at `issued`, as time since 1970, and is good for `lifetime`, in whole
    /// seconds.
    ///
    /// # Panics
    /// If it is shorter or longer.
    pub fn new(mac_key: Vec<u8>, issued: Duration, lifetime: Duration) -> Self {
        assert!((SHORTEST_KEY..=LONGEST_KEY).contains(&mac_key.len()), "a session key has 20 to 64 bytes");
        Self { mac_key, issued, lifetime }
    }

    /// What signs messages. It is used as it is, and not hashed (RFC 7635 §5).
    pub fn key(&self) -> crate::Key {
        crate::Key::from_bytes(&self.mac_key)
    }

    /// How long it is still good for, when it is `unix_now`. `None`: no longer, or not yet.
    ///
    /// "lifetime + Delta > abs(RDnew - TS)" (RFC 7635 §7).
    pub fn remaining(&self, unix_now: Duration) -> Option<Duration> {
        (self.lifetime + DELTA).checked_sub(unix_now.abs_diff(self.issued)).filter(|left| !left.is_zero())
    }

    /// Tells one from another, and nothing else about them.
    pub fn tag(&self) -> u64 {
        let hash = crypto::sha256(&[b"session", &self.mac_key]);
        u64::from_be_bytes(*hash.first_chunk().expect("a SHA-256 has 32 bytes"))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionKey")
            .field("issued", &self.issued)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// A client's access token, as an authorization server has given it to him (RFC 7635 §4).
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The name of the key that it is sealed with.
    pub kid: String,
    /// The key that signs messages: never sent.
    pub mac_key: Vec<u8>,
    /// The token itself, decoded, which is nobody's business but the STUN server's.
    pub token: Vec<u8>,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken").field("kid", &self.kid).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "turn1@example.com";
    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn session() -> SessionKey {
        SessionKey::new(vec![7; 20], NOW + Duration::from_millis(500), Duration::from_secs(3600))
    }

    fn key() -> TokenKey {
        TokenKey::new("22BIjxU93h/IgwEb", [9; 32])
    }

    #[test]
    fn a_token_reads_as_it_was_sealed_and_has_the_form_of_the_rfc() {
        let token = key().seal(NAME, [1; 12], &session());
        assert_eq!(key().open(NAME, &token), Some(session()));
        // nonce_length, nonce, key_length, mac_key, timestamp, lifetime, tag.
        assert_eq!(token.len(), 2 + 12 + (2 + 20 + 8 + 4) + 16);
        assert_eq!(token[..14], [&[0, 12][..], &[1; 12]].concat());
        let block = Aes256Gcm::new(&[9; 32]).open([1; 12], NAME.as_bytes(), &token[14..]).unwrap();
        let timestamp = (1_700_000_000u64 << 16 | 32_000).to_be_bytes();
        assert_eq!(block, [&[0, 20][..], &[7; 20], &timestamp, &[0, 0, 0x0e, 0x10]].concat());
    }

    #[test]
    fn a_token_for_another_server_of_another_key_or_changed_is_none() {
        let token = key().seal(NAME, [1; 12], &session());
        assert_eq!(key().open("turn2@example.com", &token), None);
        assert_eq!(TokenKey::new(key().kid(), [8; 32]).open(NAME, &token), None);
        for at in 0..token.len() {
            let mut changed = token.clone();
            changed[at] ^= 1;
            assert_eq!(key().open(NAME, &changed), None, "byte {at}");
            assert_eq!(key().open(NAME, &token[..at]), None, "{at} bytes");
        }
    }

    #[test]
    fn lengths_in_a_token_are_held_against_what_is_there() {
        let seal = |block: &[u8]| {
            [&[0, 12][..], &[1; 12], &Aes256Gcm::new(&[9; 32]).seal([1; 12], NAME.as_bytes(), block)].concat()
        };
        let block = |length: u16, bytes: usize| [&length.to_be_bytes()[..], &vec![7; bytes]].concat();
        assert!(key().open(NAME, &seal(&block(20, 20 + 12))).is_some());
        for (length, bytes) in [(0xffff, 32), (20, 31), (20, 33), (19, 31), (65, 77), (0, 12), (20, 0)] {
            assert_eq!(key().open(NAME, &seal(&block(length, bytes))), None, "{length} {bytes}");
        }
        for bad in [&b""[..], &[0], &[0, 12], &[0xff; 100], &[0; 100]] {
            assert_eq!(key().open(NAME, bad), None);
        }
    }

    #[test]
    fn a_session_is_good_for_its_lifetime_and_five_seconds_either_way() {
        let session = SessionKey::new(vec![7; 20], NOW, Duration::from_secs(100));
        let remaining = |seconds: i64| {
            let at = Duration::from_secs(NOW.as_secs().checked_add_signed(seconds).unwrap());
            session.remaining(at).map(|left| left.as_secs())
        };
        assert_eq!(remaining(0), Some(105));
        assert_eq!(remaining(100), Some(5));
        assert_eq!(remaining(104), Some(1));
        assert_eq!(remaining(105), None);
        assert_eq!(remaining(-3), Some(102), "its clock may be ahead");
        assert_eq!(remaining(-105), None);
    }

    #[test]
    fn keys_do_not_show_themselves() {
        let token = AccessToken { kid: "k".into(), mac_key: vec![77; 20], token: vec![78; 20] };
        let shown = format!("{:?} {:?} {token:?}", key(), session());
        assert!(["77", "78", "7, 7", "9, 9"].iter().all(|secret| !shown.contains(secret)), "{shown}");
    }
}

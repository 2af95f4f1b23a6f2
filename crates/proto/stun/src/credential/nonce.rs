use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::HmacSha256Key;
use sansio::{Path, Seed, Time, Transport};

use crate::credential::Features;

/// Seconds since the driver's start, then the MAC: 15 bytes, so that base64 needs no padding.
const TIME_BYTES: usize = 4;
const MAC_BYTES: usize = 11;
const NONCE_BYTES: usize = Features::COOKIE_BYTES + 20;

/// A nonce as it goes into the NONCE attribute.
pub type Nonce = [u8; NONCE_BYTES];

/// Makes and recognises nonces without remembering any: each is the time of its making and a MAC over it, the
/// client's address and the announced features.
///
/// So a nonce overheard from one client is of no use from another address (RFC 8489 §9.2.4), none can be made
/// up, a flood of requests costs no memory, and the features cannot be taken out (RFC 8489 §9.2.1).
#[derive(Debug)]
pub struct NonceKey {
    key: HmacSha256Key,
    lifetime: Duration,
}

/// What a nonce is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NonceState {
    /// Made here for this client, not long ago.
    Fresh,
    /// Made here for this client, too long ago.
    Stale,
    /// Not made here, or for another client. Also what a client has from before a restart.
    Forged,
}

impl NonceKey {
    /// A key for nonces that live so long. The seed must be secret; a new one makes all old nonces void.
    pub fn new(seed: Seed, lifetime: Duration) -> Self {
        Self { key: HmacSha256Key::new(&seed.0), lifetime }
    }

    /// A nonce for the client at the other end of `source`.
    pub fn issue(&self, now: Time, source: Path, features: Features) -> Nonce {
        let cookie = features.cookie();
        let time = (now.elapsed().as_secs() as u32).to_be_bytes();
        let mut content = [0; TIME_BYTES + MAC_BYTES];
        content[..TIME_BYTES].copy_from_slice(&time);
        content[TIME_BYTES..].copy_from_slice(&self.mac(&cookie, time, source));
        let mut nonce = [0; NONCE_BYTES];
        nonce[..Features::COOKIE_BYTES].copy_from_slice(&cookie);
        STANDARD
            .encode_slice(content, &mut nonce[Features::COOKIE_BYTES..])
            .expect("15 bytes are 20 characters of base64");
        nonce
    }

    /// Whether a nonce that the client at the other end of `source` sent is one of ours. Constant time for
    /// any that is not.
    pub fn check(&self, now: Time, source: Path, nonce: &[u8]) -> NonceState {
        let Some((cookie, encoded)) = nonce.split_first_chunk::<{ Features::COOKIE_BYTES }>() else {
            return NonceState::Forged;
        };
        let mut content = [0; TIME_BYTES + MAC_BYTES];
        // The decoder wants room for 3 bytes per 4 characters, which is just what there is.
        if encoded.len() != NONCE_BYTES - Features::COOKIE_BYTES
            || STANDARD.decode_slice(encoded, &mut content) != Ok(content.len())
        {
            return NonceState::Forged;
        }
        let time = [content[0], content[1], content[2], content[3]];
        if !crypto::equal(&self.mac(cookie, time, source), &content[TIME_BYTES..]) {
            return NonceState::Forged;
        }
        let issued = Time::from_start(Duration::from_secs(u32::from_be_bytes(time).into()));
        if now.since(issued) <= self.lifetime { NonceState::Fresh } else { NonceState::Stale }
    }

    fn mac(&self, cookie: &[u8], time: [u8; TIME_BYTES], source: Path) -> [u8; MAC_BYTES] {
        let transport = match source.transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
            Transport::Tls => 2,
        };
        let ip = match source.remote.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let port = source.remote.port().to_be_bytes();
        let [mac @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            self.key.sign(&[cookie, &time, &[transport], &ip.octets(), &port]);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(600);

    fn key(seed: u64) -> NonceKey {
        NonceKey::new(Seed::from(seed), LIFETIME)
    }

    fn path(remote: &str) -> Path {
        Path::udp("192.0.2.1:3478".parse().unwrap(), remote.parse().unwrap())
    }

    #[test]
    fn a_nonce_is_bound_to_the_source_it_was_made_for() {
        let (key, home) = (key(1), path("198.51.100.7:1000"));
        let nonce = key.issue(Time::ZERO, home, Features::default());
        assert_eq!(key.check(Time::ZERO, home, &nonce), NonceState::Fresh);
        for elsewhere in ["198.51.100.7:1001", "198.51.100.8:1000", "[2001:db8::1]:1000"] {
            assert_eq!(key.check(Time::ZERO, path(elsewhere), &nonce), NonceState::Forged, "{elsewhere}");
        }
        let other_transport = Path { transport: Transport::Tcp, ..home };
        assert_eq!(key.check(Time::ZERO, other_transport, &nonce), NonceState::Forged);
    }

    #[test]
    fn a_nonce_expires() {
        let (key, home) = (key(1), path("198.51.100.7:1000"));
        let issued = Time::ZERO + Duration::from_secs(5000);
        let nonce = key.issue(issued, home, Features::default());
        assert_eq!(key.check(issued + LIFETIME, home, &nonce), NonceState::Fresh);
        assert_eq!(key.check(issued + LIFETIME + Duration::from_secs(1), home, &nonce), NonceState::Stale);
    }

    #[test]
    fn no_byte_of_a_nonce_can_be_changed_and_none_made_up() {
        let (ours, home) = (key(1), path("198.51.100.7:1000"));
        let features = Features { password_algorithms: true, username_anonymity: true };
        let nonce = ours.issue(Time::ZERO, home, features);
        for at in 0..nonce.len() {
            let mut changed = nonce;
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(ours.check(Time::ZERO, home, &changed), NonceState::Forged, "byte {at}");
        }
        assert_eq!(key(2).check(Time::ZERO, home, &nonce), NonceState::Forged, "a new key voids old nonces");
        for made_up in [&b""[..], b"obMatJos2", &nonce[1..], &nonce[..32], &[0xff; NONCE_BYTES], &[b'='; 100]]
        {
            assert_eq!(ours.check(Time::ZERO, home, made_up), NonceState::Forged);
        }
    }
}

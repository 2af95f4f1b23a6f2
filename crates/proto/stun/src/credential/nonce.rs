use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use crypto::HmacSha256Key;
use sansio::{Path, Seed, Time, Transport};

use crate::credential::Features;

/// The age of a nonce is counted in these parts of its lifetime.
const TICKS: u64 = 64;
/// What follows the cookie: the lowest 8 bits of the tick of its making and 56 of a MAC, in base64 without padding. So
/// short that the attribute needs no padding: each byte of a challenge is one that a stranger can have sent to
/// somebody else. Who guesses at 56 bits guesses at a nonce, which is worth nothing without a password.
const MAC_BYTES: usize = 7;
const NONCE_BYTES: usize = Features::COOKIE_BYTES + 11;

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
    tick: Duration,
}

/// What a nonce is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NonceState {
    /// Made here for this client, not long ago.
    Fresh,
    /// Made here for this client, too long ago.
    Stale,
    /// Not made here, or for another client, or very long ago. Also what a client has from before a restart.
    Forged,
}

impl NonceKey {
    /// A key for nonces that live so long, give or take a 64th. The seed must be secret; a new one makes all old
    /// nonces void.
    pub fn new(seed: Seed, lifetime: Duration) -> Self {
        let tick = (lifetime / TICKS as u32).max(Duration::from_millis(1));
        Self { key: HmacSha256Key::new(&seed.0), tick }
    }

    /// A nonce for the client at the other end of `source`.
    pub fn issue(&self, now: Time, source: Path, features: Features) -> Nonce {
        let cookie = features.cookie();
        let tick = self.tick(now);
        let mut content = [0; 1 + MAC_BYTES];
        content[0] = tick as u8;
        content[1..].copy_from_slice(&self.mac(&cookie, tick, source));
        let mut nonce = [0; NONCE_BYTES];
        nonce[..Features::COOKIE_BYTES].copy_from_slice(&cookie);
        STANDARD_NO_PAD
            .encode_slice(content, &mut nonce[Features::COOKIE_BYTES..])
            .expect("8 bytes are 11 characters of base64");
        nonce
    }

    /// Whether a nonce that the client at the other end of `source` sent is one of ours. Constant time for
    /// any that is not.
    pub fn check(&self, now: Time, source: Path, nonce: &[u8]) -> NonceState {
        let Some((cookie, encoded)) = nonce.split_first_chunk::<{ Features::COOKIE_BYTES }>() else {
            return NonceState::Forged;
        };
        // The decoder wants room for 3 bytes per 4 characters begun.
        let mut content = [0; 1 + MAC_BYTES + 1];
        if encoded.len() != NONCE_BYTES - Features::COOKIE_BYTES
            || STANDARD_NO_PAD.decode_slice(encoded, &mut content) != Ok(1 + MAC_BYTES)
        {
            return NonceState::Forged;
        }
        // The latest tick that ends with these 8 bits.
        let this = self.tick(now);
        let age = u64::from((this as u8).wrapping_sub(content[0]));
        let issued = this.checked_sub(age);
        let mac = self.mac(cookie, issued.unwrap_or_default(), source);
        match (crypto::equal(&mac, &content[1..=MAC_BYTES]), issued) {
            (true, Some(_)) if age <= TICKS => NonceState::Fresh,
            (true, Some(_)) => NonceState::Stale,
            _ => NonceState::Forged,
        }
    }

    fn tick(&self, now: Time) -> u64 {
        (now.elapsed().as_nanos() / self.tick.as_nanos()) as u64
    }

    fn mac(&self, cookie: &[u8], tick: u64, source: Path) -> [u8; MAC_BYTES] {
        let transport = match source.transport {
            Transport::Udp => 0,
            Transport::Tcp => 1,
            Transport::Tls => 2,
            Transport::Dtls => 3,
        };
        let ip = match source.remote.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let port = source.remote.port().to_be_bytes();
        let mac = self.key.sign(&[cookie, &tick.to_be_bytes(), &[transport], &ip.octets(), &port]);
        *mac.first_chunk().expect("an HMAC-SHA256 has 32 bytes")
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
        for issued in [0, 1, 5, 599, 5000, 1_000_000] {
            let issued = Time::ZERO + Duration::from_secs(issued);
            let nonce = key.issue(issued, home, Features::default());
            let check = |age| key.check(issued + age, home, &nonce);
            assert_eq!(check(Duration::ZERO), NonceState::Fresh);
            assert_eq!(check(LIFETIME), NonceState::Fresh);
            assert_eq!(check(LIFETIME + LIFETIME / 32), NonceState::Stale);
            assert_eq!(check(LIFETIME * 3), NonceState::Stale);
            assert_eq!(
                check(LIFETIME * 4),
                NonceState::Forged,
                "256 ticks are over: it counts as one of now"
            );
            assert_eq!(check(LIFETIME * 5), NonceState::Forged);
        }
    }

    #[test]
    fn no_byte_of_a_nonce_can_be_changed_and_none_made_up() {
        let (ours, home) = (key(1), path("198.51.100.7:1000"));
        let features = Features { password_algorithms: true, username_anonymity: true };
        let nonce = ours.issue(Time::ZERO, home, features);
        for at in 0..nonce.len() {
            let mut changed = nonce;
            changed[at] = if changed[at] == b'A' { b'E' } else { b'A' };
            assert_eq!(ours.check(Time::ZERO, home, &changed), NonceState::Forged, "byte {at}");
        }
        assert_eq!(key(2).check(Time::ZERO, home, &nonce), NonceState::Forged, "a new key voids old nonces");
        for made_up in [
            &b""[..],
            b"obMatJos2",
            &nonce[1..],
            &nonce[..NONCE_BYTES - 1],
            &[0xff; NONCE_BYTES],
            &[b'='; 100],
        ] {
            assert_eq!(ours.check(Time::ZERO, home, made_up), NonceState::Forged);
        }
    }
}

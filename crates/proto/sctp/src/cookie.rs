//! The state cookie (RFC 9260 §5.1.3): what an INIT said, sealed, so that nothing has to be remembered of it.

use std::fmt;

use sansio::Rng;

use crate::init::Init;

/// Bytes of the seal.
const SEAL: usize = 16;

/// Bakes cookies, and knows its own. What is below authenticates the peer, so a cookie does not expire.
///
/// Handshakes are rare: the secret is kept, which is smaller than the state of its HMAC.
pub(crate) struct Oven([u8; 32]);

impl Oven {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self(rng.bytes())
    }

    /// A cookie that stands for `peer`.
    pub(crate) fn bake(&self, peer: &Init) -> Vec<u8> {
        let mut cookie = peer.value(None);
        let seal = crypto::hmac_sha256(&self.0, &[&cookie]);
        cookie.extend(&seal[..SEAL]);
        cookie
    }

    /// What a cookie stands for, if it is one of ours.
    pub(crate) fn taste(&self, cookie: &[u8]) -> Option<Init> {
        let (terms, seal) = cookie.split_at_checked(cookie.len().checked_sub(SEAL)?)?;
        if !crypto::equal(&crypto::hmac_sha256(&self.0, &[terms])[..SEAL], seal) {
            return None;
        }
        Init::parse(terms).map(|(peer, _)| peer)
    }
}

impl fmt::Debug for Oven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Oven(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sansio::Seed;

    #[test]
    fn only_our_own_cookies_are_known_and_only_whole() {
        let (ours, other) =
            (Oven::new(&mut Rng::new(Seed::from(1))), Oven::new(&mut Rng::new(Seed::from(2))));
        let peer = Init {
            tag: 1,
            window: 2,
            outbound: 3,
            inbound: 4,
            tsn: 5,
            partial: true,
            reconfig: true,
            interleaving: true,
            unsummed: true,
            marks: true,
        };
        let cookie = ours.bake(&peer);
        assert_eq!(ours.taste(&cookie), Some(peer));
        assert_eq!(other.taste(&cookie), None);
        for at in 0..cookie.len() {
            let mut forged = cookie.clone();
            forged[at] ^= 1;
            assert_eq!(ours.taste(&forged), None);
            assert_eq!(ours.taste(&cookie[..at]), None);
        }
    }
}

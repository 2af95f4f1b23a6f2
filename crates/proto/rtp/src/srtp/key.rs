use std::fmt;

use crypto::AesCounterKey;

use crate::srtp::Profile;
use crate::srtp::transform::Transform;

/// The key and salt of one direction, of which all others are derived (RFC 3711 §4.3).
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    profile: Profile,
    key: Vec<u8>,
    salt: Vec<u8>,
}

impl MasterKey {
    /// A key and salt for a profile; `None` if their lengths are not [`Profile::key_bytes`] and
    /// [`Profile::salt_bytes`].
    pub fn new(profile: Profile, key: &[u8], salt: &[u8]) -> Option<Self> {
        (key.len() == profile.key_bytes() && salt.len() == profile.salt_bytes()).then(|| Self {
            profile,
            key: key.to_vec(),
            salt: salt.to_vec(),
        })
    }

    /// The keys of both directions, ours first and theirs second, out of what DTLS exports: the client's key, the
    /// server's, the client's salt, the server's (RFC 5764 §4.2). `None` if there are too few or too many bytes.
    pub fn pair(profile: Profile, material: &[u8], we_are_client: bool) -> Option<(Self, Self)> {
        let (key, salt) = (profile.key_bytes(), profile.salt_bytes());
        if material.len() != 2 * (key + salt) {
            return None;
        }
        let (keys, salts) = material.split_at(2 * key);
        let client = Self::new(profile, &keys[..key], &salts[..salt])?;
        let server = Self::new(profile, &keys[key..], &salts[salt..])?;
        Some(if we_are_client { (client, server) } else { (server, client) })
    }

    /// Which ciphers it is for.
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// What RTP is transformed with.
    pub(crate) fn rtp(&self) -> Transform {
        self.transform(0, self.profile.tag_bytes())
    }

    /// What RTCP is transformed with.
    pub(crate) fn rtcp(&self) -> Transform {
        self.transform(3, self.profile.rtcp_tag_bytes())
    }

    /// The transform under the keys with three labels in a row: cipher, authentication, salt (RFC 3711 §4.3.2).
    fn transform(&self, label: u8, tag_bytes: usize) -> Transform {
        let prf = AesCounterKey::new(&self.key);
        let mut key = vec![0; self.profile.key_bytes()];
        let mut mac = [0; 20];
        let mut salt = [0; 14];
        self.derive(&prf, label, &mut key);
        self.derive(&prf, label + 1, &mut mac);
        self.derive(&prf, label + 2, &mut salt[..self.profile.salt_bytes()]);
        Transform::new(self.profile, &key, &mac, salt, tag_bytes)
    }

    /// RFC 3711 §4.3.1 and §4.3.3, with a key derivation rate of 0. RFC 7714 §11 has the same for GCM, whose salt is
    /// shorter: zeros follow it.
    fn derive(&self, prf: &AesCounterKey, label: u8, out: &mut [u8]) {
        let mut counter = [0; 16];
        counter[..self.salt.len()].copy_from_slice(&self.salt);
        counter[7] ^= label;
        out.fill(0);
        prf.apply(counter, out);
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({:?})", self.profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::vectors::bytes;

    fn derived(key: &MasterKey, label: u8, length: usize) -> Vec<u8> {
        let mut out = vec![0xff; length];
        key.derive(&AesCounterKey::new(&key.key), label, &mut out);
        out
    }

    /// RFC 3711 appendix B.3.
    #[test]
    fn keys_are_derived_as_in_rfc_3711() {
        let key = MasterKey::new(
            Profile::Aes128CmSha1_80,
            &bytes("E1F97A0D3E018BE0D64FA32C06DE4139"),
            &bytes("0EC675AD498AFEEBB6960B3AABE6"),
        )
        .unwrap();
        assert_eq!(derived(&key, 0, 16), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derived(&key, 2, 14), bytes("30CBBC08863D8C85D49DB34A9AE1"));
        let mac =
            "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098
            6371C10C9A369AC2F94A8C5FBCDDDC256D6E919A48B610EF17C2041E474035766B68642C59BBFC2F34DB60DBDFB2";
        let mac = bytes(mac);
        assert_eq!(derived(&key, 1, mac.len()), mac);
    }

    /// RFC 6188 §7.2.
    #[test]
    fn keys_are_derived_as_in_rfc_6188() {
        let key = MasterKey::new(
            Profile::Aes256CmSha1_80,
            &bytes("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6"),
            &bytes("3b04803de51ee7c96423ab5b78d2"),
        )
        .unwrap();
        assert_eq!(
            derived(&key, 0, 32),
            bytes("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
        );
        assert_eq!(derived(&key, 2, 14), bytes("fa31791685ca444a9e07c6c64e93"));
        assert_eq!(derived(&key, 1, 20), bytes("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"));
    }

    #[test]
    fn dtls_exports_both_keys_before_both_salts() {
        let profile = Profile::AeadAes128Gcm;
        let material: Vec<u8> = [[1; 16].as_slice(), &[2; 16], &[3; 12], &[4; 12]].concat();
        let client = MasterKey::new(profile, &[1; 16], &[3; 12]).unwrap();
        let server = MasterKey::new(profile, &[2; 16], &[4; 12]).unwrap();
        assert_eq!(MasterKey::pair(profile, &material, true), Some((client.clone(), server.clone())));
        assert_eq!(MasterKey::pair(profile, &material, false), Some((server, client)));
        assert_eq!(MasterKey::pair(profile, &material[1..], true), None);
        assert_eq!(MasterKey::pair(Profile::Aes128CmSha1_80, &material, true), None);
        assert_eq!(MasterKey::new(profile, &[1; 16], &[3; 14]), None);
    }
}

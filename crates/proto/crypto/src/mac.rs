use std::fmt;

use aws_lc_rs::hmac;

/// An HMAC-SHA1 key with its two inner states computed once: for paths that sign or check many messages.
#[derive(Clone)]
pub struct HmacSha1Key(hmac::Key);

/// An HMAC-SHA256 key with its two inner states computed once: for paths that sign or check many messages.
#[derive(Clone)]
pub struct HmacSha256Key(hmac::Key);

impl HmacSha1Key {
    /// A key of any length.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key))
    }

    /// The HMAC of the concatenated parts.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 20] {
        sign(&self.0, parts)
    }
}

impl HmacSha256Key {
    /// A key of any length.
    pub fn new(key: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The HMAC of the concatenated parts.
    pub fn sign(&self, parts: &[&[u8]]) -> [u8; 32] {
        sign(&self.0, parts)
    }
}

impl fmt::Debug for HmacSha1Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSha1Key(..)")
    }
}

impl fmt::Debug for HmacSha256Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HmacSha256Key(..)")
    }
}

/// HMAC-SHA1 (RFC 2104) of the concatenated parts.
pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> [u8; 20] {
    HmacSha1Key::new(key).sign(parts)
}

/// HMAC-SHA256 (RFC 2104) of the concatenated parts.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    HmacSha256Key::new(key).sign(parts)
}

/// HKDF-SHA256 (RFC 5869): fills `out` with key material derived from `secret`.
///
/// # Panics
/// If `out` is longer than 8160 bytes, which is all that HKDF-SHA256 can give.
pub fn hkdf_sha256(secret: &[u8], salt: &[u8], info: &[u8], out: &mut [u8]) {
    assert!(out.len() <= 255 * 32, "HKDF-SHA256 gives at most 8160 bytes");
    let extracted = HmacSha256Key::new(&hmac_sha256(salt, &[secret]));
    let mut block = [0; 32];
    for (index, chunk) in out.chunks_mut(32).enumerate() {
        let previous: &[u8] = if index == 0 { &[] } else { &block };
        block = extracted.sign(&[previous, info, &[index as u8 + 1]]);
        chunk.copy_from_slice(&block[..chunk.len()]);
    }
}

fn sign<const N: usize>(key: &hmac::Key, parts: &[&[u8]]) -> [u8; N] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().try_into().expect("each key is asked for its own output length")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // RFC 2202 §3 and RFC 4231 §4.3: test case 2.
    #[test]
    fn hmac_matches_its_rfcs_in_any_split() {
        let parts: &[&[u8]] = &[b"what do ya want ", b"", b"for nothing?"];
        assert_eq!(hex(&hmac_sha1(b"Jefe", parts)), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert_eq!(
            hex(&hmac_sha256(b"Jefe", parts)),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    // RFC 4231 §4.7: a key longer than a block.
    #[test]
    fn hmac_takes_long_keys() {
        let parts: &[&[u8]] = &[b"Test Using Larger Than Block-Size Key - Hash Key First"];
        assert_eq!(
            hex(&hmac_sha256(&[0xaa; 131], parts)),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    // RFC 5869 appendix A.1, and A.3 for empty salt and info.
    #[test]
    fn hkdf_matches_its_rfc() {
        let mut out = [0; 42];
        let salt: Vec<u8> = (0x00..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        hkdf_sha256(&[0x0b; 22], &salt, &info, &mut out);
        assert_eq!(
            hex(&out),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
        );
        hkdf_sha256(&[0x0b; 22], &[], &[], &mut out);
        assert_eq!(
            hex(&out),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
    }

    #[test]
    fn keys_do_not_show_themselves() {
        assert_eq!(format!("{:?}", HmacSha1Key::new(b"secret")), "HmacSha1Key(..)");
        assert_eq!(format!("{:?}", HmacSha256Key::new(b"secret")), "HmacSha256Key(..)");
    }
}

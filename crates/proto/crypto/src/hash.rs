use std::fmt;

use aws_lc_rs::digest;
use md5::Digest as _;

/// MD5 of the concatenated parts. For the long-term credentials of RFC 8489 §9.2.2 and nothing else: it is
/// broken.
pub fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = md5::Md5::new();
    for part in parts {
        context.update(part);
    }
    context.finalize().into()
}

/// SHA-1 of the concatenated parts. For WebSocket handshakes and the like; not collision-resistant.
pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, parts)
}

/// SHA-256 of the concatenated parts.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    digest(&digest::SHA256, parts)
}

/// SHA-384 of the concatenated parts.
pub fn sha384(parts: &[&[u8]]) -> [u8; 48] {
    digest(&digest::SHA384, parts)
}

/// SHA-512 of the concatenated parts.
pub fn sha512(parts: &[&[u8]]) -> [u8; 64] {
    digest(&digest::SHA512, parts)
}

fn digest<const N: usize>(algorithm: &'static digest::Algorithm, parts: &[&[u8]]) -> [u8; N] {
    let mut context = digest::Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().try_into().expect("each algorithm is asked for its own output length")
}

/// SHA-256 bit by bit, for what does not fit into memory (files).
#[derive(Clone)]
pub struct Sha256(digest::Context);

impl Sha256 {
    /// The hash of nothing yet.
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// Appends bytes to what is hashed.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all that was appended.
    pub fn finish(self) -> [u8; 32] {
        self.0.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sha256(..)")
    }
}

/// BLAKE3 bit by bit, with 32 bytes of output: as strong as SHA-256 against collisions, and several times as fast where
/// the CPU computes with wide vectors.
#[derive(Clone)]
pub struct Blake3(blake3::Hasher);

impl Blake3 {
    /// The hash of nothing yet.
    pub fn new() -> Self {
        Self(blake3::Hasher::new())
    }

    /// Appends bytes to what is hashed. It is fastest with some dozens of kilobytes at once.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of all that was appended.
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Default for Blake3 {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Blake3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Blake3(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn hashes_match_their_standards_for_abc_in_any_split() {
        for parts in [&[b"abc".as_slice()][..], &[b"a", b"", b"bc"]] {
            assert_eq!(hex(&md5(parts)), "900150983cd24fb0d6963f7d28e17f72");
            assert_eq!(hex(&sha1(parts)), "a9993e364706816aba3e25717850c26c9cd0d89d");
            assert_eq!(
                hex(&sha256(parts)),
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            );
        }
        assert!(hex(&sha384(&[b"abc"])).starts_with("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"));
        assert!(hex(&sha512(&[b"abc"])).starts_with("ddaf35a193617abacc417349ae204131"));
    }

    #[test]
    fn blake3_matches_its_published_vectors_in_any_split() {
        // `test_vectors.json` of the authors: bytes 0 to 250 again and again.
        let input: Vec<u8> = (0..31_744).map(|at| (at % 251) as u8).collect();
        for (length, expected) in [
            (0, "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"),
            (1, "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213"),
            (31_744, "62b6960e1a44bcc1eb1a611a8d6235b6b4b78f32e7abc4fb4c6cdcce94895c47"),
        ] {
            for split in [1, 1000, usize::MAX] {
                let mut blake = Blake3::new();
                input[..length].chunks(split.min(length.max(1))).for_each(|part| blake.update(part));
                assert_eq!(hex(&blake.finish()), expected);
            }
        }
    }

    #[test]
    fn incremental_and_whole_agree() {
        let mut sha = Sha256::new();
        for byte in 0..=255u8 {
            sha.update(&[byte; 3]);
        }
        let whole: Vec<u8> = (0..=255u8).flat_map(|byte| [byte; 3]).collect();
        assert_eq!(sha.finish(), sha256(&[&whole]));
    }
}

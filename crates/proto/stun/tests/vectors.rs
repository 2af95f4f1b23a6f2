//! The test vectors of RFC 5769 and of RFC 8489 appendix B, as data files in `tests/vectors`.

use std::collections::BTreeMap;

use sterna_stun::{
    AttributeKind, Class, HEADER_BYTES, Integrity, IntegrityError, Key, Message, MessageWriter, Method,
    ParseErrorKind, PasswordAlgorithm, kind, user_hash,
};

struct Vector {
    parameters: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

impl Vector {
    fn load(name: &str) -> Self {
        let path = format!("{}/tests/vectors/{name}.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let (head, hex) = text.split_once("bytes:\n").expect("a vector has bytes");
        let parameters = head
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once(": ").expect("name: value"))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        // Each line is up to four bytes and then a remark.
        let bytes = hex
            .lines()
            .flat_map(|line| {
                line.split_whitespace().map_while(|word| u8::from_str_radix(word, 16).ok()).take(4)
            })
            .collect();
        Self { parameters, bytes }
    }

    fn parameter(&self, name: &str) -> &str {
        &self.parameters[name]
    }

    fn message(&self) -> Message<'_> {
        Message::parse(&self.bytes).unwrap()
    }
}

/// A wrong bit anywhere before the integrity attribute's end must be noticed, bits of the padding included.
fn assert_every_bit_is_signed(vector: &Vector, key: &Key) {
    let message = vector.message();
    let end = message
        .attributes()
        .find(|attribute| matches!(attribute.kind, kind::MESSAGE_INTEGRITY | kind::MESSAGE_INTEGRITY_SHA256))
        .map(|attribute| attribute.offset + 4 + attribute.value.len())
        .unwrap();
    for bit in 0..8 * end {
        let mut bytes = vector.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let accepted = Message::parse(&bytes).is_ok_and(|message| message.check_integrity(key).is_ok());
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn rfc5769_sample_request() {
    let vector = Vector::load("rfc5769-2.1-request");
    let message = vector.message();
    let key = Key::short_term(vector.parameter("password"));
    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    assert_eq!(message.software(), Some(vector.parameter("software")));
    assert_eq!(message.username(), Some(vector.parameter("username")));
    assert_eq!(message.priority(), Some(0x6e00_01ff));
    assert_eq!(message.ice_controlled(), Some(0x932f_f9b1_5126_3b36));
    assert_eq!(message.ice_controlling(), None);
    assert!(message.check_fingerprint());
    assert_eq!(message.integrity(), Some(Integrity::Sha1));
    assert_eq!(message.check_integrity(&key), Ok(()));
    assert_eq!(message.check_integrity(&Key::short_term("wrong")), Err(IntegrityError::Mismatch));
    assert_every_bit_is_signed(&vector, &key);
}

#[test]
fn rfc5769_sample_responses() {
    for name in ["rfc5769-2.2-ipv4-response", "rfc5769-2.3-ipv6-response"] {
        let vector = Vector::load(name);
        let message = vector.message();
        let key = Key::short_term(vector.parameter("password"));
        assert_eq!((message.class(), message.method()), (Class::Success, Method::BINDING));
        assert_eq!(message.software(), Some(vector.parameter("software")));
        assert_eq!(message.xor_mapped_address(), Some(vector.parameter("mapped").parse().unwrap()));
        assert!(message.check_fingerprint());
        assert_eq!(message.check_integrity(&key), Ok(()));
        assert_every_bit_is_signed(&vector, &key);
    }
}

#[test]
fn rfc5769_sample_request_with_long_term_authentication() {
    let vector = Vector::load("rfc5769-2.4-long-term-request");
    let message = vector.message();
    let [username, realm, password] = ["username", "realm", "password"].map(|name| vector.parameter(name));
    let key = Key::long_term(PasswordAlgorithm::Md5, username, realm, password);
    assert_eq!(message.username(), Some(username));
    assert_eq!(message.realm(), Some(realm));
    assert_eq!(message.nonce(), Some(vector.parameter("nonce").as_bytes()));
    assert_eq!(message.check_integrity(&key), Ok(()));
    assert!(!message.has_fingerprint() && !message.check_fingerprint());
    assert_every_bit_is_signed(&vector, &key);
}

#[test]
fn rfc8489_sample_request_with_sha256_and_userhash() {
    let vector = Vector::load("rfc8489-b.1-erratum-6268");
    let message = vector.message();
    let [username, realm, password] = ["username", "realm", "password"].map(|name| vector.parameter(name));
    let key = Key::long_term(PasswordAlgorithm::Sha256, username, realm, password);
    assert_eq!(message.user_hash(), Some(&user_hash(username, realm)));
    assert_eq!(message.realm(), Some(realm));
    assert_eq!(message.nonce(), Some(vector.parameter("nonce").as_bytes()));
    assert_eq!(message.password_algorithm(), Some(PasswordAlgorithm::Sha256));
    assert_eq!(message.integrity(), Some(Integrity::Sha256));
    assert_eq!(message.check_integrity(&key), Ok(()));
    let with_md5 = Key::long_term(PasswordAlgorithm::Md5, username, realm, password);
    assert_eq!(message.check_integrity(&with_md5), Err(IntegrityError::Mismatch));
    assert_every_bit_is_signed(&vector, &key);
}

/// Erratum 6268: the length field of the printed vector counts the header, too. So it is no STUN message; but
/// the HMAC that it carries is right for the length that it claims, which shows that key and algorithm are.
#[test]
fn rfc8489_sample_request_as_printed_has_a_wrong_length() {
    let vector = Vector::load("rfc8489-b.1-as-printed");
    let error = Message::parse(&vector.bytes).unwrap_err();
    assert_eq!((error.kind, error.offset), (ParseErrorKind::WrongLength, 2));
    let mut bytes = vector.bytes.clone();
    let attributes = (bytes.len() - HEADER_BYTES) as u16;
    bytes[2..4].copy_from_slice(&attributes.to_be_bytes());
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(
        message.user_hash(),
        Some(&user_hash(vector.parameter("username"), vector.parameter("realm")))
    );
    let account = ["username", "realm", "password"].map(|name| vector.parameter(name)).join(":");
    let signed = &vector.bytes[..vector.bytes.len() - 36];
    let hmac = crypto::hmac_sha256(&crypto::sha256(&[account.as_bytes()]), &[signed]);
    assert_eq!(message.raw(kind::MESSAGE_INTEGRITY_SHA256), Some(&hmac[..]));
}

/// The writer makes the very bytes of the vectors whose padding is of zeros, as RFC 8489 §14 asks for.
#[test]
fn the_writer_makes_the_bytes_of_the_rfcs() {
    for (name, algorithm) in [
        ("rfc5769-2.4-long-term-request", PasswordAlgorithm::Md5),
        ("rfc8489-b.1-erratum-6268", PasswordAlgorithm::Sha256),
    ] {
        let vector = Vector::load(name);
        let message = vector.message();
        let [username, realm, password] =
            ["username", "realm", "password"].map(|name| vector.parameter(name));
        let key = Key::long_term(algorithm, username, realm, password);
        let mut buffer = [0xAA; 300];
        let mut writer =
            MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, message.transaction_id());
        for attribute in message.attributes() {
            match attribute.kind {
                kind::MESSAGE_INTEGRITY => writer.integrity(&key),
                kind::MESSAGE_INTEGRITY_SHA256 => writer.integrity_sha256(&key),
                AttributeKind(_) => writer.raw(attribute.kind, attribute.value),
            };
        }
        let length = writer.finish().unwrap();
        assert_eq!(buffer[..length], vector.bytes, "{name}");
    }
}

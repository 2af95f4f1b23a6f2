//! Reading and writing messages: hostile bytes, limits, and which attributes count.

use proptest::prelude::*;
use sterna_stun::{
    AttributeKind, Class, IntegrityError, Key, MAX_UNKNOWN, Message, MessageWriter, Method, ParseErrorKind,
    TransactionId, WriteError, kind,
};

const ID: TransactionId = TransactionId([7; 12]);

fn write(build: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = vec![0xAA; 70_000];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, ID);
    build(&mut writer);
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

fn error(bytes: &[u8]) -> (ParseErrorKind, usize) {
    let error = Message::parse(bytes).unwrap_err();
    (error.kind, error.offset)
}

/// Everything that can be asked of a message.
fn read_all(message: &Message<'_>) {
    let key = Key::short_term("password");
    let _ = (message.class(), message.method(), message.transaction_id(), message.check_integrity(&key));
    let _ = (message.check_fingerprint(), message.xor_mapped_address(), message.mapped_address());
    let _ = (message.username(), message.user_hash(), message.realm(), message.nonce(), message.error_code());
    let _ = (message.unknown_attributes(), message.alternate_server(), message.alternate_domain());
    let _ = (message.software(), message.password_algorithm(), message.priority(), message.use_candidate());
    let _ =
        (message.ice_controlling(), message.ice_controlled(), message.unknown_comprehension_required(&[]));
    let _ = message.password_algorithms().map(|algorithms| algorithms.entries().count());
    let _ = (message.xor_addresses(kind::XOR_PEER_ADDRESS).count(), format!("{message:?}"));
}

fn any_class() -> impl Strategy<Value = Class> {
    prop_oneof![Just(Class::Request), Just(Class::Indication), Just(Class::Success), Just(Class::Error)]
}

/// Kinds that may stand anywhere; the three with rules of their own are left out.
fn any_kind() -> impl Strategy<Value = AttributeKind> {
    any::<u16>()
        .prop_map(AttributeKind)
        .prop_filter("integrity and fingerprint have rules of their own", |kind| {
            ![kind::MESSAGE_INTEGRITY, kind::MESSAGE_INTEGRITY_SHA256, kind::FINGERPRINT].contains(kind)
        })
}

fn any_attributes() -> impl Strategy<Value = Vec<(AttributeKind, Vec<u8>)>> {
    prop::collection::vec((any_kind(), prop::collection::vec(any::<u8>(), 0..50)), 0..12)
}

proptest! {
    #[test]
    fn parse_never_panics_on_noise(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = Message::parse(&bytes) {
            read_all(&message);
        }
    }

    #[test]
    fn parse_never_panics_behind_a_good_header(
        first in 0u8..64,
        words in prop::collection::vec(prop_oneof![any::<u32>(), (0u32..0x30, 0u32..40).prop_map(|(k, l)| k << 16 | l)], 0..60),
    ) {
        let mut bytes = vec![first, 1];
        bytes.extend((4 * words.len() as u16).to_be_bytes());
        bytes.extend(0x2112_A442u32.to_be_bytes());
        bytes.extend([9; 12]);
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        if let Ok(message) = Message::parse(&bytes) {
            read_all(&message);
        }
    }

    #[test]
    fn what_is_written_is_read(
        class in any_class(),
        method in 0u16..0x1000,
        id in any::<[u8; 12]>(),
        attributes in any_attributes(),
        sign in any::<(bool, bool, bool)>(),
    ) {
        let key = Key::short_term("password");
        let mut buffer = [0xAA; 2000];
        let mut writer = MessageWriter::new(&mut buffer, class, Method(method), TransactionId(id));
        for (kind, value) in &attributes {
            writer.raw(*kind, value);
        }
        if sign.0 { writer.integrity(&key); }
        if sign.1 { writer.integrity_sha256(&key); }
        if sign.2 { writer.fingerprint(); }
        let length = writer.finish().unwrap();
        let message = Message::parse(&buffer[..length]).unwrap();
        prop_assert_eq!((message.class(), message.method(), message.transaction_id()), (class, Method(method), TransactionId(id)));
        let read: Vec<_> = message.attributes().map(|a| (a.kind, a.value.to_vec())).collect();
        prop_assert_eq!(&read[..attributes.len()], &attributes[..]);
        prop_assert_eq!(read.len(), attributes.len() + usize::from(sign.0) + usize::from(sign.1) + usize::from(sign.2));
        prop_assert_eq!(message.check_integrity(&key).is_ok(), sign.0 || sign.1);
        prop_assert_eq!(message.check_fingerprint(), sign.2);
        read_all(&message);
    }

    #[test]
    fn a_small_buffer_is_an_error_and_nothing_is_written_behind_it(room in 0usize..160, attributes in any_attributes()) {
        let mut buffer = [0xAA; 400];
        let (inside, outside) = buffer.split_at_mut(room);
        let mut writer = MessageWriter::new(inside, Class::Request, Method::BINDING, ID);
        for (kind, value) in &attributes {
            writer.raw(*kind, value);
        }
        writer.integrity(&Key::short_term("password")).fingerprint();
        let needed = 20 + attributes.iter().map(|(_, value)| 4 + value.len().next_multiple_of(4)).sum::<usize>() + 24 + 8;
        prop_assert_eq!(writer.finish(), if needed <= room { Ok(needed) } else { Err(WriteError::NoRoom) });
        prop_assert!(outside.iter().all(|&byte| byte == 0xAA));
    }

    #[test]
    fn addresses_survive(ip in any::<[u8; 16]>(), v4 in any::<bool>(), port in any::<u16>(), id in any::<[u8; 12]>()) {
        let address = if v4 {
            std::net::SocketAddr::from(([ip[0], ip[1], ip[2], ip[3]], port))
        } else {
            std::net::SocketAddr::from((ip, port))
        };
        let mut buffer = [0; 80];
        let length = MessageWriter::new(&mut buffer, Class::Success, Method::BINDING, TransactionId(id))
            .xor_address(kind::XOR_MAPPED_ADDRESS, address)
            .address(kind::MAPPED_ADDRESS, address)
            .finish()
            .unwrap();
        let message = Message::parse(&buffer[..length]).unwrap();
        prop_assert_eq!(message.xor_mapped_address(), Some(address));
        prop_assert_eq!(message.mapped_address(), Some(address));
    }
}

#[test]
fn headers_that_are_not_stun_are_refused() {
    let good = write(|_| {});
    let with = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes
    };
    assert_eq!(error(&[]), (ParseErrorKind::Truncated, 0));
    assert_eq!(error(&good[..19]), (ParseErrorKind::Truncated, 19));
    assert_eq!(error(&with(0, 0x40)), (ParseErrorKind::NotStun, 0));
    assert_eq!(error(&with(0, 0x80)), (ParseErrorKind::NotStun, 0));
    assert_eq!(error(&with(3, 2)), (ParseErrorKind::WrongLength, 2));
    assert_eq!(error(&with(3, 4)), (ParseErrorKind::WrongLength, 2));
    assert_eq!(error(&with(7, 0x43)), (ParseErrorKind::NotStun, 4));
    let mut long = good.clone();
    long.extend([0; 4]);
    assert_eq!(error(&long), (ParseErrorKind::WrongLength, 2), "nothing may follow the message");
}

/// The padded length of 0xFFFD to 0xFFFF is 0x10000, which 16 bits cannot hold (coturn #1844, #1964).
#[test]
fn attribute_lengths_do_not_wrap() {
    for length in [4u16, 5, 100, 0xFFFC, 0xFFFD, 0xFFFE, 0xFFFF] {
        let mut bytes = write(|writer| {
            writer.raw(kind::SOFTWARE, b"");
        });
        bytes[22..24].copy_from_slice(&length.to_be_bytes());
        assert_eq!(error(&bytes), (ParseErrorKind::AttributeBounds, 20), "{length}");
    }
}

#[test]
fn messages_longer_than_their_length_field_are_not_written() {
    let mut buffer = vec![0; 200_000];
    let mut start = |value: usize, more: usize| {
        MessageWriter::new(&mut buffer, Class::Indication, Method::DATA, ID)
            .raw(kind::DATA, &vec![1; value])
            .raw(kind::SOFTWARE, &vec![1; more])
            .finish()
    };
    assert_eq!(start(65_524, 0), Ok(20 + 4 + 65_524 + 4));
    assert_eq!(start(65_524, 1), Err(WriteError::NoRoom));
    assert_eq!(start(65_536, 0), Err(WriteError::NoRoom), "the attribute's own length field");
    assert_eq!(start(131_072, 0), Err(WriteError::NoRoom));
    let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::DATA, ID);
    writer.raw(kind::DATA, &vec![1; 65_528]);
    assert_eq!(writer.integrity(&Key::short_term("x")).fingerprint().finish(), Err(WriteError::NoRoom));
}

#[test]
fn data_is_written_in_place_and_its_end_padded() {
    let mut buffer = [0xEE; 64];
    let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, ID);
    let used = writer.data_in_place(kind::DATA, 30, &mut |space| {
        assert_eq!(space.len(), 30);
        space[..5].copy_from_slice(b"hello");
        5
    });
    assert_eq!(used, 5);
    let length = writer.finish().unwrap();
    assert_eq!(buffer[20..length], *b"\x00\x13\x00\x05hello\0\0\0");

    let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, ID);
    assert_eq!(writer.data_in_place(kind::DATA, 41, &mut |_| panic!("it does not fit")), 0);
    assert_eq!(writer.finish(), Err(WriteError::NoRoom));
}

#[test]
fn error_codes_outside_their_range_are_not_written() {
    for code in [0, 299, 700, u16::MAX] {
        let mut buffer = [0; 64];
        let mut writer = MessageWriter::new(&mut buffer, Class::Error, Method::BINDING, ID);
        assert!(writer.error_code(code, "").finish().is_err(), "{code}");
    }
}

#[test]
fn padding_of_any_value_is_ignored() {
    let mut bytes = write(|writer| {
        writer.raw(kind::SOFTWARE, b"x").raw(kind::REALM, b"y");
    });
    bytes[25..28].fill(0xFF);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.software(), message.realm()), (Some("x"), Some("y")));
}

#[test]
fn of_equal_attributes_the_first_wins() {
    let bytes = write(|writer| {
        writer.xor_address(kind::XOR_PEER_ADDRESS, "192.0.2.1:1".parse().unwrap());
        writer.xor_address(kind::XOR_PEER_ADDRESS, "127.0.0.1:2".parse().unwrap());
        writer.raw(kind::XOR_PEER_ADDRESS, b"malformed");
    });
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.xor_address(kind::XOR_PEER_ADDRESS), Some("192.0.2.1:1".parse().unwrap()));
    assert_eq!(
        message.xor_addresses(kind::XOR_PEER_ADDRESS).collect::<Vec<_>>(),
        [Some("192.0.2.1:1".parse().unwrap()), Some("127.0.0.1:2".parse().unwrap()), None]
    );
}

/// RFC 8489 §9: unsigned attributes behind the signature must not be acted on.
#[test]
fn attributes_behind_the_signature_do_not_count() {
    let key = Key::short_term("password");
    let kinds =
        |bytes: &[u8]| Message::parse(bytes).unwrap().attributes().map(|a| a.kind).collect::<Vec<_>>();

    let sha1 = write(|writer| {
        writer.string(kind::USERNAME, "a").integrity(&key).flag(kind::USE_CANDIDATE).integrity_sha256(&key);
        writer.u32(kind::PRIORITY, 1).fingerprint();
    });
    let message = Message::parse(&sha1).unwrap();
    assert_eq!(
        kinds(&sha1),
        [kind::USERNAME, kind::MESSAGE_INTEGRITY, kind::MESSAGE_INTEGRITY_SHA256, kind::FINGERPRINT]
    );
    assert!(!message.use_candidate() && message.priority().is_none());
    assert!(message.unknown_comprehension_required(&[]).is_empty());
    assert!(message.check_integrity(&key).is_ok() && message.check_fingerprint());

    let sha256 = write(|writer| {
        writer.integrity_sha256(&key).integrity(&key).flag(kind::USE_CANDIDATE).fingerprint();
    });
    assert_eq!(kinds(&sha256), [kind::MESSAGE_INTEGRITY_SHA256, kind::FINGERPRINT]);

    let twice = write(|writer| {
        writer.integrity(&key).integrity(&Key::short_term("other"));
    });
    assert_eq!(kinds(&twice), [kind::MESSAGE_INTEGRITY]);
    assert!(Message::parse(&twice).unwrap().check_integrity(&key).is_ok());
}

#[test]
fn nothing_may_follow_the_fingerprint() {
    let bytes = write(|writer| {
        writer.fingerprint().string(kind::SOFTWARE, "x");
    });
    assert_eq!(error(&bytes), (ParseErrorKind::AfterFingerprint, 28));
}

#[test]
fn a_changed_message_has_a_wrong_fingerprint() {
    let good = write(|writer| {
        writer.string(kind::SOFTWARE, "abcd").fingerprint();
    });
    assert!(Message::parse(&good).unwrap().check_fingerprint());
    for bit in 0..8 * good.len() {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(!Message::parse(&bytes).is_ok_and(|message| message.check_fingerprint()), "bit {bit}");
    }
}

/// A truncated HMAC is easier to guess (RFC 8489 §14.6 leaves it to usages, and none of ours wants it).
#[test]
fn truncated_signatures_are_refused() {
    let key = Key::short_term("password");
    for (kind, length) in [
        (kind::MESSAGE_INTEGRITY_SHA256, 16),
        (kind::MESSAGE_INTEGRITY_SHA256, 0),
        (kind::MESSAGE_INTEGRITY, 4),
    ] {
        let whole = write(|writer| {
            match kind {
                kind::MESSAGE_INTEGRITY => writer.integrity(&key),
                _ => writer.integrity_sha256(&key),
            };
        });
        let bytes = write(|writer| {
            writer.raw(kind, &whole[24..24 + length]);
        });
        assert_eq!(Message::parse(&bytes).unwrap().check_integrity(&key), Err(IntegrityError::Mismatch));
    }
    let unsigned = write(|_| {});
    assert_eq!(Message::parse(&unsigned).unwrap().check_integrity(&key), Err(IntegrityError::Missing));
}

/// Whoever can take the signature out must not thereby choose the weaker one that is left.
#[test]
fn a_wrong_sha256_signature_is_not_saved_by_a_right_sha1_one() {
    let (right, wrong) = (Key::short_term("password"), Key::short_term("wrong"));
    let bytes = write(|writer| {
        writer.integrity(&right).integrity_sha256(&wrong);
    });
    assert_eq!(Message::parse(&bytes).unwrap().check_integrity(&right), Err(IntegrityError::Mismatch));
}

#[test]
fn unknown_attributes_are_listed_once_each_and_not_without_end() {
    let bytes = write(|writer| {
        writer
            .flag(AttributeKind(0x7000))
            .flag(AttributeKind(0x7000))
            .flag(AttributeKind(0x9000))
            .flag(kind::PRIORITY);
    });
    let message = Message::parse(&bytes).unwrap();
    assert_eq!(message.unknown_comprehension_required(&[kind::PRIORITY])[..], [0x7000]);
    assert_eq!(message.unknown_comprehension_required(&[])[..], [0x7000, kind::PRIORITY.0]);

    let many = write(|writer| {
        (0x7000..0x7400).for_each(|kind| {
            writer.flag(AttributeKind(kind));
        });
    });
    assert_eq!(Message::parse(&many).unwrap().unknown_comprehension_required(&[]).len(), MAX_UNKNOWN);
}

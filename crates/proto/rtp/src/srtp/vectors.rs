//! The vectors that RFC 3711, RFC 6188 and RFC 7714 print.

use crate::layout::Layout;
use crate::srtp::Profile;
use crate::srtp::clear::Clear;
use crate::srtp::transform::Transform;

/// The bytes that a text of hexadecimal digits and spaces stands for.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

/// One of the values of a file.
fn value(file: &str, name: &str) -> Vec<u8> {
    let line = file.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    bytes(line.unwrap_or_else(|| panic!("no {name}")))
}

fn transform(file: &str, profile: Profile, key: &str) -> Transform {
    let mut salt = [0; 14];
    let value_of_salt = value(file, "salt");
    salt[..value_of_salt.len()].copy_from_slice(&value_of_salt);
    Transform::new(profile, &value(file, key), &[0; 20], salt, profile.tag_bytes())
}

#[test]
fn counter_mode_is_that_of_rfc_3711_and_rfc_6188() {
    for (file, profile) in [
        (include_str!("../../tests/vectors/rfc3711-b.2.txt"), Profile::Aes128CmSha1_80),
        (include_str!("../../tests/vectors/rfc6188-7.1.txt"), Profile::Aes256CmSha1_80),
    ] {
        // The keystream is what zeros become.
        let mut packet = vec![0; 12 + 65_282 * 16 + 10];
        packet[0] = 0x80;
        let clear = Clear::header(&Layout::parse(&packet).unwrap());
        transform(file, profile, "key").seal(&mut packet, clear, 0, 0);
        let stream = &packet[12..packet.len() - 10];
        assert_eq!(stream[..48], value(file, "first"), "{profile:?}");
        assert_eq!(stream[0xfeff * 16..], value(file, "last"), "{profile:?}");
    }
}

#[test]
fn galois_counter_mode_is_that_of_rfc_7714() {
    let file = include_str!("../../tests/vectors/rfc7714-rtp.txt");
    for (profile, bits) in [(Profile::AeadAes128Gcm, "128"), (Profile::AeadAes256Gcm, "256")] {
        let transform = transform(file, profile, &format!("key-{bits}"));
        let plain = value(file, "packet");
        let encrypted = Clear::header(&Layout::parse(&plain).unwrap());
        let tagged = Clear { bytes: plain.len(), ..encrypted };
        for (clear, sealed) in [(encrypted, "sealed"), (tagged, "tagged")] {
            let sealed = value(file, &format!("{sealed}-{bits}"));
            let mut packet = [&plain[..], &[0; 16]].concat();
            transform.seal(&mut packet, clear, 0x5501_a0b2, 0xf17b);
            assert_eq!(packet, sealed);
            transform.open(&mut packet, clear, 0x5501_a0b2, 0xf17b).unwrap();
            assert_eq!(packet[..plain.len()], plain);
        }
    }
}

#[test]
fn galois_counter_mode_of_rtcp_is_that_of_rfc_7714() {
    let file = include_str!("../../tests/vectors/rfc7714-rtcp.txt");
    for (profile, bits) in [(Profile::AeadAes128Gcm, "128"), (Profile::AeadAes256Gcm, "256")] {
        let transform = transform(file, profile, &format!("key-{bits}"));
        let plain = value(file, "packet");
        let mut packet = [&plain[..], &[0; 20]].concat();
        transform.seal_rtcp(&mut packet, 0x5d4);
        assert_eq!(packet, value(file, &format!("sealed-{bits}")));
        for sealed in ["sealed", "tagged"] {
            let mut packet = value(file, &format!("{sealed}-{bits}"));
            assert_eq!(transform.rtcp_index(&packet), 0x5d4);
            transform.open_rtcp(&mut packet).unwrap();
            assert_eq!(packet[..plain.len()], plain);
        }
    }
}

//! What protecting costs: nanoseconds per packet of 1,200 bytes, beside the bare cipher in the same run.
//!
//! `cargo run --release -p sterna-rtp --example srtp`

use std::hint::black_box;
use std::time::Duration;

use crypto::aead::{Aead, AeadKey};
use sterna_rtp::srtp::{MasterKey, Profile, Protect, Unprotect};
use sterna_rtp::{Header, PacketWriter};

const PACKET: usize = 1200;
const BATCH: usize = 1000;
const ROUNDS: usize = 60;

fn main() {
    let (mut seal, mut open) = (Best::default(), Best::default());
    let key = AeadKey::new(Aead::Aes128Gcm, &[7; 16]);
    let mut number = 0u64;
    for _ in 0..ROUNDS {
        let mut packets = packets(&mut 0);
        let nonce = |number: u64| {
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&number.to_be_bytes());
            nonce
        };
        seal.time(|| {
            for (at, packet) in packets.iter_mut().enumerate() {
                let (head, rest) = packet.split_at_mut(12);
                key.seal(nonce(number + at as u64), head, &mut rest[..PACKET - 12 + 16]);
            }
        });
        open.time(|| {
            for (at, packet) in packets.iter_mut().enumerate() {
                let (head, rest) = packet.split_at_mut(12);
                let opened = key.open(nonce(number + at as u64), head, &mut rest[..PACKET - 12 + 16]);
                black_box(opened.expect("it was sealed with this key"));
            }
        });
        number += BATCH as u64;
    }
    println!(
        "{:<26} protect {:>6.0} ns   unprotect {:>6.0} ns",
        "the bare AES-128-GCM",
        seal.ns(),
        open.ns()
    );
    for profile in [
        Profile::AeadAes128Gcm,
        Profile::AeadAes256Gcm,
        Profile::Aes128CmSha1_80,
        Profile::Aes128CmSha1_32,
        Profile::Aes256CmSha1_80,
    ] {
        let (protecting, unprotecting) = measure(profile);
        println!(
            "{:<26} protect {:>6.0} ns   unprotect {:>6.0} ns   {:.2} and {:.2} times the bare cipher",
            profile.name(),
            protecting.ns(),
            unprotecting.ns(),
            protecting.ns() / seal.ns(),
            unprotecting.ns() / open.ns(),
        );
    }
}

fn measure(profile: Profile) -> (Best, Best) {
    let key = MasterKey::new(profile, &[7; 32][..profile.key_bytes()], &[9; 14][..profile.salt_bytes()]);
    let key = key.expect("the lengths are the profile's");
    let (mut protect, mut unprotect) = (Protect::new(&key), Unprotect::new(&key));
    let (mut protecting, mut unprotecting) = (Best::default(), Best::default());
    let mut number = 0;
    for _ in 0..ROUNDS {
        let mut packets = packets(&mut number);
        let mut length = 0;
        protecting.time(|| {
            for packet in &mut packets {
                length = protect.protect(packet, PACKET).expect("each number is used once");
            }
        });
        unprotecting.time(|| {
            for packet in &mut packets {
                black_box(unprotect.unprotect(&mut packet[..length]).expect("it was protected"));
            }
        });
    }
    (protecting, unprotecting)
}

/// Packets with numbers in a row, with room for a tag.
fn packets(number: &mut u16) -> Vec<[u8; PACKET + 20]> {
    let packet = |_| {
        let mut packet = [0; PACKET + 20];
        let header = Header { payload_type: 96, sequence_number: *number, ssrc: 1, ..Header::default() };
        *number = number.wrapping_add(1);
        let written = PacketWriter::new(&mut packet, &header).payload(&[0x55; PACKET - 12]);
        assert_eq!(written, Ok(PACKET));
        packet
    };
    (0..BATCH).map(packet).collect()
}

/// The shortest of the times that a batch took: what the machine can do when nobody disturbs it.
struct Best(Duration);

impl Default for Best {
    fn default() -> Self {
        Self(Duration::MAX)
    }
}

impl Best {
    fn time(&mut self, run: impl FnOnce()) {
        #[allow(clippy::disallowed_methods, clippy::disallowed_types)] // It measures; the crate does not.
        let start = std::time::Instant::now();
        run();
        self.0 = self.0.min(start.elapsed());
    }

    fn ns(&self) -> f64 {
        self.0.as_nanos() as f64 / BATCH as f64
    }
}

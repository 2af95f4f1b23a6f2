//! What a session protects, its peer reads, and nobody else has a say.

use proptest::prelude::*;
use sansio::Outbox;
use sterna_rtp::extension::{AudioLevel, Form, Mid};
use sterna_rtp::srtp::{
    MAX_SOURCES, MasterKey, Profile, Protect, ProtectError, Refusal, Refusals, Unprotect,
};
use sterna_rtp::{Header, Packet, PacketWriter};

const PROFILES: [Profile; 6] = [
    Profile::AeadAes128Gcm,
    Profile::AeadAes256Gcm,
    Profile::Aes128CmSha1_80,
    Profile::Aes128CmSha1_32,
    Profile::Aes256CmSha1_80,
    Profile::Aes256CmSha1_32,
];

fn key(profile: Profile) -> MasterKey {
    MasterKey::new(profile, &[7; 32][..profile.key_bytes()], &[9; 14][..profile.salt_bytes()]).unwrap()
}

fn packet(ssrc: u32, sequence_number: u16) -> Vec<u8> {
    let mut bytes = vec![0; 100];
    let header = Header { payload_type: 96, sequence_number, timestamp: 1, ssrc, marker: false };
    let mut writer = PacketWriter::new(&mut bytes, &header);
    writer.extension(3, &Mid("video"));
    let length = writer.payload(b"a picture").unwrap();
    bytes.truncate(length);
    bytes
}

fn protected(protect: &mut Protect, mut plain: Vec<u8>) -> Result<Vec<u8>, ProtectError> {
    let length = plain.len();
    plain.resize(length + protect.overhead(), 0);
    let length = protect.protect(&mut plain, length)?;
    plain.truncate(length);
    Ok(plain)
}

fn receiver_report(ssrc: u32) -> Vec<u8> {
    [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat()
}

fn protected_rtcp(protect: &mut Protect, mut plain: Vec<u8>) -> Vec<u8> {
    let length = plain.len();
    plain.resize(length + protect.rtcp_overhead(), 0);
    assert_eq!(protect.protect_rtcp(&mut plain, length), Ok(plain.len()));
    plain
}

#[test]
fn every_profile_takes_packets_there_and_back() {
    for profile in PROFILES {
        let (mut protect, mut unprotect) = (Protect::new(&key(profile)), Unprotect::new(&key(profile)));
        let plain = packet(1, 5);
        let mut sealed = protected(&mut protect, plain.clone()).unwrap();
        assert_eq!(sealed.len(), plain.len() + profile.tag_bytes(), "{profile:?}");
        let header = Packet::parse(&plain).unwrap().header_bytes();
        assert_eq!(sealed[..header], plain[..header], "the header stays readable");
        assert!(!sealed.windows(9).any(|window| window == b"a picture"));
        assert_eq!(*unprotect.unprotect(&mut sealed).unwrap(), plain[..]);

        let report = [receiver_report(1), b"\x80\xcb\0\x01\0\0\0\x01".to_vec()].concat();
        let mut sealed = protected_rtcp(&mut protect, report.clone());
        assert_eq!(*unprotect.unprotect_rtcp(&mut sealed).unwrap(), report[..]);
        assert_eq!(unprotect.refusals(), Refusals::default());
    }
}

#[test]
fn a_changed_bit_anywhere_is_noticed_and_changes_nothing() {
    for profile in PROFILES {
        let (mut protect, mut unprotect) = (Protect::new(&key(profile)), Unprotect::new(&key(profile)));
        let sealed = protected(&mut protect, packet(1, 5)).unwrap();
        let report = protected_rtcp(&mut protect, receiver_report(1));
        for bit in 0..sealed.len() * 8 {
            let mut forged = sealed.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect.unprotect(&mut forged).is_err(), "{profile:?}, bit {bit}");
        }
        for bit in 0..report.len() * 8 {
            let mut forged = report.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(unprotect.unprotect_rtcp(&mut forged).is_err(), "{profile:?}, bit {bit}");
        }
        let refusals = unprotect.refusals();
        assert_eq!(refusals.forged + refusals.malformed, ((sealed.len() + report.len()) * 8) as u64);
        assert!(refusals.malformed < 120, "{refusals:?}");
        // No source that was made up has been remembered, no number been taken.
        unprotect.unprotect(&mut sealed.clone()).unwrap();
        unprotect.unprotect_rtcp(&mut report.clone()).unwrap();
    }
}

#[test]
fn a_packet_is_had_once() {
    let (mut protect, mut unprotect) = (Protect::new(&key(PROFILES[0])), Unprotect::new(&key(PROFILES[0])));
    let early = protected(&mut protect, packet(1, 5)).unwrap();
    let late = protected(&mut protect, packet(1, 900)).unwrap();
    let report = protected_rtcp(&mut protect, receiver_report(1));
    unprotect.unprotect(&mut late.clone()).unwrap();
    unprotect.unprotect(&mut early.clone()).unwrap();
    unprotect.unprotect_rtcp(&mut report.clone()).unwrap();
    assert_eq!(unprotect.unprotect(&mut early.clone()), Err(Refusal::Repeated));
    assert_eq!(unprotect.unprotect_rtcp(&mut report.clone()), Err(Refusal::Repeated));
    assert_eq!(unprotect.refusals().repeated, 2);
}

/// Two plaintexts under one number would show what their difference is, and with GCM the key of the tags.
#[test]
fn a_sender_never_uses_a_number_twice() {
    let mut protect = Protect::new(&key(PROFILES[0]));
    for number in [5, 6, 2000] {
        protected(&mut protect, packet(1, number)).unwrap();
    }
    for number in [5, 6, 2000, 900, 60_000] {
        assert_eq!(protected(&mut protect, packet(1, number)), Err(ProtectError::Repeated), "{number}");
    }
    protected(&mut protect, packet(1, 1999)).unwrap();
    protected(&mut protect, packet(2, 5)).unwrap();
}

#[test]
fn rollovers_are_counted_on_both_sides() {
    for profile in [PROFILES[0], PROFILES[2]] {
        let (mut protect, mut unprotect) = (Protect::new(&key(profile)), Unprotect::new(&key(profile)));
        let mut first = None;
        for step in 0..20u32 {
            // In large steps around the circle three times; every other packet comes after its follower.
            let number = |step: u32| (step * 10_000) as u16;
            let mut sealed = protected(&mut protect, packet(1, number(step))).unwrap();
            first.get_or_insert(sealed.clone());
            let mut overtaken = protected(&mut protect, packet(1, number(step).wrapping_sub(1)));
            unprotect.unprotect(&mut sealed).unwrap();
            if let Ok(overtaken) = &mut overtaken {
                unprotect.unprotect(overtaken).unwrap();
            } else {
                assert_eq!(step, 0, "before the first there is none");
            }
        }
        // The same bytes under another rollover are forged, not had: the number is vouched for.
        let mut replayed = first.unwrap();
        assert_eq!(unprotect.unprotect(&mut replayed), Err(Refusal::Forged));
    }
}

#[test]
fn sources_are_bounded_and_only_real_ones_count() {
    let (mut protect, mut unprotect) = (Protect::new(&key(PROFILES[2])), Unprotect::new(&key(PROFILES[2])));
    for ssrc in 0..2 * MAX_SOURCES as u32 {
        let mut forged = [packet(ssrc, 1), vec![0; 10]].concat();
        assert_eq!(unprotect.unprotect(&mut forged), Err(Refusal::Forged));
    }
    for ssrc in 0..MAX_SOURCES as u32 {
        let mut sealed = protected(&mut protect, packet(ssrc.wrapping_mul(0x9e37_79b9), 1)).unwrap();
        unprotect.unprotect(&mut sealed).unwrap();
    }
    assert_eq!(protected(&mut protect, packet(1, 1)), Err(ProtectError::TooManySources));
    let mut other = Protect::new(&key(PROFILES[2]));
    let mut sealed = protected(&mut other, packet(1, 1)).unwrap();
    assert_eq!(unprotect.unprotect(&mut sealed), Err(Refusal::TooManySources));
    let mut known = protected(&mut protect, packet(0, 2)).unwrap();
    unprotect.unprotect(&mut known).unwrap();
}

#[test]
fn a_master_key_may_be_named() {
    for profile in PROFILES {
        let (mut protect, mut unprotect) =
            (Protect::new(&key(profile)), Unprotect::with_mki(&key(profile), 4));
        // RFC 3711 §3.1: before a MAC; RFC 7714 §8.2: behind the tag of an AEAD.
        let name = |mut sealed: Vec<u8>, tag: usize| {
            let aead = matches!(profile, Profile::AeadAes128Gcm | Profile::AeadAes256Gcm);
            let at = if aead { sealed.len() } else { sealed.len() - tag };
            sealed.splice(at..at, *b"\0\0\0\x01");
            sealed
        };
        let mut sealed = name(protected(&mut protect, packet(1, 5)).unwrap(), profile.tag_bytes());
        assert_eq!(*unprotect.unprotect(&mut sealed).unwrap(), packet(1, 5)[..]);
        let mut sealed = name(protected_rtcp(&mut protect, receiver_report(1)), 10);
        assert_eq!(*unprotect.unprotect_rtcp(&mut sealed).unwrap(), receiver_report(1)[..]);
    }
}

#[test]
fn cryptex_hides_sources_and_extensions() {
    for profile in PROFILES {
        let (mut protect, mut unprotect) = (Protect::new(&key(profile)), Unprotect::new(&key(profile)));
        protect.set_cryptex(true);
        let mut number = 0;
        for sources in [&[][..], &[0xa1a1_a1a1, 0xb2b2_b2b2]] {
            for form in [None, Some(Form::OneByte), Some(Form::TwoByte)] {
                number += 1;
                let mut plain = vec![0; 200];
                let header = Header { sequence_number: number, ssrc: 1, ..Header::default() };
                let mut writer = PacketWriter::new(&mut plain, &header);
                writer.contributing_sources(sources);
                if let Some(form) = form {
                    writer
                        .form(form)
                        .extension(1, &Mid("hidden"))
                        .extension(2, &AudioLevel { below_full: 3, voice: true });
                }
                let length = writer.payload(b"sound").unwrap();
                plain.truncate(length);
                let mut sealed = protected(&mut protect, plain.clone()).unwrap();
                let open = Packet::parse(&sealed).unwrap();
                assert_eq!(open.extensions().count(), 0, "they cannot be read on the way");
                assert!(!sealed.windows(6).any(|window| window == b"hidden"));
                assert!(!sealed.windows(4).any(|window| window == [0xa1; 4]));
                let opened = Packet::parse(unprotect.unprotect(&mut sealed).unwrap()).unwrap();
                assert_eq!(opened.contributing_sources().collect::<Vec<_>>(), sources);
                assert_eq!(opened.extension::<Mid>(1), form.map(|_| Mid("hidden")));
                assert_eq!(opened.payload(), b"sound");
                if form.is_some() || sources.is_empty() {
                    assert_eq!(opened.bytes(), plain, "nothing was added");
                }
            }
        }
    }
}

#[test]
fn a_buffer_without_room_for_the_tag_is_left_alone() {
    let mut protect = Protect::new(&key(PROFILES[0]));
    let mut bytes = packet(1, 1);
    let length = bytes.len();
    assert_eq!(protect.protect(&mut bytes, length), Err(ProtectError::NoRoom));
    assert_eq!(protect.protect(&mut bytes, length + 1), Err(ProtectError::NoRoom));
    assert_eq!(bytes, packet(1, 1));
    assert_eq!(protect.protect(&mut bytes, 11), Err(ProtectError::Malformed));
    assert_eq!(protect.protect_rtcp(&mut bytes, 7), Err(ProtectError::Malformed));
    bytes.resize(length + 16, 0);
    assert_eq!(protect.protect(&mut bytes, length), Ok(length + 16));
}

#[test]
fn a_lane_protects_what_is_written_through_it() {
    for profile in PROFILES {
        let (mut protect, mut unprotect) = (Protect::new(&key(profile)), Unprotect::new(&key(profile)));
        let mut out: Vec<Vec<u8>> = Vec::new();
        let mut lane = protect.lane(&mut out);
        assert!(lane.send_bytes((), &packet(1, 5)));
        assert!(lane.send_bytes((), &receiver_report(1)));
        assert!(lane.send_bytes((), &packet(1, 5)), "there was room, though it is not sent");
        assert!(lane.send((), 100, &mut |_| 0));
        assert_eq!(protect.refused(), 1);
        let [video, report] = &mut out[..] else { panic!("{} packets", out.len()) };
        assert_eq!(*unprotect.unprotect(video).unwrap(), packet(1, 5)[..]);
        assert_eq!(*unprotect.unprotect_rtcp(report).unwrap(), receiver_report(1)[..]);
        assert!(!protect.lane(&mut sansio::Full).send_bytes((), &packet(1, 6)));
        assert!(protected(&mut protect, packet(1, 6)).is_ok(), "what had no room has used no number");
    }
}

#[test]
fn nothing_is_allocated_for_a_packet() {
    for profile in PROFILES {
        let (mut protect, mut unprotect) = (Protect::new(&key(profile)), Unprotect::new(&key(profile)));
        let mut buffer = [0; 300];
        let report = receiver_report(7);
        let mut round = |number: u16| {
            let header = Header { sequence_number: number, ssrc: 7, ..Header::default() };
            let mut writer = PacketWriter::new(&mut buffer, &header);
            writer.extension(1, &Mid("0"));
            let length = writer.payload(&[1; 200]).unwrap();
            let length = protect.protect(&mut buffer, length).unwrap();
            let plain = unprotect.unprotect(&mut buffer[..length]).unwrap();
            assert_eq!(Packet::parse(plain).unwrap().payload(), [1; 200]);
            buffer[..8].copy_from_slice(&report);
            let length = protect.protect_rtcp(&mut buffer, 8).unwrap();
            unprotect.unprotect_rtcp(&mut buffer[..length]).unwrap();
        };
        round(0);
        let counted = allocation_counter::measure(|| (1..100).for_each(&mut round));
        assert_eq!(counted.count_total, 0, "{profile:?}");
    }
}

proptest! {
    #[test]
    fn noise_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), profile in 0..6usize, mki in 0..6u8) {
        let mut unprotect = Unprotect::with_mki(&key(PROFILES[profile]), mki);
        prop_assert!(unprotect.unprotect(&mut bytes.clone()).is_err());
        prop_assert!(unprotect.unprotect_rtcp(&mut bytes.clone()).is_err());
        let length = bytes.len();
        let mut room = [bytes, vec![0; 40]].concat();
        let mut protect = Protect::new(&key(PROFILES[profile]));
        protect.set_cryptex(mki & 1 == 1);
        if let Ok(length) = protect.protect(&mut room, length) {
            prop_assert!(Unprotect::new(&key(PROFILES[profile])).unprotect(&mut room[..length]).is_ok());
        }
    }
}

//! What strangers may send where media is expected: packets of RTP and RTCP, protected ones, and payloads.

use rtp::codecs::{Codec, Packetizer};
use rtp::extension::{AbsoluteCaptureTime, AudioLevel, Mid};
use rtp::rtcp::{Compound, CompoundWriter};
use rtp::srtp::{MasterKey, Profile, Protect, Unprotect};
use rtp::{Packet, Rewriter};

/// A packet of RTP: what is read lies within, and a rewritten extension is the one that was read.
pub(crate) fn rtp(data: &[u8]) {
    let Ok(packet) = Packet::parse(data) else { return };
    assert_eq!(packet.header_bytes() + packet.payload().len() + packet.padding(), data.len());
    assert!(packet.contributing_sources().count() <= 15);
    let _ = (packet.extension::<Mid>(1), packet.extension::<AudioLevel>(2));
    let _ = packet.extension::<AbsoluteCaptureTime>(3);
    let mut copy = data.to_vec();
    let mut rewriter = Rewriter::new(&mut copy).expect("it has been read");
    for (id, _) in packet.extensions() {
        let (_, first) = packet.extensions().find(|(known, _)| *known == id).expect("it has been seen");
        assert_eq!(rewriter.extension(id).as_deref(), Some(first));
    }
}

/// A compound of RTCP: what was read and is written is read again as the same.
pub(crate) fn rtcp(data: &[u8]) {
    let Ok(compound) = Compound::parse(data) else { return };
    for packet in compound.flatten() {
        // Lost packets in any order may take more room than they came in.
        let mut buffer = vec![0; 40 * data.len() + 100];
        let mut writer = CompoundWriter::new(&mut buffer);
        if writer.add(&packet).is_err() {
            continue;
        }
        let written = writer.finish();
        let again = Compound::parse(&buffer[..written]).expect("what we write we can read");
        let again: Vec<_> = again.collect();
        assert_eq!(again.len(), 1);
        assert!(again[0].is_ok(), "{packet:?} {again:?}");
    }
}

/// SRTP and SRTCP: nobody without the key has a say; what a packet is protected to opens again.
pub(crate) fn srtp(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let profile =
        [Profile::AeadAes128Gcm, Profile::AeadAes256Gcm, Profile::Aes128CmSha1_80, Profile::Aes256CmSha1_80]
            [usize::from(choice & 3)];
    let key = MasterKey::new(profile, &[7; 32][..profile.key_bytes()], &[9; 14][..profile.salt_bytes()])
        .expect("the lengths are the profile's");
    let mut unprotect = Unprotect::with_mki(&key, choice >> 2 & 7);
    assert!(unprotect.unprotect(&mut data.to_vec()).is_err());
    assert!(unprotect.unprotect_rtcp(&mut data.to_vec()).is_err());

    let (mut protect, mut unprotect) = (Protect::new(&key), Unprotect::new(&key));
    let cryptex = choice & 0x80 != 0;
    protect.set_cryptex(cryptex);
    let mut buffer = [data, &[0; 24]].concat();
    if let Ok(length) = protect.protect(&mut buffer, data.len()) {
        let plain = unprotect.unprotect(&mut buffer[..length]);
        // A packet that pretends to be encrypted as a whole is taken at its word.
        assert!(plain.is_ok_and(|plain| cryptex || plain == data) || pretends(data));
        assert!(
            protect.protect(&mut [data, &[0; 24]].concat(), data.len()).is_err(),
            "a number is used once"
        );
    }
    let mut buffer = [data, &[0; 24]].concat();
    if let Ok(length) = protect.protect_rtcp(&mut buffer, data.len()) {
        assert_eq!(unprotect.unprotect_rtcp(&mut buffer[..length]).as_deref(), Ok(data));
    }
}

/// Whether a header extension bears the marks of RFC 9335.
fn pretends(data: &[u8]) -> bool {
    let at = 12 + 4 * usize::from(data[0] & 0xf);
    data.get(at + 1) == Some(&0xde) && matches!(data[at], 0xc0 | 0xc2)
}

/// Payloads of a frame, each behind its length (16 bits): nothing comes out that was not put in; and what comes out,
/// cut again, is the same.
fn payloads(codec: Codec, mut data: &[u8]) {
    let mut payloads = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk() {
        let (payload, rest) = rest.split_at(rest.len().min(u16::from_be_bytes(*length).into()));
        let _ = codec.inspect(payload);
        payloads.push(payload);
        data = rest;
    }
    let mut frame = Vec::new();
    if codec.depacketize(payloads.iter().copied(), &mut frame).is_err() {
        return;
    }
    // A start code stands before each unit.
    assert!(frame.len() <= 5 * payloads.iter().map(|payload| payload.len()).sum::<usize>());
    let mut cut: Vec<Vec<u8>> = Vec::new();
    let written = Packetizer::new(codec).packetize(&frame, 100, &mut |parts, _| cut.push(parts.concat()));
    // Units of H.264 and H.265 may be what no unit is, and have in them what looks like the start of another.
    if written.is_ok() && !matches!(codec, Codec::H264 | Codec::H265) {
        let mut again = Vec::new();
        assert_eq!(codec.depacketize(cut.iter().map(Vec::as_slice), &mut again), Ok(()));
        assert_eq!(again, frame);
    }
}

/// Payloads of VP8.
pub(crate) fn vp8(data: &[u8]) {
    payloads(Codec::Vp8, data);
}

/// Payloads of VP9.
pub(crate) fn vp9(data: &[u8]) {
    payloads(Codec::Vp9, data);
}

/// Payloads of H.264.
pub(crate) fn h264(data: &[u8]) {
    payloads(Codec::H264, data);
}

/// Payloads of H.265.
pub(crate) fn h265(data: &[u8]) {
    payloads(Codec::H265, data);
}

/// Payloads of AV1.
pub(crate) fn av1(data: &[u8]) {
    payloads(Codec::Av1, data);
}

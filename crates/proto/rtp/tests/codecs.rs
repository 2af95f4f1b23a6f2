//! What is cut is put together again, for every format, and noise is only noise.

use proptest::prelude::*;
use sterna_rtp::codecs::{Codec, MIN_PAYLOAD, PacketizeError, Packetizer, PayloadInfo};

const ALL: [Codec; 8] =
    [Codec::Opus, Codec::Pcmu, Codec::Pcma, Codec::Vp8, Codec::Vp9, Codec::H264, Codec::H265, Codec::Av1];

/// The payloads of a frame; the last one, and only that, is marked.
fn cut(packetizer: &mut Packetizer, frame: &[u8], max: usize) -> Result<Vec<Vec<u8>>, PacketizeError> {
    let mut payloads = Vec::new();
    let mut marks = Vec::new();
    packetizer.packetize(frame, max, &mut |parts, last| {
        payloads.push(parts.concat());
        marks.push(last);
    })?;
    assert!(payloads.iter().all(|payload| payload.len() <= max), "{max}");
    assert_eq!(marks.iter().position(|last| *last), Some(marks.len() - 1));
    Ok(payloads)
}

fn whole(codec: Codec, payloads: &[Vec<u8>]) -> Option<Vec<u8>> {
    let mut frame = Vec::new();
    codec.depacketize(payloads.iter().map(Vec::as_slice), &mut frame).ok().map(|()| frame)
}

/// Units with start codes, as an encoder makes them: no zeros, so that nothing looks like a start code.
fn annex_b(header: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let unit =
        (header, prop::collection::vec(1..=255u8, 1..400)).prop_map(|(header, body)| [header, body].concat());
    prop::collection::vec(unit, 1..8)
        .prop_map(|units| units.iter().flat_map(|unit| [&[0, 0, 0, 1], &unit[..]].concat()).collect())
}

/// Units of AV1 that say their size, some with layers.
fn temporal_unit() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![Just(1u8), Just(3), Just(4), Just(5), Just(6)];
    let unit = (kind, prop::option::of(any::<u8>()), prop::collection::vec(any::<u8>(), 0..400));
    prop::collection::vec(unit, 1..8).prop_map(|units| {
        let mut frame = Vec::new();
        for (kind, layers, body) in units {
            frame.push(kind << 3 | u8::from(layers.is_some()) << 2 | 2);
            frame.extend(layers);
            match body.len() {
                length @ 0..128 => frame.push(length as u8),
                length => frame.extend([length as u8 | 0x80, (length >> 7) as u8]),
            }
            frame.extend(body);
        }
        frame
    })
}

fn frame() -> impl Strategy<Value = (Codec, Vec<u8>)> {
    let bytes = |most| prop::collection::vec(any::<u8>(), 1..most);
    prop_oneof![
        bytes(MIN_PAYLOAD).prop_map(|frame| (Codec::Opus, frame)),
        bytes(2000).prop_map(|frame| (Codec::Vp8, frame)),
        bytes(2000).prop_map(|frame| (Codec::Vp9, frame)),
        annex_b((1..24u8, 0..4u8).prop_map(|(kind, importance)| vec![kind | importance << 5]))
            .prop_map(|frame| (Codec::H264, frame)),
        annex_b((0..48u8, 1..8u8).prop_map(|(kind, temporal)| vec![kind << 1, temporal]))
            .prop_map(|frame| (Codec::H265, frame)),
        temporal_unit().prop_map(|frame| (Codec::Av1, frame)),
    ]
}

proptest! {
    #[test]
    fn frames_go_there_and_back((codec, frame) in frame(), max in MIN_PAYLOAD..1300) {
        let mut packetizer = Packetizer::new(codec);
        for _ in 0..2 {
            let payloads = cut(&mut packetizer, &frame, max).unwrap();
            prop_assert_eq!(whole(codec, &payloads), Some(frame.clone()));
            for (at, payload) in payloads.iter().enumerate() {
                let info = codec.inspect(payload).unwrap();
                prop_assert!(info.starts || at > 0);
            }
            // Nobody takes a frame that begins in its middle for a whole one, where the format lets him know.
            if payloads.len() > 1 && !codec.inspect(&payloads[1]).unwrap().starts {
                prop_assert_eq!(whole(codec, &payloads[1..]), None);
            }
        }
    }

    #[test]
    fn noise_is_only_noise(codec in 0..8usize, payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..5)) {
        let codec = ALL[codec];
        let length: usize = payloads.iter().map(Vec::len).sum();
        for payload in &payloads {
            let _ = codec.inspect(payload);
        }
        if let Some(frame) = whole(codec, &payloads) {
            prop_assert!(frame.len() <= 5 * length, "no more comes out than was put in, but for start codes");
        }
        let _ = cut(&mut Packetizer::new(codec), &payloads[0], MIN_PAYLOAD);
    }
}

#[test]
fn names_are_those_of_descriptions() {
    for codec in ALL {
        assert_eq!(codec.name().to_lowercase().parse(), Ok(codec));
        assert_eq!(codec.to_string(), codec.name());
    }
    assert!("H263".parse::<Codec>().is_err());
    assert_eq!(
        (Codec::Opus.clock_rate(), Codec::Pcmu.clock_rate(), Codec::Vp8.clock_rate()),
        (48_000, 8_000, 90_000)
    );
}

#[test]
fn what_is_no_frame_is_refused() {
    let refuse = |codec, frame: &[u8], max| cut(&mut Packetizer::new(codec), frame, max).unwrap_err();
    for codec in ALL {
        assert_eq!(refuse(codec, &[], 1200), PacketizeError::Malformed, "{codec}");
        assert_eq!(refuse(codec, &[1; 10], MIN_PAYLOAD - 1), PacketizeError::TooSmall, "{codec}");
    }
    assert_eq!(refuse(Codec::Opus, &[1; 101], 100), PacketizeError::TooLarge);
    assert_eq!(refuse(Codec::H264, b"no start code", 1200), PacketizeError::Malformed);
    assert_eq!(refuse(Codec::H264, &[0, 0, 1, 28, 1, 2], 1200), PacketizeError::Malformed);
    assert_eq!(refuse(Codec::H265, &[0, 0, 1, 49 << 1, 1, 2], 1200), PacketizeError::Malformed);
    assert_eq!(refuse(Codec::Av1, &[0x0a, 5, 1], 1200), PacketizeError::Malformed);
    assert_eq!(
        refuse(Codec::Av1, &[0x12, 0], 1200),
        PacketizeError::Malformed,
        "a delimiter alone is nothing"
    );
}

/// RFC 7741 §4.6: the figures.
#[test]
fn the_descriptors_of_vp8_are_read() {
    // A key frame with a picture number of 7 bits.
    let info = Codec::Vp8.inspect(&[0x90, 0x80, 17, 0x50, 0, 0]).unwrap();
    assert_eq!(
        info,
        PayloadInfo { starts: true, key_frame: true, picture_id: Some(17), ..PayloadInfo::default() }
    );
    // 15 bits, TL0PICIDX, a layer in time that one can go up to, and a key index.
    let info = Codec::Vp8.inspect(&[0x90, 0xf0, 0x91, 0x17, 3, 0b0110_0011, 0x51]).unwrap();
    let expected = PayloadInfo {
        starts: true,
        picture_id: Some(0x1117),
        temporal_layer: Some(1),
        layer_sync: true,
        ..PayloadInfo::default()
    };
    assert_eq!(info, expected);
    // The first packet of a later partition does not start a picture.
    assert!(!Codec::Vp8.inspect(&[0x11, 0]).unwrap().starts);
    for cut in [&[][..], &[0x90], &[0x90, 0x80], &[0x90, 0x80, 0x80], &[0x90, 0xf0, 1, 2], &[0x10]] {
        assert!(Codec::Vp8.inspect(cut).is_err(), "{cut:?}");
    }
}

/// RFC 9628 §4.2.
#[test]
fn the_descriptors_of_vp9_are_read() {
    // A key frame with layers, which says how large each of two is, and a group of one picture.
    let structure = [0b0011_1000, 1, 64, 0, 180, 2, 128, 1, 104, 1, 0b0001_0100, 1];
    let payload = [&[0b1010_1010, 5, 0b0011_0000, 9], &structure[..], &[1, 2]].concat();
    let info = Codec::Vp9.inspect(&payload).unwrap();
    let expected = PayloadInfo {
        starts: true,
        key_frame: true,
        picture_id: Some(5),
        temporal_layer: Some(1),
        spatial_layer: Some(0),
        layer_sync: true,
    };
    assert_eq!(info, expected);
    // The layer above is of the same picture, but nobody can begin with it.
    assert!(!Codec::Vp9.inspect(&[0b1010_1000, 5, 0b0000_0010, 9, 1]).unwrap().key_frame);
    // Flexible: three references at most.
    assert!(Codec::Vp9.inspect(&[0b0101_1000, 3, 5, 6, 1]).is_ok());
    assert!(Codec::Vp9.inspect(&[0b0101_1000, 3, 5, 7, 1]).is_err());
    for cut in 0..payload.len() - 1 {
        assert!(Codec::Vp9.inspect(&payload[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn key_frames_of_vp9_are_known_by_their_header() {
    // Marker, profile, "show existing" and type: profiles 0 and 3.
    for (first, key) in [
        (0b1000_0000, true),
        (0b1000_0100, false),
        (0b1000_1000, false),
        (0b1011_0000, true),
        (0b1011_0010, false),
    ] {
        let payloads = cut(&mut Packetizer::new(Codec::Vp9), &[first, 0, 0], 1200).unwrap();
        assert_eq!(Codec::Vp9.inspect(&payloads[0]).unwrap().key_frame, key, "{first:08b}");
    }
}

/// RFC 6184 §5.7, §5.8: parameters go together with what follows, a large picture is cut.
#[test]
fn h264_is_aggregated_and_fragmented() {
    let frame = [&[0, 0, 0, 1, 0x67, 1, 2][..], &[0, 0, 1, 0x68, 3], &[0, 0, 1, 0x65], &[9; 300]].concat();
    let payloads = cut(&mut Packetizer::new(Codec::H264), &frame, 200).unwrap();
    assert_eq!(payloads[0], [0x78, 0, 3, 0x67, 1, 2, 0, 2, 0x68, 3]);
    assert_eq!((&payloads[1][..3], payloads[1].len()), (&[0x7c, 0x85, 9][..], 152));
    assert_eq!((&payloads[2][..3], payloads[2].len()), (&[0x7c, 0x45, 9][..], 152));
    let keys: Vec<bool> =
        payloads.iter().map(|payload| Codec::H264.inspect(payload).unwrap().key_frame).collect();
    assert_eq!(keys, [true, true, false]);
    // A fragment in the middle that is missing, one that starts and ends at once, other modes' types.
    assert_eq!(whole(Codec::H264, &payloads[..2]), None);
    assert_eq!(whole(Codec::H264, &[vec![0x7c, 0xc5, 9]]), None);
    for kind in [0, 25, 26, 27, 29, 30, 31] {
        assert!(Codec::H264.inspect(&[kind, 1, 2, 3]).is_err(), "{kind}");
    }
}

/// RFC 7798 §4.4.2, §4.4.3.
#[test]
fn h265_is_aggregated_and_fragmented() {
    let frame =
        [&[0, 0, 0, 1, 32 << 1, 2, 7][..], &[0, 0, 1, 33 << 1, 1, 8], &[0, 0, 1, 19 << 1, 3], &[9; 300]]
            .concat();
    let payloads = cut(&mut Packetizer::new(Codec::H265), &frame, 200).unwrap();
    assert_eq!(payloads[0], [48 << 1, 1, 0, 3, 32 << 1, 2, 7, 0, 3, 33 << 1, 1, 8]);
    assert_eq!(payloads[1][..4], [49 << 1, 3, 0x80 | 19, 9]);
    assert_eq!(payloads[2][..4], [49 << 1, 3, 0x40 | 19, 9]);
    let info = Codec::H265.inspect(&payloads[1]).unwrap();
    assert_eq!((info.key_frame, info.temporal_layer), (true, Some(2)));
    assert_eq!(whole(Codec::H265, &payloads[..2]), None);
}

/// AV1 RTP payload format §4.4 and §5.
#[test]
fn av1_says_where_sequences_begin_and_units_go_on() {
    // A delimiter, which is left out, a sequence header, and a picture of 300 bytes with layers (time 1, space 0).
    let frame = [&[0x12, 0, 0x0a, 2, 7, 7, 0x36, 0x20, 0xac, 2][..], &[9; 300]].concat();
    let payloads = cut(&mut Packetizer::new(Codec::Av1), &frame, 200).unwrap();
    let headers: Vec<u8> = payloads.iter().map(|payload| payload[0]).collect();
    assert_eq!(headers, [0b0100_1000, 0b1001_0000]);
    // 190 bytes of the picture, which is 0x3e and 1 times 128.
    assert_eq!(payloads[0][1..7], [3, 0x08, 7, 7, 0xbe, 1]);
    assert_eq!(whole(Codec::Av1, &payloads), Some(frame[2..].to_vec()));
    assert!(Codec::Av1.inspect(&payloads[0]).unwrap().key_frame);
    assert_eq!(whole(Codec::Av1, &payloads[..1]), None);
    assert_eq!(whole(Codec::Av1, &payloads[1..]), None);
    let layered = cut(&mut Packetizer::new(Codec::Av1), &[0x36, 0x28, 1, 9], 200).unwrap();
    let info = Codec::Av1.inspect(&layered[0]).unwrap();
    assert_eq!((info.temporal_layer, info.spatial_layer, info.key_frame), (Some(1), Some(1), false));
    // Counts that do not fit, sizes that do not.
    for wrong in [&[0x20, 1, 9][..], &[0x00, 5, 9], &[0x10], &[0x00, 0xff]] {
        assert!(Codec::Av1.inspect(wrong).is_err(), "{wrong:?}");
    }
}

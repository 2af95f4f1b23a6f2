//! What is written is read again, whatever it is; and noise is only noise.

use proptest::prelude::*;
use sterna_rtp::extension::{
    AbsoluteCaptureTime, AbsoluteSendTime, AudioLevel, Extension, Form, Mid, TransportSequenceNumber,
    VideoOrientation,
};
use sterna_rtp::{Header, Packet, PacketWriter, Rewriter, WriteError};

prop_compose! {
    fn header()(
        marker: bool, payload_type in 0..128u8, sequence_number: u16, timestamp: u32, ssrc: u32,
    ) -> Header {
        Header { marker, payload_type, sequence_number, timestamp, ssrc }
    }
}

/// Extensions that fit a form.
fn extensions() -> impl Strategy<Value = (Form, Vec<(u8, Vec<u8>)>)> {
    let one = prop::collection::vec((1..15u8, prop::collection::vec(any::<u8>(), 1..17)), 0..6);
    let two = prop::collection::vec((1..=255u8, prop::collection::vec(any::<u8>(), 0..40)), 0..6);
    prop_oneof![one.prop_map(|list| (Form::OneByte, list)), two.prop_map(|list| (Form::TwoByte, list))]
}

proptest! {
    #[test]
    fn packets_go_there_and_back(
        header in header(),
        sources in prop::collection::vec(any::<u32>(), 0..16),
        (form, extensions) in extensions(),
        payload in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let mut buffer = [0xff; 600];
        let mut writer = PacketWriter::new(&mut buffer, &header);
        writer.contributing_sources(&sources).form(form);
        for (id, value) in &extensions {
            writer.extension_bytes(*id, value);
        }
        let length = writer.payload(&payload).unwrap();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        prop_assert_eq!(packet.header(), header);
        prop_assert_eq!(packet.contributing_sources().collect::<Vec<_>>(), sources);
        let read: Vec<_> = packet.extensions().map(|(id, value)| (id, value.to_vec())).collect();
        prop_assert_eq!(read, extensions.clone());
        prop_assert_eq!(packet.payload(), &payload[..]);

        // Whoever changes a value changes nothing else.
        let before = buffer[..length].to_vec();
        let mut rewriter = Rewriter::new(&mut buffer[..length]).unwrap();
        rewriter.payload_type(77).sequence_number(1).timestamp(2).ssrc(3);
        for (id, _) in &extensions {
            let first = extensions.iter().find(|(known, _)| known == id).unwrap();
            let place = rewriter.extension(*id).unwrap();
            prop_assert_eq!(place.len(), first.1.len());
        }
        prop_assert_eq!(rewriter.extension(0), None);
        let packet = Packet::parse(&buffer[..length]).unwrap();
        let expected = Header { payload_type: 77, sequence_number: 1, timestamp: 2, ssrc: 3, ..header };
        prop_assert_eq!(packet.header(), expected);
        prop_assert_eq!(&buffer[12..length], &before[12..]);
    }

    #[test]
    fn noise_is_read_within_its_bounds(bytes in prop::collection::vec(any::<u8>(), 0..120), version: bool) {
        let mut bytes = bytes;
        if version && !bytes.is_empty() {
            bytes[0] = bytes[0] & 0x3f | 0x80;
        }
        if let Ok(packet) = Packet::parse(&bytes) {
            let read = packet.header_bytes() + packet.payload().len() + packet.padding();
            prop_assert_eq!(read, bytes.len());
            prop_assert!(packet.extensions().map(|(_, value)| value.len()).sum::<usize>() <= bytes.len());
            for id in 0..=255 {
                packet.extension::<Mid>(id);
            }
        }
        if let Ok(mut rewriter) = Rewriter::new(&mut bytes) {
            (0..=255).filter_map(|id| rewriter.extension(id).map(|value| value.fill(0))).count();
        }
    }
}

#[test]
fn values_go_there_and_back() {
    fn there_and_back<E: for<'a> Extension<'a> + PartialEq + std::fmt::Debug>(value: E, bytes: &[u8]) {
        let mut place = [0; 255];
        let length = value.write(&mut place);
        assert_eq!(place[..length], *bytes, "{value:?}");
        assert_eq!(E::read(bytes), Some(value));
    }
    there_and_back(AudioLevel { below_full: 127, voice: true }, &[0xff]);
    there_and_back(AudioLevel { below_full: 0, voice: false }, &[0]);
    there_and_back(TransportSequenceNumber(0x1234), &[0x12, 0x34]);
    let turned = VideoOrientation { quarter_turns: 3, flipped: false, back_camera: true };
    there_and_back(turned, &[0b1011]);
    there_and_back(AbsoluteCaptureTime { ntp: 1, offset: None }, &[0, 0, 0, 0, 0, 0, 0, 1]);
    there_and_back(
        AbsoluteCaptureTime { ntp: 1, offset: Some(-1) },
        &[0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 255],
    );
    for wrong in [0, 7, 9, 15, 17] {
        assert_eq!(AbsoluteCaptureTime::read(&[0; 17][..wrong]), None, "{wrong}");
    }
    assert_eq!(AudioLevel::read(&[]), None);
    assert_eq!(VideoOrientation::read(&[]), None);
    assert_eq!(TransportSequenceNumber::read(&[1]), None);
}

#[test]
fn a_pacer_fills_in_the_time_when_a_packet_leaves() {
    let mut buffer = [0; 100];
    let mut writer = PacketWriter::new(&mut buffer, &Header::default());
    let early = AbsoluteSendTime::new(sansio::Time::ZERO);
    writer.extension(2, &Mid("a")).extension(5, &early);
    let length = writer.payload(b"x").unwrap();
    let late = AbsoluteSendTime::new(sansio::Time::from_start(std::time::Duration::from_secs(3)));
    let mut place = [0; 255];
    let written = late.write(&mut place);
    let mut rewriter = Rewriter::new(&mut buffer[..length]).unwrap();
    rewriter.extension(5).unwrap().copy_from_slice(&place[..written]);
    let packet = Packet::parse(&buffer[..length]).unwrap();
    assert_eq!(packet.extension::<AbsoluteSendTime>(5), Some(late));
    assert_eq!(packet.extension::<Mid>(2), Some(Mid("a")));
}

type Add<'a> = &'a dyn for<'p, 'b> Fn(&'p mut PacketWriter<'b>) -> &'p mut PacketWriter<'b>;

#[test]
fn what_does_not_fit_is_said() {
    let write = |room: usize, add: Add<'_>| {
        let mut buffer = vec![0; room];
        let mut writer = PacketWriter::new(&mut buffer, &Header::default());
        add(&mut writer);
        writer.payload(b"four")
    };
    assert_eq!(write(16, &|writer| writer), Ok(16));
    for room in 0..16 {
        assert_eq!(write(room, &|writer| writer), Err(WriteError::NoRoom), "{room}");
    }
    assert_eq!(write(80, &|writer| writer.contributing_sources(&[0; 16])), Err(WriteError::TooMany));
    for (id, length) in [(0, 1), (15, 1), (1, 0), (1, 17)] {
        assert_eq!(
            write(80, &|writer| writer.extension_bytes(id, &[0; 20][..length])),
            Err(WriteError::Extension),
            "{id}, {length}"
        );
    }
    let two = write(80, &|writer| writer.form(Form::TwoByte).extension_bytes(15, &[0; 17]));
    assert_eq!(two, Ok(12 + 4 + 20 + 4));
}

#[test]
fn probes_are_padding_alone() {
    for bytes in [1, 4, 255] {
        let mut buffer = [7; 300];
        let length = PacketWriter::new(&mut buffer, &Header::default()).padding(bytes).unwrap();
        let packet = Packet::parse(&buffer[..length]).unwrap();
        assert_eq!((packet.payload(), packet.padding()), (&b""[..], usize::from(bytes)));
    }
}

//! Whatever is written of RTCP is read again, and noise is only noise.

use proptest::prelude::*;
use sterna_rtp::WriteError;
use sterna_rtp::rtcp::*;

fn there_and_back(packets: &[Packet]) -> Vec<Packet> {
    let mut buffer = vec![0xff; 200_000];
    let mut writer = CompoundWriter::new(&mut buffer);
    packets.iter().for_each(|packet| writer.add(packet).unwrap());
    let length = writer.finish();
    assert_eq!(length % 4, 0);
    Compound::parse(&buffer[..length]).unwrap().map(Result::unwrap).collect()
}

prop_compose! {
    fn block()(
        ssrc: u32, fraction_lost: u8, lost in -0x80_0000..0x80_0000, highest_sequence_number: u32, jitter: u32,
        last_report: u32, delay: u32,
    ) -> ReportBlock {
        ReportBlock { ssrc, fraction_lost, lost, highest_sequence_number, jitter, last_report, delay }
    }
}

prop_compose! {
    fn transport()(
        sender: u32, media: u32, first: u16, reference in -0x80_0000..0x80_0000, number: u8,
        gaps in prop::collection::vec((prop_oneof![5 => 1..3u16, 3 => 3..40u16, 1 => 8000..9000u16], any::<i16>(), any::<bool>()), 0..30),
        tail in 0..20_000u16,
    ) -> TransportFeedback {
        let mut at = 0u16;
        let mut arrivals = Vec::new();
        for (gap, delta, small) in gaps {
            let Some(next) = at.checked_add(gap) else { break };
            let delta = if small { delta & 0xff } else { delta };
            arrivals.push(Arrival { sequence_number: first.wrapping_add(next - 1), delta });
            at = next;
        }
        let count = at.saturating_add(tail);
        TransportFeedback { sender, media, first, count, reference, number, arrivals }
    }
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=most)
}

fn words(most: usize) -> impl Strategy<Value = Vec<u8>> {
    bytes(most).prop_map(|mut bytes| {
        bytes.truncate(bytes.len() / 4 * 4);
        bytes
    })
}

fn packet() -> impl Strategy<Value = Packet> {
    let blocks = || prop::collection::vec(block(), 0..32);
    let sources = || prop::collection::vec(any::<u32>(), 0..32);
    let item = (1..=255u8, bytes(255));
    let description = (any::<u32>(), prop::collection::vec(item, 0..4))
        .prop_map(|(ssrc, items)| Description { ssrc, items });
    let metric = (0..4u8, 0..0x2000u16).prop_map(|(ecn, offset)| PacketMetric { ecn, offset });
    let stream = (any::<u32>(), any::<u16>(), prop::collection::vec(prop::option::of(metric), 0..40))
        .prop_map(|(ssrc, first, packets)| CongestionStream { ssrc, first, packets });
    let delay = (any::<u32>(), any::<u32>(), any::<u32>())
        .prop_map(|(ssrc, last_report, delay)| ReportDelay { ssrc, last_report, delay });
    let extended = prop_oneof![
        any::<u64>().prop_map(ExtendedBlock::ReferenceTime),
        prop::collection::vec(delay, 0..5).prop_map(ExtendedBlock::Delays),
        (6..255u8, any::<u8>(), words(40))
            .prop_map(|(kind, own, body)| ExtendedBlock::Unknown(kind, own, body)),
    ];
    prop_oneof![
        (any::<(u32, u64, u32, u32, u32)>(), blocks()).prop_map(
            |((ssrc, ntp, timestamp, packets, bytes), reports)| {
                SenderReport { ssrc, ntp, timestamp, packets, bytes, reports }.into()
            }
        ),
        (any::<u32>(), blocks()).prop_map(|(ssrc, reports)| ReceiverReport { ssrc, reports }.into()),
        prop::collection::vec(description, 0..4).prop_map(|sources| SourceDescription { sources }.into()),
        (sources(), bytes(255)).prop_map(|(sources, reason)| Goodbye { sources, reason }.into()),
        (0..32u8, any::<u32>(), any::<[u8; 4]>(), words(40))
            .prop_map(|(subtype, ssrc, name, data)| { Application { subtype, ssrc, name, data }.into() }),
        (any::<u32>(), any::<u32>(), any::<u16>(), prop::collection::vec(1..40u16, 0..60)).prop_map(
            |(sender, media, first, steps)| {
                let mut at = first;
                let lost = steps
                    .into_iter()
                    .map(|step| {
                        at = at.wrapping_add(step);
                        at
                    })
                    .collect();
                Nack { sender, media, lost }.into()
            }
        ),
        transport().prop_map(Packet::from),
        (any::<u32>(), prop::collection::vec(stream, 0..4), any::<u32>()).prop_map(
            |(sender, streams, timestamp)| { CongestionFeedback { sender, streams, timestamp }.into() }
        ),
        any::<(u32, u32)>().prop_map(|(sender, media)| PictureLoss { sender, media }.into()),
        (any::<u32>(), prop::collection::vec(any::<(u32, u8)>(), 0..6))
            .prop_map(|(sender, requests)| FullIntraRequest { sender, requests }.into()),
        (any::<u32>(), 0..0x4_0000u64, 0..46u32, sources()).prop_map(
            |(sender, mantissa, exponent, sources)| {
                ReceiverEstimate { sender, bits_per_second: mantissa << exponent, sources }.into()
            }
        ),
        (any::<u32>(), prop::collection::vec(extended, 0..4)).prop_map(|(ssrc, blocks)| ExtendedReport {
            ssrc,
            blocks
        }
        .into()),
        (208..=255u8, 0..32u8, words(40)).prop_map(|(packet_type, count, body)| Packet::Unknown {
            packet_type,
            count,
            body
        }),
    ]
}

proptest! {
    #[test]
    fn compounds_go_there_and_back(packets in prop::collection::vec(packet(), 1..6)) {
        prop_assert_eq!(there_and_back(&packets), packets);
    }

    #[test]
    fn what_has_no_room_is_left_out(packet in packet(), room in 0..400usize) {
        let mut buffer = vec![0; room];
        let mut writer = CompoundWriter::new(&mut buffer);
        match writer.add(&packet) {
            Ok(()) => prop_assert!(writer.len() <= room),
            Err(error) => {
                prop_assert_eq!(error, WriteError::NoRoom);
                prop_assert!(writer.is_empty());
            }
        }
    }

    #[test]
    fn noise_is_only_noise(kind in 198..210u8, count in 0..32u8, body in words(200)) {
        let mut bytes = [&[0x80 | count, kind, 0, (body.len() / 4) as u8], &body[..]].concat();
        for packet in Compound::parse(&bytes).unwrap().flatten() {
            there_and_back(&[packet]);
        }
        bytes.pop();
        prop_assert!(Compound::parse(&bytes).is_err());
    }
}

/// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.3, §3.1.4: the examples of chunks.
#[test]
fn chunks_are_read_as_the_draft_draws_them() {
    let feedback = |count: u16, chunk: u16, deltas: &[u8]| {
        let mut bytes = vec![0x8f, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 100];
        bytes.extend(count.to_be_bytes());
        bytes.extend([0, 0, 1, 7]);
        bytes.extend(chunk.to_be_bytes());
        bytes.extend(deltas);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes[3] = (bytes.len() / 4 - 1) as u8;
        match Compound::parse(&bytes).unwrap().next().unwrap() {
            Ok(Packet::TransportFeedback(feedback)) => Some(feedback.arrivals),
            _ => None,
        }
    };
    let numbers = |arrivals: Option<Vec<Arrival>>| {
        arrivals.unwrap().into_iter().map(|arrival| arrival.sequence_number - 100).collect::<Vec<_>>()
    };
    // Runs: 221 packets did not arrive; 24 arrived, each with a byte.
    assert_eq!(numbers(feedback(221, 0b0000_0000_1101_1101, &[])), Vec::<u16>::new());
    assert_eq!(numbers(feedback(24, 0b0010_0000_0001_1000, &[4; 24])), (0..24).collect::<Vec<_>>());
    // One bit each: 1 missing, 5 arrived, 3 missing, 3 arrived, 2 missing.
    let one = feedback(14, 0b1001_1111_0001_1100, &[1; 8]);
    assert_eq!(numbers(one), [1, 2, 3, 4, 5, 9, 10, 11]);
    // Two bits each: missing, with two bytes, three with one, two missing.
    let two = feedback(7, 0b1100_1001_0101_0000, &[0xff, 0xff, 1, 2, 3]).unwrap();
    assert_eq!(two.iter().map(|arrival| arrival.delta).collect::<Vec<_>>(), [-1, 1, 2, 3]);
    assert_eq!(numbers(Some(two)), [1, 2, 3, 4]);
    // More arrived than there are deltas; a status that is none; runs that never end.
    assert_eq!(feedback(24, 0b0010_0000_0001_1000, &[]), None);
    assert_eq!(feedback(7, 0b1100_1101_0101_0000, &[1; 20]), None);
    assert_eq!(feedback(7, 0, &[1; 20]), None);
}

#[test]
fn lost_packets_that_lie_together_take_four_bytes() {
    let mut buffer = [0; 100];
    let mut writer = CompoundWriter::new(&mut buffer);
    let lost = [65_530, 65_531, 2, 10, 11];
    writer.add(&Nack { sender: 1, media: 2, lost: lost.to_vec() }.into()).unwrap();
    let length = writer.finish();
    // RFC 4585 §6.2.1: 65,530, with 65,531, 2 and 10 as bits 0, 7 and 15 after it; then 11.
    assert_eq!(buffer[12..length], [0xff, 0xfa, 0b1000_0000, 0b1000_0001, 0, 11, 0, 0]);
}

#[test]
fn an_estimate_loses_little() {
    for bits_per_second in [0, 1, 0x3_ffff, 0x4_0000, 5_000_001, u64::MAX] {
        let estimate = ReceiverEstimate { sender: 1, bits_per_second, sources: vec![2] };
        let [Packet::ReceiverEstimate(read)] = &there_and_back(&[estimate.into()])[..] else { panic!() };
        assert!(read.bits_per_second <= bits_per_second);
        assert!(bits_per_second - read.bits_per_second <= bits_per_second >> 17, "{bits_per_second}");
    }
    // An exponent of 63 is more than 64 bits have.
    let bytes = [0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 0, 0xff, 0xff, 0xff];
    let packet = Compound::parse(&bytes).unwrap().next().unwrap().unwrap();
    assert!(matches!(packet, Packet::ReceiverEstimate(estimate) if estimate.bits_per_second == u64::MAX));
}

#[test]
fn what_cannot_be_counted_is_refused() {
    let mut buffer = vec![0; 100_000];
    let mut refuse = |packet: Packet| {
        let mut writer = CompoundWriter::new(&mut buffer);
        assert_eq!(writer.add(&packet), Err(WriteError::TooMany), "{packet:?}");
        assert!(writer.is_empty());
    };
    refuse(ReceiverReport { ssrc: 1, reports: vec![ReportBlock::default(); 32] }.into());
    refuse(Goodbye { sources: vec![0; 32], reason: vec![] }.into());
    refuse(Goodbye { sources: vec![], reason: vec![0; 256] }.into());
    refuse(ReceiverEstimate { sender: 1, bits_per_second: 1, sources: vec![0; 256] }.into());
    let arrivals = vec![Arrival { sequence_number: 5, delta: 0 }];
    refuse(TransportFeedback { first: 3, count: 2, arrivals, ..TransportFeedback::default() }.into());
    let name = SourceDescription::canonical_name(1, &"x".repeat(300));
    assert_eq!(name.sources[0].name().map(str::len), Some(255));
}

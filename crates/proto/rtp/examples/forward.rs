//! What forwarding one stream to many viewers costs, on one core:
//! `cargo run --release -p sterna-rtp --example forward [VIEWERS]`.
//!
//! One session receives pictures as packets; each viewer's session numbers, paces, keeps and protects them. Nothing
//! leaves the process: what is measured is the machines, and beside them what protecting alone takes.

use std::time::Duration;

use sansio::{Outbox, Seed, Time};
use sterna_rtp::bandwidth::EstimatorConfig;
use sterna_rtp::codecs::Codec;
use sterna_rtp::extension::Name;
use sterna_rtp::session::{
    Delivery, Encoding, Event, Feedback, Format, Kind, OutgoingFrame, OutgoingPacket, Session, SessionConfig,
    Terms,
};
use sterna_rtp::srtp::{MasterKey, Profile, Protect};

/// An outbox that is always the same memory.
struct Sink {
    memory: Vec<u8>,
    packets: u64,
}

impl Outbox<()> for Sink {
    fn room(&self) -> usize {
        1 << 20
    }
    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.packets += u64::from(fill(&mut self.memory[..max]) > 0);
        true
    }
}

fn terms(ssrc: u32) -> Vec<Terms> {
    let feedback = Feedback { nack: true, pli: true, transport_cc: true, ..Feedback::default() };
    let vp8 = || vec![Format { rtx: Some(97), feedback, ..Format::new(96, Codec::Vp8) }];
    vec![Terms {
        mid: "0".into(),
        kind: Kind::Video,
        send: Some(vec![Encoding { rtx_ssrc: Some(ssrc + 1), ..Encoding::new(ssrc) }]),
        receive: true,
        delivery: Delivery::Packets,
        formats: vp8(),
        expected: vp8(),
        extensions: vec![(1, Name::Mid), (2, Name::AbsoluteSendTime), (3, Name::TransportSequenceNumber)],
        reduced_size: true,
        ..Terms::default()
    }]
}

fn session(number: u64) -> Session {
    // What was never reported on is sent as fast as it comes.
    let bandwidth = EstimatorConfig { start: 20e6, ..EstimatorConfig::default() };
    let mut session = Session::new(SessionConfig { bandwidth, ..SessionConfig::new(Seed::from(number)) });
    session.set_terms(Time::ZERO, terms(2 * number as u32 + 1));
    let key =
        MasterKey::new(Profile::AeadAes128Gcm, &[1; 16], &[1; 12]).expect("the lengths are the profile's");
    session.set_keys(Time::ZERO, &key, &key);
    session
}

fn main() {
    let viewers: u64 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(200);
    let mut camera = session(0);
    let mut forwarder = session(1);
    let mut all: Vec<Session> = (2..viewers + 2).map(session).collect();
    let mut sink = Sink { memory: vec![0; 2000], packets: 0 };
    let mut now = Time::ZERO;
    let mut spent = Duration::ZERO;
    let picture = vec![0; 5500];
    for round in 0..400 {
        now += Duration::from_millis(33);
        let frame = OutgoingFrame { data: &picture, time: now.elapsed(), ..OutgoingFrame::default() };
        camera.write_frame(now, "0", None, &frame).expect("there is room");
        for _ in 0..30 {
            let mut packets: Vec<Vec<u8>> = Vec::new();
            now += Duration::from_millis(1);
            camera.poll_transmit(now, &mut packets);
            let took = timed(|| forward(now, &mut packets, &mut forwarder, &mut all, &mut sink));
            // The first seconds fill histories.
            if round >= 100 {
                spent += took;
            }
        }
        if round == 99 {
            sink.packets = 0;
        }
    }
    let each = spent.as_secs_f64() / sink.packets as f64;
    println!(
        "{viewers} viewers: {} packets, {:.0} ns each, {:.0} a second",
        sink.packets,
        each * 1e9,
        1.0 / each
    );

    let key =
        MasterKey::new(Profile::AeadAes128Gcm, &[1; 16], &[1; 12]).expect("the lengths are the profile's");
    let mut protect = Protect::new(&key);
    let mut packet = vec![0; 1200];
    packet[0] = 0x80;
    let took = timed(|| {
        for number in 0..1_000_000u32 {
            packet[2..4].copy_from_slice(&(number as u16).to_be_bytes());
            protect.protect(&mut packet, 1140).expect("numbers go up");
        }
    });
    println!("protecting alone: {:.0} ns each", took.as_secs_f64() * 1e3);
}

/// What has come goes on to everybody.
fn forward(
    now: Time,
    packets: &mut [Vec<u8>],
    forwarder: &mut Session,
    viewers: &mut [Session],
    sink: &mut Sink,
) {
    packets.iter_mut().for_each(|packet| forwarder.handle_rtp(now, packet));
    while let Some(event) = forwarder.poll_event() {
        let Event::PacketReceived { header, payload, .. } = event else { continue };
        let packet = OutgoingPacket {
            payload: &payload,
            payload_type: header.payload_type,
            sequence_number: header.sequence_number,
            timestamp: header.timestamp,
            marker: header.marker,
            ..OutgoingPacket::default()
        };
        for viewer in &mut *viewers {
            viewer.write_packet(now, "0", None, &packet).expect("there is room");
            viewer.poll_transmit(now, sink);
        }
    }
}

fn timed(run: impl FnOnce()) -> Duration {
    #[allow(clippy::disallowed_methods, clippy::disallowed_types)] // It measures; the crate does not.
    let start = std::time::Instant::now();
    run();
    start.elapsed()
}

//! Sound and pictures between two connections in a simulated internet.

mod world;

use std::time::Duration;

use netsim::{Link, NatBehaviour, Net};
use sterna_peer::{
    Codec, Connection, ConnectionState, DataChannelInit, Direction, EncodingParameters, Event, MediaKind,
    OutgoingFrame, PathKind, ReceivedFrame, SessionDescription, TransceiverId, TransceiverInit, WriteError,
};
use world::{A, B, Mail, Places, Signalling, World, seeds};

use MediaKind::{Audio, Video};

const SECOND: Duration = Duration::from_secs(1);
const STEP: Duration = Duration::from_millis(5);

/// Something that is sent: 20 ms of sound or a picture at a time, each with its number in it.
struct Source {
    side: usize,
    id: TransceiverId,
    rid: Option<&'static str>,
    every: Duration,
    pictures: bool,
    begun: Option<Duration>,
    /// Frames that were taken.
    taken: u32,
    next: Duration,
    key_frame: bool,
    key_frames: u32,
}

struct Call {
    world: World,
    sources: Vec<Source>,
    /// How many events of each side were seen.
    seen: [usize; 2],
}

impl Call {
    fn new(world: World) -> Self {
        Self { world, sources: Vec::new(), seen: [0; 2] }
    }

    /// Side `side` sends by a transceiver of its own.
    fn send(&mut self, side: usize, kind: MediaKind) -> TransceiverId {
        let id = self.world.with(side, |it, now| it.add_track(now, kind, vec!["stream".into()]).unwrap());
        self.send_by(side, id, kind, None);
        id
    }

    fn send_by(&mut self, side: usize, id: TransceiverId, kind: MediaKind, rid: Option<&'static str>) {
        let every = Duration::from_millis(if kind == Audio { 20 } else { 40 });
        let next = self.now();
        self.sources.push(Source {
            side,
            id,
            rid,
            every,
            pictures: kind == Video,
            begun: None,
            taken: 0,
            next,
            key_frame: true,
            key_frames: 0,
        });
    }

    fn now(&self) -> Duration {
        self.world.net.now().elapsed()
    }

    /// Time goes on, and who has something to send sends it.
    fn run(&mut self, duration: Duration) {
        let end = self.now() + duration;
        while self.now() < end {
            self.world.run_for(STEP);
            for side in [A, B] {
                let sides = self.world.sides.read().unwrap();
                for event in &sides[side].events[self.seen[side]..] {
                    if let Event::KeyFrameRequested { transceiver, .. } = event {
                        let wanted = |it: &&mut Source| it.side == side && it.id == *transceiver;
                        self.sources.iter_mut().filter(wanted).for_each(|it| it.key_frame = true);
                    }
                }
                self.seen[side] = sides[side].events.len();
            }
            let now = self.now();
            for source in self.sources.iter_mut().filter(|it| it.next <= now) {
                source.next = now + source.every;
                let data = source.frame();
                let time = now - *source.begun.get_or_insert(now);
                let (id, rid) = (source.id, source.rid);
                let taken = self.world.with(source.side, |it: &mut Connection, now| {
                    let frame = OutgoingFrame { data: &data, time, ..OutgoingFrame::default() };
                    it.write_frame(now, id, rid, &frame)
                });
                match taken {
                    Ok(()) => {
                        source.taken += 1;
                        source.key_frames += u32::from(source.key_frame && source.pictures);
                        source.key_frame = false;
                    }
                    Err(WriteError::KeyFrameNeeded | WriteError::Paused) => source.key_frame = true,
                    Err(WriteError::NotReady | WriteError::NotSending | WriteError::Unknown) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// The frames that came to a side by its `nth` transceiver.
    fn received(&self, side: usize, nth: usize) -> Vec<ReceivedFrame> {
        let Some(id) = self.world.connection(side).transceivers().nth(nth).map(|it| it.id()) else {
            return Vec::new();
        };
        let sides = self.world.sides.read().unwrap();
        let of = |event: &Event| match event {
            Event::FrameReceived { transceiver, received } if *transceiver == id => {
                Some((**received).clone())
            }
            _ => None,
        };
        sides[side].events.iter().filter_map(of).collect()
    }

    fn count(&self, side: usize, what: impl Fn(&Event) -> bool) -> usize {
        self.world.sides.read().unwrap()[side].count(what)
    }

    /// Runs, and tells how many frames came meanwhile, by side and transceiver.
    fn progress(&mut self, duration: Duration) -> [[usize; 2]; 2] {
        let count = |it: &Self| [A, B].map(|side| [0, 1].map(|nth| it.received(side, nth).len()));
        let before = count(self);
        self.run(duration);
        let after = count(self);
        [A, B].map(|side| [0, 1].map(|nth| after[side][nth] - before[side][nth]))
    }

    #[track_caller]
    fn assert_no_errors(&self) {
        let sides = self.world.sides.read().unwrap();
        assert!(sides.iter().all(|side| side.errors.is_empty()), "{}", self.world.describe());
    }
}

impl Source {
    /// The next frame. The first bytes of a picture of VP8 say whether it needs others.
    fn frame(&self) -> Vec<u8> {
        let number = self.taken.to_be_bytes();
        if !self.pictures {
            return [&[0x78][..], &number, &[7; 75]].concat();
        }
        let head = if self.key_frame { [0x10, 0, 0, 0x9d, 0x01, 0x2a] } else { [0x11, 0, 0, 1, 2, 3] };
        let size = if self.key_frame { 3000 } else { 900 };
        [&head[..], &[0; 4], &number, &vec![0x55; size]].concat()
    }
}

/// The number in a frame.
fn number(frame: &ReceivedFrame, pictures: bool) -> u32 {
    let at = if pictures { 10 } else { 1 };
    u32::from_be_bytes(frame.frame.data[at..at + 4].try_into().unwrap())
}

fn world(seed: u64, places: impl FnOnce(&mut Net) -> Places) -> World {
    with_signalling(seed, Signalling::default(), places)
}

fn with_signalling(seed: u64, signalling: Signalling, places: impl FnOnce(&mut Net) -> Places) -> World {
    World::build_with(seed, signalling, places, |_, _, configuration| {
        configuration.media = Some(Box::default())
    })
}

fn linked(link: Link) -> impl FnOnce(&mut Net) -> Places {
    move |net| {
        let nets = ["one", "two"].map(|name| {
            let network = net.add_network(Net::INTERNET, name, NatBehaviour::none());
            net.set_link(net.uplink(network), link.clone());
            network
        });
        Places { nets, turn: None }
    }
}

fn behind(behaviours: [NatBehaviour; 2]) -> impl FnOnce(&mut Net) -> Places {
    move |net| {
        let nets = behaviours.map(|behaviour| {
            let network = net.add_network(Net::INTERNET, "nat", behaviour);
            net.set_link(net.uplink(network), Link::delay_ms(10));
            network
        });
        Places { nets, turn: Some(world::turn_server(net)) }
    }
}

/// A call with sound and pictures both ways.
fn both_ways(world: World) -> Call {
    let mut call = Call::new(world);
    call.send(A, Audio);
    call.send(A, Video);
    call.send(B, Audio);
    call.send(B, Video);
    call
}

#[track_caller]
fn assert_flows(call: &mut Call, what: &str) {
    // 50 frames of sound a second, and 25 pictures.
    let came = call.progress(2 * SECOND);
    for side in [A, B] {
        assert!(came[side][0] >= 95 && came[side][1] >= 45, "{what}: {came:?} {}", call.world.describe());
    }
}

#[test]
fn sound_and_pictures_flow_both_ways_directly_and_by_a_relay() {
    for seed in seeds(3) {
        let symmetric = [NatBehaviour::symmetric(); 2];
        for (kind, world) in [
            (PathKind::Direct, world(seed, linked(Link::delay_ms(20)))),
            (PathKind::Relayed, world(seed, behind(symmetric))),
        ] {
            let mut call = both_ways(world);
            call.run(4 * SECOND);
            assert_flows(&mut call, "a call");
            assert_eq!(call.world.kinds(), [kind; 2], "seed {seed}");
            call.assert_no_errors();
            for side in [A, B] {
                // B's transceivers are those that it made, in A's sections.
                for (nth, pictures) in [(0, false), (1, true)] {
                    let frames = call.received(side, nth);
                    let numbers: Vec<u32> = frames.iter().map(|it| number(it, pictures)).collect();
                    assert!(
                        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
                        "none missing: {numbers:?}"
                    );
                    assert!(!pictures || frames[0].frame.key_frame);
                    let codec = if pictures { Codec::Vp8 } else { Codec::Opus };
                    assert!(frames.iter().all(|it| it.codec == codec));
                    assert!(frames.last().unwrap().captured.is_some(), "reports tell the time");
                }
                assert_eq!(call.count(side, |it| matches!(it, Event::TrackAdded { .. })), 2);
                assert_eq!(call.count(side, |it| matches!(it, Event::TrackUnmuted(_))), 2);
                assert!(call.world.connection(side).transceivers().all(|it| !it.is_muted()));
                assert!(call.world.connection(side).channels().count() == 0, "nobody wanted any");
            }
        }
    }
}

#[test]
fn what_is_lost_is_sent_again() {
    for seed in seeds(3) {
        let mut call = both_ways(world(seed, linked(Link::delay_ms(20).with_loss(0.025))));
        call.run(5 * SECOND);
        let before = [A, B].map(|side| call.received(side, 1).len());
        call.run(10 * SECOND);
        for side in [A, B] {
            // One packet in twenty is lost, and one picture in twenty with it, if nothing is sent again.
            let frames = call.received(side, 1).split_off(before[side]);
            assert!(frames.len() >= 240, "seed {seed}: {} of 250 pictures", frames.len());
            let statistics = call.world.connection(side).media_statistics().unwrap();
            let video = statistics.inbound.iter().find(|it| it.codec == Codec::Vp8).unwrap();
            assert!(video.packets_recovered > 5 && video.nack_count > 0, "seed {seed}: {video:?}");
        }
    }
}

#[test]
fn a_call_goes_on_while_it_is_negotiated_anew() {
    for seed in seeds(3) {
        let mut call = both_ways(world(seed, linked(Link::delay_ms(20))));
        call.run(3 * SECOND);
        // A data channel and a second picture join.
        call.world.create_channel(A, "chat");
        let screen = call.send(B, Video);
        assert_flows(&mut call, "while sections are added");
        call.run(SECOND);
        assert!(call.received(A, 2).len() > 20, "seed {seed}: {}", call.world.describe());
        call.world.echo();
        // A holds its camera.
        let camera = call.world.connection(A).transceivers().nth(1).unwrap().id();
        call.world.with(A, |it, now| it.set_direction(now, camera, Direction::Recvonly).unwrap());
        call.run(SECOND);
        let came = call.progress(2 * SECOND);
        assert_eq!(came[B][1], 0, "seed {seed}: it is off");
        assert!(came[B][0] >= 95 && came[A][1] >= 45, "seed {seed}: all else goes on: {came:?}");
        assert_eq!(call.count(B, |it| matches!(it, Event::TrackMuted(_))), 1);
        call.world.with(A, |it, now| it.set_direction(now, camera, Direction::Sendrecv).unwrap());
        call.run(SECOND);
        assert_flows(&mut call, "it is on again");
        // The second picture ends.
        call.sources.retain(|it| it.id != screen || it.side != B);
        call.world.with(B, |it, now| it.stop_transceiver(now, screen).unwrap());
        call.run(SECOND);
        assert_flows(&mut call, "after a section has ended");
        assert_eq!(call.count(A, |it| matches!(it, Event::TrackEnded(_))), 1);
        assert_eq!(call.world.connection(A).transceivers().count(), 2);
        call.assert_no_errors();
    }
}

#[test]
fn a_call_goes_on_through_an_ice_restart() {
    for seed in seeds(3) {
        let mut call = both_ways(world(seed, behind([NatBehaviour::port_restricted(); 2])));
        call.run(4 * SECOND);
        let ufrag = |call: &Call| call.world.connection(A).local_description().unwrap().sdp;
        let before = ufrag(&call);
        call.world.with(A, |it, now| it.restart_ice(now));
        assert_flows(&mut call, "during the restart");
        assert_ne!(before, ufrag(&call));
        assert_flows(&mut call, "after the restart");
        call.assert_no_errors();
    }
}

#[test]
fn nothing_comes_from_who_is_not_who_he_should_be() {
    for seed in seeds(3) {
        let tamper = |side: usize, mail: Mail| match mail {
            // Somebody in between says that B has another certificate.
            Mail::Description(description) if side == B => {
                let own = world::certificate(B).fingerprint().to_string();
                let other = world::certificate(A).fingerprint().to_string();
                let sdp = description.sdp.replace(&own, &other);
                Some(Mail::Description(SessionDescription { kind: description.kind, sdp }))
            }
            other => Some(other),
        };
        let signalling = Signalling { tamper, ..Signalling::default() };
        let mut call = both_ways(with_signalling(seed, signalling, linked(Link::delay_ms(20))));
        call.run(10 * SECOND);
        for side in [A, B] {
            assert!((0..2).all(|nth| call.received(side, nth).is_empty()), "seed {seed}");
        }
        assert!(
            call.sources.iter().filter(|it| it.side == A).all(|it| it.taken == 0),
            "nothing is sent either"
        );
        assert_eq!(call.world.connection(A).connection_state(), ConnectionState::Failed);
    }
}

#[test]
fn a_key_frame_is_sent_when_it_is_asked_for() {
    let mut call = both_ways(world(1, linked(Link::delay_ms(20))));
    call.run(4 * SECOND);
    let before = call.sources[1].key_frames;
    let id = call.world.connection(B).transceivers().nth(1).unwrap().id();
    call.world.with(B, |it, _| it.request_key_frame(id, None)).unwrap();
    call.run(SECOND);
    assert_eq!(call.sources[1].key_frames, before + 1);
    let last = call.received(B, 1).into_iter().rev().take(30).filter(|it| it.frame.key_frame).count();
    assert_eq!(last, 1);
    let sound = call.world.connection(B).transceivers().next().unwrap().id();
    assert!(call.world.with(B, |it, _| it.request_key_frame(sound, None)).is_err(), "of sound there is none");
}

#[test]
fn encodings_come_by_their_names() {
    let mut call = Call::new(world(1, linked(Link::delay_ms(20))));
    let id = call.world.with(A, |it, now| {
        let send_encodings = ["h", "l"].map(EncodingParameters::named).to_vec();
        let init = TransceiverInit { direction: Direction::Sendonly, send_encodings, ..Default::default() };
        it.add_transceiver(now, Video, init).unwrap()
    });
    call.send_by(A, id, Video, Some("h"));
    call.send_by(A, id, Video, Some("l"));
    call.run(8 * SECOND);
    let frames = call.received(B, 0);
    for rid in ["h", "l"] {
        let count = frames.iter().filter(|it| it.rid.as_deref() == Some(rid)).count();
        assert!(count > 50, "{rid}: {count}");
    }
    call.assert_no_errors();
}

#[test]
fn statistics_tell_what_flows() {
    let mut call = both_ways(world(1, linked(Link::delay_ms(20))));
    call.run(8 * SECOND);
    let now = call.world.net.now();
    let [ours, theirs] =
        [A, B].map(|side| serde_json::to_value(call.world.connection(side).stats(now)).unwrap());
    let find = |all: &serde_json::Value, kind: &str, media: &str| {
        let found = all.as_array().unwrap().iter().find(|it| it["type"] == kind && it["kind"] == media);
        found.unwrap_or_else(|| panic!("{kind} in {all}")).clone()
    };
    for media in ["audio", "video"] {
        let sent = find(&ours, "outbound-rtp", media);
        let came = find(&theirs, "inbound-rtp", media);
        assert_eq!((&sent["ssrc"], &sent["mid"]), (&came["ssrc"], &came["mid"]));
        assert!(came["framesReceived"].as_u64().unwrap() > 100 && came["packetsLost"] == 0, "{came}");
        assert!(sent["bytesSent"].as_u64() >= came["bytesReceived"].as_u64());
        let said = find(&ours, "remote-inbound-rtp", media);
        assert_eq!((&said["localId"], &sent["remoteId"]), (&sent["id"], &said["id"]));
        let round_trip = said["roundTripTime"].as_f64().unwrap();
        assert!((0.079..0.09).contains(&round_trip), "{said}");
        let codec = ours.as_array().unwrap().iter().find(|it| it["id"] == sent["codecId"]).unwrap();
        let mime = if media == "audio" { "audio/opus" } else { "video/VP8" };
        assert_eq!((&codec["type"], &codec["mimeType"]), (&"codec".into(), &mime.into()));
    }
    let mut pairs = ours.as_array().unwrap().iter().filter(|it| it["type"] == "candidate-pair");
    assert!(pairs.any(|it| it["availableOutgoingBitrate"].as_f64().is_some_and(|bits| bits > 100_000.0)));
}

#[test]
fn a_call_ends_when_one_side_closes() {
    let mut call = both_ways(world(1, linked(Link::delay_ms(20))));
    call.world.create_channel(A, "chat");
    call.run(4 * SECOND);
    call.sources.clear();
    call.world.with(A, |it, now| it.close(now));
    call.run(SECOND);
    assert!(call.world.connection(A).is_finished());
    assert_eq!(call.count(B, |it| matches!(it, Event::PeerClosed)), 1);
    assert_eq!(call.count(B, |it| matches!(it, Event::TrackEnded(_))), 2);
    assert_eq!(call.world.connection(B).transceivers().count(), 0);
}

#[test]
fn who_does_not_want_media_gets_none() {
    let configure = |side: usize, _: &Net, configuration: &mut sterna_peer::Configuration| {
        configuration.media = (side == A).then(Box::default);
    };
    let world = World::build_with(1, Signalling::default(), linked(Link::delay_ms(20)), configure);
    let mut call = Call::new(world);
    call.send(A, Video);
    call.world.with(A, |it, now| it.create_data_channel(now, "chat", DataChannelInit::default()).unwrap());
    call.run(4 * SECOND);
    call.world.echo();
    assert_eq!(call.sources[0].taken, 0);
    assert_eq!(call.world.connection(B).transceivers().count(), 0);
    assert!(call.world.connection(B).media_statistics().is_none());
}

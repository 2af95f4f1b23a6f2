//! Sound and pictures between two connections in one process, over the addresses of this machine.

use std::collections::HashMap;
use std::time::Duration;

use sterna::{
    Codec, Configuration, Delivery, Direction, Error, LocalFrame, LocalTrack, LocalTrackEvent,
    MediaConfiguration, MediaKind, OutgoingPacket, PeerConnection, PeerEvent, RemoteFrame, RemoteTrack,
    RtpCodec, TransceiverInit, WriteError,
};
use tokio::time::timeout;

use MediaKind::{Audio, Video};

/// Long for a machine that is busy with other tests; never reached otherwise.
const LONG: Duration = Duration::from_secs(60);

fn connection_with(media: Option<MediaConfiguration>) -> PeerConnection {
    let configuration =
        Configuration { include_loopback: true, trickle: false, media, ..Configuration::default() };
    PeerConnection::new(configuration).unwrap()
}

fn connection() -> PeerConnection {
    connection_with(Some(MediaConfiguration::default()))
}

/// One offers, the other answers.
async fn negotiate(here: &PeerConnection, there: &PeerConnection) {
    let offer = here.set_local_description(None).await.unwrap();
    there.set_remote_description(offer).await.unwrap();
    let answer = there.set_local_description(None).await.unwrap();
    here.set_remote_description(answer).await.unwrap();
    for one in [here, there] {
        timeout(LONG, one.connected()).await.unwrap().unwrap();
    }
}

/// The next event that `wanted` has something to say of.
async fn event<T>(connection: &PeerConnection, wanted: impl Fn(PeerEvent) -> Option<T>) -> T {
    let wait = async {
        loop {
            match connection.next_event().await {
                Some(event) => {
                    if let Some(found) = wanted(event) {
                        return found;
                    }
                }
                None => panic!("closed before it came"),
            }
        }
    };
    timeout(LONG, wait).await.unwrap()
}

async fn track(connection: &PeerConnection) -> RemoteTrack {
    event(connection, |event| match event {
        PeerEvent::Track(track) => Some(track),
        _ => None,
    })
    .await
}

/// A frame of sound, or a picture of VP8 that says whether it needs others; with its number.
fn frame(kind: MediaKind, number: u32, key: bool) -> Vec<u8> {
    let number = number.to_be_bytes();
    match kind {
        Audio => [&[0x78][..], &number, &[7; 75]].concat(),
        Video => [&[u8::from(!key)][..], &number, &[0x55; 2000]].concat(),
    }
}

fn number(frame: &RemoteFrame) -> u32 {
    u32::from_be_bytes(frame.data[1..5].try_into().unwrap())
}

/// Writes frames, as far as they are taken, and a key frame whenever one is due, until it is stopped.
fn film(track: LocalTrack) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        timeout(LONG, track.ready()).await.unwrap().unwrap();
        let (mut key, mut number) = (true, 0);
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                news = track.next_event() => {
                    match news {
                        Some(news) => key |= matches!(news, LocalTrackEvent::KeyFrameRequested { .. }),
                        None => return,
                    }
                    continue;
                }
            }
            let data = frame(track.kind(), number, key);
            let time = Duration::from_millis(20) * number;
            match track.write(&LocalFrame { data: &data, time, ..LocalFrame::default() }) {
                Ok(()) => key = false,
                Err(WriteError::KeyFrameNeeded | WriteError::Paused | WriteError::Full) => key = true,
                Err(error) => panic!("{error}"),
            }
            number += 1;
        }
    })
}

/// Reads so many frames, which have to be in their order.
async fn watch(track: &RemoteTrack, frames: usize) -> Vec<RemoteFrame> {
    let mut seen: Vec<RemoteFrame> = Vec::new();
    while seen.len() < frames {
        let frame = timeout(LONG, track.recv()).await.unwrap().expect("it goes on");
        if let Some(last) = seen.last() {
            assert!(number(&frame) > number(last) && frame.time > last.time, "in order");
        }
        seen.push(frame);
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_and_pictures_travel_both_ways() {
    let (here, there) = (connection(), connection());
    let ours: Vec<_> = [Audio, Video].map(|kind| here.add_track(kind, &["ours"]).unwrap()).into();
    let offer = here.set_local_description(None).await.unwrap();
    there.set_remote_description(offer).await.unwrap();
    let mut theirs = HashMap::new();
    for _ in 0..2 {
        let track = track(&there).await;
        assert_eq!(track.streams(), ["ours"]);
        theirs.insert(track.kind(), track);
    }
    // What the other side offered is used for the way back.
    let back: Vec<_> = [Audio, Video].map(|kind| there.add_track(kind, &["theirs"]).unwrap()).into();
    let answer = there.set_local_description(None).await.unwrap();
    here.set_remote_description(answer).await.unwrap();
    assert_eq!((here.transceivers().len(), there.transceivers().len()), (2, 2));
    let mut came = HashMap::new();
    for _ in 0..2 {
        let track = track(&here).await;
        came.insert(track.kind(), track);
    }
    for transceiver in here.transceivers() {
        assert_eq!(transceiver.current_direction(), Some(Direction::Sendrecv));
    }
    let films: Vec<_> = ours.into_iter().chain(back).map(film).collect();
    for tracks in [&theirs, &came] {
        let sound = watch(&tracks[&Audio], 50).await;
        assert!(sound.iter().all(|frame| frame.codec == Codec::Opus && frame.data.len() == 80));
        let pictures = watch(&tracks[&Video], 50).await;
        assert!(pictures[0].key_frame && pictures.iter().all(|frame| frame.codec == Codec::Vp8));
        assert_eq!(tracks[&Video].dropped(), 0);
    }
    let stats = there.stats();
    assert!(!stats.is_empty());
    for film in films {
        assert!(!film.is_finished());
        film.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_see_asks_for_a_picture_that_needs_no_other() {
    let (here, there) = (connection(), connection());
    let ours = here.add_track(Video, &[]).unwrap();
    negotiate(&here, &there).await;
    let theirs = track(&there).await;
    let film = film(ours.clone());
    let seen = watch(&theirs, 10).await;
    assert_eq!(seen.iter().filter(|frame| frame.key_frame).count(), 1, "the first is enough");
    theirs.request_key_frame(None).unwrap();
    while !watch(&theirs, 1).await[0].key_frame {}
    assert!(ours.bitrate(None).is_some_and(|rate| rate > 0));
    film.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_reads_goes_up_to_a_picture_that_can_be_shown() {
    let small = MediaConfiguration { receive_frames: 5, ..MediaConfiguration::default() };
    let (here, there) = (connection(), connection_with(Some(small)));
    let ours = here.add_track(Video, &[]).unwrap();
    negotiate(&here, &there).await;
    let theirs = track(&there).await;
    let film = film(ours);
    watch(&theirs, 1).await;
    let full = async {
        while theirs.dropped() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, full).await.unwrap();
    // Whatever is left of what was before: the next with a gap before it needs no other.
    let after = async {
        loop {
            let frame = theirs.recv().await.expect("it goes on");
            if frame.after_gap {
                return frame;
            }
        }
    };
    assert!(timeout(LONG, after).await.unwrap().key_frame);
    film.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_forwards_hands_packets_on_as_they_come() {
    let (camera, server, viewer) = (connection(), connection(), connection());
    let ours = camera.add_track(Video, &[]).unwrap();
    negotiate(&camera, &server).await;
    let from = track(&server).await;
    let (out, into) = (connection(), viewer);
    let to = out.add_track(Video, &[]).unwrap();
    negotiate(&out, &into).await;
    let seen = track(&into).await;
    from.set_delivery(Delivery::Packets).unwrap();
    timeout(LONG, to.ready()).await.unwrap().unwrap();
    let film = film(ours);
    let forward = tokio::spawn(async move {
        while let Some(packet) = from.recv_packet().await {
            let format = to.formats()[0].payload_type;
            let outgoing = OutgoingPacket {
                payload_type: format,
                sequence_number: packet.header.sequence_number,
                timestamp: packet.header.timestamp,
                marker: packet.header.marker,
                payload: &packet.payload,
                ..OutgoingPacket::default()
            };
            match to.write_packet(None, &outgoing) {
                Ok(()) | Err(WriteError::Full) => {}
                Err(error) => panic!("{error}"),
            }
        }
    });
    let frames = watch(&seen, 20).await;
    assert!(frames[0].key_frame);
    assert_eq!(number(&frames[19]) - number(&frames[0]), 19, "all of them");
    film.abort();
    forward.abort();
}

#[tokio::test]
async fn a_format_that_the_other_side_does_not_take_is_told_in_words() {
    let only = |codec: Codec| {
        let codecs = RtpCodec::capabilities(Video).into_iter().filter(|it| it.codec == codec).collect();
        Some(MediaConfiguration { codecs, ..MediaConfiguration::default() })
    };
    let (here, there) = (connection(), connection_with(only(Codec::Vp8)));
    let ours = here.add_transceiver(Video, TransceiverInit::default()).unwrap().sender();
    assert_eq!(
        ours.write(&LocalFrame { data: &[0; 10], ..LocalFrame::default() }),
        Err(WriteError::NotReady)
    );
    negotiate(&here, &there).await;
    timeout(LONG, ours.ready()).await.unwrap().unwrap();
    assert!(ours.check_codec(Codec::Vp8).is_ok());
    let error = ours.check_codec(Codec::Av1).unwrap_err();
    assert_eq!(error.to_string(), "the other side takes VP8; this is AV1");
    let frame = LocalFrame { data: &[0x12, 0, 0x0a, 1, 0], codec: Some(Codec::Av1), ..LocalFrame::default() };
    assert_eq!(ours.write(&frame), Err(WriteError::UnknownFormat));
    // Two that have no format in common end the section, and say so.
    let (here, there) = (connection_with(only(Codec::Av1)), connection_with(only(Codec::Vp8)));
    let _sound = here.add_track(Audio, &[]).unwrap();
    let ours = here.add_track(Video, &[]).unwrap();
    negotiate(&here, &there).await;
    let because = event(&here, |event| match event {
        PeerEvent::MediaRejected { because, .. } => Some(because.to_string()),
        _ => None,
    });
    assert_eq!(because.await, "the other side has refused it");
    let theirs = event(&there, |event| match event {
        PeerEvent::MediaRejected { because, .. } => Some(because.to_string()),
        _ => None,
    });
    assert_eq!(theirs.await, "the other side takes AV1; this side has VP8");
    assert!(matches!(timeout(LONG, ours.ready()).await.unwrap(), Err(Error::Media(_) | Error::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_track_ends_with_its_connection() {
    let (here, there) = (connection(), connection());
    let ours = here.add_track(Audio, &[]).unwrap();
    negotiate(&here, &there).await;
    let theirs = track(&there).await;
    let film = film(ours);
    watch(&theirs, 3).await;
    here.close().await;
    let end = async { while theirs.recv().await.is_some() {} };
    timeout(LONG, end).await.unwrap();
    timeout(LONG, film).await.unwrap().unwrap_or_else(|error| assert!(error.is_panic()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_that_nobody_wants_is_answered_and_silent() {
    let (here, there) = (connection(), connection_with(None));
    let ours = here.add_track(Video, &[]).unwrap();
    here.create_data_channel("and a channel", sterna::DataChannelInit::default()).unwrap();
    negotiate(&here, &there).await;
    assert_eq!(there.transceivers().len(), 0);
    let frame = frame(Video, 0, true);
    let frame = LocalFrame { data: &frame, ..LocalFrame::default() };
    assert!(matches!(ours.write(&frame), Err(WriteError::NotSending | WriteError::NotReady)));
}

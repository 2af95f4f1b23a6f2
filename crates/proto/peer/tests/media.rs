//! Offers and answers of sound and pictures, without a network.

use sansio::{Machine, Seed, Time};
use sdp::{Rtp, Section, Session};
use sterna_peer::{
    Codec, Configuration, Connection, DataChannelInit, DescriptionError, Direction, EncodingParameters,
    Error, Event, MediaKind, OfferOptions, Rejection, RtpCodec, SdpType, SessionDescription, SignalingState,
    TransceiverError, TransceiverId, TransceiverInit,
};

use MediaKind::{Audio, Video};

const NOW: Time = Time::ZERO;

fn connection(seed: u64) -> Connection {
    static CERTIFICATES: std::sync::OnceLock<[crypto::Certificate; 2]> = std::sync::OnceLock::new();
    let make = || crypto::Certificate::generate().unwrap();
    let certificate = CERTIFICATES.get_or_init(|| [make(), make()])[(seed % 2) as usize].clone();
    let mut configuration = Configuration::new(Seed::from(seed), certificate);
    configuration.media = Some(Box::default());
    Connection::new(NOW, configuration)
}

fn add(connection: &mut Connection, kind: MediaKind) -> TransceiverId {
    connection.add_transceiver(NOW, kind, TransceiverInit::default()).unwrap()
}

fn add_as(connection: &mut Connection, kind: MediaKind, direction: Direction) -> TransceiverId {
    let init = TransceiverInit { direction, ..TransceiverInit::default() };
    connection.add_transceiver(NOW, kind, init).unwrap()
}

fn parse(description: &SessionDescription) -> Session {
    Session::parse(&description.sdp).unwrap()
}

fn vector(name: &str) -> SessionDescription {
    let path = format!("{}/../sdp/tests/vectors/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
    SessionDescription::offer(std::fs::read_to_string(path).unwrap())
}

#[track_caller]
fn exchange(offerer: &mut Connection, answerer: &mut Connection) -> [Session; 2] {
    let offer = offerer.set_local_description(NOW, None).unwrap();
    answerer.set_remote_description(NOW, offer.clone()).unwrap();
    let answer = answerer.set_local_description(NOW, None).unwrap();
    offerer.set_remote_description(NOW, answer.clone()).unwrap();
    assert_eq!(offerer.signaling_state(), SignalingState::Stable);
    [parse(&offer), parse(&answer)]
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

fn is_needed(connection: &mut Connection) -> bool {
    events(connection).iter().any(|event| matches!(event, Event::NegotiationNeeded))
}

fn rtp(session: &Session, index: usize) -> Rtp {
    session.section(index).unwrap().rtp().unwrap()
}

/// Whether something is sent: what was, and is not any more, is switched off.
fn sends(encodings: &Option<Vec<::rtp::session::Encoding>>) -> bool {
    encodings.iter().flatten().any(|it| it.active)
}

fn mids(connection: &Connection) -> Vec<Option<&str>> {
    connection.transceivers().map(|it| it.mid()).collect()
}

fn only(codec: Codec) -> Vec<RtpCodec> {
    let kind = if codec.is_audio() { Audio } else { Video };
    RtpCodec::capabilities(kind).into_iter().filter(|it| it.codec == codec).collect()
}

#[test]
fn an_offer_has_a_section_for_each_transceiver_and_data_only_if_wanted() {
    let mut a = connection(1);
    add(&mut a, Audio);
    add(&mut a, Video);
    let offer = a.create_offer(NOW, OfferOptions::default()).unwrap();
    let session = parse(&offer);
    let kinds: Vec<&str> = session.sections().map(|it| it.media().kind()).collect();
    assert_eq!(kinds, ["audio", "video"]);
    assert_eq!(session.bundle().unwrap().mids().collect::<Vec<_>>(), ["0", "1"]);
    let (audio, video) = (rtp(&session, 0), rtp(&session, 1));
    let names =
        |rtp: &Rtp| rtp.formats.iter().map(|it| (it.payload_type, it.name.clone())).collect::<Vec<_>>();
    let expected = [(111, "opus"), (63, "red"), (0, "PCMU"), (8, "PCMA")];
    assert_eq!(names(&audio), expected.map(|(number, name)| (number, name.to_owned())));
    let primary = names(&video).into_iter().filter(|(_, name)| name != "rtx").map(|(_, name)| name);
    assert_eq!(primary.collect::<Vec<_>>(), ["VP8", "VP9", "H264", "H264", "H264", "H264", "AV1", "H265"]);
    for format in video.formats.iter().filter(|it| !it.is("rtx")) {
        assert!(video.retransmission(format.payload_type).is_some(), "{format:?}");
        assert!(["nack", "nack pli", "ccm fir", "transport-cc"].iter().all(|it| format.has_feedback(it)));
    }
    for section in session.sections() {
        let rtp = section.rtp().unwrap();
        assert_eq!(section.media().protocol(), "UDP/TLS/RTP/SAVPF");
        assert!(section.ice_ufrag().is_some() && section.fingerprints().count() == 1);
        assert!(rtp.rtcp_mux && rtp.reduced_size && rtp.direction == Direction::Sendrecv);
        assert!(rtp.extensions.iter().any(|it| it.uri == "urn:ietf:params:rtp-hdrext:sdes:mid"));
        assert_eq!(rtp.msids.len(), 1);
        assert!(rtp.primary_sources().count() == 1 && rtp.sources[0].cname.is_some());
    }
    let shared: Vec<_> =
        audio.extensions.iter().filter(|it| video.extensions.iter().any(|own| own == *it)).collect();
    assert_eq!(shared.len(), 4, "one number for an extension, in all sections");
    assert_eq!(a.transceivers().next().unwrap().mid(), None, "making an offer changes nothing");
    a.create_data_channel(NOW, "chat", DataChannelInit::default()).unwrap();
    let session = parse(&a.create_offer(NOW, OfferOptions::default()).unwrap());
    assert!(session.section(2).unwrap().is_data());
    assert_eq!(session.bundle().unwrap().mids().count(), 3);
}

#[test]
fn both_sides_come_to_the_same_terms() {
    let (mut a, mut b) = (connection(1), connection(2));
    let sound = add(&mut a, Audio);
    let pictures = add_as(&mut a, Video, Direction::Sendonly);
    let [_, answer] = exchange(&mut a, &mut b);
    assert_eq!(
        (rtp(&answer, 0).direction, rtp(&answer, 1).direction),
        (Direction::Recvonly, Direction::Recvonly)
    );
    assert_eq!((mids(&a), mids(&b)), (vec![Some("0"), Some("1")], vec![Some("0"), Some("1")]));
    let added = events(&mut b).into_iter().filter(|it| matches!(it, Event::TrackAdded { .. })).count();
    assert_eq!(added, 2);
    assert_eq!(a.transceiver(sound).unwrap().current_direction(), Some(Direction::Sendonly));
    assert_eq!(a.transceiver(pictures).unwrap().current_direction(), Some(Direction::Sendonly));
    let (ours, theirs) = (a.terms(), b.terms());
    for (one, other) in ours.iter().zip(&theirs) {
        assert_eq!((&one.mid, one.kind), (&other.mid, other.kind));
        assert_eq!((&one.formats, &one.extensions), (&other.formats, &other.extensions));
        assert!(sends(&one.send) && !one.receive && !sends(&other.send) && other.receive);
        let sent = &one.send.as_ref().unwrap()[0];
        assert_eq!((other.remote[0].ssrc, other.remote[0].rtx_ssrc), (sent.ssrc, sent.rtx_ssrc));
        assert!(one.reduced_size && one.mixed && one.cryptex && one.receiver_time);
    }
    assert_eq!(ours[1].formats[0].codec, Codec::Vp8);
    assert_eq!((ours[1].formats[0].rtx, ours[1].formats[0].feedback.nack), (Some(97), true));
    assert_eq!((ours[0].formats[0].red, ours[0].formats[0].payload_type), (Some(63), 111));
    assert!(a.transceiver(pictures).unwrap().check_codec(Codec::Av1).is_ok());
    // The answerer sends as well, by the same sections.
    events(&mut a);
    for id in b.transceivers().map(|it| it.id()).collect::<Vec<_>>() {
        b.set_direction(NOW, id, Direction::Sendrecv).unwrap();
    }
    assert!(is_needed(&mut b));
    let [offer, answer] = exchange(&mut b, &mut a);
    assert_eq!((offer.media.len(), rtp(&answer, 0).direction), (2, Direction::Sendrecv));
    assert_eq!(rtp(&answer, 1).direction, Direction::Sendonly, "it is not to receive");
    assert!(a.terms()[0].receive && b.terms()[0].send.is_some() && !a.terms()[1].receive);
    assert!(!is_needed(&mut a) && !is_needed(&mut b));
}

#[test]
fn tracks_are_answered_by_tracks() {
    let (mut a, mut b) = (connection(1), connection(2));
    a.add_track(NOW, Video, vec!["camera".into()]).unwrap();
    let own = b.add_track(NOW, Video, vec!["other".into(), "another".into()]).unwrap();
    let [_, answer] = exchange(&mut a, &mut b);
    assert_eq!((answer.media.len(), rtp(&answer, 0).direction), (1, Direction::Sendrecv));
    assert_eq!(b.transceivers().count(), 1, "what add_track made is used");
    let added = |connection: &mut Connection| {
        events(connection).into_iter().find_map(|event| match event {
            Event::TrackAdded { transceiver, streams } => Some((transceiver, streams)),
            _ => None,
        })
    };
    assert_eq!(added(&mut b), Some((own, vec!["camera".to_owned()])));
    assert_eq!(added(&mut a).unwrap().1, ["other", "another"]);
    assert_eq!(a.transceivers().next().unwrap().remote_streams(), ["other", "another"]);
    // One of add_transceiver is not.
    let (mut a, mut b) = (connection(3), connection(4));
    add(&mut a, Video);
    add(&mut b, Video);
    exchange(&mut a, &mut b);
    assert_eq!(mids(&b), [None, Some("0")]);
    assert!(is_needed(&mut b), "the other one is still to be told");
}

#[test]
fn add_track_uses_a_transceiver_that_has_sent_nothing() {
    let mut a = connection(1);
    let receiving = add_as(&mut a, Video, Direction::Recvonly);
    assert_ne!(a.add_track(NOW, Audio, vec![]), Ok(receiving));
    assert_eq!(a.add_track(NOW, Video, vec![]), Ok(receiving));
    assert_eq!(a.transceiver(receiving).unwrap().direction(), Direction::Sendrecv);
    assert_ne!(a.add_track(NOW, Video, vec![]), Ok(receiving));
    a.remove_track(NOW, receiving).unwrap();
    assert_eq!(a.transceiver(receiving).unwrap().direction(), Direction::Recvonly);
}

#[test]
fn browsers_offers_are_answered_in_kind() {
    for (name, places) in [
        ("chrome-audio-video-data-offer", [0, 1]),
        ("chrome-audio-video-data-offer-max-bundle", [0, 1]),
        ("firefox-audio-video-data-offer", [0, 1]),
        ("aiortc-audio-video-data-offer", [0, 1]),
        ("gstreamer-video-audio-offer", [1, 0]),
    ] {
        let mut b = connection(2);
        let sound = b.add_track(NOW, Audio, vec!["s".into()]).unwrap();
        let pictures = b.add_track(NOW, Video, vec!["s".into()]).unwrap();
        let offer = parse(&vector(name));
        b.set_remote_description(NOW, vector(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let answer = parse(&b.set_local_description(NOW, None).unwrap());
        assert_eq!(answer.media.len(), offer.media.len(), "{name}");
        assert!(answer.sections().all(|it| !it.is_rejected()), "{name}: {answer}");
        assert!(answer.bundle().unwrap().mids().eq(offer.bundle().unwrap().mids()), "{name}");
        for (id, index) in [sound, pictures].into_iter().zip(places) {
            let (ours, theirs) = (rtp(&answer, index), rtp(&offer, index));
            assert_eq!(b.transceiver(id).unwrap().mid(), offer.section(index).unwrap().mid(), "{name}");
            assert_eq!(ours.direction, Direction::Sendrecv, "{name}");
            for format in &ours.formats {
                let offered = theirs.format(format.payload_type).expect("what is answered was offered");
                assert!(offered.is(&format.name) && offered.clock_rate == format.clock_rate, "{name}");
                assert!(format.feedback.iter().all(|it| offered.has_feedback(it)), "{name}");
                assert_eq!(format.repeats(), offered.repeats(), "{name}");
            }
            for extension in &ours.extensions {
                let same = |it: &&sdp::Extmap| it.id == extension.id && it.uri == extension.uri;
                assert_eq!(theirs.extensions.iter().filter(same).count(), 1, "{name}");
            }
            assert_eq!(ours.reduced_size, theirs.reduced_size, "{name}");
            let terms = &b.terms();
            let terms =
                terms.iter().find(|it| &*it.mid == offer.section(index).unwrap().mid().unwrap()).unwrap();
            assert!(!terms.formats.is_empty() && terms.receive && terms.send.is_some(), "{name}");
            assert_eq!(terms.remote.len(), 1, "{name}");
        }
    }
}

#[test]
fn payload_types_of_the_other_side_stay_in_our_offers() {
    let mut b = connection(2);
    b.set_remote_description(NOW, vector("firefox-audio-video-data-offer")).unwrap();
    let answer = parse(&b.set_local_description(NOW, None).unwrap());
    let next = parse(&b.create_offer(NOW, OfferOptions::default()).unwrap());
    for index in 0..2 {
        let (before, after) = (rtp(&answer, index), rtp(&next, index));
        for format in &before.formats {
            let again = after.format(format.payload_type).unwrap();
            assert_eq!((&again.name, &again.repeats()), (&format.name, &format.repeats()));
        }
        for extension in &before.extensions {
            let again = after.extensions.iter().find(|it| it.uri == extension.uri).unwrap();
            assert_eq!(again.id, extension.id);
        }
        let mut numbers: Vec<u8> = after.formats.iter().map(|it| it.payload_type).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), after.formats.len());
    }
    assert_eq!(rtp(&answer, 1).formats[0].payload_type, 120);
}

#[test]
fn no_common_format_refuses_the_section_and_says_why() {
    let mut b = connection(2);
    let pictures = b.add_track(NOW, Video, vec![]).unwrap();
    b.set_codec_preferences(NOW, pictures, only(Codec::H265)).unwrap();
    b.set_remote_description(NOW, vector("aiortc-audio-video-data-offer")).unwrap();
    assert_eq!(b.transceiver(pictures).unwrap().mid(), Some("1"));
    let answer = parse(&b.set_local_description(NOW, None).unwrap());
    assert!(answer.section(1).unwrap().is_rejected() && !answer.section(0).unwrap().is_rejected());
    let told = events(&mut b).into_iter().find_map(|event| match event {
        Event::MediaRejected { transceiver, because, .. } => Some((transceiver, because.to_string())),
        _ => None,
    });
    let words = "the other side takes VP8 and H.264; this side has H.265";
    assert_eq!(told, Some((Some(pictures), words.to_owned())));
}

#[test]
fn contradictions_are_refused_clearly() {
    let mut b = connection(2);
    let offer = vector("chrome-audio-video-data-offer").sdp;
    for (from, to, words) in [
        ("a=mid:1\n", "a=mid:0\n", "a second section with this mid"),
        ("SAVPF 96 97 ", "SAVPF 96 97 97 ", "payload type 97 is given twice"),
        ("a=fmtp:97 apt=96\n", "a=fmtp:97 apt=97\n", "payload type 97 retransmits retransmissions"),
        ("a=fmtp:97 apt=96\n", "a=fmtp:97 apt=103\n", "payload type 97 retransmits retransmissions"),
        (
            "a=rtpmap:96 VP8/90000\n",
            "a=rtpmap:96 VP8/90000\na=rtpmap:96 VP9/90000\n",
            "payload type 96 is given twice",
        ),
        ("a=extmap:14 ", "a=extmap:2 ", "header extension 2 (a=extmap) is given twice"),
    ] {
        let bad = offer.replacen(from, to, 1);
        assert_ne!(bad, offer, "{from}");
        let error = b.set_remote_description(NOW, SessionDescription::offer(bad)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(b.signaling_state(), SignalingState::Stable);
    }
    let collides = offer
        .replacen("SAVPF 96 97 ", "SAVPF 111 97 ", 1)
        .replace(":96 ", ":111 ")
        .replace("apt=96", "apt=111");
    let error = b.set_remote_description(NOW, SessionDescription::offer(collides)).unwrap_err();
    assert_eq!(error, Error::Description(DescriptionError::PayloadTypeCollision(111)));
    assert_eq!(b.transceivers().count(), 0);
}

#[test]
fn a_stopped_transceiver_leaves_a_place_that_is_used_again() {
    let (mut a, mut b) = (connection(1), connection(2));
    let sound = add(&mut a, Audio);
    let pictures = add(&mut a, Video);
    exchange(&mut a, &mut b);
    events(&mut a);
    a.stop_transceiver(NOW, pictures).unwrap();
    assert!(is_needed(&mut a));
    assert_eq!(a.stop_transceiver(NOW, pictures), Err(TransceiverError::Stopped));
    let [offer, answer] = exchange(&mut a, &mut b);
    for session in [&offer, &answer] {
        let rejected: Vec<bool> = session.sections().map(Section::is_rejected).collect();
        assert_eq!(rejected, [false, true]);
        assert_eq!(session.bundle().unwrap().mids().collect::<Vec<_>>(), ["0"]);
    }
    assert_eq!(
        (a.transceiver(pictures).is_none(), mids(&a), mids(&b)),
        (true, vec![Some("0")], vec![Some("0")])
    );
    assert!(events(&mut b).iter().any(|event| matches!(event, Event::TrackEnded(_))));
    assert!(!is_needed(&mut a) && a.transceiver(sound).is_some());
    add(&mut a, Audio);
    let [offer, _] = exchange(&mut a, &mut b);
    assert_eq!(offer.media.len(), 2, "recycled");
    let section = offer.section(1).unwrap();
    assert_eq!((section.media().kind(), section.mid()), ("audio", Some("2")), "under a new name");
    assert_eq!((mids(&a), mids(&b)), (vec![Some("0"), Some("2")], vec![Some("0"), Some("2")]));
}

#[test]
fn a_section_that_the_answer_refuses_ends_its_transceiver() {
    let mut a = connection(1);
    let sound = add(&mut a, Audio);
    let pictures = add(&mut a, Video);
    a.set_codec_preferences(NOW, pictures, only(Codec::Av1)).unwrap();
    let mut b = connection(2);
    b.set_remote_description(NOW, a.set_local_description(NOW, None).unwrap()).unwrap();
    let own = b.transceivers().nth(1).unwrap().id();
    b.set_codec_preferences(NOW, own, [only(Codec::Vp8), only(Codec::H264)].concat()).unwrap();
    let answer = b.set_local_description(NOW, None).unwrap();
    assert!(parse(&answer).section(1).unwrap().is_rejected());
    a.set_remote_description(NOW, answer).unwrap();
    assert!(a.transceiver(pictures).is_none() && a.transceiver(sound).is_some());
    let refused = events(&mut a).into_iter().find_map(|event| match event {
        Event::MediaRejected { mid, transceiver, because, .. } => Some((mid, transceiver, because)),
        _ => None,
    });
    assert_eq!(refused, Some((Some("1".into()), Some(pictures), Rejection::Refused)));
    assert_eq!((a.terms().len(), b.terms().len()), (1, 1));
}

#[test]
fn what_the_other_side_takes_is_told_in_words() {
    let (mut a, mut b) = (connection(1), connection(2));
    let pictures = add(&mut a, Video);
    let own = add_as(&mut b, Video, Direction::Recvonly);
    b.set_codec_preferences(NOW, own, [only(Codec::Vp8), only(Codec::H264)].concat()).unwrap();
    exchange(&mut b, &mut a);
    let id = a.transceivers().find(|it| it.mid().is_some()).unwrap().id();
    assert_ne!(id, pictures);
    let transceiver = a.transceiver(id).unwrap();
    assert!(transceiver.check_codec(Codec::H264).is_ok());
    let error = transceiver.check_codec(Codec::Av1).unwrap_err();
    assert_eq!(error.to_string(), "the other side takes VP8 and H.264; this is AV1");
    // An offer of formats that are not known here at all.
    let exotic =
        parse(&b.local_description().unwrap()).to_string().replace("VP8/", "X8/").replace("H264/", "X9/");
    let exotic = exotic.replace("a=mid:0", "a=mid:9").replace("BUNDLE 0", "BUNDLE 9");
    let mut c = connection(3);
    c.set_remote_description(NOW, SessionDescription::offer(exotic)).unwrap();
    let because = events(&mut c).into_iter().find_map(|event| match event {
        Event::MediaRejected { because, .. } => Some(because.to_string()),
        _ => None,
    });
    let because = because.unwrap();
    assert!(
        because.starts_with("the other side takes X8, rtx")
            && because.contains("this side has VP8, VP9, H.264, AV1 and H.265"),
        "{because}"
    );
    assert!(parse(&c.set_local_description(NOW, None).unwrap()).sections().all(Section::is_rejected));
}

#[test]
fn simulcast_is_offered_and_answered() {
    let (mut a, mut b) = (connection(1), connection(2));
    let send_encodings = ["h", "m", "l"].map(EncodingParameters::named).to_vec();
    let init =
        TransceiverInit { direction: Direction::Sendonly, send_encodings, ..TransceiverInit::default() };
    let id = a.add_transceiver(NOW, Video, init).unwrap();
    let [offer, answer] = exchange(&mut a, &mut b);
    let sent: Vec<String> = rtp(&offer, 0).simulcast.unwrap().send.iter().map(|it| it.id().into()).collect();
    let taken: Vec<String> =
        rtp(&answer, 0).simulcast.unwrap().receive.iter().map(|it| it.id().into()).collect();
    assert_eq!(
        (sent, taken),
        (vec!["h".into(), "m".into(), "l".into()], vec!["h".to_owned(), "m".into(), "l".into()])
    );
    assert!(rtp(&offer, 0).sources.is_empty(), "the names tell them apart");
    let terms = a.terms();
    let rids = terms[0].send.iter().flatten().map(|it| it.rid.clone());
    assert_eq!(rids.collect::<Vec<_>>(), ["h", "m", "l"].map(|it| Some(it.into())));
    assert_eq!(b.terms()[0].remote_rids, ["h", "m", "l"].map(Into::into));
    assert!(a.transceiver(id).unwrap().ssrc(Some("m")).is_some());
}

#[test]
fn a_forwarder_chooses_among_encodings() {
    let offer_of = |rids: [&str; 3]| {
        let mut a = connection(1);
        let send_encodings = rids.map(EncodingParameters::named).to_vec();
        let init =
            TransceiverInit { direction: Direction::Sendonly, send_encodings, ..TransceiverInit::default() };
        let id = a.add_transceiver(NOW, Video, init).unwrap();
        a.set_local_description(NOW, None).unwrap();
        (a, id)
    };
    let answer = std::fs::read_to_string(format!(
        "{}/../sdp/tests/vectors/forwarder-simulcast-answer.sdp",
        env!("CARGO_MANIFEST_DIR")
    ));
    let answer = answer.unwrap();
    let (mut a, _) = offer_of(["h", "m", "l"]);
    a.set_remote_description(NOW, SessionDescription::answer(answer.clone())).unwrap();
    let active: Vec<bool> = a.terms()[0].send.as_ref().unwrap().iter().map(|it| it.active).collect();
    assert_eq!(active, [true, true, false], "the last is wanted later");
    // Only one of ours is taken.
    let (mut a, id) = offer_of(["x", "m", "y"]);
    a.set_remote_description(NOW, SessionDescription::answer(answer.clone())).unwrap();
    let left: Vec<_> = a.transceiver(id).unwrap().encodings().map(|it| it.rid.clone()).collect();
    assert_eq!(left, [Some("m".to_owned())]);
    // It knows nothing of simulcast.
    let (mut a, id) = offer_of(["h", "m", "l"]);
    let plain: String = answer
        .lines()
        .filter(|it| !it.starts_with("a=rid") && !it.starts_with("a=simulcast"))
        .map(|it| format!("{it}\n"))
        .collect();
    a.set_remote_description(NOW, SessionDescription::answer(plain)).unwrap();
    let left: Vec<_> = a.transceiver(id).unwrap().encodings().map(|it| it.rid.clone()).collect();
    assert_eq!(left, [None], "the first one, as if there had never been others");
}

#[test]
fn simulcast_that_is_asked_for_is_sent() {
    let mut b = connection(2);
    let id = b.add_track(NOW, Video, vec![]).unwrap();
    let offer = vector("chrome-simulcast-offer")
        .sdp
        .replace("a=sendonly", "a=recvonly")
        .replace(" send\n", " recv\n");
    b.set_remote_description(
        NOW,
        SessionDescription::offer(offer.replace("simulcast:send", "simulcast:recv")),
    )
    .unwrap();
    let answer = parse(&b.set_local_description(NOW, None).unwrap());
    assert_eq!(rtp(&answer, 0).simulcast.unwrap().to_string(), "send h;m;l");
    assert_eq!(b.transceiver(id).unwrap().encodings().count(), 3);
    assert_eq!(b.terms()[0].send.as_ref().unwrap().len(), 3);
}

#[test]
fn chromiums_simulcast_is_taken() {
    let mut b = connection(2);
    b.set_remote_description(NOW, vector("chrome-simulcast-offer")).unwrap();
    let answer = parse(&b.set_local_description(NOW, None).unwrap());
    let answered = rtp(&answer, 0);
    assert_eq!(answered.simulcast.unwrap().to_string(), "recv h;m;l");
    assert!(answered.rids.len() == 3 && answered.rids.iter().all(|rid| !rid.sends));
    assert_eq!(b.terms()[0].remote_rids, ["h", "m", "l"].map(Into::into));
    assert_eq!(answered.formats[0].name, "VP8");
}

#[test]
fn names_of_encodings_are_checked() {
    let mut a = connection(1);
    let mut with = |rids: &[Option<&str>]| {
        let encoding =
            |rid: &Option<&str>| EncodingParameters { rid: rid.map(String::from), ..Default::default() };
        let send_encodings = rids.iter().map(encoding).collect();
        a.add_transceiver(NOW, Video, TransceiverInit { send_encodings, ..Default::default() })
    };
    for bad in [
        &[Some("a"), Some("a")][..],
        &[Some("a"), None],
        &[Some("ä")],
        &[Some("")],
        &[Some("12345678901234567")],
    ] {
        assert_eq!(with(bad), Err(TransceiverError::Rid), "{bad:?}");
    }
    let many: Vec<String> = (0..9).map(|it| it.to_string()).collect();
    assert_eq!(
        with(&many.iter().map(|it| Some(it.as_str())).collect::<Vec<_>>()),
        Err(TransceiverError::TooMany)
    );
    assert!(with(&[Some("a"), Some("b")]).is_ok());
}

#[test]
fn preferences_decide_about_the_order_of_answers() {
    let (mut a, mut b) = (connection(1), connection(2));
    add(&mut a, Video);
    let own = b.add_track(NOW, Video, vec![]).unwrap();
    b.set_codec_preferences(NOW, own, [only(Codec::Av1), only(Codec::Vp8)].concat()).unwrap();
    assert_eq!(b.set_codec_preferences(NOW, own, only(Codec::Opus)), Err(TransceiverError::Codec));
    let [_, answer] = exchange(&mut a, &mut b);
    let names: Vec<String> = rtp(&answer, 0).formats.iter().map(|it| it.name.clone()).collect();
    assert_eq!(names, ["AV1", "rtx", "VP8", "rtx"]);
    for terms in [a.terms(), b.terms()] {
        let codecs: Vec<Codec> = terms[0].formats.iter().map(|it| it.codec).collect();
        assert_eq!(codecs, [Codec::Av1, Codec::Vp8]);
    }
}

#[test]
fn an_offer_that_is_taken_back_leaves_no_trace() {
    let (mut a, mut b) = (connection(1), connection(2));
    let sound = add(&mut a, Audio);
    exchange(&mut a, &mut b);
    let before = (a.terms(), b.terms());
    add(&mut a, Video);
    let offer = a.set_local_description(NOW, None).unwrap();
    assert_eq!(mids(&a), [Some("0"), Some("1")]);
    b.set_remote_description(NOW, offer).unwrap();
    assert_eq!(b.transceivers().count(), 2);
    a.set_local_description(NOW, Some(SessionDescription::rollback())).unwrap();
    b.set_remote_description(NOW, SessionDescription::rollback()).unwrap();
    assert_eq!((mids(&a), mids(&b)), (vec![Some("0"), None], vec![Some("0")]));
    assert!(events(&mut b).iter().any(|event| matches!(event, Event::TrackEnded(_))));
    assert_eq!((a.terms(), b.terms()), before);
    assert!(is_needed(&mut a), "it is still to be told");
    exchange(&mut a, &mut b);
    assert_eq!((mids(&a), mids(&b)), (vec![Some("0"), Some("1")], vec![Some("0"), Some("1")]));
    assert_eq!(a.transceivers().next().unwrap().id(), sound);
}

#[test]
fn glare_keeps_both_sides_transceivers() {
    let (mut polite, mut impolite) = (connection(1), connection(2));
    polite.add_track(NOW, Audio, vec!["p".into()]).unwrap();
    impolite.add_track(NOW, Video, vec!["i".into()]).unwrap();
    polite.set_local_description(NOW, None).unwrap();
    let offer = impolite.set_local_description(NOW, None).unwrap();
    polite.set_remote_description(NOW, offer).unwrap();
    assert_eq!(mids(&polite), [None, Some("0")]);
    let answer = polite.set_local_description(NOW, None).unwrap();
    impolite.set_remote_description(NOW, answer).unwrap();
    assert!(is_needed(&mut polite));
    exchange(&mut polite, &mut impolite);
    assert_eq!((mids(&polite), mids(&impolite)), (vec![Some("1"), Some("0")], vec![Some("0"), Some("1")]));
}

#[test]
fn directions_change_and_tracks_fall_silent_and_come_back() {
    let (mut a, mut b) = (connection(1), connection(2));
    let pictures = a.add_track(NOW, Video, vec!["s".into()]).unwrap();
    exchange(&mut a, &mut b);
    let theirs = b.transceivers().next().unwrap().id();
    events(&mut a);
    events(&mut b);
    a.set_direction(NOW, pictures, Direction::Inactive).unwrap();
    assert!(is_needed(&mut a));
    exchange(&mut a, &mut b);
    assert!(events(&mut b).iter().any(|event| matches!(event, Event::TrackMuted(id) if *id == theirs)));
    assert_eq!(b.transceiver(theirs).unwrap().current_direction(), Some(Direction::Inactive));
    assert!(!sends(&a.terms()[0].send) && !b.terms()[0].receive);
    a.set_direction(NOW, pictures, Direction::Sendonly).unwrap();
    assert!(is_needed(&mut a));
    exchange(&mut a, &mut b);
    let back =
        |event: &Event| matches!(event, Event::TrackAdded { transceiver, .. } if *transceiver == theirs);
    assert!(events(&mut b).iter().any(back));
    assert!(b.terms()[0].receive && !is_needed(&mut a));
}

#[test]
fn streams_that_change_are_news() {
    let (mut a, mut b) = (connection(1), connection(2));
    let pictures = a.add_track(NOW, Video, vec!["s".into()]).unwrap();
    exchange(&mut a, &mut b);
    events(&mut a);
    a.set_streams(NOW, pictures, vec!["t".into()]).unwrap();
    assert!(is_needed(&mut a));
    exchange(&mut a, &mut b);
    assert_eq!(b.transceivers().next().unwrap().remote_streams(), ["t"]);
    assert!(!is_needed(&mut a));
}

#[test]
fn data_channels_join_a_call_and_leave_it() {
    let (mut a, mut b) = (connection(1), connection(2));
    add(&mut a, Audio);
    exchange(&mut a, &mut b);
    events(&mut a);
    a.create_data_channel(NOW, "chat", DataChannelInit::default()).unwrap();
    assert!(is_needed(&mut a));
    let [offer, answer] = exchange(&mut a, &mut b);
    for session in [&offer, &answer] {
        assert!(session.section(1).unwrap().is_data() && !session.section(1).unwrap().is_rejected());
        assert_eq!(session.bundle().unwrap().mids().collect::<Vec<_>>(), ["0", "1"]);
        assert!(
            session.section(1).unwrap().attribute("sctp-init").is_some(),
            "it is told from its beginning"
        );
    }
    let [offer, answer] = exchange(&mut b, &mut a);
    assert!(offer.media.len() == 2 && answer.sections().all(|it| !it.is_rejected()));
    // It is refused later; the call goes on.
    let offer = a.set_local_description(NOW, None).unwrap();
    b.set_remote_description(NOW, offer).unwrap();
    let mut answer = parse(&b.set_local_description(NOW, None).unwrap());
    answer.media[1].port = 0;
    answer.lines.remove_attribute("group");
    answer.lines.push_attribute("group", "BUNDLE 0");
    a.set_remote_description(NOW, SessionDescription::answer(answer.to_string())).unwrap();
    assert!(events(&mut a).iter().any(|event| matches!(event, Event::ChannelClosed(_))));
    assert_eq!(a.terms().len(), 1);
}

#[test]
fn without_interest_media_is_silent_as_ever() {
    let mut b =
        Connection::new(NOW, Configuration::new(Seed::from(2), crypto::Certificate::generate().unwrap()));
    b.set_remote_description(NOW, vector("chrome-audio-video-data-offer")).unwrap();
    let answer = parse(&b.set_local_description(NOW, None).unwrap());
    assert!(answer.sections().take(2).all(|it| it.direction() == Direction::Inactive && !it.is_rejected()));
    assert_eq!((b.transceivers().count(), b.terms().len()), (0, 0));
}

#[test]
fn a_section_on_a_transport_of_its_own_is_refused() {
    let mut b = connection(2);
    let offer = vector("chrome-audio-video-data-offer").sdp.replace("BUNDLE 0 1 2", "BUNDLE 0 2");
    b.set_remote_description(NOW, SessionDescription::offer(offer)).unwrap();
    let answer = parse(&b.set_local_description(NOW, None).unwrap());
    let rejected: Vec<bool> = answer.sections().map(Section::is_rejected).collect();
    assert_eq!(rejected, [false, true, false]);
    let told = |event: &Event| matches!(event, Event::MediaRejected { because: Rejection::NotBundled, .. });
    assert!(events(&mut b).iter().any(told));
}

#[test]
fn after_closing_nothing_is_added() {
    let mut a = connection(1);
    let id = add(&mut a, Video);
    a.close(NOW);
    assert_eq!(a.add_track(NOW, Video, vec![]), Err(TransceiverError::Closed));
    assert!(a.transceiver(id).is_none());
}

/// Two applications that do W3C's perfect negotiation (the second is polite), with wishes and messages in any order.
struct Perfect {
    dice: sansio::Rng,
    sides: [Connection; 2],
    mail: [std::collections::VecDeque<SessionDescription>; 2],
}

impl Perfect {
    fn step(&mut self) -> bool {
        let side = self.dice.below(2) as usize;
        let mut busy = false;
        if self.dice.below(2) == 0 && is_needed(&mut self.sides[side]) {
            let offer = self.sides[side].set_local_description(NOW, None).unwrap();
            self.mail[1 - side].push_back(offer);
            busy = true;
        }
        let Some(description) = self.mail[side].pop_front() else { return busy };
        let connection = &mut self.sides[side];
        let is_offer = description.kind == SdpType::Offer;
        if is_offer && side == 0 && connection.signaling_state() != SignalingState::Stable {
            return true;
        }
        connection.set_remote_description(NOW, description).unwrap();
        if is_offer {
            let answer = connection.set_local_description(NOW, None).unwrap();
            self.mail[1 - side].push_back(answer);
        }
        true
    }

    fn wish(&mut self) {
        let kind = if self.dice.below(2) == 0 { Audio } else { Video };
        let direction = Direction::ALL[self.dice.below(4) as usize];
        let connection = &mut self.sides[self.dice.below(2) as usize];
        let living: Vec<_> =
            connection.transceivers().filter(|it| !it.is_stopped()).map(|it| it.id()).collect();
        let any = (!living.is_empty()).then(|| living[self.dice.below(living.len() as u64) as usize]);
        match (self.dice.below(7), any) {
            (0, _) if living.len() < 6 => drop(add_as(connection, kind, direction)),
            (1, _) if living.len() < 6 => drop(connection.add_track(NOW, kind, vec!["s".into()]).unwrap()),
            (2, Some(id)) => connection.stop_transceiver(NOW, id).unwrap(),
            (3 | 4, Some(id)) => connection.set_direction(NOW, id, direction).unwrap(),
            (5, _) => drop(connection.create_data_channel(NOW, "x", DataChannelInit::default()).unwrap()),
            _ => connection.restart_ice(NOW),
        }
    }
}

#[test]
fn perfect_negotiation_of_media_always_settles_on_the_same() {
    for seed in 0..200 {
        let sides = [connection(seed * 2), connection(seed * 2 + 1)];
        let mut world = Perfect { dice: sansio::Rng::new(Seed::from(seed)), sides, mail: Default::default() };
        for _ in 0..120 {
            if world.dice.below(6) == 0 {
                world.wish();
            }
            world.step();
        }
        let mut quiet = 0;
        for _ in 0..10_000 {
            quiet = if world.step() { 0 } else { quiet + 1 };
            if quiet > 40 {
                break;
            }
        }
        assert!(quiet > 40, "seed {seed}: it never ends");
        let [a, b] = &world.sides;
        for (one, other) in [(a, b), (b, a)] {
            assert_eq!(one.signaling_state(), SignalingState::Stable, "seed {seed}");
            assert_eq!(one.current_local_description(), other.current_remote_description(), "seed {seed}");
            assert!(one.transceivers().all(|it| it.mid().is_some() && !it.is_stopped()), "seed {seed}");
        }
        let mut pairs = [a.terms(), b.terms()];
        pairs.iter_mut().for_each(|terms| terms.sort_by(|one, other| one.mid.cmp(&other.mid)));
        let [ours, theirs] = pairs;
        assert_eq!(ours.len(), theirs.len(), "seed {seed}");
        for (one, other) in ours.iter().zip(&theirs) {
            assert_eq!((&one.mid, one.kind), (&other.mid, other.kind), "seed {seed}");
            assert_eq!((sends(&one.send), one.receive), (other.receive, sends(&other.send)), "seed {seed}");
            assert_eq!((&one.formats, &one.extensions), (&other.expected, &other.extensions), "seed {seed}");
        }
    }
}

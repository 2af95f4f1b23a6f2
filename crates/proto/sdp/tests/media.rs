//! What sections of sound and pictures say: of real peers, of untidy ones, and of those who contradict themselves.

use proptest::prelude::*;
use sterna_sdp::{
    Direction, Extmap, Format, Media, MediaError, Msid, Origin, Rid, Rtp, Session, Simulcast,
    SimulcastStream, Source, SourceGroup,
};

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";

fn vector(name: &str) -> Session {
    let path = format!("{}/tests/vectors/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
    Session::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The first section of a description with this `m=` line and these lines below it.
fn read(media: &str, lines: &[&str]) -> Result<Rtp, MediaError> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let session = Session::parse(&format!("{HEAD}m={media}\r\n{lines}")).unwrap();
    session.section(0).unwrap().rtp()
}

const VIDEO: &str = "video 9 UDP/TLS/RTP/SAVPF 96 97";

#[test]
fn what_chromium_offers_is_understood() {
    let session = vector("chrome-audio-video-data-offer");
    let audio = session.section(0).unwrap().rtp().unwrap();
    let names: Vec<&str> = audio.formats.iter().map(|it| it.name.as_str()).collect();
    let all = ["opus", "red", "G722", "PCMU", "PCMA", "CN", "telephone-event", "telephone-event"];
    assert_eq!(names, all);
    let opus = &audio.formats[0];
    assert_eq!((opus.payload_type, opus.clock_rate, opus.channels), (111, 48_000, 2));
    assert_eq!((opus.parameter("useinbandfec"), opus.has_feedback("transport-cc")), (Some("1"), true));
    assert!(audio.rtcp_mux && audio.reduced_size && audio.mixed_extensions && !audio.rtcp_mux_only);
    assert!(audio.receiver_time && !audio.cryptex);
    assert_eq!(audio.extensions[3], Extmap::new(4, "urn:ietf:params:rtp-hdrext:sdes:mid"));
    assert_eq!(audio.sources[0].cname.as_deref(), Some("bDhc2I4VVUrN4Z2R"));
    assert_eq!(audio.msids[0].stream, None);

    let video = session.section(1).unwrap().rtp().unwrap();
    assert_eq!(video.formats.len(), 23);
    assert_eq!((video.retransmission(96), video.retransmission(120)), (Some(97), None));
    let h264 = video.format(108).unwrap();
    assert_eq!((h264.parameter("profile-level-id"), h264.feedback.len()), (Some("42e01f"), 5));
    assert!(h264.has_feedback("ccm fir") && h264.has_feedback("nack pli") && !h264.has_feedback("pli"));
    assert_eq!(video.repeated_by(2_539_493_655), Some(204_969_518));
    assert_eq!(video.primary_sources().map(|it| it.ssrc).collect::<Vec<_>>(), [2_539_493_655]);
}

#[test]
fn what_firefox_and_aiortc_offer_is_understood() {
    let session = vector("firefox-audio-video-data-offer");
    let audio = session.section(0).unwrap().rtp().unwrap();
    assert_eq!((audio.formats[1].name.as_str(), audio.formats[1].channels), ("G722", 1));
    assert_eq!(audio.extensions[1].direction, Direction::Recvonly);
    let video = session.section(1).unwrap().rtp().unwrap();
    assert_eq!(video.retransmission(126), Some(127));
    assert_eq!(video.msids[0].track.as_deref(), Some("{4f9e0c83-b2d5-4a16-8e7c-31fa96d0b527}"));
    let session = vector("aiortc-audio-video-data-offer");
    let video = session.section(1).unwrap().rtp().unwrap();
    assert_eq!((video.formats.len(), video.retransmission(101)), (6, Some(102)));
    assert_eq!(video.repeated_by(2_002_202_557), Some(3_274_934_116));
}

#[test]
fn what_gstreamer_offers_is_understood() {
    let session = vector("gstreamer-video-audio-offer");
    let video = session.section(0).unwrap().rtp().unwrap();
    let names: Vec<&str> = video.formats.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["H264", "red", "ulpfec", "rtx"]);
    assert_eq!(video.formats[0].parameter("packetization-mode"), Some("1"));
    assert_eq!(video.formats[0].feedback, ["nack", "nack pli", "ccm fir", "transport-cc"]);
    assert_eq!((video.retransmission(96), video.direction), (Some(99), Direction::Sendrecv));
    assert_eq!(video.sources[0].msid.as_deref(), Some("user1573820303@host-5f7a webrtctransceiver0"));
    let audio = session.section(1).unwrap().rtp().unwrap();
    assert_eq!((audio.formats[0].name.as_str(), audio.formats[0].channels), ("OPUS", 2));
}

#[test]
fn simulcast_of_chromium_and_of_a_forwarder_is_understood() {
    let session = vector("chrome-simulcast-offer");
    let video = session.section(0).unwrap().rtp().unwrap();
    let names: Vec<(&str, bool)> = video.rids.iter().map(|rid| (rid.id.as_str(), rid.sends)).collect();
    assert_eq!(names, [("h", true), ("m", true), ("l", true)]);
    let sent: Vec<&str> = video.simulcast.as_ref().unwrap().send.iter().map(SimulcastStream::id).collect();
    assert_eq!((sent, video.sources.len()), (vec!["h", "m", "l"], 0));
    let session = vector("forwarder-simulcast-answer");
    let video = session.section(0).unwrap().rtp().unwrap();
    let wanted = &video.simulcast.as_ref().unwrap().receive;
    let wanted: Vec<(&str, bool)> = wanted.iter().map(|it| (it.id(), it.paused)).collect();
    assert_eq!(wanted, [("h", false), ("m", false), ("l", true)]);
    assert!(video.rids.iter().all(|rid| !rid.sends));
    assert_eq!(video.rids[0].restrictions[0], ("max-width".to_owned(), "1280".to_owned()));
}

#[test]
fn payload_types_have_one_meaning() {
    let vp8 = "a=rtpmap:96 VP8/90000";
    assert_eq!(read("video 9 UDP/TLS/RTP/SAVPF 96 128", &[vp8]), Err(MediaError::PayloadType));
    assert_eq!(read("video 9 UDP/TLS/RTP/SAVPF 96 x", &[vp8]), Err(MediaError::PayloadType));
    let twice = MediaError::DuplicatePayloadType(96);
    assert_eq!(read("video 9 UDP/TLS/RTP/SAVPF 96 97 96", &[vp8]), Err(twice));
    assert_eq!(read(VIDEO, &[vp8, "a=rtpmap:96 H264/90000"]), Err(twice));
    assert!(read(VIDEO, &[vp8, vp8]).is_ok(), "the same twice is untidy");
    assert_eq!(read(VIDEO, &["a=rtpmap:96 VP8"]), Err(MediaError::Rtpmap(96)));
}

#[test]
fn retransmissions_repeat_what_is_there_and_is_none_itself() {
    let rtx = |apt: u8| format!("a=fmtp:97 apt={apt}");
    let maps = ["a=rtpmap:96 VP8/90000", "a=rtpmap:97 rtx/90000"];
    let read = |more: &str| read(VIDEO, &[maps[0], maps[1], more]);
    assert_eq!(read(&rtx(96)).unwrap().retransmission(96), Some(97));
    assert_eq!(read(&rtx(97)), Err(MediaError::RtxLoop(97)));
    assert_eq!(read(&rtx(98)).unwrap().formats.len(), 1, "of what is not there: of no use");
    assert_eq!(read("a=x").unwrap().formats.len(), 1, "of what is not said");
    let mutual = ["a=rtpmap:96 rtx/90000", "a=fmtp:96 apt=97", maps[1], "a=fmtp:97 apt=96"];
    assert_eq!(self::read(VIDEO, &mutual), Err(MediaError::RtxLoop(96)));
    let circle = ["a=rtpmap:96 VP8/90000", "a=ssrc-group:FID 1 2", "a=ssrc-group:FID 2 3"];
    assert_eq!(self::read(VIDEO, &circle), Err(MediaError::SourceLoop(2)));
}

#[test]
fn contradictions_are_refused() {
    let with = |lines: &[&str]| read(VIDEO, &[&["a=rtpmap:96 VP8/90000"], lines].concat()).unwrap_err();
    assert_eq!(with(&["a=extmap:1 urn:x", "a=extmap:1 urn:y"]), MediaError::DuplicateExtension(1));
    assert_eq!(with(&["a=extmap:15 urn:x"]), MediaError::Attribute("extmap"));
    assert_eq!(with(&["a=simulcast:send 1", "a=simulcast:send 2"]), MediaError::Twice("simulcast"));
    assert_eq!(with(&["a=simulcast:both 1"]), MediaError::Attribute("simulcast"));
    assert_eq!(with(&["a=ssrc:abc cname:x"]), MediaError::Attribute("ssrc"));
    assert_eq!(with(&["a=msid:"]), MediaError::Attribute("msid"));
    assert_eq!(
        with(&["a=extmap:1 urn:x", "a=extmap:1 urn:y"]).to_string(),
        "the header extension 1 (a=extmap) is given twice"
    );
}

#[test]
fn untidiness_is_borne() {
    let lines = [
        "a=rtpmap:96 VP8/90000 ",
        "a=rtpmap:45 nonsense",
        "a=fmtp:50 x=y",
        "a=rtcp-fb:* nack",
        "a=rtcp-fb:96  nack   pli",
        "a=rid:1 send",
        "a=rid:1 recv",
        "a=rid:2 sideways",
        "a=rid:3 send",
        "a=maxptime:20.5",
        "a=ptime: 20",
        "a=extmap:1 urn:x",
        "a=extmap:2 urn:x",
        "a=rtcp-mux-only",
    ];
    let rtp = read(VIDEO, &lines).unwrap();
    assert_eq!(rtp.formats.len(), 1, "97 means nothing");
    assert_eq!(rtp.formats[0].feedback, ["nack", "nack pli"]);
    assert_eq!(rtp.rids, [Rid::new("3", true)], "what is ambiguous is discarded");
    assert_eq!((rtp.ptime, rtp.max_ptime), (Some(20), None));
    assert_eq!(rtp.extensions, [Extmap::new(1, "urn:x")]);
    assert!(rtp.rtcp_mux && rtp.rtcp_mux_only);
    let static_ones = read("audio 9 UDP/TLS/RTP/SAVPF 0 8 96", &[]).unwrap();
    let names: Vec<&str> = static_ones.formats.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["PCMU", "PCMA"]);
}

fn example() -> Rtp {
    let mut opus = Format::new(111, "opus", 48_000, 2);
    opus.parameters = "minptime=10;useinbandfec=1".into();
    opus.feedback = vec!["transport-cc".into()];
    Rtp {
        formats: vec![opus, Format::new(0, "PCMU", 8000, 1)],
        extensions: vec![Extmap { direction: Direction::Sendonly, ..Extmap::new(1, "urn:x") }],
        direction: Direction::Sendonly,
        msids: vec![
            Msid { stream: Some("s".into()), track: Some("t".into()) },
            Msid { stream: None, track: Some("t".into()) },
        ],
        rtcp_mux: true,
        reduced_size: true,
        mixed_extensions: true,
        rtcp_mux_only: true,
        sources: vec![
            Source { cname: Some("c".into()), ..Source::new(7) },
            Source { msid: Some("s t".into()), ..Source::new(8) },
        ],
        groups: vec![SourceGroup::retransmission(7, 8)],
        rids: vec![Rid::new("a", true), Rid { formats: vec![111, 0], ..Rid::new("b", true) }],
        simulcast: Some(Simulcast {
            send: vec![SimulcastStream::new("a"), SimulcastStream::new("b")],
            receive: vec![],
        }),
        ptime: Some(20),
        max_ptime: Some(60),
        cryptex: true,
        receiver_time: true,
    }
}

#[test]
fn what_is_written_is_read_again() {
    let rtp = example();
    let types = rtp.payload_types();
    let mut media = Media::new("audio", 9, "UDP/TLS/RTP/SAVPF", types.iter().map(String::as_str));
    rtp.write(&mut media);
    let mut session = Session::new(Origin::new(1, 1));
    session.media.push(media);
    let session = Session::parse(&session.to_string()).unwrap();
    assert_eq!(session.section(0).unwrap().rtp(), Ok(rtp));
}

fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "rtpmap",
        "fmtp",
        "rtcp-fb",
        "extmap",
        "msid",
        "ssrc",
        "ssrc-group",
        "rid",
        "simulcast",
        "ptime",
        "cryptex",
    ]);
    let value = prop::sample::select(vec![
        "96 VP8/90000",
        "97 rtx/90000",
        "97 apt=96",
        "96 apt=97",
        "97 apt=97",
        "98 opus/48000/2",
        "* nack",
        "96 nack pli",
        "1 urn:x",
        "1 urn:y",
        "2/sendonly urn:y",
        "- t",
        "s t",
        "1 cname:x",
        "2 msid:s t",
        "FID 1 2",
        "FID 2 1",
        "SIM 1 2",
        "1 send",
        "1 recv",
        "2 send pt=96",
        "send 1;2",
        "recv ~1",
        "20",
        "",
        "98",
    ]);
    (name, value).prop_map(|(name, value)| format!("a={name}:{value}\r\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_read_is_free_of_loops_and_is_written_as_it_is(lines in prop::collection::vec(line(), 0..14)) {
        let text = format!("{HEAD}m=video 9 UDP/TLS/RTP/SAVPF 96 97 98\r\n{}", lines.concat());
        let session = Session::parse(&text).unwrap();
        let Ok(rtp) = session.section(0).unwrap().rtp() else { return Ok(()) };
        for format in &rtp.formats {
            if let Some(apt) = format.repeats() {
                prop_assert!(rtp.format(apt).is_some_and(|it| it.repeats().is_none()));
            }
        }
        let types = rtp.payload_types();
        if types.is_empty() { return Ok(()) }
        let mut media = Media::new("video", 9, "UDP/TLS/RTP/SAVPF", types.iter().map(String::as_str));
        rtp.write(&mut media);
        let mut again = Session::new(Origin::new(1, 1));
        again.media.push(media);
        let read = Session::parse(&again.to_string()).unwrap().section(0).unwrap().rtp();
        // Sources of which nothing is said are not written.
        let told = |rtp: Rtp| Rtp { sources: vec![], ..rtp };
        prop_assert_eq!(read.map(told), Ok(told(rtp)));
    }
}

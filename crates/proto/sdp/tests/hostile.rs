//! What is wrong is said with its line; nothing panics, and nothing grows.

use proptest::prelude::*;
use sterna_sdp::{Line, MAX_BYTES, MAX_LINE_BYTES, MAX_SECTIONS, Media, Origin, ParseErrorKind, Session};

const HEAD: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n";
const DATA: &str = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n";

fn error(rest: &str) -> (usize, ParseErrorKind) {
    let error = Session::parse(&format!("{HEAD}{rest}")).expect_err(rest);
    (error.line, error.kind)
}

#[test]
fn the_first_wrong_line_is_named() {
    use ParseErrorKind as Kind;
    assert_eq!(error("garbage\r\n"), (5, Kind::NotALine));
    assert_eq!(error(&format!("{DATA}a=mid:0\r\n\r\na=sctp-port:5000\r\n")), (7, Kind::NotALine));
    assert_eq!(error(&format!("{DATA}ab=c\r\n")), (6, Kind::NotALine));
    assert_eq!(error("y=1\r\n"), (5, Kind::UnknownLetter('y')));
    assert_eq!(error("v=0\r\n"), (5, Kind::Misplaced('v')));
    assert_eq!(error(&format!("{DATA}t=0 0\r\n")), (6, Kind::Misplaced('t')));
    assert_eq!(error("m=audio\r\n"), (5, Kind::Media));
    assert_eq!(error("a=ice-ufrag:abcd\r\na=ice-ufrag:efgh\r\n"), (6, Kind::Duplicate("ice-ufrag".into())));
    assert_eq!(error(&format!("{DATA}a=mid:0\r\n{DATA}a=mid:0\r\n")), (8, Kind::DuplicateMid));
    assert!(matches!(error("a=ice-ufrag:abc\r\n"), (5, Kind::Attribute { .. })));
    assert!(matches!(error("a=setup:both\r\n"), (5, Kind::Attribute { .. })));
    assert!(matches!(error("a=fingerprint:sha-256 XY\r\n"), (5, Kind::Attribute { .. })));
    assert!(matches!(error(&format!("{DATA}a=sctp-port:70000\r\n")), (6, Kind::Attribute { .. })));
    for (text, line, kind) in [
        ("", 1, Kind::NotALine),
        ("o=- 1 2 IN IP4 127.0.0.1", 1, Kind::Expected('v')),
        ("v=0\n", 1, Kind::Expected('o')),
        ("v=1\n", 1, Kind::Version),
        ("v=0\no=- 1 IN IP4 127.0.0.1\n", 2, Kind::Origin),
        ("v=0\no=- 1 2 IN IP4 127.0.0.1\nt=0 0\n", 3, Kind::Expected('s')),
    ] {
        let error = Session::parse(text).unwrap_err();
        assert_eq!((error.line, error.kind), (line, kind), "{text:?}");
    }
    let text = Session::parse("v=0\no=- 1 2 IN IP4 0.0.0.0\ns=-\nwhat is this").unwrap_err().to_string();
    assert_eq!(text, "line 4 of the session description: not of the form letter=value");
}

#[test]
fn untidy_is_not_wrong() {
    let tidy = Session::parse(&format!("{HEAD}{DATA}a=mid:0\r\nb=AS:30\r\na=unknown:\u{1}x y\r\n")).unwrap();
    let untidy = "v=0\no=- 1 2 IN IP4 127.0.0.1\ns=-\nt=0 0\nm=application  9 UDP/DTLS/SCTP webrtc-datachannel\n\
                  a=mid:0\nb=AS:30\na=unknown:\u{1}x y\n\r\n\n\n";
    assert_eq!(Session::parse(untidy).unwrap(), tidy);
}

#[test]
fn everything_is_bounded() {
    let long = format!("a=x:{}\r\n", "y".repeat(MAX_LINE_BYTES));
    assert_eq!(error(&long), (5, ParseErrorKind::LineTooLong));
    assert_eq!(
        error(&"m=a 9 b c\r\n".repeat(MAX_SECTIONS + 1)),
        (5 + MAX_SECTIONS, ParseErrorKind::TooManySections)
    );
    assert_eq!(error(&"a=b\r\n".repeat(MAX_BYTES / 5)), (1, ParseErrorKind::TooLong));
    assert!(Session::parse(&format!("{HEAD}{}", "m=a 9 b c\r\n".repeat(MAX_SECTIONS))).is_ok());
}

#[test]
fn what_is_built_is_parsed_back() {
    let mut session = Session::new(Origin::new(u64::MAX, 7));
    session.lines.push_attribute("group", "BUNDLE 0");
    let mut media = Media::new("application", 9, "UDP/DTLS/SCTP", ["webrtc-datachannel"]);
    media.lines.push(Line::new('c', "IN IP4 0.0.0.0"));
    media.lines.push_attribute("mid", "0");
    media.lines.push_attribute("evil", "x\r\na=ice-lite");
    session.media.push(media);
    let printed = session.to_string();
    assert!(!printed.contains("ice-lite"));
    assert_eq!(Session::parse(&printed).unwrap(), session);
}

/// Lines that look like SDP, with a wrong one now and then.
fn line() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "mid",
        "ice-ufrag",
        "ice-pwd",
        "setup",
        "fingerprint",
        "group",
        "sctp-port",
        "sctpmap",
        "max-message-size",
        "candidate",
        "end-of-candidates",
        "rtcp-mux",
        "ice-options",
        "x",
    ]);
    let value = prop::sample::select(vec![
        "0",
        "1",
        "BUNDLE 0 1",
        "abcdefghijklmnopqrstuvwxyz",
        "actpass",
        "active",
        "sha-256 AB:CD",
        "5000",
        "5000 webrtc-datachannel 1024",
        "99999999999999999999",
        "candidate",
        "",
    ]);
    prop_oneof![
        8 => (name, value).prop_map(|(name, value)| format!("a={name}:{value}")),
        2 => prop::sample::select(vec![
            "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "m=audio 0 UDP/TLS/RTP/SAVPF 111",
            "m=application 9 DTLS/SCTP 5000", "c=IN IP4 0.0.0.0", "b=AS:30", "a=rtcp-mux", "i=x", "a=sendonly",
        ]).prop_map(String::from),
        1 => "[a-z]=\\PC{0,20}",
    ]
}

/// Calls every reader there is.
fn read(session: &Session) -> usize {
    let mut seen = session.groups().map(|group| group.mids().count()).sum::<usize>();
    seen += session.ice_options().count() + usize::from(session.is_ice_lite());
    for section in session.sections() {
        seen += section.candidates().count() + section.fingerprints().count() + section.ice_options().count();
        seen += usize::from(section.mid().is_some()) + usize::from(section.sctp_port().is_some());
        seen += usize::from(section.setup().is_some()) + usize::from(section.bundle().is_some());
        seen += usize::from(section.is_data())
            + usize::from(section.is_rejected())
            + section.direction() as usize;
        seen += usize::from(section.max_message_size() > 0) + usize::from(section.ice_ufrag().is_some());
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*|([a-z]=\\PC{0,12}\r?\n){0,12}") {
        if let Ok(session) = Session::parse(&text) {
            read(&session);
            prop_assert_eq!(Session::parse(&session.to_string()).unwrap(), session);
        }
    }

    #[test]
    fn what_is_parsed_prints_to_the_same_text(lines in prop::collection::vec(line(), 0..16)) {
        let text: String = HEAD.to_owned() + &lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
        match Session::parse(&text) {
            Ok(session) => {
                read(&session);
                prop_assert_eq!(session.to_string(), text);
            }
            Err(error) => prop_assert!((1..=4 + lines.len()).contains(&error.line)),
        }
    }
}

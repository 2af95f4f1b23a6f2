//! Descriptions of real peers: printed as they were parsed, and read rightly.

use sterna_sdp::{Direction, Section, Session, Setup};

fn vectors() -> Vec<(String, String)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|it| it == "sdp"));
    files.sort();
    let name = |path: &std::path::Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    files.iter().map(|path| (name(path), std::fs::read_to_string(path).unwrap())).collect()
}

fn vector(name: &str) -> Session {
    let (_, text) = vectors().into_iter().find(|(own, _)| own == name).expect("the vector is there");
    Session::parse(&text).unwrap()
}

#[test]
fn every_vector_prints_as_it_was_parsed() {
    let vectors = vectors();
    assert!(vectors.len() >= 22);
    for (name, text) in vectors {
        let crlf = text.replace('\n', "\r\n");
        let session = Session::parse(&crlf).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(session.to_string(), crlf, "{name}");
        assert_eq!(Session::parse(&text).unwrap(), session, "{name}, with line feeds alone");
    }
}

#[test]
fn every_data_offer_is_understood() {
    for (name, text) in vectors() {
        let session = Session::parse(&text).unwrap();
        if !name.contains("data") {
            continue;
        }
        let data: Vec<Section> = session.sections().filter(|section| section.is_data()).collect();
        assert_eq!(data.len(), 1, "{name}");
        let data = data[0];
        assert_eq!(data.sctp_port(), Some(5000), "{name}");
        assert!(data.ice_ufrag().is_some() && data.ice_pwd().is_some() && data.mid().is_some(), "{name}");
        assert!(
            data.fingerprints().all(|it| it.starts_with("sha-")) && data.fingerprints().count() > 0,
            "{name}"
        );
        let setup = if name.contains("answer") { Setup::Active } else { Setup::Actpass };
        assert_eq!(data.setup(), Some(setup), "{name}");
        assert!(data.bundle().is_some_and(|group| group.contains(data.mid().unwrap())), "{name}");
        assert!(!data.is_rejected(), "{name}");
    }
}

#[test]
fn chrome() {
    let session = vector("chrome-data-offer-gathered");
    let data = session.section(0).unwrap();
    assert_eq!((data.ice_ufrag(), data.ice_pwd()), (Some("n7dK"), Some("u0n+eRo8W3UQpVqk5Gx2IJbT")));
    assert_eq!((data.media().port, data.connection()), (50342, Some("IN IP4 203.0.113.77")));
    assert_eq!(data.candidates().count(), 4);
    assert!(data.candidates().next().unwrap().starts_with("candidate:3118262341 1 udp"));
    assert!(!data.has_end_of_candidates());
    assert_eq!(data.max_message_size(), 262_144);
    assert_eq!(data.ice_options().collect::<Vec<_>>(), ["trickle"]);
    assert!(session.allows_mixed_extmaps() && !session.is_ice_lite());
    assert_eq!(session.msid_semantic(), Some(" WMS"));
    assert_eq!(session.origin().session_id(), "1357940286172034985");
    assert_eq!(session.origin().session_version(), "2");

    let session = vector("jsep-bundle-only-data-offer");
    let sections: Vec<Section> = session.sections().collect();
    assert_eq!(session.bundle().unwrap().mids().collect::<Vec<_>>(), ["0", "1", "2"]);
    assert!(sections[0].has_rtcp_mux() && sections[1].has_rtcp_mux() && !sections[2].has_rtcp_mux());
    assert_eq!(sections[1].direction(), Direction::Sendrecv);
    assert!(sections[1].is_bundle_only() && sections[1].media().port == 0 && !sections[1].is_rejected());
    assert_eq!(session.index_of("2"), Some(2));

    let session = vector("chrome-data-offer-stopped-media");
    let rejected: Vec<bool> = session.sections().map(Section::is_rejected).collect();
    assert_eq!(rejected, [true, true, false]);
    assert_eq!(session.bundle().unwrap().mids().collect::<Vec<_>>(), ["2"]);

    let session = vector("chrome-answer-rejecting-media");
    let rejected: Vec<bool> = session.sections().map(Section::is_rejected).collect();
    assert_eq!(rejected, [true, true, false]);
    assert_eq!(session.section(0).unwrap().direction(), Direction::Inactive);
    assert!(session.section(0).unwrap().bundle().is_none());

    let session = vector("chrome-legacy-sctpmap-offer");
    let data = session.section(0).unwrap();
    assert!(data.is_legacy_data());
    assert_eq!((data.sctp_port(), data.max_message_size()), (Some(5000), 65_536));
}

#[test]
fn firefox() {
    let session = vector("firefox-data-offer-gathered");
    let data = session.section(0).unwrap();
    assert_eq!(data.fingerprints().count(), 1, "from the session level");
    assert_eq!(data.ice_options().collect::<Vec<_>>(), ["trickle"], "from the session level");
    assert!(data.has_end_of_candidates());
    assert_eq!(data.max_message_size(), 1_073_741_823);
}

#[test]
fn aiortc() {
    let session = vector("aiortc-data-offer");
    let data = session.section(0).unwrap();
    assert!(!data.is_legacy_data() && data.has_end_of_candidates());
    assert_eq!((data.media().port, data.connection()), (41282, Some("IN IP4 192.0.2.15")));
    assert_eq!((data.candidates().count(), data.max_message_size()), (1, 262_144));
    let session = vector("aiortc-legacy-data-offer");
    let data = session.section(0).unwrap();
    assert!(data.is_legacy_data() && data.has_end_of_candidates());
    let hashes: Vec<_> = data.fingerprints().map(|it| it.split(' ').next().unwrap()).collect();
    assert_eq!(hashes, ["sha-256", "sha-384", "sha-512"]);
    assert_eq!(data.max_message_size(), 65_536);
    assert_eq!(data.candidates().count(), 2);
}

#[test]
fn others() {
    let session = vector("libdatachannel-data-offer");
    assert_eq!(session.section(0).unwrap().ice_options().collect::<Vec<_>>(), ["ice2", "trickle"]);
    assert_eq!(session.groups().count(), 2);
    let session = vector("janus-ice-lite-data-offer");
    assert!(session.is_ice_lite());
    let session = vector("rfc8839-example");
    assert_eq!(session.ice_pacing(), Some(50));
    let audio = session.section(0).unwrap();
    assert_eq!((audio.ice_ufrag(), audio.connection()), (Some("8hhY"), Some("IN IP4 192.0.2.3")));
    assert!(!audio.is_data() && audio.sctp_port().is_none());
}

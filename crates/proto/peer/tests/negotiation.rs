//! Offers, answers, rollback and perfect negotiation, without a network.

use sansio::{Machine, Seed, Time};
use sdp::{Direction, Section, Session, Setup};
use sterna_peer::{
    ChannelError, Configuration, Connection, ConnectionState, DataChannelInit, DescriptionError, Error,
    Event, IceCandidateInit, OfferOptions, SdpType, SessionDescription, SignalingState,
};

const NOW: Time = Time::ZERO;

fn connection(seed: u64) -> Connection {
    Connection::new(NOW, Configuration::new(Seed::from(seed), certificate(seed)))
}

/// One of two certificates, made once.
fn certificate(seed: u64) -> crypto::Certificate {
    static CERTIFICATES: std::sync::OnceLock<[crypto::Certificate; 2]> = std::sync::OnceLock::new();
    let make = || crypto::Certificate::generate().unwrap();
    CERTIFICATES.get_or_init(|| [make(), make()])[(seed % 2) as usize].clone()
}

fn with_channel(seed: u64) -> Connection {
    let mut connection = connection(seed);
    connection.create_data_channel(NOW, "chat", DataChannelInit::default()).unwrap();
    connection
}

fn vector(name: &str) -> SessionDescription {
    let path = format!("{}/../sdp/tests/vectors/{name}.sdp", env!("CARGO_MANIFEST_DIR"));
    SessionDescription::offer(std::fs::read_to_string(path).unwrap())
}

fn parse(description: &SessionDescription) -> Session {
    Session::parse(&description.sdp).unwrap()
}

fn exchange(offerer: &mut Connection, answerer: &mut Connection) {
    let offer = offerer.set_local_description(NOW, None).unwrap();
    assert_eq!(offer.kind, SdpType::Offer);
    answerer.set_remote_description(NOW, offer).unwrap();
    let answer = answerer.set_local_description(NOW, None).unwrap();
    assert_eq!(answer.kind, SdpType::Answer);
    offerer.set_remote_description(NOW, answer).unwrap();
    assert_eq!(offerer.signaling_state(), SignalingState::Stable);
    assert_eq!(answerer.signaling_state(), SignalingState::Stable);
}

fn events(connection: &mut Connection) -> Vec<Event> {
    std::iter::from_fn(|| connection.poll_event()).collect()
}

fn negotiation_needed(connection: &mut Connection) -> usize {
    events(connection).iter().filter(|event| matches!(event, Event::NegotiationNeeded)).count()
}

fn error(result: Result<(), Error>) -> DescriptionError {
    match result {
        Err(Error::Description(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offer_says_what_jsep_wants() {
    let mut a = with_channel(1);
    let offer = a.create_offer(NOW, OfferOptions::default()).unwrap();
    let session = parse(&offer);
    let lines: Vec<&str> = offer.sdp.lines().collect();
    assert_eq!(lines[0], "v=0");
    assert!(lines[1].starts_with("o=- ") && lines[1].ends_with(" 1 IN IP4 127.0.0.1"), "{}", lines[1]);
    assert_eq!(lines[2..4], ["s=-", "t=0 0"]);
    assert!(session.origin().session_id().parse::<i64>().is_ok());
    assert_eq!(session.ice_options().collect::<Vec<_>>(), ["trickle", "ice2", "sped", "googspedv1"]);
    assert_eq!(session.bundle().unwrap().mids().collect::<Vec<_>>(), ["0"]);
    let data = session.section(0).unwrap();
    assert!(offer.sdp.contains("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\n"));
    assert_eq!((data.mid(), data.setup()), (Some("0"), Some(Setup::Actpass)));
    assert_eq!((data.sctp_port(), data.max_message_size()), (Some(5000), 262_144));
    assert_eq!(data.fingerprints().collect::<Vec<_>>(), [certificate(1).fingerprint().to_string()]);
    assert!(data.ice_ufrag().unwrap().len() <= 32);
    assert!(!offer.sdp.contains("a=crypto") && !offer.sdp.contains("ice-lite"));
    assert_eq!(a.signaling_state(), SignalingState::Stable, "making an offer changes nothing");
}

#[test]
fn a_connection_without_channels_offers_nothing() {
    let mut a = connection(1);
    assert_eq!(parse(&a.create_offer(NOW, OfferOptions::default()).unwrap()).media.len(), 0);
    let mut b = connection(2);
    exchange(&mut a, &mut b);
    assert_eq!(a.connection_state(), ConnectionState::New);
}

#[test]
fn versions_grow_and_everything_else_of_the_origin_stays() {
    let mut a = with_channel(1);
    let mut versions = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let session = parse(&a.create_offer(NOW, OfferOptions::default()).unwrap());
        versions.push(session.origin().session_version().parse::<u64>().unwrap());
        ids.insert(session.origin().session_id().to_owned());
    }
    assert_eq!((versions, ids.len()), (vec![1, 2, 3], 1));
}

#[test]
fn an_answer_takes_the_active_role_and_the_names_of_the_offer() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    exchange(&mut a, &mut b);
    let answer = parse(&b.local_description().unwrap());
    let data = answer.section(0).unwrap();
    assert_eq!((data.mid(), data.setup()), (Some("0"), Some(Setup::Active)));
    assert_eq!(answer.bundle().unwrap().mids().collect::<Vec<_>>(), ["0"]);
    assert_eq!(b.can_trickle_ice_candidates(), Some(true));
    assert!(a.pending_local_description().is_none() && a.current_local_description().is_some());
    assert_eq!(a.current_remote_description(), b.current_local_description());
}

#[test]
fn roles_stay_when_the_other_side_offers_next() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    exchange(&mut a, &mut b);
    exchange(&mut b, &mut a);
    let answer = parse(&a.local_description().unwrap());
    assert_eq!(answer.section(0).unwrap().setup(), Some(Setup::Passive), "b is the DTLS client");
    exchange(&mut a, &mut b);
    assert_eq!(parse(&b.local_description().unwrap()).section(0).unwrap().setup(), Some(Setup::Active));
}

#[test]
fn credentials_stay_unless_ice_is_restarted() {
    let ufrag = |description: Option<SessionDescription>| {
        parse(&description.unwrap()).section(0).unwrap().ice_ufrag().unwrap().to_owned()
    };
    let (mut a, mut b) = (with_channel(1), connection(2));
    exchange(&mut a, &mut b);
    let before = (ufrag(a.local_description()), ufrag(b.local_description()));
    exchange(&mut b, &mut a);
    assert_eq!((ufrag(a.local_description()), ufrag(b.local_description())), before);
    events(&mut a);
    a.restart_ice(NOW);
    assert_eq!(negotiation_needed(&mut a), 1);
    exchange(&mut a, &mut b);
    let after = (ufrag(a.local_description()), ufrag(b.local_description()));
    assert_ne!(after.0, before.0);
    assert_ne!(after.1, before.1, "the answerer restarts too");
    assert_eq!(negotiation_needed(&mut a), 0, "done");
    exchange(&mut a, &mut b);
    assert_eq!((ufrag(a.local_description()), ufrag(b.local_description())), after);
}

#[test]
fn an_offered_restart_that_is_not_applied_changes_nothing() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    exchange(&mut a, &mut b);
    let before = a.local_description();
    let restart = a.create_offer(NOW, OfferOptions { ice_restart: true }).unwrap();
    assert_eq!(a.local_description(), before);
    let plain = a.create_offer(NOW, OfferOptions::default()).unwrap();
    let ufrag = |it: &SessionDescription| parse(it).section(0).unwrap().ice_ufrag().unwrap().to_owned();
    assert_ne!(ufrag(&restart), ufrag(&plain));
    assert_eq!(ufrag(&plain), ufrag(&before.unwrap()));
}

#[test]
fn a_restart_can_be_rolled_back() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    exchange(&mut a, &mut b);
    let before = a.current_local_description();
    let offer = a.create_offer(NOW, OfferOptions { ice_restart: true }).unwrap();
    a.set_local_description(NOW, Some(offer)).unwrap();
    a.set_local_description(NOW, Some(SessionDescription::rollback())).unwrap();
    assert_eq!((a.local_description(), a.signaling_state()), (before, SignalingState::Stable));
    exchange(&mut b, &mut a);
}

#[test]
fn browsers_data_offers_are_answered_in_kind() {
    for (name, setup) in [
        ("chrome-data-offer", Setup::Active),
        ("chrome-data-offer-gathered", Setup::Active),
        ("chrome-data-offer-mdns", Setup::Active),
        ("aiortc-legacy-data-offer", Setup::Active),
        ("chrome-snap-sped-offer", Setup::Active),
        ("chrome-legacy-sctpmap-offer", Setup::Active),
        ("firefox-data-offer", Setup::Active),
        ("firefox-data-offer-gathered", Setup::Active),
        ("aiortc-data-offer", Setup::Active),
        ("libdatachannel-data-offer", Setup::Active),
        ("janus-ice-lite-data-offer", Setup::Active),
    ] {
        let offer = vector(name);
        let mut b = connection(2);
        b.set_remote_description(NOW, offer.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let answer = b.set_local_description(NOW, None).unwrap();
        let (offer, session) = (parse(&offer), parse(&answer));
        let (offered, answered) = (offer.section(0).unwrap(), session.section(0).unwrap());
        assert_eq!(session.media.len(), 1, "{name}");
        assert_eq!(answered.media().protocol(), offered.media().protocol(), "{name}");
        assert!(answered.media().formats().eq(offered.media().formats()), "{name}");
        assert_eq!((answered.mid(), answered.setup()), (offered.mid(), Some(setup)), "{name}");
        assert_eq!(answered.sctp_port(), Some(5000), "{name}");
        assert_eq!(session.bundle().unwrap().mids().collect::<Vec<_>>(), [offered.mid().unwrap()], "{name}");
        for unknown in ["generation", "msid-semantic", "extmap-allow-mixed", "ice-lite"] {
            assert!(!answer.sdp.contains(unknown), "{name}: {unknown} in\n{}", answer.sdp);
        }
        let sped = |session: &sdp::Session| session.ice_options().any(|option| option == "sped");
        assert_eq!(
            sped(&session),
            name.contains("sped"),
            "{name}: what is known is told to those who know it"
        );
        assert_eq!(answered.attribute("sctp-init").is_some(), name.contains("snap"), "{name}");
    }
}

#[test]
fn data_is_accepted_and_media_in_its_bundle_is_silent() {
    for (name, bundled) in [
        ("chrome-audio-video-data-offer", true),
        // Chromium: "Failed to setup RTCP mux", if the answer rejects what all else hangs on.
        ("chrome-audio-video-data-offer-max-bundle", true),
        ("jsep-bundle-only-data-offer", true),
        ("firefox-audio-video-data-offer", true),
        ("aiortc-audio-video-data-offer", true),
        ("chrome-data-offer-stopped-media", false),
    ] {
        let offer = vector(name);
        let mut b = connection(2);
        b.set_remote_description(NOW, offer.clone()).unwrap();
        let answer = b.set_local_description(NOW, None).unwrap();
        let offer = parse(&offer);
        // Our next offer keeps what was accepted and rejected, in its place.
        let next = b.create_offer(NOW, OfferOptions::default()).unwrap();
        for ours in [answer, next] {
            let session = parse(&ours);
            let kinds: Vec<&str> = session.sections().map(|section| section.media().kind()).collect();
            assert_eq!(kinds, ["audio", "video", "application"], "{name}");
            assert!(session.sections().map(Section::mid).eq(offer.sections().map(Section::mid)), "{name}");
            let rejected: Vec<bool> = session.sections().map(Section::is_rejected).collect();
            assert_eq!(rejected, [!bundled, !bundled, false], "{name}: {}", ours.sdp);
            let bundle: Vec<&str> = session.bundle().unwrap().mids().collect();
            assert_eq!(bundle, if bundled { ["0", "1", "2"].as_slice() } else { &["2"] }, "{name}");
            let data = session.section(2).unwrap();
            assert_eq!(data.media().port, 9, "{name}");
            for (media, offered) in session.sections().zip(offer.sections()).take(2) {
                assert_eq!(media.bundle().is_some(), !media.is_rejected(), "{name}");
                assert_eq!(media.direction(), Direction::Inactive, "{name}");
                assert!(!media.is_bundle_only(), "{name}");
                assert_eq!((media.ice_ufrag(), media.setup()), (data.ice_ufrag(), data.setup()), "{name}");
                assert_eq!(media.has_rtcp_mux(), offered.has_rtcp_mux(), "{name}");
                assert_eq!(media.media().protocol(), offered.media().protocol(), "{name}");
                assert_eq!(media.media().formats().len(), 1, "{name}");
                assert!(media.media().formats().all(|it| offered.media().formats().any(|other| it == other)));
                assert!(!media.media().lines.has("ssrc") && !media.media().lines.has("extmap"), "{name}");
            }
        }
    }
}

#[test]
fn an_offer_without_data_is_rejected_as_a_whole_and_data_can_be_added_later() {
    let whole = parse(&vector("chrome-audio-video-data-offer"));
    let mut offer = whole.clone();
    offer.media.truncate(2);
    let mut b = connection(2);
    b.set_remote_description(NOW, SessionDescription::offer(offer.to_string())).unwrap();
    let answer = parse(&b.set_local_description(NOW, None).unwrap());
    assert!(answer.sections().all(Section::is_rejected) && answer.bundle().is_none());
    events(&mut b);
    b.create_data_channel(NOW, "chat", DataChannelInit::default()).unwrap();
    assert_eq!(negotiation_needed(&mut b), 1);
    let next = parse(&b.create_offer(NOW, OfferOptions::default()).unwrap());
    let mids: Vec<_> = next.sections().map(|section| section.mid().unwrap().to_owned()).collect();
    assert_eq!((next.media.len(), mids), (3, vec!["0".into(), "1".into(), "2".into()]));
    assert!(next.section(2).unwrap().is_data());
}

#[test]
fn a_rejected_data_section_closes_its_channels_and_its_place_is_used_again() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    let offer = a.set_local_description(NOW, None).unwrap();
    let mut answer = parse(&offer);
    answer.media[0].port = 0;
    a.set_remote_description(NOW, SessionDescription::answer(answer.to_string())).unwrap();
    assert!(events(&mut a).iter().any(|event| matches!(event, Event::ChannelClosed(_))));
    a.create_data_channel(NOW, "again", DataChannelInit::default()).unwrap();
    let next = parse(&a.create_offer(NOW, OfferOptions::default()).unwrap());
    assert_eq!(
        (next.media.len(), next.section(0).unwrap().mid()),
        (1, Some("1")),
        "recycled under a new name"
    );
    exchange(&mut a, &mut b);
}

#[test]
fn glare_is_settled_by_the_polite_side() {
    let (mut polite, mut impolite) = (with_channel(1), with_channel(2));
    let ignored = polite.set_local_description(NOW, None).unwrap();
    let offer = impolite.set_local_description(NOW, None).unwrap();
    assert_eq!(impolite.signaling_state(), SignalingState::HaveLocalOffer);
    // The impolite side ignores `ignored`; the candidates that follow it must do no harm.
    drop(ignored);
    let lost = IceCandidateInit {
        candidate: "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host".into(),
        sdp_mid: Some("0".into()),
        username_fragment: Some("gone".into()),
        ..Default::default()
    };
    impolite.add_ice_candidate(NOW, Some(lost)).unwrap();
    polite.set_remote_description(NOW, offer).unwrap();
    assert_eq!(polite.signaling_state(), SignalingState::HaveRemoteOffer);
    let answer = polite.set_local_description(NOW, None).unwrap();
    assert_eq!(answer.kind, SdpType::Answer);
    impolite.set_remote_description(NOW, answer).unwrap();
    assert_eq!(negotiation_needed(&mut polite), 1, "only before: one section carries both channels");
}

#[test]
fn a_bad_offer_does_not_take_ours_back() {
    let mut a = with_channel(1);
    let offer = a.set_local_description(NOW, None).unwrap();
    let bad = SessionDescription::offer(vector("chrome-data-offer").sdp.replace("a=setup:actpass\n", ""));
    assert_eq!(error(a.set_remote_description(NOW, bad)), DescriptionError::Setup);
    assert_eq!(a.signaling_state(), SignalingState::HaveLocalOffer);
    assert_eq!(a.local_description(), Some(offer));
}

#[test]
fn states_are_guarded() {
    let mut a = with_channel(1);
    let answer = SessionDescription::answer(vector("aiortc-data-answer").sdp);
    let wrong =
        |result: Result<(), Error>| assert!(matches!(result, Err(Error::WrongState { .. })), "{result:?}");
    wrong(a.create_answer(NOW).map(drop));
    wrong(a.set_remote_description(NOW, answer.clone()));
    wrong(a.set_local_description(NOW, Some(answer)).map(drop));
    wrong(a.set_local_description(NOW, Some(SessionDescription::rollback())).map(drop));
    wrong(a.set_remote_description(NOW, SessionDescription::rollback()));
    a.set_remote_description(NOW, vector("chrome-data-offer")).unwrap();
    wrong(a.create_offer(NOW, OfferOptions::default()).map(drop));
    a.set_remote_description(NOW, SessionDescription::rollback()).unwrap();
    assert_eq!(a.signaling_state(), SignalingState::Stable);
    a.close(NOW);
    assert_eq!(a.create_offer(NOW, OfferOptions::default()), Err(Error::Closed));
    assert_eq!(a.set_remote_description(NOW, vector("chrome-data-offer")), Err(Error::Closed));
    assert_eq!(a.add_ice_candidate(NOW, None), Err(Error::Closed));
    assert_eq!(a.create_data_channel(NOW, "x", DataChannelInit::default()), Err(ChannelError::Closed));
    assert_eq!(a.signaling_state(), SignalingState::Closed);
    assert_eq!(a.connection_state(), ConnectionState::Closed);
}

#[test]
fn a_local_description_must_be_the_one_created_last() {
    let mut a = with_channel(1);
    let old = a.create_offer(NOW, OfferOptions::default()).unwrap();
    let new = a.create_offer(NOW, OfferOptions::default()).unwrap();
    assert_eq!(a.set_local_description(NOW, Some(old)), Err(Error::Modified));
    let munged = SessionDescription::offer(new.sdp.replace("262144", "1"));
    assert_eq!(a.set_local_description(NOW, Some(munged)), Err(Error::Modified));
    a.set_local_description(NOW, Some(new)).unwrap();
}

#[test]
fn provisional_answers_are_followed_by_final_ones() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    let offer = a.set_local_description(NOW, None).unwrap();
    b.set_remote_description(NOW, offer).unwrap();
    let answer = b.create_answer(NOW).unwrap();
    let pranswer = SessionDescription { kind: SdpType::Pranswer, sdp: answer.sdp };
    let pranswer = b.set_local_description(NOW, Some(pranswer)).unwrap();
    assert_eq!(b.signaling_state(), SignalingState::HaveLocalPranswer);
    a.set_remote_description(NOW, pranswer).unwrap();
    assert_eq!(a.signaling_state(), SignalingState::HaveRemotePranswer);
    let answer = b.set_local_description(NOW, None).unwrap();
    assert_eq!((answer.kind, b.signaling_state()), (SdpType::Answer, SignalingState::Stable));
    a.set_remote_description(NOW, answer).unwrap();
    assert_eq!(a.signaling_state(), SignalingState::Stable);
}

#[test]
fn answers_that_contradict_the_offer_are_refused() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    let offer = a.set_local_description(NOW, None).unwrap();
    b.set_remote_description(NOW, offer).unwrap();
    let good = b.set_local_description(NOW, None).unwrap().sdp;
    let section = &good[good.find("m=").unwrap()..];
    for (bad, expected) in [
        (good.replace("setup:active", "setup:actpass"), DescriptionError::Setup),
        (good.replace("setup:active", "setup:holdconn"), DescriptionError::Setup),
        (good.replace("a=mid:0", "a=mid:1"), DescriptionError::Sections),
        (good.replace("UDP/DTLS/SCTP", "TCP/DTLS/SCTP"), DescriptionError::Sections),
        (format!("{good}{}", section.replace("a=mid:0", "a=mid:1")), DescriptionError::Sections),
        (good.replace("a=sctp-port:5000\r\n", ""), DescriptionError::NoSctpPort),
        (good.replace("a=ice-pwd", "a=x"), DescriptionError::NoIceCredentials),
        (good.replace("fingerprint:sha-256", "fingerprint:sha-1"), DescriptionError::NoFingerprint),
    ] {
        assert_eq!(error(a.set_remote_description(NOW, SessionDescription::answer(bad))), expected);
    }
    assert_eq!(a.signaling_state(), SignalingState::HaveLocalOffer);
    a.set_remote_description(NOW, SessionDescription::answer(good)).unwrap();
}

#[test]
fn another_certificate_needs_a_restart() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    exchange(&mut a, &mut b);
    let offer = b.create_offer(NOW, OfferOptions::default()).unwrap().sdp;
    let own = certificate(2).fingerprint().to_string();
    let (rest, last) = own.split_at(own.len() - 2);
    let other = format!("{rest}{}", if last == "00" { "01" } else { "00" });
    let changed = SessionDescription::offer(offer.replace(&own, &other));
    assert_eq!(error(a.set_remote_description(NOW, changed)), DescriptionError::FingerprintChanged);
    let restarted = b.create_offer(NOW, OfferOptions { ice_restart: true }).unwrap().sdp;
    a.set_remote_description(NOW, SessionDescription::offer(restarted.replace(&own, &other))).unwrap();
}

fn sctp_init(description: &SessionDescription) -> String {
    parse(description).section(0).unwrap().attribute("sctp-init").expect("SNAP is on").to_owned()
}

#[test]
fn the_sctp_of_a_connection_is_the_same_in_all_its_descriptions() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    exchange(&mut a, &mut b);
    let own = [&a, &b].map(|it| sctp_init(&it.local_description().unwrap()));
    assert_ne!(own[0], own[1]);
    let restarted = b.create_offer(NOW, OfferOptions { ice_restart: true }).unwrap();
    assert_eq!(sctp_init(&restarted), own[1]);
    exchange(&mut b, &mut a);
    assert_eq!([&a, &b].map(|it| sctp_init(&it.local_description().unwrap())), own);
}

#[test]
fn an_sctp_init_that_makes_no_sense_or_changes_is_refused() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    let offer = a.set_local_description(NOW, None).unwrap();
    let told = sctp_init(&offer);
    for nonsense in ["", "%%%", "AQAA", "AgAAHols3R0AUAAA/////+B5ZR3AAAAEgAgABoLA"] {
        let lying = SessionDescription::offer(offer.sdp.replace(&told, nonsense));
        assert_eq!(error(b.set_remote_description(NOW, lying)), DescriptionError::SctpInit, "{nonsense:?}");
    }
    b.set_remote_description(NOW, offer).unwrap();
    let answer = b.set_local_description(NOW, None).unwrap();
    a.set_remote_description(NOW, answer).unwrap();
    let other = "AQAAHols3R0AUAAA/////+B5ZR3AAAAEgAgABoLA";
    let offer = a.set_local_description(NOW, None).unwrap();
    let changed = SessionDescription::offer(offer.sdp.replace(&told, other));
    assert_eq!(error(b.set_remote_description(NOW, changed)), DescriptionError::SctpInitChanged);
    b.set_remote_description(NOW, offer).unwrap();
    let answer = b.set_local_description(NOW, None).unwrap();
    let changed = SessionDescription::answer(answer.sdp.replace(&sctp_init(&answer), other));
    assert_eq!(error(a.set_remote_description(NOW, changed)), DescriptionError::SctpInitChanged);
    a.set_remote_description(NOW, answer).unwrap();
}

#[test]
fn an_answer_restarts_if_and_only_if_the_offer_does() {
    let (mut a, mut b) = (with_channel(1), connection(2));
    exchange(&mut a, &mut b);
    let ufrag = parse(&b.local_description().unwrap()).section(0).unwrap().ice_ufrag().unwrap().to_owned();
    let offer = a.set_local_description(NOW, None).unwrap();
    b.set_remote_description(NOW, offer).unwrap();
    let answer = b.set_local_description(NOW, None).unwrap().sdp;
    let restarted = SessionDescription::answer(answer.replace(&ufrag, "other"));
    assert_eq!(error(a.set_remote_description(NOW, restarted)), DescriptionError::UnofferedRestart);
    a.set_remote_description(NOW, SessionDescription::rollback()).unwrap();
    let offer = a.create_offer(NOW, OfferOptions { ice_restart: true }).unwrap();
    a.set_local_description(NOW, Some(offer)).unwrap();
    let result = a.set_remote_description(NOW, SessionDescription::answer(answer));
    assert_eq!(error(result), DescriptionError::RestartIgnored);
}

#[test]
fn sections_cannot_disappear() {
    let mut b = connection(2);
    b.set_remote_description(NOW, vector("chrome-audio-video-data-offer")).unwrap();
    b.set_local_description(NOW, None).unwrap();
    let shorter = vector("chrome-data-offer");
    assert_eq!(error(b.set_remote_description(NOW, shorter)), DescriptionError::SectionsMissing);
}

fn candidate(ufrag: Option<&str>) -> IceCandidateInit {
    IceCandidateInit {
        candidate: "candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host".into(),
        sdp_mid: Some("0".into()),
        sdp_mline_index: Some(0),
        username_fragment: ufrag.map(String::from),
    }
}

#[test]
fn early_candidates_wait_for_their_description() {
    let mut b = connection(2);
    let ufrag = parse(&vector("chrome-data-offer")).section(0).unwrap().ice_ufrag().unwrap().to_owned();
    b.add_ice_candidate(NOW, Some(candidate(Some(&ufrag)))).unwrap();
    b.add_ice_candidate(NOW, Some(candidate(Some("other")))).unwrap();
    b.add_ice_candidate(NOW, Some(IceCandidateInit { candidate: String::new(), ..candidate(None) })).unwrap();
    b.set_remote_description(NOW, vector("chrome-data-offer")).unwrap();
    let session = parse(&b.remote_description().unwrap());
    let data = session.section(0).unwrap();
    assert_eq!(
        data.candidates().collect::<Vec<_>>(),
        ["candidate:1 1 udp 2130706431 192.0.2.1 5000 typ host"]
    );
    assert!(data.has_end_of_candidates());
    // Thousands more change nothing.
    for number in 0..5000 {
        b.add_ice_candidate(NOW, Some(candidate(Some(&format!("u{number}"))))).unwrap();
    }
}

#[test]
fn candidates_are_told_by_mid_or_by_place_or_refused() {
    let mut b = connection(2);
    b.set_remote_description(NOW, vector("chrome-data-offer")).unwrap();
    let mut by_place = candidate(None);
    by_place.sdp_mid = None;
    b.add_ice_candidate(NOW, Some(by_place.clone())).unwrap();
    assert_eq!(parse(&b.remote_description().unwrap()).section(0).unwrap().candidates().count(), 1);
    by_place.sdp_mline_index = None;
    assert!(matches!(b.add_ice_candidate(NOW, Some(by_place)), Err(Error::Candidate(_))));
    let garbage = IceCandidateInit { candidate: "a=ice-lite".into(), ..candidate(None) };
    assert!(matches!(b.add_ice_candidate(NOW, Some(garbage)), Err(Error::Candidate(_))));
    b.add_ice_candidate(NOW, None).unwrap();
    assert!(parse(&b.remote_description().unwrap()).section(0).unwrap().has_end_of_candidates());
}

#[test]
fn negotiation_is_needed_once() {
    let mut a = connection(1);
    assert_eq!(negotiation_needed(&mut a), 0);
    a.create_data_channel(NOW, "one", DataChannelInit::default()).unwrap();
    a.create_data_channel(NOW, "two", DataChannelInit::default()).unwrap();
    assert_eq!(negotiation_needed(&mut a), 1);
    let mut b = connection(2);
    exchange(&mut a, &mut b);
    a.create_data_channel(NOW, "three", DataChannelInit::default()).unwrap();
    assert_eq!(negotiation_needed(&mut a), 0, "the section is there");
}

#[test]
fn channel_parameters_are_checked() {
    let mut a = connection(1);
    let mut create = |init| a.create_data_channel(NOW, "x", init);
    let init = DataChannelInit::default;
    let both = DataChannelInit { max_retransmits: Some(1), max_packet_life_time: Some(1), ..init() };
    assert_eq!(create(both), Err(ChannelError::TwoLimits));
    assert_eq!(create(DataChannelInit { negotiated: true, ..init() }), Err(ChannelError::InvalidId));
    let seven = DataChannelInit { negotiated: true, id: Some(7), ..init() };
    assert!(create(seven.clone()).is_ok());
    assert_eq!(create(seven), Err(ChannelError::InUse));
    assert_eq!(
        create(DataChannelInit { protocol: "p".repeat(65_536), ..init() }),
        Err(ChannelError::TooLong)
    );
}

#[test]
fn the_json_is_the_browsers() {
    let offer: SessionDescription = serde_json::from_str(r#"{"type":"offer","sdp":"v=0\r\n"}"#).unwrap();
    assert_eq!(offer, SessionDescription::offer("v=0\r\n"));
    let rollback: SessionDescription = serde_json::from_str(r#"{"type":"rollback"}"#).unwrap();
    assert_eq!(rollback, SessionDescription::rollback());
    assert_eq!(serde_json::to_string(&offer).unwrap(), r#"{"type":"offer","sdp":"v=0\r\n"}"#);
}

#[test]
fn channels_wait_when_the_other_side_offers_media_alone() {
    let mut a = with_channel(1);
    a.set_local_description(NOW, None).unwrap();
    let mut offer = parse(&vector("chrome-audio-video-data-offer"));
    offer.media.truncate(2);
    a.set_remote_description(NOW, SessionDescription::offer(offer.to_string())).unwrap();
    a.set_local_description(NOW, None).unwrap();
    assert_eq!(a.channels().count(), 1);
    assert_eq!(negotiation_needed(&mut a), 2, "before, and again");
    let next = parse(&a.create_offer(NOW, OfferOptions::default()).unwrap());
    assert!(next.section(2).unwrap().is_data());
}

/// Two applications that do W3C's perfect negotiation (B is polite), with wishes and messages in any order.
struct Perfect {
    dice: sansio::Rng,
    sides: [Connection; 2],
    mail: [std::collections::VecDeque<SessionDescription>; 2],
}

impl Perfect {
    fn new(seed: u64) -> Self {
        let sides = [connection(seed * 2), connection(seed * 2 + 1)];
        Self { dice: sansio::Rng::new(Seed::from(seed)), sides, mail: Default::default() }
    }

    /// Offers if that is due.
    fn offer(&mut self, side: usize) -> bool {
        let needed = negotiation_needed(&mut self.sides[side]) > 0;
        if needed {
            let offer = self.sides[side].set_local_description(NOW, None).unwrap();
            self.mail[1 - side].push_back(offer);
        }
        needed
    }

    /// Takes the next message. `Ok(false)` if there is none.
    fn receive(&mut self, side: usize) -> Result<bool, Error> {
        let Some(description) = self.mail[side].pop_front() else { return Ok(false) };
        let connection = &mut self.sides[side];
        let is_offer = description.kind == SdpType::Offer;
        if is_offer && side == 0 && connection.signaling_state() != SignalingState::Stable {
            return Ok(true);
        }
        let before = connection.signaling_state();
        if let Err(error) = connection.set_remote_description(NOW, description) {
            assert_eq!(connection.signaling_state(), before);
            return Err(error);
        }
        if is_offer {
            let answer = connection.set_local_description(NOW, None).unwrap();
            assert_eq!(answer.kind, SdpType::Answer);
            self.mail[1 - side].push_back(answer);
        }
        Ok(true)
    }

    /// One thing that may happen.
    fn step(&mut self) -> Result<bool, Error> {
        let side = self.dice.below(2) as usize;
        let offered = self.dice.below(2) == 0 && self.offer(side);
        Ok(self.receive(side)? || offered)
    }

    fn wish(&mut self) {
        let connection = &mut self.sides[self.dice.below(2) as usize];
        match self.dice.below(2) {
            0 => drop(connection.create_data_channel(NOW, "x", DataChannelInit::default()).unwrap()),
            _ => connection.restart_ice(NOW),
        }
    }
}

#[test]
fn perfect_negotiation_always_settles() {
    for seed in 0..300 {
        let mut world = Perfect::new(seed);
        for _ in 0..100 {
            if world.dice.below(6) == 0 {
                world.wish();
            }
            world.step().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        }
        let mut quiet = 0;
        while quiet < 40 {
            let busy = world.step().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            quiet = if busy { 0 } else { quiet + 1 };
        }
        let [a, b] = &world.sides;
        for (one, other) in [(a, b), (b, a)] {
            assert_eq!(one.signaling_state(), SignalingState::Stable, "seed {seed}");
            assert_eq!(one.current_local_description(), other.current_remote_description(), "seed {seed}");
            let sections = one.local_description().map_or(0, |it| parse(&it).media.len());
            assert!(sections <= 1, "seed {seed}: one data section is enough");
        }
    }
}

#[test]
fn offers_that_are_taken_back_at_any_time_leave_a_usable_connection() {
    for seed in 0..300 {
        let mut world = Perfect::new(seed);
        for _ in 0..150 {
            let side = world.dice.below(2) as usize;
            match world.dice.below(12) {
                0 | 1 => world.wish(),
                // The other side does not learn of it: answers to what was taken back are refused.
                2 => drop(world.sides[side].set_local_description(NOW, Some(SessionDescription::rollback()))),
                _ => drop(world.step()),
            }
        }
        for connection in &mut world.sides {
            if connection.signaling_state() != SignalingState::Stable {
                connection.set_local_description(NOW, Some(SessionDescription::rollback())).unwrap();
            }
            connection.set_local_description(NOW, None).unwrap();
            assert_eq!(connection.signaling_state(), SignalingState::HaveLocalOffer);
        }
    }
}

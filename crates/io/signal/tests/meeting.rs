//! Two ends and a real server on loopback.

use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use sterna_signal::{
    Client, ConnectOptions, Door, ErrorCode, Event, Gone, Hello, Host, Invitation, Limits, MeetError,
    Payload, SessionError, SignalConfig, SignalError, router,
};

async fn start(config: SignalConfig) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = router(config).into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}")
}

fn options() -> ConnectOptions {
    ConnectOptions::default()
}

fn hello() -> Hello {
    Hello::new("transfer", "test")
}

fn invitation(text: &impl ToString) -> Invitation {
    Invitation::parse(&text.to_string()).unwrap()
}

#[tokio::test]
async fn a_code_brings_two_together() {
    let server = start(SignalConfig::default()).await;
    let mut host = Door::open_code(&server, &options()).await.unwrap();
    let code = invitation(host.code().unwrap());
    let mut guest = Door::knock(&code, &server, &options()).await.unwrap();
    let (hello, other) = (hello(), Hello::new("page", "guest"));
    let (mut host, mut guest) = tokio::try_join!(host.meet(&hello), guest.meet(&other)).unwrap();
    assert_eq!((host.hello().name.as_str(), guest.hello().name.as_str()), ("guest", "test"));
    assert!(host.offers() && !guest.offers());
    let offer = Payload::Description(json!({"type": "offer", "sdp": "v=0\r\n"}));
    host.send(&offer).unwrap();
    host.send(&Payload::Other(json!({"later": true}))).unwrap();
    host.send(&Payload::Candidate(None)).unwrap();
    assert_eq!(guest.next().await.unwrap(), offer);
    assert_eq!(
        guest.next().await.unwrap(),
        Payload::Candidate(None),
        "what a later version says is left out"
    );
    drop(host);
}

#[tokio::test]
async fn a_wrong_code_fails_after_one_try_and_dies() {
    let server = start(SignalConfig::default()).await;
    let mut host = Door::open_code(&server, &options()).await.unwrap();
    let right = host.code().unwrap().to_string();
    let words: Vec<_> = sterna_signal::words().iter().filter(|w| !right.contains(**w)).take(2).collect();
    let wrong = format!("{}-{}-{}", host.code().unwrap().nameplate(), words[0], words[1]);

    let mut guest = Door::knock(&invitation(&wrong), &server, &options()).await.unwrap();
    let hello = hello();
    let (host_said, guest_said) = tokio::join!(host.meet(&hello), guest.meet(&hello));
    assert!(matches!(host_said, Err(MeetError::WrongGuess)), "{host_said:?}");
    assert!(matches!(guest_said, Err(MeetError::WrongCode)), "{guest_said:?}");
    assert!(matches!(host.meet(&hello).await, Err(MeetError::Shut)));

    // The right code comes too late now.
    let error = Door::knock(&invitation(&right), &server, &options()).await.unwrap_err();
    assert_eq!(error.code(), "no-such-code");
}

#[tokio::test]
async fn a_host_has_two_doors_and_the_link_survives_a_wrong_guess() {
    let server = start(SignalConfig::default()).await;
    let mut host = Host::open(&server, &server, &options()).await.unwrap();
    let link = host.link().unwrap().to_string();
    assert!(link.starts_with(&format!("{server}/#")));
    let nameplate = host.code().unwrap().nameplate().to_string();
    let words = sterna_signal::words().iter().filter(|w| !host.code().unwrap().secret().contains(**w));
    let words: Vec<_> = words.take(2).collect();
    let wrong = invitation(&format!("{nameplate}-{}-{}", words[0], words[1]));
    let mut guest = Door::knock(&wrong, &server, &options()).await.unwrap();
    let hello = hello();
    let (host_said, _) = tokio::join!(host.meet(&hello), guest.meet(&hello));
    assert!(matches!(host_said, Err(MeetError::WrongGuess)), "{host_said:?}");
    assert!(host.code().is_none() && host.link().is_some());

    // Twice, one guest after the other.
    for _ in 0..2 {
        let mut guest = Door::knock(&invitation(&link), "http://unused", &options()).await.unwrap();
        let (host_said, guest_said) = tokio::join!(host.meet(&hello), guest.meet(&hello));
        let (mut host_session, guest_session) = (host_said.unwrap(), guest_said.unwrap());
        drop((guest, guest_session));
        assert_eq!(host_session.next().await, Err(SessionError::Gone(Gone::Left)));
    }
    host.shut();
}

#[tokio::test]
async fn with_a_link_either_may_come_first() {
    let server = start(SignalConfig::default()).await;
    let link = sterna_signal::Link::generate(&server).unwrap();
    let mut first = Door::open_link(&link, &options()).await.unwrap();
    let hello = hello();
    // Cancelling a meeting loses nothing.
    let waited = tokio::time::timeout(Duration::from_millis(20), first.meet(&hello)).await;
    assert!(waited.is_err());
    let mut second = Door::knock(&invitation(&link), "http://unused", &options()).await.unwrap();
    let (first, second) = tokio::join!(
        async {
            loop {
                if let Ok(met) = tokio::time::timeout(Duration::from_micros(300), first.meet(&hello)).await {
                    return met;
                }
            }
        },
        second.meet(&hello)
    );
    assert!(first.unwrap().offers());
    assert!(!second.unwrap().offers());
}

#[tokio::test]
async fn a_third_finds_the_room_full() {
    let server = start(SignalConfig::default()).await;
    let link = sterna_signal::Link::generate(&server).unwrap();
    let _first = Door::open_link(&link, &options()).await.unwrap();
    let _second = Door::open_link(&link, &options()).await.unwrap();
    let error = Door::open_link(&link, &options()).await.unwrap_err();
    assert_eq!(error.code(), "room-full");
    assert!(error.to_string().contains("new code or link"), "{error}");
}

#[tokio::test]
async fn a_guest_without_a_host_is_told_what_to_do() {
    let server = start(SignalConfig::default()).await;
    let error = Door::knock(&invitation(&"7-river-candle"), &server, &options()).await.unwrap_err();
    assert_eq!(error.code(), "no-such-code");
    assert!(error.to_string().contains("check the number"), "{error}");
}

#[tokio::test]
async fn a_guest_that_leaves_in_the_middle_costs_nothing() {
    let server = start(SignalConfig::default()).await;
    let mut host = Door::open_code(&server, &options()).await.unwrap();
    let code = host.code().unwrap().clone();
    let hello = hello();
    let looker = Door::knock(&invitation(&code), &server, &options()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), host.meet(&hello)).await.is_err());
    drop(looker);
    let mut guest = loop {
        // The server takes a moment to notice.
        match Door::knock(&invitation(&code), &server, &options()).await {
            Ok(guest) => break guest,
            Err(error) => assert_eq!(error.code(), "room-full"),
        }
    };
    let (host_said, guest_said) = tokio::join!(host.meet(&hello), guest.meet(&hello));
    host_said.unwrap();
    guest_said.unwrap();
}

#[tokio::test]
async fn garbage_from_a_guest_ends_the_code_and_not_the_program() {
    let server = start(SignalConfig::default()).await;
    let mut host = Door::open_code(&server, &options()).await.unwrap();
    let mut stranger = Client::connect(&server, &options()).await.unwrap();
    let room = host.code().unwrap().nameplate().to_string();
    let joined = stranger.join(&room, None).await.unwrap();
    joined.peers[0].send("{\"pake\":\"AAAA\"}").unwrap();
    assert!(matches!(host.meet(&hello()).await, Err(MeetError::Stranger)));
}

#[tokio::test]
async fn rooms_tell_who_comes_and_goes() {
    let server = start(SignalConfig::default()).await;
    let mut a = Client::connect(&server, &options()).await.unwrap();
    let mut b = Client::connect(&server, &options()).await.unwrap();
    a.join("garden", None).await.unwrap();
    let joined = b.join("garden", None).await.unwrap();
    assert_eq!(joined.peers.len(), 1);
    let Event::PeerJoined(mut peer) = a.next().await.unwrap() else { panic!() };
    joined.peers[0].send("hello").unwrap();
    assert_eq!(peer.next().await.unwrap(), "hello");
    let error = b.join("elsewhere", None).await.unwrap_err();
    assert!(matches!(error, SignalError::Refused { code: ErrorCode::AlreadyJoined, .. }));
    drop(joined);
    b.close().await;
    assert_eq!(peer.next().await, Err(Gone::Left));
}

#[tokio::test]
async fn a_client_that_falls_silent_is_noticed() {
    let limits =
        Limits { ping: Duration::from_millis(50), silence: Duration::from_millis(200), ..Limits::default() };
    let server = start(SignalConfig { limits, ..SignalConfig::default() }).await;
    let mut a = Client::connect(&server, &options()).await.unwrap();
    a.join("garden", None).await.unwrap();
    // A WebSocket by hand, which joins and then never reads again, so that it answers no ping.
    let stream = tokio::net::TcpStream::connect(server.trim_start_matches("http://")).await.unwrap();
    let url = format!("{}/ws", server.replace("http", "ws"));
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await.unwrap();
    let join = json!({"type": "join", "room": "garden"}).to_string();
    futures_util::SinkExt::send(&mut socket, join.into()).await.unwrap();
    let Event::PeerJoined(mut peer) = a.next().await.unwrap() else { panic!() };
    assert_eq!(peer.next().await, Err(Gone::Silent));
}

#[tokio::test]
async fn every_client_gets_credentials_of_its_own_and_fresh_ones_on_demand() {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    let ice_servers = move |info: &sterna_signal::ClientInfo| {
        assert!(info.host.as_ref().unwrap().starts_with("127.0.0.1:"));
        assert!(info.source.unwrap().ip().is_loopback());
        let n = counter.fetch_add(1, Ordering::Relaxed);
        json!([{"urls": ["stun:example"], "username": n.to_string()}])
    };
    let config = SignalConfig { ice_servers: Arc::new(ice_servers), ..SignalConfig::default() };
    let server = start(config).await;
    let mut a = Client::connect(&server, &options()).await.unwrap();
    a.join("garden", None).await.unwrap();
    assert_eq!(a.ice_servers()[0]["username"], "0");
    a.refresh_ice_servers().unwrap();
    while a.ice_servers()[0]["username"] == "0" {
        tokio::task::yield_now().await;
    }
    assert_eq!(a.ice_servers()[0]["username"], "1");
}

#[tokio::test]
async fn a_fast_talker_is_slowed_down_and_loses_nothing() {
    let limits = Limits { message_burst: 10, messages_per_second: 1000, ..Limits::default() };
    let server = start(SignalConfig { limits, ..SignalConfig::default() }).await;
    let mut a = Client::connect(&server, &options()).await.unwrap();
    let mut b = Client::connect(&server, &options()).await.unwrap();
    a.join("garden", None).await.unwrap();
    let joined = b.join("garden", None).await.unwrap();
    let Event::PeerJoined(mut peer) = a.next().await.unwrap() else { panic!() };
    for i in 0..200 {
        joined.peers[0].send(i.to_string()).unwrap();
    }
    for i in 0..200 {
        assert_eq!(peer.next().await.unwrap(), i.to_string());
    }
}

//! Whole connections that may only be relayed, by coturn: over UDP, TCP and TLS.

use std::time::Duration;

use sansio::Transport;
use sterna::{
    CandidateKind, Configuration, DataChannelInit, IceServer, IceTransportPolicy, PathKind, PeerConnection,
    PeerEvent,
};
use tokio::time::timeout;

use crate::rig::{self, Coturn, credentials};

const PATIENCE: Duration = Duration::from_secs(60);

fn configuration(coturn: &Coturn, url: &str) -> Configuration {
    let (username, password) = credentials();
    Configuration {
        ice_servers: vec![IceServer::new(url).with_credential(username, password)],
        ice_transport_policy: IceTransportPolicy::Relay,
        certificate_authorities: vec![coturn.identity.certificate.clone()],
        include_loopback: true,
        trickle: false,
        ..Configuration::default()
    }
}

/// Two connections, each with an allocation by its own URL, and a mebibyte each way.
async fn connect(coturn: &Coturn, urls: [String; 2], protocol: Transport) {
    let [here, there] = urls.map(|url| PeerConnection::new(configuration(coturn, &url)).unwrap());
    let ours = here.create_data_channel("relayed", DataChannelInit::default()).unwrap();
    let offer = here.set_local_description(None).await.unwrap();
    assert!(offer.sdp.contains("typ relay") && !offer.sdp.contains("typ host"), "{}", offer.sdp);
    there.set_remote_description(offer).await.unwrap();
    let answer = there.set_local_description(None).await.unwrap();
    here.set_remote_description(answer).await.unwrap();
    let path = here.connected().await.unwrap();
    assert_eq!(
        (path.kind, path.local, path.protocol),
        (PathKind::Relayed, CandidateKind::Relay, protocol),
        "{path}"
    );
    let theirs = loop {
        if let PeerEvent::DataChannel(channel) = there.next_event().await.unwrap() {
            break channel;
        }
    };
    let echo = tokio::spawn(async move {
        while let Some(message) = theirs.recv().await {
            theirs.send(message).await.unwrap();
        }
    });
    let message = |n: u32| n.to_le_bytes().repeat(4096);
    for n in 0..64 {
        ours.send(message(n)).await.unwrap();
    }
    for n in 0..64 {
        assert!(ours.recv().await == Some(message(n).into()), "message {n}");
    }
    ours.close().await.unwrap();
    echo.await.unwrap();
    here.close().await;
    there.close().await;
}

async fn by(urls: impl Fn(&Coturn) -> [String; 2], protocol: Transport) {
    if !rig::is_there() {
        return;
    }
    let coturn = tokio::task::spawn_blocking(|| Coturn::start(&["--allow-loopback-peers"])).await.unwrap();
    timeout(PATIENCE, connect(&coturn, urls(&coturn), protocol)).await.expect("in time");
}

fn udp(coturn: &Coturn) -> String {
    format!("turn:{}", coturn.address())
}

fn tcp(coturn: &Coturn) -> String {
    format!("turn:{}?transport=tcp", coturn.address())
}

fn tls(coturn: &Coturn) -> String {
    format!("turns:localhost:{}", coturn.tls_port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_udp() {
    by(|coturn| [udp(coturn), udp(coturn)], Transport::Udp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tcp() {
    by(|coturn| [tcp(coturn), tcp(coturn)], Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tls() {
    by(|coturn| [tls(coturn), tls(coturn)], Transport::Tls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tls_on_one_side_and_udp_on_the_other() {
    by(|coturn| [tls(coturn), udp(coturn)], Transport::Tls).await;
}

//! Two connections that may only be relayed, by our own TURN server on loopback: over UDP, TCP and TLS.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use relay::{Relay, RelayConfig};
use sterna::{
    CandidateKind, CertificateDer, Configuration, DataChannelInit, IceServer, IceTransportPolicy, PathKind,
    PeerConnection, PeerEvent,
};
use tokio::time::timeout;
use turn::{Auth, ServerConfig};

const LONG: Duration = Duration::from_secs(60);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A relay, its ports for UDP, TCP and TLS, and its certificate, which names `localhost`.
struct Server {
    udp: SocketAddr,
    tcp: SocketAddr,
    tls: SocketAddr,
    certificate: CertificateDer<'static>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate: CertificateDer<'static> = made.cert.der().clone();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()).into();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let seed = sansio::Seed(crypto::seed());
        let mut server = ServerConfig::new("test", LOOPBACK, Auth::user("user", "secret"), seed);
        server.policy = server.policy.allow("127.0.0.0/8".parse().unwrap());
        let any = SocketAddr::new(LOOPBACK, 0);
        let relay = Relay::bind(RelayConfig {
            udp: vec![any],
            tcp: vec![any],
            tls: vec![(any, Arc::new(tls))],
            ..RelayConfig::new(server)
        })
        .unwrap();
        let [(_, udp), (_, tcp), (_, tls)] = *relay.addresses() else { panic!("it listens on three") };
        let task = tokio::spawn(async move { relay.run(std::future::pending::<()>()).await });
        Self { udp, tcp, tls, certificate, task }
    }

    fn configuration(&self, url: String) -> Configuration {
        Configuration {
            ice_servers: vec![IceServer::new(url).with_credential("user", "secret")],
            ice_transport_policy: IceTransportPolicy::Relay,
            certificate_authorities: vec![self.certificate.clone()],
            include_loopback: true,
            trickle: false,
            ..Configuration::default()
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relayed(server: &Server, url: String, protocol: sansio::Transport) {
    let make = || PeerConnection::new(server.configuration(url.clone())).unwrap();
    let (here, there) = (make(), make());
    let ours = here.create_data_channel("relayed", DataChannelInit::default()).unwrap();
    let offer = timeout(LONG, here.set_local_description(None)).await.unwrap().unwrap();
    assert!(offer.sdp.contains("typ relay") && !offer.sdp.contains("typ host"), "{}", offer.sdp);
    there.set_remote_description(offer).await.unwrap();
    let answer = timeout(LONG, there.set_local_description(None)).await.unwrap().unwrap();
    here.set_remote_description(answer).await.unwrap();
    let path = timeout(LONG, here.connected()).await.unwrap().unwrap();
    assert_eq!(
        (path.kind, path.local, path.protocol),
        (PathKind::Relayed, CandidateKind::Relay, protocol),
        "{path}"
    );
    let sender = tokio::spawn(async move {
        for n in 0..256u32 {
            ours.send(n.to_le_bytes().repeat(4096)).await.unwrap();
        }
        ours.close().await.unwrap();
    });
    let theirs = loop {
        if let PeerEvent::DataChannel(channel) = timeout(LONG, there.next_event()).await.unwrap().unwrap() {
            break channel;
        }
    };
    for n in 0..256u32 {
        let message = timeout(LONG, theirs.recv()).await.unwrap().unwrap();
        assert!(message == n.to_le_bytes().repeat(4096).into(), "message {n}");
    }
    sender.await.unwrap();
    timeout(LONG, here.close()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_udp() {
    let server = Server::start();
    relayed(&server, format!("turn:{}", server.udp), sansio::Transport::Udp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tcp() {
    let server = Server::start();
    relayed(&server, format!("turn:{}?transport=tcp", server.tcp), sansio::Transport::Tcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_tls_with_a_name_that_the_certificate_carries() {
    let server = Server::start();
    relayed(&server, format!("turns:localhost:{}", server.tls.port()), sansio::Transport::Tls).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_told_at_once() {
    let server = Server::start();
    let mut configuration = server.configuration(format!("turn:{}", server.udp));
    configuration.ice_servers[0].credential = Some("wrong".into());
    let here = PeerConnection::new(configuration).unwrap();
    let _channel = here.create_data_channel("x", DataChannelInit::default()).unwrap();
    timeout(LONG, here.set_local_description(None)).await.unwrap().unwrap();
    let error = loop {
        if let PeerEvent::IceCandidateError(error) = timeout(LONG, here.next_event()).await.unwrap().unwrap()
        {
            break error;
        }
    };
    assert_eq!(
        (error.code, error.url),
        (401, format!("turn:{}?transport=udp", server.udp)),
        "{}",
        error.text
    );
}

/// What the application gets when a connection fails: the same report as a value and as text.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_fails_hands_over_its_verdicts() {
    let server = Server::start();
    let make = || PeerConnection::new(server.configuration(format!("turn:{}", server.udp))).unwrap();
    let (here, there) = (make(), make());
    let _channel = here.create_data_channel("x", DataChannelInit::default()).unwrap();
    let offer = timeout(LONG, here.set_local_description(None)).await.unwrap().unwrap();
    there.set_remote_description(offer).await.unwrap();
    let mut answer = timeout(LONG, there.set_local_description(None)).await.unwrap().unwrap();
    // Somebody on the way has put another fingerprint into it.
    let at = answer.sdp.find("sha-256 ").unwrap() + "sha-256 ".len();
    let other = if answer.sdp[at..].starts_with('0') { "1" } else { "0" };
    answer.sdp.replace_range(at..=at, other);
    here.set_remote_description(answer).await.unwrap();
    let error = timeout(LONG, here.connected()).await.unwrap().unwrap_err();
    let failure = error.failure().expect("it is known why");
    let codes: Vec<&str> = failure.verdicts().iter().map(|verdict| verdict.code.as_str()).collect();
    assert_eq!((failure.code(), &codes[..]), ("dtls-fingerprint-mismatch", &["certificate-mismatch"][..]));
    let verdict = &failure.verdicts()[0];
    let (told, evidence) = (failure.report.to_string(), verdict.evidence[0].as_str());
    for part in [verdict.code.as_str(), verdict.message(), evidence] {
        assert!(told.contains(part), "{told}");
    }
}

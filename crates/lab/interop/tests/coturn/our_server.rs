//! coturn's tools against our server: `relay::Relay` in this process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crypto::aead::Aes256Gcm;
use relay::{Relay, RelayConfig};
use sansio::{Seed, Transport};
use stun::credential::TokenKey;
use stun::{Key, Message, kind};
use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::time::timeout;
use turn::{Auth, ServerConfig, ThirdParty};

use crate::rig::{self, Identity, Peer, REALM, SECRET};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const PATIENCE: Duration = Duration::from_secs(60);
/// turnutils_uclient draws channel numbers from the whole range of RFC 5766, of which RFC 8656 kept a quarter; it
/// draws two, and gives up when one is refused.
const DRAWS: usize = 200;

struct Server {
    addresses: Vec<(Transport, SocketAddr)>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    fn start() -> Self {
        Self::with(|config| {
            for range in ["127.0.0.0/8", "::1"] {
                config.policy = config.policy.clone().allow(range.parse().unwrap());
            }
        })
    }

    fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut auth = Auth::shared_secret(SECRET).unwrap();
        auth.users = Auth::user("george", "a long password").users;
        let mut server = ServerConfig::new(REALM, LOOPBACK, auth, Seed(crypto::seed()));
        server.relay_addresses.push("::1".parse::<IpAddr>().unwrap().into());
        change(&mut server);
        let any = SocketAddr::new(LOOPBACK, 0);
        let relay = Relay::bind(RelayConfig {
            udp: vec![any],
            tcp: vec![any],
            tls: vec![(any, Arc::new(Identity::new().rustls()))],
            dtls: Some(crypto::Certificate::generate().unwrap()),
            ..RelayConfig::new(server)
        })
        .unwrap();
        let addresses = relay.addresses().to_vec();
        let task = tokio::spawn(async move { relay.run(std::future::pending::<()>()).await });
        Self { addresses, task }
    }

    fn address(&self, transport: Transport) -> SocketAddr {
        let transport = if transport == Transport::Dtls { Transport::Udp } else { transport };
        let found = self.addresses.iter().find(|(one, _)| *one == transport);
        found.expect("it listens on all of them").1
    }

    async fn uclient(&self, transport: Transport, arguments: &[&str]) -> String {
        let by = match transport {
            Transport::Udp => &[][..],
            Transport::Tcp => &["-t"],
            Transport::Tls => &["-t", "-S"],
            Transport::Dtls => &["-S"],
        };
        uclient(self.address(transport), &[by, arguments].concat()).await
    }

    /// The same, until it draws channel numbers that exist.
    async fn uclient_with_channels(&self, transport: Transport, arguments: &[&str]) -> String {
        for _ in 0..DRAWS {
            let output = self.uclient(transport, arguments).await;
            if !output.contains("channel bind: error 400") {
                return output;
            }
        }
        panic!("no luck in {DRAWS} draws");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const GEORGE: [&str; 4] = ["-u", "george", "-w", "a long password"];

/// Runs turnutils_uclient with what all its runs have in common: no RTCP, which would ask for a reserved port.
async fn uclient(server: SocketAddr, arguments: &[&str]) -> String {
    let port = server.port().to_string();
    let common = ["-c", "-n", "5", "-z", "5", "-L", "127.0.0.1", "-p", &port];
    tool("turnutils_uclient", &[&common[..], arguments, &["127.0.0.1"]].concat()).await
}

/// What a program says, on both outputs.
async fn tool(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn peer(ip: &'static str) -> Peer {
    tokio::task::spawn_blocking(move || Peer::start(ip)).await.unwrap()
}

#[track_caller]
fn assert_all_arrived(output: &str, messages: usize) {
    let expected = format!("tot_send_msgs={messages}, tot_recv_msgs={messages}");
    assert!(output.contains(&expected) && output.contains("Total lost packets 0 ("), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stunclient_learns_its_address() {
    if !rig::is_there() {
        return;
    }
    let server = Server::start();
    let port = server.address(Transport::Udp).port().to_string();
    let output = tool("turnutils_stunclient", &["-p", &port, "-L", "127.0.0.1", "127.0.0.1"]).await;
    assert!(output.contains("UDP reflexive addr: 127.0.0.1:"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_sends_by_indications_over_all_four_transports() {
    if !rig::is_there() {
        return;
    }
    let (server, peer) = (Server::start(), peer("127.0.0.1").await);
    let port = peer.address.port().to_string();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Dtls] {
        let arguments = [&GEORGE[..], &["-s", "-m", "2", "-e", "127.0.0.1", "-r", &port]].concat();
        let output = server.uclient(transport, &arguments).await;
        assert_all_arrived(&output, 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_sends_by_channels_over_udp() {
    uclient_sends_by_channels(Transport::Udp, &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_sends_by_channels_over_udp_with_padding() {
    uclient_sends_by_channels(Transport::Udp, &["-D", "-l", "101"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_sends_by_channels_over_tcp() {
    uclient_sends_by_channels(Transport::Tcp, &["-l", "101"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_sends_by_channels_over_tls() {
    uclient_sends_by_channels(Transport::Tls, &["-l", "103"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_sends_by_channels_over_dtls() {
    uclient_sends_by_channels(Transport::Dtls, &["-l", "101"]).await;
}

async fn uclient_sends_by_channels(transport: Transport, more: &[&str]) {
    if !rig::is_there() {
        return;
    }
    // What uclient begins and gives up over UDP stays until it expires.
    let server = Server::with(|config| {
        config.policy = config.policy.clone().allow("127.0.0.0/8".parse().unwrap());
        config.quotas.per_user = usize::MAX;
        config.quotas.per_source = usize::MAX;
        config.quotas.unauthenticated_per_second = 10_000;
    });
    let peer = peer("127.0.0.1").await;
    let port = peer.address.port().to_string();
    let arguments = [&GEORGE[..], more, &["-e", "127.0.0.1", "-r", &port]].concat();
    let output = server.uclient_with_channels(transport, &arguments).await;
    assert_all_arrived(&output, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_uclients_are_each_others_peers() {
    if !rig::is_there() {
        return;
    }
    let server = Server::start();
    for transport in [Transport::Udp, Transport::Tcp] {
        let output = server.uclient(transport, &[&GEORGE[..], &["-y", "-s", "-m", "1"]].concat()).await;
        assert_all_arrived(&output, 10);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_gets_an_ipv6_address_and_reaches_an_ipv6_peer() {
    if !rig::is_there() {
        return;
    }
    let (server, peer) = (Server::start(), peer("::1").await);
    let port = peer.address.port().to_string();
    let arguments = [&GEORGE[..], &["-s", "-x", "-e", "::1", "-r", &port]].concat();
    let output = server.uclient(Transport::Udp, &arguments).await;
    assert_all_arrived(&output, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_makes_credentials_of_the_shared_secret() {
    if !rig::is_there() {
        return;
    }
    let (server, peer) = (Server::start(), peer("127.0.0.1").await);
    let port = peer.address.port().to_string();
    let arguments = ["-u", "alice", "-W", SECRET, "-s", "-e", "127.0.0.1", "-r", &port];
    let output = server.uclient(Transport::Udp, &arguments).await;
    assert_all_arrived(&output, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_with_a_wrong_password_gets_nothing() {
    if !rig::is_there() {
        return;
    }
    let server = Server::start();
    let arguments = ["-u", "george", "-w", "wrong", "-s", "-e", "127.0.0.1"];
    let output = server.uclient(Transport::Udp, &arguments).await;
    assert!(output.contains("Cannot complete Allocation"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_does_not_reach_loopback_unless_that_is_allowed() {
    if !rig::is_there() {
        return;
    }
    let server = Server::with(|_| {});
    let arguments = [&GEORGE[..], &["-s", "-e", "127.0.0.2", "-r", "9"]].concat();
    let output = server.uclient(Transport::Udp, &arguments).await;
    assert!(output.contains("403 (Forbidden)"), "{output}");
    // The server's own address may have a permission, for what is relayed there, and nothing else is reached.
    let peer = peer("127.0.0.1").await;
    let port = peer.address.port().to_string();
    let arguments = [&GEORGE[..], &["-s", "-e", "127.0.0.1", "-r", &port]].concat();
    let output = server.uclient(Transport::Udp, &arguments).await;
    assert!(output.contains("tot_send_msgs=5, tot_recv_msgs=0"), "{output}");
}

/// A server that does all that uclient can ask for.
fn with_everything() -> Server {
    Server::with(|config| {
        config.policy = config.policy.clone().allow("127.0.0.0/8".parse().unwrap());
        (config.tcp_relay, config.mobility) = (true, true);
        // What uclient gives up stays for a while.
        (config.quotas.per_user, config.quotas.per_source) = (usize::MAX, usize::MAX);
        let keys = TOKEN_KEYS.map(|(kid, key)| TokenKey::new(kid, *key)).to_vec();
        config.auth.third_party = Some(ThirdParty { server_name: SERVER_NAME.to_owned(), keys });
    })
}

const SERVER_NAME: &str = "turn.example";
/// The keys that uclient has for tests, each under its name. The third, `union`, is for AES-128, which nobody else has.
const TOKEN_KEYS: [(&str, &[u8; 32]); 2] =
    [("north", b"01234567890123456789012345678901"), ("oldempire", b"12345678901234567890123456789012")];

/// RFC 6062: two clients have an allocation each, and one connects to the other's. (With `-P` the other is a peer without a
/// relay: as such uclient reads nothing that comes to it, with coturn's server as with ours.)
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_has_tcp_connections_made_and_accepted_over_tcp_and_tls() {
    if !rig::is_there() {
        return;
    }
    let server = with_everything();
    for transport in [Transport::Tcp, Transport::Tls] {
        // Of an answer on a data connection over TCP uclient takes no more than is in one of its messages: a challenge to the
        // ConnectionBind request (nonces are bound to ports) that is longer is "connection bind error 0" to it.
        let output = server.uclient(transport, &[&GEORGE[..], &["-T", "-l", "200"]].concat()).await;
        assert_all_arrived(&output, 10);
    }
}

/// RFC 8016: uclient shows its ticket from another port, and goes on there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclient_takes_its_allocation_along_over_all_four_transports() {
    if !rig::is_there() {
        return;
    }
    let (server, peer) = (with_everything(), peer("127.0.0.1").await);
    let port = peer.address.port().to_string();
    for transport in [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Dtls] {
        let arguments = [&GEORGE[..], &["-M", "-s", "-e", "127.0.0.1", "-r", &port]].concat();
        let mut output = server.uclient(transport, &arguments).await;
        // One time in four uclient frees the TLS session that it leaves twice, and with it often the one that it has gone to,
        // which it cannot use then: with coturn's server as with ours.
        for _ in 0..DRAWS {
            if !(matches!(transport, Transport::Tls | Transport::Dtls) && output.contains("send: Success")) {
                break;
            }
            output = server.uclient(transport, &arguments).await;
        }
        assert_all_arrived(&output, 5);
        assert!(!output.contains("ERROR"), "{output}");
    }
}

/// RFC 7635: uclient makes its tokens itself, with a key that it shares with the server. We read them; but uclient signs
/// with the first 16 of the 20 bytes that it has put into one, where "the session key" is all of them (§5), so that it is
/// not let in. Should this fail one day, coturn has mended it: see docs/rfc/rfc7635.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uclients_tokens_are_read_but_it_signs_with_a_part_of_their_key() {
    if !rig::is_there() {
        return;
    }
    let server = with_everything();
    let (tap, recorded) = tap(server.address(Transport::Udp)).await;
    let output = uclient(tap, &["-J", "-u", "george", "-w", "wrong", "-s", "-e", "127.0.0.1"]).await;
    assert!(output.contains("Cannot complete Allocation"), "{output}");
    let recorded = recorded.lock().unwrap();
    let mut seen = 0;
    for request in recorded.iter().filter_map(|bytes| Message::parse(bytes).ok()) {
        let (Some(token), Some(kid)) = (request.raw(kind::ACCESS_TOKEN), request.username()) else {
            continue;
        };
        let Some((_, key)) = TOKEN_KEYS.iter().find(|(name, _)| *name == kid) else { continue };
        let session = TokenKey::new(kid, **key).open(SERVER_NAME, token).expect("we read it");
        assert!(request.check_integrity(&session.key()).is_err());
        // Behind the nonce, the sealed block: a length, and the key.
        let nonce = token[2..14].try_into().unwrap();
        let block = Aes256Gcm::new(key).open(nonce, SERVER_NAME.as_bytes(), &token[14..]).unwrap();
        assert_eq!(block[..2], [0, 20]);
        assert_eq!(request.check_integrity(&Key::from_bytes(&block[2..18])), Ok(()));
        seen += 1;
    }
    assert!(seen > 0, "{output}");
}

/// Stands between one client and a server, and records what the client sends.
async fn tap(server: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<Vec<u8>>>>) {
    let recorded = Arc::new(Mutex::new(Vec::new()));
    let front = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    let back = UdpSocket::bind((LOOPBACK, 0)).await.unwrap();
    back.connect(server).await.unwrap();
    let (address, record) = (front.local_addr().unwrap(), recorded.clone());
    tokio::spawn(async move {
        let (mut there, mut here) = ([0; 2000], [0; 2000]);
        let mut client = None;
        loop {
            tokio::select! {
                Ok((length, from)) = front.recv_from(&mut there) => {
                    client = Some(from);
                    record.lock().unwrap().push(there[..length].to_vec());
                    back.send(&there[..length]).await.unwrap();
                }
                Ok(length) = back.recv(&mut here) => {
                    let client = client.expect("the server answers");
                    front.send_to(&here[..length], client).await.unwrap();
                }
            }
        }
    });
    (address, recorded)
}

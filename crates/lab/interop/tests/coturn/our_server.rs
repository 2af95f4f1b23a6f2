//! coturn's tools against our server: `relay::Relay` in this process.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use relay::{Relay, RelayConfig};
use sansio::{Seed, Transport};
use tokio::process::Command;
use tokio::time::timeout;
use turn::{Auth, ServerConfig};

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

    fn port(&self, transport: Transport) -> String {
        let transport = if transport == Transport::Dtls { Transport::Udp } else { transport };
        let found = self.addresses.iter().find(|(one, _)| *one == transport);
        found.expect("it listens on all of them").1.port().to_string()
    }

    /// Runs turnutils_uclient with what all its runs have in common: no RTCP, which would ask for a reserved port.
    async fn uclient(&self, transport: Transport, arguments: &[&str]) -> String {
        let by = match transport {
            Transport::Udp => &[][..],
            Transport::Tcp => &["-t"],
            Transport::Tls => &["-t", "-S"],
            Transport::Dtls => &["-S"],
        };
        let port = self.port(transport);
        let common = ["-c", "-n", "5", "-z", "5", "-L", "127.0.0.1", "-p", &port];
        let arguments = [by, &common[..], arguments, &["127.0.0.1"]].concat();
        tool("turnutils_uclient", &arguments).await
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
    let port = server.port(Transport::Udp);
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

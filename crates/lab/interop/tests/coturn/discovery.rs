//! NAT behaviour discovery (RFC 5780): coturn's tool and Debian's `stun` against our server, our client against coturn.
//!
//! All on loopback, where there is no NAT; that they find out.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Stdio;
use std::task::Waker;
use std::time::Duration;

use relay::{Relay, RelayConfig};
use sansio::{Machine as _, Seed};
use sterna::machine::{Clock, Connector, Engine, Host, Network, Shared, Time};
use stun::discovery::{Aspect, Behaviour, Config, Discovery, Event, NatReport};
use stun::server::Alternate;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::time::timeout;
use turn::{Auth, ServerConfig};

use crate::rig::{self, Coturn, REALM, SECRET};

const FIRST: Ipv4Addr = Ipv4Addr::LOCALHOST;
const SECOND: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const PATIENCE: Duration = Duration::from_secs(60);

/// Two ports that both addresses have free.
fn free_ports() -> (u16, u16) {
    for _ in 0..100 {
        let (one, two) = (rig::free_port(), rig::free_port());
        let free = |port| UdpSocket::bind((SECOND, port)).is_ok();
        if one != two && free(one) && free(two) {
            return (one, two);
        }
    }
    panic!("no two ports are free on both addresses");
}

/// Our server, at two addresses and two ports.
struct Server {
    first: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    fn start() -> Self {
        let (one, two) = free_ports();
        let alternate = Alternate::new((FIRST, one).into(), (SECOND, two).into()).unwrap();
        let auth = Auth::shared_secret(SECRET).unwrap();
        let mut server = ServerConfig::new(REALM, std::net::IpAddr::V4(FIRST), auth, Seed(crypto::seed()));
        server.alternate = Some(alternate);
        let config = RelayConfig { udp: alternate.sockets().to_vec(), ..RelayConfig::new(server) };
        let relay = Relay::bind(config).unwrap();
        let task = tokio::spawn(async move { relay.run(std::future::pending::<()>()).await });
        Self { first: (FIRST, one).into(), task }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tool(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("it ends").unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// What our client finds, asking one server.
async fn discover(server: SocketAddr, lifetime: Option<Duration>) -> NatReport {
    struct Asking(Discovery, Option<oneshot::Sender<NatReport>>);
    impl Host for Asking {
        type Machine = Discovery;
        fn machine(&mut self) -> &mut Discovery {
            &mut self.0
        }
        fn absorb(&mut self, _: Time, _: &mut Vec<Waker>) -> bool {
            while let Some(event) = self.0.poll_event() {
                if let Event::Finished(report) = event
                    && let Some(tell) = self.1.take()
                {
                    let _ = tell.send(*report);
                }
            }
            false
        }
        fn ended(&self) -> bool {
            self.0.is_finished()
        }
        fn abandon(&mut self, _: &mut Vec<Waker>) {}
    }
    let seed = Seed(crypto::seed());
    let config = Config { fragments: Some(1500), lifetime, ..Config::new(FIRST.into(), vec![server], seed) };
    let (tell, told) = oneshot::channel();
    let shared = Shared::new(Clock::start(), Asking(Discovery::new(Time::ZERO, config), Some(tell)));
    let engine = tokio::spawn(Engine::new(shared, Network::new(Connector::default())));
    let report = timeout(PATIENCE, told).await.expect("it ends").unwrap();
    engine.abort();
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn natdiscovery_finds_mapping_and_filtering_with_our_server() {
    if !rig::is_there() {
        return;
    }
    let server = Server::start();
    let port = server.first.port().to_string();
    let output =
        tool("turnutils_natdiscovery", &["-m", "-f", "-H", "-p", &port, "-L", "127.0.0.1", "127.0.0.1"])
            .await;
    for expected in ["No NAT! (Endpoint Independent Mapping)", "NAT with Endpoint Independent Filtering!"] {
        assert!(output.contains(expected), "{expected:?} is not in:\n{output}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn natdiscovery_finds_a_mapping_alive_with_our_server() {
    if !rig::is_there() {
        return;
    }
    let server = Server::start();
    let port = server.first.port().to_string();
    let output =
        tool("turnutils_natdiscovery", &["-t", "-T", "1", "-p", &port, "-L", "127.0.0.1", "127.0.0.1"]).await;
    // The second answer is to a request from another port, and comes to the first one by RESPONSE-PORT.
    assert!(output.contains("RFC 5780 response 2"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn debians_stun_client_finds_no_nat_with_our_server() {
    if !rig::has_program("stun") {
        return sterna_interop::missing("stun (of Debian's stun-client)");
    }
    let server = Server::start();
    let output = tool("stun", &[&server.first.to_string(), "-v"]).await;
    assert!(output.contains("Primary: Open"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_asks_our_server() {
    let server = Server::start();
    let report = discover(server.first, Some(Duration::from_secs(2))).await;
    assert_open(&report, server.first);
    assert_eq!(report.fragments, Some(true), "{report:#?}");
    let lifetime = report.nat.lifetime.expect("the server knows RESPONSE-PORT");
    assert_eq!((lifetime.alive_after, lifetime.gone_after), (Duration::from_secs(2), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_asks_coturn() {
    if !rig::is_there() {
        return;
    }
    let (one, two) = free_ports();
    let alternate = two.to_string();
    let options = ["--listening-ip", "127.0.0.2", "--alt-listening-port", &alternate];
    let coturn = tokio::task::spawn_blocking({
        let options = options.map(str::to_owned);
        move || Coturn::start_at(one, &options.each_ref().map(String::as_str))
    });
    let coturn = coturn.await.unwrap();
    let report = discover(coturn.address(), None).await;
    assert_open(&report, coturn.address());
}

/// No NAT, and everybody gets in.
#[track_caller]
fn assert_open(report: &NatReport, server: SocketAddr) {
    assert_eq!((report.nat.udp, report.server), (Some(true), Some(server)), "{report:#?}");
    assert_eq!((report.nat.mapping, report.nat.preserves_port), (Behaviour::None, Some(true)), "{report:#?}");
    assert_eq!(report.nat.filtering, Behaviour::None, "{report:#?}");
    assert!(report.doubt(Aspect::Hairpin).is_some() && report.rewrites == Some(false), "{report:#?}");
}

//! Start and end.

mod rig;

use std::net::SocketAddr;

use rig::*;
use sansio::Transport;
use sterna_relay::{Error, Relay, RelayConfig};
use tokio::net::UdpSocket;

#[tokio::test]
async fn a_port_in_use_is_named_with_what_to_do() {
    let (udp, tcp) =
        (std::net::UdpSocket::bind(loopback()).unwrap(), std::net::TcpListener::bind(loopback()).unwrap());
    let (in_udp, in_tcp) = (udp.local_addr().unwrap(), tcp.local_addr().unwrap());
    for (config, transport, address) in [
        (RelayConfig { udp: vec![in_udp], ..RelayConfig::new(machine(false)) }, "udp", in_udp),
        (RelayConfig { tcp: vec![in_tcp], ..RelayConfig::new(machine(false)) }, "tcp", in_tcp),
        (
            RelayConfig { tls: vec![(in_tcp, tls_config().1)], ..RelayConfig::new(machine(false)) },
            "tls",
            in_tcp,
        ),
    ] {
        let text = Relay::bind(config).unwrap_err().to_string();
        let words = [
            format!("cannot listen on {transport} {address}"),
            format!("port {} is in use", address.port()),
            "choose another port".into(),
        ];
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[tokio::test]
async fn an_address_that_is_not_ours_and_no_address_at_all_are_errors() {
    let foreign =
        RelayConfig { udp: vec!["192.0.2.1:0".parse().unwrap()], ..RelayConfig::new(machine(false)) };
    assert!(Relay::bind(foreign).unwrap_err().to_string().contains("does not have the address 192.0.2.1"));
    assert!(matches!(Relay::bind(RelayConfig::new(machine(false))), Err(Error::Nowhere)));
}

#[tokio::test]
async fn a_machine_that_cannot_be_is_an_error() {
    let mut server = machine(false);
    server.auth = turn::Auth::default();
    let config = RelayConfig { udp: vec![loopback()], ..RelayConfig::new(server) };
    assert!(matches!(Relay::bind(config), Err(Error::Config(turn::ConfigError::NoAuth))));
}

#[tokio::test]
async fn several_addresses_are_served_and_answered_from_the_one_that_was_asked() {
    let everywhere: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let config = RelayConfig {
        udp: vec!["127.0.0.4:0".parse().unwrap(), "[::1]:0".parse().unwrap(), everywhere],
        ..RelayConfig::new(machine(false))
    };
    let relay = Relay::bind(config).unwrap();
    let addresses: Vec<SocketAddr> = relay.addresses().iter().map(|(_, address)| *address).collect();
    let task = tokio::spawn(relay.run(std::future::pending()));
    let mut request = [0; 20];
    let id = stun::TransactionId([1; 12]);
    stun::MessageWriter::new(&mut request, stun::Class::Request, stun::Method::BINDING, id).finish().unwrap();
    let wildcard_port = addresses[2].port();
    for asked in [
        addresses[0],
        addresses[1],
        SocketAddr::from(([127, 0, 0, 5], wildcard_port)),
        SocketAddr::from(([127, 0, 0, 6], wildcard_port)),
    ] {
        let local = if asked.is_ipv4() { loopback() } else { "[::1]:0".parse().unwrap() };
        let socket = UdpSocket::bind(local).await.unwrap();
        socket.send_to(&request, asked).await.unwrap();
        let (answer, from) = peer_recv(&socket).await;
        assert_eq!(from, asked);
        let mapped = stun::Message::parse(&answer).unwrap().xor_mapped_address();
        assert_eq!(mapped, Some(socket.local_addr().unwrap()));
    }
    task.abort();
}

#[tokio::test]
async fn a_stopped_relay_closes_its_streams_and_frees_its_ports() {
    let server = Server::start(true);
    let udp = server.address(Transport::Udp);
    let mut clients = Vec::new();
    for transport in [Transport::Tcp, Transport::Tls] {
        let mut client = server.client(transport).await;
        let relayed = client.allocated().await;
        clients.push((client, relayed));
    }
    server.stop().await;
    for (mut client, relayed) in clients {
        client.closed().await;
        UdpSocket::bind(relayed).await.expect("the relayed port is free again");
    }
    UdpSocket::bind(udp).await.expect("the port is free again");
}

#[tokio::test]
async fn a_dropped_relay_closes_everything_at_once() {
    let relay =
        Relay::bind(RelayConfig { tcp: vec![loopback()], ..RelayConfig::new(machine(true)) }).unwrap();
    let address = relay.addresses()[0].1;
    let task = tokio::spawn(relay.run(std::future::pending()));
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    // The answer shows that the connection has arrived.
    let mut request = [0; 20];
    let id = stun::TransactionId([1; 12]);
    stun::MessageWriter::new(&mut request, stun::Class::Request, stun::Method::BINDING, id).finish().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &request).await.unwrap();
    let mut answer = [0; 32];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
    task.abort();
    assert_eq!(tokio::io::AsyncReadExt::read(&mut stream, &mut answer).await.unwrap_or(0), 0);
}

#[tokio::test]
async fn a_stream_that_breaks_gives_its_port_back() {
    let server = Server::start(true);
    let mut client = server.client(Transport::Tcp).await;
    let relayed = client.allocated().await;
    drop(client);
    let freed = async {
        while UdpSocket::bind(relayed).await.is_err() {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(PATIENCE, freed).await.expect("the relayed port is free again");
}

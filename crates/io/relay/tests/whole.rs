//! DONT-FRAGMENT through the real relay, on a loopback whose MTU is small: in a network namespace of the test's own, so it
//! needs root.

#![cfg(target_os = "linux")]

mod rig;

use std::io::Read as _;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use rig::{PASSWORD, Server, USER, peer, peer_recv};
use sansio::Transport;
use socket2::{Domain, Protocol, Socket, Type};
use turn::ClientEvent;

const INSIDE: &str = "STERNA_TEST_INSIDE";
const MTU: usize = 1280;
/// "Don't fragment" in the flags of an IPv4 header.
const DF: u8 = 0x40;

#[test]
fn what_must_stay_whole_leaves_the_relay_with_the_df_bit_or_not_at_all() {
    if std::env::var_os(INSIDE).is_some() {
        return tokio::runtime::Runtime::new().unwrap().block_on(inside());
    }
    let this = std::env::current_exe().unwrap();
    let inside = format!("ip link set lo mtu {MTU} up && exec {} --nocapture", this.display());
    let output = Command::new("unshare").args(["--net", "sh", "-c", &inside]).env(INSIDE, "1").output();
    let output = output.expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("Operation not permitted") && std::env::var_os("CI").is_none() {
        return eprintln!("skipped: a network namespace takes root");
    }
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
}

async fn inside() {
    // Whatever comes by UDP, with its IP header.
    let mut wire = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::UDP)).unwrap();
    wire.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let server = Server::start(true);
    let ask = |config: &mut turn::ClientConfig| config.dont_fragment = true;
    let mut client = server.client_of(Transport::Udp, USER, PASSWORD, ask).await;
    client.allocated().await;
    let peer = peer().await;
    let address = peer.local_addr().unwrap();
    client.permit_without_channel(address).await;

    client.send_whole(address, &[1; 1000]).await;
    assert_eq!(peer_recv(&peer).await.0, [1; 1000]);
    assert_eq!(flags(&mut wire, address) & DF, DF, "the bit is set");

    client.send_whole(address, &[2; MTU]).await;
    let told = loop {
        match client.event().await {
            ClientEvent::ChannelBound(_) => {}
            event => break event,
        }
    };
    let ClientEvent::PeerUnreachable { peer: unreached, icmp_type: 3, icmp_code: 4, data } = told else {
        panic!("{told:?}")
    };
    assert_eq!((unreached.ip(), data as usize), (address.ip(), MTU), "what is too large is told");

    // What may be fragmented is; and what was too large has not come meanwhile.
    client.send(address, &[3; MTU]).await;
    assert_eq!(peer_recv(&peer).await.0, [3; MTU]);
}

/// The flags of the next packet to `address`.
fn flags(wire: &mut Socket, address: SocketAddr) -> u8 {
    let mut packet = [0; 2000];
    loop {
        let length = wire.read(&mut packet).expect("it was on the wire");
        let udp = usize::from(packet[0] & 15) * 4;
        if length > udp + 4 && packet[udp + 2..udp + 4] == address.port().to_be_bytes() {
            return packet[6];
        }
    }
}

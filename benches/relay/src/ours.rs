//! Our relay, in a process of its own: what `sterna serve` runs, with loopback allowed and no limits that one machine
//! with ten thousand clients would run into.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use relay::{Relay, RelayConfig};
use sansio::Seed;
use turn::{Auth, PeerPolicy, Quotas, ServerConfig};

use crate::place::{PASSWORD, PEER, REALM, RELAY_PORTS, USER};

pub(crate) fn serve(listen: SocketAddr, shards: usize, busy_poll: Duration) -> io::Result<()> {
    // One for each: several run at a time.
    let relay = IpAddr::V4(Ipv4Addr::new(127, 0, 3, (listen.port() % 100) as u8));
    let mut server = ServerConfig::new(REALM, relay, Auth::user(USER, PASSWORD), Seed(crypto::seed()));
    server.ports = RELAY_PORTS;
    let peers = format!("{PEER}/32").parse().map_err(|_| io::Error::other("not an address"))?;
    server.policy = PeerPolicy::default().allow(peers);
    server.quotas = Quotas {
        per_user: 100_000,
        per_source: 100_000,
        total: 100_000,
        unauthenticated_per_second: u32::MAX,
        ..Quotas::default()
    };
    let config = RelayConfig { udp: vec![listen], shards, busy_poll, ..RelayConfig::new(server) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let relay = Relay::bind(config).map_err(|error| io::Error::other(error.to_string()))?;
        relay.run(std::future::pending()).await;
        Ok(())
    })
}

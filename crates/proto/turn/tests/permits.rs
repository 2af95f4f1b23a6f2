//! Who keeps strangers from the server knows at every moment whose datagrams it would let in, and at which relay socket.

mod world;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Batches, Datagram, Machine as _, Path, Transport};
use sterna_turn::{Auth, Drop, PeerPolicy, Permit, Quotas, ServerConfig};
use stun::{Message, MessageWriter, Method, kind};
use world::{
    Raw, World, address, allocate_and, client_path, credentials, relayed_in, server_config, stream_path,
};

const PEER: &str = "203.0.113.9:4000";
const OTHER: &str = "203.0.113.10:4000";
const PEER_6: &str = "[2001:db8:1::9]:4000";

/// A server that tells, and who may come in where by what it told: by how many permissions.
struct Doorkeeper {
    world: World,
    told: BTreeMap<(SocketAddr, IpAddr), usize>,
}

impl Doorkeeper {
    fn new(config: ServerConfig) -> Self {
        let world = World::with(ServerConfig { tells_permits: true, ..config });
        Self { world, told: BTreeMap::new() }
    }

    /// Hears what was told since the last time, and how much that was.
    fn hear(&mut self) -> usize {
        let news: Vec<Permit> = std::iter::from_fn(|| self.world.server.poll_permit()).collect();
        for Permit { local, peer, given } in &news {
            let count = self.told.entry((*local, *peer)).or_default();
            *count = if *given { *count + 1 } else { count.checked_sub(1).expect("it was given") };
        }
        self.told.retain(|_, count| *count > 0);
        news.len()
    }

    /// These peers, and none else, may come in at `local`, both by what was told and by what the server does.
    fn lets_in(&mut self, local: SocketAddr, expected: &[&str]) {
        for peer in [PEER, OTHER, PEER_6].map(address) {
            let told = self.told.contains_key(&(local, peer.ip()));
            assert_eq!(told, expected.iter().any(|one| address(one) == peer), "{peer} at {local}");
            if local.is_ipv4() != peer.is_ipv4() {
                continue; // never comes
            }
            let mut out = Batches::new(1 << 16);
            let datagram = Datagram { from: Path::udp(local, peer), payload: &mut [1, 2, 3] };
            self.world.server.handle_datagram(self.world.now, datagram, &mut out);
            assert_eq!(!out.is_empty(), told, "{peer} at {local}");
        }
    }

    fn client(&mut self, port: u16, allocate: &dyn Fn(&mut MessageWriter<'_>)) -> (Raw, Vec<SocketAddr>) {
        let mut raw = Raw::challenged(&mut self.world, client_path(port), credentials("alice"));
        let request = raw.write(Method::ALLOCATE, allocate);
        let answer = self.world.ask(raw.path, &request).unwrap();
        (raw, relayed_in(&answer))
    }

    fn plain_client(&mut self, port: u16) -> (Raw, SocketAddr) {
        let (raw, relayed) = self.client(port, &world::allocate);
        (raw, relayed[0])
    }

    fn ends(&mut self, raw: &mut Raw) {
        let asked = raw.ask(&mut self.world, Method::REFRESH, &|writer| _ = writer.u32(kind::LIFETIME, 0));
        assert_eq!(asked, Ok(()));
    }
}

#[test]
fn a_permission_is_told_when_it_comes_and_when_it_goes_and_not_when_it_is_refreshed() {
    let mut door = Doorkeeper::new(server_config());
    let (mut raw, local) = door.plain_client(1000);
    assert_eq!(door.hear(), 0);
    door.lets_in(local, &[]);
    raw.permit(&mut door.world, address(PEER)).unwrap();
    assert_eq!(door.hear(), 1);
    door.lets_in(local, &[PEER]);
    door.world.advance_secs(200);
    raw.permit(&mut door.world, address(PEER)).unwrap();
    raw.bind(&mut door.world, 0x4000, address(PEER)).unwrap();
    assert_eq!(door.hear(), 0);
    raw.bind(&mut door.world, 0x4001, address(OTHER)).unwrap();
    door.world.advance_secs(299);
    assert_eq!(door.hear(), 1);
    door.lets_in(local, &[PEER, OTHER]);
    raw.permit(&mut door.world, address(OTHER)).unwrap();
    door.world.advance_secs(1);
    assert_eq!(door.hear(), 1);
    door.lets_in(local, &[OTHER]);
    door.ends(&mut raw);
    assert_eq!((door.hear(), door.told.len()), (1, 0));
    assert!(door.world.server.is_idle());
}

#[test]
fn who_comes_back_before_the_timer_has_run_has_gone_meanwhile() {
    let mut door = Doorkeeper::new(server_config());
    let (mut raw, local) = door.plain_client(1000);
    raw.permit(&mut door.world, address(PEER)).unwrap();
    door.world.now += Duration::from_secs(301);
    raw.permit(&mut door.world, address(PEER)).unwrap();
    assert_eq!(door.hear(), 3, "it came, went, and came");
    door.lets_in(local, &[PEER]);
}

#[test]
fn what_is_refused_is_not_told() {
    let mut config = server_config();
    config.quotas.permissions = 1;
    let mut door = Doorkeeper::new(config);
    let (mut raw, local) = door.plain_client(1000);
    assert_eq!(raw.permit(&mut door.world, address("127.0.0.1:9")), Err(403));
    assert_eq!(raw.permit(&mut door.world, address(PEER_6)), Err(443));
    assert_eq!(door.hear(), 0);
    raw.permit(&mut door.world, address(PEER)).unwrap();
    assert_eq!(raw.permit(&mut door.world, address(OTHER)), Err(508));
    door.hear();
    door.lets_in(local, &[PEER]);
}

#[test]
fn of_two_relayed_addresses_each_has_its_peers() {
    let mut door = Doorkeeper::new(server_config());
    let dual: &dyn Fn(&mut MessageWriter<'_>) =
        &|writer| allocate_and(writer, kind::ADDITIONAL_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    let (mut raw, relayed) = door.client(1000, dual);
    raw.permit(&mut door.world, address(PEER)).unwrap();
    raw.permit(&mut door.world, address(PEER_6)).unwrap();
    door.hear();
    door.lets_in(relayed[0], &[PEER]);
    door.lets_in(relayed[1], &[PEER_6]);
    let deleted = raw.ask(&mut door.world, Method::REFRESH, &|writer| {
        writer.u32(kind::LIFETIME, 0).raw(kind::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0]);
    });
    assert_eq!((deleted, door.hear()), (Ok(()), 1));
    door.lets_in(relayed[0], &[PEER]);
    assert_eq!(door.told.len(), 1);
}

#[test]
fn at_a_shared_port_a_peer_may_come_in_until_nobody_wants_him() {
    let mut door = Doorkeeper::new(ServerConfig { shared_port: Some(50_000), ..server_config() });
    let (mut one, local) = door.plain_client(1000);
    let (mut other, same) = door.plain_client(2000);
    assert_eq!(local, same);
    one.permit(&mut door.world, address(PEER)).unwrap();
    other.permit(&mut door.world, address(PEER)).unwrap();
    other.permit(&mut door.world, address(OTHER)).unwrap();
    door.hear();
    let may = |door: &Doorkeeper| {
        [PEER, OTHER].map(|peer| door.told.get(&(local, address(peer).ip())).copied().unwrap_or(0))
    };
    assert_eq!(may(&door), [2, 1]);
    door.ends(&mut other);
    door.hear();
    assert_eq!(may(&door), [1, 0]);
    door.world.advance_secs(300);
    door.hear();
    assert_eq!(may(&door), [0, 0]);
}

#[test]
fn what_a_new_policy_takes_back_is_told() {
    let mut door = Doorkeeper::new(server_config());
    let (mut raw, local) = door.plain_client(1000);
    for peer in [PEER, OTHER] {
        raw.permit(&mut door.world, address(peer)).unwrap();
    }
    let policy = PeerPolicy::default().deny("203.0.113.10/32".parse().unwrap());
    let auth = Auth::shared_secret(world::SECRET).unwrap();
    door.world.server.reconfigure(auth, policy, Quotas::default()).unwrap();
    assert_eq!(door.hear(), 3);
    door.lets_in(local, &[PEER]);
}

#[test]
fn who_moves_takes_his_peers_along_and_nothing_is_told() {
    let mut door = Doorkeeper::new(server_config());
    let mobile: &dyn Fn(&mut MessageWriter<'_>) = &|writer| allocate_and(writer, kind::MOBILITY_TICKET, &[]);
    let mut raw = Raw::challenged(&mut door.world, client_path(1000), credentials("alice"));
    let request = raw.write(Method::ALLOCATE, mobile);
    let answer = door.world.ask(raw.path, &request).unwrap();
    let ticket = Message::parse(&answer).unwrap().raw(kind::MOBILITY_TICKET).unwrap().to_vec();
    raw.bind(&mut door.world, 0x4000, address(PEER)).unwrap();
    door.hear();
    let mut away = Raw::challenged(&mut door.world, client_path(2000), credentials("alice"));
    let moved =
        away.ask(&mut door.world, Method::REFRESH, &|writer| _ = writer.raw(kind::MOBILITY_TICKET, &ticket));
    door.world.ask(away.path, b"\x40\x00\x00\x05hello");
    assert_eq!((moved, door.hear()), (Ok(()), 0));
    door.lets_in(relayed_in(&answer)[0], &[PEER]);
}

#[test]
fn permissions_of_streams_and_those_that_nobody_asks_for_are_not_told() {
    let mut door = Doorkeeper::new(ServerConfig { tcp_relay: true, ..server_config() });
    let path = stream_path(1000, Transport::Tcp);
    let mut raw = Raw::challenged(&mut door.world, path, credentials("alice"));
    let asked = raw.ask(&mut door.world, Method::ALLOCATE, &|writer| {
        writer.raw(kind::REQUESTED_TRANSPORT, &[6, 0, 0, 0]);
    });
    assert_eq!((asked, raw.permit(&mut door.world, address(PEER)), door.hear()), (Ok(()), Ok(()), 0));

    let mut world = World::new();
    world.connected("alice", 1000, address(PEER));
    assert_eq!(world.server.poll_permit(), None);
}

#[test]
fn what_was_kept_from_the_server_counts() {
    let mut door = Doorkeeper::new(server_config());
    door.world.server.unpermitted(7);
    assert_eq!(door.world.server.counters().dropped(Drop::NoPermission), 7);
}

//! Relays that nobody named (RFC 8155): found in the DNS and at the anycast address, and used.

use std::time::Duration;

use netsim::{HostId, Net, Preset};
use sterna_scenario::{Peer, ServerSetup, Way, World};
use turn::discovery::{ANYCAST_V4, Config, Discovery, Question, Record, RecordKind};

/// Two who need a relay, and a server for STUN and TURN whose other address is the anycast one.
fn stage(seed: u64) -> (World, HostId, [HostId; 2]) {
    let mut world = World::new(Net::new(seed));
    let (setup, anycast) = (ServerSetup::new("relay.office.example"), (ANYCAST_V4, 3478).into());
    let server = world.add_server_with(Net::INTERNET, &setup, |config| config.listening.push(anycast));
    world.net.add_interface(server, Net::INTERNET, &[ANYCAST_V4.into()]);
    world.net.bind(server, anycast).unwrap();
    let networks = [Preset::Symmetric, Preset::PortRestricted]
        .map(|preset| world.net.add_preset(Net::INTERNET, preset.name(), preset));
    let hosts = [world.net.add_host("a", &networks[..1]), world.net.add_host("b", &networks[1..])];
    (world, server, hosts)
}

/// The two meet, each with these servers: by which way.
fn meet(world: &mut World, hosts: [HostId; 2], urls: &[String]) -> Option<Way> {
    for host in hosts {
        let configuration = world.configuration(host, urls);
        world.start_peer(host, configuration, |peer| peer.with_greeting("hello"));
    }
    world.introduce(hosts[0], hosts[1]);
    world.call(hosts[0]);
    let heard = |net: &Net| hosts.iter().all(|host| !net.machine::<Peer>(*host).messages().is_empty());
    world.run_until(Duration::from_secs(30), heard);
    let paths: Vec<_> = hosts.iter().filter_map(|host| world.peer(*host).path()).collect();
    Way::of(&paths)
}

#[test]
fn a_relay_that_the_dns_names_is_used() {
    let config = Config { domains: vec!["office.example".into()], ..Config::new(sansio::Seed::from(1)) };
    let mut discovery = Discovery::new(config);
    while let Some(question) = discovery.poll_question() {
        let records = match &question {
            Question::Dns { name, kind: RecordKind::Srv } if name == "_turn._udp.office.example" => {
                let target = "relay.office.example".to_owned();
                vec![Record::Srv { priority: 0, weight: 0, port: 3478, target }]
            }
            _ => Vec::new(),
        };
        discovery.handle_answer(&question, records);
    }
    let urls: Vec<String> = discovery.relays().iter().map(turn::discovery::Relay::url).collect();
    assert_eq!(urls, ["turn:relay.office.example:3478?transport=udp"]);
    for seed in 1..=10 {
        let (mut world, server, hosts) = stage(seed);
        assert_eq!(meet(&mut world, hosts, &urls), Some(Way::Relayed), "seed {seed}");
        assert_eq!(world.net.machine::<turn::Server>(server).allocations(), 2, "seed {seed}");
    }
}

#[test]
fn a_relay_at_the_anycast_address_sends_its_clients_to_where_it_is_and_relays_there() {
    for seed in 1..=10 {
        let (mut world, server, hosts) = stage(seed);
        let way = meet(&mut world, hosts, &[format!("turn:{ANYCAST_V4}")]);
        assert_eq!(way, Some(Way::Relayed), "seed {seed}");
        assert_eq!(world.net.machine::<turn::Server>(server).allocations(), 2, "seed {seed}");
        // Nothing but the first questions went to the address that many share.
        let trace = world.net.trace();
        let shared = trace
            .records()
            .iter()
            .filter(|it| it.fate == netsim::Fate::Sent && it.path.remote.ip() == ANYCAST_V4);
        let asked = shared.count();
        assert!((4..=8).contains(&asked), "seed {seed}: {asked}");
    }
}

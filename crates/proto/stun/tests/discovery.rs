//! The discovery of NAT behaviour, in the simulated internet: it finds what is there, or says that it cannot tell.

use std::net::SocketAddr;
use std::time::Duration;

use netsim::{Dependence, Hairpin, HostId, Laws, Link, LinkId, NatBehaviour, Net, PortAssignment, SegmentId};
use sansio::{Seed, Time};
use sterna_stun::discovery::{Aspect, Behaviour, Config, Discovery, Event, NatReport, ServerOutcome, Why};
use sterna_stun::server::{self, Alternate, Server};

const PORTS: [u16; 2] = [3478, 3479];
const DEPENDENCES: [Dependence; 3] =
    [Dependence::EndpointIndependent, Dependence::AddressDependent, Dependence::AddressAndPortDependent];

/// The word for it in a report.
fn word(dependence: Dependence) -> Behaviour {
    match dependence {
        Dependence::EndpointIndependent => Behaviour::EndpointIndependent,
        Dependence::AddressDependent => Behaviour::AddressDependent,
        Dependence::AddressAndPortDependent => Behaviour::AddressAndPortDependent,
    }
}

struct World {
    net: Net,
    home: SegmentId,
    client: HostId,
    /// The link of the server's first address.
    first: Option<LinkId>,
}

impl World {
    /// A client behind `nat`.
    fn new(seed: u64, nat: NatBehaviour) -> Self {
        let mut net = Net::new(seed);
        let home = net.add_network(Net::INTERNET, "home", nat);
        let client = net.add_host("client", &[home]);
        net.set_link(net.uplink(home), Link::delay_ms(20));
        Self { net, home, client, first: None }
    }

    fn with_loss(mut self, loss: f64) -> Self {
        self.net.set_link(self.net.uplink(self.home), Link::delay_ms(20).with_loss(loss));
        self
    }

    /// A server with two addresses: the first one, and the link of the other.
    fn server(&mut self) -> (SocketAddr, LinkId) {
        let host = self.net.add_host("server", &[Net::INTERNET]);
        let second = self.net.free_addresses(Net::INTERNET)[0];
        let link = self.net.add_interface(host, Net::INTERNET, &[second]);
        self.first = Some(self.net.access(host, Net::INTERNET));
        let first = self.net.socket(host, PORTS[0]);
        let alternate = Alternate::new(first, SocketAddr::new(second, PORTS[1])).unwrap();
        for socket in alternate.sockets() {
            self.net.bind(host, socket).unwrap();
        }
        let config = server::Config { alternate: Some(alternate), ..server::Config::default() };
        self.net.start(host, Server::new(config));
        (first, link)
    }

    /// An ordinary server, at these ports.
    fn ordinary(&mut self, ports: &[u16]) -> Vec<SocketAddr> {
        let host = self.net.add_host("ordinary", &[Net::INTERNET]);
        let sockets: Vec<_> = ports.iter().map(|port| self.net.socket(host, *port)).collect();
        for socket in &sockets {
            self.net.bind(host, *socket).unwrap();
        }
        self.net.start(host, Server::default());
        sockets
    }

    fn config(&mut self, servers: Vec<SocketAddr>) -> Config {
        let seed = self.net.draw_seed();
        Config::new(self.net.address(self.client), servers, seed)
    }

    /// What a discovery finds, and how long it took.
    fn discover_with(&mut self, config: Config, within: Duration) -> (NatReport, Duration) {
        let begun = self.net.now();
        self.net.start(self.client, Discovery::new(begun, config));
        let client = self.client;
        let done = self.net.run_until(within, |net| net.machine::<Discovery>(client).is_finished());
        assert!(done, "not finished in {within:?}");
        let took = self.net.now().since(begun);
        let Some(Event::Finished(report)) = self.net.events::<Discovery>(client).pop() else { panic!() };
        (*report, took)
    }

    fn discover(&mut self, servers: Vec<SocketAddr>) -> NatReport {
        let config = self.config(servers);
        self.discover_with(config, Duration::from_secs(12)).0
    }
}

#[test]
fn every_kind_of_mapping_filtering_and_hairpin_is_recognised() {
    for mapping in DEPENDENCES {
        for filtering in DEPENDENCES {
            for ports in [PortAssignment::Preserving, PortAssignment::Sequential, PortAssignment::Random] {
                for hairpin in [Hairpin::None, Hairpin::External, Hairpin::Internal] {
                    let nat = NatBehaviour {
                        mapping: Some(mapping),
                        filtering: Some(filtering),
                        ports,
                        hairpin,
                        ..NatBehaviour::port_restricted()
                    };
                    let mut world = World::new(1, nat);
                    let server = world.server().0;
                    let config = world.config(vec![server]);
                    let (report, took) = world.discover_with(config, Duration::from_secs(3));
                    assert_eq!(report.nat.udp, Some(true));
                    assert_eq!(report.nat.mapping, word(mapping), "{nat:?}: {report:#?}");
                    assert_eq!(report.nat.filtering, word(filtering), "{nat:?}: {report:#?}");
                    assert_eq!(
                        report.nat.preserves_port,
                        Some(ports == PortAssignment::Preserving),
                        "{nat:?}"
                    );
                    assert_eq!(report.rewrites, Some(false));
                    assert!(took < Duration::from_millis(1500), "{took:?}");
                    let seen = mapping == Dependence::EndpointIndependent
                        || filtering == Dependence::EndpointIndependent;
                    match report.nat.hairpin {
                        Some(found) => assert_eq!(found, hairpin != Hairpin::None, "{nat:?}: {report:#?}"),
                        None => assert!(!seen, "{nat:?}: {report:#?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn without_a_nat_filtering_alone_is_seen() {
    for (filtering, expected) in [
        (None, Behaviour::None),
        (Some(Dependence::EndpointIndependent), Behaviour::EndpointIndependent),
        (Some(Dependence::AddressDependent), Behaviour::AddressDependent),
        (Some(Dependence::AddressAndPortDependent), Behaviour::AddressAndPortDependent),
    ] {
        let mut world = World::new(2, NatBehaviour { filtering, ..NatBehaviour::none() });
        let server = world.server().0;
        let report = world.discover(vec![server]);
        assert_eq!((report.nat.mapping, report.nat.filtering), (Behaviour::None, expected), "{report:#?}");
        assert_eq!((report.nat.hairpin, report.doubt(Aspect::Hairpin)), (None, Some(&Why::NoNat)));
        assert_eq!((report.nat.preserves_port, report.translated()), (Some(true), Some(false)));
    }
}

#[test]
fn with_loss_it_may_be_slow_or_undecided_and_is_never_wrong() {
    let (mut runs, mut decided) = (0, 0);
    for seed in 0..40 {
        for (mapping, filtering) in DEPENDENCES.iter().flat_map(|one| DEPENDENCES.map(|two| (*one, two))) {
            for loss in [0.05, 0.2] {
                let hairpin = if seed % 2 == 0 { Hairpin::None } else { Hairpin::External };
                let nat = NatBehaviour {
                    mapping: Some(mapping),
                    filtering: Some(filtering),
                    hairpin,
                    ..NatBehaviour::port_restricted()
                };
                let mut world = World::new(seed, nat).with_loss(loss);
                let server = world.server().0;
                let report = world.discover(vec![server]);
                let right = [word(mapping), Behaviour::Inconclusive].contains(&report.nat.mapping)
                    && [word(filtering), Behaviour::Inconclusive].contains(&report.nat.filtering)
                    && report.nat.hairpin.is_none_or(|found| found == (hairpin != Hairpin::None))
                    && report.nat.preserves_port != Some(false);
                assert!(right, "seed {seed}, loss {loss}, {nat:?}: {report:#?}");
                runs += 1;
                let doubtful = [report.nat.mapping, report.nat.filtering].contains(&Behaviour::Inconclusive);
                decided += u32::from(!doubtful);
            }
        }
    }
    assert!(decided * 100 >= runs * 90, "{decided} of {runs}");
}

#[test]
fn blocked_udp_is_told_in_less_than_three_seconds() {
    let mut world = World::new(3, NatBehaviour::udp_blocked());
    let server = world.server().0;
    let config = Config { fragments: Some(1500), ..world.config(vec![server]) };
    let (report, took) = world.discover_with(config, Duration::from_secs(3));
    assert!(took < Duration::from_millis(2700), "{took:?}");
    assert_eq!((report.nat.udp, report.mapped), (Some(false), None));
    assert_eq!(
        (report.nat.mapping, report.nat.filtering),
        (Behaviour::Inconclusive, Behaviour::Inconclusive)
    );
    assert_eq!(report.servers[0].outcome, ServerOutcome::Silent);
    for aspect in [Aspect::Mapping, Aspect::Filtering, Aspect::Hairpin, Aspect::Fragments] {
        assert_eq!(report.doubt(aspect), Some(&Why::NoAnswer), "{aspect:?}");
    }
}

#[test]
fn ordinary_servers_tell_what_they_can() {
    let find = |nat, two: bool| {
        let mut world = World::new(4, nat);
        let mut servers = world.ordinary(&[3478]);
        if two {
            servers.extend(world.ordinary(&[3478]));
        }
        world.discover(servers)
    };
    let cone = find(NatBehaviour::port_restricted(), true);
    assert_eq!((cone.nat.mapping, cone.mapping_varies), (Behaviour::EndpointIndependent, Some(false)));
    assert_eq!(cone.nat.filtering, Behaviour::Inconclusive);
    assert_eq!(cone.doubt(Aspect::Filtering), Some(&Why::NoSecondAddress));
    assert_eq!((cone.nat.preserves_port, cone.nat.hairpin), (Some(true), Some(false)));

    let symmetric = find(NatBehaviour::symmetric(), true);
    assert_eq!((symmetric.nat.mapping, symmetric.mapping_varies), (Behaviour::Inconclusive, Some(true)));
    assert_eq!(symmetric.doubt(Aspect::Mapping), Some(&Why::NoSecondPort));

    let single = find(NatBehaviour::symmetric(), false);
    assert_eq!((single.nat.mapping, single.mapping_varies), (Behaviour::Inconclusive, None));
    assert_eq!(single.doubt(Aspect::Mapping), Some(&Why::OneAddress));

    let open = find(NatBehaviour::none(), true);
    assert_eq!(open.nat.mapping, Behaviour::None);
    // They refuse RESPONSE-PORT, too.
    assert_eq!(open.nat.filtering, Behaviour::Inconclusive);
}

#[test]
fn two_ports_of_one_of_two_servers_tell_the_whole_mapping() {
    for mapping in [Dependence::AddressDependent, Dependence::AddressAndPortDependent] {
        let nat = NatBehaviour { mapping: Some(mapping), ..NatBehaviour::port_restricted() };
        let mut world = World::new(5, nat);
        let mut servers = world.ordinary(&[3478]);
        servers.extend(world.ordinary(&[3478, 3479]));
        assert_eq!(world.discover(servers).nat.mapping, word(mapping));
    }
}

#[test]
fn a_dead_server_beside_a_live_one_takes_nothing_away() {
    let mut world = World::new(6, NatBehaviour::address_restricted());
    let dead = SocketAddr::new(world.net.free_addresses(Net::INTERNET)[0], 3478);
    let ordinary = world.ordinary(&[3478])[0];
    let (server, _) = world.server();
    let report = world.discover(vec![dead, ordinary, server, server]);
    assert_eq!(report.nat.filtering, Behaviour::AddressDependent);
    assert_eq!(report.server, Some(server));
    let outcomes: Vec<_> = report.servers.iter().map(|server| server.outcome).collect();
    assert!(matches!(
        outcomes[..],
        [ServerOutcome::Silent, ServerOutcome::Mapped(_), ServerOutcome::Mapped(_)]
    ));
}

#[test]
fn an_other_address_that_is_not_there_is_no_evidence() {
    for nat in [NatBehaviour::full_cone(), NatBehaviour::port_restricted()] {
        let mut world = World::new(7, nat);
        let (server, link) = world.server();
        // What is silent there says nothing about the NAT.
        world.net.set_link_up(link, false);
        let report = world.discover(vec![server]);
        assert_eq!(report.nat.filtering, Behaviour::Inconclusive, "{report:#?}");
    }
}

#[test]
fn a_server_that_refuses_or_ignores_the_question_is_no_evidence() {
    // A mirror that says it has two addresses, and answers from one.
    struct Liar(Server, SocketAddr);
    impl sansio::Machine for Liar {
        type Addr = sansio::Path;
        type Event = std::convert::Infallible;
        fn handle_datagram(&mut self, _: Time, datagram: sansio::Datagram<'_>, out: &mut dyn sansio::Outbox) {
            use sterna_stun::{Class, Message, MessageWriter, kind};
            let _ = &self.0;
            let Ok(request) = Message::parse(datagram.payload) else { return };
            out.send(datagram.from, 200, &mut |buffer| {
                let mut writer = MessageWriter::answer(buffer, Class::Success, &request);
                writer.xor_address(kind::XOR_MAPPED_ADDRESS, datagram.from.remote);
                writer.address(kind::OTHER_ADDRESS, self.1);
                writer.finish().unwrap()
            });
        }
        fn handle_timeout(&mut self, _: Time) {}
        fn poll_transmit(&mut self, _: Time, _: &mut dyn sansio::Outbox) {}
        fn poll_event(&mut self) -> Option<std::convert::Infallible> {
            None
        }
        fn poll_timeout(&self) -> Option<Time> {
            None
        }
    }
    let mut world = World::new(8, NatBehaviour::full_cone());
    let host = world.net.add_host("liar", &[Net::INTERNET]);
    let at = world.net.socket(host, 3478);
    world.net.bind(host, at).unwrap();
    let other = world.ordinary(&[3479])[0];
    world.net.start(host, Liar(Server::default(), other));
    let report = world.discover(vec![at]);
    assert_eq!(
        (report.nat.filtering, report.doubt(Aspect::Filtering)),
        (Behaviour::Inconclusive, Some(&Why::WrongOrigin))
    );
}

#[test]
fn fragments_come_through_or_do_not() {
    for (mtu, expected) in [(9000, Some(true)), (1500, Some(false))] {
        let mut world = World::new(9, NatBehaviour::port_restricted());
        world.net.set_laws(Laws { datagrams_fit_the_mtu: false, ..Laws::default() });
        let (server, second) = world.server();
        // The simulator drops what does not fit into the MTU, as a NAT does that drops fragments.
        let link = Link { mtu, ..Link::delay_ms(5) };
        let first = world.first.unwrap();
        for id in [world.net.access(world.client, world.home), world.net.uplink(world.home), first, second] {
            world.net.set_link(id, link.clone());
        }
        let config = Config { fragments: Some(1500), ..world.config(vec![server]) };
        let (report, _) = world.discover_with(config, Duration::from_secs(3));
        assert_eq!(report.fragments, expected, "{report:#?}");
    }
}

#[test]
fn the_lifetime_of_an_idle_mapping_is_found_between_two_bounds() {
    for (timeout, alive, gone) in [(30, 15, Some(30)), (100, 90, Some(120)), (300, 120, None)] {
        let nat = NatBehaviour {
            udp_timeout: Duration::from_secs(timeout),
            udp_unanswered_timeout: Duration::from_secs(timeout),
            ports: PortAssignment::Random,
            ..NatBehaviour::port_restricted()
        };
        let mut world = World::new(10, nat).with_loss(0.05);
        let server = world.server().0;
        let lifetime = Some(Duration::from_secs(120));
        let config = Config { lifetime, ..world.config(vec![server]) };
        let (report, took) = world.discover_with(config, Duration::from_secs(130));
        let found = report.nat.lifetime.unwrap_or_else(|| panic!("{report:#?}"));
        assert_eq!(found.alive_after, Duration::from_secs(alive), "timeout {timeout}");
        assert_eq!(found.gone_after, gone.map(Duration::from_secs), "timeout {timeout}");
        assert!(took >= Duration::from_secs(120), "{took:?}");
    }
}

#[test]
fn a_server_without_response_port_leaves_the_lifetime_open_and_costs_no_time() {
    let mut world = World::new(11, NatBehaviour::port_restricted());
    let servers = world.ordinary(&[3478]);
    let config = Config { lifetime: Some(Duration::from_secs(600)), ..world.config(servers) };
    let (report, _) = world.discover_with(config, Duration::from_secs(5));
    assert_eq!((report.nat.lifetime, report.doubt(Aspect::Lifetime)), (None, Some(&Why::Refused(420))));
}

#[test]
fn two_nats_in_a_row_are_as_strict_as_the_stricter() {
    let mut world = World::new(12, NatBehaviour::symmetric());
    let inner = world.net.add_network(world.home, "flat", NatBehaviour::full_cone());
    world.client = world.net.add_host("laptop", &[inner]);
    let server = world.server().0;
    let report = world.discover(vec![server]);
    assert_eq!(report.nat.mapping, Behaviour::AddressAndPortDependent);
    assert_eq!(report.nat.filtering, Behaviour::AddressAndPortDependent);
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut world = World::new(seed, NatBehaviour::symmetric()).with_loss(0.2);
        let server = world.server().0;
        world.discover(vec![server]);
        world.net.trace().to_string()
    };
    assert_eq!(trace(7), trace(7));
}

#[test]
fn without_servers_or_sockets_it_ends_at_once() {
    let config = |local: &str| Config::new(local.parse().unwrap(), vec![], Seed::from(1));
    let mut discovery = Discovery::new(Time::ZERO, config("10.0.0.1"));
    let Some(Event::Finished(report)) = sansio::Machine::poll_event(&mut discovery) else { panic!() };
    assert_eq!((report.nat.udp, report.nat.mapping), (None, Behaviour::Inconclusive));

    let mut world = World::new(13, NatBehaviour::full_cone());
    let servers = world.ordinary(&[3478]);
    let report = world
        .discover_with(Config::new([192, 0, 2, 99].into(), servers, Seed::from(1)), Duration::from_secs(1))
        .0;
    assert!(report.error.is_some());
}

#[test]
fn hostile_bytes_neither_stop_it_nor_make_it_talk() {
    use netsim::{Hostile, Limits};
    use sansio::{Batches, Machine as _, Path, SocketOp, SocketReply};
    let server: SocketAddr = "192.0.2.1:3478".parse().unwrap();
    let config = Config::new([10, 0, 0, 2].into(), vec![server], Seed::from(1));
    let mut discovery = Discovery::new(Time::ZERO, config);
    let mut paths = Vec::new();
    while let Some(SocketOp::Bind { ticket, mut local }) = discovery.poll_socket() {
        local.set_port(5000 + ticket.0 as u16);
        discovery.handle_socket(Time::ZERO, SocketReply::Bound { ticket, local });
        paths.push(Path::udp(local, server));
    }
    // Its own requests must be out of the way, or they would count as answers.
    let mut out = Batches::new(1 << 16);
    discovery.poll_transmit(Time::ZERO, &mut out);
    assert!(out.pop().is_some());
    // Whoever has not seen a request does not know its id.
    let mut samples = Vec::new();
    for class in [sterna_stun::Class::Success, sterna_stun::Class::Error, sterna_stun::Class::Request] {
        let mut buffer = [0; 100];
        let id = sterna_stun::TransactionId([3; 12]);
        let mut writer =
            sterna_stun::MessageWriter::new(&mut buffer, class, sterna_stun::Method::BINDING, id);
        writer.xor_address(sterna_stun::kind::XOR_MAPPED_ADDRESS, server);
        writer.address(sterna_stun::kind::OTHER_ADDRESS, "192.0.2.2:3479".parse().unwrap());
        let length = writer.finish().unwrap();
        samples.push(buffer[..length].to_vec());
    }
    let none = Limits { datagrams: 0, amplification: 0.0, allowance: 0 };
    let answers =
        Hostile::new(3).with_samples(samples).assault(&mut discovery, Time::ZERO, &paths, 20_000, none);
    assert_eq!((answers.datagrams, answers.events), (0, 0));
}

//! Each NAT is probed from outside, as RFC 5780 does, and must turn out to be what it says.

mod lab;

use std::net::SocketAddr;
use std::time::Duration;

use lab::probe::{OTHER_PORT, Probe};
use lab::{PORT, ms, puppet, received, send};
use sansio::Path;
use sterna_netsim::{
    Cause, Content, Dependence, Hairpin, HostId, Link, Nat, NatBehaviour, Net, PortAssignment, Preset,
    Puppet, Refusal, Translator,
};

use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

#[test]
fn all_nine_kinds_of_nat_are_what_they_say() {
    let all = [EndpointIndependent, AddressDependent, AddressAndPortDependent];
    for mapping in all {
        for filtering in all {
            for ports in [PortAssignment::Preserving, PortAssignment::Sequential, PortAssignment::Random] {
                let behaviour = NatBehaviour {
                    mapping: Some(mapping),
                    filtering: Some(filtering),
                    ports,
                    ..NatBehaviour::port_restricted()
                };
                assert_eq!(Probe::new(behaviour).mapping(), Some(mapping), "{behaviour:?}");
                assert_eq!(Probe::new(behaviour).filtering(), Some(filtering), "{behaviour:?}");
            }
        }
    }
}

#[test]
fn the_classic_names_mean_what_rfc_3489_meant() {
    let expected = [
        ("none", None, None),
        ("full-cone", Some(EndpointIndependent), Some(EndpointIndependent)),
        ("address-restricted", Some(EndpointIndependent), Some(AddressDependent)),
        ("port-restricted", Some(EndpointIndependent), Some(AddressAndPortDependent)),
        ("symmetric", Some(AddressAndPortDependent), Some(AddressAndPortDependent)),
        ("firewall", None, Some(AddressAndPortDependent)),
    ];
    for (name, mapping, filtering) in expected {
        let behaviour = NatBehaviour::preset(name).unwrap();
        assert_eq!(Probe::new(behaviour).mapping(), mapping, "{name}");
        assert_eq!(Probe::new(behaviour).filtering(), filtering, "{name}");
    }
    assert_eq!(NatBehaviour::preset("cone"), None);
}

#[test]
fn a_preserving_nat_keeps_the_port_until_two_hosts_want_it() {
    let mut probe = Probe::new(NatBehaviour::port_restricted());
    let second = puppet(&mut probe.net, "second", probe.home);
    let first = probe.mapped(0, PORT);
    assert_eq!(first.port(), PORT);
    let to = probe.socket(0, PORT);
    send(&mut probe.net, second, to, "me too");
    let other = received(&mut probe.net, probe.servers[0])[0].0;
    assert_eq!(other.ip(), first.ip());
    assert_ne!(other.port(), PORT);
    // Each gets its own answers.
    assert!(probe.reaches(0, PORT, first));
    assert!(!probe.reaches(0, PORT, other));
    assert_eq!(received(&mut probe.net, second).len(), 1);
}

#[test]
fn a_nat_that_does_not_preserve_never_gives_the_inner_port() {
    for ports in [PortAssignment::Random, PortAssignment::Sequential] {
        let behaviour = NatBehaviour { ports, ..NatBehaviour::symmetric() };
        let mut probe = Probe::new(behaviour);
        let mapped = [probe.mapped(0, PORT), probe.mapped(0, OTHER_PORT), probe.mapped(1, PORT)];
        assert!(mapped.iter().all(|mapped| mapped.port() != PORT), "{mapped:?}");
        if ports == PortAssignment::Sequential {
            assert_eq!([1, 2].map(|n| mapped[0].port() + n), [mapped[1].port(), mapped[2].port()]);
        }
    }
}

#[test]
fn an_idle_mapping_expires_and_its_next_packet_makes_a_new_one() {
    let behaviour = NatBehaviour {
        ports: PortAssignment::Random,
        udp_timeout: Duration::from_secs(30),
        ..NatBehaviour::full_cone()
    };
    let mut probe = Probe::new(behaviour);
    let mapped = probe.mapped(0, PORT);
    probe.net.run_for(Duration::from_secs(29));
    assert!(probe.reaches(0, PORT, mapped));
    // What comes in does not refresh.
    probe.net.run_for(Duration::from_secs(1));
    assert!(!probe.reaches(0, PORT, mapped));
    assert_ne!(probe.mapped(0, PORT), mapped);

    // What goes out does.
    let mapped = probe.mapped(0, PORT);
    for _ in 0..5 {
        probe.net.run_for(Duration::from_secs(25));
        assert_eq!(probe.mapped(0, PORT), mapped);
    }

    // Unless the box counts both directions.
    let mut probe = Probe::new(NatBehaviour { refreshed_by_inbound: true, ..behaviour });
    let mapped = probe.mapped(0, PORT);
    for _ in 0..5 {
        probe.net.run_for(Duration::from_secs(25));
        assert!(probe.reaches(0, PORT, mapped));
    }
}

#[test]
fn a_filter_forgets_each_remote_end_on_its_own() {
    let behaviour =
        NatBehaviour { udp_timeout: Duration::from_secs(30), ..NatBehaviour::address_restricted() };
    let mut probe = Probe::new(behaviour);
    let mapped = probe.mapped(0, PORT);
    probe.net.run_for(Duration::from_secs(20));
    assert_eq!(probe.mapped(1, PORT), mapped);
    probe.net.run_for(Duration::from_secs(20));
    assert!(probe.reaches(1, PORT, mapped));
    assert!(!probe.reaches(0, PORT, mapped));
}

#[test]
fn hairpinning_is_off_unless_asked_for_and_comes_in_two_kinds() {
    for hairpin in [Hairpin::None, Hairpin::External, Hairpin::Internal] {
        let mut probe = Probe::new(NatBehaviour { hairpin, ..NatBehaviour::full_cone() });
        let neighbour = puppet(&mut probe.net, "neighbour", probe.home);
        let to = probe.socket(0, PORT);
        send(&mut probe.net, neighbour, to, "hello");
        let neighbour_outside = received(&mut probe.net, probe.servers[0])[0].0;
        let inner_outside = probe.mapped(0, PORT);
        send(&mut probe.net, probe.inner, neighbour_outside, "from next door");
        let heard = received(&mut probe.net, neighbour);
        let inner_inside = probe.net.socket(probe.inner, PORT);
        match hairpin {
            Hairpin::None => assert_eq!(heard, []),
            Hairpin::External => assert_eq!(heard, [(inner_outside, "from next door".to_owned())]),
            Hairpin::Internal => assert_eq!(heard, [(inner_inside, "from next door".to_owned())]),
        }
    }
}

#[test]
fn a_hairpin_is_filtered_like_everything_else() {
    let behaviour = NatBehaviour { hairpin: Hairpin::External, ..NatBehaviour::port_restricted() };
    let mut probe = Probe::new(behaviour);
    let neighbour = puppet(&mut probe.net, "neighbour", probe.home);
    let to = probe.socket(0, PORT);
    send(&mut probe.net, neighbour, to, "hello");
    let neighbour_outside = received(&mut probe.net, probe.servers[0])[0].0;
    let inner_outside = probe.mapped(0, PORT);
    send(&mut probe.net, probe.inner, neighbour_outside, "first");
    assert_eq!(received(&mut probe.net, neighbour), []);
    send(&mut probe.net, neighbour, inner_outside, "opens both");
    send(&mut probe.net, probe.inner, neighbour_outside, "second");
    assert_eq!(received(&mut probe.net, neighbour), [(inner_outside, "second".to_owned())]);
}

#[test]
fn a_blocked_packet_is_told_with_its_reason() {
    let mut probe = Probe::new(NatBehaviour::udp_blocked());
    let to = probe.socket(0, PORT);
    send(&mut probe.net, probe.inner, to, "out?");
    assert_eq!(received(&mut probe.net, probe.servers[0]), []);
    let drops: Vec<_> = probe.net.trace().drops().collect();
    let [(record, Cause::Refused(Refusal::Blocked))] = drops[..] else { panic!("{drops:?}") };
    assert_eq!(probe.net.trace().name(record.place), "home");
    assert!(probe.net.trace().to_string().contains("dropped: blocked by the firewall"));
}

#[test]
fn hosts_of_one_network_reach_each_other_without_the_box() {
    let mut probe = Probe::new(NatBehaviour::udp_blocked());
    let neighbour = puppet(&mut probe.net, "neighbour", probe.home);
    let to = probe.net.socket(neighbour, PORT);
    send(&mut probe.net, probe.inner, to, "hello");
    let from = probe.net.socket(probe.inner, PORT);
    assert_eq!(received(&mut probe.net, neighbour), [(from, "hello".to_owned())]);
}

#[test]
fn a_nat_behind_a_nat_is_as_strict_as_both() {
    let mut net = Net::new(1);
    let carrier = net.add_network(Net::INTERNET, "carrier", NatBehaviour::symmetric());
    let home = net.add_network(carrier, "home", NatBehaviour::full_cone());
    let inner = puppet(&mut net, "inner", home);
    let servers = ["server1", "server2"].map(|name| puppet(&mut net, name, Net::INTERNET));
    let mapped = servers.map(|server| {
        let to = net.socket(server, PORT);
        send(&mut net, inner, to, "hello");
        received(&mut net, server)[0].0
    });
    assert_eq!(mapped[0].ip(), net.external_address(carrier));
    assert_ne!(mapped[0], mapped[1]);
    send(&mut net, servers[0], mapped[0], "back");
    send(&mut net, servers[1], mapped[0], "stranger");
    assert_eq!(received(&mut net, inner).len(), 1);
    // Another home of the same carrier reaches the outer side of this one.
    let other_home = net.add_network(carrier, "other home", NatBehaviour::full_cone());
    let other = puppet(&mut net, "other", other_home);
    let outer = SocketAddr::new(net.external_address(home), PORT);
    send(&mut net, other, outer, "from next door");
    let from = SocketAddr::new(net.external_address(other_home), PORT);
    assert_eq!(received(&mut net, inner), [(from, "from next door".to_owned())]);
}

#[test]
fn ipv6_is_filtered_but_not_translated() {
    for (behaviour, comes_in) in [
        (NatBehaviour::symmetric(), [true, false, false]),
        (NatBehaviour::address_restricted(), [true, true, false]),
        (NatBehaviour::full_cone(), [true, true, true]),
    ] {
        let mut net = Net::new(1);
        let home = net.add_network(Net::INTERNET, "home", behaviour);
        net.add_ipv6(home);
        net.add_ipv6(Net::INTERNET);
        let inner = puppet(&mut net, "inner", home);
        let servers = ["server1", "server2"].map(|name| puppet(&mut net, name, Net::INTERNET));
        let v6 = |net: &Net, host| SocketAddr::new(net.addresses(host)[1], PORT);
        let own = v6(&net, inner);
        assert!(own.is_ipv6());
        send(&mut net, servers[0], own, "too early");
        assert_eq!(received(&mut net, inner), []);
        let to = v6(&net, servers[0]);
        send(&mut net, inner, to, "hello");
        assert_eq!(received(&mut net, servers[0]), [(own, "hello".to_owned())]);
        let other_port = SocketAddr::new(to.ip(), 7);
        net.bind(servers[0], other_port).unwrap();
        let senders = [(servers[0], to), (servers[0], other_port), (servers[1], v6(&net, servers[1]))];
        let came = senders.map(|(server, from)| {
            net.machine_mut::<Puppet>(server).send(Path::udp(from, own), b"back");
            net.run_for(ms(200));
            !received(&mut net, inner).is_empty()
        });
        assert_eq!(came, comes_in);
    }
}

#[test]
fn a_full_table_refuses_and_recovers_when_mappings_expire() {
    let external = [5, 0, 0, 1].into();
    // One after the other, which fills the table in the shortest time.
    let behaviour = NatBehaviour { ports: PortAssignment::Sequential, ..NatBehaviour::symmetric() };
    let mut nat = Translator::new(behaviour, &[external], 1.into());
    let local = SocketAddr::from(([10, 0, 0, 1], 1));
    let now = sansio::Time::ZERO;
    let remote = |n: u32| SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0600_0000 + n).into(), 1);
    let mut ports = std::collections::BTreeSet::new();
    let refused =
        (0..).find_map(|n| match nat.outbound(now, Path::udp(local, remote(n)), Content::Datagram) {
            Ok(path) => {
                assert!(ports.insert(path.local.port()), "no port twice");
                None
            }
            Err(refusal) => Some((n, refusal)),
        });
    assert_eq!(refused, Some((65_536 - 1024, Refusal::NoFreePort)));
    // Streams have ports of their own.
    assert!(nat.outbound(now, Path::new(sansio::Transport::Tcp, local, remote(1)), Content::Syn).is_ok());
    let later = now + Duration::from_secs(120);
    assert!(nat.outbound(later, Path::udp(local, remote(70_000)), Content::Datagram).is_ok());
}

#[test]
fn a_reboot_forgets_and_a_new_address_is_used() {
    let mut probe = Probe::new(NatBehaviour::full_cone());
    let mapped = probe.mapped(0, PORT);
    probe.net.reboot(probe.home);
    assert!(!probe.reaches(0, PORT, mapped));
    assert_eq!(probe.mapped(0, PORT), mapped, "it preserves ports");
    let new = probe.net.renumber(probe.home);
    assert_eq!(probe.mapped(0, PORT), SocketAddr::new(new, PORT));
    assert!(!probe.reaches(0, PORT, mapped));
    assert_eq!(probe.net.trace().drops().last().unwrap().1, Cause::NoHost);
}

#[test]
fn a_box_of_ones_own_is_two_functions() {
    /// Port forwarding, and nothing else: what comes to port 80 goes to a host's port 8080.
    struct Forward(SocketAddr, SocketAddr);
    impl Nat for Forward {
        fn outbound(&mut self, _: sansio::Time, path: Path, _: Content) -> Result<Path, Refusal> {
            if path.local == self.1 { Ok(Path { local: self.0, ..path }) } else { Err(Refusal::Blocked) }
        }
        fn inbound(&mut self, _: sansio::Time, path: Path, _: Content) -> Result<Path, Refusal> {
            if path.local == self.0 { Ok(Path { local: self.1, ..path }) } else { Err(Refusal::NoMapping) }
        }
    }
    let mut net = Net::new(1);
    let inner: SocketAddr = "192.168.1.10:5000".parse().unwrap();
    let inside = "192.168.1.0/24".parse().unwrap();
    let home = net.add_network_behind(Net::INTERNET, "box", inside, |external, _| {
        Box::new(Forward(SocketAddr::new(external, 80), inner))
    });
    net.set_link(net.uplink(home), Link::delay_ms(1));
    let host = puppet(&mut net, "inner", home);
    assert_eq!(net.socket(host, PORT), inner);
    let guest = puppet(&mut net, "guest", Net::INTERNET);
    let outer = SocketAddr::new(net.external_address(home), 80);
    send(&mut net, guest, outer, "knock");
    let from = net.socket(guest, PORT);
    assert_eq!(received(&mut net, host), [(from, "knock".to_owned())]);
    send(&mut net, host, from, "come in");
    assert_eq!(received(&mut net, guest), [(outer, "come in".to_owned())]);
}

/// Two hosts tell each other where a server sees them, send there, and answer to wherever something comes from.
fn punch(left: Preset, right: Preset) -> bool {
    let mut net = Net::new(1);
    let server = puppet(&mut net, "server", Net::INTERNET);
    let hosts = [("left", left), ("right", right)].map(|(name, preset)| {
        let home = net.add_preset(Net::INTERNET, name, preset);
        puppet(&mut net, &format!("in {name}"), home)
    });
    meet(&mut net, server, hosts)
}

/// Whether two hosts hear each other, who know of the other what a server sees.
fn meet(net: &mut Net, server: HostId, hosts: [HostId; 2]) -> bool {
    let to = net.socket(server, PORT);
    let mapped = hosts.map(|host| {
        send(net, host, to, "who am I?");
        received(net, server)[0].0
    });
    let mut targets = [mapped[1], mapped[0]];
    let mut heard = [false; 2];
    for _ in 0..3 {
        for (host, target) in [0, 1].map(|n| (n, targets[n])) {
            send(net, hosts[host], target, "punch");
            let other = 1 - host;
            if let Some((from, _)) = received(net, hosts[other]).pop() {
                (heard[other], targets[other]) = (true, from);
            }
        }
    }
    heard == [true, true]
}

#[test]
fn holes_can_be_punched_as_the_theory_says() {
    for left in Preset::CLASSIC {
        for right in Preset::CLASSIC {
            let hard = [Preset::PortRestricted, Preset::Symmetric];
            let hopeless = left == Preset::Symmetric && hard.contains(&right)
                || right == Preset::Symmetric && hard.contains(&left);
            assert_eq!(punch(left, right), !hopeless, "{left} and {right}");
        }
    }
}

#[test]
fn customers_of_one_carrier_meet_through_its_hairpin() {
    for hairpin in [Hairpin::None, Hairpin::External, Hairpin::Internal] {
        let mut net = Net::new(1);
        let carrier = Preset::Cgn.boxes()[0].behaviour;
        let carrier = net.add_network(Net::INTERNET, "carrier", NatBehaviour { hairpin, ..carrier });
        let server = puppet(&mut net, "server", Net::INTERNET);
        let hosts = ["left", "right"].map(|name| {
            let home = net.add_preset(carrier, name, Preset::HomeRouter);
            puppet(&mut net, &format!("in {name}"), home)
        });
        // Seen from the inner address, a check comes from where nothing was sent to: the home routers drop it.
        assert_eq!(meet(&mut net, server, hosts), hairpin == Hairpin::External, "{hairpin:?}");
    }
}

#[test]
fn ipv6_gets_through_two_firewalls_where_ipv4_is_hopeless() {
    let mut net = Net::new(1);
    net.add_ipv6(Net::INTERNET);
    let [left, right] = [Preset::Symmetric, Preset::Cgn].map(|preset| {
        let home = net.add_preset(Net::INTERNET, preset.name(), preset);
        net.add_ipv6(home);
        puppet(&mut net, &format!("behind {preset}"), home)
    });
    let [to_left, to_right] = [left, right].map(|host| SocketAddr::new(net.addresses(host)[1], PORT));
    assert!(to_left.is_ipv6() && to_right.is_ipv6());
    // The first one is dropped by the other side's firewalls and opens its own.
    send(&mut net, left, to_right, "first");
    assert_eq!(received(&mut net, right), []);
    assert_eq!(net.trace().drops().last().unwrap().1, Cause::Refused(Refusal::NoMapping));
    send(&mut net, right, to_left, "second");
    assert_eq!(received(&mut net, left), [(to_right, "second".to_owned())]);
    send(&mut net, left, to_right, "third");
    assert_eq!(received(&mut net, right), [(to_left, "third".to_owned())]);
}

//! Each preset is what the simulator says that it is, proved by packets; and what the boxes do besides.

mod lab;

use std::io::{Read, Write};
use std::net::SocketAddr;

use lab::{Agent, lab};
use netsim::{Dependence, Hairpin, NatBehaviour, PortAssignment, Preset};
use sterna_kernel::{Builder, Findings, Lab, LabError, Made, Probed, Prober};

const PORT: u16 = 5000;
/// Long enough for a packet through three namespaces, on a busy machine too.
const SOON: u64 = 3000;
/// How long one waits for what should not come.
const SILENCE: u64 = 150;

#[test]
fn every_preset_is_what_the_simulator_says() {
    let Some(mut lab) = lab() else { return };
    let presets: Vec<_> = Lab::presets().collect();
    let probed = Prober::new(&mut lab).unwrap().presets(&mut lab, &presets).unwrap();
    for (preset, probed) in presets.into_iter().zip(probed) {
        assert_eq!(probed.findings, Findings::simulated(preset), "{preset}");
        // The only box that nftables has no words for.
        let expected =
            if preset == Preset::Cgn { &[Made::Userspace, Made::Kernel][..] } else { &[Made::Kernel] };
        assert_eq!(probed.made, expected, "{preset}");
    }
}

#[test]
fn so_it_is_when_a_program_makes_it() {
    let Some(mut lab) = lab() else { return };
    lab.set_builder(Builder::Userspace);
    let presets: Vec<_> = Lab::presets().collect();
    let probed = Prober::new(&mut lab).unwrap().presets(&mut lab, &presets).unwrap();
    for (preset, probed) in presets.into_iter().zip(probed) {
        assert_eq!(probed.findings, Findings::simulated(preset), "{preset}");
        let plain = preset == Preset::None;
        assert!(probed.made.iter().all(|made| (*made == Made::Kernel) == plain), "{preset}: {probed:?}");
    }
}

#[test]
fn all_nine_kinds_of_nat_are_what_they_say() {
    use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    let Some(mut lab) = lab() else { return };
    let all = [EndpointIndependent, AddressDependent, AddressAndPortDependent];
    let behaviours: Vec<_> = all
        .into_iter()
        .flat_map(|mapping| all.map(|filtering| (Some(mapping), Some(filtering))))
        .map(|(mapping, filtering)| NatBehaviour {
            mapping,
            filtering,
            ports: PortAssignment::Random,
            ..NatBehaviour::port_restricted()
        })
        .collect();
    let probed = Prober::new(&mut lab).unwrap().behaviours(&mut lab, &behaviours).unwrap();
    for (behaviour, Probed { findings, .. }) in behaviours.into_iter().zip(probed) {
        let found = (findings.mapping, findings.filtering);
        assert_eq!(found, (behaviour.mapping, behaviour.filtering));
        assert!(findings.udp && findings.steady && !findings.preserves_port, "{findings:?}");
        assert_eq!(findings.hairpin, Hairpin::None);
    }
}

#[test]
fn what_is_not_offered_is_refused_in_words() {
    let Some(mut lab) = lab() else { return };
    let error = lab.add_site("six", Preset::Nat64).unwrap_err();
    assert!(matches!(error, LabError::NotOffered { .. }), "{error:?}");
    assert_eq!(error.to_string(), "the kernel lab does not offer `nat64`: it has IPv4 only");
}

#[test]
fn from_outside_nobody_comes_in_by_tcp() {
    let Some(mut lab) = lab() else { return };
    let server = lab.add_server("server", 1).unwrap();
    let mut server = Agent::new(&server);
    for builder in [Builder::Either, Builder::Userspace] {
        lab.set_builder(builder);
        let mut site = lab.add_site(&format!("{builder:?}"), Preset::UdpBlocked).unwrap();
        let host = lab.add_host(&mut site, &format!("in-{builder:?}")).unwrap();
        Agent::new(&host).listen(80);
        assert!(server.connect((site.external_address(), 80).into()).is_none(), "{builder:?}");
    }
}

#[test]
fn streams_and_large_datagrams_pass_both_kinds_of_box() {
    let Some(mut lab) = lab() else { return };
    let server = lab.add_server("server", 1).unwrap();
    let address = server.address();
    let mut server = Agent::new(&server);
    server.listen(80);
    server.bind(PORT);
    for builder in [Builder::Either, Builder::Userspace] {
        lab.set_builder(builder);
        let mut site = lab.add_site(&format!("{builder:?}"), Preset::PortRestricted).unwrap();
        let mut inner = Agent::new(&lab.add_host(&mut site, &format!("in-{builder:?}")).unwrap());
        let bytes: Vec<u8> = (0..2_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut stream = inner.connect((address, 80).into()).expect("TCP goes out");
        let (mut accepted, from) = server.accept(80);
        assert_eq!(from.ip(), site.external_address());
        let copy = bytes.clone();
        let writer = std::thread::spawn(move || stream.write_all(&copy).map(|()| stream));
        let mut read = vec![0; bytes.len()];
        accepted.read_exact(&mut read).unwrap();
        assert!(read == bytes, "{builder:?}");
        let mut stream = writer.join().unwrap().unwrap();
        accepted.write_all(b"thanks").unwrap();
        drop(accepted);
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "thanks");
        // Larger than the MTU: it travels in fragments, of which all but the first have no ports.
        let large = "x".repeat(20_000);
        inner.send(PORT, (address, PORT).into(), &large);
        let (from, word) = server.receive(PORT, SOON).expect("a large datagram goes out");
        assert_eq!(word.len(), large.len());
        server.send(PORT, from, &large);
        assert_eq!(inner.receive(PORT, SOON).expect("and comes in").1.len(), large.len());
    }
}

#[test]
fn a_program_tells_two_hosts_with_the_same_port_apart() {
    // What the kernel's maps cannot: see the crate's limits.
    let Some(mut lab) = lab() else { return };
    lab.set_builder(Builder::Userspace);
    let server = lab.add_server("server", 1).unwrap();
    let to = SocketAddr::new(server.address().into(), PORT);
    let mut server = Agent::new(&server);
    server.bind(PORT);
    let mut site = lab.add_site("home", Preset::FullCone).unwrap();
    let mut hosts = ["a", "b"].map(|name| Agent::new(&lab.add_host(&mut site, name).unwrap()));
    let mapped = [0, 1].map(|n: usize| {
        hosts[n].send(PORT, to, "hello");
        server.receive(PORT, SOON).expect("packets go out").0
    });
    assert_ne!(mapped[0], mapped[1]);
    for n in [1, 0] {
        server.send(PORT, mapped[n], "answer");
        assert_eq!(hosts[n].receive(PORT, SOON), Some((to, "answer".to_owned())));
    }
}

#[test]
fn both_directions_of_a_punched_hole_keep_their_ports() {
    let Some(mut lab) = lab() else { return };
    let mut sites = ["left", "right"].map(|name| lab.add_site(name, Preset::PortRestricted).unwrap());
    let hosts = ["a", "b"].map(|name| name.to_owned());
    let [mut a, mut b] = [0, 1].map(|n| {
        let host = lab.add_host(&mut sites[n], &hosts[n]).unwrap();
        let mut agent = Agent::new(&host);
        agent.bind(PORT);
        agent
    });
    let [left, right] = sites.map(|site| SocketAddr::new(site.external_address().into(), PORT));
    a.send(PORT, right, "first");
    assert_eq!(b.receive(PORT, SILENCE), None);
    b.send(PORT, left, "second");
    assert_eq!(a.receive(PORT, SOON), Some((right, "second".to_owned())));
    a.send(PORT, right, "third");
    assert_eq!(b.receive(PORT, SOON), Some((left, "third".to_owned())));
}

#[test]
fn hosts_of_one_site_share_a_network() {
    let Some(mut lab) = lab() else { return };
    let mut site = lab.add_site("home", Preset::UdpBlocked).unwrap();
    let [a, b] = ["a", "b"].map(|name| lab.add_host(&mut site, name).unwrap());
    let (mut first, mut second) = (Agent::new(&a), Agent::new(&b));
    second.bind(PORT);
    first.send(PORT, SocketAddr::new(b.address().into(), PORT), "hello");
    let from = SocketAddr::new(a.address().into(), PORT);
    assert_eq!(second.receive(PORT, SOON), Some((from, "hello".to_owned())));
}

#[test]
fn there_is_no_way_out() {
    let Some(mut lab) = lab() else { return };
    let mut site = lab.add_site("home", Preset::None).unwrap();
    let host = lab.add_host(&mut site, "host").unwrap();
    assert!(Agent::new(&host).connect("1.1.1.1:443".parse().unwrap()).is_none());
}

#[test]
fn holes_can_be_punched_as_the_theory_says() {
    let Some(mut lab) = lab() else { return };
    let classic = Preset::CLASSIC;
    let server = lab.add_server("server", 1).unwrap();
    let to = SocketAddr::new(server.address().into(), PORT);
    let mut server = Agent::new(&server);
    server.bind(PORT);
    let [mut lefts, mut rights] = ["left", "right"].map(|side| {
        classic.map(|preset| {
            let mut site = lab.add_site(&format!("{side}-{preset}"), preset).unwrap();
            Agent::new(&lab.add_host(&mut site, &format!("in-{side}-{preset}")).unwrap())
        })
    });
    let mut port = 10_000;
    for (left_preset, left) in classic.into_iter().zip(&mut lefts) {
        for (right_preset, right) in classic.into_iter().zip(&mut rights) {
            port += 1;
            let mut hosts = [&mut *left, &mut *right];
            let mapped = [0, 1].map(|n| {
                hosts[n].send(port, to, "hello");
                server.receive(PORT, SOON).expect("the router lets packets out").0
            });
            let hard = [Preset::PortRestricted, Preset::Symmetric];
            let hopeless = left_preset == Preset::Symmetric && hard.contains(&right_preset)
                || right_preset == Preset::Symmetric && hard.contains(&left_preset);
            let mut targets = [mapped[1], mapped[0]];
            let mut heard = [false; 2];
            for _ in 0..3 {
                for host in [0, 1] {
                    hosts[host].send(port, targets[host], "punch");
                    let other = 1 - host;
                    if let Some((from, _)) = hosts[other].receive(port, SILENCE) {
                        (heard[other], targets[other]) = (true, from);
                    }
                }
            }
            assert_eq!(heard == [true, true], !hopeless, "{left_preset} and {right_preset}");
        }
    }
}

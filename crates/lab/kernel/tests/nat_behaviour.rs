//! Each preset's mapping and filtering, probed from outside as RFC 5780 does.

mod lab;

use std::net::{Ipv4Addr, SocketAddr};

use lab::{Agent, lab};
use sterna_kernel::{Lab, Preset};

/// What a mapping or a filter depends on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum On {
    Nothing,
    Address,
    AddressAndPort,
}

const PORT: u16 = 5000;
const OTHER_PORT: u16 = 6000;
/// From here the server sends what comes from one address in particular; the other ports are bound to all.
const THIRD_PORT: u16 = 7000;
/// Long enough for a packet through three namespaces, on a busy machine too.
const SOON: u32 = 3000;
/// How long one waits for what should not come. Each silence is followed by a packet that does come.
const SILENCE: u32 = 300;

struct Probe {
    lab: Lab,
    inner: Agent,
    server: Agent,
    own: SocketAddr,
    external: Ipv4Addr,
    servers: [Ipv4Addr; 2],
}

impl Probe {
    fn new(preset: Preset) -> Option<Self> {
        let mut lab = lab()?;
        let server = lab.add_server("server", 2).unwrap();
        let mut site = lab.add_site("home", preset).unwrap();
        let host = lab.add_host(&mut site, "inner").unwrap();
        let mut inner = Agent::new(&host);
        inner.bind(PORT);
        let servers = [server.addresses()[0], server.addresses()[1]];
        let mut server = Agent::new(&server);
        server.bind(PORT);
        server.bind(OTHER_PORT);
        let own = SocketAddr::new(host.address().into(), PORT);
        Some(Self { lab, inner, server, own, external: site.external_address(), servers })
    }

    fn server(&self, number: usize, port: u16) -> SocketAddr {
        SocketAddr::new(self.servers[number].into(), port)
    }

    /// Where the server sees the host when that sends to it.
    fn mapped(&mut self, server: usize, port: u16) -> SocketAddr {
        let to = self.server(server, port);
        self.inner.send(PORT, to, "hello");
        self.server.receive(port, SOON).expect("the router lets packets out").0
    }

    /// Whether a packet from one of the server's sockets to `to` reaches the host.
    fn reaches(&mut self, server: usize, port: u16, to: SocketAddr, wait: u32) -> bool {
        self.server.send_from(self.server(server, port), to, "knock");
        self.inner.receive(PORT, wait).is_some()
    }
}

fn probe(preset: Preset, mapping: On, filtering: On, preserving: bool) {
    let Some(mut probe) = Probe::new(preset) else { return };
    let unused = SocketAddr::new(probe.external.into(), 60_000);
    assert!(!probe.reaches(0, THIRD_PORT, unused, SILENCE), "an unused port is closed");
    // An early packet to the very port that will be mapped must not spoil the mapping.
    assert!(!probe.reaches(0, THIRD_PORT, SocketAddr::new(probe.external.into(), PORT), SILENCE));

    let first = probe.mapped(0, PORT);
    assert_eq!(first.ip(), probe.external);
    assert_eq!(first.port() == PORT, preserving, "{first}");
    assert_eq!(probe.mapped(0, PORT), first, "a mapping lasts");
    let (other_port, other_address) = (probe.mapped(0, OTHER_PORT), probe.mapped(1, PORT));
    let found = match (other_port == first, other_address == first) {
        (true, true) => On::Nothing,
        (true, false) => On::Address,
        (false, false) => On::AddressAndPort,
        (false, true) => panic!("the port alone matters"),
    };
    assert_eq!(found, mapping);

    // Filtering, on a second mapping so that what the probes above opened does not count.
    drop(probe);
    let Some(mut probe) = Probe::new(preset) else { return };
    let mapped = probe.mapped(0, PORT);
    let to = probe.server(0, PORT);
    probe.server.send(PORT, mapped, "answer");
    assert_eq!(probe.inner.receive(PORT, SOON), Some((to, "answer".to_owned())));
    let expected = |opens: bool| if opens { SOON } else { SILENCE };
    let same_address = probe.reaches(0, THIRD_PORT, mapped, expected(filtering != On::AddressAndPort));
    let stranger = probe.reaches(1, THIRD_PORT, mapped, expected(filtering == On::Nothing));
    let found = match (same_address, stranger) {
        (true, true) => On::Nothing,
        (true, false) => On::Address,
        (false, false) => On::AddressAndPort,
        (false, true) => panic!("the port alone matters"),
    };
    assert_eq!(found, filtering);
    // The stranger's attempt has not stolen the port: the host can still talk to it, and from the same mapping.
    probe.inner.send(PORT, SocketAddr::new(probe.servers[1].into(), PORT), "hello");
    let seen = probe.server.receive(PORT, SOON).expect("packets go out").0;
    assert_eq!(seen == mapped, mapping == On::Nothing);
}

#[test]
fn full_cone() {
    probe(Preset::FullCone, On::Nothing, On::Nothing, true);
}

#[test]
fn address_restricted() {
    probe(Preset::AddressRestricted, On::Nothing, On::Address, true);
}

#[test]
fn port_restricted() {
    probe(Preset::PortRestricted, On::Nothing, On::AddressAndPort, true);
}

#[test]
fn symmetric() {
    probe(Preset::Symmetric, On::AddressAndPort, On::AddressAndPort, false);
}

#[test]
fn none() {
    let Some(mut probe) = Probe::new(Preset::None) else { return };
    let own = probe.own;
    assert!(probe.reaches(0, THIRD_PORT, own, SOON), "everything comes in");
    assert_eq!(probe.mapped(0, PORT), own, "and keeps its address");
}

#[test]
fn udp_blocked() {
    let Some(mut probe) = Probe::new(Preset::UdpBlocked) else { return };
    let to = probe.server(0, PORT);
    probe.inner.send(PORT, to, "hello");
    assert_eq!(probe.server.receive(PORT, SILENCE), None);
    probe.server.listen(3478);
    assert!(probe.inner.connect(SocketAddr::new(to.ip(), 3478)), "TCP goes out");
    assert_eq!(probe.server.accept(3478).ip(), probe.external);
    // From outside nobody comes in, by TCP neither.
    probe.inner.listen(80);
    assert!(!probe.server.connect(SocketAddr::new(probe.external.into(), 80)));
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
    let Some(mut probe) = Probe::new(Preset::None) else { return };
    assert!(!probe.inner.connect("1.1.1.1:443".parse().unwrap()));
    let site = probe.lab.add_site("other", Preset::FullCone).unwrap();
    assert_eq!(site.preset(), Preset::FullCone);
}

#[test]
fn holes_can_be_punched_as_the_theory_says() {
    let Some(mut lab) = lab() else { return };
    let classic = [Preset::FullCone, Preset::AddressRestricted, Preset::PortRestricted, Preset::Symmetric];
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

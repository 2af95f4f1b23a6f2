//! Time, determinism, what can be scheduled, and the laws.

mod lab;

use std::net::SocketAddr;
use std::time::Duration;

use lab::{PORT, ms, puppet, received, send};
use sansio::{Datagram, Machine, Outbox, Path, SocketOp, Time, Timers};
use sterna_netsim::{Cause, Fate, Hostile, Laws, Link, NatBehaviour, Net, Preset, Puppet, Trace};

/// Sends a numbered datagram to everybody every so often, and counts answers.
struct Chatter {
    local: SocketAddr,
    peers: Vec<SocketAddr>,
    timers: Timers<usize>,
    due: Vec<usize>,
    count: u32,
}

impl Chatter {
    fn new(local: SocketAddr, peers: Vec<SocketAddr>) -> Self {
        let mut timers = Timers::default();
        for peer in 0..peers.len() {
            timers.set(peer, Time::ZERO + ms(peer as u64 + 1));
        }
        Self { local, peers, timers, due: Vec::new(), count: 0 }
    }
}

impl Machine for Chatter {
    type Addr = Path;
    type Event = ();
    fn handle_datagram(&mut self, _: Time, _: Datagram<'_>, _: &mut dyn Outbox) {
        self.count += 1;
    }
    fn handle_timeout(&mut self, now: Time) {
        while let Some(peer) = self.timers.expired(now) {
            self.timers.set(peer, now + ms(20 + peer as u64));
            self.due.push(peer);
        }
    }
    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        for peer in self.due.drain(..) {
            let bytes = [now.elapsed().as_millis() as u8; 100];
            assert!(out.send_bytes(Path::udp(self.local, self.peers[peer]), &bytes));
        }
    }
    fn poll_event(&mut self) -> Option<()> {
        None
    }
    fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }
}

fn chat(seed: u64) -> Trace {
    let mut net = Net::new(seed);
    let server = net.add_host("server", &[Net::INTERNET]);
    net.bind(server, net.socket(server, PORT)).unwrap();
    net.start(server, Puppet::echo());
    for preset in Preset::CLASSIC {
        let name = preset.name();
        let home = net.add_preset(Net::INTERNET, name, preset);
        let bad = Link {
            loss: 0.1,
            duplicate: 0.05,
            reorder: 0.05,
            tamper: 0.05,
            jitter: ms(7),
            ..Link::delay_ms(9)
        };
        net.set_link(net.uplink(home), bad);
        let host = net.add_host(&format!("in {name}"), &[home]);
        net.bind(host, net.socket(host, PORT)).unwrap();
        let peers = vec![net.socket(server, PORT), SocketAddr::new(net.external_address(home), 1)];
        net.start(host, Chatter::new(net.socket(host, PORT), peers));
    }
    net.run_for(Duration::from_secs(5));
    net.trace().clone()
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let (first, again, other) = (chat(1), chat(1), chat(2));
    assert!(first.total() > 1000);
    assert_eq!(first, again);
    assert_eq!(first.to_string(), again.to_string());
    assert_ne!(first.digest(), other.digest());
}

#[test]
fn a_trace_tells_the_story_of_each_packet() {
    let mut net = Net::new(1);
    let home = net.add_network(Net::INTERNET, "home", NatBehaviour::port_restricted());
    let (a, b) = (puppet(&mut net, "a", home), puppet(&mut net, "b", Net::INTERNET));
    let to = net.socket(b, PORT);
    send(&mut net, a, to, "hello");
    let mapped = received(&mut net, b)[0].0;
    net.bind(b, net.socket(b, 9)).unwrap();
    let uninvited = Path::udp(net.socket(b, 9), mapped);
    net.machine_mut::<Puppet>(b).send(uninvited, b"knock");
    net.run_for(ms(100));
    let told = net.trace().to_string();
    let lines: Vec<&str> = told.lines().collect();
    let expected = [
        "   0.000000 a        #1 udp 10.0.1.10:5000 -> 5.0.0.11:5000 5 B ???????? sent",
        "   0.000000 home     #1 udp 10.0.1.10:5000 -> 5.0.0.11:5000 5 B ???????? becomes 5.0.0.10:5000 -> 5.0.0.11:5000",
        "   0.010000 b        #1 udp 5.0.0.10:5000 -> 5.0.0.11:5000 5 B ???????? delivered",
        "   0.200000 b        #2 udp 5.0.0.11:9 -> 5.0.0.10:5000 5 B ???????? sent",
        "   0.210000 home     #2 udp 5.0.0.11:9 -> 5.0.0.10:5000 5 B ???????? dropped: filtered, nothing was sent to this remote address before",
    ];
    assert_eq!(lines.len(), expected.len(), "{told}");
    for (line, expected) in lines.iter().zip(expected) {
        let (head, tail) = expected.split_once("????????").unwrap();
        assert!(line.starts_with(head) && line.ends_with(tail), "{line}\n{expected}");
    }
}

#[test]
fn a_long_trace_keeps_its_beginning_and_digests_the_rest() {
    let run = |keep: usize| {
        let mut net = Net::new(1);
        net.trace_mut().keep(keep);
        let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
        let to = net.socket(b, PORT);
        for n in 0..10 {
            send(&mut net, a, to, &n.to_string());
        }
        net.trace().clone()
    };
    let (short, long) = (run(3), run(1000));
    assert_eq!((short.records().len(), long.records().len()), (3, 20));
    assert_eq!((short.total(), short.digest()), (long.total(), long.digest()));
    assert!(short.to_string().ends_with("… and 17 more\n"));
}

#[test]
fn time_goes_on_when_nothing_happens() {
    let mut net = Net::new(1);
    net.run_for(Duration::from_secs(3600));
    assert_eq!(net.now().elapsed(), Duration::from_secs(3600));
    assert!(!net.run_until(ms(500), |_| false));
    assert_eq!(net.now().elapsed(), ms(3_600_500));
}

#[test]
fn run_until_stops_at_the_very_step() {
    let mut net = Net::new(1);
    let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
    let path = Path::udp(net.socket(a, PORT), net.socket(b, PORT));
    net.machine_mut::<Puppet>(a).send(path, b"hello");
    assert!(net.run_until(Duration::from_secs(9), |net| !received(net, b).is_empty()));
    assert_eq!(net.now().elapsed(), ms(10));
}

#[test]
fn what_is_scheduled_happens_to_a_running_network() {
    let mut net = Net::new(1);
    let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
    let link = net.access(a, Net::INTERNET);
    net.after(ms(100), move |net| net.set_link_up(link, false));
    net.after(ms(1100), move |net| {
        net.set_link_up(link, true);
        let addresses = net.free_addresses(Net::INTERNET);
        net.set_addresses(a, Net::INTERNET, &addresses);
    });
    let to = net.socket(b, PORT);
    let old = net.socket(a, PORT);
    send(&mut net, a, to, "up");
    send(&mut net, a, to, "down");
    assert_eq!(received(&mut net, b), [(old, "up".to_owned())]);
    assert_eq!(net.trace().drops().last().unwrap().1, Cause::LinkDown);
    net.run_for(Duration::from_secs(1));
    let new = net.socket(a, PORT);
    assert_ne!(new, old);
    // The old socket is dead; a new one works.
    net.machine_mut::<Puppet>(a).send(Path::udp(old, to), b"from the old address");
    net.run_for(ms(100));
    assert_eq!(net.trace().drops().last().unwrap().1, Cause::NoSocket);
    net.bind(a, new).unwrap();
    send(&mut net, a, to, "from the new address");
    assert_eq!(received(&mut net, b), [(new, "from the new address".to_owned())]);
    send(&mut net, b, old, "to the old address");
    assert_eq!(net.trace().drops().last().unwrap().1, Cause::NoHost);
}

#[test]
fn a_tampered_datagram_differs_in_a_few_bits() {
    let mut net = Net::new(1);
    let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
    net.set_link(net.access(a, Net::INTERNET), Link { tamper: 1.0, ..Link::default() });
    let path = Path::udp(net.socket(a, PORT), net.socket(b, PORT));
    net.machine_mut::<Puppet>(a).send(path, &[0; 50]);
    net.run_for(ms(100));
    let heard = net.events::<Puppet>(b);
    let [sterna_netsim::Seen::Received { bytes, .. }] = &heard[..] else { panic!("{heard:?}") };
    let bits: u32 = bytes.iter().map(|byte| byte.count_ones()).sum();
    assert!((1..=4).contains(&bits) && bytes.len() == 50, "{bytes:?}");
    assert!(net.trace().records().iter().any(|record| record.fate == Fate::Tampered));
}

#[test]
fn a_thousand_hosts_talk() {
    let mut net = Net::new(1);
    let server = net.add_host("server", &[Net::INTERNET]);
    net.bind(server, net.socket(server, PORT)).unwrap();
    net.start(server, Puppet::echo());
    let hosts: Vec<_> = (0..1000)
        .map(|n| {
            let home = net.add_preset(Net::INTERNET, &format!("home {n}"), Preset::CLASSIC[n % 4]);
            let host = net.add_host(&format!("host {n}"), &[home]);
            net.bind(host, net.socket(host, PORT)).unwrap();
            let chatter = Chatter::new(net.socket(host, PORT), vec![net.socket(server, PORT)]);
            net.start(host, chatter);
            host
        })
        .collect();
    net.run_for(ms(500));
    for host in hosts {
        assert_eq!(net.machine::<Chatter>(host).count, 24);
    }
}

// Laws.

/// A machine that breaks a law of one's choice.
#[derive(Default)]
struct Outlaw {
    next: Option<Time>,
    stays: bool,
    eager: bool,
    hoards: bool,
    talks: Option<(Path, usize)>,
    backlog: u32,
}

impl Machine for Outlaw {
    type Addr = Path;
    type Event = ();
    fn handle_datagram(&mut self, _: Time, _: Datagram<'_>, _: &mut dyn Outbox) {}
    fn handle_timeout(&mut self, now: Time) {
        if self.eager {
            self.next = Some(now + ms(10));
        } else if !self.stays && self.next.is_some_and(|next| next <= now) {
            self.next = None;
        }
    }
    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        if let Some((path, bytes)) = self.talks {
            if self.hoards && self.backlog > 0 {
                self.backlog -= 1;
            } else {
                self.talks = None;
            }
            out.send_bytes(path, &vec![0; bytes]);
        }
    }
    fn poll_event(&mut self) -> Option<()> {
        None
    }
    fn poll_timeout(&self) -> Option<Time> {
        self.next
    }
}

fn try_outlaw(laws: Laws, outlaw: impl FnOnce(Path) -> Outlaw) -> (Net, Path) {
    let mut net = Net::new(1);
    net.set_laws(laws);
    let host = net.add_host("outlaw", &[Net::INTERNET]);
    let local = net.socket(host, PORT);
    net.bind(host, local).unwrap();
    let path = Path::udp(local, "5.0.0.77:1".parse().unwrap());
    net.start(host, outlaw(path));
    net.run_for(Duration::from_secs(1));
    (net, path)
}

#[test]
#[should_panic(expected = "law broken by host `outlaw` (runs::Outlaw) at 0.005s: handle_timeout must move")]
fn a_timeout_that_does_not_move_is_found() {
    try_outlaw(Laws::default(), |_| Outlaw {
        next: Some(Time::ZERO + ms(5)),
        stays: true,
        ..Outlaw::default()
    });
}

#[test]
#[should_panic(expected = "an early handle_timeout moved poll_timeout from None to Some(0.010s)")]
fn an_early_timeout_that_does_something_is_found() {
    try_outlaw(Laws::default(), |_| Outlaw { eager: true, ..Outlaw::default() });
}

#[test]
#[should_panic(expected = "poll_transmit left 1 datagrams for a second call")]
fn a_poll_that_leaves_something_is_found() {
    try_outlaw(Laws::default(), |path| Outlaw {
        talks: Some((path, 100)),
        hoards: true,
        backlog: 1,
        ..Outlaw::default()
    });
}

#[test]
#[should_panic(expected = "with headers that is 1501, and the MTU is 1500")]
fn a_datagram_beyond_the_mtu_is_found() {
    try_outlaw(Laws::default(), |path| Outlaw { talks: Some((path, 1473)), ..Outlaw::default() });
}

#[test]
#[should_panic(expected = "where no socket was ever bound")]
fn a_datagram_from_nowhere_is_found() {
    try_outlaw(Laws::default(), |path| Outlaw {
        talks: Some((Path { local: SocketAddr::new(path.local.ip(), 1), ..path }, 10)),
        ..Outlaw::default()
    });
}

#[test]
fn a_datagram_of_exactly_the_mtu_passes_and_laws_can_be_lifted() {
    let (net, _) =
        try_outlaw(Laws::default(), |path| Outlaw { talks: Some((path, 1472)), ..Outlaw::default() });
    assert_eq!(net.trace().drops().last().unwrap().1, Cause::NoHost);
    let (net, _) = try_outlaw(Laws::NONE, |path| Outlaw { talks: Some((path, 1473)), ..Outlaw::default() });
    assert_eq!(net.trace().drops().last().unwrap().1, Cause::TooBig { mtu: 1500 });
}

#[test]
#[should_panic(expected = "no end in 1000 steps")]
fn a_run_that_never_ends_is_found() {
    let mut net = Net::new(1);
    net.set_step_limit(1000);
    let [a, b] = ["a", "b"].map(|name| {
        let host = net.add_host(name, &[Net::INTERNET]);
        net.bind(host, net.socket(host, PORT)).unwrap();
        net.start(host, Puppet::echo());
        host
    });
    let path = Path::udp(net.socket(a, PORT), net.socket(b, PORT));
    net.machine_mut::<Puppet>(a).send(path, b"ping");
    net.run_for(Duration::from_secs(3600));
}

#[test]
#[should_panic(expected = "host `a` runs a sterna_netsim::puppet::Puppet, not a runs::Outlaw")]
fn a_machine_asked_for_by_the_wrong_type_is_named() {
    let mut net = Net::new(1);
    let a = puppet(&mut net, "a", Net::INTERNET);
    net.machine::<Outlaw>(a);
}

#[test]
fn hostile_bytes_can_be_injected_with_a_forged_sender() {
    let mut net = Net::new(1);
    let a = puppet(&mut net, "a", Net::INTERNET);
    let forged = Path::udp("5.9.9.9:53".parse().unwrap(), net.socket(a, PORT));
    let mut hostile = Hostile::new(1);
    for _ in 0..10 {
        net.inject(Net::INTERNET, forged, &hostile.bytes());
    }
    net.run_for(ms(100));
    let events = net.events::<Puppet>(a);
    assert!(events.len() >= 8, "{} arrived; those beyond the MTU do not", events.len());
}

#[test]
fn what_is_sent_before_a_socket_is_closed_leaves() {
    let mut net = Net::new(1);
    let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
    let local = net.socket(a, PORT);
    let path = Path::udp(local, net.socket(b, PORT));
    let puppet = net.machine_mut::<Puppet>(a);
    puppet.send(path, b"farewell");
    puppet.ask(SocketOp::Unbind { local });
    net.run_for(ms(100));
    assert_eq!(received(&mut net, b), [(local, "farewell".to_owned())]);
    net.machine_mut::<Puppet>(a).send(path, b"too late");
    net.run_for(ms(100));
    assert_eq!(received(&mut net, b), []);
}

#[test]
fn with_little_room_everything_leaves_all_the_same() {
    let mut net = Net::new(1);
    net.set_room(10);
    let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
    let path = Path::udp(net.socket(a, PORT), net.socket(b, PORT));
    for n in 10..20 {
        net.machine_mut::<Puppet>(a).send(path, format!("no {n}").as_bytes());
    }
    net.run_for(ms(100));
    assert_eq!(received(&mut net, b).len(), 10);
}

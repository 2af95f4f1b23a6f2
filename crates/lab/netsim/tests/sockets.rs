//! Sockets, streams and names are answered as a real host would.

mod lab;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lab::{PORT, ms, puppet, received, replies, send};
use sansio::{Path, SocketError, SocketOp, SocketReply, Ticket, Transport};
use sterna_netsim::{Cause, HostId, Link, NatBehaviour, Net, Puppet, Seen, SegmentId};

const TICKET: Ticket = Ticket(7);

fn ask(net: &mut Net, host: HostId, op: SocketOp) -> SocketReply {
    net.machine_mut::<Puppet>(host).ask(op);
    let mut found = Vec::new();
    net.run_until(Duration::from_secs(60), |net| {
        found.extend(replies(net, host));
        !found.is_empty()
    });
    found.pop().expect("an answer within a minute")
}

fn bind(net: &mut Net, host: HostId, local: SocketAddr) -> Result<SocketAddr, SocketError> {
    match ask(net, host, SocketOp::Bind { ticket: TICKET, local }) {
        SocketReply::Bound { ticket: TICKET, local } => Ok(local),
        SocketReply::Failed { ticket: TICKET, error } => Err(error),
        other => panic!("{other:?}"),
    }
}

fn connect(
    net: &mut Net,
    host: HostId,
    transport: Transport,
    remote: SocketAddr,
    name: &str,
) -> Result<Path, SocketError> {
    let server_name = name.to_owned();
    match ask(net, host, SocketOp::Connect { ticket: TICKET, transport, local: None, remote, server_name }) {
        SocketReply::Connected { ticket: TICKET, path } => Ok(path),
        SocketReply::Failed { ticket: TICKET, error } => Err(error),
        other => panic!("{other:?}"),
    }
}

fn resolve(net: &mut Net, host: HostId, name: &str) -> Result<Vec<IpAddr>, SocketError> {
    match ask(net, host, SocketOp::Resolve { ticket: TICKET, name: name.to_owned() }) {
        SocketReply::Resolved { ticket: TICKET, addresses } => Ok(addresses),
        SocketReply::Failed { ticket: TICKET, error } => Err(error),
        other => panic!("{other:?}"),
    }
}

fn say(net: &mut Net, host: HostId, path: Path, what: &str) {
    net.machine_mut::<Puppet>(host).send(path, what.as_bytes());
}

#[test]
fn binding_follows_the_rules_of_udp() {
    let mut net = Net::new(1);
    let host = puppet(&mut net, "host", Net::INTERNET);
    let at = |net: &Net, port| net.socket(host, port);
    let any = |port| SocketAddr::from(([0, 0, 0, 0], port));
    let (taken, own, foreign) = (at(&net, PORT), at(&net, 0), "1.2.3.4:0".parse().unwrap());
    assert_eq!(bind(&mut net, host, taken), Err(SocketError::InUse));
    assert_eq!(bind(&mut net, host, any(PORT)), Err(SocketError::InUse));
    assert_eq!(bind(&mut net, host, foreign), Err(SocketError::Unreachable));
    let first = bind(&mut net, host, own).unwrap();
    let second = bind(&mut net, host, own).unwrap();
    assert!(first.port() >= 32_768 && second.port() >= 32_768 && first != second);
    assert_eq!(bind(&mut net, host, any(9)), Ok(any(9)));
    let under_any = at(&net, 9);
    assert_eq!(bind(&mut net, host, under_any), Err(SocketError::InUse));
    net.machine_mut::<Puppet>(host).ask(SocketOp::Unbind { local: taken });
    net.run_for(ms(1));
    assert_eq!(bind(&mut net, host, taken), Ok(taken));
}

#[test]
fn only_bound_sockets_receive() {
    let mut net = Net::new(1);
    let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
    let to = net.socket(b, 9);
    send(&mut net, a, to, "nobody there");
    assert_eq!(net.trace().drops().last().unwrap().1, Cause::NoSocket);
    net.bind(b, "0.0.0.0:9".parse().unwrap()).unwrap();
    send(&mut net, a, to, "somebody there");
    assert_eq!(received(&mut net, b).len(), 1);
    // A socket bound to all addresses sends from the right one.
    let back = Path::udp("0.0.0.0:9".parse().unwrap(), net.socket(a, PORT));
    say(&mut net, b, back, "back");
    net.run_for(ms(100));
    assert_eq!(received(&mut net, a), [(to, "back".to_owned())]);
    let own = net.socket(a, PORT);
    send(&mut net, a, own, "to myself");
    assert_eq!(received(&mut net, a), [(own, "to myself".to_owned())]);
}

#[test]
fn a_host_with_two_interfaces_uses_the_one_that_the_address_belongs_to() {
    let mut net = Net::new(1);
    let segments =
        ["wifi", "mobile"].map(|name| net.add_network(Net::INTERNET, name, NatBehaviour::port_restricted()));
    let host = net.add_host("host", &segments);
    let server = puppet(&mut net, "server", Net::INTERNET);
    let addresses = net.addresses(host);
    assert_eq!(addresses.len(), 2);
    net.start(host, Puppet::default());
    for (address, segment) in addresses.into_iter().zip(segments) {
        let local = SocketAddr::new(address, PORT);
        net.bind(host, local).unwrap();
        let path = Path::udp(local, net.socket(server, PORT));
        say(&mut net, host, path, "hello");
        net.run_for(ms(100));
        let from = received(&mut net, server)[0].0;
        assert_eq!(from.ip(), net.external_address(segment));
    }
}

fn listening(net: &mut Net, segment: SegmentId, transport: Transport) -> (HostId, SocketAddr) {
    let server = puppet(net, "server", segment);
    let local = net.socket(server, 443);
    net.listen(server, transport, local).unwrap();
    (server, local)
}

#[test]
fn a_stream_takes_a_round_trip_to_connect_and_tls_two() {
    for (transport, round_trips) in [(Transport::Tcp, 1), (Transport::Tls, 2)] {
        let mut net = Net::new(1);
        let home = net.add_network(Net::INTERNET, "home", NatBehaviour::udp_blocked());
        let client = puppet(&mut net, "client", home);
        let (server, local) = listening(&mut net, Net::INTERNET, transport);
        let path = connect(&mut net, client, transport, local, "server").unwrap();
        assert_eq!((path.transport, path.remote), (transport, local));
        assert_eq!(path.local.ip(), net.address(client));
        // 5 ms from the box to the internet, and 5 ms to the server.
        assert_eq!(net.now().elapsed(), ms(20 * round_trips));
        say(&mut net, client, path, "hello");
        net.run_for(ms(100));
        let heard = net.events::<Puppet>(server);
        let [Seen::Received { path: accepted, .. }] = heard[..] else { panic!("{heard:?}") };
        assert_eq!((accepted.transport, accepted.local), (transport, local));
        assert_eq!(accepted.remote.ip(), net.external_address(home));
        say(&mut net, server, accepted, "welcome");
        net.run_for(ms(100));
        assert_eq!(received(&mut net, client), [(local, "welcome".to_owned())]);
    }
}

#[test]
fn messages_of_a_stream_arrive_once_and_in_order_however_bad_the_link() {
    let mut net = Net::new(3);
    let home = net.add_network(Net::INTERNET, "home", NatBehaviour::symmetric());
    let bad = Link {
        loss: 0.2,
        reorder: 0.2,
        duplicate: 0.2,
        jitter: ms(30),
        rate: Some(2_000_000),
        queue: 3000,
        ..Link::delay_ms(30)
    };
    net.set_link(net.uplink(home), bad);
    let client = puppet(&mut net, "client", home);
    let (server, local) = listening(&mut net, Net::INTERNET, Transport::Tcp);
    let path = connect(&mut net, client, Transport::Tcp, local, "").unwrap();
    let expected: Vec<String> = (0..500).map(|n| format!("message {n} {}", "x".repeat(n))).collect();
    for message in &expected {
        say(&mut net, client, path, message);
    }
    let mut heard = Vec::new();
    let all = net.run_until(Duration::from_secs(120), |net| {
        heard.extend(received(net, server).into_iter().map(|(_, text)| text));
        heard.len() >= expected.len()
    });
    assert!(all, "{} of {}", heard.len(), expected.len());
    assert!(heard == expected);
    assert!(net.trace().drops().any(|(_, cause)| cause == Cause::Lost));
}

#[test]
fn a_stream_is_refused_where_nobody_listens_and_times_out_behind_a_firewall() {
    let mut net = Net::new(1);
    let client = puppet(&mut net, "client", Net::INTERNET);
    let server = puppet(&mut net, "server", Net::INTERNET);
    let home = net.add_network(Net::INTERNET, "home", NatBehaviour::firewall());
    let (_, inside) = listening(&mut net, home, Transport::Tcp);
    let closed = net.socket(server, 80);
    assert_eq!(connect(&mut net, client, Transport::Tcp, closed, ""), Err(SocketError::Refused));
    assert_eq!(net.now().elapsed(), ms(20));
    assert_eq!(connect(&mut net, client, Transport::Tcp, inside, ""), Err(SocketError::TimedOut));
    assert_eq!(net.now().elapsed(), ms(10_020));
    let v6 = "[2a00::1]:80".parse().unwrap();
    assert_eq!(connect(&mut net, client, Transport::Tcp, v6, ""), Err(SocketError::Unreachable));
}

#[test]
fn tls_checks_the_name_in_the_certificate() {
    let mut net = Net::new(1);
    let client = puppet(&mut net, "client", Net::INTERNET);
    let server = puppet(&mut net, "server", Net::INTERNET);
    let (tls, tcp) = (net.socket(server, 443), net.socket(server, 80));
    net.listen_tls(server, tls, "relay.example").unwrap();
    net.listen(server, Transport::Tcp, tcp).unwrap();
    assert_eq!(net.listen(server, Transport::Tcp, tcp), Err(SocketError::InUse));
    assert!(connect(&mut net, client, Transport::Tls, tls, "Relay.Example").is_ok());
    for (to, name) in [(tls, "other.example"), (tcp, "relay.example")] {
        let result = connect(&mut net, client, Transport::Tls, to, name);
        assert!(matches!(result, Err(SocketError::Tls(_))), "{result:?}");
    }
}

#[test]
fn closing_a_stream_loses_nothing_that_was_sent_before() {
    let mut net = Net::new(1);
    let client = puppet(&mut net, "client", Net::INTERNET);
    let (server, local) = listening(&mut net, Net::INTERNET, Transport::Tcp);
    let path = connect(&mut net, client, Transport::Tcp, local, "").unwrap();
    net.set_link(net.access(client, Net::INTERNET), Link::delay_ms(5).with_loss(0.3));
    for n in 0..20 {
        say(&mut net, client, path, &n.to_string());
    }
    net.machine_mut::<Puppet>(client).ask(SocketOp::Disconnect { path });
    net.run_for(Duration::from_secs(30));
    let events = net.events::<Puppet>(server);
    assert_eq!(events.len(), 21, "{events:?}");
    let Seen::Socket { reply: SocketReply::Disconnected { error, .. }, .. } = &events[20] else {
        panic!("{events:?}")
    };
    assert_eq!(*error, SocketError::Closed);
    // It is gone on both sides.
    say(&mut net, client, path, "too late");
    say(&mut net, server, path.reversed(), "too late");
    net.run_for(ms(100));
    assert_eq!(net.trace().drops().filter(|(_, cause)| *cause == Cause::StreamGone).count(), 2);
}

#[test]
fn a_stream_breaks_when_its_nat_reboots_or_its_link_stays_down() {
    for reboot in [true, false] {
        let mut net = Net::new(1);
        let home = net.add_network(Net::INTERNET, "home", NatBehaviour::symmetric());
        let client = puppet(&mut net, "client", home);
        let (_, local) = listening(&mut net, Net::INTERNET, Transport::Tcp);
        let path = connect(&mut net, client, Transport::Tcp, local, "").unwrap();
        if reboot {
            net.reboot(home);
        } else {
            net.set_link_up(net.uplink(home), false);
        }
        say(&mut net, client, path, "are you there?");
        net.run_for(Duration::from_secs(60));
        let expected = if reboot { SocketError::Closed } else { SocketError::TimedOut };
        assert_eq!(replies(&mut net, client), [SocketReply::Disconnected { path, error: expected }]);
    }
}

#[test]
fn a_short_outage_only_delays_a_stream() {
    let mut net = Net::new(1);
    let client = puppet(&mut net, "client", Net::INTERNET);
    let (server, local) = listening(&mut net, Net::INTERNET, Transport::Tcp);
    let path = connect(&mut net, client, Transport::Tcp, local, "").unwrap();
    let link = net.access(client, Net::INTERNET);
    net.set_link_up(link, false);
    net.after(Duration::from_secs(3), move |net| net.set_link_up(link, true));
    say(&mut net, client, path, "patience");
    net.run_for(Duration::from_secs(10));
    assert_eq!(received(&mut net, server).len(), 1);
}

#[test]
fn the_end_of_a_process_closes_what_it_had() {
    let mut net = Net::new(1);
    let client = puppet(&mut net, "client", Net::INTERNET);
    let (server, local) = listening(&mut net, Net::INTERNET, Transport::Tcp);
    let path = connect(&mut net, client, Transport::Tcp, local, "").unwrap();
    say(&mut net, client, path, "hello");
    net.run_for(ms(100));
    net.stop(server);
    net.run_for(ms(100));
    assert_eq!(replies(&mut net, client), [SocketReply::Disconnected { path, error: SocketError::Closed }]);
    assert_eq!(connect(&mut net, client, Transport::Tcp, local, ""), Err(SocketError::Refused));
    net.start(server, Puppet::default());
    assert_eq!(connect(&mut net, client, Transport::Tcp, local, ""), Err(SocketError::Refused));
    net.listen(server, Transport::Tcp, local).unwrap();
    assert!(connect(&mut net, client, Transport::Tcp, local, "").is_ok());
}

#[test]
fn names_resolve_after_a_while() {
    let mut net = Net::new(1);
    let host = puppet(&mut net, "host", Net::INTERNET);
    let address = "5.5.5.5".parse().unwrap();
    net.set_name("relay.example", &[address]);
    assert_eq!(resolve(&mut net, host, "Relay.example."), Ok(vec![address]));
    assert_eq!(net.now().elapsed(), ms(20));
    assert_eq!(resolve(&mut net, host, "nowhere.example"), Err(SocketError::NameNotFound));
    assert_eq!(resolve(&mut net, host, "5.5.5.5"), Ok(vec![address]));
}

#[test]
fn local_names_are_known_on_their_own_segment_only() {
    let mut net = Net::new(1);
    let home = net.add_network(Net::INTERNET, "home", NatBehaviour::port_restricted());
    let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, home));
    let stranger = puppet(&mut net, "stranger", Net::INTERNET);
    let (name, address) = ("0b7d.local".to_owned(), net.address(a));
    net.machine_mut::<Puppet>(a).ask(SocketOp::Publish { name: name.clone(), address });
    net.run_for(ms(1));
    assert_eq!(resolve(&mut net, b, &name), Ok(vec![address]));
    assert_eq!(resolve(&mut net, stranger, &name), Err(SocketError::NameNotFound));
    net.stop(a);
    assert_eq!(resolve(&mut net, b, &name), Err(SocketError::NameNotFound));
}

#[test]
fn an_answer_does_not_reach_the_next_process() {
    let mut net = Net::new(1);
    let host = puppet(&mut net, "host", Net::INTERNET);
    net.machine_mut::<Puppet>(host).ask(SocketOp::Resolve { ticket: TICKET, name: "nowhere".to_owned() });
    net.run_for(ms(1));
    net.stop(host);
    net.start(host, Puppet::default());
    net.run_for(Duration::from_secs(1));
    assert_eq!(replies(&mut net, host), []);
}

//! Ports, pools, static mappings, firewalls, NAT64, and the presets.

mod lab;

use std::net::SocketAddr;
use std::time::Duration;

use lab::probe::{OTHER_PORT, Probe};
use lab::{PORT, after, into, ms, puppet, received, replies, send, socket, translator};
use sansio::{Path, SocketError, SocketOp, SocketReply, Ticket, Time, Transport};
use sterna_netsim::{
    Binding, Cause, Content, Egress, Forward, Hairpin, HostId, Nat, NatBehaviour, Net, Pooling,
    PortAssignment, Preset, Puppet, Refusal, SegmentId, Traffic, Translator,
};

/// The outer socket of a datagram from inside.
fn out(nat: &mut Translator, now: Time, local: &str, remote: &str) -> SocketAddr {
    nat.outbound(now, Path::udp(socket(local), socket(remote)), Content::Datagram).expect("it lets out").local
}

#[test]
fn every_preset_is_what_it_says() {
    for preset in Preset::ALL.into_iter().filter(|preset| preset.lets_udp_out() && *preset != Preset::Nat64) {
        assert_eq!(Probe::preset(preset).mapping(), preset.mapping(), "{preset}");
        assert_eq!(Probe::preset(preset).filtering(), preset.filtering(), "{preset}");
    }
    for preset in [Preset::UdpBlocked, Preset::Corporate, Preset::HttpProxy] {
        assert!(!preset.lets_udp_out());
        let mut probe = Probe::preset(preset);
        let to = probe.socket(0, PORT);
        send(&mut probe.net, probe.inner, to, "out?");
        assert_eq!(probe.net.trace().drops().last().unwrap().1, Cause::Refused(Refusal::Blocked), "{preset}");
    }
    assert_eq!(Preset::Cgn.boxes().len(), 2);
    assert_eq!(NatBehaviour::preset("cgn"), None);
    assert_eq!(NatBehaviour::preset("home-router"), Some(NatBehaviour::home_router()));
}

#[test]
fn a_preset_of_two_boxes_is_two_boxes() {
    let mut net = Net::new(1);
    let home = net.add_preset(Net::INTERNET, "home", Preset::Cgn);
    let carrier = net.outside(home).unwrap();
    assert_eq!(net.outside(carrier), Some(Net::INTERNET));
    assert_eq!(net.outside(Net::INTERNET), None);
    let names = [home, carrier].map(|segment| net.trace().name(net.gateway_place(segment)).to_owned());
    assert_eq!(names, ["home", "home-carrier"]);
    assert!(net.external_address(home).to_string().starts_with("100.64."));
    assert_eq!(net.external_addresses(carrier).len(), 4);
    let (inner, server) = (puppet(&mut net, "inner", home), puppet(&mut net, "server", Net::INTERNET));
    let to = net.socket(server, PORT);
    send(&mut net, inner, to, "hello");
    let from = received(&mut net, server)[0].0;
    assert!(net.external_addresses(carrier).contains(&from.ip()));
    assert_eq!((net.bindings(home).len(), net.bindings(carrier).len()), (1, 1));
}

#[test]
fn linux_keeps_the_port_until_the_remote_end_cannot_tell_flows_apart() {
    let behaviour = NatBehaviour::preset("linux-masquerade").unwrap();
    let mut nat = translator(behaviour);
    let now = Time::ZERO;
    let (a, b) = ("10.0.0.1:5000", "10.0.0.2:5000");
    let first = out(&mut nat, now, a, "6.0.0.1:1");
    assert_eq!(first.port(), 5000);
    // The same outer port for somebody else inside, to another remote end.
    assert_eq!(out(&mut nat, now, b, "6.0.0.2:1"), first);
    assert_eq!(into(&mut nat, now, first, "6.0.0.1:1"), Ok(socket(a)));
    assert_eq!(into(&mut nat, now, first, "6.0.0.2:1"), Ok(socket(b)));
    assert_eq!(into(&mut nat, now, first, "6.0.0.3:1"), Err(Refusal::Filtered));
    // To the same remote end it has to be another one.
    let other = out(&mut nat, now, b, "6.0.0.1:1");
    assert_ne!(other, first);
    assert_eq!(into(&mut nat, now, other, "6.0.0.1:1"), Ok(socket(b)));
    // 30 s without an answer, two minutes with one.
    assert_eq!(into(&mut nat, after(119), first, "6.0.0.1:1"), Ok(socket(a)));
    assert_eq!(out(&mut nat, now, a, "6.0.0.9:1"), first);
    assert_eq!(into(&mut nat, after(31), first, "6.0.0.9:1"), Err(Refusal::Filtered));
    assert_eq!(into(&mut nat, after(238), first, "6.0.0.1:1"), Ok(socket(a)));
    assert_eq!(into(&mut nat, after(360), first, "6.0.0.1:1"), Err(Refusal::NoMapping));
}

#[test]
fn a_cone_that_overloads_gives_the_port_to_its_last_user() {
    let mut nat =
        translator(NatBehaviour { ports: PortAssignment::Overloading, ..NatBehaviour::full_cone() });
    let (a, b) = ("10.0.0.1:5000", "10.0.0.2:5000");
    let outer = out(&mut nat, Time::ZERO, a, "6.0.0.1:1");
    assert_eq!(out(&mut nat, after(1), b, "6.0.0.2:1"), outer);
    // Whom each has sent to finds back; a stranger gets to the last user.
    assert_eq!(into(&mut nat, after(2), outer, "6.0.0.1:1"), Ok(socket(a)));
    assert_eq!(into(&mut nat, after(3), outer, "6.0.0.2:1"), Ok(socket(b)));
    assert_eq!(into(&mut nat, after(4), outer, "6.0.0.3:1"), Ok(socket(b)));
}

#[test]
fn parity_is_kept_and_neighbours_stay_neighbours() {
    for inner in [5000, 5001, 1, 65_535] {
        let mut nat = translator(NatBehaviour { ports: PortAssignment::Parity, ..NatBehaviour::symmetric() });
        for n in 1..50 {
            let outer = out(&mut nat, Time::ZERO, &format!("10.0.0.1:{inner}"), &format!("6.0.0.{n}:1"));
            assert_eq!(outer.port() % 2, inner % 2);
        }
    }
    let mut nat = translator(NatBehaviour { ports: PortAssignment::Contiguous, ..NatBehaviour::full_cone() });
    for host in 1..100 {
        let rtp = out(&mut nat, Time::ZERO, &format!("10.0.0.{host}:5000"), "6.0.0.1:1").port();
        let rtcp = out(&mut nat, Time::ZERO, &format!("10.0.0.{host}:5001"), "6.0.0.1:2").port();
        assert_eq!((rtp % 2, rtcp), (0, rtp + 1));
    }
}

#[test]
fn a_pool_is_paired_or_arbitrary() {
    for pooling in [Pooling::Paired, Pooling::Arbitrary] {
        let behaviour = NatBehaviour { pool: 4, pooling, ..NatBehaviour::port_restricted() };
        let mut net = Net::new(1);
        let home = net.add_network(Net::INTERNET, "home", behaviour);
        let server = puppet(&mut net, "server", Net::INTERNET);
        let to = net.socket(server, PORT);
        let hosts: Vec<HostId> = (0..16).map(|n| net.add_host(&format!("host {n}"), &[home])).collect();
        let mut all = std::collections::BTreeSet::new();
        let mut several = 0;
        for host in hosts {
            net.start(host, Puppet::default());
            let mut seen = std::collections::BTreeSet::new();
            for port in 7000..7010 {
                let local = net.socket(host, port);
                net.bind(host, local).unwrap();
                net.machine_mut::<Puppet>(host).send(Path::udp(local, to), b"hello");
                net.run_for(ms(100));
                seen.insert(received(&mut net, server)[0].0.ip());
            }
            several += usize::from(seen.len() > 1);
            all.extend(seen);
        }
        assert_eq!(all.len(), 4, "all of the pool is used");
        assert!(all.iter().all(|address| net.external_addresses(home).contains(address)));
        assert_eq!(several, if pooling == Pooling::Paired { 0 } else { 16 });
    }
}

#[test]
fn an_unanswered_mapping_lives_shorter() {
    let udp_unanswered_timeout = Duration::from_secs(10);
    let mut nat = translator(NatBehaviour { udp_unanswered_timeout, ..NatBehaviour::port_restricted() });
    let outer = out(&mut nat, Time::ZERO, "10.0.0.1:5000", "6.0.0.1:1");
    assert_eq!(into(&mut nat, after(10), outer, "6.0.0.1:1"), Err(Refusal::NoMapping));
    out(&mut nat, after(20), "10.0.0.1:5000", "6.0.0.1:1");
    assert!(into(&mut nat, after(21), outer, "6.0.0.1:1").is_ok());
    out(&mut nat, after(22), "10.0.0.1:5000", "6.0.0.1:1");
    assert!(into(&mut nat, after(141), outer, "6.0.0.1:1").is_ok());
    assert!(into(&mut nat, after(142), outer, "6.0.0.1:1").is_err());
}

#[test]
fn a_stream_keeps_its_mapping_for_hours_and_for_minutes_once_it_ends() {
    let path = Path::new(Transport::Tcp, socket("10.0.0.1:5000"), socket("6.0.0.1:80"));
    let mut nat = translator(NatBehaviour::symmetric());
    let outer = nat.outbound(Time::ZERO, path, Content::Syn).unwrap();
    // Nobody answers: four minutes (RFC 5382 REQ-5).
    assert!(nat.inbound(after(241), outer, Content::SynAck).is_err());
    let outer = nat.outbound(after(300), path, Content::Syn).unwrap();
    assert!(nat.inbound(after(301), outer, Content::SynAck).is_ok());
    assert!(nat.outbound(after(302), path, Content::Message).is_ok());
    assert!(nat.inbound(after(7000), outer, Content::Message).is_ok());
    assert!(nat.inbound(after(14_000), outer, Content::Fin).is_ok());
    assert!(nat.outbound(after(14_200), path, Content::Fin).is_ok());
    assert!(nat.inbound(after(14_241), outer, Content::Message).is_err());
}

#[test]
fn a_port_is_forwarded_to_another_port() {
    let mut probe = Probe::new(NatBehaviour::symmetric());
    let outer = SocketAddr::new(probe.net.external_address(probe.home), 56_456);
    let inner = probe.net.socket(probe.inner, PORT);
    assert!(!probe.reaches(0, PORT, outer));
    probe.net.forward(probe.home, Forward::udp(56_456, inner));
    assert!(probe.reaches(0, PORT, outer));
    assert!(probe.reaches(1, OTHER_PORT, outer), "from anybody");
    assert_eq!(probe.mapped(0, PORT), outer, "and back, though the box is symmetric");
    let remembered = probe.net.bindings(probe.home);
    let expected = Binding { traffic: Traffic::Udp, inner, outer, remote: None, expires: None };
    assert_eq!(remembered, [expected]);
    // It is configured, so that a reboot leaves it, and a new address has it too.
    probe.net.reboot(probe.home);
    assert!(probe.reaches(0, PORT, outer));
    let new = SocketAddr::new(probe.net.renumber(probe.home), 56_456);
    assert!(probe.reaches(0, PORT, new));
    assert!(!probe.reaches(0, PORT, outer));
    probe.net.unforward(probe.home, Transport::Udp, 56_456);
    assert!(!probe.reaches(0, PORT, new));
}

#[test]
fn a_forward_for_what_comes_in_answers_from_its_port_and_sends_from_another() {
    let mut probe = Probe::new(NatBehaviour::symmetric());
    let outer = SocketAddr::new(probe.net.external_address(probe.home), 56_456);
    let inner = probe.net.socket(probe.inner, PORT);
    probe.net.forward(probe.home, Forward::udp(56_456, inner).inbound_only());
    assert_ne!(probe.mapped(0, PORT), outer);
    assert!(probe.reaches(1, PORT, outer));
    assert_eq!(probe.mapped(1, PORT), outer);
    assert_ne!(probe.mapped(1, OTHER_PORT), outer);
}

#[test]
fn a_dynamic_mapping_never_takes_a_forwarded_port() {
    let mut nat = translator(NatBehaviour::port_restricted());
    nat.forward(Forward::udp(5000, socket("10.0.0.9:80")));
    assert_ne!(out(&mut nat, Time::ZERO, "10.0.0.1:5000", "6.0.0.1:1").port(), 5000);
    nat.forward(Forward::tcp(6000, socket("10.0.0.9:80")));
    assert_eq!(out(&mut nat, Time::ZERO, "10.0.0.1:6000", "6.0.0.1:1").port(), 6000, "that is TCP's");
}

#[test]
fn one_to_one_gives_a_host_an_outer_address_of_its_own() {
    let mut probe = Probe::new(NatBehaviour { hairpin: Hairpin::External, ..NatBehaviour::symmetric() });
    let own = probe.net.address(probe.inner);
    let outer = SocketAddr::new(probe.net.map_host(probe.home, own), PORT);
    assert_ne!(outer.ip(), probe.net.external_address(probe.home));
    assert!(probe.reaches(0, PORT, outer));
    assert_eq!([probe.mapped(0, PORT), probe.mapped(1, OTHER_PORT)], [outer; 2]);
    // A neighbour reaches it there too, through the hairpin.
    let neighbour = puppet(&mut probe.net, "neighbour", probe.home);
    send(&mut probe.net, neighbour, outer, "from next door");
    assert_eq!(received(&mut probe.net, probe.inner).len(), 1);
}

fn connect(net: &mut Net, host: HostId, remote: SocketAddr) -> Result<Path, SocketError> {
    let (ticket, transport, server_name) = (Ticket(1), Transport::Tcp, String::new());
    let op = SocketOp::Connect { ticket, transport, local: None, remote, server_name };
    net.machine_mut::<Puppet>(host).ask(op);
    let mut found = Vec::new();
    net.run_until(Duration::from_secs(60), |net| {
        found.extend(replies(net, host));
        !found.is_empty()
    });
    match found.pop().expect("an answer within a minute") {
        SocketReply::Connected { path, .. } => Ok(path),
        SocketReply::Failed { error, .. } => Err(error),
        other => panic!("{other:?}"),
    }
}

fn listen(net: &mut Net, segment: SegmentId, port: u16) -> (HostId, SocketAddr) {
    let server = puppet(net, "server", segment);
    let local = net.socket(server, port);
    net.listen(server, Transport::Tcp, local).unwrap();
    (server, local)
}

#[test]
fn only_tcp_to_port_443_leaves_the_office_and_a_box_refuses_in_silence_or_aloud() {
    for resets in [false, true] {
        let behaviour = NatBehaviour { resets, ..NatBehaviour::preset("corporate").unwrap() };
        let mut net = Net::new(1);
        let office = net.add_network(Net::INTERNET, "office", behaviour);
        let client = puppet(&mut net, "client", office);
        let (_, https) = listen(&mut net, Net::INTERNET, 443);
        let (_, http) = listen(&mut net, Net::INTERNET, 80);
        assert!(connect(&mut net, client, https).is_ok());
        let before = net.now();
        let expected = if resets { SocketError::Refused } else { SocketError::TimedOut };
        assert_eq!(connect(&mut net, client, http), Err(expected));
        assert_eq!(net.now() - before < ms(50), resets);
        // The same from outside.
        let outer = SocketAddr::new(net.external_address(office), 80);
        let guest = puppet(&mut net, "guest", Net::INTERNET);
        let expected = if resets { SocketError::Refused } else { SocketError::TimedOut };
        assert_eq!(connect(&mut net, guest, outer), Err(expected));
    }
}

#[test]
fn a_forwarded_stream_comes_in_and_its_answers_go_out() {
    let mut net = Net::new(1);
    let home = net.add_preset(Net::INTERNET, "home", Preset::Corporate);
    let (server, local) = listen(&mut net, home, 80);
    net.forward(home, Forward::tcp(56_456, local));
    let guest = puppet(&mut net, "guest", Net::INTERNET);
    let outer = SocketAddr::new(net.external_address(home), 56_456);
    let path = connect(&mut net, guest, outer).unwrap();
    net.machine_mut::<Puppet>(guest).send(path, b"GET /");
    net.run_for(ms(100));
    assert_eq!(received(&mut net, server), [(net.socket(guest, path.local.port()), "GET /".to_owned())]);
}

#[test]
fn only_the_proxy_gets_out() {
    let mut net = Net::new(1);
    let inside = "10.9.0.0/24".parse().unwrap();
    let proxy_address = "10.9.0.3".parse().unwrap();
    let behaviour =
        NatBehaviour { egress: Egress::OnlyFrom(proxy_address), ..NatBehaviour::port_restricted() };
    let office = net.add_network_at(Net::INTERNET, "office", inside, behaviour);
    let client = puppet(&mut net, "client", office);
    let proxy = net.add_host_at("proxy", office, &[proxy_address]);
    net.start(proxy, Puppet::default());
    let (_, server) = listen(&mut net, Net::INTERNET, 443);
    assert_eq!(connect(&mut net, client, server), Err(SocketError::TimedOut));
    assert!(connect(&mut net, proxy, server).is_ok());
}

#[test]
fn who_asks_the_proxy_gets_out() {
    let mut net = Net::new(1);
    let office = net.add_preset(Net::INTERNET, "office", Preset::HttpProxy);
    let client = puppet(&mut net, "client", office);
    let (server, local) = listen(&mut net, Net::INTERNET, 5349);
    net.set_name("relay.example", &[local.ip()]);
    net.set_proxy(office, None);
    assert_eq!(connect(&mut net, client, local), Err(SocketError::TimedOut));
    let proxy = SocketAddr::new(net.address(client).to_string().replace(".10", ".3").parse().unwrap(), 3128);
    let path = connect(&mut net, client, proxy).unwrap();
    let mut ask = |what: &str| {
        net.machine_mut::<Puppet>(client).send(path, what.as_bytes());
        net.run_for(ms(200));
        let heard = received(&mut net, client);
        let answer = heard.into_iter().map(|(_, text)| text).collect::<String>();
        (answer, received(&mut net, server))
    };
    assert_eq!(ask("GET / HTTP/1.1\r\n\r\n").0, "HTTP/1.1 405 Method Not Allowed\r\n\r\n");
    assert_eq!(ask("CONNECT nowhere.example:80 HTTP/1.1\r\n\r\n").0, "HTTP/1.1 502 Bad Gateway\r\n\r\n");
    let (answer, _) = ask("CONNECT relay.example:5349 HTTP/1.1\r\n\r\n");
    assert_eq!(answer, "HTTP/1.1 200 Connection Established\r\n\r\n");
    let (_, heard) = ask("hello");
    let [(from, text)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((from.ip(), text.as_str()), (net.external_address(office), "hello"));
    let back = Path::new(Transport::Tcp, local, *from);
    net.machine_mut::<Puppet>(server).send(back, b"welcome");
    net.run_for(ms(200));
    assert_eq!(received(&mut net, client), [(proxy, "welcome".to_owned())]);
    net.stop(server);
    net.run_for(ms(200));
    assert_eq!(replies(&mut net, client), [SocketReply::Disconnected { path, error: SocketError::Closed }]);
}

#[test]
fn nat64_leads_from_a_network_of_ipv6_alone_to_ipv4() {
    let mut net = Net::new(1);
    let mobile = net.add_preset(Net::INTERNET, "mobile", Preset::Nat64);
    let phone = puppet(&mut net, "phone", mobile);
    assert!(net.addresses(phone).iter().all(std::net::IpAddr::is_ipv6));
    let servers = ["server1", "server2"].map(|name| puppet(&mut net, name, Net::INTERNET));
    net.set_name("server.example", &[net.address(servers[0])]);
    net.machine_mut::<Puppet>(phone)
        .ask(SocketOp::Resolve { ticket: Ticket(1), name: "server.example".to_owned() });
    net.run_for(ms(100));
    let [SocketReply::Resolved { addresses, .. }] = &replies(&mut net, phone)[..] else {
        panic!("no answer")
    };
    assert_eq!(addresses[0].to_string(), "64:ff9b::500:b");
    let to = SocketAddr::new(addresses[0], PORT);
    send(&mut net, phone, to, "hello");
    let outer = SocketAddr::new(net.external_address(mobile), PORT);
    assert_eq!(received(&mut net, servers[0]), [(outer, "hello".to_owned())]);
    send(&mut net, servers[0], outer, "back");
    send(&mut net, servers[1], outer, "stranger");
    assert_eq!(received(&mut net, phone), [(to, "back".to_owned())]);
    // IPv6 itself is filtered and not translated.
    net.add_ipv6(Net::INTERNET);
    let modern = puppet(&mut net, "modern", Net::INTERNET);
    let (own, theirs) = (net.socket(phone, PORT), SocketAddr::new(net.addresses(modern)[1], PORT));
    send(&mut net, phone, theirs, "hello");
    assert_eq!(received(&mut net, modern), [(own, "hello".to_owned())]);
    send(&mut net, modern, own, "back");
    assert_eq!(received(&mut net, phone), [(theirs, "back".to_owned())]);
}

#[test]
fn dual_stack_translates_ipv4_and_filters_ipv6() {
    let mut net = Net::new(1);
    net.add_ipv6(Net::INTERNET);
    let home = net.add_preset(Net::INTERNET, "home", Preset::DualStack);
    let (inner, outer) = (puppet(&mut net, "inner", home), puppet(&mut net, "outer", Net::INTERNET));
    for ipv4 in [true, false] {
        let [local, remote] = [inner, outer].map(|host| {
            let address = net.addresses(host).into_iter().find(|address| address.is_ipv4() == ipv4);
            SocketAddr::new(address.expect("it has both"), PORT)
        });
        send(&mut net, outer, local, "unasked");
        assert_eq!(received(&mut net, inner), [], "nothing gets in");
        send(&mut net, inner, remote, "hello");
        let [(from, _)] = received(&mut net, outer)[..] else { panic!("it gets out") };
        assert_eq!(from == local, !ipv4, "IPv6 keeps its address");
        send(&mut net, outer, from, "welcome");
        assert_eq!(received(&mut net, inner), [(remote, "welcome".to_owned())]);
    }
}

#[test]
fn a_host_of_ipv6_alone_serves_ipv4_by_a_forward() {
    for both_ways in [true, false] {
        let mut net = Net::new(1);
        let mobile = net.add_preset(Net::INTERNET, "mobile", Preset::Nat64);
        let (inner, guest) = (puppet(&mut net, "inner", mobile), puppet(&mut net, "guest", Net::INTERNET));
        let forward = Forward { both_ways, ..Forward::udp(56_456, net.socket(inner, PORT)) };
        net.forward(mobile, forward);
        let outer = SocketAddr::new(net.external_address(mobile), 56_456);
        send(&mut net, guest, outer, "knock");
        let (from, _) = received(&mut net, inner)[0].clone();
        assert_eq!(from.to_string(), "[64:ff9b::500:b]:5000");
        send(&mut net, inner, from, "come in");
        assert_eq!(received(&mut net, guest), [(outer, "come in".to_owned())]);
    }
}

#[test]
fn what_a_table_holds_does_not_grow_with_time() {
    for behaviour in [NatBehaviour::full_cone(), NatBehaviour::symmetric(), NatBehaviour::port_restricted()] {
        let mut nat = translator(behaviour);
        let local = socket("10.0.0.1:5000");
        for n in 0..200_000_u32 {
            let now = Time::ZERO + Duration::from_millis(u64::from(n) * 100);
            let remote = SocketAddr::new(std::net::Ipv4Addr::from_bits(0x0600_0000 + n).into(), 1);
            nat.outbound(now, Path::udp(local, remote), Content::Datagram).unwrap();
        }
        // 1,200 within two minutes, and what is not swept yet.
        let bytes = format!("{nat:?}").len();
        assert!(bytes < 4_000_000, "{bytes}");
    }
}

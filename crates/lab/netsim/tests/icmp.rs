//! Errors by ICMP: they find back through boxes, change nothing there, and end a connection attempt at once.

mod lab;

use std::time::Duration;

use lab::{PORT, ms, puppet, received, replies, send};
use sansio::{Path, SocketError, SocketOp, SocketReply, Ticket, Transport};
use sterna_netsim::{Cause, Content, Fate, Icmp, Link, NatBehaviour, Net, Preset, Refusal};

/// What a host was told by ICMP.
fn told(net: &Net, host: sterna_netsim::HostId) -> Vec<(Icmp, Path)> {
    let delivered = net.trace().records().iter().filter_map(|record| match (record.content, record.fate) {
        (Content::Icmp(error), Fate::Delivered) if record.place == net.place(host) => {
            Some((error, record.path))
        }
        _ => None,
    });
    delivered.collect()
}

#[test]
fn an_error_finds_back_through_two_boxes() {
    let mut net = Net::new(1);
    net.set_icmp(true);
    let home = net.add_preset(Net::INTERNET, "home", Preset::Cgn);
    let (inner, server) = (puppet(&mut net, "inner", home), puppet(&mut net, "server", Net::INTERNET));
    let (own, nobody) = (net.socket(inner, PORT), net.socket(server, 77));
    send(&mut net, inner, nobody, "is anybody there?");
    assert_eq!(told(&net, inner), [(Icmp::PortUnreachable, Path::udp(nobody, own))]);
    // Nobody at all.
    let nowhere = "5.200.0.1:1".parse().unwrap();
    send(&mut net, inner, nowhere, "hello?");
    assert_eq!(told(&net, inner)[1], (Icmp::HostUnreachable, Path::udp(nowhere, own)));
    // Neither has any machine to do with it.
    assert_eq!((received(&mut net, inner), received(&mut net, server)), (vec![], vec![]));
}

#[test]
fn errors_are_off_unless_asked_for() {
    let mut net = Net::new(1);
    let [a, b] = ["a", "b"].map(|name| puppet(&mut net, name, Net::INTERNET));
    let nobody = net.socket(b, 77);
    send(&mut net, a, nobody, "is anybody there?");
    assert_eq!(net.trace().records().len(), 2);
}

#[test]
fn an_error_from_inside_leaves_by_the_mapping_and_another_is_dropped() {
    let mut net = Net::new(1);
    net.set_icmp(true);
    let home = net.add_preset(Net::INTERNET, "home", Preset::FullCone);
    let (inner, server) = (puppet(&mut net, "inner", home), puppet(&mut net, "server", Net::INTERNET));
    let (local, to) = (net.socket(inner, PORT), net.socket(server, PORT));
    send(&mut net, inner, to, "hello");
    let mapped = received(&mut net, server)[0].0;
    net.machine_mut::<sterna_netsim::Puppet>(inner).ask(SocketOp::Unbind { local });
    net.run_for(ms(1));
    send(&mut net, server, mapped, "still there?");
    assert_eq!(told(&net, server), [(Icmp::PortUnreachable, Path::udp(mapped, to))]);
    // About a packet that nobody has sent: no mapping is refreshed, and none is made.
    net.run_for(Duration::from_secs(200));
    assert_eq!(net.bindings(home), []);
}

#[test]
fn a_stranger_s_error_does_not_come_in_and_refreshes_nothing() {
    use sterna_netsim::{Nat, Translator};
    let mut nat = Translator::new(NatBehaviour::full_cone(), &[[5, 0, 0, 1].into()], 1.into());
    let path = Path::udp("10.0.0.1:5000".parse().unwrap(), "6.0.0.1:1".parse().unwrap());
    let at = |seconds| sansio::Time::from_start(Duration::from_secs(seconds));
    let outer = nat.outbound(at(0), path, Content::Datagram).unwrap();
    let error = Content::Icmp(Icmp::PortUnreachable);
    assert_eq!(nat.inbound(at(100), outer, error), Ok(path));
    let stranger = Path { remote: "6.0.0.2:1".parse().unwrap(), ..outer };
    assert_eq!(nat.inbound(at(100), stranger, error), Err(Refusal::Filtered));
    assert!(nat.inbound(at(100), stranger, Content::Datagram).is_ok(), "it is a full cone");
    assert_eq!(nat.inbound(at(120), outer, error), Err(Refusal::NoMapping));
}

#[test]
fn who_sends_too_much_is_told_how_much_fits() {
    let mut net = Net::new(1);
    net.set_icmp(true);
    let home = net.add_preset(Net::INTERNET, "home", Preset::Symmetric);
    net.set_link(net.uplink(home), Link { mtu: 1280, ..Link::delay_ms(5) });
    let (inner, server) = (puppet(&mut net, "inner", home), puppet(&mut net, "server", Net::INTERNET));
    let (own, to) = (net.socket(inner, PORT), net.socket(server, PORT));
    send(&mut net, inner, to, &"x".repeat(1300));
    assert_eq!(told(&net, inner), [(Icmp::TooBig { mtu: 1280 }, Path::udp(to, own))]);
    assert!(net.trace().drops().any(|(_, cause)| cause == Cause::TooBig { mtu: 1280 }));
    // And the other way: the router before the box says so.
    send(&mut net, inner, to, "hello");
    let mapped = received(&mut net, server)[0].0;
    send(&mut net, server, mapped, &"x".repeat(1300));
    assert_eq!(told(&net, server), [(Icmp::TooBig { mtu: 1280 }, Path::udp(mapped, to))]);
}

#[test]
fn a_firewall_that_refuses_aloud_says_so_for_datagrams_too() {
    let mut net = Net::new(1);
    net.set_icmp(true);
    let behaviour = NatBehaviour { resets: true, ..NatBehaviour::udp_blocked() };
    let office = net.add_network(Net::INTERNET, "office", behaviour);
    let (inner, server) = (puppet(&mut net, "inner", office), puppet(&mut net, "server", Net::INTERNET));
    let (own, to) = (net.socket(inner, PORT), net.socket(server, PORT));
    send(&mut net, inner, to, "out?");
    assert_eq!(told(&net, inner), [(Icmp::Prohibited, Path::udp(to, own))]);
}

#[test]
fn a_connection_to_nowhere_fails_at_once() {
    for icmp in [false, true] {
        let mut net = Net::new(1);
        net.set_icmp(icmp);
        let home = net.add_preset(Net::INTERNET, "home", Preset::HomeRouter);
        let client = puppet(&mut net, "client", home);
        let op = SocketOp::Connect {
            ticket: Ticket(1),
            transport: Transport::Tcp,
            local: None,
            remote: "6.6.6.6:443".parse().unwrap(),
            server_name: String::new(),
        };
        net.machine_mut::<sterna_netsim::Puppet>(client).ask(op);
        net.run_for(Duration::from_secs(60));
        let error = if icmp { SocketError::Unreachable } else { SocketError::TimedOut };
        assert_eq!(replies(&mut net, client), [SocketReply::Failed { ticket: Ticket(1), error }]);
    }
}

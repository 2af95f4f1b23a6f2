//! Errors by ICMP: they find back through boxes, change nothing there, and end a connection attempt at once. And pings.

mod lab;

use std::time::Duration;

use lab::{PORT, ms, puppet, received, replies, send};
use sansio::{Path, SocketError, SocketOp, SocketReply, Ticket, Transport};
use std::net::IpAddr;

use sterna_netsim::{
    Cause, Content, Fate, Hairpin, HostId, Icmp, Link, NatBehaviour, Net, Preset, Refusal, Traffic,
};

/// What a host was told by ICMP.
fn told(net: &Net, host: HostId) -> Vec<(Icmp, Path)> {
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

/// Asks, and says which answers came: from whom, for which identifier, with what in it.
fn ping(
    net: &mut Net,
    host: HostId,
    remote: IpAddr,
    identifier: u16,
    what: &str,
) -> Vec<(IpAddr, u16, String)> {
    let sequence = net.ping(host, remote, identifier, what.as_bytes());
    net.run_for(ms(200));
    let pongs = net.pongs(host).into_iter().map(|pong| {
        assert_eq!(pong.sequence, sequence);
        (pong.from, pong.identifier, String::from_utf8(pong.payload).unwrap())
    });
    pongs.collect()
}

/// The identifiers with which questions came to a host.
fn asked(net: &Net, host: HostId) -> Vec<u16> {
    let records = net.trace().records().iter().filter(|record| record.place == net.place(host));
    let echoes = records.filter(|record| matches!(record.content, Content::Echo { .. }));
    echoes.map(|record| record.path.local.port()).collect()
}

fn last_drop(net: &Net) -> Cause {
    net.trace().drops().last().expect("something was dropped").1
}

#[test]
fn a_ping_is_answered_through_every_preset_that_lets_datagrams_out() {
    for preset in Preset::ALL {
        let mut net = Net::new(1);
        let home = net.add_preset(Net::INTERNET, "home", preset);
        let [a, b] = ["a", "b"].map(|name| net.add_host(name, &[home]));
        let server = net.add_host("server", &[Net::INTERNET]);
        let plain = net.address(server);
        let remote = match preset {
            Preset::Nat64 => format!("64:ff9b::{plain}").parse().unwrap(),
            _ => plain,
        };
        if !preset.lets_udp_out() {
            assert_eq!(ping(&mut net, a, remote, 77, "there?"), [], "{preset}");
            assert_eq!(last_drop(&net), Cause::Refused(Refusal::Blocked), "{preset}");
            continue;
        }
        // Two hosts with the same identifier get each their own answer, though both ask at once.
        net.ping(b, remote, 77, b"of b");
        assert_eq!(ping(&mut net, a, remote, 77, "of a"), [(remote, 77, "of a".to_owned())], "{preset}");
        let pongs = net.pongs(b);
        assert_eq!((pongs.len(), &pongs[0].payload[..]), (1, &b"of b"[..]), "{preset}");
        let identifiers = asked(&net, server);
        assert_eq!(identifiers[0] == identifiers[1], preset.mapping().is_none(), "{preset}");
    }
}

#[test]
fn a_ping_from_outside_reaches_whom_a_box_has_mapped_one_to_one_and_nobody_else() {
    let mut net = Net::new(1);
    let behaviour = NatBehaviour { hairpin: Hairpin::External, ..NatBehaviour::full_cone() };
    let home = net.add_network(Net::INTERNET, "home", behaviour);
    let [inner, neighbour] = ["inner", "neighbour"].map(|name| net.add_host(name, &[home]));
    let guest = net.add_host("guest", &[Net::INTERNET]);
    let (own, shared) = (net.address(inner), net.external_address(home));
    assert_eq!(ping(&mut net, guest, shared, 5, "anybody?"), []);
    assert_eq!(last_drop(&net), Cause::Refused(Refusal::NoMapping));
    let outer = net.map_host(home, own);
    assert_eq!(ping(&mut net, guest, outer, 5, "you?"), [(outer, 5, "you?".to_owned())]);
    // A neighbour too, through the hairpin.
    assert_eq!(ping(&mut net, neighbour, outer, 6, "next door?"), [(outer, 6, "next door?".to_owned())]);
    assert!(net.bindings(home).iter().any(|binding| binding.traffic == Traffic::Query));
}

#[test]
fn a_firewall_lets_answers_in_and_no_questions() {
    let mut net = Net::new(1);
    let office = net.add_preset(Net::INTERNET, "office", Preset::Firewall);
    let (inner, guest) = (net.add_host("inner", &[office]), net.add_host("guest", &[Net::INTERNET]));
    let [own, theirs] = [inner, guest].map(|host| net.address(host));
    assert_eq!(ping(&mut net, guest, own, 5, "in?"), []);
    assert_eq!(last_drop(&net), Cause::Refused(Refusal::NoMapping));
    assert_eq!(ping(&mut net, inner, theirs, 5, "out?"), [(theirs, 5, "out?".to_owned())]);
    assert_eq!(asked(&net, guest)[1..], [5], "as it was");
    assert_eq!(ping(&mut net, guest, own, 5, "and now?"), []);
}

#[test]
fn what_became_of_a_ping_is_told_through_two_boxes() {
    let mut net = Net::new(1);
    net.set_icmp(true);
    let home = net.add_preset(Net::INTERNET, "home", Preset::Cgn);
    let inner = net.add_host("inner", &[home]);
    let nowhere: IpAddr = "5.200.0.1".parse().unwrap();
    assert_eq!(ping(&mut net, inner, nowhere, 77, "hello?"), []);
    let heard = net.trace().records().iter().rfind(|record| record.fate == Fate::Delivered).unwrap();
    let error = Content::EchoError { error: Icmp::HostUnreachable, sequence: 0 };
    assert_eq!((heard.place, heard.content), (net.place(inner), error));
    assert_eq!(heard.path.remote, net.socket(inner, 77), "with the identifier it had");
    // A box that refuses aloud.
    let behaviour = NatBehaviour { resets: true, ..NatBehaviour::udp_blocked() };
    let office = net.add_network(Net::INTERNET, "office", behaviour);
    let clerk = net.add_host("clerk", &[office]);
    assert_eq!(ping(&mut net, clerk, nowhere, 77, "out?"), []);
    let heard = net.trace().records().last().unwrap();
    let error = Content::EchoError { error: Icmp::Prohibited, sequence: 0 };
    assert_eq!((heard.place, heard.content, heard.fate), (net.place(clerk), error, Fate::Delivered));
}

#[test]
fn who_sleeps_answers_nothing_and_who_did_not_ask_hears_nothing() {
    let mut net = Net::new(1);
    let [a, b] = ["a", "b"].map(|name| net.add_host(name, &[Net::INTERNET]));
    let [ours, theirs] = [a, b].map(|host| net.address(host));
    assert_eq!(ping(&mut net, a, ours, 1, "myself?"), [(ours, 1, "myself?".to_owned())]);
    net.suspend(b);
    assert_eq!(ping(&mut net, a, theirs, 2, "awake?"), []);
    assert_eq!(last_drop(&net), Cause::Asleep);
    net.resume(b);
    assert_eq!(ping(&mut net, a, theirs, 3, ""), [(theirs, 3, String::new())]);
    assert_eq!(net.pongs(b), []);
    // Nobody of that family.
    assert_eq!(ping(&mut net, a, "2a00::7".parse().unwrap(), 4, "?"), []);
    assert_eq!(last_drop(&net), Cause::NoRoute);
}

//! Every mapping with every filter and every rule for ports: for datagrams, for streams, and for queries by ICMP.

mod lab;

use std::net::SocketAddr;
use std::time::Duration;

use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
use lab::probe::Probe;
use lab::{after, into, socket, translator};
use sansio::{Path, Time, Transport};
use sterna_netsim::{
    Content, Dependence, Forward, Hairpin, Nat, NatBehaviour, PortAssignment, Refusal, Translator,
};

const DEPENDENCES: [Dependence; 3] = [EndpointIndependent, AddressDependent, AddressAndPortDependent];

/// Every mapping with every filter and every rule for ports.
fn combinations() -> Vec<NatBehaviour> {
    let rules = [
        PortAssignment::Preserving,
        PortAssignment::Overloading,
        PortAssignment::Sequential,
        PortAssignment::Random,
        PortAssignment::Parity,
        PortAssignment::Contiguous,
    ];
    let mut all = Vec::new();
    for mapping in DEPENDENCES {
        for filtering in DEPENDENCES {
            let base = NatBehaviour::port_restricted();
            all.extend(rules.map(|ports| NatBehaviour {
                mapping: Some(mapping),
                filtering: Some(filtering),
                ports,
                ..base
            }));
        }
    }
    all
}

/// What one sees from outside of what a mapping depends on. Overloading hides it: every remote end sees the same port.
fn visible_mapping(behaviour: &NatBehaviour) -> Dependence {
    match behaviour.ports {
        PortAssignment::Overloading => EndpointIndependent,
        _ => behaviour.mapping.expect("all of them translate"),
    }
}

#[test]
fn every_combination_of_mapping_filtering_and_ports_is_what_it_says() {
    for behaviour in combinations() {
        for pool in [1, 3] {
            let behaviour = NatBehaviour { pool, ..behaviour };
            let found = Probe::new(behaviour).mapping();
            assert_eq!(found, Some(visible_mapping(&behaviour)), "{behaviour:?}");
            assert_eq!(Probe::new(behaviour).filtering(), behaviour.filtering, "{behaviour:?}");
        }
    }
}

const INNER: &str = "10.0.0.1:5000";
const REMOTES: [&str; 3] = ["6.0.0.1:1", "6.0.0.1:2", "6.0.0.2:1"];

/// A path of TCP.
fn tcp(local: SocketAddr, remote: &str) -> Path {
    Path::new(Transport::Tcp, local, socket(remote))
}

/// Whether what one sees of two remote ends is the same: those are the first of [`REMOTES`] and another.
fn same_for(dependence: Dependence, other: &str) -> bool {
    match dependence {
        EndpointIndependent => true,
        AddressDependent => socket(other).ip() == socket(REMOTES[0]).ip(),
        AddressAndPortDependent => other == REMOTES[0],
    }
}

#[test]
fn every_combination_is_what_it_says_for_streams_too() {
    for behaviour in combinations() {
        for hairpin in [Hairpin::None, Hairpin::External, Hairpin::Internal] {
            let behaviour = NatBehaviour { hairpin, ..behaviour };
            let mut nat = translator(behaviour);
            let now = Time::ZERO;
            let mut syn = |remote| nat.outbound(now, tcp(socket(INNER), remote), Content::Syn).unwrap().local;
            let outer = syn(REMOTES[0]);
            let keeps = matches!(behaviour.ports, PortAssignment::Preserving | PortAssignment::Overloading);
            assert_eq!(outer.port() == 5000, keeps, "{behaviour:?}");
            for remote in REMOTES {
                let same = same_for(visible_mapping(&behaviour), remote);
                assert_eq!(syn(remote) == outer, same, "{remote} {behaviour:?}");
            }
            // A fresh box, so that nobody but the first remote end was sent to. An inbound SYN may be a stranger's,
            // or, from that one, half of a simultaneous open (RFC 5382 REQ-2).
            let mut nat = translator(behaviour);
            let coming = |nat: &mut Translator, remote| nat.inbound(now, tcp(outer, remote), Content::Syn);
            assert_eq!(coming(&mut nat, REMOTES[0]), Err(Refusal::NoMapping), "{behaviour:?}");
            let again = nat.outbound(now, tcp(socket(INNER), REMOTES[0]), Content::Syn).unwrap().local;
            assert_eq!(again, outer, "the same dice");
            for remote in REMOTES {
                let expected = match same_for(behaviour.filtering.unwrap(), remote) {
                    true => Ok(tcp(socket(INNER), remote)),
                    false => Err(Refusal::Filtered),
                };
                assert_eq!(coming(&mut nat, remote), expected, "{behaviour:?}");
            }
            // A neighbour connects to the outer address.
            let neighbour = socket("10.0.0.2:6000");
            let path = Path::new(Transport::Tcp, neighbour, outer);
            let turned = nat.turn_round(now, path, Content::Syn);
            if hairpin == Hairpin::None {
                assert_eq!(turned, Err(Refusal::NoHairpin), "{behaviour:?}");
                continue;
            }
            // The filter is that of all packets from outside.
            let open = behaviour.filtering == Some(EndpointIndependent);
            assert_eq!(turned.err(), (!open).then_some(Refusal::Filtered), "{behaviour:?}");
            let seen = nat.outbound(now, path, Content::Syn).unwrap().local;
            let towards = Path::new(Transport::Tcp, socket(INNER), seen);
            if nat.outbound(now, towards, Content::Syn).unwrap().local == outer {
                let from = if hairpin == Hairpin::Internal { neighbour } else { seen };
                let expected = Path::new(Transport::Tcp, from, socket(INNER));
                assert_eq!(nat.turn_round(now, path, Content::Syn), Ok(expected), "{behaviour:?}");
            } else {
                assert_ne!(visible_mapping(&behaviour), EndpointIndependent, "{behaviour:?}");
            }
        }
    }
}

#[test]
fn two_streams_that_are_opened_towards_each_other_are_one() {
    use Content::{Message, Syn, SynAck};
    for filtering in DEPENDENCES {
        let behaviour = NatBehaviour { filtering: Some(filtering), ..NatBehaviour::port_restricted() };
        for (steps, lives) in [(&[Syn][..], 240), (&[Syn, SynAck, Message], 7440)] {
            let [mut left, mut right] = ["5.0.0.1", "5.0.0.2"]
                .map(|outer| Translator::new(behaviour, &[outer.parse().unwrap()], 7.into()));
            // Both keep the port, which the two have told each other.
            let ours = tcp(socket("10.0.0.1:5000"), "5.0.0.2:6000");
            let theirs = tcp(socket("10.1.0.1:6000"), "5.0.0.1:5000");
            for &content in steps {
                // They cross: both are sent before either arrives.
                let from_left = left.outbound(after(0), ours, content).unwrap();
                let from_right = right.outbound(after(0), theirs, content).unwrap();
                assert_eq!(right.inbound(after(0), from_left.reversed(), content), Ok(theirs));
                assert_eq!(left.inbound(after(0), from_right.reversed(), content), Ok(ours));
            }
            // Two SYNs are not a connection yet, but one that opens (RFC 5382 REQ-5).
            let outer = tcp(socket("5.0.0.1:5000"), "5.0.0.2:6000");
            assert_eq!(left.bindings(after(0))[0].expires, Some(after(lives)), "{filtering:?} {steps:?}");
            assert_eq!(left.inbound(after(lives), outer, Message), Err(Refusal::NoMapping));
        }
    }
}

#[test]
fn queries_are_mapped_for_all_remote_ends_alike_whatever_the_box() {
    let asker = "10.0.0.1:77";
    let (echo, reply) = (Content::Echo { sequence: 1 }, Content::EchoReply { sequence: 1 });
    // The remote end of a query has an address and no port.
    let path = |local: SocketAddr, remote: &str| Path::udp(local, socket(remote));
    let [there, elsewhere, stranger] = ["6.0.0.1:0", "6.0.0.2:0", "6.0.0.3:0"];
    for behaviour in combinations() {
        let mut nat = translator(behaviour);
        let now = Time::ZERO;
        // Neither a question nor an answer comes in unasked, and no answer leaves.
        for (identifier, content) in [(0, echo), (77, echo), (77, reply)] {
            let unasked = path(SocketAddr::from(([5, 0, 0, 1], identifier)), there);
            assert_eq!(nat.inbound(now, unasked, content), Err(Refusal::NoMapping), "{behaviour:?}");
        }
        assert_eq!(nat.outbound(now, path(socket(asker), there), reply), Err(Refusal::NoMapping));
        // RFC 5508 REQ-1.
        let outer = nat.outbound(now, path(socket(asker), there), echo).unwrap().local;
        assert_eq!(nat.outbound(now, path(socket(asker), elsewhere), echo).unwrap().local, outer);
        for remote in [there, elsewhere] {
            assert_eq!(nat.inbound(now, path(outer, remote), reply), Ok(path(socket(asker), remote)));
        }
        let open = behaviour.filtering == Some(EndpointIndependent);
        let unasked = nat.inbound(now, path(outer, stranger), reply);
        assert_eq!(unasked.err(), (!open).then_some(Refusal::Filtered), "{behaviour:?}");
        // The same identifier of a neighbour is another one outside, also towards the same remote end.
        let neighbour = socket("10.0.0.2:77");
        let other = nat.outbound(now, path(neighbour, there), echo).unwrap().local;
        assert_ne!(other, outer, "{behaviour:?}");
        assert_eq!(nat.inbound(now, path(other, there), reply), Ok(path(neighbour, there)));
        // UDP and TCP have nothing to do with it.
        assert_eq!(into(&mut nat, now, outer, there), Err(Refusal::NoMapping), "{behaviour:?}");
        assert_eq!(nat.inbound(now, tcp(outer, there), Content::Syn), Err(Refusal::NoMapping));
        // REQ-2.
        let almost = Time::ZERO + Duration::from_millis(59_999);
        assert!(nat.inbound(almost, path(other, there), reply).is_ok(), "{behaviour:?}");
        assert_eq!(nat.inbound(after(60), path(other, there), reply), Err(Refusal::NoMapping));
    }
    let mut patient = translator(NatBehaviour { icmp_timeout: Duration::from_secs(90), ..combinations()[0] });
    let outer = patient.outbound(after(0), path(socket(asker), there), echo).unwrap().local;
    assert!(patient.inbound(after(89), path(outer, there), reply).is_ok());
}

#[test]
fn a_forwarded_port_is_no_identifier() {
    let mut nat = translator(NatBehaviour::full_cone());
    nat.forward(Forward::udp(77, socket("10.0.0.9:77")));
    let path = Path::udp(socket("10.0.0.1:77"), socket("6.0.0.1:0"));
    let outer = nat.outbound(Time::ZERO, path, Content::Echo { sequence: 0 }).unwrap();
    assert_eq!(outer.local, socket("5.0.0.1:77"));
    assert_eq!(nat.inbound(Time::ZERO, outer, Content::EchoReply { sequence: 0 }), Ok(path));
    let server = Path::udp(socket("10.0.0.9:77"), socket("6.0.0.1:0"));
    assert_ne!(nat.outbound(Time::ZERO, server, Content::Echo { sequence: 0 }).unwrap().local, outer.local);
}

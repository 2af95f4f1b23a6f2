//! The real `sterna` across real NATs: that the two sides say by which path they met, and that the file arrives.
//!
//! Who meets whom directly is the business of `agreement.rs`.

mod lab;
mod sterna;

use lab::lab;
use netsim::Preset;
use serde_json::Value;
use sterna::{Server, event};
use sterna_kernel::{Host, Lab};

const BYTES: usize = 3_000_001;

/// The `path` that each side told in its `connected` event, and the one that it had come to at the end.
struct Paths {
    sender: Value,
    receiver: Value,
    last: [Value; 2],
}

/// Sends a file from one host to another by way of a server on the public segment.
#[track_caller]
fn transfer(lab: &mut Lab, from: &Host, to: &Host) -> Option<Paths> {
    let server = Server::start(lab, "server", &[])?;
    let mut transfer = server.transfer(from, to, BYTES, &[]);
    let receiver = event(&mut transfer.receiver, "connected")["path"].clone();
    let sender = event(&mut transfer.sender, "connected")["path"].clone();
    let last = transfer.done().map(|(done, _)| {
        assert_eq!(done["bytes"], BYTES);
        done["via"].clone()
    });
    Some(Paths { sender, receiver, last })
}

#[track_caller]
fn between(sender: Preset, receiver: Preset) -> Option<Paths> {
    let mut lab = lab()?;
    let mut left = lab.add_site("left", sender).unwrap();
    let mut right = lab.add_site("right", receiver).unwrap();
    let alice = lab.add_host(&mut left, "alice").unwrap();
    let bob = lab.add_host(&mut right, "bob").unwrap();
    transfer(&mut lab, &alice, &bob)
}

#[track_caller]
fn assert_direct(paths: &Paths) {
    for path in [&paths.sender, &paths.receiver] {
        assert_eq!(path["kind"], "direct", "{path}");
        assert_eq!(path["protocol"], "udp", "{path}");
        assert_ne!(path["local"], "relay", "{path}");
        assert_ne!(path["remote"], "relay", "{path}");
        assert!(path["rtt_ms"].is_number(), "{path}");
    }
}

#[track_caller]
fn assert_relayed(paths: &Paths) {
    let sides = [&paths.sender, &paths.receiver];
    for path in sides {
        assert_eq!(path["kind"], "relayed", "{path}");
    }
    // Each side tells the first pair that worked for it; before nomination these may be two pairs, so either end of
    // each may be the relayed one.
    for path in sides {
        assert!([&path["local"], &path["remote"]].iter().any(|end| *end == "relay"), "{path}");
    }
}

#[test]
fn two_port_restricted_nats_are_crossed_directly() {
    let Some(paths) = between(Preset::PortRestricted, Preset::PortRestricted) else { return };
    assert_direct(&paths);
}

#[test]
fn two_symmetric_nats_need_the_relay() {
    let Some(paths) = between(Preset::Symmetric, Preset::Symmetric) else { return };
    assert_relayed(&paths);
    // It may begin by the relay over TCP, if that was first.
    for path in &paths.last {
        assert_eq!((&path["kind"], &path["protocol"]), (&"relayed".into(), &"udp".into()), "{path}");
    }
}

#[test]
fn without_udp_the_relay_is_reached_by_tcp() {
    let Some(paths) = between(Preset::UdpBlocked, Preset::UdpBlocked) else { return };
    assert_relayed(&paths);
    for path in [&paths.sender, &paths.receiver] {
        assert_eq!((&path["local"], &path["protocol"]), (&"relay".into(), &"tcp".into()), "{path}");
    }
}

#[test]
fn one_side_without_udp_is_enough_to_need_it() {
    let Some(paths) = between(Preset::FullCone, Preset::UdpBlocked) else { return };
    assert_relayed(&paths);
    let path = &paths.receiver;
    assert_eq!((&path["local"], &path["protocol"]), (&"relay".into(), &"tcp".into()), "{path}");
}

#[test]
fn two_hosts_behind_one_nat_meet_at_home() {
    let Some(mut lab) = lab() else { return };
    let mut site = lab.add_site("home", Preset::Symmetric).unwrap();
    let [alice, bob] = ["alice", "bob"].map(|name| lab.add_host(&mut site, name).unwrap());
    let Some(paths) = transfer(&mut lab, &alice, &bob) else { return };
    assert_direct(&paths);
    for path in [&paths.sender, &paths.receiver] {
        assert_eq!(path["local"], "host", "{path}");
    }
}

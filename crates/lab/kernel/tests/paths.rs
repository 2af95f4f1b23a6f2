//! The real `sterna` across real NATs: that the two sides say by which path they met, and that the file arrives.
//!
//! Who meets whom directly is the business of `agreement.rs`.

mod lab;
mod sterna;

use std::fs;
use std::time::Duration;

use lab::lab;
use netsim::Preset;
use serde_json::Value;
use sterna_kernel::{Host, Lab, Program, Stop};

/// How long one event may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const BYTES: usize = 3_000_001;

/// The `path` that each side told in its `connected` event.
struct Paths {
    sender: Value,
    receiver: Value,
}

/// Sends a file from one host to another by way of a server on the public segment.
#[track_caller]
fn transfer(lab: &mut Lab, from: &Host, to: &Host) -> Option<Paths> {
    let sterna = sterna::program()?;
    let server = lab.add_server("server", 1).unwrap();
    let folder = lab.folder();
    let start = |host: &Host, arguments: &[&str]| {
        Program::start(&sterna, host, folder, arguments, &Stop::default()).unwrap()
    };
    let event = |program: &mut Program, name: &str| match program.event(name, PATIENCE) {
        Ok(event) => event,
        Err(error) => panic!("{error}"),
    };
    let public = server.address().to_string();
    let mut serve = start(&server, &["serve", "--listen", "0.0.0.0", "--public-ip", &public]);
    event(&mut serve, "listening");
    let url = format!("http://{public}:8080");

    // Not a pattern that would look the same after a block got lost or came twice.
    let mut state = 1u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(BYTES)
    .collect();
    let file = folder.join("cargo.bin");
    fs::write(&file, &bytes).unwrap();

    let mut sender = start(from, &["send", file.to_str().unwrap(), "--server", &url]);
    let code = event(&mut sender, "code")["code"].as_str().expect("a code is a text").to_owned();
    let out = folder.join("out");
    fs::create_dir(&out).unwrap();
    let mut receiver =
        start(to, &["receive", &code, "--server", &url, "--yes", "--out", out.to_str().unwrap()]);

    let paths = Paths {
        receiver: event(&mut receiver, "connected")["path"].clone(),
        sender: event(&mut sender, "connected")["path"].clone(),
    };
    let (sent, got) = (event(&mut sender, "done"), event(&mut receiver, "done"));
    assert_eq!((&sent["bytes"], &got["bytes"]), (&BYTES.into(), &BYTES.into()));
    assert_eq!(sent["sha256"], got["sha256"]);
    assert_eq!(sent["sha256"].as_str().map(str::len), Some(64), "{sent}");
    sender.end(PATIENCE).unwrap();
    receiver.end(PATIENCE).unwrap();
    assert!(fs::read(out.join("cargo.bin")).unwrap() == bytes, "the file arrived intact");
    Some(paths)
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
    for path in [&paths.sender, &paths.receiver] {
        assert_eq!(path["protocol"], "udp", "{path}");
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

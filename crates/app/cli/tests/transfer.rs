//! `sterna send` and `sterna receive`, through a real `sterna serve` on this machine.

mod program;

use program::{Program, Scratch, Server, same};

fn send(server: &Server, file: &str, more: &[&str]) -> Program {
    Program::json(&[&["send", file, "--server", &server.url], more].concat())
}

fn receive(server: &Server, code: &str, out: &str, more: &[&str]) -> Program {
    Program::json(&[&["receive", code, "--server", &server.url, "--yes", "--out", out], more].concat())
}

fn whole_transfer(name: &str, more: &[&str], kind: &str) {
    let (server, scratch) = (Server::start(), Scratch::new(name));
    let file = scratch.noise("file.bin", 3_000_000);
    let sender = send(&server, &file, more);
    let (code, _) = sender.code();
    let receiver = receive(&server, &code, &scratch.text("out"), more);
    for side in [&sender, &receiver] {
        let path = side.event("connected")["path"].clone();
        assert_eq!(path["kind"], kind, "{path}");
    }
    let (sent, received) = (sender.event("done"), receiver.event("done"));
    for path in [&sent["via"], &received["via"]] {
        assert_eq!(path["kind"], kind, "{path}");
    }
    assert_eq!(sent["bytes"], 3_000_000);
    assert_eq!(sent["blake3"].as_str().map(str::len), Some(64));
    assert_eq!(sent["blake3"], received["blake3"]);
    assert!(same(&scratch.path("file.bin"), &scratch.path("out/file.bin")));
    assert_eq!((sender.end().0, receiver.end().0), (0, 0));
}

#[test]
fn a_file_goes_directly() {
    whole_transfer("direct", &[], "direct");
}

#[test]
fn a_file_goes_through_the_relay_if_nothing_else_is_allowed() {
    whole_transfer("relayed", &["--relay-only"], "relayed");
}

#[test]
fn a_file_goes_without_a_relay_and_without_trickle() {
    whole_transfer("plain", &["--no-relay", "--no-trickle"], "direct");
}

#[test]
fn the_link_works_as_well_as_the_code() {
    let (server, scratch) = (Server::start(), Scratch::new("link"));
    let file = scratch.noise("x", 1000);
    let sender = send(&server, &file, &[]);
    let (_, link) = sender.code();
    let receiver = Program::run(
        &["--json", "receive", "--yes", "--out", &scratch.text("out")],
        &[("STERNA_CODE", &link)],
    );
    receiver.event("done");
    assert_eq!((sender.end().0, receiver.end().0), (0, 0));
    assert!(same(&scratch.path("x"), &scratch.path("out/x")));
}

#[test]
fn a_wrong_code_fails_once_and_the_code_dies() {
    let (server, scratch) = (Server::start(), Scratch::new("wrong"));
    let file = scratch.noise("x", 10);
    let sender = send(&server, &file, &[]);
    let (code, _) = sender.code();
    let number = code.split('-').next().unwrap();
    let words = signal::words();
    let wrong = [0, 1].map(|first| format!("{}-{}", words[first], words[first + 1]));
    let wrong = wrong.iter().find(|wrong| !code.ends_with(*wrong)).unwrap();
    let (failed, exit) = receive(&server, &format!("{number}-{wrong}"), &scratch.text("out"), &[]).failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("code"), 4), "{failed}");
    let (failed, exit) = sender.failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("code"), 4), "{failed}");
    let (failed, exit) = receive(&server, &code, &scratch.text("out"), &[]).failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("code"), 4), "the right code is dead too: {failed}");
}

#[test]
fn a_receiver_that_was_killed_goes_on_where_it_was() {
    let (server, scratch) = (Server::start(), Scratch::new("resume"));
    let file = scratch.noise("big", 200_000_000);
    let sender = send(&server, &file, &[]);
    let (code, _) = sender.code();
    let receiver = receive(&server, &code, &scratch.text("out"), &[]);
    // At the first bytes: a fast machine has all of it before progress is told twice.
    scratch.fills("out");
    receiver.signal("-KILL");
    let (failed, exit) = sender.failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("peer"), 6), "{failed}");
    assert!(!scratch.path("out/big").exists(), "a part never passes for the whole");
    let sender = send(&server, &file, &[]);
    let (code, _) = sender.code();
    let receiver = receive(&server, &code, &scratch.text("out"), &[]);
    let done = receiver.event("done");
    assert!(done["resumed"].as_u64().unwrap() > 0, "{done}");
    assert_eq!((sender.end().0, receiver.end().0), (0, 0));
    assert!(same(&scratch.path("big"), &scratch.path("out/big")));
    assert_eq!(std::fs::read_dir(scratch.path("out")).unwrap().count(), 1, "no part is left");
}

#[test]
fn a_sender_that_is_interrupted_tells_the_receiver() {
    let (server, scratch) = (Server::start(), Scratch::new("interrupt"));
    let file = scratch.noise("big", 200_000_000);
    let sender = send(&server, &file, &[]);
    let (code, _) = sender.code();
    let receiver = receive(&server, &code, &scratch.text("out"), &[]);
    receiver.event("progress");
    sender.signal("-INT");
    let (failed, exit) = sender.failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("interrupted"), 130), "{failed}");
    let (failed, exit) = receiver.failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("peer"), 6), "{failed}");
}

#[test]
fn an_existing_file_is_not_overwritten_unless_asked() {
    let (server, scratch) = (Server::start(), Scratch::new("existing"));
    let file = scratch.noise("x", 1000);
    std::fs::create_dir(scratch.path("out")).unwrap();
    std::fs::write(scratch.path("out/x"), b"precious").unwrap();
    let sender = send(&server, &file, &[]);
    let (code, _) = sender.code();
    let (failed, exit) = receive(&server, &code, &scratch.text("out"), &[]).failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("file"), 7), "{failed}");
    assert_eq!(sender.failure().1, 6);
    assert_eq!(std::fs::read(scratch.path("out/x")).unwrap(), b"precious");
    let sender = send(&server, &file, &[]);
    let (code, _) = sender.code();
    let receiver = receive(&server, &code, &scratch.text("out"), &["--overwrite"]);
    receiver.event("done");
    assert!(same(&scratch.path("x"), &scratch.path("out/x")));
}

//! Whatever goes wrong: one clear line that says what to do, and an exit code of its own.

mod program;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use program::{Program, Scratch, Server};

fn fails(arguments: &[&str], code: &str, exit: i32, words: &[&str]) {
    let (failed, ended) = Program::json(arguments).failure();
    let message = failed["message"].as_str().unwrap();
    assert_eq!((failed["code"].as_str(), ended), (Some(code), exit), "{arguments:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: {message:?} does not say {word:?}");
    }
    assert!(!message.trim().contains('\n'), "one line: {message:?}");
}

#[test]
fn a_missing_file() {
    fails(&["send", "/nowhere/at/all"], "file", 7, &["/nowhere/at/all", "does not exist"]);
}

#[test]
fn a_server_that_is_not_there() {
    let scratch = Scratch::new("no-server");
    let file = scratch.noise("x", 1);
    fails(&["send", &file, "--server", "http://127.0.0.1:1"], "server", 3, &["127.0.0.1:1"]);
}

#[test]
fn a_name_that_does_not_resolve() {
    fails(&["pipe", "1-a-b", "--server", "http://no-such-host.invalid"], "code", 4, &[]);
    fails(&["pipe", "--server", "http://no-such-host.invalid"], "server", 3, &["no-such-host.invalid"]);
}

#[test]
fn a_code_that_is_none() {
    fails(&["receive", "hello", "--yes"], "code", 4, &[]);
}

#[test]
fn a_code_that_nobody_has() {
    let server = Server::start();
    let words = signal::words();
    let code = format!("987-{}-{}", words[0], words[1]);
    fails(&["receive", &code, "--yes", "--server", &server.url], "code", 4, &["code"]);
}

#[test]
fn nobody_to_ask() {
    fails(&["receive", "1-a-b"], "usage", 2, &["--yes"]);
}

#[test]
fn a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fails(&["serve", "--http", &port, "--stun", "0"], "server", 3, &[&port, "in use", "--http"]);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    fails(&["serve", "--http", "0", "--stun", &port], "server", 3, &[&port, "in use"]);
}

#[test]
fn a_bad_certificate() {
    let scratch = Scratch::new("bad-certificate");
    let rubbish = scratch.noise("rubbish.pem", 100);
    fails(&["serve", "--http", "0", "--tls", &format!("{rubbish},{rubbish}")], "file", 7, &["rubbish.pem"]);
    let server = Server::with(&["--tls", "self-signed"]);
    fails(&["pipe", "--server", &server.url], "server", 3, &["certificate"]);
}

#[test]
fn a_wrong_command_line() {
    fails(&["send"], "usage", 2, &[]);
    fails(&["forward", "-L", "nonsense", "1-a-b"], "usage", 2, &["8080:localhost:80"]);
    fails(&["serve", "--allow-peer", "not-a-range"], "usage", 2, &["10.0.0.0/8"]);
}

#[test]
fn a_full_disk() {
    // A file system of one megabyte, where we may make one.
    let scratch = Scratch::new("full");
    let mount = scratch.text("small");
    std::fs::create_dir(&mount).unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "sterna-test", &mount])
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "CI may mount");
        eprintln!("SKIPPED: cannot mount a small file system");
        return;
    }
    let server = Server::start();
    let file = scratch.noise("big", 20_000_000);
    let sender = Program::json(&["send", &file, "--server", &server.url]);
    let (code, _) = sender.code();
    let (failed, exit) =
        Program::json(&["receive", &code, "--server", &server.url, "--yes", "--out", &mount]).failure();
    let sender = sender.failure();
    assert!(std::process::Command::new("umount").arg(&mount).status().unwrap().success());
    assert_eq!((failed["code"].as_str(), exit), (Some("file"), 7), "{failed}");
    assert!(failed["message"].as_str().unwrap().contains("full"), "{failed}");
    assert_eq!(sender.1, 6, "{}", sender.0);
}

#[test]
fn garbage_on_every_port_harms_nobody() {
    let server = Server::start();
    let stun = server.listening["stun"].as_str().unwrap().trim_start_matches("stun:").to_owned();
    let http = server.url.trim_start_matches("http://").to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut state = 1u32;
    let mut noise = |length: usize| -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..length).map(|_| next()).collect()
    };
    for length in [0, 1, 4, 19, 20, 21, 100, 1400, 9000] {
        socket.send_to(&noise(length), &stun).unwrap();
        for address in [&stun, &http] {
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.write_all(&noise(length));
        }
    }
    let scratch = Scratch::new("garbage");
    let file = scratch.noise("x", 1000);
    let sender = Program::json(&["send", &file, "--server", &server.url, "--relay-only"]);
    let (code, _) = sender.code();
    let receiver = Program::json(&[
        "receive",
        &code,
        "--server",
        &server.url,
        "--yes",
        "--relay-only",
        "--out",
        &scratch.text("out"),
    ]);
    receiver.event("done");
}

#[test]
fn ctrl_c_ends_the_server_cleanly() {
    let server = Server::start();
    server.program.signal("-INT");
    assert_eq!(server.program.end().0, 0);
}

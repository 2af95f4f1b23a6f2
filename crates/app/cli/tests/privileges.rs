//! `--user`: a server that was started as root, and is root no more when anybody can talk to it.

#![cfg(target_os = "linux")]

mod program;
mod station;
mod wire;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use program::{Program, Scratch};
use station::{SECRET, certificate, new_certificate, until_shown, write};
use wire::Wire;

fn is_root() -> bool {
    let root = status("/proc/self/status", "Uid:").split_whitespace().nth(1) == Some("0");
    if !root {
        assert!(std::env::var_os("CI").is_none(), "CI is root");
        eprintln!("SKIPPED: only root can give root up");
    }
    root
}

/// A line of what /proc says of a thread.
fn status(path: &str, field: &str) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default().trim().to_owned()
}

/// A user of this machine: number and group's number.
fn user(name: &str) -> (String, String) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    let fields: Vec<&str> = line.split(':').collect();
    (fields[2].to_owned(), fields[3].to_owned())
}

/// A folder that others may enter, as files of secrets are not.
fn folder(name: &str) -> Scratch {
    let scratch = Scratch::new(name);
    std::fs::set_permissions(scratch.path("."), Permissions::from_mode(0o755)).unwrap();
    write(&scratch, "secret", SECRET);
    std::fs::set_permissions(scratch.path("secret"), Permissions::from_mode(0o600)).unwrap();
    scratch
}

#[test]
fn no_thread_keeps_root_and_sessions_go_on() {
    if !is_root() {
        return;
    }
    let scratch = folder("privileges-threads");
    new_certificate(&scratch);
    for (name, closed) in [("c.pem", 0o644), ("k.pem", 0o600)] {
        std::fs::set_permissions(scratch.path(name), Permissions::from_mode(closed)).unwrap();
    }
    let (secret, tls) =
        (scratch.text("secret"), format!("{},{}", scratch.text("c.pem"), scratch.text("k.pem")));
    let (uid, gid) = user("daemon");
    // A port that only root may open, unless the system says otherwise, on an address of this test alone.
    let common =
        ["--listen", "127.0.0.61", "--stun", "61", "--stun-tls", "0", "--tls", &tls, "--user", "daemon"];
    let more = ["--secret-file", &secret, "--relay-threads", "3", "--allow-peer", "127.0.0.0/8"];
    // (To a person `serve` says it on the terminal, and to a program in the log.)
    for command in [&["relay"][..], &["serve", "--http", "62", "--log-format", "json"]] {
        let server = Program::json(&[command, &common, &more].concat());
        let listening = server.event("listening");
        assert_eq!(listening["stun"], "stun:127.0.0.61:61");
        // It works, and has every thread that it is going to have.
        let login = stun::credential::rest_credentials(SECRET, "alice", 4_000_000_000).unwrap();
        let mut wire = Wire::new("127.0.0.61:61".parse().unwrap(), login);
        wire.allocated();
        wire.echo("through a relay that is not root");
        let tasks = format!("/proc/{}/task", server.id());
        let mut threads = 0;
        for task in std::fs::read_dir(tasks).unwrap() {
            let path = task.unwrap().path().join("status");
            let of = |field: &str| status(path.to_str().unwrap(), field);
            let (name, four) = (of("Name:"), |number: &str| [number; 4].join("\t"));
            assert_eq!((of("Uid:"), of("Gid:")), (four(&uid), four(&gid)), "{name}");
            for set in ["CapPrm:", "CapEff:", "CapAmb:"] {
                assert_eq!(of(set).trim_start_matches('0'), "", "{name} {set}");
            }
            assert!(!of("Groups:").split_whitespace().any(|group| group == "0"), "{name} is in root's group");
            threads += 1;
        }
        assert!(threads >= 5, "{threads} threads");
        // What a reload cannot read was told; it changes nothing, and harms nobody.
        server.signal("-HUP");
        wire.echo("after a reload");
        server.signal("-INT");
        let (code, log) = server.end();
        assert_eq!(code, 0, "{log}");
        for file in [&secret, &scratch.text("k.pem")] {
            assert!(log.contains(&format!("{file} was read by root, and cannot be read by daemon")), "{log}");
        }
        assert!(!log.contains(&format!("{} was read", scratch.text("c.pem"))), "{log}");
    }
}

/// Files that the user may read are read again, as ever.
#[test]
fn a_certificate_of_the_users_own_is_renewed() {
    if !is_root() {
        return;
    }
    let scratch = folder("privileges-renewal");
    let (first, tls) =
        (new_certificate(&scratch), format!("{},{}", scratch.text("c.pem"), scratch.text("k.pem")));
    let secret = scratch.text("secret");
    let server = Program::json(&[
        "relay",
        "--stun",
        "0",
        "--stun-tls",
        "0",
        "--tls",
        &tls,
        "--host",
        "localhost",
        "--user",
        "nobody:nogroup",
        "--secret-file",
        &secret,
    ]);
    let listening = server.event("listening");
    let url = listening["turn"].as_array().unwrap().last().unwrap().as_str().unwrap().to_owned();
    let port: u16 = url.split([':', '?']).nth(2).unwrap().parse().unwrap();
    let at = ([127, 0, 0, 1], port).into();
    assert_eq!(certificate(at), first);
    let second = new_certificate(&scratch);
    until_shown(at, &second);
}

#[test]
fn who_cannot_become_somebody_says_so_before_anything_listens() {
    let scratch = folder("privileges-wrong");
    let secret = scratch.text("secret");
    // The port is taken: whoever tried to listen would say so, and not what is wrong with the user.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (user, code, words) in [
        ("no-such-user", "usage", "no such user"),
        ("daemon:no-such-group", "usage", "no such group"),
        ("root", "usage", "gives nothing up"),
    ] {
        let line = ["relay", "--stun", &port, "--secret-file", &secret, "--user", user];
        let (failed, _) = Program::json(&line).failure();
        let message = failed["message"].as_str().unwrap();
        assert!(failed["code"] == code && message.contains(words) && message.contains("--user"), "{failed}");
        assert!(!message.contains('\n'), "{message:?}");
    }
    if !is_root() {
        return;
    }
    // Somebody who is not root, and wants to become another one.
    let program = scratch.text("sterna");
    std::fs::copy(env!("CARGO_BIN_EXE_sterna"), &program).unwrap();
    write(&scratch, "open", SECRET);
    let line =
        ["--reuid=nobody", "--regid=nogroup", "--clear-groups", &program, "--json", "relay", "--stun", "0"];
    let open = ["--secret-file", &scratch.text("open"), "--user", "daemon"];
    let output = std::process::Command::new("setpriv").args(line).args(open).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() == Some(9) && said.contains("--user daemon needs root"), "{said}");
    // Who is that one already has nothing to do.
    let open = ["--secret-file", &scratch.text("open"), "--user", "nobody:nogroup", "--check"];
    let output = std::process::Command::new("setpriv").args(line).args(open).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

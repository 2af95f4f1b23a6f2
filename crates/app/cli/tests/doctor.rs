//! `sterna doctor` on this machine: what it reports, in which time, and how it ends.

mod program;

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::time::{Duration, Instant};

use program::{Program, Scratch, Server, another_time};
use serde_json::Value;

/// What the doctor reports, and its exit code.
fn examine(arguments: &[&str]) -> (Value, i32) {
    let program = Program::json(&[&["doctor"], arguments].concat());
    let report = program.event("report");
    assert_eq!(program.line(), None, "the report is all that is said");
    (report, program.end().0)
}

fn codes(report: &Value) -> Vec<&str> {
    report["verdicts"].as_array().unwrap().iter().map(|verdict| verdict["code"].as_str().unwrap()).collect()
}

#[test]
fn a_healthy_network_is_known_in_three_seconds() {
    let server = Server::with(&["--stun-alternate", "127.0.0.2"]);
    assert_eq!(server.listening["stun_alternate"], "127.0.0.2");
    let scratch = Scratch::new("doctor");
    let bundle = scratch.path("report.tar");
    let (report, exit) = examine(&["--server", &server.url, "--bundle", bundle.to_str().unwrap()]);
    assert_eq!((exit, &report["ok"], &report["can_connect"]), (0, &true.into(), &true.into()), "{report:#}");
    assert!(report["took_ms"].as_f64().unwrap() < 3000.0, "{report:#}");
    assert_eq!((&report["udp"], &report["nat"]["mapping"]), (&true.into(), &"none".into()), "{report:#}");
    assert_eq!((&report["nat"]["filtering"], &report["nat"]["hairpin"]), (&"none".into(), &Value::Null));
    assert_eq!((&report["nat"]["preserves_port"], &report["nat"]["fragments"]), (&true.into(), &true.into()));
    assert!(report["path_mtu"].as_u64().is_some_and(|mtu| mtu >= 1500), "{report:#}");
    assert!(report["clock_ahead_s"].as_i64().is_some_and(|ahead| ahead.abs() <= 2), "{report:#}");
    assert_eq!(report["discovered"], Value::Null, "nobody asked");
    assert_eq!(report["relay_echo"], Value::Null, "the server relays to no loopback address");
    let relays = report["relays"].as_array().unwrap();
    for transport in ["udp", "tcp"] {
        let works = |relay: &&Value| relay["transport"] == transport && relay["outcome"] == "allocated";
        assert!(relays.iter().any(|relay| works(&relay)), "{transport}: {report:#}");
    }
    let archive = std::fs::read(bundle).unwrap();
    assert!(archive.len().is_multiple_of(512) && archive.starts_with(b"sterna-doctor/README.txt\0"));
}

#[test]
fn what_goes_into_a_bug_report_names_nobody() {
    let scratch = Scratch::new("doctor-bundle");
    let bundle = scratch.path("report.tar");
    let asked = ["--stun", "stun.of.acme.invalid", "--turn", "turn:relay.of.acme.invalid"];
    let login = ["--turn-user", "wile-e", "--turn-password", "coyote under a rock"];
    let (report, _) = examine(&[&asked[..], &login, &["--bundle", bundle.to_str().unwrap()]].concat());
    assert!(report.to_string().contains("stun.of.acme.invalid"), "{report:#}");
    let archive = String::from_utf8(std::fs::read(bundle).unwrap()).expect("what is in it is text");
    let interfaces = report["interfaces"].as_array().unwrap();
    let outside = interfaces.iter().filter(|one| one["kind"] != "loopback");
    let told = outside.flat_map(|one| ["name", "address"].map(|key| one[key].as_str().unwrap()));
    for secret in told.chain(["acme", "wile-e", "coyote"]) {
        let whole = |word: &str| {
            archive.split(|c: char| !(c.is_alphanumeric() || "-.:".contains(c))).any(|one| one == word)
        };
        assert!(!whole(secret), "{secret}: {archive}");
    }
    assert!(!archive.contains("acme"), "{archive}");
    assert!(archive.contains("server-1") && archive.contains("interface-1"), "{archive}");
}

#[test]
fn people_get_a_screen_of_text_and_no_colours_in_a_pipe() {
    let server = Server::with(&["--stun-alternate", "127.0.0.2"]);
    let program = Program::run(&["doctor", "--server", &server.url], &[]);
    let mut text = String::new();
    while let Some(line) = program.line() {
        assert!(line.chars().count() <= 100, "{line}");
        text += &line;
        text.push('\n');
    }
    assert_eq!(program.end().0, 0, "{text}");
    for expected in ["Sterna doctor", "UDP", "mapping    none", "Relay", "Clock"] {
        assert!(text.contains(expected), "{expected:?} is not in:\n{text}");
    }
    assert!(!text.contains('\x1b'));
}

#[test]
fn an_ordinary_server_leaves_open_what_it_cannot_tell() {
    let server = Server::start();
    let (report, exit) = examine(&["--server", &server.url]);
    assert_eq!((exit, &report["udp"]), (0, &true.into()), "{report:#}");
    assert_eq!(report["nat"]["filtering"], "inconclusive");
    let doubts = report["nat"]["doubts"].as_array().unwrap();
    assert!(doubts.iter().any(|doubt| doubt["about"] == "filtering"), "{report:#}");
    assert_eq!((&report["nat"]["fragments"], &report["path_mtu"]), (&Value::Null, &Value::Null));
}

#[test]
fn a_server_that_is_not_there_ends_it_at_once() {
    let started = Instant::now();
    let (report, exit) = examine(&["--server", "http://127.0.0.1:1"]);
    assert_eq!(
        (exit, &report["udp"], &report["can_connect"]),
        (3, &Value::Null, &false.into()),
        "{report:#}"
    );
    assert!(report["server"]["error"].as_str().unwrap().contains("127.0.0.1:1"));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_captive_portal_is_seen() {
    let portal = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", portal.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in portal.incoming().map_while(Result::ok) {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let answer =
                "HTTP/1.1 302 Found\r\nLocation: http://login.cafe.example/?x\r\nContent-Length: 0\r\n\r\n";
            let _ = stream.get_mut().write_all(answer.as_bytes());
        }
    });
    let (report, exit) = examine(&["--server", &url]);
    assert_eq!((exit, &report["captive_portal"]), (3, &"login.cafe.example".into()), "{report:#}");
    assert_eq!(codes(&report), ["vpn-or-proxy"], "{report:#}");
}

#[test]
fn stun_servers_that_are_silent_are_told_as_such() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let (report, exit) = examine(&["--stun", &address]);
    assert_eq!((exit, &report["udp"]), (5, &false.into()), "{report:#}");
    assert_eq!(report["nat"]["mapping"], "inconclusive");
    assert_eq!(report["stun"][0]["outcome"], "silent");
    let found = codes(&report);
    assert!(found.iter().any(|code| ["udp-blocked", "stun-unreachable"].contains(code)), "{report:#}");
}

#[test]
fn wrong_credentials_are_found() {
    let server = Server::with(&["--stun-alternate", "127.0.0.2"]);
    let turn = server.listening["turn"][0].as_str().unwrap();
    // Of a username that expires nobody could say whether it is the password or the clock.
    let login = ["--turn-user", "alice", "--turn-password", "wrong"];
    let (report, _) = examine(&[&["--turn", turn], &login[..]].concat());
    assert!(codes(&report).contains(&"turn-credentials-wrong"), "{report:#}");
    assert_eq!(report["relays"][0]["outcome"], "refused");
    assert!(!report.to_string().contains("alice"), "credentials are in no report");
}

/// A server that is five hours ahead, as far as it knows.
#[test]
fn a_clock_that_is_wrong_is_told_and_what_was_refused_for_it() {
    let Some(variables) = another_time("+5h") else { return };
    let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    let scratch = Scratch::new("doctor-clock");
    std::fs::write(scratch.path("secret"), "known to the server and its back end").unwrap();
    let secret = scratch.text("secret");
    let arguments =
        ["--json", "serve", "--http", "0", "--stun", "0", "--stun-tls", "0", "--secret-file", &secret];
    let server = Program::run(&arguments, &variables);
    let listening = server.event("listening");
    let url = listening["http"].as_str().unwrap();

    // Its own credentials are good by its own clock: nothing is refused, but it may be some day.
    let (report, exit) = examine(&["--server", url]);
    let ahead = report["clock_ahead_s"].as_i64().unwrap();
    assert!((-18_010..=-17_990).contains(&ahead), "{report:#}");
    assert_eq!((exit, codes(&report)), (0, vec!["clock-skewed"]), "{report:#}");

    // Those of a back end whose clock is right, good for four hours, expired an hour ago by the server's.
    let made =
        Program::json(&["credentials", "--lifetime", "14400", "--secret-file", &secret]).event("credentials");
    let made = &made["iceServers"][1];
    let [user, password] = ["username", "credential"].map(|key| made[key].as_str().unwrap());
    let turn = listening["turn"][0].as_str().unwrap();
    let login = ["--turn", turn, "--turn-user", user, "--turn-password", password];
    let (report, _) = examine(&[&["--server", url], &login[..]].concat());
    let refused = |relay: &&Value| relay["outcome"] == "refused";
    assert_eq!(
        report["relays"].as_array().unwrap().iter().filter(|relay| refused(relay)).count(),
        1,
        "{report:#}"
    );
    assert!(codes(&report).contains(&"clock-skewed"), "{report:#}");
    let shown = report["verdicts"].to_string();
    assert!(shown.contains("by our clock the credentials are good for another 4 h"), "{report:#}");
    assert!(shown.contains("by the server's they expired"), "{report:#}");
}

#[test]
fn the_ports_of_the_relay_are_tried() {
    let server = Server::with(&["--allow-peer", "127.0.0.0/8"]);
    let (report, _) = examine(&["--server", &server.url]);
    let echo = &report["relay_echo"];
    assert!(echo["received"].as_u64().is_some_and(|received| received > 0), "{report:#}");
    assert!(!codes(&report).contains(&"relay-ports-closed"), "{report:#}");
}

#[test]
fn a_lifetime_is_looked_for_only_if_asked() {
    let server = Server::with(&["--stun-alternate", "127.0.0.2"]);
    let (report, exit) = examine(&["--server", &server.url, "--lifetime", "8"]);
    assert_eq!(exit, 0);
    assert_eq!(report["nat"]["lifetime"]["alive_after_s"], 8.0, "{report:#}");
    assert!(report["took_ms"].as_f64().unwrap() >= 8000.0);
}

//! A relay at work, as its operator sees it: what it counts, what it logs, and what nobody notices.

mod program;
mod station;
mod wire;

use std::net::{SocketAddr, UdpSocket};

use program::{Scratch, Server};
use station::{NEW_SECRET, Relay, SECRET, certificate, metric, new_certificate, write};
use turn::ClientEvent;
use wire::Wire;

/// A client that knows no password.
fn refused(server: SocketAddr, user: &str) {
    match Wire::new(server, (user.to_owned(), "wrong horse".to_owned())).event() {
        ClientEvent::Failed(error) => assert_eq!(error.code, Some(401)),
        other => panic!("{other:?}"),
    }
}

/// Where a relay speaks TLS.
fn tls_of(relay: &Relay) -> SocketAddr {
    let urls = relay.listening["turn"].as_array().unwrap();
    let url = urls.iter().filter_map(|url| url.as_str()).find(|url| url.starts_with("turns:")).unwrap();
    let port = url.trim_start_matches("turns:localhost:").split('?').next().unwrap();
    format!("127.0.0.1:{port}").parse().unwrap()
}

#[test]
fn handshakes_refused_logins_and_drops_are_counted() {
    let scratch = Scratch::new("operation-certificate");
    new_certificate(&scratch);
    let tls = format!("tls = \"{},{}\"\n", scratch.text("c.pem"), scratch.text("k.pem"));
    let relay = Relay::start("operation-counters", &tls);
    let count = |series: &str| metric(&relay.get("/metrics", "").1, series);
    let done = "sterna_relay_tls_handshake_seconds_count";
    let wrong = "sterna_relay_login_failures_total{cause=\"wrong_password\"}";
    let stranger = "sterna_relay_dropped_total{reason=\"no_allocation\"}";
    for series in [done, wrong, stranger] {
        assert_eq!(count(series), 0.0, "{series}");
    }
    certificate(tls_of(&relay));
    relay.until("/metrics", |(_, page)| metric(page, done) == 1.0);
    let page = relay.get("/metrics", "").1;
    let took = metric(&page, "sterna_relay_tls_handshake_seconds_sum");
    assert!(took > 0.0 && took < 20.0, "{took}");
    assert_eq!(metric(&page, "sterna_relay_tls_handshake_seconds_bucket{le=\"+Inf\"}"), 1.0);
    let (user, _) = relay.credentials();
    refused(relay.server, &user);
    assert!(count(wrong) >= 1.0);
    refused(relay.server, "nobody");
    assert!(count("sterna_relay_login_failures_total{cause=\"unknown_user\"}") >= 1.0);
    // ChannelData of somebody who has no channel, nor anything else here.
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"\x40\x00\x00\x04data", relay.server).unwrap();
    relay.until("/metrics", |(_, page)| metric(page, stranger) == 1.0);
}

/// Settings, secrets and certificates change under a session that sends all the while. Each of its datagrams is sent once.
#[test]
fn a_reload_and_a_renewed_certificate_cost_no_datagram() {
    let scratch = Scratch::new("operation-renewal");
    let mut newest = new_certificate(&scratch);
    let tls = format!("tls = \"{},{}\"\n", scratch.text("c.pem"), scratch.text("k.pem"));
    let relay = Relay::start("operation-reload", &tls);
    let shown = || certificate(tls_of(&relay));
    assert_eq!(shown(), newest);
    let mut wire = Wire::new(relay.server, relay.credentials());
    wire.allocated();
    let (mut changes, mut end) = (0, None);
    let (sent, heard) = wire.count(|number| {
        if number % 20 == 0 && end.is_none() && shown() == newest {
            changes += 1;
            newest = if changes < 4 { new_certificate(&scratch) } else { newest.clone() };
            match changes {
                // With a signal, which reads all of it again, and without.
                1 | 2 => {
                    write(&relay.scratch, "secret", &format!("{NEW_SECRET}\n{SECRET}\n"));
                    relay.program.signal("-HUP");
                }
                3 => {}
                _ => end = Some(number + 200),
            }
        }
        Some(number) != end
    });
    assert_eq!(changes, 4);
    assert_eq!(heard, (0..sent).collect::<Vec<_>>(), "each once, of {sent}");
    wire.close();
    relay.program.signal("-INT");
    let (_, log) = relay.program.end();
    assert!(log.matches("certificate read again").count() >= 3, "{log}");
    assert!(log.matches("settings read again").count() >= 2, "{log}");
}

/// Both are reached at the one port that is open, each by its own peer.
#[test]
fn two_clients_share_the_one_relay_port() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let relay = Relay::start("operation-one-port", &format!("relay-port = {port}\n"));
    let mut wires = [(); 2].map(|()| Wire::new(relay.server, relay.credentials()));
    for wire in &mut wires {
        assert_eq!(wire.allocated().port(), port);
    }
    for round in ["first", "second"] {
        for (number, wire) in wires.iter_mut().enumerate() {
            wire.echo(&format!("{round} of {number}"));
        }
    }
}

/// A core is spent, and nothing else is different.
#[test]
fn a_relay_that_keeps_looking_carries_a_session() {
    for more in ["", "relay-threads = 2\n"] {
        let relay = Relay::start("operation-busy-poll", &format!("busy-poll = true\n{more}"));
        let mut wire = Wire::new(relay.server, relay.credentials());
        wire.allocated();
        let (sent, heard) = wire.count(|number| number < 200);
        assert_eq!(heard, (0..sent).collect::<Vec<_>>(), "each once, of {sent}");
        wire.close();
        relay.until("/metrics", |(_, page)| metric(page, "sterna_relay_allocations") == 0.0);
    }
}

/// What has changed in vain is told by its key, each time; what can change has changed.
#[test]
fn a_reload_names_what_needs_a_restart() {
    let relay = Relay::start("operation-vain", "drain = 3600\nauth-url = \"http://127.0.0.1:9/\"\n");
    write(&relay.scratch, "partner", "a secret that two servers share");
    let config = std::fs::read_to_string(relay.scratch.path("relay.toml")).unwrap();
    let mut vain = vec!["busy-poll", "log-format", "max-lifetime", "probe-server", "realm", "user"];
    let changed = format!(
        "{}busy-poll = true\nlog-format = \"json\"\nmax-lifetime = 900\nuser = \"nobody\"\n\
         probe-server = \"stun.example.net\"\n",
        config.replace("host = \"localhost\"", "host = \"example.org\"").replace("3600", "1")
    );
    let mut wire = Wire::new(relay.server, relay.credentials());
    wire.allocated();
    let reload = |settings: &str, host: &str| {
        write(&relay.scratch, "relay.toml", settings);
        relay.program.signal("-HUP");
        let started = std::time::Instant::now();
        while !relay.get("/ice-servers", &relay.token()).1.contains(&format!("turn:{host}:")) {
            assert!(started.elapsed().as_secs() < 20, "the host has not changed");
        }
    };
    reload(&changed, "example.org");
    wire.echo("still there");
    // A server that stands alone has a partner now, and with it a port that both know.
    vain.extend(["stun", "stun-partner", "stun-partner-secret-file"]);
    let partner = format!(
        "stun-partner = \"127.0.0.9\"\nstun-partner-secret-file = {:?}\n",
        relay.scratch.text("partner")
    );
    let changed = changed.replace("stun = 0", "stun = 3478").replace("example.org", "example.com");
    reload(&(changed + &partner), "example.com");
    wire.echo("and now");
    relay.program.signal("-TERM");
    let (code, log) = relay.program.end();
    assert_eq!(code, 0);
    let told = |key: &str| {
        log.lines().any(|line| line.contains("needs a restart") && line.contains(&format!("\"{key}\"")))
    };
    for key in vain {
        assert!(told(key), "{key} in {log}");
    }
    assert!(!told("host") && !told("drain"), "{log}");
    // The session was there to the end.
    assert!(log.contains("the time to drain is over"), "{log}");
}

/// `serve` relays as well: what programs read has it all, and a newcomer's terminal is left in peace.
#[test]
fn serve_logs_sessions_and_refused_logins_for_programs() {
    for (more, logs) in [(&["--log-format", "json"][..], true), (&[], false)] {
        let server = Server::with(more);
        let at: SocketAddr = server.listening["stun"].as_str().unwrap()["stun:".len()..].parse().unwrap();
        refused(at, "mallory");
        server.program.signal("-INT");
        let (code, log) = server.program.end();
        assert_eq!(code, 0);
        assert_eq!(log.contains("a client was not let in") && log.contains("mallory"), logs, "{log}");
    }
}

/// What one start draws says nothing about the next one.
#[test]
fn cve_2025_69217_two_starts_draw_other_ports() {
    let draw = |name: &str| -> Vec<u16> {
        let relay = Relay::start(name, "");
        let login = relay.credentials();
        let mut wires: Vec<Wire> = (0..6).map(|_| Wire::new(relay.server, login.clone())).collect();
        wires.iter_mut().map(|wire| wire.allocated().port()).collect()
    };
    let (one, other) = (draw("draw-one"), draw("draw-other"));
    assert_ne!(one, other);
}

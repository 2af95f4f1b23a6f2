//! `sterna relay` and `sterna credentials`: the set-up of an operator, from a file of few lines to the last session.

mod program;
mod station;
mod wire;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use program::{Program, Scratch};
use serde_json::{Value, json};
use station::{
    NEW_SECRET, Relay, SECRET, TOKEN, certificate, get, metric, new_certificate, new_chain, secured,
    until_shown, write,
};
use turn::ClientEvent;
use wire::{Wire, login};

#[test]
fn a_file_of_few_lines_is_a_relay_and_its_counters_are_live() {
    let relay = Relay::start("relay-few-lines", "");
    let mut wire = Wire::new(relay.server, relay.credentials());
    wire.allocated();
    wire.echo("through the relay");
    let (status, page) = relay.get("/metrics", "");
    assert_eq!(status, 200);
    assert_eq!(metric(&page, "sterna_relay_allocations"), 1.0);
    assert!(metric(&page, "sterna_relay_bytes_total{direction=\"to_peers\"}") >= 17.0, "{page}");
    assert!(metric(&page, "sterna_relay_bytes_total{direction=\"to_clients\"}") >= 17.0, "{page}");
    assert_eq!((relay.get("/healthz", "").0, relay.get("/readyz", "").0), (200, 200));
    wire.close();
    relay.until("/metrics", |(_, page)| metric(page, "sterna_relay_allocations") == 0.0);
    relay.program.signal("-TERM");
    let (code, log) = relay.program.end();
    assert_eq!(code, 0);
    let ended = log.lines().find(|line| line.contains("relay session ended")).expect(&log);
    assert!(ended.contains("alice") && ended.contains("Deleted"), "{ended}");
}

#[test]
fn back_ends_with_the_token_get_credentials_that_work_and_others_get_none() {
    let relay = Relay::start("relay-token", "");
    for (header, expected) in [("", 401), ("Authorization: Bearer a token of another\r\n", 401)] {
        assert_eq!(relay.get("/ice-servers", header).0, expected, "{header}");
    }
    let header = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(relay.get("/ice-servers?user=a:b", &header).0, 400);
    let (status, body) = relay.get("/ice-servers?user=bob&lifetime=120", &header);
    assert_eq!(status, 200);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["lifetime"], 120);
    assert_eq!(body["iceServers"][0]["urls"], json!([format!("stun:localhost:{}", relay.server.port())]));
    let (user, password) = login(&body["iceServers"]);
    assert!(user.ends_with(":bob"));
    Wire::new(relay.server, (user, password)).allocated();
}

#[test]
fn a_secret_is_replaced_while_sessions_go_on() {
    let relay = Relay::start("relay-rotation", "");
    let old = relay.credentials();
    let mut wire = Wire::new(relay.server, old.clone());
    wire.allocated();
    // Both are good for as long as sessions of the old one may last; the new one makes credentials.
    write(&relay.scratch, "secret", &format!("{NEW_SECRET}\n{SECRET}\n"));
    relay.program.signal("-HUP");
    let new = relay.credentials();
    assert_ne!(old.1, new.1);
    let admitted = |login: &(String, String)| match Wire::new(relay.server, login.clone()).event() {
        ClientEvent::Allocated { .. } => true,
        ClientEvent::Failed(_) => false,
        other => panic!("{other:?}"),
    };
    let started = std::time::Instant::now();
    while !admitted(&new) {
        assert!(started.elapsed().as_secs() < 20, "the new secret is not taken");
    }
    assert!(admitted(&old));
    wire.echo("still there");
    // A mistake changes nothing.
    write(&relay.scratch, "secret", "short\n");
    relay.program.signal("-HUP");
    write(&relay.scratch, "relay.toml", "nonsense = 1\n");
    relay.program.signal("-HUP");
    wire.echo("and now");
    assert!(admitted(&new));
    relay.program.signal("-INT");
    let (code, log) = relay.program.end();
    assert_eq!(code, 0);
    assert!(log.contains("settings read again") && log.contains("all stays as it is"), "{log}");
    assert!(!log.contains(SECRET) && !log.contains("short"), "no secret in the log");
}

#[test]
fn sigterm_waits_for_sessions_and_sends_new_clients_elsewhere() {
    let relay = Relay::start("relay-drain", "alternate-server = \"127.0.0.9:3479\"\ndrain = 30\n");
    let login = relay.credentials();
    let mut wire = Wire::new(relay.server, login.clone());
    wire.allocated();
    relay.program.signal("-TERM");
    assert_eq!(relay.program.event("draining")["sessions"], 1);
    assert_eq!((relay.get("/readyz", "").0, relay.get("/healthz", "").0), (503, 200));
    match Wire::new(relay.server, login).event() {
        ClientEvent::Redirected { server, .. } => assert_eq!(server, "127.0.0.9:3479".parse().unwrap()),
        other => panic!("{other:?}"),
    }
    wire.echo("not in a hurry");
    wire.close();
    assert_eq!(relay.program.end().0, 0, "it ends when the last one has left");
}

#[test]
fn a_full_relay_sends_clients_elsewhere_and_hears_of_other_places() {
    let full = "max-allocations = 1\nalternate-server = [\"127.0.0.9:3479\", \"[::1]:3479\"]\n";
    let relay = Relay::start("relay-full", full);
    let login = relay.credentials();
    let mut wire = Wire::new(relay.server, login.clone());
    wire.allocated();
    let sent_to = || match Wire::new(relay.server, login.clone()).event() {
        ClientEvent::Redirected { server, .. } => server.to_string(),
        other => panic!("{other:?}"),
    };
    for _ in 0..3 {
        assert_eq!(sent_to(), "127.0.0.9:3479", "never to the other family");
    }
    let config = std::fs::read_to_string(relay.scratch.path("relay.toml")).unwrap();
    write(&relay.scratch, "relay.toml", &config.replace("127.0.0.9:3479", "127.0.0.8:99"));
    relay.program.signal("-HUP");
    let started = std::time::Instant::now();
    while sent_to() != "127.0.0.8:99" {
        assert!(started.elapsed().as_secs() < 20, "the new address is not taken");
    }
    wire.echo("who is here stays");
}

#[test]
fn a_second_signal_ends_at_once() {
    let relay = Relay::start("relay-twice", "drain = 3600\n");
    Wire::new(relay.server, relay.credentials()).allocated();
    relay.program.signal("-TERM");
    relay.program.event("draining");
    relay.program.signal("-TERM");
    let (code, log) = relay.program.end();
    assert_eq!(code, 0);
    assert!(log.lines().any(|line| line.contains("relay session ended") && line.contains("Closed")), "{log}");
}

#[test]
fn logs_are_json_if_asked_for_and_tell_which_check_failed() {
    let relay = Relay::start("relay-json-log", "log-format = \"json\"\n");
    let login = relay.credentials();
    let mut wire = Wire::new(relay.server, login.clone());
    wire.allocated();
    wire.close();
    let expired = stun::credential::SharedSecret::new(SECRET).unwrap().credentials("alice", 1);
    let wrong = |user: &str| (user.to_owned(), "wrong".to_owned());
    for login in [wrong(&login.0), expired, wrong("bob")] {
        match Wire::new(relay.server, login).event() {
            ClientEvent::Failed(error) => assert_eq!(error.code, Some(401)),
            other => panic!("{other:?}"),
        }
    }
    relay.program.signal("-INT");
    let (_, log) = relay.program.end();
    let read = |line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let lines: Vec<Value> = log.lines().map(read).collect();
    let refused = lines.iter().filter(|line| line["message"] == "a client was not let in");
    let causes: std::collections::BTreeSet<_> =
        refused.map(|line| (line["user"].as_str().unwrap(), line["cause"].as_str().unwrap())).collect();
    let expected = [("1:alice", "expired"), (&*login.0, "wrong_password"), ("bob", "unknown_user")];
    assert_eq!(causes, expected.into(), "{log}");
    assert!(!log.contains(&login.1), "no password in the log");
    let ended = lines
        .iter()
        .find(|line| line["message"] == "relay session ended")
        .expect("a line at the end of the session");
    for key in ["user", "client", "relayed", "seconds", "bytes_to_peers", "bytes_to_client", "reason"] {
        assert!(!ended[key].is_null(), "{key}: {ended}");
    }
}

#[test]
fn check_tells_what_clients_will_be_told_and_leaves_nothing_behind() {
    let scratch = Scratch::new("relay-check");
    write(&scratch, "secret", SECRET);
    let free = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let arguments = [
        "relay",
        "--check",
        "--stun",
        &free,
        "--host",
        "localhost",
        "--secret-file",
        &scratch.text("secret"),
    ];
    let checked = Program::json(&arguments);
    let event = checked.event("checked");
    assert_eq!(event["iceServers"][1]["urls"][0], format!("turn:localhost:{free}?transport=udp"));
    assert_eq!(checked.end().0, 0);
    assert!(Program::json(&arguments).event("checked")["listening"].as_array().unwrap().len() >= 2);
}

#[test]
fn a_wrong_public_address_is_found_out() {
    // A STUN server elsewhere, which sees us at another address than we say.
    let elsewhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let probe = elsewhere.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut request = [0; 1500];
        while let Ok((length, from)) = elsewhere.recv_from(&mut request) {
            let Ok(message) = stun::Message::parse(&request[..length]) else { continue };
            let mut answer = [0; 100];
            let (class, method, id) = (stun::Class::Success, stun::Method::BINDING, message.transaction_id());
            let mut writer = stun::MessageWriter::new(&mut answer, class, method, id);
            writer.xor_address(stun::kind::XOR_MAPPED_ADDRESS, "198.51.100.9:1000".parse().unwrap());
            let length = writer.finish().unwrap();
            let _ = elsewhere.send_to(&answer[..length], from);
        }
    });
    let scratch = Scratch::new("relay-public");
    write(&scratch, "secret", SECRET);
    let secret = scratch.text("secret");
    let common = ["relay", "--stun", "0", "--secret-file", &secret, "--probe-server", &probe, "--public-ip"];
    let (failed, exit) = Program::json(&[&common[..], &["198.51.100.7"]].concat()).failure();
    let message = failed["message"].as_str().unwrap();
    assert!(
        exit == 3 && message.contains("198.51.100.7 is wrong") && message.contains("198.51.100.9"),
        "{message}"
    );
    // The right one is taken, and found.
    for right in ["198.51.100.9", "auto"] {
        let checked = Program::json(&[&common[..], &[right, "--check"]].concat()).event("checked");
        assert_eq!(checked["public"], json!([{ "ip": "198.51.100.9", "proof": "seen" }]));
        assert!(checked["iceServers"][0]["urls"][0].as_str().unwrap().starts_with("stun:198.51.100.9:"));
    }
}

#[test]
fn a_new_certificate_is_taken_without_a_word() {
    let scratch = Scratch::new("relay-certificate");
    let first = new_certificate(&scratch);
    let tls = format!("{},{}", scratch.text("c.pem"), scratch.text("k.pem"));
    let server = program::Server::with(&["--tls", &tls, "--host", "localhost"]);
    let address: SocketAddr = server.url.trim_start_matches("https://").parse().unwrap();
    assert_eq!(certificate(address), first);
    let second = new_certificate(&scratch);
    server.program.signal("-HUP");
    until_shown(address, &second);
    // Without a signal as well.
    let third = new_certificate(&scratch);
    until_shown(address, &third);
}

#[test]
fn the_environment_does_as_well_as_flags() {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let environment =
        [("STERNA_SECRET", SECRET), ("STERNA_STUN", &port), ("STERNA_HOST", "turn.example.org")];
    let made = Program::run(&["--json", "credentials"], &environment).event("credentials");
    assert_eq!(made["iceServers"][0]["urls"][0], format!("stun:turn.example.org:{port}"));
    let relay = Program::run(&["--json", "relay"], &environment);
    assert_eq!(relay.event("listening")["stun"], format!("stun:turn.example.org:{port}"));
}

#[test]
fn a_user_of_the_file_is_let_in() {
    let scratch = Scratch::new("relay-users");
    let mut hash = Program::json(&["credentials", "hash", "carol"]);
    hash.say("correct horse battery\n");
    drop(hash.input.take());
    let line = hash.event("user")["line"].as_str().unwrap().to_owned();
    write(&scratch, "users", &format!("# people\n{line}\n"));
    let users = scratch.text("users");
    let relay = Program::json(&["relay", "--stun", "0", "--users-file", &users]);
    let stun = relay.event("listening")["stun"].as_str().unwrap().to_owned();
    let server = stun.trim_start_matches("stun:").parse().unwrap();
    Wire::new(server, ("carol".to_owned(), "correct horse battery".to_owned())).allocated();
    match Wire::new(server, ("carol".to_owned(), "wrong".to_owned())).event() {
        ClientEvent::Failed(error) => assert_eq!(error.code, Some(401)),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_password_that_can_be_guessed_is_not_hashed() {
    let mut hash = Program::json(&["credentials", "hash", "carol"]);
    // Seven characters, although more bytes.
    hash.say("zwölfze\n");
    hash.input.take();
    let (failed, exit) = hash.failure();
    let message = failed["message"].as_str().unwrap();
    assert_eq!((failed["code"].as_str(), exit), (Some("usage"), 2), "{message}");
    // As the server says it of a users file.
    let words = "the password is shorter than 8 characters, and could be guessed: choose a longer one";
    assert!(message.contains(words) && !message.contains("zw"), "{message}");
    let scratch = Scratch::new("relay-weak-user");
    write(&scratch, "users", "carol:zwölfze\n");
    let users = scratch.text("users");
    let (failed, _) = Program::json(&["relay", "--stun", "0", "--users-file", &users]).failure();
    assert!(failed["message"].as_str().unwrap().contains(words), "{failed}");
    let mut hash = Program::json(&["credentials", "hash", "carol"]);
    hash.say("zwölfzei\n");
    hash.input.take();
    assert!(hash.event("user")["line"].as_str().unwrap().starts_with("carol "));
}

#[test]
fn who_trusts_the_root_alone_trusts_the_server_inside_tls_and_inside_dtls() {
    let scratch = Scratch::new("relay-chain");
    new_chain(&scratch);
    let (_relay, urls) = secured(&scratch);
    let (secret, root) = (scratch.text("secret"), scratch.text("root.pem"));
    let inside = urls.iter().find(|url| url.starts_with("turns:")).unwrap();
    let place = inside.trim_start_matches("turns:").split('?').next().unwrap();
    let bare = format!("turns:{place}");
    let both = ["relay", "test", &bare, "--ca", &root, "--packets", "1", "--secret-file", &secret];
    let both = Program::json(&both);
    for transport in ["tls", "dtls"] {
        let trial = both.event("trial");
        assert_eq!((&trial["transport"], &trial["works"]), (&json!(transport), &json!(true)), "{trial}");
        let trusted = (transport == "dtls").then_some("trusted");
        assert_eq!(trial["dtls"]["certificate"].as_str(), trusted, "{trial}");
    }
    // A client that is not ours.
    for version in ["-tls1_2", "-dtls1_2"] {
        let asked =
            ["s_client", version, "-connect", place, "-CAfile", &root, "-verify_return_error", "-brief"];
        let mut openssl = Command::new("openssl");
        openssl.args(asked).args(["-verify_hostname", "localhost"]).stdin(Stdio::null());
        let Ok(output) = openssl.output() else {
            assert!(std::env::var_os("CI").is_none(), "openssl is not there");
            return eprintln!("SKIPPED: openssl is not there");
        };
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("Verification: OK"), "{version}: {said}");
    }
}

#[test]
fn a_server_is_tested_over_every_transport_and_each_step_explained() {
    let scratch = Scratch::new("relay-test");
    new_certificate(&scratch);
    let (_relay, urls) = secured(&scratch);
    let (secret, ca) = (scratch.text("secret"), scratch.text("c.pem"));
    assert_eq!(urls.len(), 3);
    let test = |url: &str, more: &[&str]| {
        let program = Program::json(&[&["relay", "test", url, "--ca", &ca, "--packets", "5"], more].concat());
        let trial = program.event("trial");
        (trial, program.end().0)
    };
    for url in &urls {
        let (trial, code) = test(url, &["--secret-file", &secret]);
        assert_eq!((&trial["works"], code), (&json!(true), 0), "{trial}");
        let steps: Vec<_> =
            trial["steps"].as_array().unwrap().iter().map(|step| step["step"].as_str().unwrap()).collect();
        assert_eq!(steps, ["connect", "allocate", "permit", "relay"], "{trial}");
        assert_eq!(trial["returned"], 5, "{trial}");
    }
    let inside = urls.iter().find(|url| url.starts_with("turns:")).unwrap();
    let dtls = inside.replace("transport=tcp", "transport=udp");
    let (trial, code) = test(&dtls, &["--secret-file", &secret]);
    assert_eq!((&trial["works"], &trial["returned"], code), (&json!(true), &json!(5), 0), "{trial}");
    assert_eq!(trial["transport"], "dtls");
    assert_eq!(trial["dtls"], json!({ "version": "DTLS 1.2", "certificate": "trusted" }), "{trial}");
    // Who does not know the authority is told so; who asks for another name is warned.
    let stranger = ["--json", "relay", "test", &dtls, "--packets", "1", "--secret-file", &secret];
    let trial = Program::run(&stranger, &[]).event("trial");
    assert_eq!(
        (&trial["works"], &trial["dtls"]["certificate"]),
        (&json!(true), &json!("unverified")),
        "{trial}"
    );
    let (trial, code) = test(&dtls.replace("localhost", "127.0.0.1"), &["--secret-file", &secret]);
    let reason = trial["failed"]["reason"].as_str().unwrap_or_default();
    assert!(code == 5 && trial["failed"]["step"] == "connect" && reason.contains("127.0.0.1"), "{trial}");
    // Every transport is tried, unless one is named.
    let bare = inside.split('?').next().unwrap();
    let both =
        Program::json(&["relay", "test", bare, "--ca", &ca, "--packets", "1", "--secret-file", &secret]);
    let tried = ["tls", "dtls"].map(|_| both.event("trial")["transport"].as_str().unwrap().to_owned());
    assert_eq!((tried, &both.event("done")["working"]), (["tls", "dtls"].map(str::to_owned), &json!(2)));
    let udp = &urls[0];
    // A wrong password, and nobody at all.
    let wrong = [("STERNA_TURN_PASSWORD", "wrong horse")];
    let trial = Program::run(&["--json", "relay", "test", udp, "--user", "alice"], &wrong).event("trial");
    assert_eq!((trial["failed"]["step"].as_str(), &trial["failed"]["code"]), (Some("allocate"), &json!(401)));
    let (trial, code) = test("turn:127.0.0.1:1?transport=tcp", &["--secret-file", &secret]);
    assert_eq!((trial["failed"]["step"].as_str(), code), (Some("connect"), 5), "{trial}");
}

#[test]
fn a_file_of_coturns_is_translated() {
    let scratch = Scratch::new("relay-import");
    write(
        &scratch,
        "turnserver.conf",
        "listening-port=3478\nuse-auth-secret\nstatic-auth-secret=b7c1e0b1b7a94bd29ab1\n",
    );
    let imported = Program::json(&["relay", "--import", &scratch.text("turnserver.conf")]).event("imported");
    let settings = imported["settings"].as_str().unwrap();
    assert!(settings.contains("stun = 3478") && settings.contains("secret = "), "{settings}");
}

/// A web service that knows one user, and counts who was asked for.
fn who_is_who() -> (SocketAddr, std::sync::Arc<std::sync::Mutex<Vec<Value>>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = std::sync::Arc::<std::sync::Mutex<Vec<Value>>>::default();
    let log = asked.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            let body = loop {
                let length = stream.read(&mut buffer).unwrap();
                request.extend_from_slice(&buffer[..length]);
                let text = String::from_utf8_lossy(&request);
                if let Some((head, body)) = text.split_once("\r\n\r\n") {
                    assert!(head.starts_with("POST /who?site=1 HTTP/1.0"), "{head}");
                    assert!(head.contains(&format!("Authorization: Bearer {TOKEN}")), "{head}");
                    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
                    if body.len() == length.parse::<usize>().unwrap() {
                        break body.to_owned();
                    }
                }
            };
            let question: Value = serde_json::from_str(&body).unwrap();
            let answer = match question["username"].as_str().unwrap() {
                "dora" => {
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"password\": \"the explorer\"}"
                }
                "down" => "HTTP/1.1 503 Service Unavailable\r\n\r\n",
                _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
            };
            log.lock().unwrap().push(question);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, asked)
}

#[test]
fn a_web_service_says_who_a_user_is() {
    let (service, asked) = who_is_who();
    let scratch = Scratch::new("relay-auth-url");
    write(&scratch, "token", TOKEN);
    let (url, token) = (format!("http://{service}/who?site=1"), scratch.text("token"));
    let common =
        ["relay", "--stun", "0", "--admin", "0", "--realm", "example.org", "--allow-peer", "127.0.0.0/8"];
    // No secret and no file of users: the service knows all.
    let relay = Program::json(&[&common[..], &["--auth-url", &url, "--auth-token-file", &token]].concat());
    let listening = relay.event("listening");
    let port = listening["stun"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let server: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let admin: SocketAddr =
        listening["admin"].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
    let login = |user: &str, password: &str| Wire::new(server, (user.to_owned(), password.to_owned()));

    let mut dora = login("dora", "the explorer");
    dora.allocated();
    dora.echo("hello");
    login("dora", "the explorer").allocated();
    {
        let asked = asked.lock().unwrap();
        assert_eq!(asked.len(), 1, "it is remembered: {asked:?}");
        assert_eq!((&asked[0]["realm"], &asked[0]["transport"]), (&json!("example.org"), &json!("udp")));
        assert!(asked[0]["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{asked:?}");
    }
    for (user, password) in [("dora", "wrong"), ("swiper", "the explorer")] {
        match login(user, password).event() {
            ClientEvent::Failed(error) => assert_eq!(error.code, Some(401)),
            other => panic!("{other:?}"),
        }
    }
    let page = get(admin, "/metrics", "").1;
    assert_eq!(metric(&page, "sterna_relay_inquiries_total{outcome=\"known\"}"), 1.0);
    assert_eq!(metric(&page, "sterna_relay_inquiries_total{outcome=\"unknown\"}"), 1.0);
}

/// A web service with the certificate of an authority of its own that knows one user, and answers wrongly for others.
fn one_that_fails(scratch: &Scratch) -> SocketAddr {
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    new_chain(scratch);
    let chain = CertificateDer::pem_file_iter(scratch.path("c.pem")).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(scratch.path("k.pem")).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider);
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = std::sync::Arc::new(config.with_single_cert(chain, key).unwrap());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream);
            // Each in a thread of its own: one of them is silent.
            std::thread::spawn(move || {
                let mut request = String::new();
                let mut buffer = [0; 4096];
                while !request.ends_with('}') {
                    let length = stream.read(&mut buffer)?;
                    request.push_str(&String::from_utf8_lossy(&buffer[..length]));
                }
                let answer = match request.split("\"username\":\"").nth(1).unwrap().split('"').next().unwrap()
                {
                    "dora" => "HTTP/1.1 200 OK\r\n\r\n{\"password\": \"the explorer\"}".to_owned(),
                    "down" => "HTTP/1.1 503 Service Unavailable\r\n\r\n".to_owned(),
                    "moved" => "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\n\r\n".to_owned(),
                    "garbage" => "\u{1}\u{2}\u{3} what?".to_owned(),
                    "huge" => format!("HTTP/1.1 200 OK\r\n\r\n{}", "[".repeat(1 << 20)),
                    _ => loop {
                        std::thread::park();
                    },
                };
                stream.write_all(answer.as_bytes())?;
                stream.conn.send_close_notify();
                stream.flush()
            });
        }
    });
    address
}

#[test]
fn a_web_service_that_fails_is_told_of_and_costs_no_session() {
    let scratch = Scratch::new("relay-auth-fails");
    let service = one_that_fails(&scratch);
    let (url, root) = (format!("https://localhost:{}/who", service.port()), scratch.text("root.pem"));
    let relay = Program::json(&[
        "relay",
        "--stun",
        "0",
        "--admin",
        "0",
        "--allow-peer",
        "127.0.0.0/8",
        "--log-format",
        "json",
        "--auth-timeout",
        "1",
        "--auth-url",
        &url,
        "--auth-ca",
        &root,
    ]);
    let listening = relay.event("listening");
    let port = listening["stun"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
    let server: SocketAddr = format!("127.0.0.1:{port}").parse().unwrap();
    let admin: SocketAddr =
        listening["admin"].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
    let mut dora = Wire::new(server, ("dora".to_owned(), "the explorer".to_owned()));
    dora.allocated();
    let counted = |series: &str| metric(&get(admin, "/metrics", "").1, series);
    for user in ["down", "moved", "garbage", "huge", "silent"] {
        let failed = || counted("sterna_relay_inquiries_total{outcome=\"failed\"}");
        let before = failed();
        let mut other = Wire::new(server, (user.to_owned(), "whatever".to_owned()));
        // He is told nothing, and goes on asking, as with a server that loses what he sends.
        other.until(|_| (failed() > before).then_some(()));
        dora.echo(user);
    }
    assert_eq!(counted("sterna_relay_allocations"), 1.0);
    assert!(counted("sterna_relay_login_failures_total{cause=\"nobody_to_ask\"}") >= 5.0);
    relay.signal("-INT");
    let (code, log) = relay.end();
    assert_eq!(code, 0);
    for words in
        ["out of order (status 503)", "elsewhere", "is no web service", "more than 32 KiB", "does not answer"]
    {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(words)).collect();
        assert!(!lines.is_empty(), "{words}: {log}");
        let line: Value = serde_json::from_str(lines[0]).expect("one line");
        assert!(line.to_string().contains("--auth-url: "), "{line}");
    }
}

/// What can be found out without a socket is found out before there is one: not even the page's port is open for a moment.
#[test]
fn a_mistake_ends_the_program_before_anything_listens() {
    let scratch = Scratch::new("relay-nothing-listens");
    write(&scratch, "weak", "changeme");
    // The port is taken: whoever tried to listen would say so, and not what is wrong with the secret.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let held = std::net::TcpListener::bind(format!("127.0.0.1:{taken}")).unwrap();
    let weak = scratch.text("weak");
    for command in [&["serve", "--http", &taken, "--stun", "0"][..], &["relay", "--stun", &taken]] {
        let (failed, exit) = Program::json(&[command, &["--secret-file", &weak]].concat()).failure();
        assert!(exit == 2 && failed["message"].as_str().unwrap().contains("weak"), "{failed}");
    }
    // The operator's port is looked at before others listen, too.
    write(&scratch, "secret", SECRET);
    let secret = scratch.text("secret");
    let operators = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = operators.local_addr().unwrap().to_string();
    for command in [&["serve", "--http", &taken, "--stun", "0"][..], &["relay", "--stun", &taken]] {
        let more = ["--secret-file", &*secret, "--admin", &admin];
        let (failed, exit) = Program::json(&[command, &more].concat()).failure();
        assert!(exit == 3 && failed["message"].as_str().unwrap().contains("--admin"), "{failed}");
    }
    drop((held, operators));
}

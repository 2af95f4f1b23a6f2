//! Whatever goes wrong: one clear line that says what to do, and an exit code of its own.

mod program;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};

use program::{Program, Scratch, Server, another_time};

fn fails(arguments: &[&str], code: &str, exit: i32, words: &[&str]) {
    let (failed, ended) = Program::json(arguments).failure();
    let message = failed["message"].as_str().unwrap();
    assert_eq!((failed["code"].as_str(), ended), (Some(code), exit), "{arguments:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{arguments:?}: {message:?} does not say {word:?}");
    }
    assert!(!message.trim().contains('\n'), "one line: {message:?}");
}

const SECRET: &str = "b7c1e0b1b7a94bd29ab1";

/// `sterna relay` with a good secret and a free port, unless others are named.
fn relay_fails(scratch: &Scratch, arguments: &[&str], code: &str, exit: i32, words: &[&str]) {
    write(scratch, "good-secret", SECRET);
    let secret = scratch.text("good-secret");
    let mut line = vec!["relay"];
    for usual in [["--stun", "0"], ["--secret-file", &secret]] {
        if !arguments.contains(&usual[0]) {
            line.extend(usual);
        }
    }
    fails(&[&line, arguments].concat(), code, exit, words);
}

fn write(scratch: &Scratch, name: &str, text: &str) -> String {
    std::fs::write(scratch.path(name), text).unwrap();
    scratch.text(name)
}

#[test]
fn a_relays_port_that_is_taken() {
    let scratch = Scratch::new("relay-port");
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    relay_fails(&scratch, &["--stun", &port], "server", 3, &[&port, "in use"]);
    relay_fails(&scratch, &["--relay-port", &port], "server", 3, &["cannot relay", &port, "--relay-port"]);
    relay_fails(&scratch, &["--relay-port", &port, "--check"], "server", 3, &["cannot relay", &port]);
    let operators = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = operators.local_addr().unwrap().to_string();
    relay_fails(&scratch, &["--admin", &admin], "server", 3, &["--admin", "in use"]);
}

#[test]
fn a_relays_key_that_cannot_be_read() {
    let scratch = Scratch::new("relay-key");
    let [ours, others] =
        [(), ()].map(|()| rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap());
    let certificate = write(&scratch, "c.pem", &ours.cert.pem());
    let key = write(&scratch, "k.pem", &ours.signing_key.serialize_pem());
    let other = write(&scratch, "other.pem", &others.signing_key.serialize_pem());
    let rubbish = write(&scratch, "rubbish.pem", "rubbish");
    let noise = scratch.noise("noise.pem", 3000);
    let (missing, folder) = (scratch.text("nowhere"), scratch.text("folder"));
    std::fs::create_dir(&folder).unwrap();
    for (bad, words) in [
        (&missing, ["nowhere", "does not exist"]),
        (&folder, ["folder", "cannot read the key"]),
        (&rubbish, ["rubbish.pem", "no private key in PEM"]),
        (&noise, ["noise.pem", "no private key in PEM"]),
        (&other, ["c.pem", "other.pem"]),
    ] {
        relay_fails(&scratch, &["--tls", &format!("{certificate},{bad}")], "file", 7, &words);
    }
    for (bad, words) in
        [(&missing, ["certificate", "nowhere"]), (&rubbish, ["rubbish.pem", "no certificate"])]
    {
        relay_fails(&scratch, &["--tls", &format!("{bad},{key}")], "file", 7, &words);
    }
    // Root may read everything.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o000)).unwrap();
        if std::fs::read(&key).is_err() {
            let tls = format!("{certificate},{key}");
            relay_fails(&scratch, &["--tls", &tls], "file", 7, &["k.pem", "permission denied"]);
        }
    }
}

#[test]
fn an_address_that_is_not_on_this_machine() {
    let scratch = Scratch::new("relay-address");
    let words = ["192.0.2.1", "not an address of this machine"];
    relay_fails(&scratch, &["--listen", "192.0.2.1"], "server", 3, &words);
}

#[test]
fn a_relay_without_a_secret() {
    let scratch = Scratch::new("relay-secret");
    fails(&["relay", "--stun", "0"], "usage", 2, &["neither a secret nor users", "--secret-file"]);
    let weak = write(&scratch, "weak", "changeme");
    relay_fails(&scratch, &["--secret-file", &weak], "usage", 2, &["weak", "openssl rand"]);
    let empty = write(&scratch, "empty", "# nothing yet\n");
    relay_fails(&scratch, &["--secret-file", &empty], "file", 7, &["holds no secret"]);
    let missing = scratch.text("nowhere");
    relay_fails(&scratch, &["--secret-file", &missing], "file", 7, &["nowhere", "does not exist"]);
}

#[test]
fn a_file_of_secrets_users_or_keys_that_is_noise() {
    let scratch = Scratch::new("relay-noise");
    let noise = scratch.noise("noise", 3000);
    relay_fails(&scratch, &["--secret-file", &noise], "file", 7, &["secret file", "noise"]);
    relay_fails(&scratch, &["--users-file", &noise], "file", 7, &["users file", "noise"]);
    let keys = ["--access-token-keys-file", &noise, "--access-token-name", "t"];
    relay_fails(&scratch, &keys, "file", 7, &["keys file", "noise"]);
    let rubbish = write(&scratch, "rubbish", "rubbish");
    let keys = ["--access-token-keys-file", &rubbish, "--access-token-name", "t"];
    relay_fails(&scratch, &keys, "file", 7, &["32 bytes"]);
    let unseen = write(&scratch, "users", "al\u{200b}ice:correct horse battery\n");
    relay_fails(&scratch, &["--users-file", &unseen], "usage", 2, &["al\\u{200b}ice"]);
}

#[test]
fn a_range_of_relay_ports_that_is_too_small() {
    let scratch = Scratch::new("relay-range");
    relay_fails(&scratch, &["--relay-ports", "50000-50003"], "usage", 2, &["too small"]);
    relay_fails(&scratch, &["--relay-ports", "50003-50000"], "usage", 2, &["50003-50000"]);
}

#[test]
fn a_clock_that_is_wrong() {
    let scratch = Scratch::new("relay-clock");
    let secret = write(&scratch, "secret", SECRET);
    // It stands before this program was written.
    let Some(variables) = another_time("-30y") else { return };
    let variables: Vec<_> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    let arguments = ["--json", "relay", "--stun", "0", "--secret-file", &secret];
    let (failed, exit) = Program::run(&arguments, &variables).failure();
    let message = failed["message"].as_str().unwrap();
    assert_eq!((failed["code"].as_str(), exit), (Some("machine"), 9), "{message}");
    assert!(message.contains("clock is wrong") && !message.trim().contains('\n'), "{message}");
}

#[test]
fn a_relays_settings_that_mean_nothing() {
    let scratch = Scratch::new("relay-settings");
    let typo = write(&scratch, "typo.toml", "relay_ports = \"50000-60000\"\n");
    let missing = scratch.text("nowhere");
    for (arguments, code, exit, words) in [
        (["--auth-url", "ftp://example.org"], "usage", 2, &["--auth-url", "ftp://example.org"][..]),
        (["--deny-peer", "10.0.0.0/33"], "usage", 2, &["10.0.0.0/33", "10.0.0.0/8"]),
        (["--config", &typo], "usage", 2, &["typo.toml", "`relay-ports`"]),
        (["--config", &missing], "file", 7, &["nowhere"]),
        (["--realm", "a\"b"], "usage", 2, &["realm"]),
        (["--realm", "a\u{200b}b"], "usage", 2, &["realm", "invisible"]),
    ] {
        relay_fails(&scratch, &arguments, code, exit, words);
    }
    let ca = ["--auth-url", "https://localhost/", "--auth-ca", &missing];
    relay_fails(&scratch, &ca, "file", 7, &["nowhere"]);
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

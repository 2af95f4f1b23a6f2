//! Certificates made by a certificate authority: Pebble, Let's Encrypt's own server for tests, which connects to the relay
//! to see whose the name is.

mod program;
mod station;
mod wire;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use program::{Program, Scratch};
use serde_json::{Value, json};
use station::{SECRET, certificate, get, metric, write};

const FAILED: &str = "sterna_certificate_renewals_total{outcome=\"failed\"}";
const MADE: &str = "sterna_certificate_renewals_total{outcome=\"succeeded\"}";

/// A port that is free at this moment, for UDP, too.
fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until there is what is waited for.
fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(done) = done() {
            return done;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{what} does not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The authority's settings; it need not run.
struct Authority {
    scratch: Scratch,
    port: u16,
    /// Where it tells its root.
    management: u16,
}

struct Pebble(Child);

impl Drop for Pebble {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Authority {
    /// One that looks at `tls` whose a name is, and makes certificates for so many seconds. `None`: it is not installed.
    fn new(name: &str, tls: u16, seconds: u64) -> Option<Self> {
        if !std::path::Path::new("/usr/bin/pebble").exists() {
            let missing = "pebble is not there; install it with `apt-get install pebble`";
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            eprintln!("SKIPPED: {missing}");
            return None;
        }
        let authority = Self { scratch: Scratch::new(name), port: free_port(), management: free_port() };
        station::new_certificate(&authority.scratch);
        let settings = json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", authority.port),
            "managementListenAddress": format!("127.0.0.1:{}", authority.management),
            "certificate": authority.scratch.text("c.pem"), "privateKey": authority.scratch.text("k.pem"),
            "httpPort": 1, "tlsPort": tls, "ocspResponderURL": "", "externalAccountBindingRequired": false,
            "certificateValidityPeriod": seconds,
        }});
        write(&authority.scratch, "pebble.json", &settings.to_string());
        Some(authority)
    }

    fn start(&self) -> Pebble {
        let log = std::fs::File::create(self.scratch.path("log")).unwrap();
        let mut command = Command::new("/usr/bin/pebble");
        command.args(["-strict", "-config", &self.scratch.text("pebble.json")]);
        // It looks at once, and each time anew.
        command.envs([
            ("PEBBLE_VA_NOSLEEP", "1"),
            ("PEBBLE_AUTHZREUSE", "0"),
            ("PEBBLE_WFE_NONCEREJECT", "0"),
        ]);
        let log_too = log.try_clone().unwrap();
        let pebble = Pebble(command.stdin(Stdio::null()).stdout(log).stderr(log_too).spawn().unwrap());
        for port in [self.port, self.management] {
            until("Pebble", || TcpStream::connect(("127.0.0.1", port)).ok());
        }
        pebble
    }

    /// Its root, as a file.
    fn root(&self) -> String {
        use rustls::pki_types::pem::PemObject as _;
        let trusted = rustls::pki_types::CertificateDer::from_pem_file(self.scratch.path("c.pem")).unwrap();
        let options = signal::ConnectOptions { extra_certificates: vec![trusted], ..Default::default() };
        let url = format!("https://localhost:{}/roots/0", self.management);
        let request = axum::http::Request::get(url).body(axum::body::Body::empty()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let root = runtime.block_on(signal::WebClient::new(options).send(request)).unwrap();
        std::fs::write(self.scratch.path("root.pem"), root.body()).unwrap();
        self.scratch.text("root.pem")
    }

    /// A relay that has its certificate made here.
    fn relay(&self, tls: u16) -> (Program, SocketAddr) {
        write(&self.scratch, "secret", SECRET);
        let directory = format!("https://localhost:{}/dir", self.port);
        let [tls, secret, state, ca] = [
            tls.to_string(),
            self.scratch.text("secret"),
            self.scratch.text("state"),
            self.scratch.text("c.pem"),
        ];
        let relay = Program::json(&[
            "relay",
            "--stun",
            "0",
            "--stun-tls",
            &tls,
            "--admin",
            "0",
            "--secret-file",
            &secret,
            "--allow-peer",
            "127.0.0.0/8",
            "--acme-domain",
            "localhost",
            "--acme-accept-terms",
            "--acme-state",
            &state,
            "--acme-directory",
            &directory,
            "--acme-ca",
            &ca,
            "--acme-email",
            "admin@example.org",
        ]);
        let listening: Value = relay.event("listening");
        let turn = listening["turn"].to_string();
        assert!(turn.contains(&format!("turns:localhost:{tls}?transport=tcp")), "the name is told: {turn}");
        let admin = listening["admin"].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
        (relay, admin)
    }
}

fn count(admin: SocketAddr, series: &str) -> f64 {
    metric(&get(admin, "/metrics", "").1, series)
}

#[test]
fn a_certificate_is_made_and_renewed_under_a_session_and_stays_when_the_authority_is_gone() {
    let tls = free_port();
    let Some(authority) = Authority::new("acme-life", tls, 12) else { return };
    let (relay, admin) = authority.relay(tls);
    let at = SocketAddr::from(([127, 0, 0, 1], tls));
    // Nobody is there yet: the relay serves, with a certificate of its own.
    until("the failure", || (count(admin, FAILED) >= 1.0).then_some(()));
    let own = certificate(at);
    assert_eq!(count(admin, MADE), 0.0);
    let pebble = authority.start();
    relay.signal("-HUP");
    until("the certificate", || (count(admin, MADE) >= 1.0).then_some(()));
    let first = until("the certificate in use", || Some(certificate(at)).filter(|shown| *shown != own));
    let lifetime = crypto::validity(&first).map(|(from, until)| until - from);
    assert!(lifetime.is_some_and(|seconds| (11..=12).contains(&seconds)), "{lifetime:?}");

    // Twelve seconds of packets inside TLS, by a client that trusts this authority alone; meanwhile the certificate is due.
    let (url, root) = (format!("turns:localhost:{tls}?transport=tcp"), authority.root());
    let secret = authority.scratch.text("secret");
    let test = ["relay", "test", &url, "--ca", &root, "--secret-file", &secret, "--packets", "1200"];
    let trial = Program::json(&test).event("trial");
    assert_eq!((&trial["works"], &trial["returned"]), (&json!(true), &json!(1200)), "{trial}");
    assert!(count(admin, MADE) >= 2.0, "it was renewed under the session");
    until("the renewed certificate in use", || (certificate(at) != first).then_some(()));

    // Keys are nobody else's, and the account is the same as at first.
    use std::os::unix::fs::PermissionsExt as _;
    let mut names = Vec::new();
    for file in std::fs::read_dir(authority.scratch.path("state")).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    assert!(names.len() == 2 && names[0].starts_with("account-") && names[1] == "localhost.pem", "{names:?}");

    // Without the authority the present one stays, be it out of date.
    drop(pebble);
    let before = count(admin, FAILED);
    until("another failure", || (count(admin, FAILED) > before).then_some(()));
    let last = certificate(at);
    assert!(last != own && last != first);
    relay.signal("-INT");
    let (code, log) = relay.end();
    assert_eq!(code, 0, "{log}");
    for words in ["certificate made", "no new certificate: the present one stays", "certificate read again"] {
        assert!(log.contains(words), "{words:?} is not in {log}");
    }
    assert!(!log.contains("the new certificate is no good"), "{log}");

    // Another run begins with what the last one has left.
    let (_relay, _) = authority.relay(tls);
    assert_eq!(certificate(at), last);
}

#[test]
fn what_the_authority_could_not_see_is_told() {
    let tls = free_port();
    // It looks where nobody is.
    let Some(authority) = Authority::new("acme-blind", free_port(), 3600) else { return };
    let _pebble = authority.start();
    let (relay, admin) = authority.relay(tls);
    until("the failure", || (count(admin, FAILED) >= 1.0).then_some(()));
    let before = certificate(([127, 0, 0, 1], tls).into());
    relay.signal("-HUP");
    until("another failure", || (count(admin, FAILED) >= 2.0).then_some(()));
    assert_eq!(certificate(([127, 0, 0, 1], tls).into()), before);
    relay.signal("-INT");
    let (_, log) = relay.end();
    for words in ["the authority could not see that localhost is this server", "port 443", "again_in_seconds"]
    {
        assert!(log.contains(words), "{words:?} is not in {log}");
    }
}

//! A relay of the real program, on free ports of this machine, and what is asked of it.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use self::chain::Chain;
use crate::program::{Program, Scratch};
use crate::wire::login;

mod chain;

pub(crate) const SECRET: &str = "b7c1e0b1b7a94bd29ab1";
pub(crate) const NEW_SECRET: &str = "9f0c5a4e9fd94fe1a9c0";
pub(crate) const TOKEN: &str = "a token of this test alone";

/// A relay on free ports of this machine.
pub(crate) struct Relay {
    pub(crate) program: Program,
    pub(crate) scratch: Scratch,
    pub(crate) server: SocketAddr,
    pub(crate) admin: Option<SocketAddr>,
    /// What it said when it listened.
    pub(crate) listening: Value,
}

impl Relay {
    pub(crate) fn start(name: &str, more: &str) -> Self {
        let scratch = Scratch::new(name);
        write(&scratch, "secret", SECRET);
        write(&scratch, "token", TOKEN);
        let config = format!(
            "stun = 0\nstun-tls = 0\nallow-peer = \"127.0.0.0/8\"\nhost = \"localhost\"\nadmin = 0\n\
             secret-file = {:?}\ntoken-file = {:?}\n{more}",
            scratch.text("secret"),
            scratch.text("token"),
        );
        write(&scratch, "relay.toml", &config);
        let program = Program::json(&["relay", "--config", &scratch.text("relay.toml")]);
        let listening = program.event("listening");
        let port = listening["stun"].as_str().unwrap().rsplit(':').next().unwrap().to_owned();
        let admin = listening["admin"].as_str().map(|url| url.trim_start_matches("http://").parse().unwrap());
        let server = format!("127.0.0.1:{port}").parse().unwrap();
        Self { program, scratch, server, admin, listening }
    }

    /// Username and password, made by the command.
    pub(crate) fn credentials(&self) -> (String, String) {
        let config = self.scratch.text("relay.toml");
        login(
            &Program::json(&["credentials", "--user", "alice", "--config", &config]).event("credentials")["iceServers"],
        )
    }

    /// The header that `/ice-servers` asks for.
    pub(crate) fn token(&self) -> String {
        format!("Authorization: Bearer {TOKEN}\r\n")
    }

    pub(crate) fn get(&self, path: &str, header: &str) -> (u16, String) {
        get(self.admin.unwrap(), path, header)
    }

    /// Waits until a page says so.
    pub(crate) fn until(&self, path: &str, mut done: impl FnMut(&(u16, String)) -> bool) -> (u16, String) {
        let started = std::time::Instant::now();
        loop {
            let page = self.get(path, "");
            if done(&page) {
                return page;
            }
            assert!(started.elapsed().as_secs() < 20, "{page:?}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

pub(crate) fn write(scratch: &Scratch, name: &str, text: &str) {
    std::fs::write(scratch.path(name), text).unwrap();
}

pub(crate) fn get(server: SocketAddr, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(server).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n{header}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// The value of a series.
pub(crate) fn metric(page: &str, series: &str) -> f64 {
    let line = page.lines().find(|line| line.rsplit_once(' ').is_some_and(|(name, _)| name == series));
    line.unwrap_or_else(|| panic!("no {series} in {page}")).rsplit(' ').next().unwrap().parse().unwrap()
}

/// Makes a certificate for `localhost` and its key, as `c.pem` and `k.pem`: the certificate in DER.
pub(crate) fn new_certificate(scratch: &Scratch) -> Vec<u8> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write(scratch, "k.pem", &made.signing_key.serialize_pem());
    write(scratch, "c.pem", &made.cert.pem());
    made.cert.der().to_vec()
}

/// Makes a [`Chain`]: the root as `root.pem`, the certificate and the authority above it as `c.pem`, its key as `k.pem`.
pub(crate) fn new_chain(scratch: &Scratch) {
    let made = Chain::new();
    write(scratch, "root.pem", &made.root.pem());
    write(scratch, "c.pem", &(made.leaf.pem() + &made.middle.pem()));
    write(scratch, "k.pem", &made.key.serialize_pem());
}

/// A relay for `localhost` inside TLS and DTLS, with the certificate and the secret of this folder, and its URLs.
pub(crate) fn secured(scratch: &Scratch) -> (Program, Vec<String>) {
    write(scratch, "secret", SECRET);
    let tls = format!("{},{}", scratch.text("c.pem"), scratch.text("k.pem"));
    let secret = scratch.text("secret");
    let relay = Program::json(&[
        "relay",
        "--stun",
        "0",
        "--stun-tls",
        "0",
        "--host",
        "localhost",
        "--secret-file",
        &secret,
        "--tls",
        &tls,
        "--allow-peer",
        "127.0.0.1",
    ]);
    let listening = relay.event("listening");
    let urls =
        listening["turn"].as_array().unwrap().iter().map(|url| url.as_str().unwrap().to_owned()).collect();
    (relay, urls)
}

/// Waits until a server shows this certificate.
pub(crate) fn until_shown(server: SocketAddr, expected: &[u8]) {
    let started = std::time::Instant::now();
    while certificate(server) != expected {
        assert!(started.elapsed().as_secs() < 20, "the new certificate is not taken");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

/// What a server shows.
pub(crate) fn certificate(server: SocketAddr) -> Vec<u8> {
    #[derive(Debug)]
    struct Anything;
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    impl ServerCertVerifier for Anything {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, rustls::Error> {
            Ok(ServerCertVerified::assertion())
        }
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            Ok(HandshakeSignatureValid::assertion())
        }
        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    }
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(std::sync::Arc::new(Anything))
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(server).unwrap();
    while connection.is_handshaking() {
        connection.complete_io(&mut stream).unwrap();
    }
    connection.peer_certificates().unwrap()[0].to_vec()
}

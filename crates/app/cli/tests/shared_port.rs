//! Page, signalling and TURN on one port: what a connection is, ALPN tells, or the first byte.

mod program;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use program::{Program, Scratch, Server};
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::json;
use stun::{Class, Message, MessageWriter, Method, TransactionId};

const SECRET: &str = "b7c1e0b1b7a94bd29ab1";
const PATIENCE: Duration = Duration::from_secs(20);

/// A certificate for `localhost` in files, and in DER.
fn certificate(scratch: &Scratch) -> (String, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(scratch.path("k.pem"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(scratch.path("c.pem"), made.cert.pem()).unwrap();
    (format!("{},{}", scratch.text("c.pem"), scratch.text("k.pem")), made.cert.der().clone())
}

fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A connection inside TLS that offers `protocols`.
fn tls(
    port: u16,
    root: &CertificateDer<'static>,
    protocols: &[&str],
) -> Result<rustls::StreamOwned<rustls::ClientConnection, TcpStream>, std::io::Error> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = tcp(port);
    while connection.is_handshaking() {
        connection.complete_io(&mut stream)?;
    }
    let agreed = connection.alpn_protocol().map(<[u8]>::to_vec);
    assert_eq!(
        agreed.as_deref(),
        protocols.last().map(|name| name.as_bytes()),
        "the one that the server speaks"
    );
    Ok(rustls::StreamOwned::new(connection, stream))
}

fn speaks_http(mut stream: impl Read + Write) {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with("HTTP/1.1 200") && text.contains("<html"), "{text:.200}");
}

fn speaks_stun(mut stream: impl Read + Write) {
    let mut request = [0; 64];
    let id = TransactionId([9; 12]);
    let length = MessageWriter::new(&mut request, Class::Request, Method::BINDING, id).finish().unwrap();
    // In two pieces: the first byte alone tells what it is.
    stream.write_all(&request[..1]).unwrap();
    stream.flush().unwrap();
    stream.write_all(&request[1..length]).unwrap();
    stream.flush().unwrap();
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).unwrap();
    let mut rest = vec![0; u16::from_be_bytes([answer[2], answer[3]]).into()];
    stream.read_exact(&mut rest).unwrap();
    let whole = [&answer[..], &rest].concat();
    let message = Message::parse(&whole).unwrap();
    assert_eq!((message.transaction_id(), message.class()), (id, Class::Success));
    assert!(message.xor_mapped_address().is_some());
}

fn port(server: &Server) -> u16 {
    server.url.rsplit(':').next().unwrap().parse().unwrap()
}

#[test]
fn https_and_turn_share_the_pages_port() {
    let scratch = Scratch::new("shared-tls");
    let (files, root) = certificate(&scratch);
    std::fs::write(scratch.path("secret"), SECRET).unwrap();
    let secret = scratch.text("secret");
    let allow = ["--allow-peer", "127.0.0.1", "--secret-file", &secret];
    let server = Server::with(&[&["--tls", &files, "--host", "localhost"], &allow[..]].concat());
    let port = port(&server);
    speaks_http(tls(port, &root, &["http/1.1"]).unwrap());
    speaks_http(tls(port, &root, &["h2", "http/1.1"]).unwrap());
    speaks_stun(tls(port, &root, &["stun.turn"]).unwrap());
    speaks_stun(tls(port, &root, &["stun.nat-discovery"]).unwrap());
    // Who offers nothing is known by what he says.
    speaks_http(tls(port, &root, &[]).unwrap());
    speaks_stun(tls(port, &root, &[]).unwrap());
    assert!(tls(port, &root, &["smtp"]).is_err(), "nobody speaks that here");

    // Clients are told, and it is a whole TURN server.
    let url = format!("turns:localhost:{port}?transport=tcp");
    let told = server.listening["turn"].as_array().unwrap();
    assert!(told.contains(&json!(url)), "{told:?}");
    let ca = scratch.text("c.pem");
    let test = ["relay", "test", &url, "--packets", "5", "--ca", &ca, "--secret-file", &secret];
    assert_eq!(Program::json(&test).event("trial")["works"], true);
}

#[test]
fn http_and_turn_share_a_port_without_tls_too() {
    let server = Server::start();
    let port = port(&server);
    speaks_http(tcp(port));
    speaks_stun(tcp(port));
}

/// One port for all: the page's listener is that of TURN over TLS, and DTLS has its UDP.
#[test]
fn the_ports_of_the_page_and_of_tls_may_be_the_same() {
    let scratch = Scratch::new("shared-443");
    let (files, root) = certificate(&scratch);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let more = ["--http", &free, "--stun-tls", &free, "--stun", "0", "--tls", &files, "--host", "localhost"];
    let program = Program::json(&[&["serve"], &more[..]].concat());
    let listening = program.event("listening");
    let port = free.parse().unwrap();
    speaks_http(tls(port, &root, &["http/1.1"]).unwrap());
    speaks_stun(tls(port, &root, &["stun.turn"]).unwrap());
    let turns = listening["turn"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|url| url.as_str().unwrap().starts_with("turns:"));
    assert_eq!(turns.count(), 1, "told once: {listening}");
    assert_eq!(listening["dtls"], format!("turns:localhost:{free}?transport=udp"));
}

/// Connects from another host so often that it has more connections than its share, and says nothing. Those that are not
/// turned away.
fn silent_crowd(port: u16) -> Vec<TcpStream> {
    let crowd = (0..300).map(|_| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 9], 0)).into()).unwrap();
        socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
        TcpStream::from(socket)
    });
    let mut crowd: Vec<TcpStream> = crowd.collect();
    // The last ones are turned away when those before them have had their places.
    assert!(is_closed(crowd.last_mut().unwrap(), PATIENCE));
    crowd.retain_mut(|stream| !is_closed(stream, Duration::from_millis(1)));
    crowd
}

fn is_closed(stream: &mut TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).unwrap();
    match stream.read(&mut [0]) {
        Ok(length) => length == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

/// Half of the patience that the server has with those who say nothing.
const AT_ONCE: Duration = Duration::from_secs(5);

#[test]
fn one_host_full_of_silent_connections_keeps_nobody_out_of_the_pages_port() {
    let scratch = Scratch::new("silent-tls");
    let (files, root) = certificate(&scratch);
    let server = Server::with(&["--tls", &files, "--host", "localhost", "--admin", "0"]);
    let port = port(&server);
    let crowd = silent_crowd(port);
    assert!(crowd.len() <= 100, "{} shake hands at a time", crowd.len());
    let begun = Instant::now();
    speaks_http(tls(port, &root, &["http/1.1"]).unwrap());
    speaks_stun(tls(port, &root, &["stun.turn"]).unwrap());
    speaks_stun(tls(port, &root, &[]).unwrap());
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    drop(crowd);
    // What the page's port does counts as what other ports do.
    let admin = server.listening["admin"].as_str().unwrap().trim_start_matches("http://").parse().unwrap();
    let mut page = TcpStream::connect::<SocketAddr>(admin).unwrap();
    page.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    page.read_to_string(&mut metrics).unwrap();
    assert!(metrics.contains("\nsterna_relay_tls_handshake_seconds_count 3\n"), "{metrics}");
}

#[test]
fn one_host_full_of_silent_connections_keeps_nobody_out_of_a_plain_port_either() {
    let server = Server::start();
    let crowd = silent_crowd(port(&server));
    assert!(crowd.len() <= 200, "{} connections", crowd.len());
    let begun = Instant::now();
    speaks_http(tcp(port(&server)));
    speaks_stun(tcp(port(&server)));
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
}

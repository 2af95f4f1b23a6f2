//! What the tests share: a lab or a visible skip, and sockets on its hosts.
#![allow(dead_code)]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use sterna_kernel::{Host, Lab};

/// A lab, or `None` and a word on standard error where it cannot be built. In CI that is a failure.
pub(crate) fn lab() -> Option<Lab> {
    match Lab::new() {
        Ok(lab) => Some(lab),
        Err(error) if error.is_lacking() && std::env::var_os("CI").is_none() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Sockets on a host of the lab.
pub(crate) struct Agent {
    host: Host,
    udp: HashMap<u16, UdpSocket>,
    streams: HashMap<u16, TcpListener>,
}

/// How long a stream may take to connect.
const PATIENCE: Duration = Duration::from_secs(2);

impl Agent {
    pub(crate) fn new(host: &Host) -> Self {
        Self { host: host.clone(), udp: HashMap::new(), streams: HashMap::new() }
    }

    pub(crate) fn bind(&mut self, port: u16) -> &UdpSocket {
        let open = || self.host.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))).unwrap().unwrap();
        self.udp.entry(port).or_insert_with(open)
    }

    /// Sends a word from a port. A host whose router tells it that this is hopeless may fail to.
    pub(crate) fn send(&mut self, port: u16, to: SocketAddr, word: &str) {
        let _ = self.bind(port).send_to(word.as_bytes(), to);
    }

    /// Sends a word from a given address and port.
    pub(crate) fn send_from(&mut self, from: SocketAddr, to: SocketAddr, word: &str) {
        let socket = self.host.enter(|| UdpSocket::bind(from)).unwrap().unwrap();
        socket.send_to(word.as_bytes(), to).unwrap();
    }

    /// The next word that comes to a port within `ms`, and from where.
    pub(crate) fn receive(&mut self, port: u16, ms: u64) -> Option<(SocketAddr, String)> {
        let socket = self.bind(port);
        socket.set_read_timeout(Some(Duration::from_millis(ms))).unwrap();
        let mut buffer = [0; 70_000];
        let (length, from) = socket.recv_from(&mut buffer).ok()?;
        Some((from, String::from_utf8_lossy(&buffer[..length]).into_owned()))
    }

    pub(crate) fn listen(&mut self, port: u16) {
        let open = self.host.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
        self.streams.insert(port, open.unwrap().unwrap());
    }

    pub(crate) fn connect(&mut self, to: SocketAddr) -> Option<TcpStream> {
        self.host.enter(|| TcpStream::connect_timeout(&to, PATIENCE).ok()).unwrap()
    }

    /// Who connected to a port. Waits for ever if nobody does.
    pub(crate) fn accept(&mut self, port: u16) -> (TcpStream, SocketAddr) {
        self.streams[&port].accept().unwrap()
    }
}

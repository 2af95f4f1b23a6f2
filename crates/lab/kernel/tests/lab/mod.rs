//! What the tests share: a lab or a visible skip, and sockets on its hosts.
#![allow(dead_code)]

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use sterna_kernel::{Host, Lab, Preset};

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

#[track_caller]
pub(crate) fn run(host: &Host, line: &str) {
    let mut words = line.split_whitespace();
    let output = host.command(words.next().unwrap()).args(words).output().expect("it runs");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What the system calls the namespace of a host.
pub(crate) fn namespace(host: &Host) -> String {
    let output = host.command("ip").args(["netns", "identify"]).output().expect("ip runs");
    String::from_utf8(output.stdout).expect("names are ASCII").trim().to_owned()
}

/// A host is out of the reach of one network, and in that of another. Its address there.
pub(crate) fn change_uplink(lab: &mut Lab, host: &Host) -> Ipv4Addr {
    let mobile = lab.add_site("mobile", Preset::PortRestricted).unwrap();
    let router = lab.router(&mobile);
    run(&router, &format!("ip link add phone type veth peer name wwan0 netns {}", namespace(host)));
    run(&router, "ip link set phone master lan up");
    run(host, "ip addr flush dev eth0");
    run(host, "ip link set eth0 down");
    let [a, b, c, _] = router.address().octets();
    let address = Ipv4Addr::new(a, b, c, 77);
    run(host, "ip link set wwan0 up");
    run(host, &format!("ip addr add {address}/24 dev wwan0"));
    run(host, &format!("ip route add default via {}", router.address()));
    address
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

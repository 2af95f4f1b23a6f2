//! The sockets of mDNS: one per family, in the group on every interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::UdpSocket;

/// The port of mDNS.
pub(crate) const PORT: u16 = 5353;
/// The groups of RFC 6762 §3.
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// The largest message (RFC 6762 §17).
const MAX_MESSAGE: usize = 9000;

/// Which interfaces take part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All but loopback; loopback if there is nothing else.
    #[default]
    Network,
    /// Loopback alone.
    #[cfg_attr(not(test), allow(dead_code))]
    Loopback,
}

/// Sends to the group on every interface, and hears what is sent to it.
pub(crate) struct Multicast {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    interfaces_v4: Vec<Ipv4Addr>,
    interfaces_v6: Vec<u32>,
    buffer_v4: Vec<u8>,
    buffer_v6: Vec<u8>,
}

impl Multicast {
    /// Joins the groups. Other programs on this machine may have joined as well.
    pub(crate) fn open(scope: Scope) -> io::Result<Self> {
        let (interfaces_v4, interfaces_v6) = interfaces(scope);
        let v4 = open_v4(&interfaces_v4);
        let v6 = open_v6(&interfaces_v6);
        if let (Err(error), Err(_)) = (&v4, &v6) {
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        let buffer = || vec![0; MAX_MESSAGE];
        let (v4, v6) = (v4.ok(), v6.ok());
        Ok(Self { v4, v6, interfaces_v4, interfaces_v6, buffer_v4: buffer(), buffer_v6: buffer() })
    }

    /// The next message and who sent it. Cancel-safe.
    pub(crate) async fn receive(&mut self) -> (SocketAddr, Vec<u8>) {
        async fn receive(socket: &Option<UdpSocket>, buffer: &mut [u8]) -> (SocketAddr, Vec<u8>) {
            let Some(socket) = socket else { return std::future::pending().await };
            loop {
                match socket.recv_from(buffer).await {
                    Ok((length, from)) => return (from, buffer[..length].to_vec()),
                    // Nothing that a datagram does breaks the socket; do not spin if something else did.
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
                }
            }
        }
        tokio::select! {
            received = receive(&self.v4, &mut self.buffer_v4) => received,
            received = receive(&self.v6, &mut self.buffer_v6) => received,
        }
    }

    /// Sends `message` to the group on every interface.
    pub(crate) fn send(&self, message: &[u8]) {
        if let Some(socket) = &self.v4 {
            for interface in &self.interfaces_v4 {
                if SockRef::from(socket).set_multicast_if_v4(interface).is_ok() {
                    let _ = send(socket, message, (GROUP_V4, PORT).into());
                }
            }
        }
        if let Some(socket) = &self.v6 {
            for interface in &self.interfaces_v6 {
                if SockRef::from(socket).set_multicast_if_v6(*interface).is_ok() {
                    let _ = send(socket, message, (GROUP_V6, PORT).into());
                }
            }
        }
    }

    /// Sends `message` to one who asked.
    pub(crate) fn send_to(&self, message: &[u8], to: SocketAddr) {
        if let Some(socket) = if to.is_ipv4() { &self.v4 } else { &self.v6 } {
            let _ = send(socket, message, to);
        }
    }
}

/// Sends at once, whatever tokio thinks of the socket's readiness.
fn send(socket: &UdpSocket, message: &[u8], to: SocketAddr) -> io::Result<usize> {
    SockRef::from(socket).send_to(message, &to.into())
}

/// Where to join: the IPv4 addresses and the IPv6 interface indices.
fn interfaces(scope: Scope) -> (Vec<Ipv4Addr>, Vec<u32>) {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let pick = |loopback: bool| {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for one in all.iter().filter(|one| one.is_loopback() == loopback) {
            match (one.ip(), one.index) {
                (IpAddr::V4(address), _) => v4.push(address),
                (IpAddr::V6(_), Some(index)) if !v6.contains(&index) => v6.push(index),
                _ => {}
            }
        }
        (v4, v6)
    };
    let (v4, v6) = pick(false);
    if scope == Scope::Loopback || v4.is_empty() && v6.is_empty() { pick(true) } else { (v4, v6) }
}

fn open_v4(interfaces: &[Ipv4Addr]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    share(&socket)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT)).into())?;
    socket.set_multicast_loop_v4(true)?;
    socket.set_multicast_ttl_v4(255)?; // RFC 6762 §11
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?; // only what comes by the interfaces that we joined on
    join(interfaces, |interface| socket.join_multicast_v4(&GROUP_V4, interface))?;
    UdpSocket::from_std(socket.into())
}

fn open_v6(interfaces: &[u32]) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    share(&socket)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, PORT)).into())?;
    socket.set_multicast_loop_v6(true)?;
    socket.set_multicast_hops_v6(255)?;
    join(interfaces, |interface| socket.join_multicast_v6(&GROUP_V6, *interface))?;
    UdpSocket::from_std(socket.into())
}

/// The port belongs to everybody who speaks mDNS.
fn share(socket: &Socket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(target_os = "solaris"), not(target_os = "illumos")))]
    socket.set_reuse_port(true)?;
    Ok(())
}

/// Joins on each interface; one is enough.
fn join<T>(interfaces: &[T], mut join: impl FnMut(&T) -> io::Result<()>) -> io::Result<()> {
    let mut joined = Err(io::Error::new(io::ErrorKind::NotFound, "no interface for multicast"));
    for interface in interfaces {
        let result = join(interface);
        if joined.is_err() {
            joined = result;
        }
    }
    joined
}

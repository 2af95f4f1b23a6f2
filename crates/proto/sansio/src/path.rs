use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What carries the bytes of a [`Path`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A stream, framed by its user.
    Tcp,
    /// A stream inside TLS. The driver does the TLS; a machine sees plain bytes.
    Tls,
    /// Datagrams inside DTLS. The driver does the DTLS; a machine sees plain bytes.
    Dtls,
}

impl Transport {
    /// Whether it carries a stream, which its user frames, and which loses nothing.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls)
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Dtls => "dtls",
        })
    }
}

/// A real 5-tuple: transport, our socket, their socket.
///
/// Addresses are normalised once, by [`Path::new`]: an IPv4-mapped IPv6 address becomes the IPv4 address it
/// means, so that equal paths compare equal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// What carries the bytes.
    pub transport: Transport,
    /// The address of the socket on this machine.
    pub local: SocketAddr,
    /// The address at the other end of the wire (a peer, a server, or a NAT in between).
    pub remote: SocketAddr,
}

impl Path {
    /// A path with both addresses normalised.
    #[inline]
    pub fn new(transport: Transport, local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport, local: unmapped(local), remote: unmapped(remote) }
    }

    /// A UDP path with both addresses normalised.
    #[inline]
    pub fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self::new(Transport::Udp, local, remote)
    }

    /// The same path seen from the other end.
    pub fn reversed(self) -> Self {
        Self { local: self.remote, remote: self.local, ..self }
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> {}", self.transport, self.local, self.remote)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The IPv4 address that an IPv4-mapped IPv6 address means (RFC 4291 §2.5.5.2); any other address as it is.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), address.port()),
            None => address,
        },
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_compare_equal_to_what_they_mean() {
        let local = "10.0.0.1:5".parse().unwrap();
        let mapped = Path::udp(local, "[::ffff:192.0.2.1]:7".parse().unwrap());
        let plain = Path::udp(local, "192.0.2.1:7".parse().unwrap());
        assert_eq!(mapped, plain);
        assert_eq!(plain.reversed().reversed(), plain);
        assert_eq!(plain.to_string(), "udp 10.0.0.1:5 -> 192.0.2.1:7");
    }
}

//! A server with two addresses and two ports: what NAT behaviour discovery asks of it (RFC 5780 §6).

use std::net::{IpAddr, SocketAddr};

use sansio::{Outbox, Path, Transport, unmapped};

use super::MAX_SOFTWARE_BYTES;
use crate::{AttributeKind, ChangeRequest, Class, Message, MessageWriter, WriteError, kind};

/// What such a server understands beyond RFC 8489.
const KNOWN: [AttributeKind; 3] = [kind::CHANGE_REQUEST, kind::PADDING, kind::RESPONSE_PORT];

/// Answers to other ports than that of the request go to these only: no client's port is a lower one, and many a
/// service's is.
const LOWEST_RESPONSE_PORT: u16 = 1024;

/// The longest PADDING of an answer: more than any link's MTU but loopback's.
const MAX_PADDING: usize = 9216;

/// The two addresses and two ports of a server (RFC 5780 §6), which listens on all four combinations.
///
/// CHANGE-REQUEST makes it answer from another of the four, RESPONSE-PORT to another port of who asks, PADDING with a
/// longer answer. None of that lets a stranger do more with a forged sender than a plain request does:
///
/// * an answer goes to the address that the request came from, always;
/// * a request gets one datagram, or none;
/// * an answer with PADDING is no longer than its request. (RFC 5780 §6.1 recommends PADDING of the length of the MTU,
///   which would turn 28 bytes into 1500.)
/// * RESPONSE-PORT below 1024 is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Alternate {
    ips: [IpAddr; 2],
    ports: [u16; 2],
    /// The same two addresses as the world sees them.
    advertised: [IpAddr; 2],
}

/// Why two addresses are no [`Alternate`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum AlternateError {
    /// One address is IPv4, the other IPv6.
    #[error("the alternate address must be of the same family as the first, IPv4 or IPv6")]
    Family,
    /// The address is the same, or one that stands for all.
    #[error("the alternate address must be another one than the first, and neither a wildcard")]
    Address,
    /// The port is the same, or 0.
    #[error("the alternate port must be another one than the first, and neither 0")]
    Port,
}

impl Alternate {
    /// A server at `first`, whose other address and other port are `second`.
    ///
    /// # Errors
    /// If address and port do not differ, or the family does.
    pub fn new(first: SocketAddr, second: SocketAddr) -> Result<Self, AlternateError> {
        let (first, second) = (unmapped(first), unmapped(second));
        if first.is_ipv4() != second.is_ipv4() {
            return Err(AlternateError::Family);
        }
        let wildcard = first.ip().is_unspecified() || second.ip().is_unspecified();
        if first.ip() == second.ip() || wildcard {
            return Err(AlternateError::Address);
        }
        if first.port() == second.port() || first.port() == 0 || second.port() == 0 {
            return Err(AlternateError::Port);
        }
        let ips = [first.ip(), second.ip()];
        Ok(Self { ips, ports: [first.port(), second.port()], advertised: ips })
    }

    /// The same, behind a one-to-one NAT that shows the two addresses as these.
    pub fn advertised(self, first: IpAddr, second: IpAddr) -> Self {
        Self { advertised: [first, second], ..self }
    }

    /// Where it has to listen.
    pub fn sockets(&self) -> [SocketAddr; 4] {
        let at = |ip: usize, port: usize| SocketAddr::new(self.ips[ip], self.ports[port]);
        [at(0, 0), at(0, 1), at(1, 0), at(1, 1)]
    }

    /// Answers a Binding request that came by `from`; `false` if there was no room.
    ///
    /// What comes by a stream, or to an address that is none of the four, is answered as by a server with one address.
    pub fn answer(
        &self,
        request: &Message<'_>,
        from: Path,
        software: Option<&str>,
        out: &mut dyn Outbox,
    ) -> bool {
        let Some(reply) = Reply::new(self, request, from, software) else {
            return out.send(from, super::MAX_ANSWER_BYTES, &mut |buffer| {
                super::answer_binding(request, from, software, buffer).unwrap_or(0)
            });
        };
        out.send(reply.path, reply.max_bytes(), &mut |buffer| {
            reply.write(request, software, buffer).unwrap_or(0)
        })
    }

    /// Whether the answer to this request is an error.
    pub(super) fn refuses(&self, request: &Message<'_>, from: Path) -> bool {
        match self.place(from) {
            Some(_) => refusal(request).is_some(),
            None => !request.unknown_comprehension_required(&[]).is_empty(),
        }
    }

    /// From where to answer a request, and which other address to tell of; both as the sockets have them.
    pub(super) fn route(&self, from: Path, change: ChangeRequest) -> Option<(SocketAddr, SocketAddr)> {
        let (ip, port) = self.place(from)?;
        let at = |ip: usize, port: usize| SocketAddr::new(self.ips[ip], self.ports[port]);
        Some((at(ip ^ usize::from(change.ip), port ^ usize::from(change.port)), at(1 - ip, 1 - port)))
    }

    /// How the world sees one of our four.
    pub(super) fn as_seen(&self, local: SocketAddr) -> SocketAddr {
        let ip = self.ips.iter().position(|ip| *ip == local.ip()).unwrap_or(0);
        SocketAddr::new(self.advertised[ip], local.port())
    }

    /// Which address and which port of ours a request came to.
    fn place(&self, from: Path) -> Option<(usize, usize)> {
        if from.transport != Transport::Udp {
            return None;
        }
        let ip = self.ips.iter().position(|ip| *ip == from.local.ip())?;
        let port = self.ports.iter().position(|port| *port == from.local.port())?;
        Some((ip, port))
    }
}

/// One answer: which way it goes, and what it says.
struct Reply {
    path: Path,
    from: Path,
    /// The address that it comes from, and the other one, as the world sees them.
    origin: SocketAddr,
    other: SocketAddr,
    padding: Option<usize>,
    refusal: Option<u16>,
}

impl Reply {
    /// `None`: it came to none of the four.
    fn new(alternate: &Alternate, request: &Message<'_>, from: Path, software: Option<&str>) -> Option<Self> {
        let refusal = refusal(request);
        // A refusal goes straight back: what was asked for is not understood.
        let change = request.change_request().filter(|_| refusal.is_none()).unwrap_or_default();
        let (local, other) = alternate.route(from, change)?;
        let address = if from.remote.is_ipv4() { 12 } else { 24 };
        let fingerprint = if request.has_fingerprint() { 8 } else { 0 };
        let without =
            20 + 4 * address + fingerprint + software.map_or(0, |text| 4 + text.len().next_multiple_of(4));
        let mut remote = from.remote;
        if let Some(port) = request.response_port().filter(|_| refusal.is_none()) {
            remote.set_port(port);
        }
        Some(Self {
            path: Path::udp(local, remote),
            from,
            origin: alternate.as_seen(local),
            other: alternate.as_seen(other),
            padding: request.padding().filter(|_| refusal.is_none()).map(|bytes| {
                let length = request.bytes().len().saturating_sub(without + 4) / 4 * 4;
                length.min(bytes).min(MAX_PADDING)
            }),
            refusal,
        })
    }

    fn max_bytes(&self) -> usize {
        // Four addresses, PADDING, SOFTWARE and FINGERPRINT; a refusal is shorter.
        20 + 4 * 24
            + self.padding.map_or(0, |bytes| 4 + bytes.next_multiple_of(4))
            + 4
            + MAX_SOFTWARE_BYTES
            + 8
    }

    fn write(
        &self,
        request: &Message<'_>,
        software: Option<&str>,
        buffer: &mut [u8],
    ) -> Result<usize, WriteError> {
        let class = if self.refusal.is_none() { Class::Success } else { Class::Error };
        let mut writer = MessageWriter::answer(buffer, class, request);
        match self.refusal {
            None => {
                // RFC 5780 §6.1: both, so that a client notices who rewrites addresses in packets.
                writer.xor_address(kind::XOR_MAPPED_ADDRESS, self.from.remote);
                writer.address(kind::MAPPED_ADDRESS, self.from.remote);
                writer.address(kind::RESPONSE_ORIGIN, self.origin);
                writer.address(kind::OTHER_ADDRESS, self.other);
                if let Some(bytes) = self.padding {
                    writer.padding(bytes);
                }
            }
            Some(420) => {
                writer
                    .error_code(420, "")
                    .unknown_attributes(&request.unknown_comprehension_required(&KNOWN));
            }
            Some(code) => {
                writer.error_code(code, "");
            }
        }
        if let Some(software) = software {
            writer.string(kind::SOFTWARE, software);
        }
        if request.has_fingerprint() {
            writer.fingerprint();
        }
        writer.finish()
    }
}

/// Why a request is refused, if it is.
fn refusal(request: &Message<'_>) -> Option<u16> {
    if !request.unknown_comprehension_required(&KNOWN).is_empty() {
        return Some(420);
    }
    let change = request.raw(kind::CHANGE_REQUEST).is_some() && request.change_request().is_none();
    let port = request.raw(kind::RESPONSE_PORT).is_some()
        && request.response_port().is_none_or(|port| port < LOWEST_RESPONSE_PORT);
    // RFC 5780 §6.1: who asks for a long answer gets it himself.
    let both = request.response_port().is_some() && request.padding().is_some();
    (change || port || both).then_some(400)
}

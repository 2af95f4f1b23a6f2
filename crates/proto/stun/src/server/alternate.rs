//! A server with two addresses and two ports: what NAT behaviour discovery asks of it (RFC 5780 §6).

use std::net::{IpAddr, SocketAddr};

use sansio::{Outbox, Path, Transport, unmapped};

use super::{AMPLIFICATION, MAX_SOFTWARE_BYTES};
use crate::{
    AttributeKind, ChangeRequest, Class, HEADER_BYTES, MAGIC_COOKIE, Message, MessageWriter, Method,
    TransactionId, WriteError, kind,
};

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
/// * a request gets one datagram, or none, of at most [`AMPLIFICATION`](super::AMPLIFICATION) times its bytes;
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
        match self.order(request, from, software) {
            Ok(order) => self.carry_out(&order, software, out),
            Err(refusal) => out.send(from, super::MAX_ANSWER_BYTES, &mut |buffer| {
                let written = match refusal {
                    None => super::answer_binding(request, from, software, buffer),
                    Some(code) => refuse(request, code, software, buffer),
                };
                written.unwrap_or(0)
            }),
        }
    }

    /// Whether the answer to this request is an error.
    pub(super) fn refuses(&self, request: &Message<'_>, from: Path) -> bool {
        match self.place(from) {
            Some(_) => refusal(request).is_some(),
            None => !request.unknown_comprehension_required(&[]).is_empty(),
        }
    }

    /// What a request asks for. Otherwise it is refused with a code, or answered as by a server with one address.
    pub(super) fn order(
        &self,
        request: &Message<'_>,
        from: Path,
        software: Option<&str>,
    ) -> Result<Order, Option<u16>> {
        let place = self.place(from).ok_or(None)?;
        if let Some(code) = refusal(request) {
            return Err(Some(code));
        }
        let address = if from.remote.is_ipv4() { 12 } else { 24 };
        let fingerprint = request.has_fingerprint();
        let without = 20
            + 4 * address
            + if fingerprint { 8 } else { 0 }
            + software.map_or(0, |text| 4 + text.len().next_multiple_of(4));
        Ok(Order {
            id: request.transaction_id(),
            cookie: MAGIC_COOKIE.to_be_bytes(),
            client: from.remote,
            port: request.response_port().unwrap_or(from.remote.port()),
            padding: request.padding().map(|bytes| {
                let length = request.bytes().len().saturating_sub(without + 4) / 4 * 4;
                length.min(bytes).min(MAX_PADDING)
            }),
            most: AMPLIFICATION * request.bytes().len(),
            fingerprint,
            ..self.plain_order(place, request.change_request().unwrap_or_default())
        })
    }

    /// An order that says nothing yet but where the answer leaves from.
    pub(super) fn plain_order(&self, (ip, port): (usize, usize), change: ChangeRequest) -> Order {
        let local = self.at(ip ^ usize::from(change.ip), port ^ usize::from(change.port));
        Order {
            id: TransactionId([0; 12]),
            cookie: [0; 4],
            client: local,
            port: 0,
            local,
            asked: (ip, port),
            padding: None,
            most: AMPLIFICATION * HEADER_BYTES,
            fingerprint: false,
        }
    }

    /// Sends what was asked for; `false` if there was no room.
    pub(super) fn carry_out(&self, order: &Order, software: Option<&str>, out: &mut dyn Outbox) -> bool {
        let (ip, port) = order.asked;
        let (origin, other) = (self.as_seen(order.local), self.as_seen(self.at(1 - ip, 1 - port)));
        let path = Path::udp(order.local, SocketAddr::new(order.client.ip(), order.port));
        out.send(path, order.max_bytes(), &mut |buffer| match order.is_classic() {
            true => order.write_classic(origin, other, buffer).unwrap_or(0),
            false => order.write(origin, other, software, buffer).unwrap_or(0),
        })
    }

    fn at(&self, ip: usize, port: usize) -> SocketAddr {
        SocketAddr::new(self.ips[ip], self.ports[port])
    }

    /// Whether this is one of the first two of our [`Alternate::sockets`], or of the same machine.
    pub(super) fn is_first(&self, local: SocketAddr) -> bool {
        local.ip() == self.ips[0]
    }

    /// How the world sees one of our four.
    pub(super) fn as_seen(&self, local: SocketAddr) -> SocketAddr {
        let ip = self.ips.iter().position(|ip| *ip == local.ip()).unwrap_or(0);
        SocketAddr::new(self.advertised[ip], local.port())
    }

    /// Which address and which port of ours a request came to.
    pub(super) fn place(&self, from: Path) -> Option<(usize, usize)> {
        if from.transport != Transport::Udp {
            return None;
        }
        let ip = self.ips.iter().position(|ip| *ip == from.local.ip())?;
        let port = self.ports.iter().position(|port| *port == from.local.port())?;
        Some((ip, port))
    }
}

/// One answer: whose request it is to, which way it goes, and what is in it.
pub(super) struct Order {
    pub(super) id: TransactionId,
    /// What stood in the place of the magic cookie.
    pub(super) cookie: [u8; 4],
    /// Where the request came from.
    pub(super) client: SocketAddr,
    /// The port of the client that the answer goes to.
    pub(super) port: u16,
    /// The address of ours that the answer leaves from.
    pub(super) local: SocketAddr,
    /// To which of our addresses and ports the request came.
    pub(super) asked: (usize, usize),
    pub(super) padding: Option<usize>,
    /// Bytes that the answer may have, PADDING apart: four times those of the request, or of the smallest that there is.
    pub(super) most: usize,
    pub(super) fingerprint: bool,
}

impl Order {
    fn max_bytes(&self) -> usize {
        // Four addresses, PADDING, SOFTWARE and FINGERPRINT.
        20 + 4 * 24
            + self.padding.map_or(0, |bytes| 4 + bytes.next_multiple_of(4))
            + 4
            + MAX_SOFTWARE_BYTES
            + 8
    }

    fn write(
        &self,
        origin: SocketAddr,
        other: SocketAddr,
        software: Option<&str>,
        buffer: &mut [u8],
    ) -> Result<usize, WriteError> {
        let most =
            buffer.len().min(self.most.max(AMPLIFICATION * self.padding.map_or(0, |bytes| 20 + bytes)));
        let mut writer = MessageWriter::new(&mut buffer[..most], Class::Success, Method::BINDING, self.id);
        let reserve = if self.fingerprint { super::FINGERPRINT_BYTES } else { 0 };
        writer.xor_address(kind::XOR_MAPPED_ADDRESS, self.client);
        writer.address(kind::OTHER_ADDRESS, other);
        // RFC 5780 §6.1 wants these two in any answer. Four IPv6 addresses are more than a bare request of 20 bytes may be
        // answered with; what is missing then is what a client can tell by itself (where the answer came from), and who
        // rewrites addresses in packets.
        writer.if_it_fits(reserve, |writer| _ = writer.address(kind::RESPONSE_ORIGIN, origin));
        writer.if_it_fits(reserve, |writer| _ = writer.address(kind::MAPPED_ADDRESS, self.client));
        if let Some(bytes) = self.padding {
            writer.padding(bytes);
        }
        super::finish(writer, software, self.fingerprint)
    }
}

/// Writes a refusal, which goes straight back: what was asked for is not understood.
fn refuse(
    request: &Message<'_>,
    code: u16,
    software: Option<&str>,
    buffer: &mut [u8],
) -> Result<usize, WriteError> {
    let mut writer = MessageWriter::answer(super::bounded(buffer, request.bytes()), Class::Error, request);
    writer.error_code(code, "");
    if code == 420 {
        writer.unknown_attributes(&request.unknown_comprehension_required(&KNOWN));
    }
    super::finish(writer, software, request.has_fingerprint())
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

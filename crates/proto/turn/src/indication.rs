use std::net::SocketAddr;
use std::ops::Range;

use crate::attribute::plain;
use stun::{AttributeKind, Class, Message, MessageWriter, Method, TransactionId, kind};

/// Bytes that a Send or Data indication puts in front of the data: 36 for an IPv4 peer, 48 for an IPv6 peer.
/// Up to 3 bytes of padding may follow the data.
pub(crate) const fn indication_overhead(peer: SocketAddr) -> usize {
    // Header, XOR-PEER-ADDRESS, header of DATA.
    20 + (if peer.is_ipv4() { 12 } else { 24 }) + 4
}

/// Bytes that a buffer needs for an indication with up to `data` bytes of data.
pub(crate) fn indication_room(peer: SocketAddr, data: usize) -> usize {
    indication_overhead(peer) + data.next_multiple_of(4)
}

/// Bytes that DONT-FRAGMENT adds to a Send indication.
pub(crate) const DONT_FRAGMENT_BYTES: usize = 4;

/// Writes a Send or Data indication around what `fill` writes, and returns its length.
///
/// `buffer` has [`indication_room`] bytes for `max` bytes of data. `fill` returning 0 sends nothing, unless `max` is
/// 0: no data is a message too.
pub(crate) fn write_indication(
    buffer: &mut [u8],
    method: Method,
    id: TransactionId,
    peer: SocketAddr,
    max: usize,
    fill: &mut dyn FnMut(&mut [u8]) -> usize,
) -> usize {
    write_marked(buffer, method, id, peer, false, max, fill)
}

/// The same with DONT-FRAGMENT, if it shall not be fragmented behind the server; `buffer` then has
/// [`DONT_FRAGMENT_BYTES`] more.
pub(crate) fn write_marked(
    buffer: &mut [u8],
    method: Method,
    id: TransactionId,
    peer: SocketAddr,
    whole: bool,
    max: usize,
    fill: &mut dyn FnMut(&mut [u8]) -> usize,
) -> usize {
    let mut writer = MessageWriter::new(buffer, Class::Indication, method, id);
    writer.xor_address(kind::XOR_PEER_ADDRESS, peer);
    if whole {
        writer.flag(kind::DONT_FRAGMENT);
    }
    let length = writer.data_in_place(kind::DATA, max, fill);
    if length == 0 && max > 0 {
        return 0;
    }
    writer.finish().unwrap_or(0)
}

/// Takes a Send indication apart: the peer it is for, and where in `message` its data lies. `None` if it is not one, or
/// not one that a server would relay like all others: one with DONT-FRAGMENT is the machine's own business.
pub fn parse_send(message: &[u8]) -> Option<(SocketAddr, Range<usize>)> {
    let message = Message::parse(message).ok()?;
    let is_send = (message.class(), message.method()) == (Class::Indication, Method::SEND);
    let is_whole = !message.has_fingerprint() || message.check_fingerprint();
    if is_send && is_whole { send_parts(&message, PLAIN) } else { None }
}

/// What Send indications have.
pub(crate) const PLAIN: &[AttributeKind] = &[kind::XOR_PEER_ADDRESS, kind::DATA];
/// The same, where datagrams can be kept from being fragmented.
pub(crate) const WITH_DONT_FRAGMENT: &[AttributeKind] =
    &[kind::XOR_PEER_ADDRESS, kind::DATA, kind::DONT_FRAGMENT];

/// The peer and the data of a Send indication, if both are there and nothing that would have to be understood but `known`.
pub(crate) fn send_parts(
    message: &Message<'_>,
    known: &[AttributeKind],
) -> Option<(SocketAddr, Range<usize>)> {
    if !message.unknown_comprehension_required(known).is_empty() {
        return None;
    }
    // If there are several XOR-PEER-ADDRESS the first is the one that is checked and the one that is used.
    let peer = message.xor_address(kind::XOR_PEER_ADDRESS).map(plain).filter(|peer| peer.port() != 0)?;
    Some((peer, data_range(message)?))
}

/// Where in the message its DATA lies. The first counts.
pub(crate) fn data_range(message: &Message<'_>) -> Option<Range<usize>> {
    let data = message.attributes().find(|attribute| attribute.kind == kind::DATA)?;
    let start = data.offset + 4;
    Some(start..start + data.value.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(peer: &str, data: &[u8]) -> Vec<u8> {
        let peer = peer.parse().unwrap();
        let mut buffer = vec![0xaa; indication_room(peer, data.len())];
        let id = TransactionId([7; 12]);
        let length = write_indication(&mut buffer, Method::SEND, id, peer, data.len(), &mut |to| {
            to.copy_from_slice(data);
            data.len()
        });
        buffer.truncate(length);
        buffer
    }

    #[test]
    fn an_indication_costs_36_bytes_to_ipv4_48_to_ipv6_and_padding() {
        assert_eq!(write("192.0.2.1:9", &[1; 1000]).len(), 1000 + 36);
        assert_eq!(write("[2001:db8::1]:9", &[1; 1000]).len(), 1000 + 48);
        assert_eq!(write("192.0.2.1:9", &[1; 1001]).len(), 1001 + 36 + 3);
        assert_eq!(write("[2001:db8::1]:9", &[1; 1003]).len(), 1003 + 48 + 1);
    }

    #[test]
    fn an_indication_reads_as_it_was_written() {
        let bytes = write("192.0.2.1:9", b"hello");
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.class(), message.method()), (Class::Indication, Method::SEND));
        assert_eq!(message.xor_address(kind::XOR_PEER_ADDRESS), Some("192.0.2.1:9".parse().unwrap()));
        assert_eq!(&bytes[data_range(&message).unwrap()], b"hello");
    }
}

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use netsim::Content;
use sansio::{Path, Transport};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Flags in a TCP header.
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;
/// ICMP messages that quote a packet: unreachable, time exceeded, parameter problem.
const ICMP_ERRORS: [u8; 3] = [3, 11, 12];
/// Bytes of an ICMP header.
const ICMP_HEADER: usize = 8;

/// An IPv4 packet of UDP or TCP, as far as a NAT cares.
#[derive(Debug)]
pub(crate) struct Packet<'a> {
    ip: Header<'a>,
    transport: Transport,
}

/// An ICMP error about a packet that was sent before.
#[derive(Debug)]
pub(crate) struct Complaint<'a> {
    ip: Header<'a>,
    /// Of the packet that it quotes.
    path: Path,
}

/// An IPv4 packet whose header has been checked.
#[derive(Debug)]
struct Header<'a> {
    bytes: &'a mut [u8],
    length: usize,
}

/// What the fragments of one packet have in common (RFC 791 §3.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Whole {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    identification: u16,
}

/// A fragment that is not the first: it has no ports.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    ip: Header<'a>,
}

impl<'a> Packet<'a> {
    /// A datagram or segment, or its first fragment; `None` for anything else.
    pub(crate) fn parse(bytes: &'a mut [u8]) -> Option<Self> {
        let ip = Header::parse(bytes)?;
        let transport = transport(ip.protocol())?;
        let checksum = checksum_at(transport);
        (ip.offset() == 0 && ip.bytes.len() >= ip.length + checksum + 2).then_some(Self { ip, transport })
    }

    /// If more fragments follow: what they are known by.
    pub(crate) fn whole(&self) -> Option<Whole> {
        self.ip.has_more().then(|| self.ip.whole())
    }

    /// From where (`local`) to where (`remote`).
    pub(crate) fn path(&self) -> Path {
        let at = self.ip.length;
        let source = SocketAddrV4::new(self.ip.address(12), self.ip.word(at));
        let destination = SocketAddrV4::new(self.ip.address(16), self.ip.word(at + 2));
        Path::new(self.transport, source.into(), destination.into())
    }

    /// What it carries, as far as a NAT looks at that.
    pub(crate) fn content(&self) -> Content {
        if self.transport == Transport::Udp {
            return Content::Datagram;
        }
        let flags = self.ip.bytes[self.ip.length + 13];
        let has = |bit: u8| flags & bit != 0;
        match (has(RST), has(FIN), has(SYN), has(ACK)) {
            (true, ..) => Content::Reset,
            (_, true, ..) => Content::Fin,
            (.., true, true) => Content::SynAck,
            (.., true, false) => Content::Syn,
            _ => Content::Message,
        }
    }

    /// Gives it another source and destination, and the checksums that go with them.
    pub(crate) fn redirect(&mut self, path: Path) {
        let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (path.local, path.remote) else { return };
        let at = self.ip.length;
        let checksum = at + checksum_at(self.transport);
        let mut sum = self.ip.word(checksum);
        let none = self.transport == Transport::Udp && sum == 0;
        for (place, address) in [(12, source.ip()), (16, destination.ip())] {
            sum = self.ip.set_address(place, *address, sum);
        }
        for (place, port) in [(at, source.port()), (at + 2, destination.port())] {
            sum = adjusted(sum, self.ip.word(place), port);
            self.ip.set_word(place, port);
        }
        // Zero in UDP says that there is no checksum (RFC 768).
        let sum = if self.transport == Transport::Udp && sum == 0 { 0xffff } else { sum };
        self.ip.set_word(checksum, if none { 0 } else { sum });
    }
}

impl<'a> Piece<'a> {
    pub(crate) fn parse(bytes: &'a mut [u8]) -> Option<Self> {
        let ip = Header::parse(bytes)?;
        (ip.offset() > 0).then_some(Self { ip })
    }

    /// What it is a part of.
    pub(crate) fn whole(&self) -> Whole {
        self.ip.whole()
    }

    /// Gives it the addresses that its first fragment was given.
    pub(crate) fn redirect(&mut self, path: Path) {
        let (SocketAddr::V4(source), SocketAddr::V4(destination)) = (path.local, path.remote) else { return };
        self.ip.set_address(12, *source.ip(), 0);
        self.ip.set_address(16, *destination.ip(), 0);
    }
}

impl<'a> Complaint<'a> {
    pub(crate) fn parse(bytes: &'a mut [u8]) -> Option<Self> {
        let ip = Header::parse(bytes)?;
        let error = ip.protocol() == ICMP && ip.offset() == 0 && !ip.has_more();
        let (message, quoted) = (ip.length, ip.length + ICMP_HEADER);
        if !error || !ICMP_ERRORS.contains(ip.bytes.get(message)?) {
            return None;
        }
        let inner = ip.bytes.get(quoted..)?;
        let length = usize::from(inner.first()? & 0x0f) * 4;
        if inner[0] >> 4 != 4 || length < 20 || inner.len() < length + 4 {
            return None;
        }
        let port = |at: usize| u16::from_be_bytes([inner[at], inner[at + 1]]);
        let address = |at: usize| Ipv4Addr::new(inner[at], inner[at + 1], inner[at + 2], inner[at + 3]);
        let source = SocketAddrV4::new(address(12), port(length));
        let destination = SocketAddrV4::new(address(16), port(length + 2));
        let path = Path::new(transport(inner[9])?, source.into(), destination.into());
        Some(Self { ip, path })
    }

    /// The path of the packet that it is about.
    pub(crate) fn path(&self) -> Path {
        self.path
    }

    /// Addresses it to who really sent that packet, and quotes the packet as that one sent it.
    pub(crate) fn redirect(&mut self, sender: SocketAddr) {
        let SocketAddr::V4(sender) = sender else { return };
        let quoted = self.ip.length + ICMP_HEADER;
        self.ip.set_address(16, *sender.ip(), 0);
        let length = usize::from(self.ip.bytes[quoted] & 0x0f) * 4;
        let mut inner = Header { bytes: &mut self.ip.bytes[quoted..], length };
        inner.set_address(12, *sender.ip(), 0);
        inner.set_word(length, sender.port());
        let message = self.ip.length;
        self.ip.set_word(message + 2, 0);
        let sum = checksum(&self.ip.bytes[message..]);
        self.ip.set_word(message + 2, sum);
    }
}

impl<'a> Header<'a> {
    fn parse(bytes: &'a mut [u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let length = usize::from(first & 0x0f) * 4;
        if first >> 4 != 4 || length < 20 || bytes.len() < length {
            return None;
        }
        let total = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
        let bytes = bytes.get_mut(..total)?;
        (total >= length).then_some(Self { bytes, length })
    }

    fn protocol(&self) -> u8 {
        self.bytes[9]
    }

    /// Where its payload belongs in the whole packet's, in units of 8 bytes.
    fn offset(&self) -> u16 {
        self.word(6) & 0x1fff
    }

    /// Whether a fragment follows.
    fn has_more(&self) -> bool {
        self.word(6) & 0x2000 != 0
    }

    fn whole(&self) -> Whole {
        let (source, destination) = (self.address(12), self.address(16));
        Whole { source, destination, protocol: self.protocol(), identification: self.word(4) }
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn set_word(&mut self, at: usize, word: u16) {
        self.bytes[at..at + 2].copy_from_slice(&word.to_be_bytes());
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::new(self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3])
    }

    /// Sets an address and the header's checksum; returns the transport's checksum, which covers it as well.
    fn set_address(&mut self, at: usize, address: Ipv4Addr, mut sum: u16) -> u16 {
        let octets = address.octets();
        for (place, new) in [(at, [octets[0], octets[1]]), (at + 2, [octets[2], octets[3]])] {
            let (old, new) = (self.word(place), u16::from_be_bytes(new));
            sum = adjusted(sum, old, new);
            self.set_word(10, adjusted(self.word(10), old, new));
            self.set_word(place, new);
        }
        sum
    }
}

fn transport(protocol: u8) -> Option<Transport> {
    match protocol {
        UDP => Some(Transport::Udp),
        TCP => Some(Transport::Tcp),
        _ => None,
    }
}

/// Where the checksum lies in a transport header.
fn checksum_at(transport: Transport) -> usize {
    if transport == Transport::Udp { 6 } else { 16 }
}

/// A checksum after one word under it has changed (RFC 1624 §3).
fn adjusted(sum: u16, old: u16, new: u16) -> u16 {
    !fold(u32::from(!sum) + u32::from(!old) + u32::from(new))
}

/// The checksum of RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| {
        let low = pair.get(1).copied().unwrap_or(0);
        u32::from(u16::from_be_bytes([pair[0], low]))
    });
    !fold(words.fold(0, |sum, word| u32::from(fold(sum + word))))
}

fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// A packet with correct checksums.
    fn packet(protocol: u8, from: &str, to: &str, payload: &[u8]) -> Vec<u8> {
        let (SocketAddr::V4(from), SocketAddr::V4(to)) = (address(from), address(to)) else { unreachable!() };
        let mut body = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        body.resize(if protocol == UDP { 8 } else { 20 }, 0);
        body.extend(payload);
        if protocol == UDP {
            let length = body.len() as u16;
            body[4..6].copy_from_slice(&length.to_be_bytes());
        }
        let total = (20 + body.len()) as u16;
        let mut bytes = vec![0x45, 0];
        bytes.extend(total.to_be_bytes());
        bytes.extend([0, 1, 0x40, 0, 64, protocol, 0, 0]);
        bytes.extend(from.ip().octets());
        bytes.extend(to.ip().octets());
        bytes.extend(body);
        let sum = checksum(&bytes[..20]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        let at = 20 + if protocol == UDP { 6 } else { 16 };
        let sum = transport_sum(&bytes);
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    /// The transport checksum over the pseudo header; zero if the one inside is right.
    fn transport_sum(bytes: &[u8]) -> u16 {
        let length = (bytes.len() - 20) as u16;
        let mut all = bytes[12..20].to_vec();
        all.extend([0, bytes[9]]);
        all.extend(length.to_be_bytes());
        all.extend(&bytes[20..]);
        checksum(&all)
    }

    #[test]
    fn a_redirected_packet_is_as_if_it_had_been_sent_so() {
        for protocol in [UDP, TCP] {
            for payload in [&b""[..], b"x", b"hello, world"] {
                let mut bytes = packet(protocol, "10.0.0.10:5000", "5.5.5.5:3478", payload);
                let expected = packet(protocol, "5.5.6.1:40001", "10.9.8.7:1", payload);
                let mut parsed = Packet::parse(&mut bytes).unwrap();
                assert_eq!(parsed.path().local, address("10.0.0.10:5000"));
                assert_eq!(parsed.path().remote, address("5.5.5.5:3478"));
                let path = Path::new(parsed.transport, address("5.5.6.1:40001"), address("10.9.8.7:1"));
                parsed.redirect(path);
                assert_eq!(parsed.path(), path);
                assert_eq!(bytes, expected);
                assert_eq!((checksum(&bytes[..20]), transport_sum(&bytes)), (0, 0));
            }
        }
    }

    #[test]
    fn a_segment_says_where_its_stream_is() {
        let mut bytes = packet(TCP, "10.0.0.10:5000", "5.5.5.5:443", b"");
        for (flags, content) in [
            (SYN, Content::Syn),
            (SYN | ACK, Content::SynAck),
            (ACK, Content::Message),
            (ACK | FIN, Content::Fin),
            (ACK | RST, Content::Reset),
        ] {
            bytes[33] = flags;
            assert_eq!(Packet::parse(&mut bytes).unwrap().content(), content);
        }
        let mut bytes = packet(UDP, "10.0.0.10:5000", "5.5.5.5:443", b"");
        assert_eq!(Packet::parse(&mut bytes).unwrap().content(), Content::Datagram);
    }

    #[test]
    fn a_udp_packet_without_a_checksum_stays_without() {
        let mut bytes = packet(UDP, "10.0.0.10:5000", "5.5.5.5:3478", b"x");
        bytes[26..28].fill(0);
        let path = Path::udp(address("1.2.3.4:5"), address("6.7.8.9:10"));
        Packet::parse(&mut bytes).unwrap().redirect(path);
        assert_eq!(bytes[26..28], [0, 0]);
    }

    #[test]
    fn the_pieces_of_a_packet_know_each_other() {
        let mut first = packet(UDP, "10.0.0.10:5000", "5.5.5.5:3478", b"hello");
        first[6] = 0x20;
        let mut second = first.clone();
        (second[6], second[7]) = (0, 1);
        let packet = Packet::parse(&mut first).unwrap();
        let mut piece = Piece::parse(&mut second).unwrap();
        assert_eq!(packet.whole(), Some(piece.whole()));
        let sum = checksum(&piece.ip.bytes[..20]);
        piece.redirect(Path::udp(address("5.5.6.1:40001"), address("10.9.8.7:1")));
        assert_eq!(second[12..20], [5, 5, 6, 1, 10, 9, 8, 7]);
        assert_eq!(checksum(&second[..20]), sum);
        assert_eq!(second[20..], packet.ip.bytes[20..], "it has no ports");
    }

    #[test]
    fn a_complaint_finds_its_way_back() {
        let sent = packet(UDP, "5.5.6.1:40001", "5.5.5.5:9", b"x");
        let mut bytes = packet(ICMP, "5.5.0.1:0", "5.5.6.1:0", b"");
        bytes.truncate(20);
        bytes.extend([3, 3, 0, 0, 0, 0, 0, 0]);
        bytes.extend(&sent[..28]);
        let total = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&total.to_be_bytes());
        let mut complaint = Complaint::parse(&mut bytes).unwrap();
        assert_eq!(complaint.path(), Path::udp(address("5.5.6.1:40001"), address("5.5.5.5:9")));
        complaint.redirect(address("10.0.0.10:5000"));
        assert_eq!(bytes[16..20], [10, 0, 0, 10]);
        assert_eq!(bytes[40..44], [10, 0, 0, 10]);
        assert_eq!(bytes[48..50], 5000u16.to_be_bytes());
        assert_eq!(checksum(&bytes[20..]), 0);
        assert_eq!(checksum(&bytes[28..48]), 0, "the quoted header is sound as well");
    }

    #[test]
    fn nonsense_is_no_packet() {
        let whole = packet(UDP, "10.0.0.10:5000", "5.5.5.5:3478", b"hello");
        for length in 0..28 {
            assert!(Packet::parse(&mut whole[..length].to_vec()).is_none(), "{length}");
            assert!(Complaint::parse(&mut whole[..length].to_vec()).is_none(), "{length}");
        }
        let spoilt = |at: usize, byte: u8| {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            Packet::parse(&mut bytes).is_none()
        };
        assert!(spoilt(0, 0x65), "IPv6");
        assert!(spoilt(0, 0x44), "a header that is too short");
        assert!(spoilt(0, 0x4f), "a header that leaves no room");
        assert!(spoilt(7, 1), "a later fragment");
        assert!(spoilt(2, 0xff), "longer than it is");
        assert!(spoilt(3, 10), "shorter than its header");
        assert!(spoilt(9, 47), "another protocol");
    }
}

use std::net::IpAddr;

use sansio::{Path, Transport};

use crate::content::Icmp;

/// Where a TCP segment stands in its stream.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Segment {
    pub(super) sequence: u32,
    pub(super) acknowledged: u32,
    pub(super) flags: u8,
}

/// TCP's flags (RFC 9293 §3.1).
pub(super) mod flag {
    pub(in crate::pcapng) const FIN: u8 = 1;
    pub(in crate::pcapng) const SYN: u8 = 2;
    pub(in crate::pcapng) const RST: u8 = 4;
    pub(in crate::pcapng) const PSH: u8 = 8;
    pub(in crate::pcapng) const ACK: u8 = 16;
}

const UDP: u8 = 17;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// IP and UDP headers, and the payload. `length` is the payload's real one, of which `payload` may be none.
pub(super) fn udp(path: &Path, id: u16, payload: &[u8], length: usize) -> Vec<u8> {
    let mut udp = Vec::with_capacity(8 + payload.len());
    udp.extend_from_slice(&path.local.port().to_be_bytes());
    udp.extend_from_slice(&path.remote.port().to_be_bytes());
    udp.extend_from_slice(&((8 + length) as u16).to_be_bytes());
    udp.extend_from_slice(&[0; 2]);
    udp.extend_from_slice(payload);
    if payload.len() == length {
        // RFC 768: a checksum of zero is sent as all ones, zero means none.
        let sum = checksum(path, UDP, &udp);
        udp[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
    }
    ip(path, id, UDP, &udp, 8 + length)
}

/// IP and TCP headers, and the payload.
pub(super) fn tcp(path: &Path, id: u16, segment: Segment, payload: &[u8], length: usize) -> Vec<u8> {
    let mut tcp = Vec::with_capacity(20 + payload.len());
    tcp.extend_from_slice(&path.local.port().to_be_bytes());
    tcp.extend_from_slice(&path.remote.port().to_be_bytes());
    tcp.extend_from_slice(&segment.sequence.to_be_bytes());
    let acknowledged = if segment.flags & flag::ACK == 0 { 0 } else { segment.acknowledged };
    tcp.extend_from_slice(&acknowledged.to_be_bytes());
    tcp.extend_from_slice(&[5 << 4, segment.flags]);
    tcp.extend_from_slice(&[0xff, 0xff, 0, 0, 0, 0]); // window, checksum, urgent pointer
    tcp.extend_from_slice(payload);
    if payload.len() == length {
        let sum = checksum(path, TCP, &tcp);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    }
    ip(path, id, TCP, &tcp, 20 + length)
}

/// The first eight bytes of an echo, or of its reply (RFC 792, RFC 4443 §4), without the checksum.
fn echo_header(v4: bool, reply: bool, identifier: u16, sequence: u16) -> [u8; 8] {
    let kind = match (v4, reply) {
        (true, false) => 8,
        (true, true) => 0,
        (false, false) => 128,
        (false, true) => 129,
    };
    let ([a, b], [c, d]) = (identifier.to_be_bytes(), sequence.to_be_bytes());
    [kind, 0, 0, 0, a, b, c, d]
}

/// IP and ICMP headers of an echo or its reply, and the payload.
pub(super) fn echo(
    path: &Path,
    id: u16,
    reply: bool,
    sequence: u16,
    payload: &[u8],
    length: usize,
) -> Vec<u8> {
    let asker = if reply { path.remote } else { path.local };
    let mut icmp = echo_header(asker.is_ipv4(), reply, asker.port(), sequence).to_vec();
    icmp.extend_from_slice(payload);
    icmp_in_ip(path, id, icmp, payload.len() == length, 8 + length)
}

/// An error about a packet that went the other way, of which it carries the headers (RFC 792, RFC 4443): those of an
/// echo, if there is a sequence number.
pub(super) fn icmp(path: &Path, id: u16, error: Icmp, echo: Option<u16>) -> Vec<u8> {
    let v4 = path.local.is_ipv4();
    let (kind, code) = match (error, v4) {
        (Icmp::PortUnreachable, true) => (3, 3),
        (Icmp::HostUnreachable, true) => (3, 1),
        (Icmp::Prohibited, true) => (3, 13),
        (Icmp::TooBig { .. }, true) => (3, 4),
        (Icmp::PortUnreachable, false) => (1, 4),
        (Icmp::HostUnreachable, false) => (1, 3),
        (Icmp::Prohibited, false) => (1, 1),
        (Icmp::TooBig { .. }, false) => (2, 0),
    };
    let mtu = if let Icmp::TooBig { mtu } = error { mtu } else { 0 };
    let [high, low] = mtu.to_be_bytes();
    let mut icmp = vec![kind, code, 0, 0, 0, 0, high, low];
    let original = path.reversed();
    let quoted = match (echo, path.transport) {
        (Some(sequence), _) => self::echo(&original, 0, false, sequence, &[], 0),
        (None, Transport::Udp) => udp(&original, 0, &[], 0),
        (None, _) => tcp(&original, 0, Segment::default(), &[], 0),
    };
    icmp.extend_from_slice(&quoted[..if v4 { 28 } else { 48 }]);
    let length = icmp.len();
    icmp_in_ip(path, id, icmp, true, length)
}

/// The IP header and the checksum of a message, which is `length` bytes long, although they may not be all there.
fn icmp_in_ip(path: &Path, id: u16, mut icmp: Vec<u8>, whole: bool, length: usize) -> Vec<u8> {
    let v4 = path.local.is_ipv4();
    let protocol = if v4 { ICMP } else { ICMPV6 };
    if whole {
        let sum = if v4 { !fold(add(0, &icmp)) } else { checksum(path, ICMPV6, &icmp) };
        icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    ip(path, id, protocol, &icmp, length)
}

fn ip(path: &Path, id: u16, protocol: u8, body: &[u8], length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(40 + body.len());
    match (path.local.ip(), path.remote.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[0x45, 0]);
            out.extend_from_slice(&((20 + length) as u16).to_be_bytes());
            out.extend_from_slice(&id.to_be_bytes());
            out.extend_from_slice(&[0x40, 0, 64, protocol, 0, 0]); // don't fragment; time to live
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
            let sum = !fold(add(0, &out));
            out[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        (from, to) => {
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&(length as u16).to_be_bytes());
            out.extend_from_slice(&[protocol, 64]);
            out.extend_from_slice(&octets(from));
            out.extend_from_slice(&octets(to));
        }
    }
    out.extend_from_slice(body);
    out
}

/// Sixteen bytes; an IPv4 address among IPv6 ones, which nothing sends, is written as a mapped one.
fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The checksum of a UDP or TCP packet with its pseudo header (RFC 9293 §3.1, RFC 8200 §8.1).
fn checksum(path: &Path, protocol: u8, body: &[u8]) -> u16 {
    let pseudo = u64::from(protocol) + body.len() as u64;
    let addresses = [path.local.ip(), path.remote.ip()];
    let sum = addresses.iter().fold(pseudo, |sum, address| match address {
        IpAddr::V4(v4) => add(sum, &v4.octets()),
        IpAddr::V6(v6) => add(sum, &v6.octets()),
    });
    !fold(add(sum, body))
}

/// Adds 16 bits at a time (RFC 1071).
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let (pairs, last) = bytes.as_chunks::<2>();
    let sum = pairs.iter().fold(sum, |sum, pair| sum + u64::from(u16::from_be_bytes(*pair)));
    sum + last.first().map_or(0, |byte| u64::from(*byte) << 8)
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checksum is right if the sum over what it covers is all ones.
    fn holds(path: &Path, protocol: u8, packet: &[u8], header: usize) -> bool {
        checksum(path, protocol, &packet[header..]) == 0
    }

    #[test]
    fn the_example_of_rfc_1071_adds_up() {
        assert_eq!(fold(add(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }

    #[test]
    fn headers_carry_the_right_checksums_and_lengths() {
        let v4 = Path::udp("10.0.1.10:5000".parse().unwrap(), "5.0.0.11:3478".parse().unwrap());
        let v6 = Path::udp("[2a00::1]:5000".parse().unwrap(), "[2a00::2]:3478".parse().unwrap());
        for payload in [&b""[..], b"odd", b"even"] {
            let packet = udp(&v4, 7, payload, payload.len());
            assert_eq!(packet.len(), 28 + payload.len());
            assert_eq!(u16::from_be_bytes([packet[2], packet[3]]) as usize, packet.len());
            assert_eq!(fold(add(0, &packet[..20])), 0xffff, "the IPv4 header's checksum");
            assert!(holds(&v4, UDP, &packet, 20));
            let packet = udp(&v6, 7, payload, payload.len());
            assert_eq!(u16::from_be_bytes([packet[4], packet[5]]) as usize, packet.len() - 40);
            assert!(holds(&v6, UDP, &packet, 40));
            let stream = Path::new(Transport::Tcp, v4.local, v4.remote);
            let segment = Segment { sequence: 1, acknowledged: 2, flags: flag::ACK };
            let packet = tcp(&stream, 7, segment, payload, payload.len());
            assert!(holds(&stream, TCP, &packet, 20));
        }
        for (error, about) in [(Icmp::PortUnreachable, None), (Icmp::TooBig { mtu: 1280 }, Some(3))] {
            assert_eq!(fold(add(0, &icmp(&v4, 7, error, about)[20..])), 0xffff);
            assert!(holds(&v6, ICMPV6, &icmp(&v6, 7, error, about), 40));
        }
        for reply in [false, true] {
            assert_eq!(fold(add(0, &echo(&v4, 7, reply, 3, b"odd", 3)[20..])), 0xffff);
            assert!(holds(&v6, ICMPV6, &echo(&v6, 7, reply, 3, b"odd", 3), 40));
        }
    }
}

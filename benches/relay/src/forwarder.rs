//! The bare forwarder: what moving the bytes costs when nobody looks at them. Per client one socket and one peer; four
//! bytes go on the way to the peer and come on the way back, as with ChannelData, and nothing is checked.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::ops::Range;

use mio::{Events, Interest, Poll, Token};
use udp::{BareSocket, Bundles, Config, Transmit};

use crate::place::any;

const RELAY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));
/// How a client asks for its socket: this, and the peer's port. The answer is the socket's port.
const HELLO: &[u8; 4] = b"HELO";

/// Asks a forwarder for a socket towards `peer`; returns its address.
pub(crate) fn introduce(socket: &UdpSocket, peer: SocketAddr) -> io::Result<SocketAddr> {
    let mut message = [0; 10];
    message[..4].copy_from_slice(HELLO);
    message[4..6].copy_from_slice(&peer.port().to_be_bytes());
    if let IpAddr::V4(ip) = peer.ip() {
        message[6..].copy_from_slice(&ip.octets());
    }
    socket.send(&message)?;
    let mut answer = [0; 16];
    socket.recv(&mut answer)?;
    Ok(SocketAddr::new(RELAY, u16::from_be_bytes([answer[0], answer[1]])))
}

struct Entry {
    socket: BareSocket,
    client: SocketAddr,
    peer: SocketAddr,
    up: Vec<Range<usize>>,
}

/// Forwards with GRO and GSO, many datagrams a call: the calls that the relay makes.
pub(crate) fn bundles(listen: SocketAddr) -> io::Result<()> {
    let config = Config::default();
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = BareSocket::bind(listen, &config)?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut by_port = vec![u16::MAX; 1 << 16];
    let mut received = Bundles::new(Bundles::MAX);
    let mut reflected: Vec<(SocketAddr, Range<usize>, usize)> = Vec::new();
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == Token(0) {
                loop {
                    let count = listener.try_recv(&mut received)?;
                    let mut touched: Vec<u16> = Vec::with_capacity(Bundles::MAX);
                    for at in 0..count {
                        let Some(arrived) = received.arrival(at) else { break };
                        let bytes = &received.bytes()[arrived.range.clone()];
                        if bytes.starts_with(HELLO) {
                            let peer = SocketAddr::from((
                                [bytes[6], bytes[7], bytes[8], bytes[9]],
                                u16::from_be_bytes([bytes[4], bytes[5]]),
                            ));
                            let mut socket = BareSocket::bind(any(RELAY), &config)?;
                            poll.registry().register(
                                &mut socket,
                                Token(entries.len() + 1),
                                Interest::READABLE,
                            )?;
                            let port = socket.local().port().to_be_bytes();
                            by_port[usize::from(arrived.path.remote.port())] = entries.len() as u16;
                            entries.push(Entry { socket, client: arrived.path.remote, peer, up: Vec::new() });
                            let bytes = [IoSlice::new(&port)];
                            listener.try_send(&Transmit {
                                from: None,
                                to: arrived.path.remote,
                                segment: 2,
                                bytes: &bytes,
                            });
                        } else if bytes[0] < 0x40 {
                            reflected.push((arrived.path.remote, arrived.range.clone(), arrived.segment));
                        } else if let Some(entry) =
                            entries.get_mut(usize::from(by_port[usize::from(arrived.path.remote.port())]))
                        {
                            if entry.up.is_empty() {
                                touched.push(by_port[usize::from(arrived.path.remote.port())]);
                            }
                            let mut start = arrived.range.start;
                            while start < arrived.range.end {
                                let end = (start + arrived.segment).min(arrived.range.end);
                                entry.up.push(start + 4..end);
                                start = end;
                            }
                        }
                    }
                    reflect(&listener, &received, &mut reflected);
                    for at in touched {
                        let entry = &mut entries[usize::from(at)];
                        send_up(entry, &received);
                        entry.up.clear();
                    }
                    if count < received.capacity() {
                        break;
                    }
                }
            } else if let Some(entry) = entries.get(event.token().0 - 1) {
                loop {
                    let count = entry.socket.try_recv(&mut received)?;
                    send_down(&listener, entry, &received);
                    if count < received.capacity() {
                        break;
                    }
                }
            }
        }
    }
}

fn send_up(entry: &Entry, received: &Bundles) {
    for group in entry.up.chunks(54) {
        let segment = group[0].len();
        let bytes: Vec<IoSlice<'_>> =
            group.iter().map(|range| IoSlice::new(&received.bytes()[range.clone()])).collect();
        entry.socket.try_send(&Transmit { from: None, to: entry.peer, segment, bytes: &bytes });
    }
}

fn send_down(listener: &BareSocket, entry: &Entry, received: &Bundles) {
    let mut pieces: Vec<Range<usize>> = Vec::with_capacity(128);
    for at in 0..received.len() {
        let Some(arrived) = received.arrival(at) else { break };
        let mut start = arrived.range.start;
        while start < arrived.range.end {
            let end = (start + arrived.segment).min(arrived.range.end);
            pieces.push(start..end);
            start = end;
        }
    }
    for group in pieces.chunks(53) {
        let segment = group[0].len();
        let [high, low] = (segment as u16).to_be_bytes();
        let header = [0x40, 0, high, low];
        let mut bytes: Vec<IoSlice<'_>> = Vec::with_capacity(group.len() * 2);
        for piece in group {
            bytes.push(IoSlice::new(&header));
            bytes.push(IoSlice::new(&received.bytes()[piece.clone()]));
        }
        listener.try_send(&Transmit { from: None, to: entry.client, segment: segment + 4, bytes: &bytes });
    }
}

/// Sends back to each sender what it sent, together.
fn reflect(
    listener: &BareSocket,
    received: &Bundles,
    reflected: &mut Vec<(SocketAddr, Range<usize>, usize)>,
) {
    reflected.sort_by_key(|(to, ..)| to.port());
    for group in reflected.chunk_by(|(one, ..), (other, ..)| one == other) {
        let segment = group[0].2;
        for group in group.chunks(64) {
            let bytes: Vec<IoSlice<'_>> =
                group.iter().map(|(_, range, _)| IoSlice::new(&received.bytes()[range.clone()])).collect();
            listener.try_send(&Transmit { from: None, to: group[0].0, segment, bytes: &bytes });
        }
    }
    reflected.clear();
}

/// Forwards with a system call to receive and one to send for each datagram.
pub(crate) fn each(listen: SocketAddr) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = mio::net::UdpSocket::bind(listen)?;
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let mut entries: Vec<(mio::net::UdpSocket, SocketAddr, SocketAddr)> = Vec::new();
    let mut by_port = vec![u16::MAX; 1 << 16];
    let mut buffer = vec![0; 4 + (1 << 16)];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == Token(0) {
                while let Ok((length, from)) = listener.recv_from(&mut buffer) {
                    let bytes = &buffer[..length];
                    if bytes.starts_with(HELLO) {
                        let peer = SocketAddr::from((
                            [bytes[6], bytes[7], bytes[8], bytes[9]],
                            u16::from_be_bytes([bytes[4], bytes[5]]),
                        ));
                        let mut socket = mio::net::UdpSocket::bind(any(RELAY))?;
                        poll.registry().register(
                            &mut socket,
                            Token(entries.len() + 1),
                            Interest::READABLE,
                        )?;
                        listener.send_to(&socket.local_addr()?.port().to_be_bytes(), from)?;
                        by_port[usize::from(from.port())] = entries.len() as u16;
                        entries.push((socket, from, peer));
                    } else if bytes[0] < 0x40 {
                        let _ = listener.send_to(bytes, from);
                    } else if let Some((socket, _, peer)) =
                        entries.get(usize::from(by_port[usize::from(from.port())]))
                    {
                        let _ = socket.send_to(&bytes[4..], *peer);
                    }
                }
            } else if let Some((socket, client, _)) = entries.get(event.token().0 - 1) {
                while let Ok((length, _)) = socket.recv_from(&mut buffer[4..]) {
                    buffer[..2].copy_from_slice(&[0x40, 0]);
                    buffer[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                    let _ = listener.send_to(&buffer[..length + 4], *client);
                }
            }
        }
    }
}

use sansio::SocketError;

use super::{HostId, Net, Packet, Stop};
use crate::content::{Content, Icmp};
use crate::record::{Cause, Fate, Place};

/// Errors that come back by ICMP. Queries are in `ping.rs`.
impl Net {
    /// Whether whoever drops a packet says so by ICMP from now on: a host without such a socket, a router without
    /// such a host, a link that the packet is too big for, a box that refuses aloud
    /// ([`NatBehaviour::resets`](crate::NatBehaviour::resets)). Off unless told otherwise.
    ///
    /// The errors travel back through the boxes, which translate them as RFC 5508 asks, and reach the host that had
    /// sent the packet. There they are in the trace and in captures. No machine is told of those about datagrams,
    /// since a UDP socket would not pass them on; a stream that is connecting fails at once.
    pub fn set_icmp(&mut self, on: bool) {
        self.icmp = on;
    }

    /// The error about a packet, if one is due: there is none about an error, nor about an echo's reply.
    pub(super) fn error_about(&mut self, packet: &Packet, error: Icmp) -> Option<Packet> {
        let content = match packet.content {
            _ if !self.icmp => return None,
            Content::Icmp(_) | Content::EchoError { .. } | Content::EchoReply { .. } => return None,
            Content::Echo { sequence } => Content::EchoError { error, sequence },
            _ => Content::Icmp(error),
        };
        Some(self.packet(packet.path.reversed(), Vec::new(), content))
    }

    /// The same for what was just dropped, if that is a reason to say something.
    pub(super) fn error_for(&mut self, packet: &Packet, cause: Cause) -> Option<Packet> {
        let error = match cause {
            Cause::NoHost | Cause::NoRoute => Icmp::HostUnreachable,
            Cause::TooBig { mtu } => Icmp::TooBig { mtu: u16::try_from(mtu).unwrap_or(u16::MAX) },
            _ => return None,
        };
        self.error_about(packet, error)
    }

    /// A router or box at `place` sends an error off, towards whoever had sent the packet.
    pub(super) fn tell_error(&mut self, place: Place, back: Stop, error: Packet) {
        self.record(place, &error, Fate::Sent);
        match back {
            Stop::Segment(segment) => self.route_packet(segment, error),
            Stop::Gateway(segment) => self.come_in(segment, error),
            Stop::Host(host) => self.receive(host, error),
        }
    }

    /// An error has reached the host it is for.
    pub(super) fn receive_error(&mut self, id: HostId, packet: &Packet, error: Icmp) {
        self.record(self.hosts[id.0].place, packet, Fate::Delivered);
        let wire = packet.path.reversed();
        let mut streams = self.hosts[id.0].streams.values().copied();
        let Some(stream) = streams.find(|stream| self.streams[stream].client.wire == wire) else { return };
        // RFC 1122 §4.2.3.9: once a connection stands, such errors are no reason to give it up.
        if !self.streams[&stream].is_connected() {
            let error = match error {
                Icmp::PortUnreachable => SocketError::Refused,
                _ => SocketError::Unreachable,
            };
            self.break_end(stream, true, error);
        }
    }
}

use std::time::Duration;

use sansio::{Path, Transport};

use super::{Happening, HostId, Net, Packet, SegmentId, Stop};
use crate::content::{Content, Icmp, Traffic};
use crate::digest::hash;
use crate::host::Node;
use crate::link::Direction;
use crate::record::{Cause, Fate, Place};
use crate::segment::{Attached, Hop};
use crate::tray::{Wish, Written};

/// How long a packet takes from a host to itself.
const LOOPBACK: Duration = Duration::from_micros(20);

/// The way of a packet: from a host over wires and segments, through boxes, to a host.
impl Net {
    pub(super) fn packet(&mut self, path: Path, payload: Vec<u8>, content: Content) -> Packet {
        self.next_packet += 1;
        let mut packet = Packet {
            id: self.next_packet,
            path,
            payload,
            content,
            hash: 0,
            capable: false,
            marked: false,
            kept: None,
            part: None,
        };
        self.look_at(&mut packet);
        packet
    }

    /// Notes what the trace wants to know about a payload.
    fn look_at(&self, packet: &mut Packet) {
        if self.trace.is_on() {
            packet.hash = hash(&packet.payload);
        }
        if self.trace.keeps_payloads() {
            packet.kept = Some(packet.payload.as_slice().into());
        }
    }

    /// Sends a datagram. One that must not be fragmented may be too large: it is how MTUs are found out.
    pub(super) fn send(&mut self, id: HostId, node: &dyn Node, written: Written) {
        let Written { mut path, bytes: payload, wish } = written;
        if path.local.ip().is_unspecified()
            && let Some(source) = self.hosts[id.0].source_for(path.remote.ip())
        {
            path.local.set_ip(source);
        }
        if path.transport != Transport::Udp {
            return self.send_message(id, path, payload);
        }
        let host = &self.hosts[id.0];
        let place = host.place;
        if host.socket_for(path.local).is_none() || !host.owns(path.local.ip()) {
            let excused = host.was_bound(path.local) || host.socket_for(path.local).is_some();
            if self.laws.senders_are_bound && !excused {
                self.accused(id).condemn(
                    node,
                    format_args!(
                        "it sent {} bytes to {} from {}, where no socket was ever bound (neither by \
                         SocketOp::Bind nor by Net::bind)",
                        payload.len(),
                        path.remote,
                        path.local
                    ),
                );
            }
            let packet = self.packet(path, payload, Content::Datagram);
            return self.drop_packet(place, packet, Cause::NoSocket);
        }
        if self.laws.datagrams_fit_the_mtu
            && wish != Wish::Whole
            && let Some(interface) = host.interface_of(path.local.ip())
        {
            let mtu = self.wires[host.interfaces[interface].wire].link(Direction::Up).mtu;
            let bytes = payload.len() + headers(&path);
            if bytes > mtu {
                self.accused(id).condemn(
                    node,
                    format_args!(
                        "it sent {} bytes to {}; with headers that is {bytes}, and the MTU is {mtu}",
                        payload.len(),
                        path.remote
                    ),
                );
            }
        }
        let mut packet = self.packet(path, payload, Content::Datagram);
        packet.capable = wish == Wish::Capable;
        self.depart(id, packet);
    }

    /// Sends a packet off from a host.
    pub(super) fn depart(&mut self, id: HostId, packet: Packet) {
        let host = &self.hosts[id.0];
        let (place, local, remote) = (host.place, packet.path.local.ip(), packet.path.remote.ip());
        let home = host.owns(remote);
        let interface = host.interface_of(local).map(|index| &host.interfaces[index]);
        let interface = interface.map(|interface| (interface.segment, interface.wire));
        self.record(place, &packet, Fate::Sent);
        if home {
            return self.calendar.push(self.now + LOOPBACK, Happening::Arrival(Stop::Host(id), packet));
        }
        match interface {
            Some((segment, wire)) => {
                self.cross(wire, Direction::Up, place, Stop::Segment(segment), None, packet);
            }
            None => self.drop_packet(place, packet, Cause::NoRoute),
        }
    }

    /// A packet goes over a wire. If it does not fit, an error goes `back`.
    fn cross(
        &mut self,
        wire: usize,
        direction: Direction,
        place: Place,
        to: Stop,
        back: Option<Stop>,
        mut packet: Packet,
    ) {
        let bytes = packet.payload.len() + headers(&packet.path);
        let passage = match self.wires[wire].cross(self.now, direction, bytes, packet.part.is_some()) {
            Ok(passage) => passage,
            Err(cause) => {
                let error = back.and_then(|back| Some((back, self.error_for(&packet, cause)?)));
                self.drop_packet(place, packet, cause);
                if let Some((back, error)) = error {
                    self.tell_error(place, back, error);
                }
                return;
            }
        };
        packet.marked |= packet.capable && passage.crowded;
        if let Some(again) = passage.duplicate {
            let payload = self.tray.copy(&packet.payload);
            self.record(place, &packet, Fate::Duplicated);
            let again_packet =
                Packet { payload, part: packet.part.clone(), kept: packet.kept.clone(), ..packet };
            self.calendar.push(again, Happening::Arrival(to, again_packet));
        }
        if passage.tampered && !packet.payload.is_empty() {
            let dice = self.wires[wire].dice(direction);
            for _ in 0..=dice.below(4) {
                let bit = dice.below(packet.payload.len() as u64 * 8);
                packet.payload[(bit / 8) as usize] ^= 1 << (bit % 8);
            }
            self.look_at(&mut packet);
            self.record(place, &packet, Fate::Tampered);
        }
        self.calendar.push(passage.arrival, Happening::Arrival(to, packet));
    }

    /// A packet is on a segment: to its host, into a network below, or out.
    pub(super) fn route_packet(&mut self, segment: SegmentId, packet: Packet) {
        let back = Some(Stop::Segment(segment));
        match self.segments[segment.0].hop(packet.path.remote.ip()) {
            Hop::To(Attached::Host(id, interface)) => {
                let host = &self.hosts[id.0];
                let (place, wire) = (host.place, host.interfaces[interface].wire);
                self.cross(wire, Direction::Down, place, Stop::Host(id), back, packet);
            }
            Hop::To(Attached::Gateway(inner)) => {
                let gateway = self.gateway(inner);
                let (place, uplink) = (gateway.place, gateway.uplink);
                self.cross(uplink, Direction::Down, place, Stop::Gateway(inner), back, packet);
            }
            Hop::Out => self.go_out(segment, packet),
            Hop::NoHost => self.drop_on(segment, packet, Cause::NoHost),
            Hop::NoRoute => self.drop_on(segment, packet, Cause::NoRoute),
        }
    }

    /// A packet leaves a segment through its box, or turns there.
    fn go_out(&mut self, segment: SegmentId, mut packet: Packet) {
        let (now, content) = (self.now, packet.content);
        let gateway = self.gateway_mut(segment);
        let (place, uplink, outside) = (gateway.place, gateway.uplink, gateway.outside);
        let turns = gateway.owns(packet.path.remote.ip());
        let translated = if turns {
            gateway.nat.turn_round(now, packet.path, content)
        } else {
            gateway.nat.outbound(now, packet.path, content)
        };
        match translated {
            Err(refusal) => {
                let answer = if gateway.nat.resets() { self.refuse(&packet) } else { None };
                self.drop_packet(place, packet, Cause::Refused(refusal));
                if let Some(answer) = answer {
                    self.tell_error(place, Stop::Segment(segment), answer);
                }
            }
            Ok(path) => {
                self.translate(place, &mut packet, path, true);
                if turns {
                    self.route_packet(segment, packet);
                } else {
                    // What is told about it comes in from outside, and is translated back.
                    let back = Some(Stop::Gateway(segment));
                    self.cross(uplink, Direction::Up, place, Stop::Segment(outside), back, packet);
                }
            }
        }
    }

    /// What a box that refuses aloud answers.
    fn refuse(&mut self, packet: &Packet) -> Option<Packet> {
        match packet.content {
            Content::Datagram | Content::Echo { .. } => self.error_about(packet, Icmp::Prohibited),
            _ => self.reset_for(packet),
        }
    }

    /// A packet has come to the outer side of a box.
    pub(super) fn come_in(&mut self, segment: SegmentId, mut packet: Packet) {
        let (now, content) = (self.now, packet.content);
        let gateway = self.gateway_mut(segment);
        let (place, uplink, outside) = (gateway.place, gateway.uplink, gateway.outside);
        match gateway.nat.inbound(now, packet.path.reversed(), content) {
            Err(refusal) => {
                let answer = if gateway.nat.resets() { self.refuse(&packet) } else { None };
                self.drop_packet(place, packet, Cause::Refused(refusal));
                if let Some(answer) = answer {
                    self.record(place, &answer, Fate::Sent);
                    self.cross(uplink, Direction::Up, place, Stop::Segment(outside), None, answer);
                }
            }
            Ok(path) => {
                self.translate(place, &mut packet, path.reversed(), false);
                // A box that maps an outer address to itself must not send the packet round in circles.
                match self.segments[segment.0].hop(packet.path.remote.ip()) {
                    Hop::Out => self.drop_packet(place, packet, Cause::NoRoute),
                    _ => self.route_packet(segment, packet),
                }
            }
        }
    }

    fn translate(&mut self, place: Place, packet: &mut Packet, path: Path, outward: bool) {
        if packet.path == path {
            return self.record(place, packet, Fate::Passed { outward });
        }
        self.record(place, packet, Fate::Translated { to: path });
        packet.path = path;
    }

    pub(super) fn receive(&mut self, id: HostId, mut packet: Packet) {
        let host = &self.hosts[id.0];
        let place = host.place;
        if host.asleep.is_some() {
            return self.drop_packet(place, packet, Cause::Asleep);
        }
        if packet.part.is_some() {
            return self.receive_part(id, packet);
        }
        if let Some(error) = packet.content.error() {
            return self.receive_error(id, &packet, error);
        }
        if Traffic::of(&packet.path, packet.content) == Traffic::Query {
            return self.receive_query(id, packet);
        }
        if host.socket_for(packet.path.remote).is_none() || host.node.is_none() {
            let error = self.error_about(&packet, Icmp::PortUnreachable);
            self.drop_packet(place, packet, Cause::NoSocket);
            return error.map_or((), |error| self.depart(id, error));
        }
        self.record(place, &packet, Fate::Delivered);
        let from = packet.path.reversed();
        let marked = packet.marked;
        self.drive(id, |node, now, tray| {
            if marked {
                node.mark(now);
            }
            node.datagram(now, from, &mut packet.payload, tray);
        });
        self.tray.recycle(packet.payload);
    }

    /// A packet goes no further; a part of a stream will be sent again.
    pub(super) fn drop_packet(&mut self, place: Place, packet: Packet, cause: Cause) {
        self.record(place, &packet, Fate::Dropped(cause));
        if packet.part.is_some() {
            self.part_dropped(packet);
        } else {
            self.tray.recycle(packet.payload);
        }
    }

    fn drop_on(&mut self, segment: SegmentId, packet: Packet, cause: Cause) {
        let place = self.segments[segment.0].gateway.as_ref().map_or(self.core, |gateway| gateway.place);
        let error = self.error_for(&packet, cause);
        self.drop_packet(place, packet, cause);
        if let Some(error) = error {
            self.tell_error(place, Stop::Segment(segment), error);
        }
    }
}

/// Bytes of IP and UDP or TCP headers.
fn headers(path: &Path) -> usize {
    let ip = if path.remote.is_ipv4() { 20 } else { 40 };
    ip + if path.transport == Transport::Udp { 8 } else { 20 }
}

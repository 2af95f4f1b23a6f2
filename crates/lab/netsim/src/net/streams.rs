use std::net::{IpAddr, SocketAddr};

use sansio::{Path, SocketError, SocketReply, Ticket, Transport};

use super::{Happening, HostId, Net, Packet};
use crate::content::Content;
use crate::record::{Cause, Fate};
use crate::stream::{End, GIVE_UP, Kind, Opening, Part, Stream, StreamId, WINDOW};

/// Streams: connecting, sending, closing. What a part is, is told in [`crate::stream`].
impl Net {
    pub(super) fn connect(
        &mut self,
        id: HostId,
        ticket: Ticket,
        transport: Transport,
        local: Option<IpAddr>,
        remote: SocketAddr,
        server_name: String,
    ) -> Result<(), SocketError> {
        let host = &mut self.hosts[id.0];
        let local = local.filter(|local| !local.is_unspecified()).or_else(|| host.source_for(remote.ip()));
        let local = local.filter(|&local| host.owns(local) && local.is_ipv4() == remote.is_ipv4());
        let local = host.stream_port(local.ok_or(SocketError::Unreachable)?)?;
        let path = Path::new(transport, local, remote);
        let proxy = self.proxy_for(id, path);
        let wire = proxy.map_or(path, |proxy| Path::new(Transport::Tcp, local, proxy));
        self.next_stream += 1;
        let stream = StreamId(self.next_stream);
        self.hosts[id.0].streams.insert(path, stream);
        let client = End { host: id, path, wire, open: true };
        self.streams.insert(stream, Stream::new(ticket, server_name, client));
        self.calendar.push(self.now + self.timing.connect_timeout, Happening::ConnectTimeout(stream));
        self.send_part(stream, true, Kind::Syn, Vec::new());
        Ok(())
    }

    pub(super) fn connect_timeout(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(|stream| !stream.is_connected()) {
            self.break_end(id, true, SocketError::TimedOut);
        }
    }

    /// A machine sends a message by a stream's path.
    pub(super) fn send_message(&mut self, id: HostId, path: Path, payload: Vec<u8>) {
        let place = self.hosts[id.0].place;
        let Some(&stream) = self.hosts[id.0].streams.get(&path) else {
            let packet = self.packet(path, payload, Content::Message);
            return self.drop_packet(place, packet, Cause::StreamGone);
        };
        let flow_owner = self.streams.get_mut(&stream).expect("a host's streams are streams of the net");
        let from_client = flow_owner.client.host == id && flow_owner.client.path == path;
        let flow = flow_owner.flow(from_client);
        if flow.under_way + payload.len() > WINDOW {
            let packet = self.packet(path, payload, Content::Message);
            return self.drop_packet(place, packet, Cause::StreamFull);
        }
        self.send_words(stream, from_client, payload);
    }

    /// A message leaves, whoever says it: the machine, or the network in its name.
    pub(super) fn send_words(&mut self, stream: StreamId, from_client: bool, payload: Vec<u8>) {
        let Some(owner) = self.streams.get_mut(&stream) else { return };
        let sequence = owner.flow(from_client).push(payload.len());
        self.send_part(stream, from_client, Kind::Message { sequence }, payload);
    }

    /// A machine closes a stream, or its process ends. What was sent before still arrives.
    pub(super) fn disconnect(&mut self, id: HostId, path: Path) {
        let Some(&stream) = self.hosts[id.0].streams.get(&path) else { return };
        let owner = self.streams.get_mut(&stream).expect("a host's streams are streams of the net");
        let from_client = owner.client.host == id && owner.client.path == path;
        self.finish(stream, from_client);
        self.close_end(stream, from_client);
    }

    /// One end has no more to say.
    pub(super) fn finish(&mut self, stream: StreamId, from_client: bool) {
        let Some(owner) = self.streams.get_mut(&stream) else { return };
        let sequence = owner.flow(from_client).push(0);
        self.send_part(stream, from_client, Kind::Fin { sequence }, Vec::new());
    }

    fn send_part(&mut self, stream: StreamId, from_client: bool, kind: Kind, payload: Vec<u8>) {
        let Some(end) = self.streams.get(&stream).and_then(|stream| stream.end(from_client)) else { return };
        self.send_part_from(end.host, end.wire, stream, from_client, kind, payload);
    }

    fn send_part_from(
        &mut self,
        sender: HostId,
        origin: Path,
        stream: StreamId,
        from_client: bool,
        kind: Kind,
        payload: Vec<u8>,
    ) {
        let content = kind.content(&payload);
        let mut packet = self.packet(origin, payload, content);
        let first_sent = self.now;
        let part = Part { stream, from_client, kind, sender: Some(sender), origin, first_sent, attempts: 0 };
        packet.part = Some(Box::new(part));
        self.depart(sender, packet);
    }

    /// A part was dropped somewhere; its sender will notice.
    pub(super) fn part_dropped(&mut self, mut packet: Packet) {
        let Some(part) = &mut packet.part else { return };
        if !self.streams.contains_key(&part.stream) || part.sender.is_none() {
            return;
        }
        if self.now - part.first_sent > GIVE_UP {
            let (stream, from_client) = (part.stream, part.from_client);
            return self.break_end(stream, from_client, SocketError::TimedOut);
        }
        let timeout = part.timeout();
        part.attempts += 1;
        packet.path = part.origin;
        self.calendar.push(self.now + timeout, Happening::Repeat(packet));
    }

    pub(super) fn repeat(&mut self, packet: Packet) {
        let Some(part) = &packet.part else { return };
        let Some(sender) = part.sender.filter(|_| self.streams.contains_key(&part.stream)) else { return };
        if self.hosts[sender.0].asleep.is_some() {
            return self.part_dropped(packet); // it will not go out, but its time runs
        }
        self.depart(sender, packet);
    }

    /// What a box answers to the first packet of a stream that may not pass, in the name of whom that was for: what
    /// `reject with tcp reset` does.
    pub(super) fn reset_for(&mut self, packet: &Packet) -> Option<Packet> {
        let part = packet.part.as_ref().filter(|part| part.kind == Kind::Syn)?;
        let kind = Kind::Reset(SocketError::Refused);
        let mut reset = self.packet(packet.path.reversed(), Vec::new(), kind.content(&[]));
        reset.part = Some(Box::new(Part {
            stream: part.stream,
            from_client: !part.from_client,
            kind,
            sender: None,
            origin: reset.path,
            first_sent: self.now,
            attempts: 0,
        }));
        Some(reset)
    }

    /// A part has reached a host.
    pub(super) fn receive_part(&mut self, id: HostId, mut packet: Packet) {
        let place = self.hosts[id.0].place;
        let Some(part) = packet.part.take() else { return };
        let (stream, to_client) = (part.stream, !part.from_client);
        if !self.streams.contains_key(&stream) {
            return self.drop_packet(place, packet, Cause::StreamGone);
        }
        self.record(place, &packet, Fate::Delivered);
        let here = packet.path.reversed();
        match part.kind {
            Kind::Syn => self.accept(id, stream, here),
            Kind::SynAck => {
                if self.streams[&stream].opening == Opening::Tcp {
                    self.open(stream);
                }
            }
            Kind::Reset(error) => self.break_end(stream, to_client, error),
            Kind::Message { sequence } | Kind::Fin { sequence } => {
                let end = self.streams[&stream].end(to_client).filter(|end| end.open);
                if end.is_none_or(|end| end.wire != here) {
                    // Closed, or a NAT has changed the address: nobody here knows this stream.
                    let reset = Kind::Reset(SocketError::Closed);
                    return self.send_part_from(id, here, stream, to_client, reset, Vec::new());
                }
                let owner = self.streams.get_mut(&stream).expect("it was there above");
                owner.flow(part.from_client).put(sequence, part.kind, packet.payload);
                self.deliver(stream, part.from_client);
            }
        }
    }

    /// The first packet of a stream: somebody listens, or the answer is a reset.
    fn accept(&mut self, id: HostId, stream: StreamId, here: Path) {
        let host = &mut self.hosts[id.0];
        let Some(listener) = host.listener_for(here.local).filter(|_| host.node.is_some()) else {
            let reset = Kind::Reset(SocketError::Refused);
            return self.send_part_from(id, here, stream, false, reset, Vec::new());
        };
        let tls = listener.transport == Transport::Tls;
        let owner = self.streams.get_mut(&stream).expect("the caller has looked");
        if owner.server.is_none() {
            // Whoever came through a proxy speaks TLS inside of a stream that seems plain.
            let path = if tls { Path { transport: Transport::Tls, ..here } } else { here };
            owner.server = Some(End { host: id, path, wire: here, open: true });
            owner.waits_for_hello = tls || here.transport == Transport::Tls;
            if let Some(old) = host.streams.insert(path, stream) {
                self.break_end(old, false, SocketError::Closed);
                self.hosts[id.0].streams.insert(path, stream);
            }
        }
        self.send_part(stream, false, Kind::SynAck, Vec::new());
    }

    /// Hands over what has arrived in order.
    fn deliver(&mut self, id: StreamId, from_client: bool) {
        while let Some(stream) = self.streams.get_mut(&id)
            && let Some(end) = stream.end(!from_client).filter(|end| end.open)
            && let Some((kind, mut payload)) = stream.flow(from_client).take()
        {
            let (opening, greets) = (!stream.is_connected(), stream.waits_for_hello);
            if let Kind::Fin { .. } = kind {
                return self.break_end(id, !from_client, SocketError::Closed);
            }
            if !from_client && opening {
                self.hear_answer(id, &payload);
                continue;
            }
            if from_client && greets {
                self.hear_hello(id, &payload);
                continue;
            }
            self.drive(end.host, |node, now, tray| node.datagram(now, end.path, &mut payload, tray));
            self.tray.recycle(payload);
        }
    }

    /// An end learns that its stream is over, or that there will be none.
    pub(super) fn break_end(&mut self, id: StreamId, client: bool, error: SocketError) {
        let Some(stream) = self.streams.get(&id) else { return };
        let Some(end) = stream.end(client).filter(|end| end.open) else { return };
        let reply = if client && !stream.is_connected() {
            SocketReply::Failed { ticket: stream.ticket, error }
        } else {
            SocketReply::Disconnected { path: end.path, error }
        };
        self.close_end(id, client);
        self.tell(end.host, reply);
    }

    fn close_end(&mut self, id: StreamId, client: bool) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if let Some(end) = stream.end(client) {
            stream.close(client);
            self.hosts[end.host.0].streams.remove(&end.path);
        }
        let stream = &self.streams[&id];
        if !stream.is_open(true) && !stream.is_open(false) {
            self.streams.remove(&id);
        }
    }
}

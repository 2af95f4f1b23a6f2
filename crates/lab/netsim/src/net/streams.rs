use std::net::{IpAddr, SocketAddr};

use sansio::{Path, SocketError, SocketReply, Ticket, Transport};

use super::{Happening, HostId, Net, Packet};
use crate::content::Content;
use crate::record::{Cause, Fate};
use crate::stream::{End, GIVE_UP, Kind, Part, Stream, StreamId, WINDOW};

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
        self.next_stream += 1;
        let stream = StreamId(self.next_stream);
        host.streams.insert(path, stream);
        let client = End { host: id, path, open: true };
        self.streams.insert(stream, Stream::new(transport, ticket, server_name, client));
        self.calendar.push(self.now + self.timing.connect_timeout, Happening::ConnectTimeout(stream));
        self.send_part(stream, true, Kind::Syn, Vec::new());
        Ok(())
    }

    pub(super) fn connect_timeout(&mut self, id: StreamId) {
        if self.streams.get(&id).is_some_and(|stream| !stream.connected) {
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
        flow.under_way += payload.len();
        let sequence = flow.next;
        flow.next += 1;
        self.send_part(stream, from_client, Kind::Message { sequence }, payload);
    }

    /// A machine closes a stream, or its process ends. What was sent before still arrives.
    pub(super) fn disconnect(&mut self, id: HostId, path: Path) {
        let Some(&stream) = self.hosts[id.0].streams.get(&path) else { return };
        let owner = self.streams.get_mut(&stream).expect("a host's streams are streams of the net");
        let from_client = owner.client.host == id && owner.client.path == path;
        let flow = owner.flow(from_client);
        let sequence = flow.next;
        flow.next += 1;
        self.send_part(stream, from_client, Kind::Fin { sequence }, Vec::new());
        self.close_end(stream, from_client);
    }

    fn send_part(&mut self, stream: StreamId, from_client: bool, kind: Kind, payload: Vec<u8>) {
        let Some(end) = self.streams.get(&stream).and_then(|stream| stream.end(from_client)) else { return };
        self.send_part_from(end.host, end.path, stream, from_client, kind, payload);
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
        let mut packet = self.packet(origin, payload, kind.content());
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
        let mut reset = self.packet(packet.path.reversed(), Vec::new(), kind.content());
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
            Kind::SynAck if self.streams[&stream].transport == Transport::Tls => {
                self.send_part(stream, true, Kind::Hello, Vec::new());
            }
            Kind::SynAck | Kind::HelloAck => self.connected(stream),
            Kind::Hello => {
                let answer = self.hello(id, stream);
                self.send_part(stream, false, answer, Vec::new());
            }
            Kind::Alert(why) => self.break_end(stream, true, SocketError::Tls(why)),
            Kind::Reset(error) => self.break_end(stream, to_client, error),
            Kind::Message { sequence } | Kind::Fin { sequence } => {
                let end = self.streams[&stream].end(to_client).filter(|end| end.open);
                if end.is_none_or(|end| end.path != here) {
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
        if host.node.is_none() || host.listener_for(here.local).is_none() {
            let reset = Kind::Reset(SocketError::Refused);
            return self.send_part_from(id, here, stream, false, reset, Vec::new());
        }
        let owner = self.streams.get_mut(&stream).expect("the caller has looked");
        if owner.server.is_none() {
            owner.server = Some(End { host: id, path: here, open: true });
            if let Some(old) = host.streams.insert(here, stream) {
                self.break_end(old, false, SocketError::Closed);
                self.hosts[id.0].streams.insert(here, stream);
            }
        }
        self.send_part(stream, false, Kind::SynAck, Vec::new());
    }

    /// What a listener answers to a TLS client.
    fn hello(&self, id: HostId, stream: StreamId) -> Kind {
        let owner = &self.streams[&stream];
        let asked = owner.server_name.to_ascii_lowercase();
        let listener = owner.server.and_then(|server| self.hosts[id.0].listener_for(server.path.local));
        match listener {
            Some(listener) if listener.transport != Transport::Tls => {
                Kind::Alert("the server does not speak TLS".to_owned())
            }
            Some(listener) => match &listener.name {
                Some(name) if *name != asked => {
                    Kind::Alert(format!("the certificate is for {name}, not for {asked}"))
                }
                _ => Kind::HelloAck,
            },
            None => Kind::Reset(SocketError::Closed),
        }
    }

    fn connected(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        if !stream.client.open || std::mem::replace(&mut stream.connected, true) {
            return;
        }
        let (End { host, path, .. }, ticket) = (stream.client, stream.ticket);
        self.tell(host, SocketReply::Connected { ticket, path });
    }

    /// Hands over what has arrived in order.
    fn deliver(&mut self, id: StreamId, from_client: bool) {
        while let Some(stream) = self.streams.get_mut(&id)
            && let Some(end) = stream.end(!from_client).filter(|end| end.open)
            && let Some((kind, mut payload)) = stream.flow(from_client).take()
        {
            if let Kind::Fin { .. } = kind {
                return self.break_end(id, !from_client, SocketError::Closed);
            }
            self.drive(end.host, |node, now, tray| node.datagram(now, end.path, &mut payload, tray));
            self.tray.recycle(payload);
        }
    }

    /// An end learns that its stream is over, or that there will be none.
    pub(super) fn break_end(&mut self, id: StreamId, client: bool, error: SocketError) {
        let Some(stream) = self.streams.get(&id) else { return };
        let Some(end) = stream.end(client).filter(|end| end.open) else { return };
        let reply = if client && !stream.connected {
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

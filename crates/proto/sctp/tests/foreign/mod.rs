//! Another SCTP engine, `sctp-proto`, as a peer: with bugs and opinions of its own.
#![allow(dead_code, reason = "each user takes its part")]
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the engine wants this type of time")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sansio::Time;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier, ReliabilityType, StreamEvent, Transmit, TransportConfig,
};

/// It wants an address for its one peer, and does nothing with it.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

/// The foreign engine, which begins the association or is told its terms.
pub(crate) struct Foreign {
    endpoint: Endpoint,
    handle: AssociationHandle,
    association: Association,
    base: Instant,
    /// Streams on which something may be read.
    pub(crate) readable: Vec<u16>,
    /// Streams that the peer has reset.
    pub(crate) finished: Vec<u16>,
    pub(crate) connected: bool,
    pub(crate) lost: bool,
}

impl Foreign {
    /// One that begins with an INIT; with `terms`, both sides' INIT chunks, it is up at once.
    pub(crate) fn new(mtu: usize, window: u32, terms: Option<(Vec<u8>, Vec<u8>)>) -> Self {
        let transport = TransportConfig::default()
            .with_local_port(5000)
            .with_remote_port(5000)
            .with_max_receive_buffer_size(window)
            .with_max_receive_message_size(256 * 1024)
            .with_max_send_message_size(256 * 1024)
            .with_max_data_retransmits(None);
        let mut config = EndpointConfig::new();
        config.max_payload_size(((mtu - 28) & !3) as u32);
        let mut endpoint = Endpoint::new(Arc::new(config), None);
        let mut client = ClientConfig::new();
        client.transport = Arc::new(transport);
        if let Some((local, remote)) = terms {
            client = client.with_snap(local.into(), remote.into());
        }
        let (handle, association) = endpoint.connect(client, NOWHERE).expect("it can begin");
        let base = Instant::now();
        Self {
            endpoint,
            handle,
            association,
            base,
            readable: Vec::new(),
            finished: Vec::new(),
            connected: false,
            lost: false,
        }
    }

    fn instant(&self, now: Time) -> Instant {
        self.base + now.elapsed()
    }

    pub(crate) fn handle(&mut self, now: Time, packet: &[u8]) {
        self.handle_timeout(now);
        let at = self.instant(now);
        let data = Bytes::copy_from_slice(packet);
        match self.endpoint.handle(at, NOWHERE, None, None, data) {
            Some((_, DatagramEvent::AssociationEvent(event))) => self.association.handle_event(event),
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                (self.handle, self.association) = (handle, association);
            }
            None => {}
        }
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.association.poll_endpoint_event() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.association.handle_event(event);
            }
        }
        while let Some(event) = self.association.poll() {
            match event {
                Event::Connected => self.connected = true,
                Event::Stream(StreamEvent::Opened { .. }) => drop(self.association.accept_stream()),
                Event::Stream(StreamEvent::Readable { id }) => self.readable.push(id),
                Event::Stream(StreamEvent::Finished { id }) => self.finished.push(id),
                Event::AssociationLost { .. } => self.lost = true,
                _ => {}
            }
        }
    }

    /// What it wants to send.
    pub(crate) fn transmit(&mut self, now: Time) -> Vec<Bytes> {
        let at = self.instant(now);
        let mut packets = Vec::new();
        let mut take = |transmit: Transmit| {
            if let Payload::RawEncode(raw) = transmit.payload {
                packets.extend(raw);
            }
        };
        while let Some(transmit) = self.endpoint.poll_transmit() {
            take(transmit);
        }
        while let Some(transmit) = self.association.poll_transmit(at) {
            take(transmit);
        }
        self.drain();
        packets
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let at = self.association.poll_timeout()?;
        Some(Time::from_start(at.saturating_duration_since(self.base)))
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            let at = self.instant(now);
            self.association.handle_timeout(at);
            self.drain();
        }
    }

    /// Begins with a stream. `retransmissions`: reliable if there are none.
    pub(crate) fn open(&mut self, stream: u16, ordered: bool, retransmissions: Option<u32>) {
        let _ = self.association.open_stream(stream, PayloadProtocolIdentifier::Binary);
        let (kind, value) = match retransmissions {
            Some(count) => (ReliabilityType::Rexmit, count),
            None => (ReliabilityType::Reliable, 0),
        };
        let mut stream = self.association.stream(stream).expect("it is open");
        stream.set_reliability_params(!ordered, kind, value).expect("they are sound");
    }

    pub(crate) fn write(&mut self, stream: u16, data: &[u8]) {
        self.association.stream(stream).expect("it is open").write(data).expect("it is taken");
    }

    pub(crate) fn buffered(&mut self, stream: u16) -> usize {
        self.association.stream(stream).and_then(|stream| stream.buffered_amount()).unwrap_or(0)
    }

    pub(crate) fn close(&mut self, stream: u16) {
        let _ = self.association.stream(stream).and_then(|mut stream| stream.close());
    }

    pub(crate) fn read(&mut self, stream: u16) -> Option<Bytes> {
        let mut message = self.association.stream(stream).ok()?.read().ok()??;
        Some(message.next(message.len())?.bytes)
    }
}

//! The borrowed engine (`sctp-proto`): transmission, congestion control, reassembly and stream resets of an
//! association whose terms are agreed. Nothing outside this file knows whose it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use sansio::Time;
use sctp_proto::{
    Association, AssociationError, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event,
    PayloadProtocolIdentifier, ReliabilityType, StreamEvent, TransportConfig,
};

use crate::init::Init;
use crate::instant::{instant, time};
use crate::packet::{self, CHUNK_HEADER, HEADER, Header, kind};
use crate::{Config, Reliability, SctpError};

/// The engine wants an address for its one peer, and does nothing with it.
const NOWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);
/// Bytes of a DATA chunk before its payload (RFC 9260 §3.3.1).
const DATA_HEADER: usize = 16;
/// Retransmission timeouts in milliseconds: the first, the least (more than the 200 ms for which a peer may hold an
/// acknowledgement back), and the greatest. RFC 9260 §16 suggests 1 s, 1 s and 60 s, for networks where nobody else
/// would notice that a path is gone; here ICE does, and a path that comes back must not lie idle for a minute.
const RTO: (u64, u64, u64) = (500, 400, 3_000);
/// Bytes that are taken beyond the receive window that the peer is told. A peer that was told that there is no room
/// sends one packet now and then to see whether there is again (RFC 9260 §6.1 A). The engine drops what is beyond its
/// window, and then the peer would wait for a timeout, and begin slowly, although it was told of new room long before.
pub(crate) const HIDDEN_WINDOW: u32 = 256 * 1024;
/// Retransmissions of a stream reset.
const RESET_ATTEMPTS: usize = 12;

/// The payload protocol identifiers of data channels (RFC 8831 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Dcep,
    Text,
    Binary,
    TextEmpty,
    BinaryEmpty,
    Unknown,
}

/// What the engine has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// There may be messages to read on a stream.
    Readable(u16),
    /// The peer reset its half of the stream, and all that came before has been read.
    Finished(u16),
    /// The reset of a stream is over, in whatever way.
    Reset(u16),
    /// The engine gave up the association.
    Lost(SctpError),
}

/// Where the SCTP packets of an agreed association are made and understood.
#[derive(Debug)]
pub(crate) struct Engine {
    endpoint: Endpoint,
    association: Association,
    /// What a packet from the peer starts with, for those that we make up ourselves.
    from_peer: Header,
    /// Whether [`Engine::transmit`] may have something to say.
    dirty: bool,
    closed: bool,
}

impl Engine {
    /// `None` if the engine does not like the terms.
    pub(crate) fn new(config: &Config, local: &Init, peer: &Init) -> Option<Self> {
        let transport = TransportConfig::default()
            .with_local_port(config.local_port)
            .with_remote_port(config.remote_port)
            .with_max_receive_buffer_size(local.window.saturating_add(HIDDEN_WINDOW))
            .with_max_receive_message_size(config.local_max_message_size)
            // The limit of the peer is kept above, where it can be told apart from none.
            .with_max_send_message_size(u32::MAX)
            .with_max_num_inbound_streams(local.inbound)
            .with_max_num_outbound_streams(local.outbound)
            .with_max_init_retransmits(Some(RESET_ATTEMPTS))
            .with_max_data_retransmits(None)
            .with_rto_initial_ms(RTO.0)
            .with_rto_min_ms(RTO.1)
            .with_rto_max_ms(RTO.2);
        let mut endpoint_config = EndpointConfig::new();
        // A multiple of 4, so that a full packet needs no padding and all full packets are of one size.
        let payload = (config.mtu - HEADER - DATA_HEADER) & !3;
        endpoint_config.max_payload_size(payload as u32);
        let mut endpoint = Endpoint::new(Arc::new(endpoint_config), None);
        let mut client = ClientConfig::new();
        client.transport = Arc::new(transport);
        // The handshake is ours (`handshake.rs`); the engine starts from what it agreed on.
        let (handle, association) =
            endpoint.connect(client.with_snap(chunk(local), chunk(peer)), NOWHERE).ok()?;
        let _ = handle;
        let from_peer = Header { source: config.remote_port, destination: config.local_port, tag: local.tag };
        Some(Self { endpoint, association, from_peer, dirty: true, closed: false })
    }

    /// Takes a packet whose verification tag is ours. Copies it: the engine keeps parts of it.
    pub(crate) fn receive(&mut self, now: Time, packet: &[u8]) {
        self.catch_up(now);
        let data = Bytes::copy_from_slice(packet);
        if let Some((_, DatagramEvent::AssociationEvent(event))) =
            self.endpoint.handle(instant(now), NOWHERE, None, None, data)
        {
            self.association.handle_event(event);
            self.dirty = true;
        }
    }

    /// Makes the engine acknowledge, and tell its window, now: it is shown DATA that it has long had, with the bit
    /// that asks for an immediate answer (RFC 9260 §3.3.1). It has no better way, and a sender that was told that
    /// the window is closed asks again only after seconds.
    pub(crate) fn acknowledge(&mut self, now: Time, tsn: u32) {
        const IMMEDIATE_WHOLE: u8 = 0b1011;
        let mut bytes = [0; HEADER + DATA_HEADER + 4];
        let mut writer = packet::Writer::new(&mut bytes, self.from_peer);
        writer.chunk(kind::DATA, IMMEDIATE_WHOLE, &[&tsn.to_be_bytes(), &[0; 8], &[0]]);
        let used = writer.finish();
        self.receive(now, &bytes[..used]);
    }

    /// The packets that may be sent now.
    pub(crate) fn transmit(&mut self, now: Time, mut take: impl FnMut(Bytes)) {
        self.catch_up(now);
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        if let Some(transmit) = self.association.poll_transmit(instant(now))
            && let sctp_proto::Payload::RawEncode(packets) = transmit.payload
        {
            packets.into_iter().for_each(&mut take);
        }
    }

    /// How often the retransmission timer went off.
    pub(crate) fn timeouts(&self) -> u64 {
        self.association.stats().get_num_t3timeouts()
    }

    /// Whether [`Engine::transmit`] may have something to say.
    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// Creates our half of a stream. `false`: not yet, because the reset that ended its former use is not over.
    pub(crate) fn open(&mut self, stream: u16) -> bool {
        // It exists already if the peer was first to send.
        let opened = self.association.open_stream(stream, PayloadProtocolIdentifier::Binary);
        !matches!(opened, Err(sctp_proto::Error::ErrStreamResetPending))
    }

    /// How further messages on a stream are sent.
    pub(crate) fn set_reliability(&mut self, stream: u16, unordered: bool, reliability: Reliability) {
        let (kind, value) = match reliability {
            Reliability::Reliable => (ReliabilityType::Reliable, 0),
            Reliability::MaxRetransmits(count) => (ReliabilityType::Rexmit, count.into()),
            Reliability::MaxLifetime(time) => {
                (ReliabilityType::Timed, u32::try_from(time.as_millis()).unwrap_or(u32::MAX))
            }
        };
        if let Ok(mut stream) = self.association.stream(stream) {
            let _ = stream.set_reliability_params(unordered, kind, value);
        }
    }

    /// Queues a message, which must not be empty. Returns whether it was taken. Does not copy.
    pub(crate) fn write(&mut self, stream: u16, protocol: Protocol, data: Bytes) -> bool {
        let Ok(mut stream) = self.association.stream(stream) else { return false };
        let protocol = match protocol {
            Protocol::Dcep => PayloadProtocolIdentifier::Dcep,
            Protocol::Text => PayloadProtocolIdentifier::String,
            Protocol::Binary => PayloadProtocolIdentifier::Binary,
            Protocol::TextEmpty => PayloadProtocolIdentifier::StringEmpty,
            Protocol::BinaryEmpty => PayloadProtocolIdentifier::BinaryEmpty,
            Protocol::Unknown => PayloadProtocolIdentifier::Unknown,
        };
        self.dirty = true;
        stream.set_default_payload_type(protocol).is_ok() && stream.write_chunks(&mut [data]).is_ok()
    }

    /// The next message of a stream. Copies its fragments into one piece.
    pub(crate) fn read(&mut self, stream: u16) -> Option<(Protocol, Bytes)> {
        let mut message = self.association.stream(stream).ok()?.read().ok()??;
        let data = message.next(message.len())?.bytes;
        let protocol = match message.ppi {
            PayloadProtocolIdentifier::Dcep => Protocol::Dcep,
            PayloadProtocolIdentifier::String => Protocol::Text,
            PayloadProtocolIdentifier::Binary => Protocol::Binary,
            PayloadProtocolIdentifier::StringEmpty => Protocol::TextEmpty,
            PayloadProtocolIdentifier::BinaryEmpty => Protocol::BinaryEmpty,
            PayloadProtocolIdentifier::Unknown => Protocol::Unknown,
        };
        Some((protocol, data))
    }

    /// Bytes that were written to a stream and are not acknowledged yet.
    pub(crate) fn buffered(&mut self, stream: u16) -> usize {
        self.association.stream(stream).ok().and_then(|stream| stream.buffered_amount().ok()).unwrap_or(0)
    }

    /// Resets our half of a stream (RFC 6525), once all that was written to it is acknowledged. What has not been
    /// read from it is lost.
    pub(crate) fn reset(&mut self, stream: u16) {
        if let Ok(mut stream) = self.association.stream(stream) {
            self.dirty = true;
            let _ = stream.close();
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Notice> {
        loop {
            match self.association.poll() {
                Some(Event::Stream(StreamEvent::Opened { .. })) => drop(self.association.accept_stream()),
                Some(Event::Stream(StreamEvent::Readable { id })) => return Some(Notice::Readable(id)),
                Some(Event::Stream(StreamEvent::Finished { id })) => return Some(Notice::Finished(id)),
                Some(Event::Stream(
                    StreamEvent::ResetComplete { id } | StreamEvent::ResetFailed { id, .. },
                )) => return Some(Notice::Reset(id)),
                Some(Event::AssociationLost { reason }) if !self.closed => {
                    self.closed = true;
                    return Some(Notice::Lost(lost(&reason)));
                }
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// Whether the peer is shutting the association down (RFC 9260 §9.2), or it is over.
    pub(crate) fn is_closing(&self) -> bool {
        self.association.is_closing() || self.association.is_closed()
    }

    /// The smoothed round-trip time.
    pub(crate) fn rtt(&self) -> std::time::Duration {
        self.association.rtt()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.association.poll_timeout().map(time)
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        self.catch_up(now);
    }

    /// Lets the timer that waits run out now: what was lost while there was no path goes again at once.
    pub(crate) fn hurry(&mut self, now: Time) {
        if let Some(at) = self.poll_timeout().filter(|at| *at > now) {
            self.association.handle_timeout(instant(at));
            self.dirty = true;
        }
    }

    /// The engine postpones a timer that is due when something else is asked of it first.
    fn catch_up(&mut self, now: Time) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.association.handle_timeout(instant(now));
            self.dirty = true;
        }
    }
}

fn lost(reason: &AssociationError) -> SctpError {
    SctpError::Protocol(reason.to_string())
}

/// Terms as an INIT chunk, which is what the engine reads them from.
fn chunk(init: &Init) -> Bytes {
    let value = init.value(None);
    let length = (CHUNK_HEADER + value.len()) as u16;
    [&[kind::INIT, 0][..], &length.to_be_bytes(), &value].concat().into()
}

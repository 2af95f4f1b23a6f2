//! Streams as messages: reliable, in order, and without the bytes of TCP.
//!
//! Each part of a stream travels as a packet, through the same links and boxes as a datagram. There are no
//! acknowledgements: the network knows when it drops a part and lets the sender's host send it again, after a
//! timeout that doubles. What a box does to the addresses, and whether it lets a part pass, is as real as for UDP.
//!
//! Before the machines speak, the network says for them what their systems would: what a proxy has to know, and the
//! beginning of TLS ([`Opening`]).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Path, SocketError, Ticket, Time, Transport};

use crate::content::Content;
use crate::net::HostId;
use crate::tls;

/// Names a stream within a network.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct StreamId(pub(crate) u64);

/// How long a part is sent again and again before its stream is given up.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(15);
/// Bytes under way in one direction; a driver would not keep more.
pub(crate) const WINDOW: usize = 1 << 20;

/// What a packet of a stream is.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) stream: StreamId,
    pub(crate) from_client: bool,
    pub(crate) kind: Kind,
    /// `None` for a box, which says things once.
    pub(crate) sender: Option<HostId>,
    /// Its path before any translation.
    pub(crate) origin: Path,
    pub(crate) first_sent: Time,
    pub(crate) attempts: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Syn,
    SynAck,
    Message {
        sequence: u64,
    },
    /// Takes a place among the messages, so that none is lost before it.
    Fin {
        sequence: u64,
    },
    Reset(SocketError),
}

impl Kind {
    pub(crate) fn content(&self, payload: &[u8]) -> Content {
        match self {
            Self::Syn => Content::Syn,
            Self::SynAck => Content::SynAck,
            Self::Message { .. } => tls::content(payload),
            Self::Fin { .. } => Content::Fin,
            Self::Reset(_) => Content::Reset,
        }
    }
}

impl Part {
    /// How long the sender waits before it sends this part again.
    pub(crate) fn timeout(&self) -> Duration {
        let first = if self.kind == Kind::Syn { 1000 } else { 200 };
        Duration::from_millis(first << self.attempts.min(8))
    }
}

/// One end of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) host: HostId,
    /// As its machine knows it: what is behind a proxy, and inside TLS.
    pub(crate) path: Path,
    /// As its packets have it.
    pub(crate) wire: Path,
    pub(crate) open: bool,
}

pub(crate) struct Stream {
    pub(crate) ticket: Ticket,
    pub(crate) server_name: String,
    pub(crate) client: End,
    /// There once the first packet has come through.
    pub(crate) server: Option<End>,
    /// How far the client is.
    pub(crate) opening: Opening,
    /// Whether the server waits for a TLS client's first message.
    pub(crate) waits_for_hello: bool,
    flows: [Flow; 2],
}

/// What has to come before a client's machine may speak, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Opening {
    /// The other end's SYN-ACK.
    Tcp,
    /// A proxy's word that it is connected with the server.
    Proxy,
    /// The TLS server's answer.
    Tls,
    /// Nothing: the machine knows that it is connected.
    Done,
}

/// One direction of a stream.
#[derive(Default)]
pub(crate) struct Flow {
    next: u64,
    expected: u64,
    held: BTreeMap<u64, (Kind, Vec<u8>)>,
    pub(crate) under_way: usize,
}

impl Flow {
    /// A part has arrived, perhaps too early.
    pub(crate) fn put(&mut self, sequence: u64, kind: Kind, payload: Vec<u8>) {
        self.under_way = self.under_way.saturating_sub(payload.len());
        self.held.insert(sequence, (kind, payload));
    }

    /// Counts a part that is about to leave.
    pub(crate) fn push(&mut self, bytes: usize) -> u64 {
        self.under_way += bytes;
        self.next += 1;
        self.next - 1
    }

    /// The next part in order, if it is here.
    pub(crate) fn take(&mut self) -> Option<(Kind, Vec<u8>)> {
        let part = self.held.remove(&self.expected)?;
        self.expected += 1;
        Some(part)
    }
}

impl Stream {
    pub(crate) fn new(ticket: Ticket, server_name: String, client: End) -> Self {
        Self {
            ticket,
            server_name,
            client,
            server: None,
            opening: Opening::Tcp,
            waits_for_hello: false,
            flows: [Flow::default(), Flow::default()],
        }
    }

    /// The proxy through which it goes.
    pub(crate) fn proxy(&self) -> Option<SocketAddr> {
        Some(self.client.wire.remote).filter(|remote| *remote != self.client.path.remote)
    }

    /// Whether the client wants TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.client.path.transport == Transport::Tls
    }

    /// What the server is called: by its name if the client knows one.
    pub(crate) fn target(&self) -> String {
        match self.client.path.remote {
            remote if self.server_name.is_empty() => remote.to_string(),
            remote => format!("{}:{}", self.server_name, remote.port()),
        }
    }

    /// Whether the client has been told that it is connected.
    pub(crate) fn is_connected(&self) -> bool {
        self.opening == Opening::Done
    }

    pub(crate) fn end(&self, client: bool) -> Option<End> {
        if client { Some(self.client) } else { self.server }
    }

    pub(crate) fn close(&mut self, client: bool) {
        match (client, &mut self.server) {
            (true, _) => self.client.open = false,
            (false, Some(server)) => server.open = false,
            (false, None) => {}
        }
    }

    pub(crate) fn is_open(&self, client: bool) -> bool {
        self.end(client).is_some_and(|end| end.open)
    }

    pub(crate) fn flow(&mut self, from_client: bool) -> &mut Flow {
        &mut self.flows[usize::from(from_client)]
    }
}

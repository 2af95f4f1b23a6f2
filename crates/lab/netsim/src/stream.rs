//! Streams as messages: reliable, in order, and without the bytes of TCP.
//!
//! Each part of a stream travels as a packet, through the same links and boxes as a datagram. There are no
//! acknowledgements: the network knows when it drops a part and lets the sender's host send it again, after a
//! timeout that doubles. What a box does to the addresses, and whether it lets a part pass, is as real as for UDP.

use std::collections::BTreeMap;
use std::time::Duration;

use sansio::{Path, SocketError, Ticket, Time, Transport};

use crate::content::Content;
use crate::net::HostId;

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
    /// The TLS client's first flight; which name it asks for is in the [`Stream`].
    Hello,
    /// The TLS server's answer.
    HelloAck,
    /// TLS goes no further, because.
    Alert(String),
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
    pub(crate) fn content(&self) -> Content {
        match self {
            Self::Syn => Content::Syn,
            Self::SynAck => Content::SynAck,
            Self::Hello => Content::TlsHello,
            Self::HelloAck => Content::TlsAnswer,
            Self::Alert(_) => Content::TlsAlert,
            Self::Message { .. } => Content::Message,
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
    pub(crate) path: Path,
    pub(crate) open: bool,
}

pub(crate) struct Stream {
    pub(crate) transport: Transport,
    pub(crate) ticket: Ticket,
    pub(crate) server_name: String,
    pub(crate) client: End,
    /// There once the first packet has come through.
    pub(crate) server: Option<End>,
    /// Whether the client has been told that it is connected.
    pub(crate) connected: bool,
    flows: [Flow; 2],
}

/// One direction of a stream.
#[derive(Default)]
pub(crate) struct Flow {
    pub(crate) next: u64,
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

    /// The next part in order, if it is here.
    pub(crate) fn take(&mut self) -> Option<(Kind, Vec<u8>)> {
        let part = self.held.remove(&self.expected)?;
        self.expected += 1;
        Some(part)
    }
}

impl Stream {
    pub(crate) fn new(transport: Transport, ticket: Ticket, server_name: String, client: End) -> Self {
        Self {
            transport,
            ticket,
            server_name,
            client,
            server: None,
            connected: false,
            flows: [Flow::default(), Flow::default()],
        }
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

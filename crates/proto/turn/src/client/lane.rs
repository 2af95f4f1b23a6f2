use std::net::SocketAddr;

use sansio::{Outbox, Path};
use stun::{Method, TransactionId};

use crate::channel::{ChannelNumber, channel_data_room, write_channel_data};
use crate::indication::{DONT_FRAGMENT_BYTES, indication_room, write_marked};

/// The way to one peer through the relay: what is written here leaves for the server with TURN's header in
/// front, written in place. Made by [`Client::lane`](crate::Client::lane).
pub struct Lane<'a> {
    pub(super) out: &'a mut dyn Outbox,
    pub(super) server: Path,
    pub(super) header: Header<'a>,
    /// Set when something is sent: the path needs no keep-alive then.
    pub(super) active: &'a mut bool,
}

pub(super) enum Header<'a> {
    /// ChannelData.
    Channel(ChannelNumber),
    /// Send indications, each with a transaction id of its own.
    Send { peer: SocketAddr, rng: &'a mut sansio::Rng, whole: bool },
}

impl std::fmt::Debug for Lane<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = match &self.header {
            Header::Channel(number) => format!("channel {number}"),
            Header::Send { peer, .. } => format!("indications to {peer}"),
        };
        write!(f, "Lane({way} by {})", self.server)
    }
}

impl Outbox<()> for Lane<'_> {
    fn room(&self) -> usize {
        let overhead = match &self.header {
            Header::Channel(_) => channel_data_room(0, self.server.transport) + 3,
            Header::Send { peer, whole, .. } => indication_room(*peer, 0) + mark(*whole) + 3,
        };
        self.out.room().saturating_sub(overhead)
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        if max == 0 {
            return true;
        }
        let Path { transport, .. } = self.server;
        let sent = match &mut self.header {
            Header::Channel(number) => {
                let number = *number;
                self.out.send(self.server, channel_data_room(max, transport), &mut |buffer| {
                    write_channel_data(buffer, number, max, transport, fill)
                })
            }
            Header::Send { peer, rng, whole } => {
                let (peer, id, whole) = (*peer, TransactionId(rng.bytes()), *whole);
                self.out.send(self.server, indication_room(peer, max) + mark(whole), &mut |buffer| {
                    write_marked(buffer, Method::SEND, id, peer, whole, max, fill)
                })
            }
        };
        *self.active |= sent;
        sent
    }
}

/// Bytes that DONT-FRAGMENT takes, if it is there.
fn mark(whole: bool) -> usize {
    if whole { DONT_FRAGMENT_BYTES } else { 0 }
}

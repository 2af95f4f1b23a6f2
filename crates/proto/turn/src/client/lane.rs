use std::net::SocketAddr;

use sansio::{Outbox, Path};
use stun::{Method, TransactionId};

use crate::channel::{ChannelNumber, channel_data_room, write_channel_data};
use crate::indication::{indication_room, write_indication};

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
    Send { peer: SocketAddr, rng: &'a mut sansio::Rng },
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
            Header::Send { peer, .. } => indication_room(*peer, 0) + 3,
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
            Header::Send { peer, rng } => {
                let (peer, id) = (*peer, TransactionId(rng.bytes()));
                self.out.send(self.server, indication_room(peer, max), &mut |buffer| {
                    write_indication(buffer, Method::SEND, id, peer, max, fill)
                })
            }
        };
        *self.active |= sent;
        sent
    }
}

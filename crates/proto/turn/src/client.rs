mod config;
mod event;
mod lane;
mod peers;

use std::collections::VecDeque;
use std::net::SocketAddr;

use sansio::{Outbox, Path, Rng, Time};
use stun::{Class, Message, Method, Packet, kind};

pub use config::{ClientConfig, Credentials};
pub use event::ClientEvent;
pub use lane::Lane;

use crate::attribute::plain;
use crate::channel::{CHANNEL_DATA_HEADER, parse_channel_data};
use crate::indication::{data_range, indication_overhead};
use lane::Header;
use peers::Peers;

/// One allocation over one path to one server: asks for a relayed address, keeps it, and carries packets to and
/// from peers through it.
///
/// It belongs to a machine that owns the path, an ICE agent for example. That machine hands it
///
/// * everything that comes in on the path, by [`Client::open`];
/// * the time, by [`Client::handle_timeout`], when [`Client::poll_timeout`] says;
/// * an outbox, in [`Client::poll_transmit`];
///
/// and learns what happened from [`Client::poll_event`]. The allocation is asked for at once. A peer has to be
/// named with [`Client::permit`] before packets go either way; then [`Client::lane`] is the way to it.
///
/// A client ends with [`ClientEvent::Failed`], [`ClientEvent::Redirected`] or [`ClientEvent::Closed`], and is
/// quiet afterwards. An allocation that the server has lost (a restart, say) is not asked for again: its address
/// was known to peers, and the next one would be another.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    rng: Rng,
    state: State,
    peers: Peers,
    events: VecDeque<ClientEvent>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Waiting for an allocation.
    Allocating,
    /// Relaying.
    Allocated { relayed: SocketAddr },
    /// At its end.
    Over,
}

/// What [`Client::open`] found in a packet from the server's path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opened {
    /// A peer's packet, which was delivered.
    Data,
    /// The client's own business: an answer, or something that it dropped.
    Control,
    /// Not for this client: a STUN answer to a request that it did not send, or another protocol altogether.
    Other,
}

impl Client {
    /// A client that asks for an allocation right away.
    pub fn new(_now: Time, config: ClientConfig) -> Self {
        Self {
            rng: Rng::new(config.seed),
            config,
            state: State::Allocating,
            peers: Peers::new(),
            events: VecDeque::new(),
        }
    }

    /// Takes a packet that came in on the server's path; on streams, one frame.
    ///
    /// What a peer sent is handed to `deliver` with the peer's address, where it lies. Delivered are packets of
    /// permitted addresses only, from any of their ports.
    pub fn open(
        &mut self,
        _now: Time,
        payload: &mut [u8],
        deliver: &mut dyn FnMut(SocketAddr, &mut [u8]),
    ) -> Opened {
        let (peer, data) = match stun::classify(payload) {
            Packet::ChannelData => {
                let Some((number, data)) = parse_channel_data(payload) else { return Opened::Control };
                let Some(peer) = self.peers.peer(number) else { return Opened::Control };
                (peer, data)
            }
            Packet::Stun => {
                let Ok(message) = Message::parse(payload) else { return Opened::Other };
                if (message.class(), message.method()) != (Class::Indication, Method::DATA) {
                    return Opened::Other;
                }
                let Some(peer) = message.xor_address(kind::XOR_PEER_ADDRESS) else { return Opened::Control };
                let Some(data) = data_range(&message) else { return Opened::Control };
                (peer, data)
            }
            _ => return Opened::Other,
        };
        if !matches!(self.state, State::Allocated { .. }) || !self.peers.expects(peer.ip()) {
            return Opened::Control;
        }
        deliver(peer, &mut payload[data]);
        Opened::Data
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, _now: Time) {}

    /// Writes requests and keep-alives that are ready to be sent.
    pub fn poll_transmit(&mut self, _now: Time, _out: &mut dyn Outbox) {}

    /// The next thing the owner should know.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When [`Client::handle_timeout`] wants to be called next.
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// Asks that packets may be exchanged with `peer`: a permission, and then a channel. Both are kept up until
    /// [`Client::forget`].
    ///
    /// Answered by [`ClientEvent::PermissionGranted`] or [`ClientEvent::PermissionRefused`]. May be called before
    /// there is an allocation. A peer of another family than the relayed address is refused at once.
    pub fn permit(&mut self, _now: Time, peer: SocketAddr) {
        self.peers.permit(plain(peer));
    }

    /// Lets permission and channel of `peer` lapse.
    pub fn forget(&mut self, peer: SocketAddr) {
        self.peers.forget(plain(peer));
    }

    /// The way to `peer`; `None` unless its permission is granted.
    pub fn lane<'a>(&'a mut self, peer: SocketAddr, out: &'a mut dyn Outbox) -> Option<Lane<'a>> {
        let peer = plain(peer);
        if !matches!(self.state, State::Allocated { .. }) || !self.peers.is_permitted(peer.ip()) {
            return None;
        }
        let header = match self.peers.channel(peer) {
            Some(number) => Header::Channel(number),
            None => Header::Send { peer, rng: &mut self.rng },
        };
        Some(Lane { out, server: self.config.server, header })
    }

    /// Bytes that the relay's header costs a packet to `peer`: 4 with a channel, otherwise 36 (IPv4) or 48
    /// (IPv6). Padding to a multiple of 4 comes on top, with a channel on streams only.
    pub fn overhead(&self, peer: SocketAddr) -> usize {
        match self.peers.channel(plain(peer)) {
            Some(_) => CHANNEL_DATA_HEADER,
            None => indication_overhead(peer),
        }
    }

    /// The relayed address, while there is one.
    pub fn relayed(&self) -> Option<SocketAddr> {
        match self.state {
            State::Allocated { relayed } => Some(relayed),
            _ => None,
        }
    }

    /// The way to the server.
    pub fn server(&self) -> Path {
        self.config.server
    }

    /// Gives the allocation back. Ends with [`ClientEvent::Closed`], once the server knows or does not answer; who
    /// does not want to wait for that may drop the client after the next [`Client::poll_transmit`].
    pub fn close(&mut self, _now: Time) {}

    /// The path to the server is gone: a broken stream, a closed socket. Ends with [`ClientEvent::Failed`], whose
    /// reason is `reason`.
    pub fn path_lost(&mut self, _now: Time, _reason: &str) {}
}

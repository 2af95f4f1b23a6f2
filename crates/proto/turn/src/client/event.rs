use std::net::SocketAddr;
use std::time::Duration;

use sansio::Path;

use crate::error::TurnError;

/// What a [`Client`](crate::Client) tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// The server relays for us from now on.
    Allocated {
        /// The address that peers send to.
        relayed: SocketAddr,
        /// The one for peers with IPv6, of two.
        additional: Option<SocketAddr>,
        /// Our address as the server sees it.
        mapped: SocketAddr,
        /// How long the allocation lives unless refreshed, which the client does by itself.
        lifetime: Duration,
    },
    /// Packets may be exchanged with this peer, until [`Client::forget`](crate::Client::forget).
    PermissionGranted(SocketAddr),
    /// The server does not let us exchange packets with this peer, or no longer. It is forgotten.
    PermissionRefused {
        /// The peer.
        peer: SocketAddr,
        /// The server's error code; `None` if it did not answer.
        code: Option<u16>,
        /// The server's words, or ours where it had none.
        reason: String,
    },
    /// Packets to this peer are shorter from now on: see [`Client::overhead`](crate::Client::overhead).
    ChannelBound(SocketAddr),
    /// A packet to this peer came back as an ICMP error (RFC 8656 §11.6). Nothing authenticates it: a hint.
    PeerUnreachable {
        /// The peer; its port is 0 if the server did not learn it.
        peer: SocketAddr,
        /// The ICMP type, of ICMPv4 or ICMPv6 by the family of the peer.
        icmp_type: u8,
        /// The ICMP code.
        icmp_code: u8,
        /// The next hop's MTU where type and code are about that, otherwise 0.
        data: u32,
    },
    /// The server has connected to this peer after [`Client::connect`](crate::Client::connect). Open another stream to the
    /// server within 30 seconds, for [`Client::data_connection`](crate::Client::data_connection).
    PeerConnected {
        /// The peer.
        peer: SocketAddr,
        /// The connection's number.
        connection: u32,
    },
    /// The server has not connected to this peer. Wait at least ten seconds before asking again (RFC 6062 §4.3).
    PeerRefused {
        /// The peer.
        peer: SocketAddr,
        /// The server's error code; `None` if it did not answer.
        code: Option<u16>,
        /// The server's words, or ours where it had none.
        reason: String,
    },
    /// A peer that has a permission has connected to the relayed address. To take it, open another stream to the server
    /// within 30 seconds, for [`Client::data_connection`](crate::Client::data_connection).
    PeerConnecting {
        /// The peer.
        peer: SocketAddr,
        /// The connection's number.
        connection: u32,
    },
    /// The allocation was taken along to this path after [`Client::migrate`](crate::Client::migrate): everything goes by it
    /// from now on. What peers send comes by the old one until the first packet to a peer has gone by the new one.
    ///
    /// Without that call too, and with the path as it was, if a NAT on the way has given us another address.
    Moved(Path),
    /// It was not, and stays where it was.
    MoveRefused {
        /// The server's error code; `None` if it did not answer.
        code: Option<u16>,
        /// The server's words, or ours where it had none.
        reason: String,
    },
    /// The server sends us to another one (RFC 8489 §10). This client is at its end; try that server with a
    /// new one, and count, lest servers send you in circles.
    Redirected {
        /// The other server.
        server: SocketAddr,
        /// The name that the other server's certificate carries, if not the same.
        domain: Option<String>,
    },
    /// There is no allocation, or no longer. This client is at its end.
    Failed(TurnError),
    /// The allocation was given back after [`Client::close`](crate::Client::close).
    Closed,
}

use std::net::{IpAddr, SocketAddr};

use stun::{MessageWriter, Method, kind};

use super::ClientConfig;
use crate::attribute::{Families, Family, TCP, UDP};
use crate::channel::ChannelNumber;
use crate::error::Stage;

/// What a client asks its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Allocate,
    Refresh,
    /// A Refresh from another address, with the ticket.
    Move,
    /// A Refresh that gives the allocation back.
    Delete,
    Permission(IpAddr),
    Channel(SocketAddr, ChannelNumber),
    /// A TCP connection to a peer.
    Connect(SocketAddr),
}

/// A request and how often it was asked: 401 and 438 make it be asked again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) request: Request,
    pub(super) times: u8,
}

impl Request {
    pub(super) fn method(self) -> Method {
        match self {
            Self::Allocate => Method::ALLOCATE,
            Self::Refresh | Self::Move | Self::Delete => Method::REFRESH,
            Self::Permission(_) => Method::CREATE_PERMISSION,
            Self::Channel(..) => Method::CHANNEL_BIND,
            Self::Connect(_) => Method::CONNECT,
        }
    }

    /// Whether it shows the access token, if there is one. (To move, the server wants the one that it knows.)
    pub(super) fn presents_token(self) -> bool {
        matches!(self, Self::Allocate | Self::Refresh)
    }

    pub(super) fn stage(self) -> Stage {
        match self {
            Self::Allocate => Stage::Allocate,
            Self::Refresh | Self::Move | Self::Delete => Stage::Refresh,
            Self::Permission(_) => Stage::CreatePermission,
            Self::Channel(..) => Stage::ChannelBind,
            Self::Connect(_) => Stage::Connect,
        }
    }

    /// Whether it takes for granted that the server knows the allocation by where it comes from.
    pub(super) fn is_upkeep(self) -> bool {
        matches!(self, Self::Refresh | Self::Permission(_) | Self::Channel(..))
    }

    /// Writes the attributes, credentials apart.
    pub(super) fn write(self, config: &ClientConfig, ticket: Option<&[u8]>, writer: &mut MessageWriter<'_>) {
        let lifetime = config.lifetime.map(|lifetime| u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX));
        match self {
            Self::Allocate => {
                writer.raw(kind::REQUESTED_TRANSPORT, if config.streams { &TCP } else { &UDP });
                match config.families {
                    // Without it a server allocates IPv4 (RFC 8656 §7.2), also one that knows nothing of families.
                    Families::One(Family::Ipv4) => {}
                    Families::One(family) => _ = writer.raw(kind::REQUESTED_ADDRESS_FAMILY, &family.value()),
                    // "The ADDITIONAL-ADDRESS-FAMILY attribute … MUST be set to 0x02 (IPv6)" (RFC 8656 §7.1).
                    Families::Both => {
                        writer.raw(kind::ADDITIONAL_ADDRESS_FAMILY, &Family::Ipv6.value());
                    }
                }
                if config.dont_fragment && !config.streams {
                    writer.flag(kind::DONT_FRAGMENT);
                }
                if config.mobility {
                    writer.flag(kind::MOBILITY_TICKET);
                }
            }
            Self::Permission(address) => {
                writer.xor_address(kind::XOR_PEER_ADDRESS, SocketAddr::new(address, 0));
            }
            Self::Channel(peer, number) => {
                writer.u32(kind::CHANNEL_NUMBER, u32::from(number.number()) << 16);
                writer.xor_address(kind::XOR_PEER_ADDRESS, peer);
            }
            Self::Connect(peer) => {
                writer.xor_address(kind::XOR_PEER_ADDRESS, peer);
            }
            Self::Refresh => {}
            Self::Move => {
                writer.raw(kind::MOBILITY_TICKET, ticket.unwrap_or_default());
            }
            Self::Delete => {
                writer.u32(kind::LIFETIME, 0);
            }
        }
        if let (Self::Allocate | Self::Refresh | Self::Move, Some(seconds)) = (self, lifetime) {
            writer.u32(kind::LIFETIME, seconds.max(1));
        }
        if let (Self::Allocate | Self::Refresh | Self::Delete, Some(software)) = (self, &config.software) {
            writer.string(kind::SOFTWARE, software);
        }
    }
}

use std::time::Duration;

use sansio::{Path, Transport};
use stun::{Message, kind};

use super::Server;
use super::reservation::Token;
use crate::attribute::{Family, TCP, UDP};

/// What an Allocate request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    pub(super) family: Family,
    /// The other family as well, if it is to be had.
    pub(super) another: Option<Family>,
    pub(super) port: PortWish,
    pub(super) lifetime: Duration,
    /// Between the relayed address and its peers.
    pub(super) transport: Transport,
}

/// Which port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortWish {
    Any,
    /// EVEN-PORT.
    Even,
    /// EVEN-PORT with R: and keep the next one for a later allocation.
    Pair,
    /// RESERVATION-TOKEN: the one that was kept.
    Reserved(Token),
}

impl Server {
    /// Reads an Allocate request, in the order of RFC 8656 §7.2, or says what is wrong with it.
    pub(super) fn wish(&self, client: Path, request: &Message<'_>) -> Result<Wish, u16> {
        let transport = match request.raw(kind::REQUESTED_TRANSPORT) {
            Some([protocol, _, _, _]) if *protocol == UDP[0] => Transport::Udp,
            Some([protocol, _, _, _]) if *protocol == TCP[0] && self.relays_tcp() => Transport::Tcp,
            Some([_, _, _, _]) => return Err(442),
            _ => return Err(400),
        };
        let even_port = request.raw(kind::EVEN_PORT);
        let requested = request.raw(kind::REQUESTED_ADDRESS_FAMILY);
        let additional = request.raw(kind::ADDITIONAL_ADDRESS_FAMILY);
        let reserved = request.raw(kind::RESERVATION_TOKEN);
        if reserved.is_some() && (even_port.is_some() || requested.is_some() || additional.is_some())
            || requested.is_some() && additional.is_some()
        {
            return Err(400);
        }
        // RFC 6062 §5.1, and one family is enough for streams.
        let for_datagrams = request.raw(kind::DONT_FRAGMENT).is_some()
            || even_port.is_some()
            || reserved.is_some()
            || additional.is_some();
        if transport == Transport::Tcp && (for_datagrams || !client.transport.is_stream()) {
            return Err(400);
        }
        let family = match requested {
            Some(value) => Family::from_value(value).ok_or(440u16)?,
            None => Family::Ipv4,
        };
        let another = match additional {
            None => None,
            Some(value) if Family::from_value(value) == Some(Family::Ipv6) => Some(Family::Ipv6),
            Some(_) => return Err(400),
        };
        let port = match (reserved, even_port) {
            (Some(token), _) => PortWish::Reserved(Token(token.try_into().map_err(|_| 508u16)?)),
            (_, None) => PortWish::Any,
            (_, Some([flags])) if flags & 0x80 == 0 => PortWish::Even,
            (_, Some([_])) if another.is_none() => PortWish::Pair,
            (_, Some(_)) => return Err(400),
        };
        let lifetime = self.lifetime(request.u32(kind::LIFETIME));
        Ok(Wish { family, another, port, lifetime, transport })
    }

    /// Whether there are TCP allocations, which have ports of their own.
    fn relays_tcp(&self) -> bool {
        self.config.tcp_relay && self.sharing.port().is_none()
    }

    /// The lifetime that a client gets who asks for so many seconds (RFC 8656 §7.2).
    pub(super) fn lifetime(&self, asked: Option<u32>) -> Duration {
        let asked = asked.map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds.into()));
        asked.min(self.config.max_lifetime).max(self.config.default_lifetime)
    }
}

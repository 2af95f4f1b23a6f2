use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use sansio::{SocketError, SocketOp, SocketReply, Ticket};

/// Tickets of our own are in the upper half; the lower is for those of connections.
const FIRST_TICKET: u64 = 1 << 63;

/// The sockets that all share.
pub(super) struct Listening {
    list: Vec<Socket>,
    ops: VecDeque<SocketOp>,
    /// Who waits for one.
    waiting: Vec<(u32, Ticket, IpAddr)>,
}

struct Socket {
    wanted: SocketAddr,
    /// `None` until it is bound, or cannot be.
    bound: Option<Result<SocketAddr, SocketError>>,
}

impl Socket {
    /// Whether it hears what comes to this address.
    fn serves(&self, ip: IpAddr) -> bool {
        let wanted = self.wanted.ip();
        wanted == ip || (wanted.is_unspecified() && wanted.is_ipv4() == ip.is_ipv4())
    }
}

impl Listening {
    pub(super) fn new(addresses: &[SocketAddr]) -> Self {
        let list: Vec<Socket> =
            addresses.iter().map(|wanted| Socket { wanted: *wanted, bound: None }).collect();
        let bind = |(at, socket): (usize, &Socket)| SocketOp::Bind {
            ticket: Ticket(FIRST_TICKET + at as u64),
            local: socket.wanted,
        };
        let ops = list.iter().enumerate().map(bind).collect();
        Self { list, ops, waiting: Vec::new() }
    }

    pub(super) fn poll(&mut self) -> Option<SocketOp> {
        self.ops.pop_front()
    }

    pub(super) fn sockets(
        &self,
    ) -> impl Iterator<Item = (SocketAddr, Option<Result<SocketAddr, SocketError>>)> {
        self.list.iter().map(|socket| (socket.wanted, socket.bound.clone()))
    }

    /// A connection wants a socket on an address of this machine: it gets ours, at once or when it is bound.
    pub(super) fn ask(&mut self, slot: u32, ticket: Ticket, ip: IpAddr) -> Option<SocketReply> {
        let serving = self.list.iter().find(|socket| socket.serves(ip));
        let bound = match serving {
            Some(socket) => socket.bound.clone(),
            None => Some(Err(SocketError::Unreachable)),
        };
        match bound {
            Some(bound) => Some(reply(ticket, ip, bound)),
            None => {
                self.waiting.push((slot, ticket, ip));
                None
            }
        }
    }

    /// Takes the answer to a wish of ours, and returns what it means for those who wait. `None` if it is somebody else's.
    pub(super) fn answer(&mut self, to: &SocketReply) -> Option<Vec<(u32, SocketReply)>> {
        let (ticket, bound) = match to {
            SocketReply::Bound { ticket, local } => (ticket, Ok(sansio::unmapped(*local))),
            SocketReply::Failed { ticket, error } => (ticket, Err(error.clone())),
            _ => return None,
        };
        let at = usize::try_from(ticket.0.checked_sub(FIRST_TICKET)?).ok()?;
        let socket = self.list.get_mut(at)?;
        socket.bound = Some(bound.clone());
        let served = self.waiting.extract_if(.., |(_, _, ip)| socket.serves(*ip));
        Some(served.map(|(slot, ticket, ip)| (slot, reply(ticket, ip, bound.clone()))).collect())
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, slot: u32) {
        self.waiting.retain(|(waiting, ..)| *waiting != slot);
    }
}

fn reply(ticket: Ticket, ip: IpAddr, bound: Result<SocketAddr, SocketError>) -> SocketReply {
    match bound {
        Ok(bound) => SocketReply::Bound { ticket, local: SocketAddr::new(ip, bound.port()) },
        Err(error) => SocketReply::Failed { ticket, error },
    }
}

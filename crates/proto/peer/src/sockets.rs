use std::collections::BTreeMap;
use std::net::SocketAddr;

use sansio::{Path, SocketOp, SocketReply, Ticket, Transport};

/// Which of several agents a socket belongs to.
///
/// There is one agent most of the time. While a second still says goodbye to its servers, tickets must stay apart,
/// and packets must find their agent.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    next: u64,
    asked: BTreeMap<Ticket, (u32, Ticket)>,
    owners: BTreeMap<(Transport, SocketAddr), u32>,
}

impl Sockets {
    /// The wish of agent `owner`, with a ticket of our own.
    pub(crate) fn ask(&mut self, owner: u32, mut op: SocketOp) -> SocketOp {
        match &mut op {
            SocketOp::Bind { ticket, .. }
            | SocketOp::Connect { ticket, .. }
            | SocketOp::Resolve { ticket, .. }
            | SocketOp::Locate { ticket, .. } => {
                let own = Ticket(self.next);
                self.next += 1;
                self.asked.insert(own, (owner, std::mem::replace(ticket, own)));
            }
            SocketOp::Unbind { local } => {
                self.owners.remove(&(Transport::Udp, *local));
            }
            SocketOp::Disconnect { path } => {
                self.owners.remove(&(path.transport, path.local));
            }
            SocketOp::Publish { .. } => {}
        }
        op
    }

    /// Whose answer this is, with the ticket that the owner knows.
    pub(crate) fn answer(&mut self, mut reply: SocketReply) -> Option<(u32, SocketReply)> {
        let ticket = match &mut reply {
            SocketReply::Bound { ticket, .. }
            | SocketReply::Connected { ticket, .. }
            | SocketReply::Resolved { ticket, .. }
            | SocketReply::Located { ticket, .. }
            | SocketReply::Failed { ticket, .. } => ticket,
            SocketReply::Disconnected { path, .. } => {
                let owner = self.owners.remove(&(path.transport, path.local))?;
                return Some((owner, reply));
            }
        };
        let (owner, theirs) = self.asked.remove(ticket)?;
        *ticket = theirs;
        match &reply {
            SocketReply::Bound { local, .. } => self.owners.insert((Transport::Udp, *local), owner),
            SocketReply::Connected { path, .. } => self.owners.insert((path.transport, path.local), owner),
            _ => None,
        };
        Some((owner, reply))
    }

    /// Gets rid of a socket that nobody wants any more.
    pub(crate) fn give_back(&mut self, reply: &SocketReply) -> Option<SocketOp> {
        match reply {
            SocketReply::Bound { local, .. } => {
                self.owners.remove(&(Transport::Udp, *local));
                Some(SocketOp::Unbind { local: *local })
            }
            SocketReply::Connected { path, .. } => {
                self.owners.remove(&(path.transport, path.local));
                Some(SocketOp::Disconnect { path: *path })
            }
            _ => None,
        }
    }

    /// Whose socket a packet came to.
    pub(crate) fn owner(&self, path: Path) -> Option<u32> {
        self.owners.get(&(path.transport, path.local)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_owners_with_the_same_ticket_are_told_apart() {
        let mut sockets = Sockets::default();
        let local: SocketAddr = "192.0.2.1:0".parse().unwrap();
        let mut bind = |owner| match sockets.ask(owner, SocketOp::Bind { ticket: Ticket(7), local }) {
            SocketOp::Bind { ticket, .. } => ticket,
            other => panic!("{other:?}"),
        };
        let (first, second) = (bind(1), bind(2));
        assert_ne!(first, second);
        let port = |port| SocketAddr::new(local.ip(), port);
        let reply = SocketReply::Bound { ticket: second, local: port(2000) };
        assert_eq!(
            sockets.answer(reply.clone()),
            Some((2, SocketReply::Bound { ticket: Ticket(7), local: port(2000) }))
        );
        assert_eq!(sockets.answer(reply), None, "answered twice");
        sockets.answer(SocketReply::Bound { ticket: first, local: port(1000) });
        let from = |at| Path::udp(port(at), "198.51.100.1:1".parse().unwrap());
        assert_eq!((sockets.owner(from(1000)), sockets.owner(from(2000))), (Some(1), Some(2)));
        sockets.ask(2, SocketOp::Unbind { local: port(2000) });
        assert_eq!(sockets.owner(from(2000)), None);
    }
}

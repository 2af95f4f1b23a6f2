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
    /// A UDP socket is known by its own address, a stream by both: several may come from one port.
    owners: BTreeMap<(Transport, SocketAddr, Option<SocketAddr>), u32>,
}

fn socket(local: SocketAddr) -> (Transport, SocketAddr, Option<SocketAddr>) {
    (Transport::Udp, local, None)
}

fn stream(path: &Path) -> (Transport, SocketAddr, Option<SocketAddr>) {
    (path.transport, path.local, Some(path.remote))
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
                self.owners.remove(&socket(*local));
            }
            SocketOp::Disconnect { path } => {
                self.owners.remove(&stream(path));
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
                let owner = self.owners.remove(&stream(path))?;
                return Some((owner, reply));
            }
        };
        let (owner, theirs) = self.asked.remove(ticket)?;
        if self.asked.is_empty() {
            // An empty tree keeps a node.
            self.asked = BTreeMap::new();
        }
        *ticket = theirs;
        match &reply {
            SocketReply::Bound { local, .. } => self.owners.insert(socket(*local), owner),
            SocketReply::Connected { path, .. } => self.owners.insert(stream(path), owner),
            _ => None,
        };
        Some((owner, reply))
    }

    /// Gets rid of a socket that nobody wants any more.
    pub(crate) fn give_back(&mut self, reply: &SocketReply) -> Option<SocketOp> {
        match reply {
            SocketReply::Bound { local, .. } => {
                self.owners.remove(&socket(*local));
                Some(SocketOp::Unbind { local: *local })
            }
            SocketReply::Connected { path, .. } => {
                self.owners.remove(&stream(path));
                Some(SocketOp::Disconnect { path: *path })
            }
            _ => None,
        }
    }

    /// Whose socket a packet came to.
    pub(crate) fn owner(&self, path: Path) -> Option<u32> {
        let key = if path.transport == Transport::Udp { socket(path.local) } else { stream(&path) };
        self.owners.get(&key).copied()
    }

    /// An owner is gone. Its streams are to be closed; what it has asked for comes to nobody.
    pub(crate) fn forget(&mut self, owner: u32) -> Vec<SocketOp> {
        self.asked.retain(|_, (asked, _)| *asked != owner);
        let gone = self.owners.extract_if(.., |_, of| *of == owner);
        gone.map(|((transport, local, remote), _)| match remote {
            Some(remote) => SocketOp::Disconnect { path: Path { transport, local, remote } },
            None => SocketOp::Unbind { local },
        })
        .collect()
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

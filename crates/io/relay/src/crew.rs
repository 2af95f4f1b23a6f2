use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use mio::{Interest, Registry, Token, Waker};
use sansio::Path;
use turn::{AllocationId, Flow, IcmpError, Passage, Permit};
use udp::BareSocket;

use crate::flows::Carried;
use crate::sockets::{Role, Sockets};

/// What an aide has for the chief.
pub(crate) enum Letter {
    /// A datagram that shard `of` received, to decide about.
    Received { of: usize, path: Path, payload: Vec<u8>, passage: Option<Passage> },
    /// A flow carried so much.
    Carried(Carried),
    /// So many datagrams did not leave by a path, or the chief was not asked about them.
    Lost { path: Path, datagrams: u64 },
    /// So many datagrams came to relayed addresses from peers without a permission, and were dropped.
    Unpermitted(u64),
    /// A datagram that left from a relayed address did not arrive.
    Unreachable(IcmpError),
}

/// What the chief has for an aide.
pub(crate) enum Order {
    /// Receive from this socket, too. It is registered already.
    Adopt { number: usize, socket: Arc<BareSocket>, role: Role },
    /// Send by this socket, which another shard receives from. Who has it already is lent nothing.
    Lend { number: usize, socket: Arc<BareSocket>, role: Role },
    /// Let a socket go.
    Close(SocketAddr),
    /// What takes this passage goes that way.
    Learn(Box<(Passage, Flow)>),
    /// Forget the flows of an allocation.
    Forget(AllocationId),
    /// Who sends from there has an allocation.
    Welcome(Path),
    /// And has one no longer.
    Part(Path),
    /// Who may send to a relayed address, or may no longer.
    Permit(Permit),
}

/// The shards, as the chief sees them: its own, which is shard 0, and those of the aides.
pub(crate) struct Crew {
    registry: Registry,
    aides: Vec<Contact>,
}

/// An aide, as the chief sees it.
pub(crate) struct Contact {
    pub(crate) registry: Registry,
    pub(crate) orders: Sender<Order>,
    pub(crate) waker: Arc<Waker>,
    /// Whether there are orders that it has not been woken for.
    pub(crate) waits: bool,
}

impl Crew {
    pub(crate) fn new(registry: Registry, aides: Vec<Contact>) -> Self {
        Self { registry, aides }
    }

    /// Gives a socket to shard `of` to receive from, and to the chief to send by.
    pub(crate) fn employ(
        &mut self,
        of: usize,
        number: usize,
        mut socket: BareSocket,
        role: Role,
        sockets: &mut Sockets,
    ) -> io::Result<Arc<BareSocket>> {
        let at = of.checked_sub(1).filter(|at| *at < self.aides.len());
        let registry = at.map_or(&self.registry, |at| &self.aides[at].registry);
        registry.register(&mut socket, Token(number), Interest::READABLE)?;
        let socket = Arc::new(socket);
        if let Some(at) = at {
            self.aides[at].order(Order::Adopt { number, socket: socket.clone(), role });
        }
        sockets.add(number, socket.clone(), role);
        Ok(socket)
    }

    /// Lets all aides but `of` send by a socket.
    pub(crate) fn lend(&mut self, of: usize, number: usize, socket: &Arc<BareSocket>, role: Role) {
        for (_, aide) in self.aides.iter_mut().enumerate().filter(|(at, _)| at + 1 != of) {
            aide.order(Order::Lend { number, socket: socket.clone(), role });
        }
    }

    /// Tells an aide what becomes of what takes `passage`, and lends it the socket that this leaves by: that belongs to
    /// another shard if the client has moved, or if it was somebody else who told who the user is.
    pub(crate) fn teach(&mut self, of: usize, passage: Passage, flow: Flow, sockets: &Sockets) {
        let Some(aide) = of.checked_sub(1).and_then(|at| self.aides.get_mut(at)) else { return };
        if let Some((number, socket)) = sockets.relay_socket(flow.to.local) {
            aide.order(Order::Lend { number, socket, role: Role::Relay });
        }
        aide.order(Order::Learn(Box::new((passage, flow))));
    }

    /// Lets all aides forget the flows of an allocation.
    pub(crate) fn forget(&mut self, id: AllocationId) {
        self.aides.iter_mut().for_each(|aide| aide.order(Order::Forget(id)));
    }

    /// Tells all aides who has an allocation, whichever of them he sends to.
    pub(crate) fn welcome(&mut self, client: Path) {
        self.aides.iter_mut().for_each(|aide| aide.order(Order::Welcome(client)));
    }

    /// And who has one no longer.
    pub(crate) fn part(&mut self, client: Path) {
        self.aides.iter_mut().for_each(|aide| aide.order(Order::Part(client)));
    }

    /// Tells all aides who may send to a relayed address, or may no longer: the one that receives there is among them.
    pub(crate) fn permit(&mut self, permit: Permit) {
        self.aides.iter_mut().for_each(|aide| aide.order(Order::Permit(permit)));
    }

    /// Lets all aides let a socket go.
    pub(crate) fn close(&mut self, local: SocketAddr) {
        self.aides.iter_mut().for_each(|aide| aide.order(Order::Close(local)));
    }

    /// Wakes the aides that have orders.
    pub(crate) fn rouse(&mut self) {
        for aide in &mut self.aides {
            if std::mem::take(&mut aide.waits) {
                let _ = aide.waker.wake();
            }
        }
    }
}

impl Contact {
    fn order(&mut self, order: Order) {
        // An aide that is gone needs no orders: the relay is ending.
        self.waits |= self.orders.send(order).is_ok();
    }
}

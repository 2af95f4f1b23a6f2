use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use sansio::Batch;
use tracing::{debug, warn};
use udp::{Bundles, Outcome, Socket};

use crate::ready::Ready;

/// The UDP sockets of one shard: those that clients send to, and those that peers do.
#[derive(Default)]
pub(crate) struct Sockets {
    ready: Arc<Ready>,
    entries: HashMap<u64, Entry>,
    by_local: HashMap<SocketAddr, u64>,
    next_key: u64,
    lost: u64,
}

struct Entry {
    socket: Socket,
    flag: Waker,
}

impl Sockets {
    pub(crate) fn add(&mut self, socket: Socket) {
        let key = self.next_key;
        self.next_key += 1;
        self.by_local.insert(socket.local(), key);
        self.entries.insert(key, Entry { socket, flag: Waker::from(self.ready.flag(key)) });
    }

    pub(crate) fn remove(&mut self, local: SocketAddr) {
        if let Some(key) = self.by_local.remove(&local) {
            self.entries.remove(&key);
        }
    }

    /// How many sockets have something to do.
    pub(crate) fn pending(&self) -> usize {
        self.ready.len()
    }

    /// Ready when any socket has something to do.
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.ready.poll(cx)
    }

    /// Receives from the socket whose turn it is. `false`: there was nothing after all.
    pub(crate) fn receive(&mut self, bundles: &mut Bundles) -> bool {
        bundles.clear();
        let Some(key) = self.ready.next() else { return false };
        let Some(Entry { socket, flag }) = self.entries.get(&key) else { return false };
        let received = match socket.poll_readable(&mut Context::from_waker(flag)) {
            Poll::Pending => return false,
            Poll::Ready(ready) => ready.and_then(|()| socket.try_recv(bundles)),
        };
        match received {
            Ok(count) => {
                // At the end of the queue: whether there is more is looked at when the others had their turn.
                flag.wake_by_ref();
                count > 0
            }
            Err(error) => {
                let local = socket.local();
                warn!(%local, %error, "a socket is broken and was closed");
                self.remove(local);
                false
            }
        }
    }

    /// Sends a batch; what the system does not take is lost, as on a network.
    pub(crate) fn send(&mut self, batch: &Batch) {
        let Some(socket) = self.find(batch.path.local) else { return };
        match socket.try_send_batch(batch) {
            Outcome::Sent => {}
            Outcome::Blocked { sent } => {
                self.lost += (batch.bytes.len() - sent).div_ceil(batch.segment.max(1)) as u64;
            }
            Outcome::Lost(error) => debug!(path = %batch.path, %error, "not sent"),
        }
    }

    /// Datagrams lost because the system's buffer was full.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    fn find(&self, local: SocketAddr) -> Option<&Socket> {
        let key = self.by_local.get(&local).or_else(|| {
            let everywhere = match local {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            self.by_local.get(&SocketAddr::new(everywhere, local.port()))
        })?;
        self.entries.get(key).map(|entry| &entry.socket)
    }
}

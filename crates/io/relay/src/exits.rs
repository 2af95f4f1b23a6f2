use std::io::IoSlice;
use std::sync::Arc;

use sansio::Path;
use udp::{BareSocket, Transmit};

use crate::losses::{self, Losses};

/// The sockets that clients send to, for whoever answers them beside the threads that receive.
#[derive(Clone, Debug)]
pub(crate) struct Exits {
    sockets: Arc<[Arc<BareSocket>]>,
    losses: Arc<Losses>,
}

impl Exits {
    pub(crate) fn new(sockets: Vec<Arc<BareSocket>>, losses: Arc<Losses>) -> Self {
        Self { sockets: sockets.into(), losses }
    }

    /// Sends datagrams of `segment` bytes each, the last one perhaps shorter; what the system does not take is lost, as
    /// on a network.
    pub(crate) fn send(&self, path: Path, segment: usize, bytes: &[u8]) {
        let local = path.local;
        let is_wildcard = |socket: &&Arc<BareSocket>| {
            let bound = socket.local();
            socket.is_wildcard() && bound.port() == local.port() && bound.is_ipv4() == local.is_ipv4()
        };
        let exact = self.sockets.iter().find(|socket| socket.local() == local);
        let Some(socket) = exact.or_else(|| self.sockets.iter().find(is_wildcard)) else { return };
        let from = socket.is_wildcard().then(|| local.ip()).filter(|ip| !ip.is_unspecified());
        let outcome =
            socket.try_send(&Transmit { from, to: path.remote, segment, bytes: &[IoSlice::new(bytes)] });
        if let Some((reason, datagrams)) = losses::of(&outcome, path, segment, bytes.len()) {
            self.losses.add(reason, datagrams);
        }
    }
}

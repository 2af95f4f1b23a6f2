use std::io::IoSlice;
use std::sync::Arc;

use sansio::Path;
use udp::{BareSocket, Outcome, Transmit};

/// The sockets that clients send to, for whoever answers them beside the threads that receive.
#[derive(Clone, Debug)]
pub(crate) struct Exits(Arc<[Arc<BareSocket>]>);

impl Exits {
    pub(crate) fn new(sockets: Vec<Arc<BareSocket>>) -> Self {
        Self(sockets.into())
    }

    /// Sends datagrams of `segment` bytes each, the last one perhaps shorter; what the system does not take is lost, as
    /// on a network.
    pub(crate) fn send(&self, path: Path, segment: usize, bytes: &[u8]) {
        let local = path.local;
        let is_wildcard = |socket: &&Arc<BareSocket>| {
            let bound = socket.local();
            socket.is_wildcard() && bound.port() == local.port() && bound.is_ipv4() == local.is_ipv4()
        };
        let exact = self.0.iter().find(|socket| socket.local() == local);
        let Some(socket) = exact.or_else(|| self.0.iter().find(is_wildcard)) else { return };
        let from = socket.is_wildcard().then(|| local.ip()).filter(|ip| !ip.is_unspecified());
        let outcome =
            socket.try_send(&Transmit { from, to: path.remote, segment, bytes: &[IoSlice::new(bytes)] });
        if let Outcome::Lost(error) = outcome {
            tracing::debug!(%path, %error, "not sent");
        }
    }
}

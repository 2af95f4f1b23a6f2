use std::net::SocketAddr;

use sansio::{Path, Transport};
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

use crate::acceptor::Reception;
use crate::connection;

/// The way in for streams that somebody else has accepted, on a port that TURN shares with another protocol:
/// [`RelayConfig::shared`](crate::RelayConfig::shared).
#[derive(Clone)]
pub struct Entrance {
    reception: Reception,
}

impl Entrance {
    pub(crate) fn new(reception: Reception) -> Self {
        Self { reception }
    }

    /// Serves the client at the other end of a stream until either has enough, or not at all: the limits for
    /// connections hold here, too.
    pub async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite,
        transport: Transport,
        local: SocketAddr,
        remote: SocketAddr,
    ) {
        let path = Path::new(transport, local, remote);
        match self.reception.admission.admit(remote.ip()) {
            Ok(_admitted) => {
                connection::serve(stream, path, self.reception.limits, self.reception.events.clone()).await;
            }
            Err(refused) => debug!(%path, ?refused, "connection refused: too many"),
        }
    }
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entrance").finish_non_exhaustive()
    }
}

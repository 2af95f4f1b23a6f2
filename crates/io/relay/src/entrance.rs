use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Path, Transport};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::debug;

use crate::acceptor::{Reception, prepare};
use crate::admission::Admitted;
use crate::connection;

/// The way in for streams that somebody else has accepted, on a port that TURN shares with another protocol:
/// [`RelayConfig::shared`](crate::RelayConfig::shared).
#[derive(Clone)]
pub struct Entrance {
    reception: Reception,
}

/// Who was let in there, whatever he speaks. He counts among the connections, of all and of his source, until this is
/// dropped.
pub struct Guest {
    admitted: Admitted,
    local: SocketAddr,
    remote: SocketAddr,
    reception: Reception,
}

impl Entrance {
    pub(crate) fn new(reception: Reception) -> Self {
        Self { reception }
    }

    /// Lets a connection in, whatever it is going to speak, or not: the limits for connections hold here, too
    /// ([`Limits`](crate::Limits)).
    pub fn admit(&self, stream: &TcpStream, remote: SocketAddr) -> Option<Guest> {
        let admitted = match self.reception.admission.admit(remote.ip()) {
            Ok(admitted) => admitted,
            Err(refused) => {
                debug!(%remote, ?refused, "connection refused: too many");
                return None;
            }
        };
        let local = stream.local_addr().and_then(|local| prepare(stream).map(|()| local));
        Some(Guest { admitted, local: local.ok()?, remote, reception: self.reception.clone() })
    }
}

impl Guest {
    /// How long he may take to say anything, and for his handshake.
    pub fn patience(&self) -> Duration {
        self.reception.limits.handshake
    }

    /// Shakes hands by TLS, if not too many do. `None`: it came to nothing, and was counted.
    pub async fn shake_hands(
        &mut self,
        tls: &TlsAcceptor,
        stream: TcpStream,
    ) -> Option<TlsStream<TcpStream>> {
        let path = Path::new(Transport::Tls, self.local, self.remote);
        let Reception { limits, handshakes, .. } = &self.reception;
        handshakes.shake(*limits, &mut self.admitted, tls, stream, path).await
    }

    /// Serves him as a client of TURN, until either has enough.
    pub async fn serve(self, stream: impl AsyncRead + AsyncWrite, transport: Transport) {
        let path = Path::new(transport, self.local, self.remote);
        let Reception { limits, events, .. } = self.reception;
        connection::serve(stream, path, limits, events).await;
        drop(self.admitted);
    }
}

impl std::fmt::Debug for Entrance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entrance").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Guest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guest").field("remote", &self.remote).finish_non_exhaustive()
    }
}

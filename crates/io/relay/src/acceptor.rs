use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sansio::{Path, Transport};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, warn};

use crate::admission::{Admission, Admitted};
use crate::connection;
use crate::handshakes::Handshakes;
use crate::post::Post;
use crate::{Error, Limits, Port};

/// How long to wait before accepting again when the system has no more to give (file descriptors, memory).
const BREATHER: Duration = Duration::from_millis(100);
/// How long connections may take to end when the server does.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// What a TLS connection begins with: a record of the handshake. No STUN message and no ChannelData does (RFC 7983 §7).
const TLS_HANDSHAKE: u8 = 22;

/// What a certificate authority speaks that wants to see whose a name is (RFC 8737): the handshake is all of it.
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// A port where connections are going to be accepted: plain ones, those inside TLS, or both.
pub(crate) struct Gateway {
    port: Port,
    plain: bool,
    tls: Option<TlsAcceptor>,
}

/// Accepts the connections of one address; what they are, their first byte tells.
pub(crate) struct Acceptor {
    listener: TcpListener,
    local: SocketAddr,
    plain: bool,
    tls: Option<TlsAcceptor>,
}

/// What all acceptors share.
#[derive(Clone)]
pub(crate) struct Reception {
    pub(crate) limits: Limits,
    pub(crate) admission: Admission,
    pub(crate) events: Post,
    pub(crate) handshakes: Arc<Handshakes>,
    /// Turns true when the server ends.
    pub(crate) stop: watch::Receiver<bool>,
}

impl Gateway {
    /// Takes the port.
    pub(crate) fn take(
        address: SocketAddr,
        plain: bool,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Result<Self, Error> {
        let tls = tls.map(TlsAcceptor::from);
        let transport = if plain { Transport::Tcp } else { Transport::Tls };
        let port = Port::take(address).map_err(|source| Error::Bind { transport, address, source })?;
        Ok(Self { port, plain, tls })
    }

    /// The address, with its real port.
    pub(crate) fn local(&self) -> SocketAddr {
        self.port.local()
    }

    /// What it is going to accept.
    pub(crate) fn transports(&self) -> impl Iterator<Item = Transport> {
        let (plain, tls) = (self.plain, self.tls.is_some());
        [(Transport::Tcp, plain), (Transport::Tls, tls)].into_iter().filter_map(|(one, is)| is.then_some(one))
    }

    /// Opens the port.
    pub(crate) fn open(self) -> Result<Acceptor, Error> {
        let Self { port, plain, tls } = self;
        let (transport, local) = (if plain { Transport::Tcp } else { Transport::Tls }, port.local());
        let listener = port.open().map_err(|source| Error::Bind { transport, address: local, source })?;
        Ok(Acceptor { listener, local, plain, tls })
    }
}

impl Acceptor {
    /// Accepts until the server ends, and then gives the connections a moment to end, too.
    pub(crate) async fn run(self, reception: Reception) {
        let mut stop = reception.stop.clone();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, remote)) => self.accepted(stream, remote, &reception, &mut connections),
                    Err(error) if is_of_the_connection(&error) => {}
                    Err(error) => {
                        warn!(local = %self.local, %error, "cannot accept connections for now");
                        sleep(BREATHER).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                () = stopped(&mut stop) => break,
            }
        }
        drop(self.listener);
        drop(reception);
        let _ = timeout(FAREWELL, async { while connections.join_next().await.is_some() {} }).await;
    }

    fn accepted(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
        reception: &Reception,
        connections: &mut JoinSet<()>,
    ) {
        let admitted = match reception.admission.admit(remote.ip()) {
            Ok(admitted) => admitted,
            Err(refused) => return debug!(%remote, ?refused, "connection refused: too many"),
        };
        let Ok(local) = stream.local_addr() else { return };
        let caller = Caller { stream, local, remote, admitted };
        connections.spawn(caller.serve(self.plain, self.tls.clone(), reception.clone()));
    }
}

/// Somebody who has connected.
struct Caller {
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    admitted: Admitted,
}

impl Caller {
    async fn serve(mut self, plain: bool, tls: Option<TlsAcceptor>, reception: Reception) {
        let remote = self.remote;
        if let Err(error) = prepare(&self.stream) {
            return debug!(%remote, %error, "connection lost at its start");
        }
        let Reception { limits, events, handshakes, .. } = reception;
        let tls = match tls {
            Some(tls) if plain => match timeout(limits.handshake, first_byte(&self.stream)).await {
                Ok(Some(TLS_HANDSHAKE)) => Some(tls),
                Ok(Some(_)) => None,
                Ok(None) => return debug!(%remote, "connection lost at its start"),
                Err(_) => return debug!(%remote, "connected and said nothing"),
            },
            other => other,
        };
        let Some(tls) = tls else {
            let path = Path::new(Transport::Tcp, self.local, remote);
            return connection::serve(self.stream, path, limits, events).await;
        };
        let path = Path::new(Transport::Tls, self.local, remote);
        if let Some(stream) = handshakes.shake(limits, &mut self.admitted, &tls, self.stream, path).await {
            if stream.get_ref().1.alpn_protocol() == Some(ACME_TLS) {
                return debug!(%path, "a certificate authority has looked whose the name is");
            }
            connection::serve(stream, path, limits, events).await;
        }
    }
}

/// What the other end says first, which is left where it is. `None`: nothing more will come.
async fn first_byte(stream: &TcpStream) -> Option<u8> {
    let mut first = [0];
    (stream.peek(&mut first).await.ok()? == 1).then_some(first[0])
}

/// Ready when the server ends, or is gone.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

pub(crate) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    // A client that vanished without a word is noticed although it may be silent.
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(60)).with_interval(Duration::from_secs(15));
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Whether `accept` failed because of the one connection that it would have returned.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionAborted | Kind::ConnectionReset | Kind::ConnectionRefused)
}

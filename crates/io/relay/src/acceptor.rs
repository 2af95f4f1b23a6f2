use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sansio::{Path, Transport};
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};
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
use crate::{Error, Limits};

/// Connections that the system keeps until they are accepted.
const BACKLOG: i32 = 1024;
/// How long to wait before accepting again when the system has no more to give (file descriptors, memory).
const BREATHER: Duration = Duration::from_millis(100);
/// How long connections may take to end when the server does.
pub(crate) const FAREWELL: Duration = Duration::from_secs(2);

/// What a TLS connection begins with: a record of the handshake. No STUN message and no ChannelData does (RFC 7983 §7).
const TLS_HANDSHAKE: u8 = 22;

/// Accepts the connections of one address: plain ones, those inside TLS, or both, told apart by their first byte.
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

impl Acceptor {
    pub(crate) fn bind(
        address: SocketAddr,
        plain: bool,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Result<Self, Error> {
        let transport = if plain { Transport::Tcp } else { Transport::Tls };
        let failed = |source| Error::Bind { transport, address, source };
        let listener = listen_tcp(address).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, local, plain, tls: tls.map(TlsAcceptor::from) })
    }

    /// The address, with its real port.
    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// What it accepts.
    pub(crate) fn transports(&self) -> impl Iterator<Item = Transport> {
        let (plain, tls) = (self.plain, self.tls.is_some());
        [(Transport::Tcp, plain), (Transport::Tls, tls)].into_iter().filter_map(|(one, is)| is.then_some(one))
    }

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
        if let Err(refused) = self.admitted.shakes_hands() {
            return debug!(%path, ?refused, "TLS handshake refused: too many");
        }
        let began = Instant::now();
        match timeout(limits.handshake, tls.accept(self.stream)).await {
            Ok(Ok(stream)) => {
                self.admitted.has_shaken_hands();
                handshakes.succeeded(began.elapsed());
                connection::serve(stream, path, limits, events).await;
            }
            Ok(Err(error)) => {
                handshakes.failed();
                debug!(%path, %error, "TLS handshake failed");
            }
            Err(_) => {
                handshakes.took_too_long();
                debug!(%path, "TLS handshake took too long");
            }
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

/// A TCP listener as a server wants it: IPv6 leaves IPv4 to others, a restart does not wait for the connections of
/// the run before, and many may knock at once.
///
/// # Errors
/// Those of the system: the address is not ours, or in use.
///
/// # Panics
/// Outside a tokio runtime.
pub fn listen_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // (On Windows it means to share the port with whoever has it.)
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
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

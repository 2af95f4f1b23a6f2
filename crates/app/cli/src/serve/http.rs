//! The page's listener: HTTP, plain or inside TLS, and on the same port TURN for those behind firewalls that let nothing
//! else through. Which of them it is, ALPN tells (RFC 7443), or the first byte.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use relay::Entrance;
use sansio::Transport;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A TLS handshake that takes longer is given up. Who says nothing for so long is no client of TURN, which would.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// TLS handshakes at a time.
const MAX_HANDSHAKES: usize = 256;

/// What the page's port speaks inside TLS.
pub(crate) const PROTOCOLS: [&str; 3] = ["http/1.1", "stun.turn", "stun.nat-discovery"];

/// Accepts connections for axum, at any number of addresses. TLS handshakes run beside each other, so that a slow one
/// delays nobody.
pub(crate) struct HttpListener {
    local: SocketAddr,
    accepted: mpsc::Receiver<(HttpStream, SocketAddr)>,
}

impl HttpListener {
    /// `listeners`: at least one. What is not HTTP goes to `turn`.
    pub(crate) fn new(
        listeners: Vec<TcpListener>,
        tls: Option<TlsAcceptor>,
        turn: &Entrance,
    ) -> io::Result<Self> {
        let local = listeners[0].local_addr()?;
        let (http, accepted) = mpsc::channel(16);
        let slots = Arc::new(Semaphore::new(MAX_HANDSHAKES));
        for listener in listeners {
            let (http, turn) = (http.clone(), turn.clone());
            tokio::spawn(receive(listener, Ways { tls: tls.clone(), slots: slots.clone(), http, turn }));
        }
        Ok(Self { local, accepted })
    }
}

/// Where connections go.
#[derive(Clone)]
struct Ways {
    tls: Option<TlsAcceptor>,
    slots: Arc<Semaphore>,
    http: mpsc::Sender<(HttpStream, SocketAddr)>,
    turn: Entrance,
}

async fn receive(listener: TcpListener, ways: Ways) {
    while !ways.http.is_closed() {
        let Ok(slot) = ways.slots.clone().acquire_owned().await else { return };
        let (stream, from) = accept(&listener).await;
        tokio::spawn(ways.clone().take(stream, from, slot));
    }
}

/// The next connection. Running out of file descriptors passes; giving up would not.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let _ = stream.set_nodelay(true);
                return (stream, from);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Ways {
    /// Finds out what a connection is, and brings it there.
    async fn take(self, stream: TcpStream, from: SocketAddr, slot: OwnedSemaphorePermit) {
        let Ok(local) = stream.local_addr() else { return };
        let mut first = [0];
        let Some(tls) = self.tls else {
            // A browser may connect ahead of time and say nothing for long: no slot is taken by that.
            drop(slot);
            let said = timeout(HANDSHAKE, stream.peek(&mut first)).await;
            return match said {
                Ok(Ok(1)) if is_stun(first[0]) => self.turn.serve(stream, Transport::Tcp, local, from).await,
                Ok(Ok(1)) | Err(_) => _ = self.http.send((HttpStream::Plain(stream), from)).await,
                Ok(_) => {}
            };
        };
        let mut stream = match timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%from, %error, "no TLS handshake"),
            Err(_) => return tracing::debug!(%from, "the TLS handshake took too long"),
        };
        drop(slot);
        if stream.get_ref().1.alpn_protocol() == Some(relay::ACME_TLS) {
            return;
        }
        let spoken = stream.get_ref().1.alpn_protocol().map(|protocol| protocol == b"http/1.1");
        let (is_http, ahead) = match spoken {
            Some(is_http) => (is_http, None),
            None => match timeout(HANDSHAKE, stream.read_exact(&mut first)).await {
                Ok(Ok(_)) => (!is_stun(first[0]), Some(first[0])),
                Ok(Err(_)) => return,
                Err(_) => (true, None),
            },
        };
        let stream = Rewound { ahead, stream };
        if is_http {
            let _ = self.http.send((HttpStream::Tls(Box::new(stream)), from)).await;
        } else {
            self.turn.serve(stream, Transport::Tls, local, from).await;
        }
    }
}

/// Whether a connection that begins so speaks TURN. Its client asks for something before it can send anything else, and
/// no method of HTTP begins with a control character.
fn is_stun(first: u8) -> bool {
    stun::classify(&[first]) == stun::Packet::Stun
}

impl Listener for HttpListener {
    type Io = HttpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.local)
    }
}

/// One connection.
pub(crate) enum HttpStream {
    Plain(TcpStream),
    Tls(Box<Rewound<TlsStream<TcpStream>>>),
}

/// A stream whose first byte was read already.
pub(crate) struct Rewound<S> {
    ahead: Option<u8>,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() > 0
            && let Some(first) = self.ahead.take()
        {
            buffer.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Remote(SocketAddr);

impl Connected<IncomingStream<'_, HttpListener>> for Remote {
    fn connect_info(stream: IncomingStream<'_, HttpListener>) -> Self {
        Self(*stream.remote_addr())
    }
}

/// Tells the signalling server where a request comes from.
pub(crate) async fn mark_source(
    ConnectInfo(Remote(from)): ConnectInfo<Remote>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(signal::Source(from));
    next.run(request).await
}

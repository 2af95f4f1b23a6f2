//! The page's listener: HTTP, plain or inside TLS, and on the same port TURN for those behind firewalls that let nothing
//! else through. Which of them it is, ALPN tells (RFC 7443), or the first byte.
//!
//! Whatever they speak, all that connect are held to the relay's limits, in all and per source, and so are their
//! handshakes: see [`Entrance`].

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use relay::{Entrance, Guest};
use sansio::Transport;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How long the head of a request may take, and how long a connection may be silent between two.
const SILENCE: Duration = Duration::from_secs(30);

/// What the page's port speaks inside TLS.
pub(crate) const PROTOCOLS: [&str; 3] = ["http/1.1", "stun.turn", "stun.nat-discovery"];

/// What is served at the page's port.
#[derive(Clone)]
pub(crate) struct Page {
    tls: Option<TlsAcceptor>,
    turn: Entrance,
    app: TowerToHyperService<Router>,
    silence: Duration,
}

impl Page {
    /// Without `tls`, all of it is plain. What is not HTTP goes to `turn`.
    pub(crate) fn new(tls: Option<TlsAcceptor>, turn: Entrance, app: Router) -> Self {
        Self { tls, turn, app: TowerToHyperService::new(app), silence: SILENCE }
    }

    /// Serves whoever comes to one of `listeners`, each in a task of his own, so that a slow one delays nobody. Ends if that
    /// cannot go on.
    pub(crate) async fn serve(self, listeners: Vec<TcpListener>) {
        let page = Arc::new(self);
        let mut receiving: JoinSet<()> = JoinSet::new();
        for listener in listeners {
            let page = page.clone();
            receiving.spawn(async move {
                loop {
                    let (stream, from) = accept(&listener).await;
                    if let Some(guest) = page.turn.admit(&stream, from) {
                        tokio::spawn(page.clone().receive(stream, from, guest));
                    }
                }
            });
        }
        receiving.join_next().await;
    }

    /// Finds out what a connection is, and serves it.
    async fn receive(self: Arc<Self>, stream: TcpStream, from: SocketAddr, mut guest: Guest) {
        let (patience, mut first) = (guest.patience(), [0]);
        let Some(tls) = &self.tls else {
            // A browser may connect ahead of time and say nothing for long.
            return match timeout(patience, stream.peek(&mut first)).await {
                Ok(Ok(1)) if is_stun(first[0]) => guest.serve(stream, Transport::Tcp).await,
                Ok(Ok(1)) | Err(_) => {
                    self.speak(Visit { ahead: None, stream, _guest: Some(guest) }, from).await
                }
                Ok(_) => {}
            };
        };
        let Some(mut stream) = guest.shake_hands(tls, stream).await else { return };
        if stream.get_ref().1.alpn_protocol() == Some(relay::ACME_TLS) {
            return;
        }
        let spoken = stream.get_ref().1.alpn_protocol().map(|protocol| protocol == b"http/1.1");
        let (is_http, ahead) = match spoken {
            Some(is_http) => (is_http, None),
            None => match timeout(patience, stream.read_exact(&mut first)).await {
                Ok(Ok(_)) => (!is_stun(first[0]), Some(first[0])),
                Ok(Err(_)) => return,
                Err(_) => (true, None),
            },
        };
        if is_http {
            self.speak(Visit { ahead, stream, _guest: Some(guest) }, from).await;
        } else {
            guest.serve(Visit { ahead, stream, _guest: None }, Transport::Tls).await;
        }
    }

    /// Speaks HTTP. A WebSocket takes the stream along, and its guest with it.
    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, from: SocketAddr) {
        let app = service_fn(|mut request: Request<Incoming>| {
            // Tells the signalling server where it comes from.
            request.extensions_mut().insert(signal::Source(from));
            self.app.call(request)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.silence)
            .serve_connection(TokioIo::new(stream), app)
            .with_upgrades()
            .await;
        if let Err(error) = served {
            tracing::debug!(%from, %error, "no more HTTP");
        }
    }
}

/// The next connection. Running out of file descriptors passes; giving up would not.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether a connection that begins so speaks TURN. Its client asks for something before it can send anything else, and
/// no method of HTTP begins with a control character.
fn is_stun(first: u8) -> bool {
    stun::classify(&[first]) == stun::Packet::Stun
}

/// A stream whose first byte may have been read already, and whose guest leaves with it.
struct Visit<S> {
    ahead: Option<u8>,
    stream: S,
    _guest: Option<Guest>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Visit<S> {
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

impl<S: AsyncWrite + Unpin> AsyncWrite for Visit<S> {
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::extract::WebSocketUpgrade;
    use axum::routing::get;
    use relay::{Limits, Relay, RelayConfig};
    use tokio::io::AsyncWriteExt as _;
    use turn::{Auth, ServerConfig};

    use super::*;

    const SILENCE: Duration = Duration::from_millis(300);

    /// A page with a WebSocket, at a relay that nobody needs to run.
    async fn start(limits: Limits) -> (SocketAddr, Relay) {
        let auth = Auth::user("alice", "a long password");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = ServerConfig::new("example.org", any.ip(), auth, sansio::Seed(crypto::seed()));
        let relay = Relay::bind(RelayConfig { udp: vec![any], limits, ..RelayConfig::new(server) }).unwrap();
        let ws = get(async |upgrade: WebSocketUpgrade| {
            upgrade.on_upgrade(async |mut socket| while let Some(Ok(_)) = socket.recv().await {})
        });
        let app = Router::new().route("/", get(async || "the page")).route("/ws", ws);
        let listener = TcpListener::bind(any).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(
            Page { silence: SILENCE, ..Page::new(None, relay.entrance(), app) }.serve(vec![listener]),
        );
        (address, relay)
    }

    /// What comes until the other end has enough.
    async fn rest(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        let _ = timeout(Duration::from_secs(20), stream.read_to_string(&mut text)).await.expect("it ends");
        text
    }

    #[tokio::test]
    async fn who_asks_for_nothing_is_not_waited_for() {
        let (address, _relay) = start(Limits::default()).await;
        // Half a request; and one that is whole, with nothing after it.
        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(b"GET / HTTP/1.1\r\nHost: page\r\nX-Wait: ").await.unwrap();
        let mut once = TcpStream::connect(address).await.unwrap();
        once.write_all(b"GET / HTTP/1.1\r\nHost: page\r\n\r\n").await.unwrap();
        assert!(!rest(&mut half).await.contains("the page"));
        assert!(rest(&mut once).await.ends_with("the page"));
    }

    #[tokio::test]
    async fn a_web_socket_may_be_silent_and_counts_as_long_as_it_lives() {
        let limits = Limits { connections_per_source: 1, ..Limits::default() };
        let (address, _relay) = start(limits).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = "GET /ws HTTP/1.1\r\nHost: page\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            answer.push(socket.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&answer));
        tokio::time::sleep(3 * SILENCE).await;
        // A ping, masked with zeros, and its pong.
        let mut pong = [0; 2];
        socket.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.unwrap();
        socket.read_exact(&mut pong).await.unwrap();
        assert_eq!(pong, [0x8a, 0]);
        // It has its host's only place, which is free when it is gone.
        assert_eq!(rest(&mut TcpStream::connect(address).await.unwrap()).await, "");
        drop(socket);
        let again = async {
            loop {
                let mut stream = TcpStream::connect(address).await.unwrap();
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: page\r\nConnection: close\r\n\r\n").await;
                if rest(&mut stream).await.ends_with("the page") {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(20), again).await.expect("the place is free again");
    }
}

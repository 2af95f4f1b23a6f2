//! The server: WebSockets in front of [`Rooms`].

use crate::SUBPROTOCOL;
use crate::limits::{Bucket, Limits, Sources};
use crate::message::{ErrorCode, FromClient, FromServer, LeaveReason};
use crate::rooms::{Answers, ConnectionId, Refusal, Rooms};
use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, FromRequestParts, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;
use tokio::sync::mpsc;

/// What the server knows of a client when it hands out `iceServers`.
#[derive(Debug, Clone)]
pub struct ClientInfo {
    /// Where it comes from, if the listener says so (see [`Source`]).
    pub source: Option<SocketAddr>,
    /// The `Host` it asked for, as the browser shows it (`192.168.1.5:8080`): by this name it reached us.
    pub host: Option<String>,
    /// The room it enters.
    pub room: String,
    /// Its connection's number, unique while the server runs: a user name for its TURN credentials.
    pub connection: u64,
}

/// Where a request comes from, as a request extension.
///
/// `axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>())` is understood as
/// well; a listener of one's own (TLS) inserts this instead. Without either, sources are not bounded.
#[derive(Debug, Clone, Copy)]
pub struct Source(pub SocketAddr);

/// How the server behaves.
#[derive(Clone)]
pub struct SignalConfig {
    /// Makes the `iceServers` for one client, with credentials of its own that expire.
    pub ice_servers: Arc<dyn Fn(&ClientInfo) -> Value + Send + Sync>,
    /// Bounds on what strangers can use.
    pub limits: Limits,
    /// Origins whose pages may connect, besides the server's own (`https://example.org`).
    pub allowed_origins: Vec<String>,
}

impl Default for SignalConfig {
    fn default() -> Self {
        Self {
            ice_servers: Arc::new(|_| Value::Array(Vec::new())),
            limits: Limits::default(),
            allowed_origins: Vec::new(),
        }
    }
}

/// The signalling server: `/ws` and nothing else. Merge it with what else the process serves.
pub fn router(config: SignalConfig) -> Router {
    let server = Server { config, state: Mutex::default() };
    Router::new().route("/ws", get(upgrade)).with_state(Arc::new(server))
}

struct Server {
    config: SignalConfig,
    state: Mutex<ServerState>,
}

#[derive(Default)]
struct ServerState {
    rooms: Rooms,
    sources: Sources,
    last_connection: ConnectionId,
    /// Where each connection's messages are queued.
    queues: BTreeMap<ConnectionId, mpsc::Sender<FromServer>>,
}

async fn upgrade(State(server): State<Arc<Server>>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    let headers = &parts.headers;
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).map(str::to_string);
    if !origin_allowed(headers, host.as_deref(), &server.config.allowed_origins) {
        return (StatusCode::FORBIDDEN, "pages of another origin may not use this server\n").into_response();
    }
    let extensions = &parts.extensions;
    let source = extensions
        .get::<Source>()
        .map(|s| s.0)
        .or_else(|| extensions.get::<ConnectInfo<SocketAddr>>().map(|c| c.0));
    let upgrade = match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => upgrade,
        Err(_) => {
            let text = "this is Sterna's signalling: connect with a WebSocket (docs/signalling.md)\n";
            return (StatusCode::UPGRADE_REQUIRED, text).into_response();
        }
    };
    let limit = server.config.limits.message;
    upgrade
        .protocols([SUBPROTOCOL])
        .max_message_size(limit)
        .max_frame_size(limit)
        .on_upgrade(move |socket| serve(server, socket, source, host))
}

/// A request without `Origin` is no page's; a page's must be our own or one that the operator named.
fn origin_allowed(headers: &HeaderMap, host: Option<&str>, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let own = origin.split_once("://").is_some_and(|(scheme, name)| {
        matches!(scheme, "http" | "https") && host.is_some_and(|host| host.eq_ignore_ascii_case(name))
    });
    own || allowed.iter().any(|a| a.trim_end_matches('/').eq_ignore_ascii_case(origin))
}

async fn serve(server: Arc<Server>, mut socket: WebSocket, source: Option<SocketAddr>, host: Option<String>) {
    let limits = &server.config.limits;
    let (queue, queued) = mpsc::channel(limits.queue);
    let Some(id) = server.connect(source, queue) else {
        let error = error(ErrorCode::ServerFull, "too many connections: close some, or try again later");
        let _ = socket.send(text(&error)).await;
        return;
    };
    tracing::debug!(connection = id, ?source, "signalling client connected");
    let client = Connection { server: &server, id, source, host };
    let reason = client.run(socket, queued).await;
    server.disconnect(id, source, reason);
    tracing::debug!(connection = id, ?reason, "signalling client gone");
}

impl Server {
    fn state(&self) -> MutexGuard<'_, ServerState> {
        // What a panicking thread left is still a set of rooms; one bad message must not end them all.
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn connect(&self, source: Option<SocketAddr>, queue: mpsc::Sender<FromServer>) -> Option<ConnectionId> {
        let mut state = self.state();
        if !state.sources.connect(address(source), &self.config.limits, Instant::now()) {
            return None;
        }
        state.last_connection += 1;
        let id = state.last_connection;
        state.queues.insert(id, queue);
        Some(id)
    }

    fn disconnect(&self, id: ConnectionId, source: Option<SocketAddr>, reason: LeaveReason) {
        let now = Instant::now();
        let mut state = self.state();
        state.queues.remove(&id);
        let answers = state.rooms.leave(id, reason, &self.config.limits, now);
        state.deliver(answers);
        state.sources.disconnect(address(source), now);
    }
}

impl ServerState {
    /// Queues messages; whoever lets the queue run over is dropped (its reader notices the closed queue).
    fn deliver(&mut self, answers: Answers) {
        for (to, message) in answers {
            if let Some(queue) = self.queues.get(&to)
                && queue.try_send(message).is_err()
            {
                self.queues.remove(&to);
            }
        }
    }
}

struct Connection<'a> {
    server: &'a Server,
    id: ConnectionId,
    source: Option<SocketAddr>,
    host: Option<String>,
}

impl Connection<'_> {
    /// Moves messages both ways until one side has enough.
    async fn run(&self, socket: WebSocket, mut queued: mpsc::Receiver<FromServer>) -> LeaveReason {
        let limits = &self.server.config.limits;
        let (mut sink, mut stream) = socket.split();
        let mut pings = tokio::time::interval(limits.ping);
        let mut heard = Instant::now();
        let mut bucket = Bucket::new(limits.message_burst, f64::from(limits.messages_per_second), heard);
        let mut bad_messages = 0;
        let mut pause = std::pin::pin!(tokio::time::sleep(std::time::Duration::ZERO));
        loop {
            tokio::select! {
                // Too fast a client is read later: its own TCP window tells it to slow down.
                received = stream.next(), if pause.is_elapsed() => {
                    heard = Instant::now();
                    match received {
                        Some(Ok(Message::Text(message))) => {
                            let wait = bucket.wait(heard);
                            if !wait.is_zero() {
                                pause.as_mut().reset(tokio::time::Instant::now() + wait);
                            }
                            if self.handle(&message) {
                                continue;
                            }
                            bad_messages += 1;
                            if bad_messages > 10 {
                                return LeaveReason::Left;
                            }
                        }
                        Some(Ok(Message::Binary(_))) => {
                            self.refuse((ErrorCode::BadMessage, "messages are JSON in text frames".into()));
                            bad_messages += 1;
                            if bad_messages > 10 {
                                return LeaveReason::Left;
                            }
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(_))) => {
                            let _ = sink.close().await;
                            return LeaveReason::Left;
                        }
                        Some(Err(_)) | None => return LeaveReason::Lost,
                    }
                }
                () = &mut pause, if !pause.is_elapsed() => heard = Instant::now(),
                message = queued.recv() => {
                    let Some(message) = message else { return LeaveReason::Lost };
                    let sent = tokio::time::timeout(limits.silence, sink.send(text(&message))).await;
                    match sent {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return LeaveReason::Lost,
                        Err(_) => return LeaveReason::Silent,
                    }
                }
                _ = pings.tick() => {
                    if heard.elapsed() > limits.silence {
                        return LeaveReason::Silent;
                    }
                    let ping = tokio::time::timeout(limits.silence, sink.send(Message::Ping(Default::default())));
                    match ping.await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return LeaveReason::Lost,
                        Err(_) => return LeaveReason::Silent,
                    }
                }
            }
        }
    }

    /// Does what the client asks; `false` if it was no message of this protocol.
    fn handle(&self, message: &str) -> bool {
        let message: FromClient = match serde_json::from_str(message) {
            Ok(message) => message,
            Err(error) => {
                self.refuse((ErrorCode::BadMessage, format!("not a message of {SUBPROTOCOL}: {error}")));
                return false;
            }
        };
        if let Err(refusal) = self.obey(message) {
            self.refuse(refusal);
        }
        true
    }

    fn obey(&self, message: FromClient) -> Result<(), Refusal> {
        let now = Instant::now();
        let limits = &self.server.config.limits;
        // Made before the lock is taken: it is the operator's code.
        let ice_servers = match &message {
            FromClient::Join { room, .. } => self.ice_servers(room),
            FromClient::Allocate { .. } | FromClient::IceServers => self.ice_servers(""),
            _ => Value::Null,
        };
        let mut state = self.server.state();
        let is_try = matches!(
            message,
            FromClient::Join { .. } | FromClient::Allocate { .. } | FromClient::Look { .. }
        );
        if is_try && !state.sources.may_try(address(self.source), limits, now) {
            return Err((ErrorCode::SlowDown, "too many tries from your address: wait a minute".into()));
        }
        let answers = match message {
            FromClient::Join { room, limit } => {
                state.rooms.join(self.id, &room, limit, ice_servers, limits)?
            }
            FromClient::Allocate { wish } => {
                let mut dice = || {
                    let seed = crypto::seed();
                    u64::from_le_bytes(std::array::from_fn(|i| seed[i]))
                };
                state.rooms.allocate(self.id, wish.as_deref(), ice_servers, limits, now, &mut dice)?
            }
            FromClient::Look { room } => {
                let (members, limit) = state.rooms.look(&room);
                vec![(self.id, FromServer::Looked { room, members, limit })]
            }
            FromClient::Send { to, data } => state.rooms.send(self.id, &to, data)?,
            FromClient::IceServers => vec![(self.id, FromServer::IceServers { ice_servers })],
            FromClient::Leave => state.rooms.leave(self.id, LeaveReason::Left, limits, now),
            FromClient::CloseRoom => state.rooms.close(self.id, limits, now)?,
            FromClient::Ping => vec![(self.id, FromServer::Pong)],
        };
        state.deliver(answers);
        Ok(())
    }

    fn ice_servers(&self, room: &str) -> Value {
        let info = ClientInfo {
            source: self.source,
            host: self.host.clone(),
            room: room.to_string(),
            connection: self.id,
        };
        (self.server.config.ice_servers)(&info)
    }

    fn refuse(&self, (code, message): Refusal) {
        self.server.state().deliver(vec![(self.id, error(code, message))]);
    }
}

fn error(code: ErrorCode, message: impl Into<String>) -> FromServer {
    FromServer::Error { code, message: message.into() }
}

fn text(message: &FromServer) -> Message {
    Message::Text(serde_json::to_string(message).expect("our own messages are JSON").into())
}

fn address(source: Option<SocketAddr>) -> Option<IpAddr> {
    source.map(|s| s.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_page_is_not_let_in() {
        let allowed = ["https://friend.example".to_string()];
        let check = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, origin.parse().unwrap());
            }
            origin_allowed(&headers, Some("sterna.example:8080"), &allowed)
        };
        assert!(check(None));
        assert!(check(Some("http://sterna.example:8080")));
        assert!(check(Some("https://Sterna.example:8080")));
        assert!(check(Some("https://friend.example")));
        assert!(!check(Some("https://sterna.example")));
        assert!(!check(Some("https://evil.example")));
        assert!(!check(Some("file://sterna.example:8080")));
        assert!(!check(Some("null")));
    }
}

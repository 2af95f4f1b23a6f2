//! One connection to a server, and a handle for every other member of the room.

use crate::connect::{ConnectError, ConnectOptions, Greeting, Socket, connect};
use crate::message::{ErrorCode, FromClient, FromServer, LeaveReason};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

/// Messages that wait for the network before [`Peer::send`] gives up.
const OUTBOX: usize = 512;
/// Messages of one peer that wait to be read before the peer is dropped.
const INBOX: usize = 512;
/// Pings come every few seconds; a server that is silent for so long is gone.
const SILENCE: Duration = Duration::from_secs(20);

/// A connection to a signalling server, in at most one room.
///
/// It lives until the client and all its [`Peer`]s are dropped.
#[derive(Debug)]
pub struct Client {
    out: mpsc::Sender<Order>,
    control: mpsc::UnboundedReceiver<Control>,
    /// What came while an answer was awaited.
    early: VecDeque<Event>,
    ice_servers: Value,
    greeting: Greeting,
}

/// What the server says on entering a room.
#[derive(Debug)]
pub struct Joined {
    /// The room's name; the nameplate if it was [allocated](Client::allocate).
    pub room: String,
    /// Our own id.
    pub you: String,
    /// Who was there before us, oldest first.
    pub peers: Vec<Peer>,
}

/// What happens in the room.
#[derive(Debug)]
pub enum Event {
    /// Somebody entered.
    PeerJoined(Peer),
    /// The room was closed; the client is in none now.
    RoomClosed,
}

/// Why the server does not do as asked, or is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignalError {
    /// The server says no, and why.
    #[error("{message}")]
    Refused {
        /// For programs.
        code: ErrorCode,
        /// For people.
        message: String,
    },
    /// The connection to the server is gone.
    #[error("the connection to the signalling server was lost")]
    ServerLost,
    /// More is sent than the connection to the server takes.
    #[error("the connection to the signalling server is stuck")]
    Stuck,
}

/// Why nothing comes from a peer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// It left.
    #[error("the other side left")]
    Left,
    /// Its connection to the server broke.
    #[error("the other side lost its connection to the signalling server")]
    Lost,
    /// The server has not heard from it any more: it may have lost its network, or sleep, and come back.
    #[error("the other side has fallen silent")]
    Silent,
    /// The room was closed by who opened it.
    #[error("the room was closed")]
    RoomClosed,
    /// Our own connection to the server broke.
    #[error("the connection to the signalling server was lost")]
    ServerLost,
    /// It said more than anybody read.
    #[error("the other side sends more than can be read")]
    Flooded,
}

/// Another member of the room.
#[derive(Debug)]
pub struct Peer {
    id: String,
    out: mpsc::Sender<Order>,
    inbox: mpsc::Receiver<String>,
    gone: Arc<OnceLock<Gone>>,
}

impl Client {
    /// Connects to the server at `http://`, `https://`, `ws://` or `wss://`.
    pub async fn connect(server: &str, options: &ConnectOptions) -> Result<Self, ConnectError> {
        let (socket, greeting) = connect(server, options).await?;
        let (out, outbox) = mpsc::channel(OUTBOX);
        // Unbounded is bounded here by the server's rooms: a handful of events per member.
        let (events, control) = mpsc::unbounded_channel();
        let pump = Pump { events, out: out.downgrade(), peers: BTreeMap::new() };
        tokio::spawn(pump.run(socket, outbox));
        Ok(Self { out, control, early: VecDeque::new(), ice_servers: Value::Array(Vec::new()), greeting })
    }

    /// Opens a room under a short free number; `wish` is a number to have again if it is free.
    pub async fn allocate(&mut self, wish: Option<&str>) -> Result<Joined, SignalError> {
        self.ask(FromClient::Allocate { wish: wish.map(str::to_string) }).await
    }

    /// Enters a room, opening it (for at most `limit` members) if it is not a nameplate's.
    pub async fn join(&mut self, room: &str, limit: Option<usize>) -> Result<Joined, SignalError> {
        self.ask(FromClient::Join { room: room.to_string(), limit }).await
    }

    /// Leaves the room; the connection stays.
    pub fn leave(&self) -> Result<(), SignalError> {
        send(&self.out, FromClient::Leave)
    }

    /// Ends the room for everybody in it: the code dies.
    pub fn close_room(&self) -> Result<(), SignalError> {
        send(&self.out, FromClient::CloseRoom)
    }

    /// Returns when all that was said before is on its way to the server, or cannot be.
    pub async fn flush(&self) {
        flush(&self.out).await;
    }

    /// Asks for `iceServers` with fresh credentials; [`Client::ice_servers`] has them when they have come.
    pub fn refresh_ice_servers(&self) -> Result<(), SignalError> {
        send(&self.out, FromClient::IceServers)
    }

    /// Asks for `iceServers` with fresh credentials, and waits for them. No room is entered.
    ///
    /// # Errors
    /// If the server refuses, or is gone.
    pub async fn fetch_ice_servers(&mut self) -> Result<Value, SignalError> {
        self.refresh_ice_servers()?;
        loop {
            match self.control.recv().await.ok_or(SignalError::ServerLost)? {
                Control::IceServers(ice_servers) => {
                    self.ice_servers = ice_servers;
                    return Ok(self.ice_servers.clone());
                }
                Control::Error { code, message } => return Err(SignalError::Refused { code, message }),
                other => {
                    if let Some(event) = self.take(other) {
                        self.early.push_back(event);
                    }
                }
            }
        }
    }

    /// How the server was reached.
    pub fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// The latest `iceServers` that the server gave, as `RTCPeerConnection` takes them.
    pub fn ice_servers(&mut self) -> Value {
        while let Ok(control) = self.control.try_recv() {
            if let Some(event) = self.take(control) {
                self.early.push_back(event);
            }
        }
        self.ice_servers.clone()
    }

    /// What happens next in the room. Cancel-safe.
    pub async fn next(&mut self) -> Result<Event, SignalError> {
        loop {
            if let Some(event) = self.early.pop_front() {
                return Ok(event);
            }
            let control = self.control.recv().await.ok_or(SignalError::ServerLost)?;
            if let Some(event) = self.take(control) {
                return Ok(event);
            }
        }
    }

    /// Sends what is queued, leaves, and closes the connection in order.
    pub async fn close(mut self) {
        let _ = self.leave();
        drop(self.out);
        // The pump ends when the last sender is gone, and its events with it.
        let all_sent = async { while self.control.recv().await.is_some() {} };
        let _ = tokio::time::timeout(Duration::from_secs(2), all_sent).await;
    }

    async fn ask(&mut self, question: FromClient) -> Result<Joined, SignalError> {
        send(&self.out, question)?;
        loop {
            match self.control.recv().await.ok_or(SignalError::ServerLost)? {
                Control::Joined(joined, ice_servers) => {
                    self.ice_servers = ice_servers;
                    return Ok(joined);
                }
                // Not the answer to this question, but to a message for somebody who has just left.
                Control::Error { code: ErrorCode::NoSuchPeer, .. } => {}
                Control::Error { code, message } => return Err(SignalError::Refused { code, message }),
                other => {
                    if let Some(event) = self.take(other) {
                        self.early.push_back(event);
                    }
                }
            }
        }
    }

    fn take(&mut self, control: Control) -> Option<Event> {
        match control {
            Control::Event(event) => Some(event),
            Control::IceServers(ice_servers) | Control::Joined(_, ice_servers) => {
                self.ice_servers = ice_servers;
                None
            }
            Control::Error { code, message } => {
                tracing::debug!(?code, message, "the signalling server refused");
                None
            }
        }
    }
}

impl Peer {
    /// Its id in the room.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Sends it `data`. Does not wait; messages arrive in order, or the connection is lost.
    pub fn send(&self, data: impl Into<String>) -> Result<(), SignalError> {
        send(&self.out, FromClient::Send { to: self.id.clone(), data: data.into() })
    }

    /// Returns when all that was said before is on its way to the server, or cannot be.
    pub async fn flush(&self) {
        flush(&self.out).await;
    }

    /// What it says next. Cancel-safe.
    pub async fn next(&mut self) -> Result<String, Gone> {
        match self.inbox.recv().await {
            Some(data) => Ok(data),
            None => Err(*self.gone.get().unwrap_or(&Gone::ServerLost)),
        }
    }
}

fn send(out: &mpsc::Sender<Order>, message: FromClient) -> Result<(), SignalError> {
    out.try_send(Order::Say(message)).map_err(|error| match error {
        mpsc::error::TrySendError::Full(_) => SignalError::Stuck,
        mpsc::error::TrySendError::Closed(_) => SignalError::ServerLost,
    })
}

async fn flush(out: &mpsc::Sender<Order>) {
    let (done, flushed) = oneshot::channel();
    if out.try_send(Order::Flush(done)).is_ok() {
        let _ = tokio::time::timeout(Duration::from_secs(2), flushed).await;
    }
}

/// What the handles tell the pump.
#[derive(Debug)]
enum Order {
    Say(FromClient),
    /// Answer when everything before this has been written.
    Flush(oneshot::Sender<()>),
}

/// What the pump tells the client.
#[derive(Debug)]
enum Control {
    Joined(Joined, Value),
    IceServers(Value),
    Error { code: ErrorCode, message: String },
    Event(Event),
}

/// Moves messages between the WebSocket and the handles.
struct Pump {
    events: mpsc::UnboundedSender<Control>,
    /// For new peers; weak, so that the connection ends with the last handle.
    out: mpsc::WeakSender<Order>,
    peers: BTreeMap<String, Inbox>,
}

struct Inbox {
    queue: mpsc::Sender<String>,
    gone: Arc<OnceLock<Gone>>,
}

impl Pump {
    async fn run(mut self, mut socket: Socket, mut outbox: mpsc::Receiver<Order>) {
        let mut heard = tokio::time::Instant::now();
        loop {
            tokio::select! {
                received = socket.next() => {
                    heard = tokio::time::Instant::now();
                    match received {
                        Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                            Ok(message) => self.dispatch(message),
                            Err(error) => tracing::debug!(%error, "not a message of the signalling protocol"),
                        },
                        Some(Ok(Message::Close(_)) | Err(_)) | None => break,
                        Some(Ok(_)) => {}
                    }
                }
                () = tokio::time::sleep_until(heard + SILENCE) => break,
                message = outbox.recv() => {
                    let Some(message) = message else {
                        // The last handle is gone: an orderly end.
                        let _ = tokio::time::timeout(Duration::from_secs(2), socket.close(None)).await;
                        break;
                    };
                    let message = match message {
                        Order::Say(message) => message,
                        Order::Flush(done) => {
                            let _ = done.send(());
                            continue;
                        }
                    };
                    let text = serde_json::to_string(&message).expect("our own messages are JSON");
                    let sent = tokio::time::timeout(SILENCE, socket.send(Message::Text(text.into()))).await;
                    if !matches!(sent, Ok(Ok(()))) {
                        break;
                    }
                }
            }
        }
        self.forget_all(Gone::ServerLost);
    }

    fn dispatch(&mut self, message: FromServer) {
        match message {
            FromServer::Joined { room, you, peers, ice_servers, .. } => {
                // Ids of an earlier room mean nothing in this one.
                self.forget_all(Gone::Left);
                let peers = peers.into_iter().filter_map(|id| self.meet(id)).collect();
                self.tell(Control::Joined(Joined { room, you, peers }, ice_servers));
            }
            FromServer::PeerJoined { peer } => {
                if let Some(peer) = self.meet(peer) {
                    self.tell(Control::Event(Event::PeerJoined(peer)));
                }
            }
            FromServer::PeerLeft { peer, reason, silent } => {
                let gone = match reason {
                    LeaveReason::Left => Gone::Left,
                    _ if silent => Gone::Silent,
                    _ => Gone::Lost,
                };
                self.forget(&peer, gone);
            }
            FromServer::Message { from, data } => {
                let Some(inbox) = self.peers.get(&from) else { return };
                match inbox.queue.try_send(data) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => self.forget(&from, Gone::Flooded),
                    Err(mpsc::error::TrySendError::Closed(_)) => {
                        self.peers.remove(&from);
                    }
                }
            }
            FromServer::RoomClosed => {
                self.forget_all(Gone::RoomClosed);
                self.tell(Control::Event(Event::RoomClosed));
            }
            FromServer::IceServers { ice_servers } => self.tell(Control::IceServers(ice_servers)),
            FromServer::Error { code, message } => self.tell(Control::Error { code, message }),
            FromServer::Allocated { .. } | FromServer::Looked { .. } | FromServer::Pong => {}
        }
    }

    fn meet(&mut self, id: String) -> Option<Peer> {
        let out = self.out.upgrade()?;
        let (queue, inbox) = mpsc::channel(INBOX);
        let gone = Arc::new(OnceLock::new());
        self.peers.insert(id.clone(), Inbox { queue, gone: gone.clone() });
        Some(Peer { id, out, inbox, gone })
    }

    fn tell(&self, control: Control) {
        let _ = self.events.send(control);
    }

    fn forget(&mut self, peer: &str, gone: Gone) {
        if let Some(inbox) = self.peers.remove(peer) {
            let _ = inbox.gone.set(gone);
        }
    }

    fn forget_all(&mut self, gone: Gone) {
        for (_, inbox) in std::mem::take(&mut self.peers) {
            let _ = inbox.gone.set(gone);
        }
    }
}

//! Connections of peers (RFC 6062), on behalf of the machine: it says what it wants, and what became of it is told to its
//! thread.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use sansio::{Path, Transport, unmapped};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tracing::debug;
use turn::{StreamNews, StreamOp};

use crate::Limits;
use crate::acceptor::prepare;
use crate::connection::{Client, StreamEvent};
use crate::post::Post;
use crate::splice::{Partner, Toll};

/// Connections of peers that wait to be accepted on one relayed address.
const BACKLOG: u32 = 64;
/// Of all of them, connections that wait for the machine to hear of them.
const ARRIVALS: usize = 256;

/// What the machine's thread wants.
#[derive(Debug)]
pub(crate) enum StreamOrder {
    /// Do this.
    Do(StreamOp),
    /// Join the peer's connection with this client's, whose bytes are metered or not.
    Join { peer: Path, client: Arc<Client>, metered: bool },
}

/// All connections of peers.
pub(crate) struct Streams {
    orders: mpsc::UnboundedReceiver<StreamOrder>,
    events: Post,
    limits: Limits,
    tasks: JoinSet<()>,
    listeners: HashMap<SocketAddr, AbortHandle>,
    connections: HashMap<Path, Connection>,
}

enum Connection {
    Dialing(AbortHandle),
    /// It waits, and so does what the peer has sent.
    Waiting(TcpStream),
    /// What it pays. Dropped, it ends.
    Joined(Arc<Toll>, #[allow(dead_code)] oneshot::Sender<()>),
}

/// What a task of ours has.
struct Arrival {
    path: Path,
    stream: io::Result<TcpStream>,
    accepted: bool,
}

impl Streams {
    pub(crate) fn new(orders: mpsc::UnboundedReceiver<StreamOrder>, events: Post, limits: Limits) -> Self {
        Self {
            orders,
            events,
            limits,
            tasks: JoinSet::new(),
            listeners: HashMap::new(),
            connections: HashMap::new(),
        }
    }

    /// Works until the machine is gone; then all of them end.
    pub(crate) async fn run(mut self) {
        self.serve().await;
    }

    /// How much stands in each of its tables.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("relayed addresses that listen", self.listeners.len()),
            ("connections of peers", self.connections.len()),
            ("tasks for connections of peers", self.tasks.len()),
        ]
    }

    pub(crate) async fn serve(&mut self) {
        let (arrivals, mut arrived) = mpsc::channel(ARRIVALS);
        loop {
            let news = tokio::select! {
                order = self.orders.recv() => match order {
                    Some(StreamOrder::Do(op)) => self.perform(op, &arrivals),
                    Some(StreamOrder::Join { peer, client, metered }) => self.join(peer, &client, metered),
                    None => return,
                },
                Some(arrival) = arrived.recv() => self.arrived(arrival),
                Some(_) = self.tasks.join_next() => None,
            };
            if let Some(news) = news
                && self.events.send(StreamEvent::Peer(news)).await.is_err()
            {
                return;
            }
        }
    }

    fn perform(&mut self, op: StreamOp, arrivals: &mpsc::Sender<Arrival>) -> Option<StreamNews> {
        match op {
            StreamOp::Listen { ticket, local } => {
                let Ok((local, listener)) = listen(local) else {
                    return Some(StreamNews::NotListening { ticket });
                };
                let task = self.tasks.spawn(accept(listener, local, arrivals.clone()));
                self.listeners.insert(local, task);
                Some(StreamNews::Listening { ticket, local })
            }
            StreamOp::Unlisten { local } => {
                if let Some(task) = self.listeners.remove(&local) {
                    task.abort();
                }
                None
            }
            StreamOp::Connect { path } if self.connections.len() >= self.limits.connections => {
                Some(StreamNews::Ended { path })
            }
            StreamOp::Connect { path } => {
                let arrivals = arrivals.clone();
                let task = self.tasks.spawn(async move {
                    let stream = dial(path).await;
                    let _ = arrivals.send(Arrival { path, stream, accepted: false }).await;
                });
                self.connections.insert(path, Connection::Dialing(task));
                None
            }
            StreamOp::Close { path } => {
                if let Some(Connection::Dialing(task)) = self.connections.remove(&path) {
                    task.abort();
                }
                None
            }
            StreamOp::Meter { peer, metered } => {
                self.toll(peer)?.meter(metered);
                None
            }
            StreamOp::Grant { peer, direction, bytes, after } => {
                self.toll(peer)?.grant(direction, bytes, after);
                None
            }
            // Comes as a wish to join.
            StreamOp::Splice { .. } => None,
        }
    }

    fn arrived(&mut self, Arrival { path, stream, accepted }: Arrival) -> Option<StreamNews> {
        // The machine did not want to wait for it.
        if !accepted && !matches!(self.connections.get(&path), Some(Connection::Dialing(_))) {
            return None;
        }
        match stream.and_then(|stream| prepare(&stream).map(|()| stream)) {
            Ok(_) if accepted && self.connections.len() >= self.limits.connections => None,
            Ok(stream) => {
                self.connections.insert(path, Connection::Waiting(stream));
                Some(if accepted { StreamNews::Accepted { path } } else { StreamNews::Connected { path } })
            }
            Err(error) => {
                debug!(%path, %error, "no connection to a peer");
                self.connections.remove(&path);
                Some(StreamNews::Ended { path })
            }
        }
    }

    /// From now on the client's own task carries what either side sends.
    fn join(&mut self, path: Path, client: &Client, metered: bool) -> Option<StreamNews> {
        let Some(Connection::Waiting(stream)) = self.connections.remove(&path) else {
            client.outgoing.close();
            return Some(StreamNews::Ended { path });
        };
        let (keep, stop) = oneshot::channel();
        let toll = Arc::new(Toll::new(metered));
        self.connections.insert(path, Connection::Joined(toll.clone(), keep));
        client.join(Partner { stream, path, toll, stop });
        None
    }

    /// What a connection that is joined pays.
    fn toll(&self, path: Path) -> Option<&Toll> {
        match self.connections.get(&path) {
            Some(Connection::Joined(toll, _)) => Some(toll),
            _ => None,
        }
    }
}

/// A socket at a relayed address. Several share it: one that listens, and those that go out from it.
fn socket(local: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    #[cfg(all(unix, not(target_os = "solaris"), not(target_os = "illumos")))]
    socket.set_reuseport(true)?;
    socket.bind(local)?;
    Ok(socket)
}

fn listen(local: SocketAddr) -> io::Result<(SocketAddr, TcpListener)> {
    // Sockets that share a port would share it with another program, too, and nobody would be told.
    drop(std::net::TcpListener::bind(local)?);
    let listener = socket(local)?.listen(BACKLOG)?;
    Ok((listener.local_addr()?, listener))
}

async fn accept(listener: TcpListener, local: SocketAddr, arrivals: mpsc::Sender<Arrival>) {
    loop {
        let (stream, remote) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                debug!(%local, %error, "a peer's connection was not accepted");
                // Of the connection, or of the system, which needs a moment then.
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                continue;
            }
        };
        let path = Path::new(Transport::Tcp, local, unmapped(remote));
        if arrivals.send(Arrival { path, stream: Ok(stream), accepted: true }).await.is_err() {
            return;
        }
    }
}

async fn dial(path: Path) -> io::Result<TcpStream> {
    socket(path.local)?.connect(path.remote).await
}

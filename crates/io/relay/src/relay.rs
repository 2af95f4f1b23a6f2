use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dtls::ServerConfig;
use sansio::{Rng, Seed, Transport};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use turn::Server;
use udp::{BareSocket, Config};

use crate::acceptor::{Acceptor, Gateway, Reception};
use crate::admission::Admission;
use crate::aide::Aide;
use crate::clock::Clock;
use crate::control::{self, Handle};
use crate::crew::Contact;
use crate::desk::Desk;
use crate::exits::Exits;
use crate::gate::Gate;
use crate::handshakes::Handshakes;
use crate::lobby::Lobby;
use crate::losses::Losses;
use crate::mail::mail;
use crate::post::Post;
use crate::pulse::Pulse;
use crate::question::{Answers, Inquiry};
use crate::shard::{Inbox, Shard};
use crate::streams::Streams;
use crate::threads::Threads;
use crate::{Entrance, Error, RelayConfig};

/// Stream events that may wait for the machine; a stream with more to say waits, and so does its client.
const STREAM_EVENTS: usize = 256;

/// A STUN and TURN server whose sockets are open.
pub struct Relay {
    shard: Shard,
    aides: Vec<Aide>,
    post: Post,
    /// Connections of peers.
    streams: Streams,
    acceptors: Vec<Acceptor>,
    /// Where DTLS clients arrive.
    lobby: Option<Lobby>,
    addresses: Vec<(Transport, SocketAddr)>,
    reception: Reception,
    stop: watch::Sender<bool>,
    handle: Handle,
}

/// A relay that has all its ports, and lets nobody in yet: the moment to take other ports, and to give up privileges.
pub struct Reserved {
    relay: Relay,
    gateways: Vec<Gateway>,
}

impl Reserved {
    /// Opens the ports. Nothing is answered before [`Relay::run`].
    ///
    /// # Errors
    /// If another program has opened one of them meanwhile.
    pub fn listen(self) -> Result<Relay, Error> {
        let Self { mut relay, gateways } = self;
        relay.acceptors = gateways.into_iter().map(Gateway::open).collect::<Result<_, _>>()?;
        Ok(relay)
    }
}

impl Relay {
    /// Opens the sockets, if all of them can be had. Nothing is answered before [`Relay::run`].
    ///
    /// # Errors
    /// If an address cannot be listened on, there is none, or the machine cannot be made of its
    /// configuration. The error says which address it is and what can be done.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(config: RelayConfig) -> Result<Self, Error> {
        Self::reserve(config)?.listen()
    }

    /// Takes all ports, and opens none.
    ///
    /// # Errors
    /// As [`Relay::bind`].
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn reserve(config: RelayConfig) -> Result<Reserved, Error> {
        let RelayConfig { udp, tcp, tls, dtls, shared, mut server, limits, shards, busy_poll, questions } =
            config;
        // One list for each shard, in the order of the addresses.
        let mut listeners: Vec<Vec<BareSocket>> = (0..shards.max(1)).map(|_| Vec::new()).collect();
        for address in udp {
            listen(address, &mut listeners).map_err(|source| Error::Bind {
                transport: Transport::Udp,
                address,
                source,
            })?;
        }
        let gateways = gateways(tcp, tls)?;
        let addresses: Vec<_> = listeners[0]
            .iter()
            .map(|socket| (Transport::Udp, socket.local()))
            .chain(each(&gateways, Transport::Tcp))
            .chain(each(&gateways, Transport::Tls))
            .collect();
        if addresses.is_empty() {
            return Err(Error::Nowhere);
        }
        let clock = Clock::start();
        server.listening.extend(addresses.iter().map(|(_, address)| *address).chain(shared));
        server.unix_time_at_start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        server.dont_fragment = udp::SENDS_WHOLE;
        server.tells_permits = listeners.len() > 1;
        let server = Server::new(server)?;
        let mut rng = Rng::new(Seed(crypto::seed()));

        let dtls = dtls
            .map(|certificate| dtls::Server::new(ServerConfig::new(certificate, rng.fork())))
            .transpose()?;
        let losses = Arc::<Losses>::default();
        let desk = dtls.map(Desk::new);
        let (gate, arrivals) = desk.clone().map(|desk| Gate::new(desk, losses.clone(), &mut rng)).unzip();

        let pulse = Pulse::new(clock, busy_poll).map_err(Error::System)?;
        let (events, streams) = mpsc::channel(STREAM_EVENTS);
        let (slots, mailbox) = mail();
        let post = Post { events, waker: pulse.waker() };
        let mut listeners = listeners.into_iter();
        let own = listeners.next().unwrap_or_default();
        let (mut aides, mut contacts) = (Vec::new(), Vec::new());
        for (at, listeners) in listeners.enumerate() {
            let aide = Pulse::new(clock, busy_poll).map_err(Error::System)?;
            let registry = aide.registry().try_clone().map_err(Error::System)?;
            let (orders, obeyed) = channel();
            contacts.push(Contact { registry, orders, waker: aide.waker(), waits: false });
            let (slots, chief) = (slots.clone(), post.waker.clone());
            let aide = Aide::new(at + 1, aide, listeners, (slots, chief), obeyed, losses.clone(), &mut rng);
            aides.push(aide.map_err(Error::System)?.with_gate(gate.clone()));
        }
        let (wishes, wished) = control::wishes();
        let (sender, answers) = mpsc::unbounded_channel();
        let inquiry = Inquiry { questions, answers: Answers { sender, waker: post.waker.clone() } };
        let inbox = Inbox { streams, letters: mailbox, wishes: wished, answers };
        let (orders, ordered) = mpsc::unbounded_channel();
        let streams = Streams::new(ordered, post.clone(), limits);
        let outside = (inquiry, orders, losses.clone());
        let shard = Shard::new(pulse, server, own, inbox, contacts, outside, &mut rng);
        let shard = shard.map_err(Error::System)?.with_gate(gate.clone());
        let lobby = desk.clone().zip(arrivals).map(|(desk, arrivals)| {
            let exits = Exits::new(shard.listeners(), losses.clone());
            Lobby::new(arrivals, desk, exits, losses.clone(), clock)
        });
        let (admission, handshakes) = (Admission::new(limits), Arc::<Handshakes>::default());
        let handle =
            Handle::new(wishes, post.waker.clone(), admission.clone(), handshakes.clone(), losses, desk);
        let (stop, stopped) = watch::channel(false);
        let reception = Reception { limits, admission, events: post.clone(), handshakes, stop: stopped };
        let acceptors = Vec::new();
        let relay =
            Self { shard, aides, post, streams, acceptors, lobby, addresses, reception, stop, handle };
        Ok(Reserved { relay, gateways })
    }

    /// Where it listens, with real ports: UDP first, then TCP, then TLS, each in the configuration's order. (DTLS is where
    /// UDP is.)
    pub fn addresses(&self) -> &[(Transport, SocketAddr)] {
        &self.addresses
    }

    /// Reaches the relay while it runs.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Where to bring streams to that were accepted on a port that is shared ([`RelayConfig::shared`]).
    pub fn entrance(&self) -> Entrance {
        Entrance::new(self.reception.clone())
    }

    /// Serves until `shutdown` is ready. Then all allocations end, and connections are closed.
    ///
    /// Dropping the future ends everything at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut threads = Threads::default();
        for (at, aide) in self.aides.into_iter().enumerate() {
            let waker = aide.waker();
            threads.start(format!("relay-{}", at + 1), waker, move |stop| aide.run(stop));
        }
        let shard = self.shard;
        threads.start("relay-0".to_owned(), self.post.waker.clone(), move |stop| shard.run(stop));
        let (reception, stop) = (self.reception, self.stop);
        let mut doors = JoinSet::new();
        for acceptor in self.acceptors {
            doors.spawn(acceptor.run(reception.clone()));
        }
        if let Some(lobby) = self.lobby {
            doors.spawn(lobby.run(reception.clone()));
        }
        drop(reception);
        doors.spawn(self.streams.run());
        tokio::select! {
            () = shutdown => {}
            () = threads.ended() => {}
        }
        threads.stop();
        threads.ended().await;
        threads.join();
        let _ = stop.send(true);
        while doors.join_next().await.is_some() {}
    }
}

/// Takes a port for each address. One that stands in both lists accepts either kind.
fn gateways(
    tcp: Vec<SocketAddr>,
    tls: Vec<(SocketAddr, Arc<rustls::ServerConfig>)>,
) -> Result<Vec<Gateway>, Error> {
    let mut gateways = Vec::new();
    let of = |address: &SocketAddr| tls.iter().find(|(one, _)| one == address && one.port() != 0);
    for address in &tcp {
        gateways.push(Gateway::take(*address, true, of(address).map(|(_, config)| config.clone()))?);
    }
    for (address, config) in tls.iter().filter(|(address, _)| address.port() == 0 || !tcp.contains(address)) {
        gateways.push(Gateway::take(*address, false, Some(config.clone()))?);
    }
    Ok(gateways)
}

/// The addresses where one kind is accepted.
fn each(gateways: &[Gateway], wanted: Transport) -> impl Iterator<Item = (Transport, SocketAddr)> {
    let accepts = move |gateway: &&Gateway| gateway.transports().any(|one| one == wanted);
    gateways.iter().filter(accepts).map(move |gateway| (wanted, gateway.local()))
}

/// Opens one socket on `address` for each of `listeners`. If there are several, the system spreads the senders.
fn listen(address: SocketAddr, listeners: &mut [Vec<BareSocket>]) -> io::Result<()> {
    let mut config = Config::default();
    config.reuse_port = listeners.len() > 1;
    let mut address = address;
    if config.reuse_port && address.port() != 0 {
        // Sockets that share a port would share it with another program, too, and nobody would be told.
        drop(BareSocket::bind(address, &Config::default())?);
    }
    for list in listeners {
        let socket = BareSocket::bind(address, &config)?;
        address = socket.local();
        list.push(socket);
    }
    Ok(())
}

#[cfg(test)]
mod stepped;

impl std::fmt::Debug for Reserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reserved").field("addresses", &self.relay.addresses).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

use std::future::Future;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sansio::Transport;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use turn::Server;
use udp::Socket;

use crate::acceptor::{Acceptor, Reception};
use crate::admission::Admission;
use crate::clock::Clock;
use crate::connection::StreamEvent;
use crate::shard::Shard;
use crate::{Error, Limits, RelayConfig};

/// Stream events that may wait for the machine; a stream with more to say waits, and so does its client.
const STREAM_EVENTS: usize = 256;

/// A STUN and TURN server whose sockets are open.
pub struct Relay {
    shard: Shard,
    acceptors: Vec<Acceptor>,
    addresses: Vec<(Transport, SocketAddr)>,
    limits: Limits,
    events: mpsc::Sender<StreamEvent>,
}

impl Relay {
    /// Opens the sockets. Nothing is answered before [`Relay::run`].
    ///
    /// # Errors
    /// If an address cannot be listened on, there is none, or the machine cannot be made of its
    /// configuration. The error says which address it is and what can be done.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(config: RelayConfig) -> Result<Self, Error> {
        let RelayConfig { udp, tcp, tls, mut server, limits } = config;
        let listeners = udp
            .into_iter()
            .map(|address| {
                Socket::bind(address).map_err(|source| Error::Bind {
                    transport: Transport::Udp,
                    address,
                    source,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let tcp = tcp.into_iter().map(|address| (address, None));
        let tls = tls.into_iter().map(|(address, config)| (address, Some(config)));
        let acceptors = tcp
            .chain(tls)
            .map(|(address, tls)| Acceptor::bind(address, tls))
            .collect::<Result<Vec<_>, _>>()?;
        let addresses: Vec<_> = listeners
            .iter()
            .map(|socket| (Transport::Udp, socket.local()))
            .chain(acceptors.iter().map(|acceptor| (acceptor.transport(), acceptor.local())))
            .collect();
        if addresses.is_empty() {
            return Err(Error::Nowhere);
        }
        let clock = Clock::start();
        server.listening.extend(addresses.iter().map(|(_, address)| *address));
        server.unix_time_at_start = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (events, streams) = mpsc::channel(STREAM_EVENTS);
        let shard = Shard::new(clock, Server::new(server)?, listeners, streams);
        Ok(Self { shard, acceptors, addresses, limits, events })
    }

    /// Where it listens, with real ports: UDP first, then TCP, then TLS, each in the configuration's order.
    pub fn addresses(&self) -> &[(Transport, SocketAddr)] {
        &self.addresses
    }

    /// Serves until `shutdown` is ready. Then all allocations end, and connections are closed.
    ///
    /// Dropping the future ends everything at once.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let (stop, stopped) = watch::channel(false);
        let reception = Reception {
            limits: self.limits,
            admission: Admission::new(self.limits),
            events: self.events,
            stop: stopped,
        };
        let mut acceptors = JoinSet::new();
        for acceptor in self.acceptors {
            acceptors.spawn(acceptor.run(reception.clone()));
        }
        // Held until the end: the shard shall not see its last sender go when there are no acceptors.
        self.shard.run(shutdown).await;
        let _ = stop.send(true);
        drop(reception);
        while acceptors.join_next().await.is_some() {}
    }
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Relay").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

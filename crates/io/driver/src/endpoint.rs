use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, MutexGuard, OnceLock, Weak};
use std::task::{Poll, Waker};

use peer::{Connection, Hub, HubConfig, HubDrops, Resident};
use sansio::{Seed, Time};

use crate::changes::changes;
use crate::interfaces::interfaces;
use crate::peer_connection::Plan;
use crate::state::{Absorbed, State};
use crate::wake::{Bell, Porch, Waiting};
use crate::{Clock, Configuration, Connector, Engine, Error, Host, Network, PeerConnection, Shared};

/// One UDP port for many connections, and one task that runs them all: what servers have.
///
/// A [`PeerConnection`] of its own has ports and a task of its own. Those that an endpoint makes share its port, which a
/// firewall has to let through, and cost little more than their memory while they are idle.
///
/// Like a connection it is a handle. Its port is given back when the last handle is dropped and the last connection closed.
///
/// ```
/// use sterna_driver::{Configuration, DataChannelInit, Endpoint, PeerConnection, PeerEvent};
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let endpoint = Endpoint::bind(["127.0.0.1:0".parse()?]).await?;
/// let configuration = Configuration { trickle: false, include_loopback: true, ..Configuration::default() };
/// for name in ["Alice", "Bob"] {
///     let guest = PeerConnection::new(configuration.clone())?;
///     let channel = guest.create_data_channel(name, DataChannelInit::default())?;
///     let here = endpoint.connection(configuration.clone())?;
///     here.set_remote_description(guest.set_local_description(None).await?).await?;
///     guest.set_remote_description(here.set_local_description(None).await?).await?;
///     channel.send("Hello!").await?;
///     tokio::spawn(async move {
///         while let Some(event) = here.next_event().await {
///             if let PeerEvent::DataChannel(channel) = event {
///                 println!("{}: {:?}", channel.label(), channel.recv().await);
///             }
///         }
///     });
///     channel.close().await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Endpoint {
    handle: Arc<Door>,
}

/// What keeps an endpoint open.
#[derive(Debug)]
struct Door {
    shared: Arc<Shared<House>>,
    porch: Arc<Porch>,
    addresses: Vec<SocketAddr>,
}

/// The host of all connections of an endpoint.
struct House {
    hub: Hub<Guest>,
    porch: Arc<Porch>,
    /// Tasks that wait for the sockets.
    watchers: Waiting,
    /// Nobody will come any more.
    closed: bool,
    /// The engine is gone.
    gone: bool,
}

/// One of them.
struct Guest(Arc<Shared<State>>);

/// A guest's connection, while the guest is held.
struct Held<'a>(MutexGuard<'a, State>);

impl Deref for Held<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0.connection
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0.connection
    }
}

impl Resident for Guest {
    fn connection(&mut self) -> impl DerefMut<Target = Connection> {
        Held(self.0.lock())
    }

    fn deadline(&mut self) -> Option<Time> {
        self.0.lock().deadline()
    }
}

impl Endpoint {
    /// Binds these addresses; unspecified ones (`0.0.0.0`, `::`) stand for all of this machine's. Port 0 is any.
    ///
    /// # Errors
    /// Outside a tokio runtime, or if one of them cannot be bound.
    pub async fn bind(addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Self, Error> {
        Self::bind_with(addresses, Connector::default()).await
    }

    /// The same; streams to TURN servers are opened by `connector`, whatever the connections' configurations say of
    /// certificates.
    ///
    /// # Errors
    /// As [`Endpoint::bind`].
    pub async fn bind_with(
        addresses: impl IntoIterator<Item = SocketAddr>,
        connector: Connector,
    ) -> Result<Self, Error> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let listening = addresses.into_iter().collect();
        let porch = Arc::<Porch>::default();
        let house = House {
            hub: Hub::new(HubConfig { listening, ..HubConfig::new(Seed(crypto::seed())) }),
            porch: porch.clone(),
            watchers: Waiting::default(),
            closed: false,
            gone: false,
        };
        let shared = Shared::with_bell(Clock::start(), house, Bell::House(porch.clone()));
        // Whatever happens from here on, the engine ends when this is dropped.
        let mut door = Door { shared: shared.clone(), porch, addresses: Vec::new() };
        let engine = Engine::new(shared.clone(), Network::new(connector));
        let follower = runtime.spawn(follow(Arc::downgrade(&shared)));
        runtime.spawn(async move {
            engine.await;
            follower.abort();
        });
        door.addresses = poll_fn(|cx| {
            let mut house = shared.lock();
            if house.gone {
                return Poll::Ready(Err(Error::Closed));
            }
            let mut bound = Vec::new();
            for (address, outcome) in house.hub.sockets() {
                match outcome {
                    Some(Ok(local)) => bound.push(local),
                    Some(Err(error)) => return Poll::Ready(Err(Error::Bind { address, error })),
                    None => {}
                }
            }
            if bound.len() == house.hub.sockets().count() {
                return Poll::Ready(Ok(bound));
            }
            house.watchers.register(cx);
            Poll::Pending
        })
        .await?;
        Ok(Self { handle: Arc::new(door) })
    }

    /// Makes a connection on this port. What it cannot have with others beside it counts as not configured: TURN by UDP,
    /// [`Configuration::punch`] and [`Configuration::port_mapping`].
    ///
    /// # Errors
    /// If the URL of a server cannot be used, there are too many connections, or the runtime is gone.
    pub fn connection(&self, configuration: Configuration) -> Result<PeerConnection, Error> {
        let Door { shared, porch, addresses } = &*self.handle;
        let now = shared.now();
        let configuration = Configuration { port_mapping: false, punch: None, ..configuration };
        let mut plan = Plan::new(configuration, shared.clock(), heard_on(addresses))?;
        plan.machine.shared_sockets = true;
        let (trickle, use_relay) = (plan.settings.trickle, plan.use_relay);
        let bell = Bell::Resident { porch: porch.clone(), id: OnceLock::new(), rung: AtomicBool::new(false) };
        let guest = Shared::with_bell(shared.clock(), plan.build(now), bell);
        let mut house = shared.lock();
        if house.gone {
            return Err(Error::Closed);
        }
        let id = house.hub.insert(now, Guest(guest.clone())).map_err(|_| Error::TooMany)?;
        guest.bell().engrave(id);
        Ok(PeerConnection::of(guest, trickle, use_relay))
    }

    /// The addresses that it is bound to, with their ports.
    pub fn local_addresses(&self) -> &[SocketAddr] {
        &self.handle.addresses
    }

    /// How many connections it has, closing ones included.
    pub fn connections(&self) -> usize {
        self.handle.shared.lock().hub.census().connections
    }

    /// What came to its port and was for none of them, by reason.
    pub fn drops(&self) -> HubDrops {
        self.handle.shared.lock().hub.drops()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.wake();
    }
}

/// Those of this machine's addresses that sockets bound to these hear.
fn heard_on(bound: &[SocketAddr]) -> Vec<ice::Interface> {
    let hears = |bound: &SocketAddr, ip: IpAddr| {
        bound.ip() == ip || (bound.ip().is_unspecified() && bound.is_ipv4() == ip.is_ipv4())
    };
    let mut interfaces = interfaces();
    interfaces.retain(|interface| bound.iter().any(|bound| hears(bound, interface.address)));
    interfaces
}

/// Tells all connections what becomes of this machine's addresses.
async fn follow(shared: Weak<Shared<House>>) {
    let mut changes = changes();
    while changes.changed().await.is_ok() {
        let Some(shared) = shared.upgrade() else { return };
        let now = shared.now();
        let mut house = shared.lock();
        let bound: Vec<SocketAddr> = house.hub.sockets().filter_map(|(_, bound)| bound?.ok()).collect();
        let interfaces = heard_on(&bound);
        for id in house.hub.ids().collect::<Vec<_>>() {
            house.hub.with(now, id, |connection| connection.network_changed(now, interfaces.clone()));
        }
        drop(house);
        shared.wake();
    }
}

impl std::fmt::Debug for House {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("House").field("census", &self.hub.census()).finish_non_exhaustive()
    }
}

impl Host for House {
    type Machine = Hub<Guest>;

    fn machine(&mut self) -> &mut Hub<Guest> {
        &mut self.hub
    }

    fn prepare(&mut self, now: Time) {
        for id in self.porch.take() {
            if let Some(Guest(guest)) = self.hub.get(id) {
                guest.bell().hear();
                self.hub.touch(now, id);
            }
        }
    }

    fn absorb(&mut self, now: Time, wakers: &mut Vec<Waker>) -> bool {
        self.watchers.drain_into(wakers);
        let mut again = false;
        while let Some(id) = self.hub.poll_lively() {
            let Some(Guest(guest)) = self.hub.get(id) else { continue };
            let mut state = guest.lock();
            let Absorbed { events, closed } = state.take_in(now, wakers);
            let ended = state.ended();
            if ended {
                state.abandon(wakers);
            }
            drop(state);
            again |= closed;
            if ended {
                self.hub.remove(id);
            } else if events || closed {
                self.hub.told(now, id);
            }
        }
        again
    }

    fn ended(&self) -> bool {
        self.closed && self.hub.census().connections == 0
    }

    fn abandon(&mut self, wakers: &mut Vec<Waker>) {
        self.gone = true;
        self.watchers.drain_into(wakers);
        for id in self.hub.ids().collect::<Vec<_>>() {
            if let Some(Guest(guest)) = self.hub.remove(id) {
                guest.lock().abandon(wakers);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DataChannelInit, PeerEvent};

    /// Each turn was once a turn of all connections: those who had told nothing were asked again what they had to write,
    /// and then again what they had to tell. 1,500 idle ones kept a core busy.
    #[tokio::test]
    async fn who_has_nothing_to_tell_is_left_alone() {
        let endpoint = Endpoint::bind(["127.0.0.1:0".parse().unwrap()]).await.unwrap();
        let configuration =
            Configuration { trickle: false, include_loopback: true, ..Configuration::default() };
        let mut all = Vec::new();
        for _ in 0..3 {
            let guest = PeerConnection::new(configuration.clone()).unwrap();
            let channel = guest.create_data_channel("idle", DataChannelInit::default()).unwrap();
            let here = endpoint.connection(configuration.clone()).unwrap();
            here.set_remote_description(guest.set_local_description(None).await.unwrap()).await.unwrap();
            guest.set_remote_description(here.set_local_description(None).await.unwrap()).await.unwrap();
            while !matches!(here.next_event().await, Some(PeerEvent::DataChannel(_))) {}
            all.push((guest, channel, here));
        }
        // Before the first consent check, which comes after seconds, there comes a moment when nothing happens.
        while endpoint.handle.shared.lock().hub.census().turns > 0 {
            tokio::task::yield_now().await;
        }
    }
}

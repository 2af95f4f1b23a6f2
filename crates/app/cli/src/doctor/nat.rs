//! The discovery of NAT behaviour, on real sockets.

use std::net::{IpAddr, SocketAddr};
use std::task::Waker;
use std::time::Duration;

use driver::{Clock, Connector, Engine, Host, Network, Shared};
use sansio::{Machine as _, Seed, Time};
use stun::discovery::{Config, Discovery, Event, NatReport};
use tokio::sync::oneshot;

/// PADDING of the MTU of Ethernet: with headers that is more than one packet.
const FRAGMENTS: usize = 1500;

/// What was found for one family of addresses.
#[derive(Clone, Debug)]
pub(super) struct Nat {
    /// The address of ours that was asked from.
    pub(super) local: IpAddr,
    pub(super) report: NatReport,
}

/// Asks the servers of one family, all at once. `None`: there are none, or no way to them.
pub(super) async fn discover(servers: Vec<SocketAddr>, lifetime: Option<Duration>) -> Option<Nat> {
    let local = servers.iter().find_map(|server| driver::source_for(*server))?;
    let config =
        Config { fragments: Some(FRAGMENTS), lifetime, ..Config::new(local, servers, Seed(crypto::seed())) };
    let clock = Clock::start();
    let (tell, told) = oneshot::channel();
    let examination = Examination { machine: Discovery::new(Time::ZERO, config), tell: Some(tell) };
    let shared = Shared::new(clock, examination);
    let engine = tokio::spawn(Engine::new(shared, Network::new(Connector::default())));
    let report = told.await.ok();
    engine.abort();
    report.map(|report| Nat { local, report })
}

struct Examination {
    machine: Discovery,
    tell: Option<oneshot::Sender<NatReport>>,
}

impl Host for Examination {
    type Machine = Discovery;

    fn machine(&mut self) -> &mut Discovery {
        &mut self.machine
    }

    fn absorb(&mut self, _: Time, _: &mut Vec<Waker>) -> bool {
        while let Some(event) = self.machine.poll_event() {
            if let Event::Finished(report) = event
                && let Some(tell) = self.tell.take()
            {
                let _ = tell.send(*report);
            }
        }
        false
    }

    fn ended(&self) -> bool {
        self.machine.is_finished()
    }

    fn abandon(&mut self, _: &mut Vec<Waker>) {}
}

//! A day in the life of a relay: clients come, roam, fall silent, and leave; nothing of them stays.

use std::net::SocketAddr;
use std::time::Duration;

use netsim::{HostId, Link, NatBehaviour, Net};
use sansio::{Datagram, Machine, Outbox, Path, Seed, Time};
use sterna_turn::{Auth, Client, ClientConfig, Credentials, Server, ServerConfig};

const SECRET: &str = "a secret of this test alone";
const START: u64 = 1_700_000_000;
const HOUR: u64 = 3600;
/// Clients at any time.
const CLIENTS: usize = 16;
/// Each of them from another of so many ports of his.
const PORTS: u16 = 8;

/// A client that is replaced by another one on another port, again and again.
struct Visitor {
    rng: sansio::Rng,
    server: SocketAddr,
    host: SocketAddr,
    client: Option<Client>,
    next: Time,
    visits: u32,
}

impl Visitor {
    fn new(host: SocketAddr, server: SocketAddr, seed: Seed) -> Self {
        Self { rng: sansio::Rng::new(seed), server, host, client: None, next: Time::ZERO, visits: 0 }
    }

    /// Somebody comes, or whoever is here goes: half of them without a word.
    fn turn(&mut self, now: Time) {
        match &mut self.client {
            Some(client) if self.rng.below(2) == 0 => client.close(now),
            Some(_) => self.client = None,
            None => {
                let expires = START + now.elapsed().as_secs() + 600;
                let (username, password) =
                    stun::credential::rest_credentials(SECRET, "visitor", expires).unwrap();
                let port = self.host.port() + self.rng.below(PORTS.into()) as u16;
                let path = Path::udp((self.host.ip(), port).into(), self.server);
                let config = ClientConfig::new(path, Credentials { username, password }, self.rng.fork());
                let mut client = Client::new(now, config);
                for _ in 0..self.rng.below(4) {
                    let peer = [203, 0, 113, 1 + self.rng.below(200) as u8];
                    client.permit(now, (peer, 4000).into());
                }
                self.client = Some(client);
                self.visits += 1;
            }
        }
        self.next = now + Duration::from_secs(5 + self.rng.below(600));
    }
}

impl Machine for Visitor {
    type Addr = Path;
    type Event = ();

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, _: &mut dyn Outbox) {
        let from = datagram.from;
        if let Some(client) = self.client.as_mut().filter(|client| client.server() == from) {
            client.open(now, datagram.payload, &mut |_, _| {});
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Some(client) = &mut self.client {
            client.handle_timeout(now);
        }
        if self.next <= now {
            self.turn(now);
        }
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        if let Some(client) = &mut self.client {
            client.poll_transmit(now, out);
        }
    }

    fn poll_event(&mut self) -> Option<()> {
        while self.client.as_mut().and_then(Client::poll_event).is_some() {}
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        let client = self.client.as_ref().and_then(Client::poll_timeout);
        client.into_iter().chain([self.next]).min()
    }
}

fn add_server(net: &mut Net) -> HostId {
    let host = net.add_host("server", &[Net::INTERNET]);
    let listening = net.socket(host, 3478);
    let seed = net.draw_seed();
    let auth = Auth::shared_secret(SECRET).unwrap();
    let mut config = ServerConfig::new("example.org", listening.ip(), auth, seed);
    config.listening = vec![listening];
    config.unix_time_at_start = Duration::from_secs(START);
    net.bind(host, listening).unwrap();
    net.start(host, Server::new(config).unwrap());
    host
}

#[test]
fn after_24_hours_of_churn_nothing_is_left() {
    let mut net = Net::new(24);
    let server = add_server(&mut net);
    let to = net.socket(server, 3478);
    let visitors: Vec<HostId> = (0..CLIENTS)
        .map(|number| {
            let name = format!("visitor {number}");
            let home = net.add_network(Net::INTERNET, &name, NatBehaviour::symmetric());
            net.set_link(net.uplink(home), Link::delay_ms(20).with_loss(0.05));
            let host = net.add_host(&name, &[home]);
            for port in 5000..5000 + PORTS {
                let local = net.socket(host, port);
                net.bind(host, local).unwrap();
            }
            let (local, seed) = (net.socket(host, 5000), net.draw_seed());
            net.start(host, Visitor::new(local, to, seed));
            host
        })
        .collect();
    let mut most = 0;
    for _ in 0..24 * 6 {
        net.run_for(Duration::from_secs(HOUR / 6));
        most = most.max(net.machine::<Server>(server).allocations());
        net.events::<Server>(server);
    }
    let visits: u32 = visitors.iter().map(|host| net.machine::<Visitor>(*host).visits).sum();
    let counters = net.machine::<Server>(server).counters().clone();
    assert!(visits > 500 && counters.allocations > 500, "{visits} visits, {counters:?}");
    assert!((2..=CLIENTS * 4).contains(&most), "{most} allocations at a time");
    // Everybody leaves, half of them without a word.
    for host in visitors {
        net.with(host, |visitor: &mut Visitor, now| {
            visitor.turn(now);
            visitor.client = None;
            visitor.next = now + Duration::from_secs(7 * 24 * HOUR);
        });
    }
    assert!(!net.machine::<Server>(server).is_idle());
    net.run_for(Duration::from_secs(HOUR));
    net.events::<Server>(server);
    assert!(net.machine::<Server>(server).is_idle(), "{:?}", net.machine::<Server>(server));
}

//! A day in the life of a relay: clients come, move, roam, fall silent, and leave; nothing of them stays.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use netsim::{HostId, Link, NatBehaviour, Net};
use sansio::{Datagram, Machine, Outbox, Path, Seed, SocketOp, SocketReply, Ticket, Time, Transport};
use sterna_turn::{Auth, Client, ClientConfig, ClientEvent, Credentials, Families, Server, ServerConfig};
use stun::credential::{Challenged, LongTerm};
use stun::{Class, Message, MessageWriter, Method, TransactionId, kind};

const SECRET: &str = "a secret of this test alone";
const START: u64 = 1_700_000_000;
const HOUR: u64 = 3600;
/// Clients at any time.
const CLIENTS: usize = 16;
/// Each of them from another of so many ports of his.
const PORTS: u16 = 8;

fn credentials(now: Time) -> Credentials {
    let expires = START + now.elapsed().as_secs() + 600;
    let (username, password) = stun::credential::rest_credentials(SECRET, "visitor", expires).unwrap();
    Credentials { username, password }
}

/// A client that is replaced by another one on another port or stream, again and again. Some take their allocations along.
struct Visitor {
    rng: sansio::Rng,
    server: SocketAddr,
    host: SocketAddr,
    client: Option<Client>,
    peer: SocketAddr,
    /// After a move: the first word from the new place.
    greets: bool,
    next: Time,
    ops: VecDeque<SocketOp>,
    /// The stream that is being opened, and the last one's number.
    opening: Option<Ticket>,
    tickets: u64,
    streams: Vec<Path>,
    visits: Visits,
}

#[derive(Clone, Copy, Default, Debug)]
struct Visits {
    udp: u32,
    tcp: u32,
    dual: u32,
    moves: u32,
}

impl Visitor {
    fn new(host: SocketAddr, server: SocketAddr, seed: Seed) -> Self {
        Self {
            rng: sansio::Rng::new(seed),
            server,
            host,
            client: None,
            peer: ([203, 0, 113, 1], 4000).into(),
            greets: false,
            next: Time::ZERO,
            ops: VecDeque::new(),
            opening: None,
            tickets: 0,
            streams: Vec::new(),
            visits: Visits::default(),
        }
    }

    /// Somebody comes, or whoever is here goes elsewhere, or goes: half of those without a word.
    fn turn(&mut self, now: Time) {
        self.next = now + Duration::from_secs(5 + self.rng.below(600));
        let dice = self.rng.below(4);
        match &mut self.client {
            Some(client) if dice == 0 => client.close(now),
            Some(_) if dice == 1 => self.gone(),
            Some(client) if !client.is_mobile() => {}
            _ if self.opening.is_some() => {}
            _ if self.rng.below(3) == 0 => {
                self.tickets += 1;
                let (ticket, local) = (Ticket(self.tickets), Some(self.host.ip()));
                let (transport, remote) = (Transport::Tcp, self.server);
                self.opening = Some(ticket);
                let server_name = String::new();
                self.ops.push_back(SocketOp::Connect { ticket, transport, local, remote, server_name });
            }
            _ => {
                let port = self.host.port() + self.rng.below(PORTS.into()) as u16;
                self.there(now, Path::udp((self.host.ip(), port).into(), self.server));
            }
        }
    }

    /// A way to the server: for a new client, or for the one that is here.
    fn there(&mut self, now: Time, path: Path) {
        if let Some(client) = &mut self.client {
            // It may have come to an end meanwhile, or be there already.
            if client.server() != path {
                let _ = client.migrate(now, path);
            }
            return;
        }
        let mut config = ClientConfig::new(path, credentials(now), self.rng.fork());
        config.mobility = self.rng.below(2) == 0;
        if self.rng.below(2) == 0 {
            config.families = Families::Both;
            self.visits.dual += 1;
        }
        let mut client = Client::new(now, config);
        for _ in 0..self.rng.below(4) {
            self.peer = ([203, 0, 113, 1 + self.rng.below(200) as u8], 4000).into();
            client.permit(now, self.peer);
            client.permit(now, "[2001:db8::1]:4000".parse().unwrap());
        }
        self.client = Some(client);
        match path.transport {
            Transport::Udp => self.visits.udp += 1,
            _ => self.visits.tcp += 1,
        }
    }

    /// Nobody is here any more, and whatever was open is closed.
    fn gone(&mut self) {
        self.client = None;
        self.hang_up(None);
    }

    /// What the client tells.
    fn listen(&mut self) {
        while let Some(event) = self.client.as_mut().and_then(Client::poll_event) {
            match event {
                ClientEvent::Moved(path) => {
                    self.visits.moves += 1;
                    self.greets = true;
                    self.hang_up(Some(path));
                }
                ClientEvent::Closed | ClientEvent::Failed(_) | ClientEvent::Redirected { .. } => self.gone(),
                _ => {}
            }
        }
    }

    fn hang_up(&mut self, keep: Option<Path>) {
        for path in self.streams.extract_if(.., |path| Some(*path) != keep) {
            self.ops.push_back(SocketOp::Disconnect { path });
        }
    }
}

impl Machine for Visitor {
    type Addr = Path;
    type Event = ();

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        if let Some(client) = &mut self.client {
            client.open(now, datagram.payload, &mut |_, _| {});
        }
        self.listen();
        if let Some(client) = self.client.as_mut().filter(|_| std::mem::take(&mut self.greets))
            && let Some(mut lane) = client.lane(self.peer, out)
        {
            lane.send_bytes((), b"here I am");
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if let Some(client) = &mut self.client {
            client.handle_timeout(now);
        }
        self.listen();
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
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        let client = self.client.as_ref().and_then(Client::poll_timeout);
        client.into_iter().chain([self.next]).min()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.ops.pop_front()
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        match reply {
            SocketReply::Connected { ticket, path } => {
                self.streams.push(path);
                if self.opening.take_if(|opening| *opening == ticket).is_some() {
                    self.there(now, path);
                }
            }
            SocketReply::Failed { .. } => self.opening = None,
            SocketReply::Disconnected { path, error } => {
                self.streams.retain(|stream| *stream != path);
                if let Some(client) = self.client.as_mut().filter(|client| client.server() == path) {
                    client.path_lost(now, &error.to_string());
                    self.listen();
                }
            }
            _ => {}
        }
    }
}

/// Somebody who asks for an even port and the next one to be kept, and who comes for that, or does not.
struct Keeper {
    rng: sansio::Rng,
    server: SocketAddr,
    host: SocketAddr,
    long_term: LongTerm,
    /// What is to be sent, from which of his ports, and what was sent last from there.
    request: Option<(u16, Vec<u8>)>,
    asked: Option<(u16, Vec<u8>)>,
    next: Time,
    reserved: u32,
    fetched: u32,
}

impl Keeper {
    fn new(host: SocketAddr, server: SocketAddr, seed: Seed) -> Self {
        let long_term = LongTerm::new("", "");
        let rng = sansio::Rng::new(seed);
        let (request, asked, next) = (None, None, Time::ZERO);
        Self { rng, server, host, long_term, request, asked, next, reserved: 0, fetched: 0 }
    }

    fn ask(&mut self, port: u16, attribute: stun::AttributeKind, value: &[u8]) {
        let mut buffer = vec![0; 600];
        let id = TransactionId::random(&mut self.rng);
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::ALLOCATE, id);
        writer.raw(kind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]).raw(attribute, value);
        self.long_term.sign(&mut writer);
        let length = writer.finish().unwrap();
        buffer.truncate(length);
        self.request = Some((port, buffer));
    }
}

impl Machine for Keeper {
    type Addr = Path;
    type Event = ();

    fn handle_datagram(&mut self, _: Time, datagram: Datagram<'_>, _: &mut dyn Outbox) {
        let port = datagram.from.local.port();
        let Ok(answer) = Message::parse(datagram.payload) else { return };
        let Some((_, asked)) = self.asked.take_if(|(at, _)| *at == port) else { return };
        let asked = Message::parse(&asked).unwrap();
        let token = answer.raw(kind::RESERVATION_TOKEN);
        match (answer.class(), self.long_term.handle_error(&asked, &answer)) {
            (Class::Error, Challenged::Retry) => {
                let again = [kind::EVEN_PORT, kind::RESERVATION_TOKEN].map(|it| (it, asked.raw(it)));
                let (attribute, value) = again.into_iter().find(|(_, value)| value.is_some()).unwrap();
                self.ask(port, attribute, value.unwrap());
            }
            (Class::Success, _) if token.is_some() => {
                self.reserved += 1;
                if self.rng.below(2) == 0 {
                    self.ask(port + 1, kind::RESERVATION_TOKEN, token.unwrap());
                }
            }
            (Class::Success, _) => self.fetched += 1,
            _ => {}
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.next <= now {
            self.next = now + Duration::from_secs(1000 + self.rng.below(600));
            let Credentials { username, password } = credentials(now);
            self.long_term = LongTerm::new(username, password);
            self.ask(self.host.port(), kind::EVEN_PORT, &[0x80]);
        }
    }

    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        if let Some((port, bytes)) = self.request.take() {
            out.send_bytes(Path::udp((self.host.ip(), port).into(), self.server), &bytes);
            self.asked = Some((port, bytes));
        }
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}

fn add_server(net: &mut Net) -> HostId {
    net.add_ipv6(Net::INTERNET);
    let host = net.add_host("server", &[Net::INTERNET]);
    let listening = net.socket(host, 3478);
    let seed = net.draw_seed();
    let auth = Auth::shared_secret(SECRET).unwrap();
    let mut config = ServerConfig::new("example.org", listening.ip(), auth, seed);
    config.relay_addresses = net.addresses(host).into_iter().map(Into::into).collect();
    config.listening = vec![listening];
    config.unix_time_at_start = Duration::from_secs(START);
    net.bind(host, listening).unwrap();
    net.listen(host, Transport::Tcp, listening).unwrap();
    net.start(host, Server::new(config).unwrap());
    host
}

/// A host behind a NAT of its own, on a link that loses something.
fn add_home(net: &mut Net, name: &str) -> HostId {
    let home = net.add_network(Net::INTERNET, name, NatBehaviour::symmetric());
    net.set_link(net.uplink(home), Link::delay_ms(20).with_loss(0.05));
    let host = net.add_host(name, &[home]);
    for port in 5000..5000 + PORTS {
        let local = net.socket(host, port);
        net.bind(host, local).unwrap();
    }
    host
}

#[test]
fn after_24_hours_of_churn_nothing_is_left() {
    let mut net = Net::new(24);
    let server = add_server(&mut net);
    let to = net.socket(server, 3478);
    let visitors: Vec<HostId> = (0..CLIENTS)
        .map(|number| {
            let host = add_home(&mut net, &format!("visitor {number}"));
            let (local, seed) = (net.socket(host, 5000), net.draw_seed());
            net.start(host, Visitor::new(local, to, seed));
            host
        })
        .collect();
    let keeper = add_home(&mut net, "keeper");
    let (local, seed) = (net.socket(keeper, 5000), net.draw_seed());
    net.start(keeper, Keeper::new(local, to, seed));
    let mut most = 0;
    for _ in 0..24 * 6 {
        net.run_for(Duration::from_secs(HOUR / 6));
        most = most.max(net.machine::<Server>(server).allocations());
        net.events::<Server>(server);
    }
    let mut all = Visits::default();
    for host in &visitors {
        let Visits { udp, tcp, dual, moves } = net.machine::<Visitor>(*host).visits;
        all.udp += udp;
        all.tcp += tcp;
        all.dual += dual;
        all.moves += moves;
    }
    let counters = net.machine::<Server>(server).counters().clone();
    let Visits { udp, tcp, dual, moves } = all;
    assert!(udp > 500 && tcp > 250 && dual > 400 && moves > 500, "{all:?}, {counters:?}");
    assert!(counters.allocations > 750, "{counters:?}");
    let Keeper { reserved, fetched, .. } = net.machine::<Keeper>(keeper);
    assert!(*reserved > 40 && *fetched > 15 && fetched < reserved, "{reserved} kept, {fetched} fetched");
    assert!((2..=CLIENTS * 4).contains(&most), "{most} allocations at a time");
    // Everybody leaves, most of them without a word.
    let later = net.now() + Duration::from_secs(7 * 24 * HOUR);
    for host in visitors {
        net.with(host, |visitor: &mut Visitor, now| {
            visitor.turn(now);
            (visitor.client, visitor.opening, visitor.next) = (None, None, later);
        });
    }
    net.with(keeper, |keeper: &mut Keeper, _| keeper.next = later);
    assert!(!net.machine::<Server>(server).is_idle());
    net.run_for(Duration::from_secs(HOUR));
    net.events::<Server>(server);
    assert!(net.machine::<Server>(server).is_idle(), "{:?}", net.machine::<Server>(server));
}

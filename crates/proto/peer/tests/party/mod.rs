//! A hub with one port on a simulated internet, and guests who come to it.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use netsim::{HostId, Net};
use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Time};
use sterna_peer::{
    ChannelId, Configuration, Connection, ConnectionId, DataChannelInit, Event, Hub, HubConfig, MessageKind,
    SessionDescription,
};

pub const PORT: u16 = 4000;

pub fn certificate() -> crypto::Certificate {
    static CERTIFICATE: std::sync::OnceLock<crypto::Certificate> = std::sync::OnceLock::new();
    CERTIFICATE.get_or_init(|| crypto::Certificate::generate().unwrap()).clone()
}

/// A connection whose socket has the port that one wants.
pub struct Guest {
    pub connection: Connection,
    port: u16,
}

impl Machine for Guest {
    type Addr = Path;
    type Event = Event;

    fn handle_mark(&mut self, now: Time) {
        self.connection.handle_mark(now);
    }

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        self.connection.handle_datagram(now, datagram, out);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.connection.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.connection.poll_transmit(now, out);
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.connection.poll_event()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.connection.poll_timeout()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        let mut op = self.connection.poll_socket()?;
        if let SocketOp::Bind { local, .. } = &mut op {
            local.set_port(self.port);
        }
        Some(op)
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        self.connection.handle_socket(now, reply);
    }
}

pub struct Party {
    pub net: Net,
    pub host: HostId,
    /// What the hub told, by connection.
    pub told: BTreeMap<ConnectionId, Vec<Event>>,
}

/// Who came.
#[derive(Clone, Copy)]
pub struct Pair {
    pub guest: HostId,
    pub id: ConnectionId,
    /// The guest's channel.
    pub channel: ChannelId,
}

impl Party {
    pub fn new(seed: u64) -> Self {
        let mut net = Net::new(seed);
        let host = net.add_host("hub", &[Net::INTERNET]);
        let listening = vec![net.socket(host, PORT)];
        let config = HubConfig { listening, ..HubConfig::new(net.draw_seed()) };
        net.start(host, Hub::<Connection>::new(config));
        Self { net, host, told: BTreeMap::new() }
    }

    pub fn address(&self) -> SocketAddr {
        self.net.socket(self.host, PORT)
    }

    pub fn hub(&self) -> &Hub {
        self.net.machine::<Hub>(self.host)
    }

    pub fn guest(&self, guest: HostId) -> &Connection {
        &self.net.machine::<Guest>(guest).connection
    }

    pub fn configuration(&mut self, host: HostId) -> Configuration {
        let mut configuration = Configuration::new(self.net.draw_seed(), certificate());
        let addresses = self.net.addresses(host);
        configuration.interfaces =
            addresses.into_iter().map(|address| ice::Interface::new("eth0", address)).collect();
        configuration
    }

    /// Calls `wish` with the hub's end.
    pub fn with<R>(&mut self, id: ConnectionId, wish: impl FnOnce(&mut Connection, Time) -> R) -> R {
        let wish = |hub: &mut Hub, now| hub.with(now, id, |connection| wish(connection, now));
        self.net.with(self.host, wish).expect("it is here")
    }

    pub fn with_guest<R>(&mut self, guest: HostId, wish: impl FnOnce(&mut Connection, Time) -> R) -> R {
        self.net.with(guest, |guest: &mut Guest, now| wish(&mut guest.connection, now))
    }

    /// A guest comes, and signalling takes no time.
    pub fn invite(&mut self, guest: HostId, port: u16) -> Pair {
        let now = self.net.now();
        let configuration = self.configuration(guest);
        self.net.start(guest, Guest { connection: Connection::new(now, configuration), port });
        let configuration = self.configuration(self.host);
        let insert = |hub: &mut Hub, now| hub.insert(now, Connection::new(now, configuration)).ok();
        let id = self.net.with(self.host, insert).expect("there is room");
        let channel = self.with_guest(guest, |connection, now| {
            connection.create_data_channel(now, "chat", DataChannelInit::default()).unwrap()
        });
        self.negotiate(guest, id);
        Pair { guest, id, channel }
    }

    /// An offer of the guest, and the answer; both with all candidates.
    pub fn negotiate(&mut self, guest: HostId, id: ConnectionId) {
        self.with_guest(guest, |guest, now| guest.set_local_description(now, None)).unwrap();
        self.net.run_for(Duration::from_millis(1));
        let offer = self.guest(guest).local_description().unwrap();
        let set = |hub: &mut Connection, now| -> SessionDescription {
            hub.set_remote_description(now, offer).unwrap();
            hub.set_local_description(now, None).unwrap()
        };
        self.with(id, set);
        self.net.run_for(Duration::from_millis(1));
        let answer = self.hub().get(id).unwrap().local_description().unwrap();
        self.with_guest(guest, |guest, now| guest.set_remote_description(now, answer)).unwrap();
    }

    /// Reads what the hub tells.
    pub fn listen(&mut self) {
        for (id, event) in self.net.events::<Hub>(self.host) {
            self.told.entry(id).or_default().push(event);
        }
    }

    /// The channel of the hub's end.
    pub fn channel(&self, id: ConnectionId) -> Option<ChannelId> {
        self.told.get(&id)?.iter().find_map(|event| match event {
            Event::ChannelOpened { id, .. } => Some(*id),
            _ => None,
        })
    }

    pub fn messages(&self, id: ConnectionId) -> usize {
        let is_message = |event: &&Event| matches!(event, Event::MessageReceived { .. });
        self.told.get(&id).map_or(0, |events| events.iter().filter(is_message).count())
    }

    /// Lets time go on until all have a channel.
    #[track_caller]
    pub fn open(&mut self, pairs: &[Pair]) {
        for _ in 0..300 {
            self.listen();
            if pairs.iter().all(|pair| self.channel(pair.id).is_some()) {
                return;
            }
            self.net.run_for(Duration::from_millis(100));
        }
        let missing = pairs.iter().filter(|pair| self.channel(pair.id).is_none()).count();
        panic!("{missing} have no channel; {:?}", self.hub().drops());
    }

    /// Each says something to the other, and is heard.
    #[track_caller]
    pub fn talk(&mut self, pairs: &[Pair]) {
        self.talk_within(pairs, Duration::from_secs(5));
    }

    /// The same; what is lost and has to be repeated comes too late if there is little time.
    #[track_caller]
    pub fn talk_within(&mut self, pairs: &[Pair], within: Duration) {
        for pair in pairs {
            let said = format!("from {:?}", pair.id);
            self.with_guest(pair.guest, |guest, now| {
                guest.send(now, pair.channel, MessageKind::Text, said.as_bytes()).unwrap();
            });
            let channel = self.channel(pair.id).unwrap();
            self.with(pair.id, |hub, now| hub.send(now, channel, MessageKind::Text, said.as_bytes()))
                .unwrap();
            self.net.events::<Guest>(pair.guest);
        }
        let before: Vec<usize> = pairs.iter().map(|pair| self.messages(pair.id)).collect();
        self.net.run_for(within);
        self.listen();
        for (pair, before) in pairs.iter().zip(before) {
            assert_eq!(self.messages(pair.id), before + 1, "{:?} was not heard", pair.id);
            let heard: Vec<Vec<u8>> = self
                .net
                .events::<Guest>(pair.guest)
                .into_iter()
                .filter_map(|event| match event {
                    Event::MessageReceived { data, .. } => Some(data.to_vec()),
                    _ => None,
                })
                .collect();
            assert_eq!(heard, [format!("from {:?}", pair.id).into_bytes()], "{:?} heard nothing", pair.id);
        }
    }

    /// Puts a datagram onto the internet that claims to come from `from`.
    pub fn inject(&mut self, from: SocketAddr, payload: &[u8]) {
        let path = Path::udp(from, self.address());
        self.net.inject(Net::INTERNET, path, payload);
        self.net.run_for(Duration::from_millis(50));
    }

    /// What the guest's end of a connection has selected.
    pub fn path_of(&self, pair: &Pair) -> Path {
        let hub = self.hub().get(pair.id).unwrap();
        Path::udp(self.address(), hub.path().and_then(|path| path.remote_address).expect("there is a path"))
    }
}

/// The ICE credentials in a description.
pub fn credentials(description: &SessionDescription) -> (String, String) {
    let of = |name: &str| {
        let line = description.sdp.lines().find_map(|line| line.strip_prefix(name));
        line.expect("every description has them").to_owned()
    };
    (of("a=ice-ufrag:"), of("a=ice-pwd:"))
}

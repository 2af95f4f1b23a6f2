//! Sterna: the whole PeerConnection, and the two layers under it that carry the data.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::Instant;

use crypto::Certificate;
use sansio::{Batches, Datagram, Machine, Outbox, Path, Seed, SocketOp, SocketReply, Time};

use crate::contender::{BUFFER, Contender, Make, Received};

pub const WHOLE: Make = Make { name: "sterna", pair: whole, note: "" };
pub const LAYERS: Make = Make { name: "sterna dtls+sctp", pair: layers, note: "no ICE" };

fn time(now: Instant) -> Time {
    static BASE: OnceLock<Instant> = OnceLock::new();
    Time::from_start(now.saturating_duration_since(*BASE.get_or_init(Instant::now)))
}

fn instant(at: Time, now: Instant) -> Instant {
    now + at.since(time(now))
}

/// The whole stack.
struct Whole {
    connection: peer::Connection,
    out: Batches,
    /// The path of what arrives.
    path: Path,
    channel: Option<peer::ChannelId>,
    open: bool,
    received: Received,
}

fn whole(addresses: [SocketAddr; 2]) -> [Box<dyn Contender>; 2] {
    let now = time(Instant::now());
    let mut ends = [0, 1].map(|end| {
        let certificate = Certificate::generate().expect("a certificate");
        let mut configuration = peer::Configuration::new(Seed(crypto::seed()), certificate);
        configuration.interfaces = vec![ice::Interface::new("lo", addresses[end].ip())];
        configuration.include_loopback = true;
        configuration.send_buffer = BUFFER;
        Whole {
            connection: peer::Connection::new(now, configuration),
            out: Batches::new(4 << 20),
            path: Path::udp(addresses[end], addresses[1 - end]),
            channel: None,
            open: false,
            received: Received::default(),
        }
    });
    let channel = ends[0].connection.create_data_channel(now, "bench", peer::DataChannelInit::default());
    ends[0].channel = Some(channel.expect("a channel"));
    ends[0].connection.set_local_description(now, None).expect("an offer");
    ends[0].gather(now);
    let offer = ends[0].connection.local_description().expect("an offer");
    ends[1].connection.set_remote_description(now, offer).expect("it is taken");
    ends[1].connection.set_local_description(now, None).expect("an answer");
    ends[1].gather(now);
    let answer = ends[1].connection.local_description().expect("an answer");
    ends[0].connection.set_remote_description(now, answer).expect("it is taken");
    ends.map(|end| Box::new(end) as Box<dyn Contender>)
}

impl Whole {
    fn gather(&mut self, now: Time) {
        while let Some(op) = self.connection.poll_socket() {
            if let SocketOp::Bind { ticket, .. } = op {
                self.connection.handle_socket(now, SocketReply::Bound { ticket, local: self.path.local });
            }
        }
    }
}

impl Contender for Whole {
    fn handle(&mut self, now: Instant, datagram: &mut [u8]) {
        let datagram = Datagram { from: self.path, payload: datagram };
        self.connection.handle_datagram(time(now), datagram, &mut self.out);
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(&[u8])) {
        let time = time(now);
        if self.connection.poll_timeout().is_some_and(|at| at <= time) {
            self.connection.handle_timeout(time);
        }
        while let Some(event) = self.connection.poll_event() {
            match event {
                peer::Event::MessageReceived { data, .. } => self.received.count(data.len()),
                peer::Event::ChannelOpened { id, .. } => {
                    self.channel = Some(id);
                    self.open = true;
                }
                peer::Event::Failed(failure) => panic!("{failure:?}"),
                _ => {}
            }
        }
        self.connection.poll_transmit(time, &mut self.out);
        while let Some(batch) = self.out.pop() {
            batch.datagrams().for_each(&mut *send);
            self.out.recycle(batch);
        }
    }

    fn timeout(&mut self) -> Option<Instant> {
        self.connection.poll_timeout().map(|at| instant(at, Instant::now()))
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn write(&mut self, now: Instant, message: &[u8]) -> bool {
        let Some(id) = self.channel else { return false };
        match self.connection.send(time(now), id, peer::MessageKind::Binary, message) {
            Ok(()) => true,
            Err(peer::SendError::Full) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn received(&self) -> Received {
        self.received
    }
}

/// DTLS and SCTP alone.
struct Layers {
    dtls: dtls::Endpoint,
    sctp: sctp::Association,
    out: Wire,
    channel: Option<sctp::ChannelId>,
    open: bool,
    received: Received,
}

/// Batches without addresses.
struct Wire(Batches, Path);

impl Outbox<()> for Wire {
    fn room(&self) -> usize {
        self.0.room()
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.0.send(self.1, max, fill)
    }
}

fn layers(addresses: [SocketAddr; 2]) -> [Box<dyn Contender>; 2] {
    let now = time(Instant::now());
    let certificates = [(); 2].map(|()| Certificate::generate().expect("a certificate"));
    let fingerprints = [0, 1].map(|end| certificates[end].fingerprint());
    let mut ends = [0, 1].map(|end| {
        let (role, sctp_role) = match end {
            0 => (dtls::Role::Client, sctp::Role::Client),
            _ => (dtls::Role::Server, sctp::Role::Server),
        };
        let seed = Seed(crypto::seed());
        let config =
            dtls::Config::new(role, certificates[end].clone(), vec![fingerprints[1 - end].clone()], seed);
        let mut sctp_config = sctp::Config::new(sctp_role, Seed(crypto::seed()));
        sctp_config.send_buffer = BUFFER;
        Layers {
            dtls: dtls::Endpoint::new(now, config).expect("an endpoint"),
            sctp: sctp::Association::new(now, sctp_config),
            out: Wire(Batches::new(4 << 20), Path::udp(addresses[end], addresses[1 - end])),
            channel: None,
            open: false,
            received: Received::default(),
        }
    });
    ends[0].channel = ends[0].sctp.open_channel(now, sctp::ChannelConfig::default()).ok();
    ends.map(|end| Box::new(end) as Box<dyn Contender>)
}

impl Contender for Layers {
    fn handle(&mut self, now: Instant, datagram: &mut [u8]) {
        let now = time(now);
        let sctp = &mut self.sctp;
        self.dtls.open(now, datagram, &mut |packet| sctp.handle_packet(now, packet));
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(&[u8])) {
        let now = time(now);
        self.dtls.handle_timeout(now);
        if self.sctp.poll_timeout().is_some_and(|at| at <= now) {
            self.sctp.handle_timeout(now);
        }
        while let Some(event) = self.dtls.poll_event() {
            assert!(matches!(event, dtls::Event::Connected(_)), "{event:?}");
        }
        while let Some(event) = self.sctp.poll_event() {
            match event {
                sctp::Event::MessageReceived { data, .. } => self.received.count(data.len()),
                sctp::Event::ChannelOpened { id, .. } => {
                    self.channel = Some(id);
                    self.open = true;
                }
                sctp::Event::Failed(error) => panic!("{error}"),
                _ => {}
            }
        }
        self.dtls.poll_transmit(now, &mut self.out);
        if self.dtls.is_connected() {
            self.sctp.poll_transmit(now, &mut self.dtls.lane(&mut self.out));
        }
        while let Some(batch) = self.out.0.pop() {
            batch.datagrams().for_each(&mut *send);
            self.out.0.recycle(batch);
        }
    }

    fn timeout(&mut self) -> Option<Instant> {
        let sctp = self.sctp.poll_timeout().filter(|_| self.dtls.is_connected());
        let next = [self.dtls.poll_timeout(), sctp].into_iter().flatten().min();
        next.map(|at| instant(at, Instant::now()))
    }

    fn is_open(&self) -> bool {
        self.open
    }

    fn write(&mut self, now: Instant, message: &[u8]) -> bool {
        let Some(id) = self.channel else { return false };
        match self.sctp.send(time(now), id, sctp::MessageKind::Binary, message) {
            Ok(()) => true,
            Err(sctp::SendError::Full) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn received(&self) -> Received {
        self.received
    }
}

//! Sterna: the whole stack.

use std::sync::OnceLock;
use std::time::Instant;

use crypto::Certificate;
use peer::{DataChannelInit, SdpType, SessionDescription};
use sansio::{Batches, Datagram, Machine, Path, Seed, SocketOp, SocketReply, Time};

use crate::contender::{BUFFER, Begun, Channel, Contender, Make, Received, Terms};

pub const MAKE: Make = Make { name: "sterna", offer, answer, note: "" };

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

impl Whole {
    fn new(terms: Terms) -> Self {
        let certificate = Certificate::generate().expect("a certificate");
        let mut configuration = peer::Configuration::new(Seed(crypto::seed()), certificate);
        configuration.interfaces = vec![ice::Interface::new("lo", terms.local.ip())];
        configuration.include_loopback = true;
        configuration.send_buffer = BUFFER;
        Self {
            connection: peer::Connection::new(time(Instant::now()), configuration),
            out: Batches::new(4 << 20),
            path: Path::udp(terms.local, terms.remote),
            channel: None,
            open: false,
            received: Received::default(),
        }
    }

    /// Describes itself, with its candidate.
    fn describe(mut self) -> Begun {
        let now = time(Instant::now());
        self.connection.set_local_description(now, None).expect("a description");
        while let Some(op) = self.connection.poll_socket() {
            if let SocketOp::Bind { ticket, .. } = op {
                self.connection.handle_socket(now, SocketReply::Bound { ticket, local: self.path.local });
            }
        }
        let description = self.connection.local_description().expect("a description").sdp;
        (Box::new(self), description)
    }

    fn take(&mut self, kind: SdpType, sdp: &str) {
        let description = SessionDescription { kind, sdp: sdp.to_owned() };
        self.connection.set_remote_description(time(Instant::now()), description).expect("it is taken");
    }
}

fn offer(terms: Terms) -> Begun {
    let mut end = Whole::new(terms);
    let init = match terms.channel {
        Channel::Reliable => DataChannelInit::default(),
        Channel::Fleeting => {
            DataChannelInit { ordered: false, max_retransmits: Some(0), ..Default::default() }
        }
    };
    let channel = end.connection.create_data_channel(time(Instant::now()), "bench", init);
    end.channel = Some(channel.expect("a channel"));
    end.describe()
}

fn answer(terms: Terms, offer: &str) -> Begun {
    let mut end = Whole::new(terms);
    end.take(SdpType::Offer, offer);
    end.describe()
}

impl Contender for Whole {
    fn accept(&mut self, answer: &str) {
        self.take(SdpType::Answer, answer);
    }

    fn handle(&mut self, now: Instant, datagram: &mut [u8]) {
        let datagram = Datagram { from: self.path, payload: datagram };
        self.connection.handle_datagram(time(now), datagram, &mut self.out);
    }

    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(&[u8])) {
        let time = time(now);
        if self.connection.poll_timeout().is_some_and(|at| at <= time) {
            self.connection.handle_timeout(time);
        }
        self.connection.poll_transmit(time, &mut self.out);
        while let Some(batch) = self.out.pop() {
            batch.datagrams().for_each(&mut *send);
            self.out.recycle(batch);
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

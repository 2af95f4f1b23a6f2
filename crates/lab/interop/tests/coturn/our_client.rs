//! `turn::Client` against coturn's server, packet by packet over one UDP socket.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sansio::{Batches, Outbox, Path, Seed, Time};
use turn::{Client, ClientConfig, ClientEvent, Credentials, Family, Opened, Stage};

use crate::rig::{self, Coturn, credentials};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A client, its socket and its clock.
struct Wire {
    socket: UdpSocket,
    client: Client,
    start: Instant,
    events: Vec<ClientEvent>,
    heard: Vec<(SocketAddr, Vec<u8>)>,
}

impl Wire {
    fn new(server: SocketAddr, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (username, password) = credentials();
        let path = Path::udp(socket.local_addr().unwrap(), server);
        let mut config = ClientConfig::new(path, Credentials { username, password }, Seed(crypto::seed()));
        config.unix_time_at_start = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        change(&mut config);
        let client = Client::new(Time::ZERO, config);
        Self { socket, client, start: Instant::now(), events: Vec::new(), heard: Vec::new() }
    }

    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    fn flush(&self, out: &mut Batches) {
        while let Some(batch) = out.pop() {
            for datagram in batch.datagrams() {
                self.socket.send_to(datagram, batch.path.remote).unwrap();
            }
        }
    }

    /// Goes on until there is what is waited for.
    fn until<T>(&mut self, mut done: impl FnMut(&mut Self) -> Option<T>) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = self.now();
            self.client.handle_timeout(now);
            let mut out = Batches::new(1 << 20);
            self.client.poll_transmit(now, &mut out);
            self.flush(&mut out);
            while let Some(event) = self.client.poll_event() {
                self.events.push(event);
            }
            if let Some(result) = done(self) {
                return result;
            }
            assert!(Instant::now() < end, "{:?}", self.events);
            let wait = self.client.poll_timeout().map_or(PATIENCE, |next| next.since(now));
            let wait = wait.clamp(Duration::from_millis(1), Duration::from_secs(1));
            self.socket.set_read_timeout(Some(wait)).unwrap();
            let mut buffer = [0; 2000];
            if let Ok((length, _)) = self.socket.recv_from(&mut buffer) {
                let (now, heard) = (self.now(), &mut self.heard);
                let opened = self
                    .client
                    .open(now, &mut buffer[..length], &mut |peer, data| heard.push((peer, data.to_vec())));
                assert_ne!(opened, Opened::Other, "{:02x?}", &buffer[..length]);
            }
        }
    }

    fn event(&mut self) -> ClientEvent {
        self.until(|wire| (!wire.events.is_empty()).then(|| wire.events.remove(0)))
    }

    fn allocated(&mut self) -> SocketAddr {
        let event = self.event();
        let ClientEvent::Allocated { relayed, additional: None, mapped, lifetime } = event else {
            panic!("{event:?}")
        };
        assert_eq!(mapped, self.socket.local_addr().unwrap());
        assert_eq!(lifetime, Duration::from_secs(600));
        relayed
    }

    fn permit(&mut self, peer: SocketAddr) {
        let now = self.now();
        self.client.permit(now, peer);
        assert_eq!(self.event(), ClientEvent::PermissionGranted(peer));
    }

    fn send(&mut self, peer: SocketAddr, data: &[u8]) {
        let mut out = Batches::new(1 << 20);
        let mut lane = self.client.lane(peer, &mut out).expect("a granted peer has a lane");
        assert!(lane.send_bytes((), data));
        self.flush(&mut out);
    }

    fn close(&mut self) {
        let now = self.now();
        self.client.close(now);
        assert_eq!(self.event(), ClientEvent::Closed);
    }
}

/// A peer that the test speaks for.
fn peer(ip: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// Both ways, with lengths of every padding.
fn converse(wire: &mut Wire, peer: &UdpSocket, relayed: SocketAddr) {
    let address = peer.local_addr().unwrap();
    for length in [1, 2, 3, 4, 1200] {
        let there: Vec<u8> = (0..length).map(|i| i as u8).collect();
        wire.send(address, &there);
        let mut buffer = [0; 2000];
        let (received, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..received], from), (&there[..], relayed));
        let back: Vec<u8> = there.iter().rev().copied().collect();
        peer.send_to(&back, relayed).unwrap();
        let heard = wire.until(|wire| wire.heard.pop());
        assert_eq!(heard, (address, back));
    }
}

#[test]
fn data_passes_by_channel_and_the_allocation_is_given_back() {
    if !rig::is_there() {
        return;
    }
    let coturn = Coturn::start(&["--allow-loopback-peers"]);
    let mut wire = Wire::new(coturn.address(), |_| {});
    let relayed = wire.allocated();
    let (socket, address) = peer("127.0.0.1");
    wire.permit(address);
    assert_eq!(wire.event(), ClientEvent::ChannelBound(address));
    assert_eq!(wire.client.overhead(address), 4);
    converse(&mut wire, &socket, relayed);
    wire.close();
}

#[test]
fn data_passes_by_indications() {
    if !rig::is_there() {
        return;
    }
    let coturn = Coturn::start(&["--allow-loopback-peers"]);
    let mut wire = Wire::new(coturn.address(), |config| config.channels = false);
    let relayed = wire.allocated();
    let (socket, address) = peer("127.0.0.1");
    wire.permit(address);
    assert_eq!(wire.client.overhead(address), 36);
    converse(&mut wire, &socket, relayed);
    wire.close();
}

#[test]
fn an_ipv6_address_is_relayed() {
    if !rig::is_there() {
        return;
    }
    let coturn = Coturn::start(&["--allow-loopback-peers", "--relay-ip", "::1"]);
    for channels in [false, true] {
        let mut wire = Wire::new(coturn.address(), |config| {
            config.families = Family::Ipv6.into();
            config.channels = channels;
        });
        let relayed = wire.allocated();
        assert!(relayed.is_ipv6());
        let (socket, address) = peer("::1");
        wire.permit(address);
        if channels {
            assert_eq!(wire.event(), ClientEvent::ChannelBound(address));
        }
        assert_eq!(wire.client.overhead(address), if channels { 4 } else { 48 });
        converse(&mut wire, &socket, relayed);
        wire.close();
    }
}

#[test]
fn a_family_that_the_server_does_not_have_is_440() {
    if !rig::is_there() {
        return;
    }
    let coturn = Coturn::start(&[]);
    let mut wire = Wire::new(coturn.address(), |config| config.families = Family::Ipv6.into());
    let ClientEvent::Failed(error) = wire.event() else { panic!("{:?}", wire.events) };
    assert_eq!((error.code, error.stage), (Some(440), Stage::Allocate), "{error}");
}

#[test]
fn a_peer_that_the_server_denies_is_refused_and_the_others_are_not() {
    if !rig::is_there() {
        return;
    }
    let coturn = Coturn::start(&["--allow-loopback-peers", "--denied-peer-ip", "127.0.0.2"]);
    let mut wire = Wire::new(coturn.address(), |_| {});
    let relayed = wire.allocated();
    let denied: SocketAddr = "127.0.0.2:9".parse().unwrap();
    let now = wire.now();
    wire.client.permit(now, denied);
    let event = wire.event();
    let ClientEvent::PermissionRefused { peer: refused, code: Some(403), .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!(refused, denied);
    let (socket, address) = peer("127.0.0.1");
    wire.permit(address);
    converse(&mut wire, &socket, relayed);
}

#[test]
fn a_wrong_secret_fails_with_a_hint() {
    if !rig::is_there() {
        return;
    }
    let coturn = Coturn::start(&[]);
    let mut wire = Wire::new(coturn.address(), |config| config.credentials.password = "wrong".to_owned());
    let ClientEvent::Failed(error) = wire.event() else { panic!("{:?}", wire.events) };
    assert_eq!((error.code, error.stage), (Some(401), Stage::Allocate), "{error}");
    assert!(error.hint.contains("does not use the secret of this server"), "{error}");
}

#[test]
fn a_nonce_that_grows_stale_is_renewed() {
    if !rig::is_there() {
        return;
    }
    let coturn = Coturn::start(&["--allow-loopback-peers", "--stale-nonce=1"]);
    let mut wire = Wire::new(coturn.address(), |config| config.channels = false);
    wire.allocated();
    for number in 1..4 {
        // coturn goes by its own clock.
        let wait = Instant::now() + Duration::from_millis(1500);
        wire.until(|_| (Instant::now() > wait).then_some(()));
        wire.permit(SocketAddr::from(([127, 0, 1, number], 9)));
    }
    wire.close();
}

#[test]
fn a_server_that_was_restarted_ends_the_allocation() {
    if !rig::is_there() {
        return;
    }
    let coturn = Coturn::start(&["--allow-loopback-peers"]);
    let mut wire = Wire::new(coturn.address(), |_| {});
    wire.allocated();
    let port = coturn.port;
    drop(coturn);
    let _restarted = Coturn::start_at(port, &["--allow-loopback-peers"]);
    let now = wire.now();
    wire.client.permit(now, "127.0.0.1:9".parse().unwrap());
    // coturn answers that with 400 where RFC 8656 §5 says 437; the client makes sure.
    let event = wire.event();
    assert!(matches!(event, ClientEvent::PermissionRefused { code: Some(400), .. }), "{event:?}");
    let event = wire.event();
    let ClientEvent::Failed(error) = event else { panic!("{event:?}") };
    assert_eq!(error.code, Some(437), "{error}");
}

//! Mobility (RFC 8016), datagram by datagram: a client of the real relay comes from another network than before, and after
//! that not one of the numbered datagrams that go each way is lost, comes twice, or comes late.

mod lab;
mod sterna;

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lab::{change_uplink, lab};
use sansio::{Batches, Outbox as _, Path, Seed, Time};
use sterna_kernel::{Host, Preset};
use stun::credential::rest_credentials;
use turn::{Client, ClientConfig, ClientEvent, Credentials};

const SECRET: &str = "of this lab alone, 8d1f2a90b35c";
/// Between two datagrams of one direction.
const TICK: Duration = Duration::from_millis(2);
/// Datagrams each way before the client moves, and after.
const COUNT: u32 = 300;
const PATIENCE: Duration = Duration::from_secs(20);

/// A socket of a host, connected so that its address is known.
fn socket(host: &Host, server: SocketAddr) -> UdpSocket {
    let open = || {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        std::io::Result::Ok(socket)
    };
    host.enter(open).unwrap().unwrap()
}

/// The number in a datagram.
fn number(datagram: &[u8]) -> u32 {
    u32::from_be_bytes(*datagram.first_chunk().expect("it has one"))
}

/// A client and its peer, who send each other one number after the other.
struct Stream {
    client: Client,
    /// The newest one last.
    sockets: Vec<UdpSocket>,
    peer: UdpSocket,
    start: Instant,
    events: Vec<ClientEvent>,
    relayed: Option<SocketAddr>,
    /// What was sent, to the peer and to the client.
    sent: [u32; 2],
    heard: [Vec<u32>; 2],
}

impl Stream {
    fn new(client: &Host, server: SocketAddr, peer: &Host) -> Self {
        let first = socket(client, server);
        let path = Path::udp(first.local_addr().unwrap(), server);
        let expires = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
        let (username, password) = rest_credentials(SECRET, "alice", expires).unwrap();
        let mut config = ClientConfig::new(path, Credentials { username, password }, Seed(crypto::seed()));
        config.mobility = true;
        let address = SocketAddr::from((peer.address(), 4000));
        let peer = peer.enter(|| UdpSocket::bind(address)).unwrap().unwrap();
        peer.set_nonblocking(true).unwrap();
        Self {
            client: Client::new(Time::ZERO, config),
            sockets: vec![first],
            peer,
            start: Instant::now(),
            events: Vec::new(),
            relayed: None,
            sent: [0; 2],
            heard: [Vec::new(), Vec::new()],
        }
    }

    fn now(&self) -> Time {
        Time::from_start(self.start.elapsed())
    }

    fn write(&self, mut out: Batches) {
        while let Some(batch) = out.pop() {
            let from = self.sockets.iter().find(|socket| socket.local_addr().unwrap() == batch.path.local);
            // By the old path nothing goes any more.
            batch.datagrams().for_each(|datagram| _ = from.expect("it is ours").send(datagram));
        }
    }

    /// Sends what is due, takes in what has come, and waits for the next tick.
    fn tick(&mut self) {
        let now = self.now();
        self.client.handle_timeout(now);
        let mut out = Batches::new(1 << 16);
        self.client.poll_transmit(now, &mut out);
        self.write(out);
        self.events.extend(std::iter::from_fn(|| self.client.poll_event()));
        let mut buffer = [0; 2000];
        for socket in &self.sockets {
            while let Some(length) = received(socket.recv(&mut buffer)) {
                let heard = &mut self.heard[1];
                self.client.open(now, &mut buffer[..length], &mut |_, data| heard.push(number(data)));
            }
        }
        while let Some((length, from)) = received(self.peer.recv_from(&mut buffer)) {
            assert_eq!(Some(from), self.relayed, "the peer sees the relayed address, always the same");
            self.heard[0].push(number(&buffer[..length]));
        }
        std::thread::sleep(TICK);
    }

    /// The same, and each of the two sends a number.
    fn tick_and_send(&mut self) {
        let peer = self.peer.local_addr().unwrap();
        let mut out = Batches::new(1 << 16);
        let mut lane = self.client.lane(peer, &mut out).expect("the peer is permitted");
        assert!(lane.send_bytes((), &self.sent[0].to_be_bytes()));
        self.write(out);
        let relayed = self.relayed.expect("there is an allocation");
        self.peer.send_to(&self.sent[1].to_be_bytes(), relayed).unwrap();
        self.sent = self.sent.map(|sent| sent + 1);
        self.tick();
    }

    /// Goes on until there is what is waited for, while it sends or not.
    fn until<T>(
        &mut self,
        mut tick: impl FnMut(&mut Self),
        mut done: impl FnMut(&mut Self) -> Option<T>,
    ) -> T {
        let end = Instant::now() + PATIENCE;
        loop {
            tick(self);
            if let Some(result) = done(self) {
                return result;
            }
            assert!(Instant::now() < end, "{:?}", self.events);
        }
    }

    /// Waits for all that was sent from these numbers on, and that nothing else comes.
    #[track_caller]
    fn all_arrived(&mut self, from: [u32; 2]) {
        let sent = self.sent;
        let newest = |stream: &mut Self, way: usize| stream.heard[way].last() == Some(&(sent[way] - 1));
        self.until(Self::tick, |stream| (newest(stream, 0) && newest(stream, 1)).then_some(()));
        for way in [0, 1] {
            let heard: Vec<u32> =
                self.heard[way].iter().copied().filter(|number| *number >= from[way]).collect();
            let all: Vec<u32> = (from[way]..sent[way]).collect();
            assert!(heard == all, "way {way}: {} of {} came: {heard:?}", heard.len(), all.len());
        }
    }
}

fn received<T>(result: std::io::Result<T>) -> Option<T> {
    match result {
        Ok(received) => Some(received),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        // The network says something about what was sent by a path that is no more.
        Err(_) => None,
    }
}

fn nothing_is_lost_after_the_switch(threads: &str) {
    let Some(mut lab) = lab() else { return };
    let secret = lab.folder().join("secret");
    std::fs::write(&secret, SECRET).unwrap();
    let more = ["--secret-file", secret.to_str().unwrap(), "--relay-threads", threads];
    let Some(server) = sterna::Server::start(&mut lab, "server", &more) else { return };
    let mut home = lab.add_site("home", Preset::PortRestricted).unwrap();
    let alice = lab.add_host(&mut home, "alice").unwrap();
    let bob = lab.add_server("bob", 1).unwrap();
    let at = SocketAddr::from((server.host.address(), 3478));

    let mut stream = Stream::new(&alice, at, &bob);
    stream.relayed = stream.until(Stream::tick, |stream| {
        let allocated = stream.events.iter().find_map(|event| match event {
            ClientEvent::Allocated { relayed, .. } => Some(*relayed),
            _ => None,
        });
        allocated.map(Some)
    });
    let peer = stream.peer.local_addr().unwrap();
    let now = stream.now();
    stream.client.permit(now, peer);
    stream
        .until(Stream::tick, |stream| stream.events.contains(&ClientEvent::ChannelBound(peer)).then_some(()));
    (0..COUNT).for_each(|_| stream.tick_and_send());
    stream.all_arrived([0, 0]);

    change_uplink(&mut lab, &alice);
    let next = socket(&alice, at);
    let path = Path::udp(next.local_addr().unwrap(), at);
    stream.sockets.push(next);
    let now = stream.now();
    stream.client.migrate(now, path).expect("it has a ticket");
    // What goes before the server knows is lost: it goes by a path that is no more.
    stream.until(Stream::tick_and_send, |stream| {
        stream.events.contains(&ClientEvent::Moved(path)).then_some(())
    });
    // The first datagram of the client by the new path turns the peer's there, too.
    let switched = stream.sent[0];
    stream.until(Stream::tick_and_send, |stream| (stream.heard[0].last() >= Some(&switched)).then_some(()));
    let from = [switched, stream.sent[1]];
    (0..COUNT).for_each(|_| stream.tick_and_send());
    stream.all_arrived(from);
}

#[test]
fn a_client_that_moves_loses_nothing_after_the_switch() {
    nothing_is_lost_after_the_switch("1");
}

#[test]
fn a_client_that_moves_loses_nothing_after_the_switch_on_two_shards() {
    nothing_is_lost_after_the_switch("2");
}

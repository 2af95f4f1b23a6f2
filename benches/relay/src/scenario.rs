//! What is sent, and which way.

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use udp::{BareSocket, Config};

use crate::contestant::Contestant;
use crate::forwarder::introduce;
use crate::lane::{Burst, Lane, drive};
use crate::place::{CLIENT, PEER, any};
use crate::session::{Session, binding, channel_data, send_indication};

/// One way to load a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scenario {
    Binding,
    /// ChannelData, client to peer.
    Up(usize),
    /// ChannelData, peer to client.
    Down(usize),
    /// ChannelData both ways: the peer sends back what it gets.
    Both(usize),
    /// Send indications there, Data indications back.
    Indications(usize),
    /// ChannelData, client to peer, from senders that use GSO.
    Bundled(usize),
    /// ChannelData from client to client, each with an allocation.
    Meeting(usize),
}

/// What one run has found.
pub(crate) struct Outcome {
    /// Datagrams that passed, per second of the server's CPU time.
    pub(crate) per_cpu_second: f64,
    /// And per second on the clock.
    pub(crate) per_second: f64,
    /// Share of the datagrams that was lost.
    pub(crate) lost: f64,
    /// Share of one core that the server took.
    pub(crate) busy: f64,
}

impl Scenario {
    pub(crate) fn name(self) -> String {
        match self {
            Self::Binding => "STUN Binding".into(),
            Self::Up(size) => format!("ChannelData, client to peer, {size} B"),
            Self::Down(size) => format!("ChannelData, peer to client, {size} B"),
            Self::Both(size) => format!("ChannelData, both ways, {size} B"),
            Self::Indications(size) => format!("Send and Data, {size} B"),
            Self::Bundled(size) => format!("ChannelData in bundles, {size} B"),
            Self::Meeting(size) => format!("relay to relay, {size} B"),
        }
    }

    /// Whether a bare forwarder can do the like.
    pub(crate) fn is_bare(self) -> bool {
        !matches!(self, Self::Indications(_) | Self::Meeting(_))
    }

    /// Loads a server with `clients` clients for `time`, after a moment to warm up.
    pub(crate) fn run(self, server: &Contestant, clients: usize, time: Duration) -> io::Result<Outcome> {
        let mut sessions = Vec::new();
        let mut lanes = self.lanes(server, clients, &mut sessions)?;
        // In bundles more is in flight, or there would be none.
        let (window, least) = if matches!(self, Self::Bundled(_)) { (64, 32) } else { (16, 4) };
        drive(&mut lanes, time / 5, window, least)?;
        let (before, start) = (server.cpu_time()?, std::time::Instant::now());
        let passed = drive(&mut lanes, time, window, least)?;
        let (elapsed, used) = (start.elapsed().as_secs_f64(), (server.cpu_time()? - before).as_secs_f64());
        // What is under way shall not be taken for an answer.
        std::thread::sleep(Duration::from_millis(5));
        for session in &mut sessions {
            session.close()?;
        }
        let packets = passed.packets as f64;
        Ok(Outcome {
            per_cpu_second: packets / used.max(0.01),
            per_second: packets / elapsed,
            lost: passed.lost as f64 / (packets + passed.lost as f64).max(1.0),
            busy: used / elapsed,
        })
    }

    fn lanes(
        self,
        server: &Contestant,
        clients: usize,
        sessions: &mut Vec<Session>,
    ) -> io::Result<Vec<Lane>> {
        let to = server.address();
        match self {
            Self::Binding => (0..clients)
                .map(|_| {
                    let near = BareSocket::adopt(UdpSocket::bind(any(CLIENT))?, &config(false))?;
                    Ok(Lane::new(near, None, Burst::new(to, &binding()), None))
                })
                .collect(),
            Self::Meeting(size) => (0..clients.div_ceil(2))
                .map(|_| {
                    let (mut one, mut other) = (Session::open(to)?, Session::open(to)?);
                    one.bind(other.relayed)?;
                    other.bind(one.relayed)?;
                    let frame = || Burst::new(to, &channel_data(&vec![0x2a; size]));
                    let near = BareSocket::adopt(one.socket.try_clone()?, &config(false))?;
                    let far = BareSocket::adopt(other.socket.try_clone()?, &config(false))?;
                    sessions.extend([one, other]);
                    Ok(Lane::new(near, Some(far), frame(), Some(frame())))
                })
                .collect(),
            _ => (0..clients).map(|_| self.lane(server, sessions)).collect(),
        }
    }

    /// A client with a peer.
    fn lane(self, server: &Contestant, sessions: &mut Vec<Session>) -> io::Result<Lane> {
        let to = server.address();
        let far = UdpSocket::bind(any(PEER))?;
        let peer = far.local_addr()?;
        let (near, relayed) = if server.kind.is_turn() {
            let mut session = Session::open(to)?;
            match self {
                Self::Indications(_) => session.permit(peer)?,
                _ => session.bind(peer)?,
            }
            let found = (session.socket.try_clone()?, session.relayed);
            sessions.push(session);
            found
        } else {
            let socket = UdpSocket::bind(any(CLIENT))?;
            socket.connect(to)?;
            let relayed = introduce(&socket, peer)?;
            (socket, relayed)
        };
        let (near, far) = (
            BareSocket::adopt(near, &config(matches!(self, Self::Bundled(_))))?,
            BareSocket::adopt(far, &config(false))?,
        );
        Ok(match self {
            Self::Up(size) | Self::Bundled(size) => {
                Lane::new(near, Some(far), Burst::new(to, &channel_data(&vec![0x2a; size])), None)
            }
            Self::Down(size) => Lane::new(far, Some(near), Burst::new(relayed, &vec![0x2a; size]), None),
            Self::Indications(size) => {
                let frame = send_indication(peer, &vec![0x2a; size]);
                let back = Burst::new(relayed, &vec![0x2a; size]);
                Lane::new(near, Some(far), Burst::new(to, &frame), Some(back))
            }
            Self::Binding | Self::Meeting(_) | Self::Both(_) => {
                let size = if let Self::Both(size) = self { size } else { 0 };
                let back = Burst::new(relayed, &vec![0x2a; size]);
                let out = Burst::new(to, &channel_data(&vec![0x2a; size]));
                Lane::new(near, Some(far), out, Some(back))
            }
        })
    }
}

/// How the generator's sockets are: they send datagram by datagram, unless they bundle, and receive what comes as it
/// comes.
fn config(bundles: bool) -> Config {
    let mut config = Config::default();
    config.segmentation = bundles;
    config
}

use std::collections::VecDeque;

use sansio::{Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Time};

/// A machine that does what it is told and tells what it sees: for probing networks, and for testing them.
///
/// ```
/// use std::time::Duration;
/// use sterna_netsim::{NatBehaviour, Net, Puppet, Seen};
/// use sansio::Path;
///
/// let mut net = Net::new(1);
/// let home = net.add_network(Net::INTERNET, "home", NatBehaviour::port_restricted());
/// let (a, b) = (net.add_host("a", &[home]), net.add_host("b", &[Net::INTERNET]));
/// for host in [a, b] {
///     net.bind(host, net.socket(host, 9000)).unwrap();
///     net.start(host, Puppet::default());
/// }
/// let path = Path::udp(net.socket(a, 9000), net.socket(b, 9000));
/// net.machine_mut::<Puppet>(a).send(path, b"hello");
/// net.run_for(Duration::from_secs(1));
///
/// let heard = net.events::<Puppet>(b);
/// let Seen::Received { path, bytes, .. } = &heard[0] else { panic!("{heard:?}") };
/// assert_eq!(bytes, b"hello");
/// assert_eq!(path.remote.ip(), net.external_address(home));
/// ```
#[derive(Debug, Default)]
pub struct Puppet {
    echoes: bool,
    to_send: VecDeque<(Path, Vec<u8>)>,
    to_ask: VecDeque<SocketOp>,
    seen: VecDeque<Seen>,
}

/// What a [`Puppet`] saw.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// A datagram, or a message of a stream.
    Received {
        /// When.
        time: Time,
        /// By which path, seen from the puppet.
        path: Path,
        /// What.
        bytes: Vec<u8>,
    },
    /// An answer to what it asked for.
    Socket {
        /// When.
        time: Time,
        /// The answer.
        reply: SocketReply,
    },
}

impl Puppet {
    /// A puppet that sends back whatever it receives.
    pub fn echo() -> Self {
        Self { echoes: true, ..Self::default() }
    }

    /// Sends `bytes`.
    pub fn send(&mut self, path: Path, bytes: &[u8]) {
        self.to_send.push_back((path, bytes.to_vec()));
    }

    /// Asks its driver for something.
    pub fn ask(&mut self, op: SocketOp) {
        self.to_ask.push_back(op);
    }
}

impl Machine for Puppet {
    type Addr = Path;
    type Event = Seen;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        let Datagram { from: path, payload } = datagram;
        self.seen.push_back(Seen::Received { time: now, path, bytes: payload.to_vec() });
        if self.echoes && !out.send_bytes(path, payload) {
            self.to_send.push_back((path, payload.to_vec()));
        }
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        while let Some((path, bytes)) = self.to_send.front() {
            if !out.send_bytes(*path, bytes) {
                return;
            }
            self.to_send.pop_front();
        }
    }

    fn poll_event(&mut self) -> Option<Seen> {
        self.seen.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.to_ask.pop_front()
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        self.seen.push_back(Seen::Socket { time: now, reply });
    }
}

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netsim::{HostId, Net, Preset, Puppet, Seen, SegmentId};
use sansio::{Path, SocketOp, SocketReply, Ticket, Transport};

use super::{FOR_FILTERING, FOR_HAIRPIN, FOR_MAPPING, Findings, NEIGHBOUR, PORTS, Spot, Word, World};

/// Long enough for anything to arrive. It takes no real time.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longer than a stream may take to connect.
const TCP_PATIENCE: Duration = Duration::from_secs(15);

/// The simulator's side of a probe.
pub(super) struct Simulated {
    net: Net,
    home: SegmentId,
    inner: HostId,
    neighbour: HostId,
    servers: [HostId; 2],
    words: Word,
    heard: HashMap<(Spot, Word), SocketAddr>,
    connected: bool,
}

impl Simulated {
    pub(super) fn new(preset: Preset) -> Self {
        let mut net = Net::new(1);
        let home = net.add_preset(Net::INTERNET, "home", preset);
        // What the box does is asked, not what a proxy does for those who know it.
        net.set_proxy(home, None);
        let mut host = |name: &str, segment, ports: &[u16]| {
            let host = net.add_host(name, &[segment]);
            for port in ports {
                let local = net.socket(host, *port);
                net.bind(host, local).expect("nobody else is on this host");
            }
            for port in Findings::TCP_PORTS {
                let local = net.socket(host, port);
                net.listen(host, Transport::Tcp, local).expect("nobody else is on this host");
            }
            net.start(host, Puppet::default());
            host
        };
        let inner = host("inner", home, &[FOR_MAPPING, FOR_FILTERING, FOR_HAIRPIN]);
        let neighbour = host("neighbour", home, &[NEIGHBOUR]);
        let servers = ["first", "second"].map(|name| host(name, Net::INTERNET, &PORTS));
        let (heard, connected) = (HashMap::new(), false);
        Self { net, home, inner, neighbour, servers, words: 0, heard, connected }
    }

    fn host(&self, spot: Spot) -> (HostId, u16) {
        match spot {
            Spot::Inner(port) => (self.inner, port),
            Spot::Neighbour(port) => (self.neighbour, port),
            Spot::Server(number, port) => (self.servers[number], port),
        }
    }

    fn listen(&mut self) {
        let [first, second] = self.servers;
        for host in [self.inner, self.neighbour, first, second] {
            for seen in self.net.events::<Puppet>(host) {
                match seen {
                    Seen::Received { path, bytes, .. } => {
                        let port = path.local.port();
                        let spot = if host == self.inner {
                            Spot::Inner(port)
                        } else if host == self.neighbour {
                            Spot::Neighbour(port)
                        } else {
                            Spot::Server(usize::from(host == second), port)
                        };
                        if let Ok(word) = bytes.try_into() {
                            self.heard.insert((spot, Word::from_be_bytes(word)), path.remote);
                        }
                    }
                    Seen::Socket { reply: SocketReply::Connected { .. }, .. } => self.connected = true,
                    Seen::Socket { .. } => {}
                }
            }
        }
    }
}

impl World for Simulated {
    fn address(&self, spot: Spot) -> SocketAddr {
        let (host, port) = self.host(spot);
        self.net.socket(host, port)
    }

    fn outer(&self) -> IpAddr {
        self.net.external_address(self.home)
    }

    fn send(&mut self, from: Spot, to: SocketAddr) -> Word {
        self.words += 1;
        let path = Path::udp(self.address(from), to);
        let (host, _) = self.host(from);
        self.net.machine_mut::<Puppet>(host).send(path, &self.words.to_be_bytes());
        self.words
    }

    fn heard(&mut self, packets: &[(Spot, Word)]) -> Vec<Option<SocketAddr>> {
        self.net.run_for(PATIENCE);
        self.listen();
        packets.iter().map(|packet| self.heard.get(packet).copied()).collect()
    }

    fn connects(&mut self, port: u16) -> bool {
        self.connected = false;
        let remote = self.address(Spot::Server(0, port));
        let op = SocketOp::Connect {
            ticket: Ticket(u64::from(port)),
            transport: Transport::Tcp,
            local: None,
            remote,
            server_name: String::new(),
        };
        self.net.machine_mut::<Puppet>(self.inner).ask(op);
        self.net.run_for(TCP_PATIENCE);
        self.listen();
        self.connected
    }
}

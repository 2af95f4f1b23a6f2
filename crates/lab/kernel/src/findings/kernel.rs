use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use netsim::{NatBehaviour, Preset};

use super::{FOR_FILTERING, FOR_HAIRPIN, FOR_MAPPING, Findings, NEIGHBOUR, PORTS, Spot, Word, World};
use crate::error::LabError;
use crate::lab::{Host, Lab, Made, Site};

/// How long one waits for packets that may not come. Those that come take well under a millisecond, on a machine that
/// is not busy; on one that is, the wait grows by what our own sleep takes too long.
const PATIENCE: Duration = Duration::from_millis(150);
const GLANCE: Duration = Duration::from_millis(2);
/// For streams, whose first packet may get lost while an address is asked for.
const TCP_PATIENCE: Duration = Duration::from_millis(1500);

/// Probes the sites of a lab.
#[derive(Debug)]
pub struct Prober {
    server: Host,
    sockets: HashMap<Spot, UdpSocket>,
    _listeners: Vec<TcpListener>,
    sites: u32,
    words: Word,
}

/// One site under the probe.
struct Kernel<'a> {
    prober: &'a mut Prober,
    site: &'a Site,
    inner: Host,
    neighbour: Host,
    sockets: HashMap<Spot, UdpSocket>,
    heard: HashMap<(Spot, Word), SocketAddr>,
}

impl Prober {
    /// Puts the server that a probe needs into a lab.
    ///
    /// # Errors
    /// Whatever the lab objects to.
    pub fn new(lab: &mut Lab) -> Result<Self, LabError> {
        let server = lab.add_server("prober", 2)?;
        let addresses = [0, 1].map(|n| server.addresses()[n]);
        let spots = [0, 1].into_iter().flat_map(|n| PORTS.map(|port| (Spot::Server(n, port), addresses[n])));
        let sockets = bind(&server, spots)?;
        let listeners = server.enter(|| {
            let ports = Findings::TCP_PORTS.into_iter();
            ports.map(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))).collect::<io::Result<_>>()
        })?;
        let _listeners = listeners.map_err(|source| failed("listening", source))?;
        Ok(Self { server, sockets, _listeners, sites: 0, words: 0 })
    }

    /// What a site of this preset does, and what its boxes are made of. The site is added for that.
    ///
    /// # Errors
    /// As [`Lab::add_site`].
    pub fn preset(&mut self, lab: &mut Lab, preset: Preset) -> Result<(Findings, Vec<Made>), LabError> {
        self.sites += 1;
        let mut site = lab.add_site(&format!("probed{}", self.sites), preset)?;
        Ok((self.site(lab, &mut site)?, site.made().to_vec()))
    }

    /// The same for a box of one's own.
    ///
    /// # Errors
    /// As [`Lab::add_site`].
    pub fn behaviour(
        &mut self,
        lab: &mut Lab,
        behaviour: NatBehaviour,
    ) -> Result<(Findings, Vec<Made>), LabError> {
        self.sites += 1;
        let mut site = lab.add_site_behind(&format!("probed{}", self.sites), behaviour)?;
        Ok((self.site(lab, &mut site)?, site.made().to_vec()))
    }

    fn site(&mut self, lab: &mut Lab, site: &mut Site) -> Result<Findings, LabError> {
        let number = self.sites;
        let inner = lab.add_host(site, &format!("inner{number}"))?;
        let neighbour = lab.add_host(site, &format!("neighbour{number}"))?;
        let spots =
            [FOR_MAPPING, FOR_FILTERING, FOR_HAIRPIN].map(|port| (Spot::Inner(port), inner.address()));
        let mut sockets = bind(&inner, spots)?;
        sockets.extend(bind(&neighbour, [(Spot::Neighbour(NEIGHBOUR), neighbour.address())])?);
        let heard = HashMap::new();
        Ok(Findings::of(&mut Kernel { prober: self, site, inner, neighbour, sockets, heard }))
    }
}

impl Kernel<'_> {
    fn listen(&mut self) {
        let mut buffer = [0; 64];
        for (spot, socket) in self.sockets.iter().chain(&self.prober.sockets) {
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                if let Ok(word) = buffer[..length].try_into() {
                    self.heard.insert((*spot, Word::from_be_bytes(word)), from);
                }
            }
        }
    }
}

impl World for Kernel<'_> {
    fn address(&self, spot: Spot) -> SocketAddr {
        let (address, port) = match spot {
            Spot::Inner(port) => (self.inner.address(), port),
            Spot::Neighbour(port) => (self.neighbour.address(), port),
            Spot::Server(number, port) => (self.prober.server.addresses()[number], port),
        };
        (address, port).into()
    }

    fn outer(&self) -> IpAddr {
        self.site.external_address().into()
    }

    fn send(&mut self, from: Spot, to: SocketAddr) -> Word {
        self.prober.words += 1;
        let word = self.prober.words;
        let socket = self.sockets.get(&from).or_else(|| self.prober.sockets.get(&from));
        // A host that is told at once that this is hopeless may fail to: then it does not arrive.
        let _ = socket.map(|socket| socket.send_to(&word.to_be_bytes(), to));
        word
    }

    fn heard(&mut self, packets: &[(Spot, Word)]) -> Vec<Option<SocketAddr>> {
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            self.listen();
            let heard: Vec<_> = packets.iter().map(|packet| self.heard.get(packet).copied()).collect();
            if heard.iter().all(Option::is_some) || Instant::now() >= deadline {
                return heard;
            }
            let asleep = Instant::now();
            std::thread::sleep(GLANCE);
            deadline += asleep.elapsed() - GLANCE;
        }
    }

    fn connects(&mut self, port: u16) -> bool {
        let to = self.address(Spot::Server(0, port));
        let connected = self.inner.enter(|| TcpStream::connect_timeout(&to, TCP_PATIENCE).is_ok());
        connected.unwrap_or(false)
    }
}

/// Sockets of a host, which can be asked without waiting.
fn bind(
    host: &Host,
    spots: impl IntoIterator<Item = (Spot, Ipv4Addr)>,
) -> Result<HashMap<Spot, UdpSocket>, LabError> {
    let spots: Vec<_> = spots.into_iter().collect();
    let bound = host.enter(|| {
        let bind = |(spot, address): (Spot, Ipv4Addr)| {
            let (Spot::Inner(port) | Spot::Neighbour(port) | Spot::Server(_, port)) = spot;
            let socket = UdpSocket::bind((address, port))?;
            socket.set_nonblocking(true)?;
            Ok((spot, socket))
        };
        spots.into_iter().map(bind).collect::<io::Result<_>>()
    })?;
    bound.map_err(|source| failed("binding", source))
}

fn failed(what: &str, source: io::Error) -> LabError {
    LabError::Io { what: format!("{what} a probe's socket"), source }
}

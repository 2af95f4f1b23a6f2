use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
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
    words: AtomicU32,
    /// What came to the server, for whoever waits for it.
    heard: Mutex<HashMap<(Spot, Word), SocketAddr>>,
}

/// A site, and what was found out about it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Probed {
    /// What it does.
    pub findings: Findings,
    /// What its boxes are made of, from the internet inwards.
    pub made: Vec<Made>,
}

/// One site under the probe.
struct Kernel<'a> {
    prober: &'a Prober,
    site: Site,
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
        let (words, heard) = (AtomicU32::new(0), Mutex::default());
        Ok(Self { server, sockets, _listeners, sites: 0, words, heard })
    }

    /// What sites of these presets do. They are added for that, and probed all at a time.
    ///
    /// # Errors
    /// As [`Lab::add_site`].
    pub fn presets(&mut self, lab: &mut Lab, presets: &[Preset]) -> Result<Vec<Probed>, LabError> {
        self.probe(lab, presets, |lab, name, preset| lab.add_site(name, *preset))
    }

    /// The same for boxes of one's own, a site each.
    ///
    /// # Errors
    /// As [`Lab::add_site`].
    pub fn behaviours(
        &mut self,
        lab: &mut Lab,
        behaviours: &[NatBehaviour],
    ) -> Result<Vec<Probed>, LabError> {
        self.probe(lab, behaviours, |lab, name, behaviour| lab.add_site_behind(name, *behaviour))
    }

    fn probe<T>(
        &mut self,
        lab: &mut Lab,
        wanted: &[T],
        add: impl Fn(&mut Lab, &str, &T) -> Result<Site, LabError>,
    ) -> Result<Vec<Probed>, LabError> {
        let mut stage = |it: &T| {
            self.sites += 1;
            let number = self.sites;
            let mut site = add(lab, &format!("probed{number}"), it)?;
            let inner = lab.add_host(&mut site, &format!("inner{number}"))?;
            let neighbour = lab.add_host(&mut site, &format!("neighbour{number}"))?;
            Ok((site, inner, neighbour))
        };
        let staged = wanted.iter().map(&mut stage).collect::<Result<Vec<_>, LabError>>()?;
        let prober = &*self;
        // Probing is waiting, mostly.
        std::thread::scope(|scope| {
            let site = |(site, inner, neighbour)| scope.spawn(move || prober.site(site, inner, neighbour));
            let probes: Vec<_> = staged.into_iter().map(site).collect();
            let ends = probes.into_iter().map(|probe| match probe.join() {
                Ok(end) => end,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            ends.collect()
        })
    }

    fn site(&self, site: Site, inner: Host, neighbour: Host) -> Result<Probed, LabError> {
        let spots =
            [FOR_MAPPING, FOR_FILTERING, FOR_HAIRPIN].map(|port| (Spot::Inner(port), inner.address()));
        let mut sockets = bind(&inner, spots)?;
        sockets.extend(bind(&neighbour, [(Spot::Neighbour(NEIGHBOUR), neighbour.address())])?);
        let made = site.made().to_vec();
        let heard = HashMap::new();
        let findings = Findings::of(&mut Kernel { prober: self, site, inner, neighbour, sockets, heard });
        Ok(Probed { findings, made })
    }

    /// From where a packet came to the server, if it did.
    fn listen(&self, packet: &(Spot, Word)) -> Option<SocketAddr> {
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        read(&self.sockets, &mut heard);
        heard.get(packet).copied()
    }
}

/// Reads what has come to some sockets.
fn read(sockets: &HashMap<Spot, UdpSocket>, heard: &mut HashMap<(Spot, Word), SocketAddr>) {
    let mut buffer = [0; 64];
    for (spot, socket) in sockets {
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            if let Ok(word) = buffer[..length].try_into() {
                heard.insert((*spot, Word::from_be_bytes(word)), from);
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
        let word = self.prober.words.fetch_add(1, Ordering::Relaxed);
        let socket = self.sockets.get(&from).or_else(|| self.prober.sockets.get(&from));
        // A host that is told at once that this is hopeless may fail to: then it does not arrive.
        let _ = socket.map(|socket| socket.send_to(&word.to_be_bytes(), to));
        word
    }

    fn heard(&mut self, packets: &[(Spot, Word)]) -> Vec<Option<SocketAddr>> {
        let mut deadline = Instant::now() + PATIENCE;
        loop {
            read(&self.sockets, &mut self.heard);
            let from = |packet| self.heard.get(packet).copied().or_else(|| self.prober.listen(packet));
            let heard: Vec<_> = packets.iter().map(from).collect();
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

//! A client that finds out how the NATs between it and some servers behave (RFC 5780).
//!
//! A NAT has two habits that decide who can connect with whom. Its *mapping*: does a socket look the same from all
//! sides, or has it another outer port for each remote end? And its *filtering*: who may send to that port? A server
//! with two addresses and two ports ([`Alternate`](crate::server::Alternate)) can show both: it is asked at several of
//! its addresses, and to answer from others than it was asked at. [`Discovery`] does that with several sockets at
//! once, measures how many packets get lost meanwhile, and takes silence for an answer only where loss does not
//! explain it. With ordinary servers it says what those can tell, and what stays
//! [`Inconclusive`](Behaviour::Inconclusive). It never guesses.
//!
//! ```
//! use sansio::{Machine, Seed, SocketOp, Time};
//! use sterna_stun::discovery::{Config, Discovery};
//!
//! let servers = vec!["198.51.100.1:3478".parse().unwrap()];
//! let mut discovery = Discovery::new(Time::ZERO, Config::new([10, 0, 0, 2].into(), servers, Seed::from(1)));
//! // Its driver opens the sockets, and then it asks.
//! assert!(matches!(discovery.poll_socket(), Some(SocketOp::Bind { .. })));
//! ```

mod conclude;
mod probe;
mod report;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Datagram, Machine, Outbox, Path, Rng, Seed, SocketOp, SocketReply, Ticket, Time, unmapped};

use crate::{ChangeRequest, Class, Message};

use probe::{Asks, Pace, Probe, Purpose, Silence};
pub use report::{
    Aspect, Behaviour, Doubt, Lifetime, Nat, NatReport, Observation, ServerOutcome, ServerReport, Why,
};

/// Servers that are asked; more are left out.
pub const MAX_SERVERS: usize = 8;

/// Whom nobody answers is given up after 2.6 seconds.
const ASK: Pace = Pace {
    gap: Duration::from_millis(200),
    growth: Duration::from_millis(100),
    limit: 6,
    patience: Duration::from_millis(600),
    once: true,
};
/// How often a test is tried before silence is weighed.
const TRIES: u32 = 5;
const GAP: Duration = Duration::from_millis(100);
/// Beginnings of tests are so far apart, that not all arrive at once.
const STAGGER: Duration = Duration::from_millis(7);
/// What the network may delay an answer by beyond the round trip that was measured.
const JITTER: Duration = Duration::from_millis(200);
/// The round trip if none was measured.
const UNKNOWN_RTT: Duration = Duration::from_millis(400);

/// What our sockets are for. Those after the last one sleep, one for each of the times that are tried.
const MAPPING: usize = 0;
const FILTERING: usize = 1;
const PARTNER: usize = 2;
const SILENT: usize = 3;
const SLEEPERS: usize = 4;

/// What a [`Discovery`] is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of ours to ask from. To know whether a NAT translates it, it must be a real one, no wildcard.
    pub local: IpAddr,
    /// The servers, at most [`MAX_SERVERS`]; those of the other family are left out. The first that has two addresses
    /// does the tests that need it.
    pub servers: Vec<SocketAddr>,
    /// What random numbers come from.
    pub seed: Seed,
    /// Whether to try hairpinning.
    pub hairpin: bool,
    /// How many bytes of PADDING to send in a request, to see whether fragments come through: as many as the MTU of the
    /// interface (RFC 5780 §7.6). `None` does not try.
    pub fragments: Option<usize>,
    /// How long to let mappings be idle, at most, to see how long they live. The test takes that time. `None` does not
    /// try.
    pub lifetime: Option<Duration>,
}

impl Config {
    /// Asks all that takes little time.
    pub fn new(local: IpAddr, servers: Vec<SocketAddr>, seed: Seed) -> Self {
        Self { local, servers, seed, hairpin: true, fragments: None, lifetime: None }
    }
}

/// What a [`Discovery`] tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A server sees us as this.
    Answered {
        /// The server.
        server: SocketAddr,
        /// Our outer address.
        mapped: SocketAddr,
    },
    /// All is known that could be known. Its sockets are closed; nothing follows.
    Finished(Box<NatReport>),
}

/// The machine. See the [module's page](self).
#[derive(Debug)]
pub struct Discovery {
    config: Config,
    rng: Rng,
    sockets: Vec<Option<SocketAddr>>,
    probes: Vec<Probe>,
    /// The first server that answered.
    contact: Option<SocketAddr>,
    /// The first server that has another address: both.
    pair: Option<(SocketAddr, SocketAddr)>,
    sleepers: Vec<Sleeper>,
    report: NatReport,
    ops: VecDeque<SocketOp>,
    events: VecDeque<Event>,
    finished: bool,
}

/// A mapping that is left alone for a while.
#[derive(Debug)]
struct Sleeper {
    rest: Duration,
    wake_at: Option<Time>,
    over: bool,
}

impl Discovery {
    /// A machine that asks for its sockets at once, and asks its servers as soon as it has them.
    pub fn new(now: Time, mut config: Config) -> Self {
        config.servers.iter_mut().for_each(|server| *server = unmapped(*server));
        config.servers.retain(|server| server.is_ipv4() == config.local.is_ipv4() && server.port() != 0);
        let mut seen = Vec::new();
        config.servers.retain(|server| {
            !seen.contains(server) && {
                seen.push(*server);
                seen.len() <= MAX_SERVERS
            }
        });
        let sleepers: Vec<_> = config.lifetime.iter().flat_map(|longest| rests(*longest)).collect();
        let mut discovery = Self {
            rng: Rng::new(config.seed),
            sockets: vec![None; SLEEPERS + sleepers.len()],
            probes: Vec::new(),
            contact: None,
            pair: None,
            sleepers,
            report: NatReport::default(),
            ops: VecDeque::new(),
            events: VecDeque::new(),
            finished: false,
            config,
        };
        if discovery.config.servers.is_empty() {
            discovery.sockets.clear();
            discovery.finish();
        } else {
            let local = SocketAddr::new(discovery.config.local, 0);
            let bind = |ticket| SocketOp::Bind { ticket: Ticket(ticket as u64), local };
            discovery.ops.extend((0..discovery.sockets.len()).map(bind));
        }
        let _ = now;
        discovery
    }

    /// What is known so far.
    pub fn report(&self) -> NatReport {
        if self.finished { self.report.clone() } else { self.conclude() }
    }

    /// Whether all is known that could be known.
    pub fn is_finished(&self) -> bool {
        self.finished
    }

    fn started(&self) -> bool {
        !self.finished && self.sockets.iter().all(Option::is_some)
    }

    fn find(&self, purpose: Purpose) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.purpose == purpose)
    }

    fn find_mut(&mut self, purpose: Purpose) -> Option<&mut Probe> {
        self.probes.iter_mut().find(|probe| probe.purpose == purpose)
    }

    /// The outer address that an answer told.
    fn mapped(&self, purpose: Purpose) -> Option<SocketAddr> {
        self.find(purpose)?.answer.as_ref()?.mapped.ok()
    }

    /// Starts a probe, unless it was started before.
    fn start(&mut self, now: Time, purpose: Purpose, socket: usize, to: SocketAddr, asks: Asks, pace: Pace) {
        if self.find(purpose).is_some() {
            return;
        }
        let Some(local) = self.sockets[socket] else { return };
        let waiting = self.probes.iter().filter(|probe| probe.sent == 0).count() as u32;
        let mut probe =
            Probe::new(&mut self.rng, now + STAGGER * waiting, purpose, Path::udp(local, to), asks, pace);
        probe.handle_timeout(now);
        self.probes.push(probe);
    }

    /// How a test is tried: as often as silence needs to be told from loss.
    fn test(&self, once: bool) -> Pace {
        let rtt = self.probes.iter().find_map(|probe| probe.rtt).unwrap_or(UNKNOWN_RTT);
        Pace { gap: GAP, growth: Duration::ZERO, limit: TRIES, patience: rtt * 2 + JITTER, once }
    }

    /// Does what can be done by now. Harmless to call at any time.
    fn advance(&mut self, now: Time) {
        if !self.started() {
            return;
        }
        for index in 0..self.config.servers.len() {
            self.start(now, Purpose::Ask(index), MAPPING, self.config.servers[index], Asks::default(), ASK);
        }
        self.meet();
        if let Some(contact) = self.contact {
            self.start(now, Purpose::Introduce, PARTNER, contact, Asks::default(), self.test(false));
            self.test_behaviour(now);
            self.test_openness(now, contact);
            self.test_hairpin(now);
            self.test_fragments(now, contact);
            self.test_lifetime(now, contact);
        }
        self.weigh();
        if self.probes.iter().all(Probe::ended) && self.sleepers.iter().all(|sleeper| sleeper.over) {
            self.finish();
        }
    }

    /// Takes note of servers that have answered.
    fn meet(&mut self) {
        for index in 0..self.config.servers.len() {
            let server = self.config.servers[index];
            let Some(answer) = self.find(Purpose::Ask(index)).and_then(|probe| probe.answer.as_ref()) else {
                continue;
            };
            if answer.mapped.is_err() {
                continue;
            }
            let other = answer.other.filter(|other| is_other(server, *other));
            self.contact.get_or_insert(server);
            if let Some(other) = other {
                self.pair.get_or_insert((server, other));
            }
        }
    }

    /// Whether every server has answered, or will not.
    fn all_asked(&self) -> bool {
        (0..self.config.servers.len()).all(|index| self.find(Purpose::Ask(index)).is_some_and(Probe::ended))
    }

    /// Mapping tests II and III and filtering tests II and III (RFC 5780 §4.3, §4.4), at once: the latter by a socket
    /// that sends to the server's first address alone, so that nothing lets the answers from the others in.
    ///
    /// The former go on for as long as the latter do. They come from where those answers come from, so they tell
    /// whether that place is heard at all, and how many packets are lost.
    fn test_behaviour(&mut self, now: Time) {
        let Some((server, other)) = self.pair else { return };
        let (control, test, plain) = (self.test(false), self.test(true), Asks::default());
        let changed = |change| Asks { change: Some(change), ..plain };
        let other_port = SocketAddr::new(server.ip(), other.port());
        let other_address = SocketAddr::new(other.ip(), server.port());
        self.start(now, Purpose::ChangeBoth, FILTERING, server, changed(ChangeRequest::BOTH), test);
        self.start(now, Purpose::ChangePort, FILTERING, server, changed(ChangeRequest::PORT), test);
        self.start(now, Purpose::OtherAddress, MAPPING, other_address, plain, ASK);
        self.start(now, Purpose::OtherBoth, MAPPING, other, plain, control);
        self.start(now, Purpose::OtherPort, MAPPING, other_port, plain, control);
    }

    /// Without a NAT: do packets come in that nobody has asked for?
    fn test_openness(&mut self, now: Time, contact: SocketAddr) {
        let Some((server, _)) = self.pair.or(self.all_asked().then_some((contact, contact))) else { return };
        let Some(silent) = self.sockets[SILENT] else { return };
        if self.is_translated(server) == Some(false) {
            let asks = Asks { response_port: Some(silent.port()), ..Asks::default() };
            self.start(now, Purpose::Unsolicited, PARTNER, server, asks, self.test(true));
        }
    }

    /// Two sockets send to each other's outer address. Both do: where a filter lets in only whom one has sent to, the
    /// other's packets get in once one's own are out.
    fn test_hairpin(&mut self, now: Time) {
        let (Some(contact), Some(partner)) = (self.contact, self.mapped(Purpose::Introduce)) else { return };
        let Some(own) = self.mapped_by(contact) else { return };
        if !self.config.hairpin || self.is_translated(contact) != Some(true) {
            return;
        }
        let pace = self.test(true);
        self.start(now, Purpose::Hairpin(0), MAPPING, partner, Asks::default(), pace);
        self.start(now, Purpose::Hairpin(1), PARTNER, own, Asks::default(), pace);
    }

    fn test_fragments(&mut self, now: Time, contact: SocketAddr) {
        let Some((server, _)) = self.pair.or(self.all_asked().then_some((contact, contact))) else { return };
        if let Some(bytes) = self.config.fragments {
            let asks = Asks { padding: Some(bytes), ..Asks::default() };
            self.start(now, Purpose::Fragments, PARTNER, server, asks, self.test(true));
        }
    }

    /// RFC 5780 §4.6, with a socket for each of the times, all at once: it takes as long as the longest.
    fn test_lifetime(&mut self, now: Time, contact: SocketAddr) {
        let Some((server, _)) = self.pair.or(self.all_asked().then_some((contact, contact))) else { return };
        for index in 0..self.sleepers.len() {
            self.start(now, Purpose::Sleep(index), SLEEPERS + index, server, Asks::default(), ASK);
            let Some(sleep) = self.find(Purpose::Sleep(index)).filter(|probe| probe.ended()) else {
                continue;
            };
            let (mapped, last_sent) = (self.mapped(Purpose::Sleep(index)), sleep.last_sent);
            let sleeper = &mut self.sleepers[index];
            let (Some(mapped), Some(last_sent)) = (mapped, last_sent) else {
                sleeper.over = true;
                continue;
            };
            let wake_at = *sleeper.wake_at.get_or_insert(last_sent + sleeper.rest);
            if sleeper.over || wake_at > now {
                continue;
            }
            sleeper.over = true;
            let asks = Asks { response_port: Some(mapped.port()), ..Asks::default() };
            // The one that does not rest is the control.
            self.start(now, Purpose::Rouse(index), PARTNER, server, asks, self.test(index > 0));
        }
        let lost = self.find(Purpose::Rouse(0)).is_some_and(|probe| {
            probe.ended() && probe.answer.as_ref().is_none_or(|answer| answer.mapped.is_err())
        });
        if lost {
            // It does not work at all, so there is nothing to wait for.
            self.sleepers.iter_mut().for_each(|sleeper| sleeper.over = true);
        }
    }

    /// Prolongs what loss has left open, and ends what is clear.
    fn weigh(&mut self) {
        if self.heard(Purpose::Hairpin(0)) || self.heard(Purpose::Hairpin(1)) {
            self.end_all(&[Purpose::Hairpin(0), Purpose::Hairpin(1)]);
        }
        if self.heard(Purpose::ChangeBoth) {
            self.end_all(&[Purpose::ChangePort]);
            for control in [Purpose::OtherBoth, Purpose::OtherPort] {
                if self.heard(control) {
                    self.end_all(&[control]);
                }
            }
            // What was silent until now has nothing to tell any more.
            return self.weigh_pairs(&[
                (Purpose::Unsolicited, Purpose::Introduce),
                (Purpose::Fragments, Purpose::Introduce),
                (Purpose::Hairpin(0), Purpose::Introduce),
                (Purpose::Hairpin(1), Purpose::Introduce),
            ]);
        }
        self.weigh_pairs(&[
            (Purpose::ChangeBoth, Purpose::OtherBoth),
            (Purpose::ChangePort, Purpose::OtherPort),
            (Purpose::Unsolicited, Purpose::Introduce),
            (Purpose::Fragments, Purpose::Introduce),
            (Purpose::Hairpin(0), Purpose::Introduce),
            (Purpose::Hairpin(1), Purpose::Introduce),
        ]);
        for index in 1..self.sleepers.len() {
            self.weigh_pairs(&[(Purpose::Rouse(index), Purpose::Rouse(0))]);
        }
    }

    fn weigh_pairs(&mut self, pairs: &[(Purpose, Purpose)]) {
        for &(test, control) in pairs {
            if self.silence(test, control) == Some(Silence::Doubtful)
                && self.find(control).is_some_and(Probe::ended)
                && self.find_mut(test).is_some_and(Probe::prolong)
                && let Some(control) = self.find_mut(control)
            {
                control.prolong();
            }
        }
    }

    fn silence(&self, test: Purpose, control: Purpose) -> Option<Silence> {
        Some(self.find(test)?.silence(self.find(control)?))
    }

    fn heard(&self, purpose: Purpose) -> bool {
        self.find(purpose).is_some_and(|probe| probe.answered > 0)
    }

    fn end_all(&mut self, purposes: &[Purpose]) {
        self.probes.iter_mut().filter(|probe| purposes.contains(&probe.purpose)).for_each(Probe::end);
    }

    fn finish(&mut self) {
        self.report = self.conclude();
        self.finished = true;
        self.probes.clear();
        let bound = std::mem::take(&mut self.sockets).into_iter().flatten();
        self.ops.extend(bound.map(|local| SocketOp::Unbind { local }));
        self.events.push_back(Event::Finished(Box::new(self.report.clone())));
    }

    /// Takes an answer, if it came the way that its request allows.
    fn handle_answer(&mut self, now: Time, from: Path, message: &Message<'_>) {
        let locals: Vec<u16> = self.sockets.iter().flatten().map(SocketAddr::port).collect();
        let Some(probe) = self.probes.iter_mut().find(|probe| probe.id == message.transaction_id()) else {
            return;
        };
        let same_local = from.local.port() == probe.path.local.port();
        let same_remote = from.remote == probe.path.remote;
        let admissible = match probe.purpose {
            // From wherever: it is looked at where from when the server's other address is known.
            Purpose::ChangeBoth | Purpose::ChangePort => same_local,
            Purpose::Unsolicited | Purpose::Rouse(_) => same_remote && locals.contains(&from.local.port()),
            Purpose::Hairpin(_) => false,
            _ => same_local && same_remote,
        };
        // Who is redirected by an unsigned message is redirected by anybody (RFC 5780 §5).
        if !admissible || !message.unknown_comprehension_required(&[crate::kind::PADDING]).is_empty() {
            return;
        }
        let first = probe.answer.is_none();
        probe.handle_answer(now, from, message);
        let (purpose, server) = (probe.purpose, probe.path.remote);
        let Some(Ok(mapped)) = probe.answer.as_ref().map(|answer| answer.mapped) else {
            // An error is an answer for good.
            probe.end();
            return;
        };
        if first {
            let told = matches!(purpose, Purpose::Ask(_) | Purpose::Introduce | Purpose::Sleep(_))
                || matches!(purpose, Purpose::OtherAddress | Purpose::OtherBoth | Purpose::OtherPort);
            if told {
                self.report.observations.push(Observation { local: from.local, server, mapped });
            }
            if matches!(purpose, Purpose::Ask(_)) {
                self.events.push_back(Event::Answered { server, mapped });
            }
        }
    }

    /// Takes a request: our own, if the NAT turns packets round.
    fn handle_request(&mut self, from: Path, message: &Message<'_>) {
        let ports = [MAPPING, PARTNER].map(|socket| self.sockets[socket].map(|local| local.port()));
        let probe = self.probes.iter_mut().find(|probe| probe.id == message.transaction_id());
        if let Some(probe) = probe
            && let Purpose::Hairpin(sender) = probe.purpose
            && ports[1 - usize::from(sender)] == Some(from.local.port())
        {
            probe.succeed();
        }
    }
}

/// How long mappings rest to see how long they live: one not at all, the last for the longest.
fn rests(longest: Duration) -> Vec<Sleeper> {
    let eighths = [0, 1, 2, 4, 6, 8];
    eighths
        .map(|eighths| Sleeper { rest: longest * eighths / 8, wake_at: None, over: false })
        .into_iter()
        .collect()
}

/// Whether an OTHER-ADDRESS can be what it says. It is a stranger's word, and where it points to is sent to.
fn is_other(server: SocketAddr, other: SocketAddr) -> bool {
    let multicast = other.ip().is_multicast() || other.ip() == IpAddr::from([255, 255, 255, 255]);
    other.is_ipv4() == server.is_ipv4()
        && other.ip() != server.ip()
        && other.port() != server.port()
        && other.port() != 0
        && !other.ip().is_unspecified()
        && !multicast
        && (!other.ip().is_loopback() || server.ip().is_loopback())
}

impl Machine for Discovery {
    type Addr = Path;
    type Event = Event;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, _: &mut dyn Outbox) {
        let Ok(message) = Message::parse(datagram.payload) else { return };
        match message.class() {
            Class::Success | Class::Error => self.handle_answer(now, datagram.from, &message),
            Class::Request => self.handle_request(datagram.from, &message),
            Class::Indication => return,
        }
        self.advance(now);
    }

    fn handle_timeout(&mut self, now: Time) {
        self.probes.iter_mut().for_each(|probe| probe.handle_timeout(now));
        self.advance(now);
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        for probe in &mut self.probes {
            if let Some(bytes) = probe.due() {
                if !out.send_bytes(probe.path, bytes) {
                    return;
                }
                probe.was_sent(now);
            }
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        let sleepers = self.sleepers.iter().filter(|sleeper| !sleeper.over && !self.finished);
        self.probes.iter().filter_map(Probe::next).chain(sleepers.filter_map(|sleeper| sleeper.wake_at)).min()
    }

    fn poll_socket(&mut self) -> Option<SocketOp> {
        self.ops.pop_front()
    }

    fn handle_socket(&mut self, now: Time, reply: SocketReply) {
        match reply {
            SocketReply::Bound { ticket, local } => {
                match self.sockets.get_mut(ticket.0 as usize).filter(|_| !self.finished) {
                    Some(socket) => *socket = Some(local),
                    None => self.ops.push_back(SocketOp::Unbind { local }),
                }
                self.advance(now);
            }
            SocketReply::Failed { error, .. } if !self.finished => {
                self.report.error = Some(error);
                self.finish();
            }
            _ => {}
        }
    }
}

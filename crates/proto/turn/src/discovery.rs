//! Finding a TURN server that the network offers, without being told of one (RFC 8155).
//!
//! A network can point at its relay in three ways, and a client that wants the best chance tries all of them:
//!
//! * **the DNS of its domain**: S-NAPTR records for the service `RELAY`, and behind them, or in their place, SRV records
//!   (RFC 5928);
//! * **DNS service discovery** (RFC 6763): instances of `_turn._udp` and its like, in that domain or, by multicast DNS, in
//!   the local network;
//! * **anycast**: whoever is nearest at [`ANYCAST_V4`] or [`ANYCAST_V6`] tells its real address.
//!
//! [`Discovery`] says what to ask, is told the answers, and says which relays follow from them. It opens no socket and
//! reads no packet.
//!
//! # Whom to trust
//!
//! A relay that was found like this is "only as trusted as the path between the client and the TURN server" (RFC 8155
//! §9): anybody in the network could have answered. It must not be given credentials that are meant for another server,
//! and without credentials of its own it has to be talked to inside TLS, "unless \[the client\] trusts the network
//! infrastructure". [`Relay::is_secured`] says which ones qualify, and [`Relay::identity`] which name the certificate has
//! to carry.
//!
//! ```
//! use sansio::{Seed, Transport};
//! use sterna_turn::discovery::{Config, Discovery, Question, Record, RecordKind};
//!
//! let config = Config { domains: vec!["example.net".into()], ..Config::new(Seed::from(1)) };
//! let mut discovery = Discovery::new(config);
//! let srv = Record::Srv { priority: 0, weight: 0, port: 3478, target: "relay.example.net".into() };
//! while let Some(question) = discovery.poll_question() {
//!     let asked = Question::dns("_turn._udp.example.net", RecordKind::Srv);
//!     let found = if question == asked { vec![srv.clone()] } else { Vec::new() };
//!     discovery.handle_answer(&question, found);
//! }
//! let relays = discovery.relays();
//! assert_eq!(relays[0].url(), "turn:relay.example.net:3478?transport=udp");
//! assert_eq!(relays[0].transport, Transport::Udp);
//! ```

mod naptr;
mod relay;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sansio::{Rng, Seed, Transport};

pub use relay::{Found, Relay};

/// Where the nearest relay listens (RFC 8155 §8.1).
pub const ANYCAST_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 10);
/// The same over IPv6 (RFC 8155 §8.2).
pub const ANYCAST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 1, 0, 0, 0, 0, 0, 2);

/// Whether an address is the anycast address of relays, IPv4's or IPv6's.
pub fn is_anycast(address: IpAddr) -> bool {
    address == ANYCAST_V4 || address == ANYCAST_V6
}

/// Questions that one discovery asks, whatever it is told.
const MAX_QUESTIONS: usize = 64;
/// Records of one answer that count.
const MAX_RECORDS: usize = 32;
/// Relays that are told.
const MAX_RELAYS: usize = 16;
/// Rules that are followed in one look: a hostile domain can make a great many of a few.
const MAX_STEPS: usize = 64;
/// Domains that are looked into.
const MAX_DOMAINS: usize = 4;
/// The domain of multicast DNS (RFC 6762 §3).
const LOCAL: &str = "local";

/// What of a domain is looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// The relays that a network offers (RFC 8155).
    #[default]
    Relays,
    /// The TURN server of a URI with this domain and no port (RFC 5928 §3, without the last step: the addresses of the
    /// domain itself).
    Turn,
    /// The STUN server of such a URI (RFC 8489 §8).
    Stun,
}

/// What a [`Discovery`] is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is looked for: all ways, or the records of the domains alone.
    pub wanted: Wanted,
    /// The domains that this machine is in, the likeliest first; more than four are left out.
    pub domains: Vec<String>,
    /// Whether to look into the local network by multicast DNS.
    pub mdns: bool,
    /// Whether to ask the anycast addresses, over IPv4 and over IPv6. What is sent there may leave the network
    /// (RFC 8155 §9.3).
    pub anycast: [bool; 2],
    /// How this side can talk to relays, the preferred first.
    pub transports: Vec<Transport>,
    /// Draws among SRV records of one priority (RFC 2782).
    pub seed: Seed,
}

impl Config {
    /// All three ways, over all transports; no domain yet.
    pub fn new(seed: Seed) -> Self {
        let transports = vec![Transport::Udp, Transport::Tls, Transport::Tcp];
        Self { wanted: Wanted::Relays, domains: Vec::new(), mdns: true, anycast: [true; 2], transports, seed }
    }
}

/// Something to be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// Records of the DNS; by multicast if [`Question::is_multicast`].
    Dns {
        /// The name, as master files have it: a dot within a label is `\.` (RFC 1035 §5.1).
        name: String,
        /// The records that are wanted.
        kind: RecordKind,
    },
    /// An Allocate request without credentials, to this address.
    Anycast(SocketAddr),
}

impl Question {
    /// A question to the DNS.
    pub fn dns(name: impl Into<String>, kind: RecordKind) -> Self {
        Self::Dns { name: name.into(), kind }
    }

    /// Whether it goes to everybody in the local network (RFC 6762 §3).
    pub fn is_multicast(&self) -> bool {
        matches!(self, Self::Dns { name, .. } if is_local(name))
    }
}

/// Kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// RFC 3403.
    Naptr,
    /// RFC 2782.
    Srv,
    /// An instance of a service (RFC 6763 §4).
    Ptr,
}

/// A piece of an answer. Names are as in [`Question::Dns`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// RFC 3403 §4.1.
    Naptr {
        /// Lower ones are used first.
        order: u16,
        /// Lower ones are preferred within an order.
        preference: u16,
        /// What the replacement is: nothing, `S` or `A`.
        flags: String,
        /// `RELAY:turn.udp` and the like.
        services: String,
        /// Empty in S-NAPTR (RFC 3958 §2.2.1).
        regexp: String,
        /// Where to go on.
        replacement: String,
    },
    /// RFC 2782.
    Srv {
        /// Lower ones are tried first.
        priority: u16,
        /// The share of those of one priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: String,
    },
    /// An instance.
    Ptr(String),
    /// There is a TURN server at the anycast address. It sent us elsewhere, or wants to be logged in at first (`None`).
    Anycast(Option<SocketAddr>),
}

/// The machine. See the [module's page](self).
#[derive(Debug)]
pub struct Discovery {
    config: Config,
    rng: Rng,
    asked: BTreeSet<Question>,
    questions: VecDeque<Question>,
    answers: BTreeMap<Question, Vec<Record>>,
}

impl Discovery {
    /// A discovery with its first questions ready.
    pub fn new(mut config: Config) -> Self {
        config.domains = {
            let mut domains: Vec<String> = Vec::new();
            for domain in &config.domains {
                let domain = domain.trim_end_matches('.').to_ascii_lowercase();
                if relay::is_host(&domain) && !is_local(&domain) && !domains.contains(&domain) {
                    domains.push(domain);
                }
            }
            domains.truncate(MAX_DOMAINS);
            domains
        };
        let mut discovery = Self {
            rng: Rng::new(config.seed),
            asked: BTreeSet::new(),
            questions: VecDeque::new(),
            answers: BTreeMap::new(),
            config,
        };
        discovery.follow();
        discovery
    }

    /// The next thing to ask. Several may be under way at once.
    pub fn poll_question(&mut self) -> Option<Question> {
        self.questions.pop_front()
    }

    /// What came of a question; nothing if there is no such record, or nobody answered. By multicast several may answer,
    /// each in its time.
    pub fn handle_answer(&mut self, question: &Question, mut records: Vec<Record>) {
        if !self.asked.contains(question) {
            return;
        }
        self.draw(&mut records);
        let known = self.answers.entry(question.clone()).or_default();
        for record in records {
            if known.len() < MAX_RECORDS && !known.contains(&record) {
                known.push(record);
            }
        }
        self.follow();
    }

    /// Whether everything was answered, and nothing is left to ask.
    pub fn is_finished(&self) -> bool {
        self.questions.is_empty() && self.asked.iter().all(|question| self.answers.contains_key(question))
    }

    /// The relays that follow from the answers so far, the preferred first.
    pub fn relays(&self) -> Vec<Relay> {
        let mut relays: Vec<Relay> = Vec::new();
        for relay in self.look().0 {
            if relays.len() < MAX_RELAYS && !relays.iter().any(|other| other.url() == relay.url()) {
                relays.push(relay);
            }
        }
        relays
    }

    /// Asks what the answers so far give occasion to ask.
    fn follow(&mut self) {
        for question in self.look().1 {
            if self.asked.len() < MAX_QUESTIONS && self.asked.insert(question.clone()) {
                self.questions.push_back(question);
            }
        }
    }

    /// What follows from the answers, and what is missing: the whole discovery, told from its beginning each time.
    fn look(&self) -> (Vec<Relay>, Vec<Question>) {
        let (config, answers) = (&self.config, &self.answers);
        let look = Look { config, answers, missing: RefCell::default(), steps: Cell::new(0) };
        let mut relays = Vec::new();
        for domain in &self.config.domains {
            relays.extend(match self.config.wanted {
                Wanted::Relays | Wanted::Turn => look.resolved(domain),
                Wanted::Stun => look.services(domain),
            });
        }
        if self.config.wanted != Wanted::Relays {
            return (relays, look.missing.into_inner());
        }
        for domain in &self.config.domains {
            relays.extend(look.instances(domain));
        }
        if self.config.mdns {
            relays.extend(look.instances(LOCAL));
        }
        let anycast: [IpAddr; 2] = [ANYCAST_V4.into(), ANYCAST_V6.into()];
        for (address, _) in anycast.into_iter().zip(self.config.anycast).filter(|(_, wanted)| *wanted) {
            relays.extend(look.anycast(SocketAddr::new(address, relay::PORT)));
        }
        (relays, look.missing.into_inner())
    }

    /// Brings SRV records into the order in which they are used: by priority, and within one by lot, in which a weight is
    /// a number of tickets (RFC 2782).
    fn draw(&mut self, records: &mut Vec<Record>) {
        let mut left: Vec<Record> = std::mem::take(records);
        let priority = |record: &Record| match record {
            Record::Srv { priority, .. } => *priority,
            _ => 0,
        };
        let weight = |record: &Record| match record {
            // One of no weight has a very small chance beside others.
            Record::Srv { weight, .. } => u64::from(*weight) * 1000 + 1,
            _ => 1,
        };
        left.truncate(MAX_RECORDS);
        while let Some(lowest) = left.iter().map(priority).min() {
            let total: u64 = left.iter().filter(|one| priority(one) == lowest).map(weight).sum();
            let mut ticket = self.rng.below(total);
            let drawn = left.iter().position(|one| {
                let weight = weight(one);
                priority(one) == lowest && {
                    let ours = ticket < weight;
                    ticket = ticket.saturating_sub(weight);
                    ours
                }
            });
            records.push(left.remove(drawn.unwrap_or(0)));
        }
    }
}

/// One look at the answers.
struct Look<'a> {
    config: &'a Config,
    answers: &'a BTreeMap<Question, Vec<Record>>,
    missing: RefCell<Vec<Question>>,
    steps: Cell<usize>,
}

impl<'a> Look<'a> {
    /// The answer to a question; `None` if it has still to be asked, or is under way.
    fn ask(&self, question: Question) -> Option<&'a [Record]> {
        let answer = self.answers.get(&question);
        if answer.is_none() {
            self.missing.borrow_mut().push(question);
        }
        answer.map(Vec::as_slice)
    }

    /// What the SRV records of `name` lead to.
    fn servers(&self, name: String, transport: Transport, identity: &str, found: Found) -> Vec<Relay> {
        let records = self.ask(Question::dns(name, RecordKind::Srv)).unwrap_or_default();
        let relay = |record: &Record| match record {
            // "A Target of "." means that the service is decidedly not available at this domain" (RFC 2782).
            Record::Srv { port, target, .. } => Relay::new(target, *port, transport, identity, found),
            _ => None,
        };
        records.iter().filter_map(relay).collect()
    }

    /// RFC 5928 §3, step 5, and RFC 8489 §8: SRV records of the domain itself.
    fn services(&self, domain: &str) -> Vec<Relay> {
        let of = |transport: &Transport| {
            let service = match self.config.wanted {
                Wanted::Relays | Wanted::Turn => relay::service(*transport),
                Wanted::Stun => relay::stun_service(*transport),
            };
            self.servers(format!("{service}.{domain}"), *transport, domain, Found::Dns)
        };
        self.config.transports.iter().flat_map(of).collect()
    }

    /// DNS service discovery (RFC 8155 §5).
    fn instances(&self, domain: &str) -> Vec<Relay> {
        let found = if domain == LOCAL { Found::Mdns } else { Found::DnsSd };
        let mut relays = Vec::new();
        for transport in &self.config.transports {
            let service = format!("{}.{domain}", relay::service(*transport));
            let instances = self.ask(Question::dns(service.as_str(), RecordKind::Ptr)).unwrap_or_default();
            for instance in instances {
                let Record::Ptr(instance) = instance else { continue };
                // An instance is one of the service that was asked for, and in the same domain.
                let end = format!(".{service}");
                let instance = instance.trim_end_matches('.');
                let at = instance.len().checked_sub(end.len()).filter(|at| instance.is_char_boundary(*at));
                if at.is_some_and(|at| instance[at..].eq_ignore_ascii_case(&end)) {
                    let identity = if found == Found::Mdns { "" } else { domain };
                    relays.extend(self.servers(instance.to_owned(), *transport, identity, found));
                }
            }
        }
        relays
    }

    fn anycast(&self, address: SocketAddr) -> Option<Relay> {
        let Record::Anycast(alternate) = self.ask(Question::Anycast(address))?.first()? else { return None };
        let server = alternate.unwrap_or(address);
        Relay::new(&server.ip().to_string(), server.port(), Transport::Udp, "", Found::Anycast)
    }
}

fn is_local(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case(LOCAL))
}

//! A client that asks a server for its own address, as the world sees it.
//!
//! It asks until it is answered, signs if the server wants that and there is an account, and follows the
//! server to another one (RFC 8489 §10).
//!
//! ```
//! use sansio::{Batches, Datagram, Machine, Path, Seed, Time};
//! use sterna_stun::{client::{Client, Config, Event}, server::Server};
//!
//! let path = Path::udp("198.51.100.7:4000".parse().unwrap(), "192.0.2.1:3478".parse().unwrap());
//! let mut client = Client::new(Time::ZERO, Config::new(path, Seed::from(1)));
//! let (mut to_server, mut to_client) = (Batches::new(1500), Batches::new(1500));
//! client.poll_transmit(Time::ZERO, &mut to_server);
//! let mut request = to_server.pop().unwrap();
//! let from = request.path.reversed();
//! Server::default().handle_datagram(Time::ZERO, Datagram { from, payload: &mut request.bytes }, &mut to_client);
//! let mut answer = to_client.pop().unwrap();
//! client.handle_datagram(Time::ZERO, Datagram { from: path, payload: &mut answer.bytes }, &mut to_server);
//!
//! let Some(Event::Mapped(mapped)) = client.poll_event() else { panic!() };
//! assert_eq!(mapped.address, path.local);
//! ```

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Datagram, Machine, Outbox, Path, Rng, Seed, Time, Transport, unmapped};

use crate::credential::{Challenged, LongTerm, Refusal};
use crate::transaction::{Cause, Request, Response, Timing, Transactions};
use crate::{Class, Message, Method, RttEstimate, kind};

/// How often the client follows a server to another one.
const MAX_REDIRECTS: usize = 2;
/// How long a server counts as asked already (RFC 8489 §10).
const REDIRECT_MEMORY: Duration = Duration::from_secs(300);

/// What a client is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The way to the server.
    pub server: Path,
    /// What random numbers come from.
    pub seed: Seed,
    /// When to ask again, and when to give up.
    pub timing: Timing,
    /// Username and password, for servers that ask for them.
    pub account: Option<(String, String)>,
    /// What to call ourselves. Nothing by default.
    pub software: Option<String>,
}

impl Config {
    /// Asks by this path, without an account.
    pub fn new(server: Path, seed: Seed) -> Self {
        Self { server, seed, timing: Timing::default(), account: None, software: None }
    }
}

/// What a client tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The server has answered.
    Mapped(Mapped),
    /// There is no answer, and the client has stopped asking.
    Failed(Failure),
}

/// The answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapped {
    /// Our address as the server sees it.
    pub address: SocketAddr,
    /// The way to the server that has answered: another than the configured one after a redirection.
    pub server: Path,
    /// How long the answer took, if that can be told.
    pub rtt: Option<Duration>,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Failure {
    /// No usable response came.
    #[error("{0}")]
    NoAnswer(Cause),
    /// The server said no.
    #[error("the server refused: {code} {reason}")]
    Refused {
        /// Its error code.
        code: u16,
        /// Its words.
        reason: String,
    },
    /// The account is of no use.
    #[error("{0}")]
    Credentials(Refusal),
    /// The server sends us elsewhere, and we cannot follow: over a stream that takes a new connection.
    #[error("the server refers to {to}")]
    Redirected {
        /// The other server.
        to: SocketAddr,
        /// The name on its certificate, if it is another.
        domain: Option<String>,
    },
    /// The servers send us in circles, or too far.
    #[error("the servers refer to each other")]
    RedirectionLoop,
    /// The answer has no address in it.
    #[error("the answer has no address in it")]
    NoAddress,
}

/// The machine: one server, one question, asked as often as [`Client::ask`] is called.
#[derive(Debug)]
pub struct Client {
    server: Path,
    rng: Rng,
    software: Option<String>,
    account: Option<LongTerm>,
    transactions: Transactions<()>,
    rtt: RttEstimate,
    /// Servers asked so far, and when.
    asked: Vec<(SocketAddr, Time)>,
    events: VecDeque<Event>,
}

impl Client {
    /// A client that asks at once.
    pub fn new(now: Time, config: Config) -> Self {
        let Config { server, seed, timing, account, software } = config;
        let mut client = Self {
            server,
            rng: Rng::new(seed),
            software,
            account: account.map(|(username, password)| LongTerm::new(username, password)),
            transactions: Transactions::new(timing, &[]),
            rtt: RttEstimate::default(),
            asked: Vec::new(),
            events: VecDeque::new(),
        };
        client.ask(now);
        client
    }

    /// Asks (again), unless a question is under way: keeps the NAT's binding, and notices when it changes.
    pub fn ask(&mut self, now: Time) {
        if !self.transactions.is_empty() {
            return;
        }
        self.asked.retain(|&(_, at)| now.since(at) < REDIRECT_MEMORY);
        if !self.asked.iter().any(|&(server, _)| server == self.server.remote) {
            self.asked.push((self.server.remote, now));
        }
        let mut request = Request::new(self.server, Method::BINDING);
        request.rto = self.rtt.rto(now);
        if let Some(account) = &self.account {
            request.protection = account.protection();
        }
        let started = self.transactions.start(now, &mut self.rng, request, (), |writer| {
            if let Some(software) = &self.software {
                writer.string(kind::SOFTWARE, software);
            }
            if let Some(account) = &self.account {
                account.sign(writer);
            }
        });
        if started.is_err() {
            // Only texts of absurd length get here: realm and nonce are the server's.
            self.fail(Failure::Credentials(Refusal::Malformed));
        }
    }

    fn answered(&mut self, now: Time, message: &Message<'_>, response: Response<()>) {
        if let Some(rtt) = response.rtt {
            self.rtt.sample(now, rtt);
        }
        if message.class() == Class::Error {
            return self.refused(now, message, &response);
        }
        if let Some(account) = &mut self.account {
            account.handle_success();
        }
        match message.xor_mapped_address().or_else(|| message.mapped_address()) {
            Some(address) => {
                let mapped = Mapped { address: unmapped(address), server: self.server, rtt: response.rtt };
                self.events.push_back(Event::Mapped(mapped));
            }
            None => self.fail(Failure::NoAddress),
        }
    }

    fn refused(&mut self, now: Time, message: &Message<'_>, response: &Response<()>) {
        let Some(error) = message.error_code() else { return self.fail(Failure::NoAddress) };
        let request = Message::parse(&response.request).expect("what was sent parses");
        // Who is redirected by an unsigned message is redirected by anybody (RFC 8489 §14.8, 300).
        if error.code == 300
            && response.authenticated
            && let Some(to) = message.alternate_server()
        {
            return self.redirected(now, unmapped(to), message.alternate_domain());
        }
        match self.account.as_mut().map(|account| account.handle_error(&request, message)) {
            Some(Challenged::Retry) => self.ask(now),
            Some(Challenged::Refused(refusal)) => self.fail(Failure::Credentials(refusal)),
            Some(Challenged::OtherError) | None => {
                self.fail(Failure::Refused { code: error.code, reason: error.reason.to_owned() });
            }
        }
    }

    fn redirected(&mut self, now: Time, to: SocketAddr, domain: Option<&str>) {
        if self.server.transport != Transport::Udp {
            return self.fail(Failure::Redirected { to, domain: domain.map(str::to_owned) });
        }
        let known = self.asked.iter().any(|&(server, at)| server == to && now.since(at) < REDIRECT_MEMORY);
        if known || self.asked.len() > MAX_REDIRECTS || to.is_ipv4() != self.server.remote.is_ipv4() {
            return self.fail(Failure::RedirectionLoop);
        }
        self.server = Path::udp(self.server.local, to);
        self.rtt = RttEstimate::default();
        self.ask(now);
    }

    fn fail(&mut self, failure: Failure) {
        self.events.push_back(Event::Failed(failure));
    }

    fn drain(&mut self) {
        while let Some(failed) = self.transactions.poll_failed() {
            self.fail(Failure::NoAnswer(failed.cause));
        }
    }
}

impl Machine for Client {
    type Addr = Path;
    type Event = Event;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, _: &mut dyn Outbox) {
        let Ok(message) = Message::parse(datagram.payload) else { return };
        if let Ok(response) = self.transactions.handle_response(now, &message, datagram.from) {
            self.answered(now, &message, response);
        }
        self.drain();
    }

    fn handle_timeout(&mut self, now: Time) {
        self.transactions.handle_timeout(now);
        self.drain();
    }

    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.transactions.poll_transmit(now, out);
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn poll_timeout(&self) -> Option<Time> {
        self.transactions.poll_timeout()
    }
}

//! A server that tells everybody their address: the basic STUN server of RFC 8489 §12.
//!
//! It keeps no state about anybody, asks for no credentials (RFC 8489 §12), and cannot be turned into a weapon: it
//! answers well-formed requests only, with one datagram each, of at most [`AMPLIFICATION`] times the request's bytes
//! and mostly hardly more than those, and over UDP one source gets no more than its share of them ([`Throttle`]).
//!
//! With two addresses and two ports ([`Config::alternate`]) it also helps clients to find out how their NAT behaves
//! (RFC 5780): see [`Alternate`] for what that costs, and [`discovery`](crate::discovery) for the client.
//!
//! ```
//! use sansio::{Batches, Datagram, Machine, Path, Time};
//! use sterna_stun::{Class, Message, MessageWriter, Method, TransactionId, server::Server};
//!
//! let mut server = Server::default();
//! let from = Path::udp("192.0.2.1:3478".parse().unwrap(), "198.51.100.7:4000".parse().unwrap());
//! let mut request = [0; 20];
//! MessageWriter::new(&mut request, Class::Request, Method::BINDING, TransactionId([7; 12])).finish().unwrap();
//! let mut out = Batches::new(1500);
//! server.handle_datagram(Time::ZERO, Datagram { from, payload: &mut request }, &mut out);
//!
//! let answer = out.pop().unwrap();
//! assert_eq!(Message::parse(&answer.bytes).unwrap().xor_mapped_address(), Some(from.remote));
//! ```

mod alternate;
mod classic;
mod partner;
mod throttle;

use std::convert::Infallible;

use sansio::{Datagram, Machine, Outbox, Path, Rng, Seed, Time};

use crate::{Class, Message, MessageWriter, Method, WriteError, kind};

pub use alternate::{Alternate, AlternateError};
pub use classic::is_classic_request;
pub use partner::{Partner, PartnerSecret};
pub use throttle::Throttle;

/// Whoever has not shown that he receives what is sent to his address gets no answer that has more than so many times
/// the bytes of his question: his question may carry somebody else's address.
pub const AMPLIFICATION: usize = 4;

/// Unauthenticated answers that one source gets in a second unless told otherwise.
const ANSWERS_PER_SECOND: u32 = 100;
/// Bytes of a FINGERPRINT attribute.
const FINGERPRINT_BYTES: usize = 8;

/// The longest SOFTWARE that is sent.
const MAX_SOFTWARE_BYTES: usize = 64;

/// No answer is longer: header, an IPv6 address (or an error with its list), FINGERPRINT, and SOFTWARE if it
/// is set.
///
/// Without SOFTWARE an answer has at most 24 bytes more than its request over IPv6 and 12 over IPv4;
/// FINGERPRINT is added only to answers of requests that carry it, SOFTWARE only where [`AMPLIFICATION`] leaves room.
pub const MAX_ANSWER_BYTES: usize = 20 + 28 + 8 + 4 + MAX_SOFTWARE_BYTES;

/// What a server can be told.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to call ourselves, cut after 64 bytes. Off by default: it makes every answer longer, and helps
    /// those who look for old versions.
    pub software: Option<String>,
    /// Our other address and other port, for NAT behaviour discovery.
    pub alternate: Option<Alternate>,
    /// Where the second address of [`Config::alternate`] is another machine's: what the two share, and a seed of this one.
    pub partner: Option<(PartnerSecret, Seed)>,
    /// Answers that one source over UDP gets in a second: see [`Throttle`].
    pub answers_per_second: u32,
    /// Secret: with it nobody outside knows which sources share a limit.
    pub seed: Seed,
}

impl Config {
    /// The usual settings.
    pub fn new(seed: Seed) -> Self {
        Self { software: None, alternate: None, partner: None, answers_per_second: ANSWERS_PER_SECOND, seed }
    }
}

impl Default for Config {
    /// The usual settings with a seed that everybody knows: for tests.
    fn default() -> Self {
        Self::new(Seed::from(0))
    }
}

/// The machine. One may serve any number of sockets.
#[derive(Debug)]
pub struct Server {
    software: Option<String>,
    alternate: Option<Alternate>,
    partner: Option<Partner>,
    throttle: Throttle,
    counters: Counters,
}

impl Default for Server {
    /// With [`Config::default`]: for tests.
    fn default() -> Self {
        Self::new(Config::default())
    }
}

/// What became of the datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// Answered with an address.
    pub answered: u64,
    /// Answered with 420 or 400: they had attributes that must be comprehended and are not, or that go not together.
    pub refused: u64,
    /// Dropped: not a STUN message, or with a wrong FINGERPRINT.
    pub malformed: u64,
    /// From the other node, or as if, whether they were answered or not.
    pub partner: u64,
    /// Dropped: an indication or a response, which nobody may answer.
    pub unanswerable: u64,
    /// Dropped: a request of a method that we do not have.
    pub other_methods: u64,
    /// Dropped: there was no room for the answer.
    pub no_room: u64,
    /// Dropped: the source had had its share of answers.
    pub throttled: u64,
}

impl Server {
    /// A server.
    pub fn new(config: Config) -> Self {
        let software = config.software.map(|mut text| {
            let end = (0..=MAX_SOFTWARE_BYTES).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(end);
            text
        });
        let partner = config.alternate.zip(config.partner);
        let partner = partner.map(|(alternate, (secret, seed))| Partner::new(alternate, secret, seed));
        let throttle = Throttle::new(config.answers_per_second, &mut Rng::new(config.seed));
        Self { software, alternate: config.alternate, partner, throttle, counters: Counters::default() }
    }

    /// What became of the datagrams so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Answers a message that came by `from`, if it is a Binding request: for machines that share a socket
    /// with this one.
    pub fn handle_message(&mut self, now: Time, message: &Message<'_>, from: Path, out: &mut dyn Outbox) {
        let counter = match (message.class(), message.method()) {
            _ if message.has_fingerprint() && !message.check_fingerprint() => &mut self.counters.malformed,
            (Class::Request, Method::BINDING) if !self.throttle.allows_answer(now, from) => {
                &mut self.counters.throttled
            }
            (Class::Request, Method::BINDING) => {
                let software = self.software.as_deref();
                let (sent, refused) = match (&self.alternate, &mut self.partner) {
                    (Some(alternate), Some(partner)) => {
                        (partner.answer(now, message, from, software, out), alternate.refuses(message, from))
                    }
                    (Some(alternate), None) => {
                        (alternate.answer(message, from, software, out), alternate.refuses(message, from))
                    }
                    (None, _) => {
                        let sent = out.send(from, MAX_ANSWER_BYTES, &mut |buffer| {
                            answer_binding(message, from, software, buffer).unwrap_or(0)
                        });
                        (sent, !message.unknown_comprehension_required(&[]).is_empty())
                    }
                };
                match (sent, refused) {
                    (false, _) => &mut self.counters.no_room,
                    (true, true) => &mut self.counters.refused,
                    (true, false) => &mut self.counters.answered,
                }
            }
            (Class::Request, _) => &mut self.counters.other_methods,
            _ => {
                let software = self.software.as_deref();
                let partner = self.partner.as_mut();
                match partner.is_some_and(|it| it.handle(now, message, from, software, out)) {
                    true => &mut self.counters.partner,
                    false => &mut self.counters.unanswerable,
                }
            }
        };
        *counter += 1;
    }
}

/// Writes the answer to a Binding request that came by `from` (RFC 8489 §6.3.1), for machines that answer on
/// their own.
///
/// # Errors
/// If `buffer` is too small; [`MAX_ANSWER_BYTES`] always do.
pub fn answer_binding(
    request: &Message<'_>,
    from: Path,
    software: Option<&str>,
    buffer: &mut [u8],
) -> Result<usize, WriteError> {
    let unknown = request.unknown_comprehension_required(&[]);
    let class = if unknown.is_empty() { Class::Success } else { Class::Error };
    let mut writer = MessageWriter::answer(bounded(buffer, request.bytes()), class, request);
    if unknown.is_empty() {
        writer.xor_address(kind::XOR_MAPPED_ADDRESS, from.remote);
    } else {
        writer.error_code(420, "").unknown_attributes(&unknown);
    }
    finish(writer, software, request.has_fingerprint())
}

/// As much of `buffer` as the answer to a stranger's `request` may take.
pub fn bounded<'b>(buffer: &'b mut [u8], request: &[u8]) -> &'b mut [u8] {
    let most = buffer.len().min(AMPLIFICATION * request.len());
    &mut buffer[..most]
}

/// What every answer ends with.
fn finish(
    mut writer: MessageWriter<'_>,
    software: Option<&str>,
    fingerprint: bool,
) -> Result<usize, WriteError> {
    let reserve = if fingerprint { FINGERPRINT_BYTES } else { 0 };
    if let Some(software) = software {
        writer.if_it_fits(reserve, |writer| _ = writer.string(kind::SOFTWARE, software));
    }
    if fingerprint {
        writer.fingerprint();
    }
    writer.finish()
}

impl Machine for Server {
    type Addr = Path;
    type Event = Infallible;

    fn handle_datagram(&mut self, now: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        let Datagram { from, payload } = datagram;
        let Ok(message) = Message::parse(payload) else {
            if self.alternate.is_none() || !is_classic_request(payload) {
                return self.counters.malformed += 1;
            }
            if !self.throttle.allows_answer(now, from) {
                return self.counters.throttled += 1;
            }
            let sent = match (&self.alternate, &mut self.partner) {
                (_, Some(partner)) => partner.answer_classic(now, payload, from, out),
                (alternate, None) => alternate.and_then(|it| it.answer_classic(payload, from, out)),
            };
            return match sent {
                Some(true) => self.counters.answered += 1,
                Some(false) => self.counters.no_room += 1,
                None => self.counters.malformed += 1,
            };
        };
        self.handle_message(now, &message, from, out);
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_transmit(&mut self, _: Time, _: &mut dyn Outbox) {}

    fn poll_event(&mut self) -> Option<Infallible> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

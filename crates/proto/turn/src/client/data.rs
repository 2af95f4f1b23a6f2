use sansio::{Outbox, Path, Rng, Seed, Time};
use stun::credential::{Challenged, LongTerm};
use stun::transaction::{Request, Timing, Transactions};
use stun::{Class, Message, Method, kind};

use super::answer::{MAX_TIMES, reason};

/// A client's connection to its server that is about to be joined with a peer's (RFC 6062 §4.3, §4.4). Made by
/// [`Client::data_connection`](super::Client::data_connection).
///
/// Its owner has opened a stream to the address of the control connection. He hands in what comes, frame by frame, until it
/// is [`Joining::Joined`]; what comes after that is the peer's, as it is, and so is what he sends.
#[derive(Debug)]
pub struct DataConnection {
    path: Path,
    connection: u32,
    rng: Rng,
    long_term: LongTerm,
    transactions: Transactions<u8>,
    state: Joining,
}

/// How far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    /// The server has not answered.
    Asking,
    /// From here on it is the peer's.
    Joined,
    /// It will not be.
    Refused {
        /// The server's error code; `None` if it did not answer.
        code: Option<u16>,
        /// The server's words, or ours where it had none.
        reason: String,
    },
}

impl DataConnection {
    pub(super) fn new(now: Time, path: Path, connection: u32, long_term: LongTerm, seed: Seed) -> Self {
        let transactions = Transactions::new(Timing::default(), &[]);
        let state = Joining::Asking;
        let mut data = Self { path, connection, rng: Rng::new(seed), long_term, transactions, state };
        data.ask(now, 1);
        data
    }

    /// How far it is.
    pub fn state(&self) -> &Joining {
        &self.state
    }

    /// Writes what is to be sent.
    pub fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox) {
        self.transactions.poll_transmit(now, out);
    }

    /// When [`DataConnection::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Time> {
        self.transactions.poll_timeout()
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: Time) {
        self.transactions.handle_timeout(now);
        self.settle();
    }

    /// Takes a frame that the server sent.
    pub fn handle_frame(&mut self, now: Time, frame: &[u8]) {
        let Ok(message) = Message::parse(frame) else { return };
        if let Ok(response) = self.transactions.handle_response(now, &message, self.path) {
            if message.class() == Class::Success {
                self.state = Joining::Joined;
                return;
            }
            let sent = Message::parse(&response.request).expect("what we wrote parses");
            match self.long_term.handle_error(&sent, &message) {
                Challenged::Retry if response.token < MAX_TIMES => self.ask(now, response.token + 1),
                _ => {
                    let (code, reason) = reason(&message);
                    self.state = Joining::Refused { code: Some(code), reason };
                }
            }
        }
        self.settle();
    }

    fn ask(&mut self, now: Time, times: u8) {
        let mut request = Request::new(self.path, Method::CONNECTION_BIND);
        request.protection = self.long_term.protection();
        let (connection, long_term) = (self.connection, &self.long_term);
        let started = self.transactions.start(now, &mut self.rng, request, times, |writer| {
            writer.u32(kind::CONNECTION_ID, connection);
            long_term.sign(writer);
        });
        if started.is_err() {
            let reason = "username, realm and nonce do not fit into a request".to_owned();
            self.state = Joining::Refused { code: None, reason };
        }
    }

    fn settle(&mut self) {
        while let Some(failed) = self.transactions.poll_failed() {
            self.state = Joining::Refused { code: None, reason: failed.cause.to_string() };
        }
    }
}

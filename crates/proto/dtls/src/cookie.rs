//! Cookies: how a server learns that a client is where it says, before it keeps anything of it (RFC 6347 §4.2.1).
//!
//! The engine has such an exchange of its own, but as a part of each association: it would have to be made for every
//! address that anybody writes into a datagram. Ours is done before there is an engine. The engine then gets to see the
//! hello with the cookie, and in front of it the one without, which is the same but for that; what it answers to that
//! one is thrown away, and when it asks whether the cookie is right ([`Cookies`]), it is told so. That it goes through
//! the motions matters: messages count on from there, and their numbers are part of what both sides sign.

use std::cell::Cell;
use std::time::Duration;

use crypto::HmacSha256Key;
use dimpl::crypto::{HashAlgorithm, HmacProvider, aws_lc_rs};
use dimpl::{CryptoError, Error};
use sansio::Time;

use crate::Hello;
use crate::record::{CLIENT_HELLO, HANDSHAKE, HEADER, MESSAGE_HEADER, NUMBER};

/// Bytes of a cookie.
pub(crate) const COOKIE: usize = 32;
/// A cookie is good for one to two of these.
const TICK: Duration = Duration::from_secs(30);
/// Bytes of what a hello without a cookie is answered: a record with a message with a version and a cookie.
pub const CHALLENGE_BYTES: usize = HEADER + MESSAGE_HEADER + 2 + 1 + COOKIE;
const HELLO_VERIFY_REQUEST: u8 = 3;
const VERSION: usize = 2;
const RANDOM: usize = 32;

/// What a hello's datagram says, in one record and one fragment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spoken<'a> {
    datagram: &'a [u8],
    pub(crate) random: &'a [u8],
    pub(crate) cookie: &'a [u8],
    /// Where the cookie's length stands.
    at: usize,
}

impl<'a> Spoken<'a> {
    /// `None`: it is no hello, or one in several pieces, which nobody could put together without keeping them.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let header = datagram.first_chunk::<HEADER>()?;
        let record = datagram.get(HEADER..)?;
        let is_plain = header[0] == HANDSHAKE && header[1] == 0xfe && header[3..5] == [0, 0];
        if !is_plain || usize::from(u16::from_be_bytes([header[11], header[12]])) != record.len() {
            return None;
        }
        let message = record.first_chunk::<MESSAGE_HEADER>()?;
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let whole = record.len() - MESSAGE_HEADER;
        let (length, from, bytes) = (number(&message[1..4]), number(&message[6..9]), number(&message[9..12]));
        if message[0] != CLIENT_HELLO || (length, from, bytes) != (whole, 0, whole) {
            return None;
        }
        let random = HEADER + MESSAGE_HEADER + VERSION;
        let session = random + RANDOM;
        let at = session + 1 + usize::from(*datagram.get(session)?);
        let length = usize::from(*datagram.get(at)?);
        let cookie = datagram.get(at + 1..at + 1 + length)?;
        // Suites and compressions follow.
        (datagram.len() >= at + 1 + length + 5).then_some(Self {
            datagram,
            random: &datagram[random..session],
            cookie,
            at,
        })
    }

    /// The sequence number of its record.
    pub(crate) fn number(&self) -> u64 {
        self.datagram[NUMBER].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// As the client has said it before, without a cookie and as its first message.
    pub(crate) fn without_cookie(&self) -> Vec<u8> {
        let rest = self.at + 1 + self.cookie.len();
        let mut first = [&self.datagram[..self.at], &[0], &self.datagram[rest..]].concat();
        first[NUMBER].fill(0);
        let record = first.len() - HEADER;
        let message = ((record - MESSAGE_HEADER) as u32).to_be_bytes();
        first[HEADER - 2..HEADER].copy_from_slice(&(record as u16).to_be_bytes());
        let header = &mut first[HEADER..HEADER + MESSAGE_HEADER];
        header[1..4].copy_from_slice(&message[1..]);
        header[4..6].fill(0);
        header[9..12].copy_from_slice(&message[1..]);
        first
    }

    /// A HelloVerifyRequest, with the number of what it answers.
    pub(crate) fn challenge(&self, cookie: &[u8; COOKIE]) -> [u8; CHALLENGE_BYTES] {
        let mut answer = [0; CHALLENGE_BYTES];
        let (record, rest) = answer.split_at_mut(HEADER);
        record[..3].copy_from_slice(&[HANDSHAKE, 0xfe, 0xfd]);
        record[NUMBER].copy_from_slice(&self.datagram[NUMBER]);
        record[HEADER - 1] = rest.len() as u8;
        let (header, body) = rest.split_at_mut(MESSAGE_HEADER);
        header[0] = HELLO_VERIFY_REQUEST;
        (header[3], header[11]) = (body.len() as u8, body.len() as u8);
        // "The server_version field in the HelloVerifyRequest message MUST be set to DTLS 1.0", whatever follows.
        body[..3].copy_from_slice(&[0xfe, 0xff, COOKIE as u8]);
        body[3..].copy_from_slice(cookie);
        answer
    }
}

/// Makes cookies, and knows its own again.
#[derive(Clone, Debug)]
pub(crate) struct Baker(HmacSha256Key);

impl Baker {
    pub(crate) fn new(key: &[u8]) -> Self {
        Self(HmacSha256Key::new(key))
    }

    pub(crate) fn bake(&self, now: Time, source: &[u8], random: &[u8]) -> [u8; COOKIE] {
        self.of_tick(tick(now), source, random)
    }

    /// Whether the cookie was made for this source, not long ago.
    pub(crate) fn knows(&self, now: Time, source: &[u8], spoken: &Spoken<'_>) -> bool {
        let now = tick(now);
        [Some(now), now.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|tick| crypto::equal(&self.of_tick(tick, source, spoken.random), spoken.cookie))
    }

    fn of_tick(&self, tick: u64, source: &[u8], random: &[u8]) -> [u8; COOKIE] {
        self.0.sign(&[&tick.to_be_bytes(), random, source])
    }
}

fn tick(now: Time) -> u64 {
    now.elapsed().as_secs() / TICK.as_secs()
}

thread_local! {
    /// The cookie that the engine is about to ask for on this thread.
    static RIGHT: Cell<Option<[u8; COOKIE]>> = const { Cell::new(None) };
}

/// Shows a hello to an engine that asks whether its cookie is right, which it is.
pub(crate) fn vouch(
    cookie: [u8; COOKIE],
    hello: &[u8],
    engine: impl FnOnce(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    RIGHT.set(Some(cookie));
    let outcome = engine(hello);
    RIGHT.set(None);
    outcome
}

/// The engine's HMAC, which makes its cookies as well; while it looks at a hello it needs it for nothing else.
#[derive(Debug)]
pub(crate) struct Cookies;

impl HmacProvider for Cookies {
    fn hmac(
        &self,
        hash: HashAlgorithm,
        key: &[u8],
        data: &[u8],
        out: &mut [u8],
    ) -> Result<usize, CryptoError> {
        match RIGHT.get() {
            Some(cookie) if data.len() == RANDOM => {
                out[..COOKIE].copy_from_slice(&cookie);
                Ok(COOKIE)
            }
            _ => aws_lc_rs::default_provider().hmac_provider.hmac(hash, key, data, out),
        }
    }
}

impl Hello {
    /// Has the engine take it.
    pub(crate) fn vouch(&self, engine: impl FnOnce(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        vouch(self.cookie, &self.datagram, engine)
    }
}

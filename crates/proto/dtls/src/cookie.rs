//! Cookies: how a server learns that a client is where it says, before it keeps anything of it (RFC 6347 §4.2.1).

use std::time::Duration;

use crypto::HmacSha256Key;
use sansio::Time;

use crate::hello::ClientHello;
use crate::message::{CLIENT_HELLO, Fragment, HELLO_VERIFY_REQUEST, MESSAGE_HEADER};
use crate::record::{self, HANDSHAKE, HEADER, NUMBER};

/// Bytes of a cookie.
pub(crate) const COOKIE: usize = 32;
/// A cookie is good for one to two of these.
const TICK: Duration = Duration::from_secs(30);
/// Bytes of what a hello without a cookie is answered: a record with a message with a version and a cookie.
pub const CHALLENGE_BYTES: usize = HEADER + MESSAGE_HEADER + 2 + 1 + COOKIE;

/// A hello that is in one record and one fragment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spoken<'a> {
    /// The number of its record.
    pub(crate) number: u64,
    pub(crate) hello: ClientHello<'a>,
}

impl<'a> Spoken<'a> {
    /// `None`: it is no hello, or one in several pieces, which nobody could put together without keeping them.
    pub(crate) fn parse(datagram: &'a [u8]) -> Option<Self> {
        let header = datagram.first_chunk::<HEADER>()?;
        let record = &datagram[HEADER..];
        let is_plain = header[0] == HANDSHAKE && header[1] == 0xfe && header[3..5] == [0, 0];
        if !is_plain || usize::from(u16::from_be_bytes([header[11], header[12]])) != record.len() {
            return None;
        }
        let number = header[NUMBER].iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        match Fragment::all(record)?[..] {
            [Fragment { kind: CLIENT_HELLO, length, from: 0, bytes, .. }] if length == bytes.len() => {
                Some(Self { number, hello: ClientHello::parse(bytes)? })
            }
            _ => None,
        }
    }

    /// Whether its cookie is as long as ours are.
    pub(crate) fn brings_cookie(&self) -> bool {
        self.hello.cookie.len() == COOKIE
    }

    /// A HelloVerifyRequest, with the number of what it answers.
    pub(crate) fn challenge(&self, cookie: &[u8; COOKIE]) -> [u8; CHALLENGE_BYTES] {
        let mut answer = [0; CHALLENGE_BYTES];
        let (record, rest) = answer.split_at_mut(HEADER);
        record.copy_from_slice(&record::header(HANDSHAKE, 0, self.number, rest.len()));
        let (header, body) = rest.split_at_mut(MESSAGE_HEADER);
        let length = body.len();
        header.copy_from_slice(&Fragment::header(HELLO_VERIFY_REQUEST, length, 0, 0, length));
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
        if !spoken.brings_cookie() {
            return false;
        }
        let now = tick(now);
        [Some(now), now.checked_sub(1)]
            .into_iter()
            .flatten()
            .any(|tick| crypto::equal(&self.of_tick(tick, source, spoken.hello.random), spoken.hello.cookie))
    }

    fn of_tick(&self, tick: u64, source: &[u8], random: &[u8]) -> [u8; COOKIE] {
        self.0.sign(&[&tick.to_be_bytes(), random, source])
    }
}

fn tick(now: Time) -> u64 {
    now.elapsed().as_secs() / TICK.as_secs()
}

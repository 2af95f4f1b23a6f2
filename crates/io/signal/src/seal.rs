//! From a code or a link to a key, and from a key to messages that nobody else can read or forge.
//!
//! Two ends that share an [`Invitation`](crate::Invitation) first swap one *handshake* message each, in the
//! clear. With a code it is their half of a PAKE (SPAKE2): whoever sits between them, the server included,
//! learns nothing of the words and gets one guess per try. With a link, whose secret cannot be guessed, it is
//! a random salt, so that no two meetings share a key. Both give one key per direction, and from then on
//! every message is sealed with AES-256-GCM under a counter.
//!
//! The order cannot be got wrong, because each state is a type of its own: a [`Waiting`] cannot seal and
//! takes one handshake message; it becomes a [`Keyed`], which can. The first sealed message proves the key.
//!
//! ```
//! use sterna_signal::{Code, seal::{Role, Waiting}};
//! let code: Code = "7-river-candle".parse()?;
//! let host = Waiting::with_code(&code, Role::Host);
//! let guest = Waiting::with_code(&code, Role::Guest);
//! let (to_guest, to_host) = (host.message().to_string(), guest.message().to_string());
//! let (mut host, mut guest) = (host.receive(&to_host)?, guest.receive(&to_guest)?);
//! let sealed = guest.seal(b"hello");
//! assert_eq!(host.open(&sealed)?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::code::Code;
use crate::link::Link;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use crypto::aead::Aes256Gcm;
use crypto::pake::Pake;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which of the two an end is. The member that was in the room first is the host; it also makes the offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Was there first.
    Host,
    /// Came second.
    Guest,
}

/// What travels in the server's `data` between two ends that share an invitation.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Envelope {
    /// Half of a PAKE.
    Pake(String),
    /// A salt.
    Salt(String),
    /// A sealed message.
    Sealed(String),
}

const SALT_BYTES: usize = 16;

/// An end that has no key yet: it has one handshake message to send, and takes one.
pub struct Waiting {
    role: Role,
    secret: Secret,
    /// Our handshake message, as the key derivation takes it.
    mine: Vec<u8>,
    message: String,
}

enum Secret {
    Code(Pake),
    Link([u8; 16]),
}

/// A handshake message that is none. Nothing was learnt and nothing given away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the other side does not speak this protocol's handshake")]
pub struct HandshakeError;

/// A sealed message that does not open. The connection is over: an end that goes on would give guesses away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The first sealed message: the other end has another code or link.
    #[error("the other side has another code")]
    WrongKey,
    /// A later one: it was changed, repeated, or one before it is missing.
    #[error("a message was changed or lost on its way")]
    Tampered,
    /// It comes without a seal.
    #[error("a message came without a seal")]
    NotSealed,
    /// An earlier one did not open.
    #[error("an earlier message did not open")]
    Dead,
}

impl Waiting {
    /// Starts a PAKE with the code's words.
    pub fn with_code(code: &Code, role: Role) -> Self {
        let context = format!("sterna code v1 {}", code.nameplate());
        let password = code.secret();
        let (pake, mine) = match role {
            Role::Host => Pake::start_a(password.as_bytes(), context.as_bytes()),
            Role::Guest => Pake::start_b(password.as_bytes(), context.as_bytes()),
        };
        let message = Envelope::Pake(URL_SAFE_NO_PAD.encode(&mine));
        Self { role, secret: Secret::Code(pake), mine, message: text(&message) }
    }

    /// Starts with the link's secret and a fresh salt.
    pub fn with_link(link: &Link, role: Role) -> Self {
        let mine = crypto::seed()[..SALT_BYTES].to_vec();
        let message = Envelope::Salt(URL_SAFE_NO_PAD.encode(&mine));
        Self { role, secret: Secret::Link(*link.secret()), mine, message: text(&message) }
    }

    /// The handshake message for the other end. It may go out at once; it need not wait for the other's.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Takes the other end's handshake message. One try: `self` is gone after it.
    pub fn receive(self, message: &str) -> Result<Keyed, HandshakeError> {
        let theirs = match (serde_json::from_str(message), &self.secret) {
            (Ok(Envelope::Pake(text)), Secret::Code(_)) => text,
            (Ok(Envelope::Salt(text)), Secret::Link(_)) => text,
            _ => return Err(HandshakeError),
        };
        let theirs = URL_SAFE_NO_PAD.decode(theirs).map_err(|_| HandshakeError)?;
        let key = match self.secret {
            Secret::Code(pake) => pake.finish(&theirs).map_err(|_| HandshakeError)?.to_vec(),
            Secret::Link(_) if theirs.len() != SALT_BYTES => return Err(HandshakeError),
            Secret::Link(secret) => secret.to_vec(),
        };
        let salt = match self.role {
            Role::Host => [self.mine, theirs].concat(),
            Role::Guest => [theirs, self.mine].concat(),
        };
        let direction = |info: &str| {
            let mut bytes = [0; 32];
            crypto::hkdf_sha256(&key, &salt, info.as_bytes(), &mut bytes);
            Direction { key: Aes256Gcm::new(&bytes), count: 0 }
        };
        let to_guest = direction("sterna seal v1 host to guest");
        let to_host = direction("sterna seal v1 guest to host");
        let door = |info: &str| {
            let mut secret = [0; 16];
            crypto::hkdf_sha256(&key, &salt, info.as_bytes(), &mut secret);
            secret
        };
        let (host, guest) = (door("sterna return v1 host"), door("sterna return v1 guest"));
        let (sending, receiving, way_back) = match self.role {
            Role::Host => (to_guest, to_host, WayBack { own: host, other: guest }),
            Role::Guest => (to_host, to_guest, WayBack { own: guest, other: host }),
        };
        Ok(Keyed { sending, receiving, way_back, dead: false })
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("role", &self.role).finish_non_exhaustive()
    }
}

/// An end with a key. Messages must arrive complete and in order, as the server delivers them.
pub struct Keyed {
    sending: Direction,
    receiving: Direction,
    way_back: WayBack,
    dead: bool,
}

/// The secrets of two doors that only the two ends of a session know: each end waits behind one of its own, and knocks
/// at the other's when it has lost the session and wants it back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct WayBack {
    /// Where this end waits, as the secret of a [`Link`].
    pub own: [u8; 16],
    /// Where the other end waits.
    pub other: [u8; 16],
}

struct Direction {
    key: Aes256Gcm,
    count: u64,
}

impl Direction {
    /// Four zero bytes and the message's number, big-endian: never the same twice under one key.
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.count.to_be_bytes());
        nonce
    }
}

impl Keyed {
    /// Seals a message for the other end.
    pub fn seal(&mut self, plaintext: &[u8]) -> String {
        let sealed = self.sending.key.seal(self.sending.nonce(), b"", plaintext);
        self.sending.count += 1;
        text(&Envelope::Sealed(URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Where the two ends find each other again.
    pub fn way_back(&self) -> WayBack {
        self.way_back
    }

    /// Opens the next message from the other end. After an error nothing opens any more.
    pub fn open(&mut self, message: &str) -> Result<Vec<u8>, OpenError> {
        if self.dead {
            return Err(OpenError::Dead);
        }
        self.dead = true;
        let sealed = match serde_json::from_str(message) {
            Ok(Envelope::Sealed(text)) => URL_SAFE_NO_PAD.decode(text).map_err(|_| OpenError::NotSealed)?,
            _ => return Err(OpenError::NotSealed),
        };
        let plaintext = self.receiving.key.open(self.receiving.nonce(), b"", &sealed);
        let plaintext = plaintext.map_err(|_| match self.receiving.count {
            0 => OpenError::WrongKey,
            _ => OpenError::Tampered,
        })?;
        self.receiving.count += 1;
        self.dead = false;
        Ok(plaintext)
    }
}

impl fmt::Debug for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("sent", &self.sending.count)
            .field("received", &self.receiving.count)
            .field("dead", &self.dead)
            .finish_non_exhaustive()
    }
}

/// Leaves out the secrets.
impl fmt::Debug for WayBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WayBack(…)")
    }
}

fn text(envelope: &Envelope) -> String {
    serde_json::to_string(envelope).expect("strings are JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meet(host: Waiting, guest: Waiting) -> (Keyed, Keyed) {
        let (to_guest, to_host) = (host.message().to_string(), guest.message().to_string());
        (host.receive(&to_host).unwrap(), guest.receive(&to_guest).unwrap())
    }

    fn with_codes(host: &str, guest: &str) -> (Keyed, Keyed) {
        let (host, guest): (Code, Code) = (host.parse().unwrap(), guest.parse().unwrap());
        meet(Waiting::with_code(&host, Role::Host), Waiting::with_code(&guest, Role::Guest))
    }

    fn with_links(host: [u8; 16], guest: [u8; 16]) -> (Keyed, Keyed) {
        let (host, guest) = (Link::new("http://h", host).unwrap(), Link::new("http://h", guest).unwrap());
        meet(Waiting::with_link(&host, Role::Host), Waiting::with_link(&guest, Role::Guest))
    }

    #[test]
    fn both_ways_open_what_was_sealed() {
        for (mut host, mut guest) in
            [with_codes("7-river-candle", "7-river-candle"), with_links([7; 16], [7; 16])]
        {
            for i in 0..3u8 {
                let sealed = host.seal(&[i; 40]);
                assert_eq!(guest.open(&sealed).unwrap(), [i; 40]);
                let sealed = guest.seal(&[i]);
                assert_eq!(host.open(&sealed).unwrap(), [i]);
            }
        }
    }

    #[test]
    fn another_code_is_noticed_at_the_first_message_and_there_is_no_second_try() {
        for (mut host, mut guest) in [
            with_codes("7-river-candle", "7-river-zebra"),
            with_codes("7-river-candle", "8-river-candle"),
            with_links([7; 16], [8; 16]),
        ] {
            let sealed = guest.seal(b"hello");
            assert_eq!(host.open(&sealed), Err(OpenError::WrongKey));
            assert_eq!(host.open(&sealed), Err(OpenError::Dead));
        }
    }

    #[test]
    fn a_changed_repeated_reflected_or_skipped_message_does_not_open() {
        let fresh = || with_links([7; 16], [7; 16]);
        let (mut host, mut guest) = fresh();
        let first = guest.seal(b"one");
        host.open(&first).unwrap();
        assert_eq!(host.open(&first), Err(OpenError::Tampered), "repeated");

        let (mut host, mut guest) = fresh();
        guest.seal(b"lost");
        assert!(host.open(&guest.seal(b"two")).is_err(), "skipped");

        let (mut host, _) = fresh();
        let own = host.seal(b"one");
        assert!(host.open(&own).is_err(), "reflected");

        let (mut host, mut guest) = fresh();
        let sealed = guest.seal(b"one");
        let at = sealed.len() - 6;
        let other = if sealed.as_bytes()[at] == b'A' { "B" } else { "A" };
        let changed = format!("{}{other}{}", &sealed[..at], &sealed[at + 1..]);
        assert!(host.open(&changed).is_err(), "changed");

        let (mut host, _) = fresh();
        assert_eq!(host.open(r#"{"candidate":null}"#), Err(OpenError::NotSealed));
    }

    #[test]
    fn a_replayed_meeting_gives_another_key() {
        let link = Link::new("http://h", [7; 16]).unwrap();
        let guest = Waiting::with_link(&link, Role::Guest);
        let recorded_handshake = guest.message().to_string();
        let host = Waiting::with_link(&link, Role::Host);
        let mut guest = guest.receive(host.message()).unwrap();
        let recorded = guest.seal(b"hello");
        let mut again = Waiting::with_link(&link, Role::Host).receive(&recorded_handshake).unwrap();
        assert_eq!(again.open(&recorded), Err(OpenError::WrongKey));
    }

    #[test]
    fn two_hosts_or_a_mirror_get_nowhere() {
        // A server that tells both that they were first.
        let link = Link::new("http://h", [7; 16]).unwrap();
        let (mut a, mut b) =
            meet(Waiting::with_link(&link, Role::Host), Waiting::with_link(&link, Role::Host));
        assert!(b.open(&a.seal(b"x")).is_err());
        assert!(a.open(&b.seal(b"x")).is_err());
        // A server that sends our own handshake back.
        let alone = Waiting::with_link(&link, Role::Guest);
        let mine = alone.message().to_string();
        let mut alone = alone.receive(&mine).unwrap();
        let sealed = alone.seal(b"x");
        assert!(alone.open(&sealed).is_err());
    }

    #[test]
    fn the_test_vectors_come_out() {
        let vectors: serde_json::Value =
            serde_json::from_str(include_str!("../data/seal-vectors.json")).unwrap();
        let text = |pointer: &str| vectors.pointer(pointer).unwrap().as_str().unwrap().to_string();
        let link: Link = format!("http://h/#{}", text("/link/secret")).parse().unwrap();
        assert_eq!(link.room(), text("/link/room"));
        let end = |role, own: &str| {
            let mine = URL_SAFE_NO_PAD.decode(text(own)).unwrap();
            Waiting { mine, ..Waiting::with_link(&link, role) }
        };
        let salt = |other: &str| format!("{{\"salt\":\"{}\"}}", text(other));
        let mut host = end(Role::Host, "/handshake/host").receive(&salt("/handshake/guest")).unwrap();
        let mut guest = end(Role::Guest, "/handshake/guest").receive(&salt("/handshake/host")).unwrap();
        let secret = |end: &str| URL_SAFE_NO_PAD.decode(text(end)).unwrap();
        assert_eq!(host.way_back().own.to_vec(), secret("/wayBack/host"));
        assert_eq!(guest.way_back().own.to_vec(), secret("/wayBack/guest"));
        for (i, message) in vectors["messages"].as_array().unwrap().iter().enumerate() {
            let plaintext = text(&format!("/messages/{i}/plaintext"));
            let (from, to) =
                if message["from"] == "host" { (&mut host, &mut guest) } else { (&mut guest, &mut host) };
            let sealed = from.seal(plaintext.as_bytes());
            assert_eq!(sealed, format!("{{\"sealed\":\"{}\"}}", text(&format!("/messages/{i}/sealed"))));
            assert_eq!(to.open(&sealed).unwrap(), plaintext.as_bytes());
        }
    }

    #[test]
    fn garbage_is_no_handshake() {
        let code: Code = "7-river-candle".parse().unwrap();
        let link = Link::new("http://h", [7; 16]).unwrap();
        for garbage in [
            "",
            "{}",
            "[]",
            r#"{"pake":""}"#,
            r#"{"salt":"AAAA"}"#,
            r#"{"pake":"!"}"#,
            r#"{"sealed":"AAAA"}"#,
        ] {
            assert!(Waiting::with_code(&code, Role::Host).receive(garbage).is_err(), "{garbage}");
            assert!(Waiting::with_link(&link, Role::Host).receive(garbage).is_err(), "{garbage}");
        }
        let salt = Waiting::with_link(&link, Role::Guest);
        assert!(Waiting::with_code(&code, Role::Host).receive(salt.message()).is_err());
    }
}

//! Password-authenticated key exchange: SPAKE2 over the Ed25519 group.
//!
//! Two sides that share a short password each send one message and get the same strong key. Someone in
//! between, or someone who pretends to be one side, gets one guess per exchange and learns nothing else; the
//! messages do not help to try passwords at home. The key itself proves nothing until it is used: if the
//! passwords differ both sides get a key, but not the same one, so each must show the other that it has it
//! (for example by sealing its first message under it).
//!
//! Draws from the operating system's random generator, so it is for crates that touch the world.
//!
//! ```
//! use sterna_crypto::pake::Pake;
//!
//! let (alice, from_alice) = Pake::start_a(b"7-guitar-piano", b"room 7");
//! let (bob, from_bob) = Pake::start_b(b"7-guitar-piano", b"room 7");
//! assert_eq!(alice.finish(&from_bob).unwrap(), bob.finish(&from_alice).unwrap());
//! ```

use std::fmt;

use spake2::{Ed25519Group, Identity, Password, Spake2};

/// One side of an exchange whose message is on its way.
pub struct Pake(Spake2<Ed25519Group>);

impl Pake {
    /// Starts as side A (by convention the one that made the password). The bytes go to the other side.
    ///
    /// `context` is public and must be the same on both sides: it keeps exchanges of different purposes
    /// apart.
    pub fn start_a(password: &[u8], context: &[u8]) -> (Self, Vec<u8>) {
        let (a, b) = identities(context);
        let (state, message) = Spake2::start_a(&Password::new(password), &a, &b);
        (Self(state), message)
    }

    /// Starts as side B (by convention the one that was told the password). The bytes go to the other side.
    pub fn start_b(password: &[u8], context: &[u8]) -> (Self, Vec<u8>) {
        let (a, b) = identities(context);
        let (state, message) = Spake2::start_b(&Password::new(password), &a, &b);
        (Self(state), message)
    }

    /// Takes the other side's message and gives the key: the same on both sides if the passwords were.
    ///
    /// # Errors
    /// If the message cannot come from the other side of such an exchange.
    pub fn finish(self, their_message: &[u8]) -> Result<[u8; 32], PakeError> {
        let key = self.0.finish(their_message).map_err(|error| match error {
            spake2::Error::BadSide => PakeError::SameSide,
            _ => PakeError::Malformed,
        })?;
        key.try_into().map_err(|_| PakeError::Malformed)
    }
}

impl fmt::Debug for Pake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pake(..)")
    }
}

fn identities(context: &[u8]) -> (Identity, Identity) {
    (Identity::new(&[context, b" A"].concat()), Identity::new(&[context, b" B"].concat()))
}

/// Why the other side's message was of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PakeError {
    /// It is not a message of this exchange.
    #[error("the other side's key exchange message is malformed")]
    Malformed,
    /// It comes from the same side, perhaps our own message sent back.
    #[error("the key exchange message comes from our own side")]
    SameSide,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_passwords_or_contexts_give_different_keys() {
        for (password, context) in [("right", "other"), ("wrong", "room")] {
            let (a, from_a) = Pake::start_a(b"right", b"room");
            let (b, from_b) = Pake::start_b(password.as_bytes(), context.as_bytes());
            assert_ne!(a.finish(&from_b).unwrap(), b.finish(&from_a).unwrap());
        }
    }

    #[test]
    fn a_reflected_message_is_refused() {
        let (a, from_a) = Pake::start_a(b"right", b"room");
        assert_eq!(a.finish(&from_a), Err(PakeError::SameSide));
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in [&b""[..], b"B", &[0x42; 32], &[0x42; 34], &[0xff; 33]] {
            let (a, _) = Pake::start_a(b"right", b"room");
            assert!(a.finish(garbage).is_err(), "{garbage:?}");
        }
    }
}

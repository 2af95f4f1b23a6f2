use std::collections::BTreeMap;
use std::time::Duration;

use sansio::Rng;

/// How long a reserved port waits for its allocation: "at least 30 seconds" (RFC 8656 §7.2).
pub(super) const RESERVATION_LIFETIME: Duration = Duration::from_secs(60);

/// Names a reserved port: the value of RESERVATION-TOKEN (RFC 8656 §18.10). Random, so that nobody guesses one that he
/// was not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Token(pub(super) [u8; 8]);

/// The port after that of an allocation, kept for another allocation (EVEN-PORT with R, RFC 8656 §18.7).
#[derive(Clone, Copy, Debug)]
pub(super) struct Reservation {
    /// Which of the server's relay addresses it is on.
    pub(super) relay: usize,
    pub(super) port: u16,
}

/// All reservations. There are never more than allocations were made in the last [`RESERVATION_LIFETIME`], which
/// quotas bound.
#[derive(Debug, Default)]
pub(super) struct Reservations(BTreeMap<Token, Reservation>);

impl Reservations {
    pub(super) fn add(&mut self, rng: &mut Rng, reservation: Reservation) -> Token {
        let token = Token(rng.bytes());
        self.0.insert(token, reservation);
        token
    }

    pub(super) fn take(&mut self, token: Token) -> Option<Reservation> {
        self.0.remove(&token)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sansio::{Rng, Time};
use stun::{AttributeKind, Class, Key, MessageWriter, Method, TransactionId, kind};

use crate::Timings;
use crate::pair::PairId;
use crate::parcels::Load;

/// How many checks of one pair may be unanswered at once. More only come from a peer that floods us.
const MAX_PER_PAIR: usize = 4;
/// As many may be that only carry something.
const MAX_CARRIERS_PER_PAIR: usize = 32;

/// The checks that we have sent and that have not been answered: the client side of STUN, as ICE wants it.
///
/// A check keeps no bytes: they follow from what it keeps, so a repetition is the same message again.
#[derive(Debug, Default)]
pub(crate) struct Checks {
    table: BTreeMap<CheckId, Check>,
    ready: VecDeque<CheckId>,
}

/// The transaction id of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CheckId(pub(crate) [u8; 12]);

/// A Binding request to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    pub(crate) pair: PairId,
    pub(crate) purpose: Purpose,
    /// Our role when it was made (RFC 8445 §7.1.3).
    pub(crate) controlling: bool,
    pub(crate) tiebreaker: u64,
    pub(crate) priority: u32,
    pub(crate) rto: Duration,
    pub(crate) attempts: u32,
    pub(crate) last_sent: Time,
    /// RFC 8445 §7.3.1.4: not repeated, its silence means nothing, but an answer still counts.
    pub(crate) cancelled: bool,
}

/// What a check is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Whether the pair works.
    Connectivity,
    /// That this pair be selected.
    Nomination,
    /// Whether we may go on sending (RFC 7675).
    Consent,
    /// Whether a packet of this many bytes arrives. Asked once, and its silence decides nothing.
    Size(u16),
    /// As connectivity, but only because there is more to be carried than the other checks of the pair can: its silence
    /// decides nothing.
    Parcel,
}

/// What fills a check up: an attribute of the range that nobody has to understand (RFC 8489 §14), not assigned to
/// anything. PADDING of RFC 5780 is in the other range, and peers would have to refuse it.
const PADDING: AttributeKind = AttributeKind(0xff50);
/// What padding can be made of.
static ZEROS: [u8; 2048] = [0; 2048];

/// How often a check is sent. RFC 8489 §6.2.1 has few repetitions with ever longer pauses, lest requests pile up
/// at somebody who does not want them. Who is to be nominated has shown that he does: he is asked in the same
/// time, but more often.
fn attempts(purpose: Purpose, timings: &Timings) -> u32 {
    if purpose == Purpose::Nomination { timings.rc * 3 } else { timings.rc }
}

/// What is due for a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// It will be sent again.
    Repeated,
    /// It has failed, and is forgotten.
    TimedOut(Check),
    /// It is forgotten.
    Forgotten,
}

impl Checks {
    /// Queues a new check; `None` if the pair has too many already.
    pub(crate) fn start(&mut self, rng: &mut Rng, check: Check) -> Option<CheckId> {
        let limit = match check.purpose {
            Purpose::Connectivity => MAX_PER_PAIR,
            Purpose::Parcel => MAX_CARRIERS_PER_PAIR,
            Purpose::Nomination | Purpose::Consent | Purpose::Size(_) => usize::MAX,
        };
        let is_alike =
            |other: &&Check| other.pair == check.pair && other.purpose.is_aside() == check.purpose.is_aside();
        if self.table.values().filter(is_alike).count() >= limit {
            return None;
        }
        let id = CheckId(TransactionId::random(rng).0);
        self.table.insert(id, check);
        self.ready.push_back(id);
        Some(id)
    }

    /// The next check to be sent, if it is still wanted.
    pub(crate) fn next(&mut self) -> Option<(CheckId, &Check)> {
        while let Some(id) = self.ready.front() {
            if self.table.get(id).is_some_and(|check| !check.cancelled) {
                break;
            }
            self.ready.pop_front();
        }
        let id = *self.ready.front()?;
        Some((id, self.table.get(&id)?))
    }

    /// How many checks of a pair are to be sent for what they carry, and were not yet.
    pub(crate) fn carriers(&self, pair: PairId) -> usize {
        let waits =
            |check: &&Check| check.pair == pair && check.purpose == Purpose::Parcel && check.attempts == 0;
        self.table.values().filter(waits).count()
    }

    /// The check that [`Checks::next`] showed is sent, or was lost on the way: returns when it is due again.
    pub(crate) fn sent(&mut self, now: Time, id: CheckId, timings: &Timings) -> Option<Time> {
        self.ready.pop_front();
        let check = self.table.get_mut(&id)?;
        check.last_sent = now;
        check.attempts += 1;
        Some(match check.purpose {
            // RFC 7675 §5.1: "transmitted once only"; and "All outstanding … MUST be discarded when consent expires".
            Purpose::Consent | Purpose::Size(_) | Purpose::Parcel => now + timings.consent_timeout,
            Purpose::Nomination => now + check.rto * (1 << (check.attempts - 1).min(2)),
            _ if check.attempts < timings.rc => now + check.rto * (1 << (check.attempts - 1).min(16)),
            _ => now + check.rto * timings.rm,
        })
    }

    /// Nobody has answered in time.
    pub(crate) fn due(&mut self, id: CheckId, timings: &Timings) -> Due {
        let Some(check) = self.table.get(&id) else { return Due::Forgotten };
        if check.cancelled || check.purpose.is_aside() {
            self.table.remove(&id);
            return Due::Forgotten;
        }
        if check.attempts < attempts(check.purpose, timings) {
            self.ready.push_back(id);
            return Due::Repeated;
        }
        self.table.remove(&id).map_or(Due::Forgotten, Due::TimedOut)
    }

    /// The check with this id.
    pub(crate) fn get(&self, id: CheckId) -> Option<&Check> {
        self.table.get(&id)
    }

    /// Takes out a check that was answered.
    pub(crate) fn remove(&mut self, id: CheckId) -> Option<Check> {
        let check = self.table.remove(&id);
        if self.table.is_empty() {
            // An empty tree keeps a node, which is large.
            self.table = BTreeMap::new();
        }
        check
    }

    /// Cancels the checks of all pairs that `which` names (RFC 8445 §7.3.1.4, §8.1.2).
    pub(crate) fn cancel(&mut self, which: impl Fn(&Check) -> bool) {
        for check in self.table.values_mut() {
            check.cancelled |= which(check);
        }
        // Those that were never sent cannot be answered.
        self.table.retain(|_, check| !(check.cancelled && check.attempts == 0));
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.table.clear();
        self.ready.clear();
    }
}

impl Check {
    /// Bytes that its message has, with a username of `username` bytes and without what it carries.
    pub(crate) fn length(&self, username: usize) -> usize {
        let use_candidate = if self.purpose == Purpose::Nomination { 4 } else { 0 };
        // Header, USERNAME, PRIORITY, ICE-CONTROLL…, MESSAGE-INTEGRITY, FINGERPRINT.
        let plain = 20 + 4 + username.next_multiple_of(4) + 8 + 12 + use_candidate + 24 + 8;
        plain + self.padding(plain).map_or(0, |padding| 4 + padding)
    }

    /// Bytes of padding that a message of `plain` bytes is filled up with.
    fn padding(&self, plain: usize) -> Option<usize> {
        let Purpose::Size(size) = self.purpose else { return None };
        Some((usize::from(size).saturating_sub(plain + 4) & !3).min(ZEROS.len()))
    }

    /// Writes its message; returns 0 if `buffer` is too small.
    pub(crate) fn write(
        &self,
        buffer: &mut [u8],
        id: CheckId,
        username: &str,
        load: &Load<'_>,
        key: &Key,
    ) -> usize {
        let mut writer = MessageWriter::new(buffer, Class::Request, Method::BINDING, TransactionId(id.0));
        writer.string(kind::USERNAME, username).u32(kind::PRIORITY, self.priority);
        let role = if self.controlling { kind::ICE_CONTROLLING } else { kind::ICE_CONTROLLED };
        writer.u64(role, self.tiebreaker);
        // RFC 8445 §7.1.2: the controlled agent never sends it.
        if self.purpose == Purpose::Nomination && self.controlling {
            writer.flag(kind::USE_CANDIDATE);
        }
        let plain = Self { purpose: Purpose::Consent, ..*self }.length(username.len());
        if let Some(padding) = self.padding(plain) {
            writer.raw(PADDING, &ZEROS[..padding]);
        }
        load.write(&mut writer);
        writer.integrity(key).fingerprint().finish().unwrap_or(0)
    }
}

impl Purpose {
    /// Whether such a check is sent once, and its silence decides nothing.
    pub(crate) fn is_aside(self) -> bool {
        matches!(self, Self::Consent | Self::Size(_) | Self::Parcel)
    }
}

#[cfg(test)]
mod tests {
    use sansio::Seed;
    use stun::Message;

    use super::*;

    fn check(purpose: Purpose) -> Check {
        Check {
            pair: PairId(1),
            purpose,
            controlling: true,
            tiebreaker: 7,
            priority: 9,
            rto: Duration::from_millis(500),
            attempts: 0,
            last_sent: Time::ZERO,
            cancelled: false,
        }
    }

    #[test]
    fn the_message_says_what_the_rfc_wants_in_the_bytes_that_were_promised() {
        let key = Key::short_term("password");
        for (purpose, user) in [
            (Purpose::Connectivity, "abcd:efgh"),
            (Purpose::Nomination, "abcd:efghi"),
            (Purpose::Size(1200), "abcd:efghi"),
        ] {
            let check = check(purpose);
            let mut buffer = vec![0; check.length(user.len())];
            assert_eq!(
                check.write(&mut buffer, CheckId([3; 12]), user, &Load::default(), &key),
                buffer.len()
            );
            let message = Message::parse(&buffer).unwrap();
            assert_eq!(message.username(), Some(user));
            assert_eq!(
                (message.priority(), message.ice_controlling(), message.ice_controlled()),
                (Some(9), Some(7), None)
            );
            assert_eq!(message.use_candidate(), purpose == Purpose::Nomination);
            assert_eq!(buffer.len() == 1200, purpose == Purpose::Size(1200));
            assert!(
                message.unknown_comprehension_required(&[kind::PRIORITY, kind::USE_CANDIDATE]).is_empty()
            );
            assert!(message.check_fingerprint() && message.check_integrity(&key).is_ok());
        }
    }

    #[test]
    fn a_check_is_repeated_with_growing_pauses_and_then_given_up() {
        let timings = Timings::default();
        let mut checks = Checks::default();
        let id = checks.start(&mut Rng::new(Seed::from(1)), check(Purpose::Connectivity)).unwrap();
        let mut now = Time::ZERO;
        let mut sent = Vec::new();
        let failed = loop {
            let (next, _) = checks.next().unwrap();
            assert_eq!(next, id);
            sent.push(now.elapsed().as_millis());
            now = checks.sent(now, id, &timings).unwrap();
            match checks.due(id, &timings) {
                Due::Repeated => {}
                due => break due,
            }
        };
        // RFC 8489 §6.2.1.
        assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15500, 31500]);
        assert_eq!(now.elapsed().as_millis(), 39500);
        assert!(matches!(failed, Due::TimedOut(_)));
    }

    #[test]
    fn a_consent_check_is_sent_once() {
        let timings = Timings::default();
        let mut checks = Checks::default();
        let id = checks.start(&mut Rng::new(Seed::from(1)), check(Purpose::Consent)).unwrap();
        checks.next().unwrap();
        checks.sent(Time::ZERO, id, &timings).unwrap();
        assert_eq!(checks.due(id, &timings), Due::Forgotten);
        assert!(checks.next().is_none());
    }

    #[test]
    fn what_only_carries_something_is_bounded_and_keeps_no_check_back() {
        let timings = Timings::default();
        let mut checks = Checks::default();
        let mut rng = Rng::new(Seed::from(1));
        let carriers: Vec<_> =
            std::iter::from_fn(|| checks.start(&mut rng, check(Purpose::Parcel))).collect();
        assert_eq!(
            (carriers.len(), checks.carriers(PairId(1))),
            (MAX_CARRIERS_PER_PAIR, MAX_CARRIERS_PER_PAIR)
        );
        checks.sent(Time::ZERO, carriers[0], &timings);
        assert_eq!(checks.carriers(PairId(1)), MAX_CARRIERS_PER_PAIR - 1);
        for _ in 0..MAX_PER_PAIR {
            assert!(checks.start(&mut rng, check(Purpose::Connectivity)).is_some());
        }
        assert!(checks.start(&mut rng, check(Purpose::Connectivity)).is_none());
        assert!(checks.start(&mut rng, check(Purpose::Nomination)).is_some());
        checks.remove(carriers[0]);
        assert!(checks.start(&mut rng, check(Purpose::Parcel)).is_some());
    }

    #[test]
    fn a_cancelled_check_is_not_sent_again_but_may_be_answered() {
        let timings = Timings::default();
        let mut checks = Checks::default();
        let mut rng = Rng::new(Seed::from(1));
        let sent = checks.start(&mut rng, check(Purpose::Connectivity)).unwrap();
        checks.sent(Time::ZERO, sent, &timings);
        let unsent = checks.start(&mut rng, check(Purpose::Connectivity)).unwrap();
        checks.cancel(|check| check.pair == PairId(1));
        assert!(checks.next().is_none());
        assert!(checks.get(sent).is_some() && checks.get(unsent).is_none());
        assert_eq!(checks.due(sent, &timings), Due::Forgotten);
    }
}

//! What happened, for the log: who relayed through this server, for how long, how much, and why it ended.

use std::hash::BuildHasher as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{KeyedHash, Rng, Time};
use tracing::{debug, info, warn};
use turn::ServerEvent;

use crate::admission::block;

/// Sources that each may have one warning of a kind and cause in a [`PAUSE`], and so the most that there are in that time.
/// (Two may have to share.)
const SLOTS: usize = 256;
/// How long a source that was warned of is only counted.
const PAUSE: Duration = Duration::from_secs(1);

/// Writes the log. Whatever strangers do, it does not grow faster than its reader reads.
pub(crate) struct Journal {
    refused: Calm,
    denied: Calm,
}

/// Lets few of many lines through.
struct Calm {
    hash: KeyedHash,
    slots: Box<[Slot; SLOTS]>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    /// The next line may be written then.
    until: Time,
    /// Lines that were not.
    withheld: u64,
}

impl Calm {
    fn new(rng: &mut Rng) -> Self {
        Self { hash: KeyedHash::new(rng), slots: Box::new([Slot::default(); SLOTS]) }
    }

    /// Whether a line about `source`, for this cause, may be written, and how many were not since the last one.
    fn lets_through(&mut self, now: Time, source: IpAddr, cause: &str) -> Option<u64> {
        let at = self.hash.hash_one((block(source), cause)) as usize % SLOTS;
        let slot = &mut self.slots[at];
        if now < slot.until {
            slot.withheld += 1;
            return None;
        }
        slot.until = now + PAUSE;
        Some(std::mem::take(&mut slot.withheld))
    }
}

impl Journal {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self { refused: Calm::new(rng), denied: Calm::new(rng) }
    }

    pub(crate) fn record(&mut self, now: Time, event: &ServerEvent) {
        match event {
            ServerEvent::AllocationCreated { id, username, client, relayed } => {
                info!(?id, user = %username, %client, relayed = %list(relayed), "relay session started");
            }
            ServerEvent::AllocationEnded {
                id,
                username,
                client,
                relayed,
                duration,
                peers,
                bytes_to_peers,
                bytes_to_client,
                lost,
                reason,
            } => {
                info!(
                    ?id,
                    user = %username,
                    %client,
                    relayed = %list(relayed),
                    seconds = duration.as_secs_f32(),
                    peers,
                    bytes_to_peers,
                    bytes_to_client,
                    lost,
                    ?reason,
                    "relay session ended"
                );
            }
            ServerEvent::AllocationMoved { id, username, from, to } => {
                info!(?id, user = %username, %from, %to, "relay session moved");
            }
            ServerEvent::LoginRefused { username, client, cause } => {
                if let Some(more) = self.refused.lets_through(now, client.remote.ip(), cause.code()) {
                    warn!(user = %username, %client, cause = cause.code(), more, "a client was not let in");
                }
            }
            ServerEvent::UserAsked { username, client, .. } => {
                debug!(user = %username, %client, "somebody else is asked about a user");
            }
            ServerEvent::PeerDenied { username, client, peer, denial } => {
                if let Some(more) = self.denied.lets_through(now, client.remote.ip(), "denied") {
                    let what = "a client asked for a peer that it may not reach";
                    warn!(user = %username, %client, %peer, ?denial, more, "{what}");
                }
            }
        }
    }
}

/// One address, or two with a comma between them.
fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use sansio::Seed;

    use super::*;

    fn at(millis: u64) -> Time {
        Time::from_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_source_has_a_line_a_second_and_the_next_one_tells_of_those_that_were_not_written() {
        let mut calm = Calm::new(&mut Rng::new(Seed::from(1)));
        let host = "2001:db8::1".parse().unwrap();
        assert_eq!(calm.lets_through(at(0), host, "expired"), Some(0));
        let neighbour = "2001:db8::ffff:1".parse().unwrap();
        let through =
            (0..1000).filter(|_| calm.lets_through(at(999), neighbour, "expired").is_some()).count();
        assert_eq!(through, 0, "another address of the same host");
        assert_eq!(calm.lets_through(at(999), host, "wrong_password"), Some(0), "another cause is news");
        assert_eq!(calm.lets_through(at(1000), host, "expired"), Some(1000));
        assert_eq!(calm.lets_through(at(2000), host, "expired"), Some(0));
    }

    #[test]
    fn many_sources_have_a_bounded_number_of_lines_together() {
        let mut calm = Calm::new(&mut Rng::new(Seed::from(1)));
        let sources = (0..100_000u32).map(|number| IpAddr::V4(number.into()));
        let lines = sources.filter(|source| calm.lets_through(at(0), *source, "expired").is_some()).count();
        assert_eq!(lines, SLOTS);
    }
}

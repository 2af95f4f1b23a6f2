use std::time::Duration;

use sansio::Time;

/// Packets that left together, and what they say about the way (draft-ietf-rmcat-gcc-02 §5.2, "pre-filtering").
#[derive(Debug, Default)]
pub(super) struct Groups {
    current: Option<Group>,
    last: Option<Group>,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: Time,
    last_sent: Time,
    last_arrived: Duration,
}

/// How much longer one group took than the one before it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Variation {
    /// When the later one arrived, in milliseconds.
    pub(super) arrived: f64,
    /// By how many milliseconds it took longer.
    pub(super) longer: f64,
}

/// What leaves within this time is one group.
const BURST: Duration = Duration::from_millis(5);

impl Groups {
    /// Begins anew: what lies between is not to be compared.
    pub(super) fn interrupt(&mut self) {
        *self = Self::default();
    }

    /// Takes a packet that arrived. Says something whenever a group is complete.
    pub(super) fn push(&mut self, sent: Time, arrived: Duration) -> Option<Variation> {
        let Some(current) = &mut self.current else {
            self.current = Some(Group { first_sent: sent, last_sent: sent, last_arrived: arrived });
            return None;
        };
        // What was overtaken says nothing about queues.
        if sent < current.first_sent {
            return None;
        }
        if sent.since(current.first_sent) <= BURST {
            current.last_sent = current.last_sent.max(sent);
            current.last_arrived = current.last_arrived.max(arrived);
            return None;
        }
        let complete = *current;
        *current = Group { first_sent: sent, last_sent: sent, last_arrived: arrived };
        let before = self.last.replace(complete)?;
        let apart = milliseconds(complete.last_arrived) - milliseconds(before.last_arrived);
        let longer = apart - complete.last_sent.since(before.last_sent).as_secs_f64() * 1000.0;
        Some(Variation { arrived: milliseconds(complete.last_arrived), longer })
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

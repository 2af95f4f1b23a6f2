use std::collections::BTreeMap;
use std::time::Duration;

use sansio::Time;

/// Packets that are missing, and when each is asked for.
#[derive(Debug, Default)]
pub(crate) struct Lost {
    packets: BTreeMap<u64, Ask>,
}

#[derive(Clone, Copy, Debug)]
struct Ask {
    at: Time,
    tries: u32,
}

/// How long a packet may be overtaken before it is taken for lost.
const REORDERING: Duration = Duration::from_millis(5);
/// How often one is asked for.
const MAX_TRIES: u32 = 10;
/// How many may be missing; beyond, only a whole picture helps.
const MAX_LOST: u64 = 1000;

impl Lost {
    /// Packets from one number up to another, without it, are missing. `false` if they are too many.
    pub(crate) fn add(&mut self, now: Time, from: u64, to: u64) -> bool {
        if to.saturating_sub(from) + self.packets.len() as u64 > MAX_LOST {
            return false;
        }
        self.packets.extend((from..to).map(|number| (number, Ask { at: now + REORDERING, tries: 0 })));
        true
    }

    /// One came after all, whether it was asked for: if it was missing.
    pub(crate) fn remove(&mut self, number: u64) -> Option<bool> {
        self.packets.remove(&number).map(|ask| ask.tries > 0)
    }

    /// Those before a number are not waited for any more.
    pub(crate) fn forget_before(&mut self, number: u64) {
        self.packets = self.packets.split_off(&number);
    }

    /// Those that are to be asked for now. Each is asked for again when an answer would have come.
    pub(crate) fn due(&mut self, now: Time, round_trip: Duration) -> Vec<u16> {
        let again = round_trip.max(Duration::from_millis(10)) + REORDERING;
        let due = self.packets.iter_mut().filter(|(_, ask)| ask.at <= now && ask.tries < MAX_TRIES);
        due.map(|(number, ask)| {
            // Whoever does not answer is asked less and less often; but a question and its answer may both get lost, and
            // there is not much time.
            *ask = Ask { at: now + again * (1 << (ask.tries / 2).min(4)), tries: ask.tries + 1 };
            *number as u16
        })
        .collect()
    }

    /// When the next one is to be asked for.
    pub(crate) fn next(&self) -> Option<Time> {
        self.packets.values().filter(|ask| ask.tries < MAX_TRIES).map(|ask| ask.at).min()
    }
}

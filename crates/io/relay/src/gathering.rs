use std::time::Duration;

use sansio::Time;

/// Whether it pays to wait a moment before sockets are looked at, so that more datagrams are passed on together.
///
/// Datagrams that come one by one cost a system call or two each, as long as the relay is faster than they come; those that are
/// there together and go to the same place leave in one call, which costs hardly more than one of them alone. So where they
/// come densely, a moment's patience more than halves what each costs, and delays none by more than that moment. Where they
/// come now and then, or in bundles anyway, nothing is waited for.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// When this look began.
    since: Time,
    /// Datagrams since then that came alone.
    alone: u64,
    dense: bool,
}

/// How long to wait. A system adds what it calls slack: Linux 50 µs.
pub(crate) const MOMENT: Duration = Duration::from_micros(20);
/// For how long datagrams are counted.
const LOOK: Duration = Duration::from_millis(1);
/// Datagrams a second that are dense: some seven in a moment, with its slack.
const DENSE: u128 = 100_000;

impl Gathering {
    /// So many datagrams came alone, up to now.
    pub(crate) fn count(&mut self, now: Time, alone: u64) {
        self.alone += alone;
        let passed = now.since(self.since);
        if passed >= LOOK {
            self.dense = u128::from(self.alone) * 1_000_000_000 >= DENSE * passed.as_nanos();
            (self.since, self.alone) = (now, 0);
        }
    }

    /// Whether to wait.
    pub(crate) fn pays(&self) -> bool {
        self.dense
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Datagrams at such distances for a while, and whether waiting pays then.
    fn after(gathering: &mut Gathering, now: &mut Time, micros: u64, count: u64) -> bool {
        for _ in 0..count {
            *now += Duration::from_micros(micros);
            gathering.count(*now, 1);
        }
        gathering.pays()
    }

    #[test]
    fn only_what_comes_densely_is_waited_for() {
        let (mut gathering, mut now) = (Gathering::default(), Time::ZERO);
        assert!(!gathering.pays());
        assert!(!after(&mut gathering, &mut now, 200, 100), "5,000 a second");
        assert!(!after(&mut gathering, &mut now, 20, 200), "50,000 a second");
        assert!(after(&mut gathering, &mut now, 5, 500), "200,000 a second");
        // After a silence the first one finds nobody waiting.
        assert!(!after(&mut gathering, &mut now, 3_000, 1));
    }

    #[test]
    fn bundles_are_not_waited_for() {
        let (mut gathering, mut now) = (Gathering::default(), Time::ZERO);
        for _ in 0..1000 {
            now += Duration::from_micros(5);
            gathering.count(now, 0);
        }
        assert!(!gathering.pays());
    }
}

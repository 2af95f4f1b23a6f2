//! A wheel gives what an ordered table gives, whatever is done to it, and whatever time does.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use sterna_sansio::{KeyedHash, Rng, Seed, Time, Wheel};

/// The same by two ordered tables.
#[derive(Default)]
struct Model {
    /// A deadline, and when it was set.
    by_key: BTreeMap<u16, (Time, u64)>,
    by_time: BTreeSet<(Time, u64, u16)>,
    sets: u64,
}

impl Model {
    fn set(&mut self, key: u16, at: Time) {
        self.stop(key);
        self.sets += 1;
        self.by_key.insert(key, (at, self.sets));
        self.by_time.insert((at, self.sets, key));
    }

    fn stop(&mut self, key: u16) {
        if let Some((at, set)) = self.by_key.remove(&key) {
            self.by_time.remove(&(at, set, key));
        }
    }

    fn get(&self, key: u16) -> Option<Time> {
        self.by_key.get(&key).map(|(at, _)| *at)
    }

    fn next(&self) -> Option<Time> {
        self.by_time.first().map(|(at, ..)| *at)
    }

    fn expired(&mut self, now: Time) -> Option<u16> {
        let (_, _, key) = self.by_time.first().copied().filter(|(at, ..)| *at <= now)?;
        self.stop(key);
        Some(key)
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So long from now, which may be before.
    Set(u16, i64),
    SetEarlier(u16, i64),
    Stop(u16),
    /// Time goes on, and what is due is taken out.
    Pass(u64),
    /// It goes on to just before, or just at, the next deadline.
    PassToNext(bool),
    /// Many at once, so far from each other.
    Crowd(u16, u16, i64, u64),
}

/// Nanoseconds: some, seconds, the lifetimes of RFC 8656, days, years.
fn span() -> impl Strategy<Value = u64> {
    let second = 1_000_000_000u64;
    prop_oneof![
        0..100u64,
        0..10 * second,
        Just(300 * second),
        Just(600 * second),
        0..3600 * second,
        0..30 * 86_400 * second,
        0..500 * 365 * 86_400 * second,
    ]
}

fn distance() -> impl Strategy<Value = i64> {
    (span(), prop::bool::weighted(0.1)).prop_map(|(span, back)| span as i64 * if back { -1 } else { 1 })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..400u16, distance()).prop_map(|(key, at)| Step::Set(key, at)),
        2 => (0..400u16, distance()).prop_map(|(key, at)| Step::SetEarlier(key, at)),
        3 => (0..400u16).prop_map(Step::Stop),
        2 => span().prop_map(Step::Pass),
        2 => any::<bool>().prop_map(Step::PassToNext),
        1 => (0..400u16, 1..200u16, distance(), prop_oneof![Just(0), Just(1), span()])
            .prop_map(|(key, count, at, apart)| Step::Crowd(key, count, at, apart)),
    ]
}

fn apart(now: Time, nanos: i64) -> Time {
    let away = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { Time::from_start(now.elapsed().saturating_sub(away)) } else { now + away }
}

/// Takes out what is due, of both.
fn drain(wheel: &mut Wheel<u16>, model: &mut Model, now: Time) {
    loop {
        let key = wheel.expired(now);
        assert_eq!(key, model.expired(now));
        assert_eq!(wheel.next(), model.next());
        if key.is_none() {
            return;
        }
    }
}

fn wheel() -> Wheel<u16> {
    Wheel::new(KeyedHash::new(&mut Rng::new(Seed::from(1))))
}

/// Deadlines beyond this count as this.
fn end_of_time() -> Time {
    Time::from_start(Duration::from_nanos(u64::MAX))
}

proptest! {
    #[test]
    fn a_wheel_is_an_ordered_table(steps in prop::collection::vec(step(), 1..400)) {
        let (mut wheel, mut model, mut now) = (wheel(), Model::default(), Time::ZERO);
        for step in steps {
            match step {
                Step::Set(key, at) => {
                    let at = apart(now, at).min(end_of_time());
                    wheel.set(key, at);
                    model.set(key, at);
                }
                Step::SetEarlier(key, at) => {
                    let at = apart(now, at).min(end_of_time());
                    wheel.set_earlier(key, at);
                    if model.get(key).is_none_or(|old| at < old) {
                        model.set(key, at);
                    }
                }
                Step::Stop(key) => {
                    wheel.stop(key);
                    model.stop(key);
                }
                Step::Pass(span) => {
                    now = (now + Duration::from_nanos(span)).min(end_of_time());
                    drain(&mut wheel, &mut model, now);
                }
                Step::PassToNext(just_before) => {
                    let Some(next) = model.next() else { continue };
                    let eve = Time::from_start(next.elapsed().saturating_sub(Duration::from_nanos(1)));
                    now = now.max(if just_before { eve } else { next });
                    drain(&mut wheel, &mut model, now);
                }
                Step::Crowd(first, count, at, between) => {
                    for number in 0..count {
                        let at = apart(now, at) + Duration::from_nanos(between) * u32::from(number);
                        let (key, at) = ((first + number) % 400, at.min(end_of_time()));
                        wheel.set(key, at);
                        model.set(key, at);
                    }
                }
            }
            prop_assert_eq!(wheel.next(), model.next());
        }
        for key in 0..400 {
            prop_assert_eq!(wheel.get(key), model.get(key));
        }
        drain(&mut wheel, &mut model, end_of_time());
        prop_assert_eq!(wheel.next(), None);
    }
}

/// The life of a relay: thousands of allocations, each refreshed before it is due, some forgotten, for a month.
#[test]
fn a_month_of_refreshes_is_the_same_as_by_an_ordered_table() {
    let (mut wheel, mut model, mut rng) = (wheel(), Model::default(), Rng::new(Seed::from(30)));
    let mut now = Time::ZERO;
    let month = Time::from_start(Duration::from_secs(30 * 86_400));
    let (mut expired, mut set) = (0, 0);
    while now < month {
        // Quiet nights, and busy milliseconds.
        now += match rng.below(40) {
            0 => Duration::from_secs(rng.below(8 * 3600)),
            _ => Duration::from_nanos(rng.below(2_000_000_000)),
        };
        while let Some(key) = model.expired(now) {
            assert_eq!(wheel.expired(now), Some(key));
            expired += 1;
        }
        assert_eq!(wheel.expired(now), None);
        for _ in 0..rng.below(200) {
            let key = rng.below(5000) as u16;
            if rng.below(10) == 0 {
                wheel.stop(key);
                model.stop(key);
            } else {
                let at = now + Duration::from_secs([300, 600, 3600][rng.below(3) as usize]);
                wheel.set(key, at);
                model.set(key, at);
                set += 1;
            }
        }
        assert_eq!(wheel.next(), model.next());
    }
    assert!(expired > 100_000 && set > 500_000, "{expired} of {set}");
}

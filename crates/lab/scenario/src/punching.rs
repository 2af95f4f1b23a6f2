use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use netsim::{Laws, NatBehaviour, PortAssignment, Preset};
use serde::Serialize;

use crate::{Cast, Outcome, Way};

/// How often punching ([`ice::Config::punch`]) finds a direct path between a NAT that maps anew for each destination and
/// filters by port, and another NAT that filters by port; for each rule by which such a NAT gives ports.
#[derive(Clone, Debug)]
pub struct Punching {
    /// Seeds for each meeting, at least 1.
    pub seeds: u64,
    /// The first of them; the others follow.
    pub first_seed: u64,
    /// What both sides may spend.
    pub punch: ice::Punch,
    /// The share of packets that each box's uplink loses, 0.0 to 1.0.
    pub loss: f64,
    /// How many connections a second others open through each box, in the mean.
    pub busy: u32,
    /// How many threads play at the same time.
    pub threads: usize,
    /// Which laws the machines are held to.
    pub laws: Laws,
}

/// What came out when two met.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Meeting {
    /// The rule by which the first side's hard NAT gives ports.
    pub a: &'static str,
    /// The same for the second side's; `port-restricted` if that is an ordinary one.
    pub b: &'static str,
    /// How often they met.
    pub seeds: u64,
    /// How often they ended up with a direct path when they did not punch.
    pub direct_without: u64,
    /// The same when they did.
    pub direct: u64,
    /// How often they ended up with a relayed path when they did.
    pub relayed: u64,
    /// How often they did not connect when they did.
    pub failed: u64,
    /// Until a message had passed each way when they did not punch, in the middle, in milliseconds.
    pub median_ms_without: f64,
    /// The same when they did: by the relay, mostly.
    pub median_ms: f64,
    /// Until the direct path carried the data, in the middle of those that found one, in milliseconds; 0 if none did.
    pub direct_ms: f64,
    /// Packets that one side sent for it, in the middle and at most.
    pub packets: usize,
    /// The most packets that one side sent for it.
    pub most_packets: usize,
}

impl Punching {
    /// The rules of RFC 4787 §4.2, and what a table calls them.
    pub const RULES: [(&'static str, PortAssignment); 6] = [
        ("preserving", PortAssignment::Preserving),
        ("overloading", PortAssignment::Overloading),
        ("sequential", PortAssignment::Sequential),
        ("random", PortAssignment::Random),
        ("contiguous", PortAssignment::Contiguous),
        ("parity", PortAssignment::Parity),
    ];

    /// With 100 seeds each, on all cores, and what [`ice::Punch`] allows by default.
    pub fn new() -> Self {
        Self {
            seeds: 100,
            first_seed: 1,
            punch: ice::Punch::default(),
            loss: 0.0,
            busy: 0,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            laws: Laws::NONE,
        }
    }

    /// One meeting: `a` behind a hard NAT, `b` behind a port-restricted one, or a hard one as well.
    pub fn cast(&self, a: PortAssignment, b: Option<PortAssignment>, seed: u64) -> Cast {
        let hard = |ports| NatBehaviour { ports, ..NatBehaviour::symmetric() };
        let second = if b.is_some() { Preset::Symmetric } else { Preset::PortRestricted };
        Cast {
            boxes: [Some(hard(a)), b.map(hard)],
            loss: self.loss,
            busy: self.busy,
            laws: self.laws,
            punch: Some(self.punch),
            ..Cast::new(Preset::Symmetric, second, seed)
        }
    }

    /// Each rule against a port-restricted NAT, and each pair of rules, once.
    pub fn meetings() -> Vec<(usize, Option<usize>)> {
        let rules = 0..Self::RULES.len();
        let easy = rules.clone().map(|a| (a, None));
        easy.chain(rules.clone().flat_map(|a| (a..rules.end).map(move |b| (a, Some(b))))).collect()
    }

    /// Plays them all. `progress` is told now and then how many attempts are done.
    ///
    /// # Panics
    /// If a machine breaks one of [`Punching::laws`].
    pub fn run(&self, progress: &(dyn Fn(u64) + Sync)) -> Vec<Meeting> {
        let meetings = Self::meetings();
        let tallies: Vec<Mutex<Tally>> = meetings.iter().map(|_| Mutex::default()).collect();
        let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
        let work = || {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                let Some((at, (a, b))) =
                    usize::try_from(turn / self.seeds).ok().and_then(|at| Some((at, *meetings.get(at)?)))
                else {
                    return;
                };
                let rule = |at: usize| Self::RULES[at].1;
                let cast = self.cast(rule(a), b.map(rule), self.first_seed + turn % self.seeds);
                let without = Cast { punch: None, ..cast.clone() }.run();
                let with = cast.run();
                tallies[at].lock().expect("nobody panics with it").add(&without, &with);
                progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.max(1) {
                scope.spawn(work);
            }
            work();
        });
        let name = |at: usize| Self::RULES[at].0;
        let tallies = tallies.into_iter().map(|tally| tally.into_inner().expect("nobody panics with it"));
        let both = meetings.iter().zip(tallies);
        both.map(|(&(a, b), tally)| tally.meeting(name(a), b.map_or("port-restricted", name))).collect()
    }
}

impl Default for Punching {
    fn default() -> Self {
        Self::new()
    }
}

/// What is kept of the attempts of one meeting.
#[derive(Debug, Default)]
struct Tally {
    seeds: u64,
    direct_without: u64,
    direct: u64,
    relayed: u64,
    took_without: Vec<Duration>,
    took: Vec<Duration>,
    settled: Vec<Duration>,
    packets: Vec<usize>,
}

impl Tally {
    fn add(&mut self, without: &Outcome, with: &Outcome) {
        self.seeds += 1;
        self.direct_without += u64::from(without.way.is_some_and(Way::is_direct));
        self.took_without.extend(without.connected.then_some(without.took));
        self.took.extend(with.connected.then_some(with.took));
        match with.way {
            Some(Way::Relayed) => self.relayed += 1,
            Some(_) => {
                self.direct += 1;
                self.settled.push(with.settled);
            }
            None => {}
        }
        let most = with.punched.iter().flatten().map(|punched| punched.packets).max();
        self.packets.push(most.unwrap_or(0));
    }

    fn meeting(mut self, a: &'static str, b: &'static str) -> Meeting {
        self.packets.sort_unstable();
        Meeting {
            a,
            b,
            seeds: self.seeds,
            direct_without: self.direct_without,
            direct: self.direct,
            relayed: self.relayed,
            failed: self.seeds - self.direct - self.relayed,
            median_ms_without: median(self.took_without),
            median_ms: median(self.took),
            direct_ms: median(self.settled),
            packets: self.packets[self.packets.len() / 2],
            most_packets: self.packets.last().copied().unwrap_or_default(),
        }
    }
}

/// In milliseconds, with one decimal; 0 of nothing.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).map_or(0.0, |time| (time.as_secs_f64() * 1e4).round() / 10.0)
}

/// The meetings as text, a line each; the table is Markdown, too. *Before* and *after* is without punching and with it.
pub fn punching_table(meetings: &[Meeting]) -> String {
    let mut text = String::from(
        "| first side  | second side       | direct before | direct | first message before |    after | direct path after | packets |   most |\n\
         |-------------|-------------------|--------------:|-------:|---------------------:|---------:|------------------:|--------:|-------:|\n",
    );
    for it in meetings {
        let share = |count: u64| format!("{:.0} %", 100.0 * count as f64 / it.seeds as f64);
        let after = if it.direct == 0 { "–".to_owned() } else { format!("{:.1} s", it.direct_ms / 1000.0) };
        let second = if it.b == "port-restricted" { it.b.to_owned() } else { format!("hard, {}", it.b) };
        let _ = writeln!(
            text,
            "| {:<11} | {second:<17} | {:>13} | {:>6} | {:>17.0} ms | {:>5.0} ms | {after:>17} | {:>7} | {:>6} |",
            it.a,
            share(it.direct_without),
            share(it.direct),
            it.median_ms_without,
            it.median_ms,
            it.packets,
            it.most_packets,
        );
    }
    text
}

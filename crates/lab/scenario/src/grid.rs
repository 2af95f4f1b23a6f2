use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use netsim::{Laws, Preset};
use serde::Serialize;

use crate::theory::{self, Class};
use crate::{Cast, Ladder, Outcome, Way};

/// Seeds that a thread takes at a time.
const CHUNK: u64 = 10;

/// Every ordered pair of some presets, with many seeds each.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The rows and the columns.
    pub presets: Vec<Preset>,
    /// Seeds for each pair, at least 1.
    pub seeds: u64,
    /// The first of them; the others follow.
    pub first_seed: u64,
    /// The share of packets that each box's uplink loses, 0.0 to 1.0.
    pub loss: f64,
    /// How many threads play at the same time.
    pub threads: usize,
    /// Which laws the machines are held to.
    pub laws: Laws,
}

/// What came out for one pair.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// What the host that calls is behind.
    #[serde(serialize_with = "name")]
    pub a: Preset,
    /// What the host that is called is behind.
    #[serde(serialize_with = "name")]
    pub b: Preset,
    /// How often they were played.
    pub seeds: u64,
    /// How often a message passed each way.
    pub connected: u64,
    /// How often they ended up with a direct way, peer-reflexive ones included.
    pub direct: u64,
    /// How often they ended up with a relayed way.
    pub relayed: u64,
    /// How often they did not connect.
    pub failed: u64,
    /// From the call until a message had passed each way, in the middle of those that connected, in milliseconds.
    /// 0 if none did.
    pub median_ms: f64,
    /// The same, for the slowest of those that connected.
    pub slowest_ms: f64,
    /// How often the direct way was one between the hosts' own addresses.
    pub host: u64,
    /// How often it was one to an address that a STUN server had told.
    pub srflx: u64,
    /// How often it was one to an address that only a check brought to light.
    pub prflx: u64,
    /// Packets that hosts and server sent until ICE was content, in the middle.
    pub packets: u64,
    /// What must come out: `direct`, `prflx`, `relayed` or `failed`.
    pub expected: &'static str,
    /// Whether it did, with every seed.
    pub agrees: bool,
}

fn name<S: serde::Serializer>(preset: &Preset, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(preset.name())
}

/// What a [`Grid`] came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The rows and the columns.
    pub presets: Vec<Preset>,
    /// The cells, row by row: the preset of the host that calls is the row.
    pub cells: Vec<Cell>,
    /// Attempts to connect.
    pub runs: u64,
    /// Virtual time, all attempts added up.
    pub played: Duration,
    /// Real time.
    pub took: Duration,
    /// Packets that were sent.
    pub packets: u64,
    /// Things that happened in the simulated internets.
    pub steps: u64,
}

/// What is kept of the attempts of one pair: a few bytes each.
#[derive(Clone, Debug, Default)]
struct Tally {
    ways: [u64; 4],
    failed: u64,
    surprises: u64,
    micros: Vec<u32>,
    packets: Vec<u32>,
    sums: Sums,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    played: Duration,
    packets: u64,
    steps: u64,
}

impl Grid {
    /// These presets, with 100 seeds each, on all cores.
    pub fn new(presets: impl Into<Vec<Preset>>) -> Self {
        Self {
            presets: presets.into(),
            seeds: 100,
            first_seed: 1,
            loss: 0.0,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            laws: Laws::default(),
        }
    }

    /// The play of one cell with one seed.
    pub fn cast(&self, a: Preset, b: Preset, seed: u64) -> Cast {
        Cast { loss: self.loss, laws: self.laws, ..Cast::new(a, b, seed) }
    }

    /// All ordered pairs, row by row.
    pub fn pairs(&self) -> Vec<[Preset; 2]> {
        self.presets.iter().flat_map(|&a| self.presets.iter().map(move |&b| [a, b])).collect()
    }

    /// Plays them all. `progress` is told now and then how many attempts are done.
    ///
    /// # Panics
    /// If a machine breaks one of [`Grid::laws`].
    pub fn run(&self, progress: &(dyn Fn(u64) + Sync)) -> Report {
        self.play(&self.pairs(), progress)
    }

    /// Like [`Grid::run`], but only these pairs.
    ///
    /// # Panics
    /// If a machine breaks one of [`Grid::laws`].
    pub fn play(&self, pairs: &[[Preset; 2]], progress: &(dyn Fn(u64) + Sync)) -> Report {
        let begun = Instant::now();
        let tallies: Vec<Mutex<Tally>> = pairs.iter().map(|_| Mutex::default()).collect();
        let chunks_each = self.seeds.div_ceil(CHUNK) as usize;
        let (next, done) = (AtomicUsize::new(0), Mutex::new(0));
        let work = || {
            loop {
                let chunk = next.fetch_add(1, Ordering::Relaxed);
                let Some((&[a, b], tally)) =
                    pairs.get(chunk / chunks_each).zip(tallies.get(chunk / chunks_each))
                else {
                    return;
                };
                let first = (chunk % chunks_each) as u64 * CHUNK;
                let seeds = first..(first + CHUNK).min(self.seeds);
                let count = seeds.end - seeds.start;
                for seed in seeds {
                    let outcome = self.cast(a, b, self.first_seed + seed).run();
                    tally.lock().expect("nobody panics with it").add(&outcome, theory::expect(a, b));
                }
                let mut done = done.lock().expect("nobody panics with it");
                *done += count;
                progress(*done);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.threads.max(1) {
                scope.spawn(work);
            }
            work();
        });
        let tallies = tallies.into_iter().map(|tally| tally.into_inner().expect("nobody panics with it"));
        let mut report = Report {
            presets: self.presets.clone(),
            cells: Vec::new(),
            runs: 0,
            played: Duration::ZERO,
            took: Duration::ZERO,
            packets: 0,
            steps: 0,
        };
        for (&[a, b], tally) in pairs.iter().zip(tallies) {
            report.played += tally.sums.played;
            report.packets += tally.sums.packets;
            report.steps += tally.sums.steps;
            report.runs += self.seeds;
            report.cells.push(tally.cell(a, b));
        }
        report.took = begun.elapsed();
        report
    }

    /// The ladder of each cell's first seed, row by row.
    ///
    /// # Panics
    /// If a machine breaks one of [`Grid::laws`].
    pub fn ladders(&self) -> Vec<(Outcome, Ladder)> {
        self.pairs().into_iter().map(|[a, b]| self.cast(a, b, self.first_seed).tell()).collect()
    }
}

impl Report {
    /// Whether every attempt came out as theory says.
    pub fn agrees(&self) -> bool {
        self.cells.iter().all(|cell| cell.agrees)
    }
}

impl Cell {
    /// The way that most took; `None` if most did not connect.
    pub fn way(&self) -> Option<Way> {
        let counts = [
            (self.host, Some(Way::Host)),
            (self.srflx, Some(Way::Reflexive)),
            (self.prflx, Some(Way::PeerReflexive)),
            (self.relayed, Some(Way::Relayed)),
            (self.failed, None),
        ];
        counts.into_iter().max_by_key(|(count, _)| *count).and_then(|(_, way)| way)
    }
}

impl Tally {
    fn add(&mut self, outcome: &Outcome, expected: Class) {
        self.surprises += u64::from(!expected.admits(outcome.way));
        match outcome.way {
            Some(way) => {
                self.ways[way as usize] += 1;
                self.micros.push(u32::try_from(outcome.took.as_micros()).unwrap_or(u32::MAX));
            }
            None => self.failed += 1,
        }
        self.packets.push(u32::try_from(outcome.packets).unwrap_or(u32::MAX));
        self.sums.played += outcome.settled;
        self.sums.packets += outcome.packets;
        self.sums.steps += outcome.steps;
    }

    fn cell(mut self, a: Preset, b: Preset) -> Cell {
        let ms = |micros: u32| f64::from(micros / 100) / 10.0;
        self.micros.sort_unstable();
        self.packets.sort_unstable();
        let [host, srflx, prflx, relayed] = self.ways;
        let direct = host + srflx + prflx;
        Cell {
            a,
            b,
            seeds: direct + relayed + self.failed,
            connected: direct + relayed,
            direct,
            relayed,
            failed: self.failed,
            median_ms: self.micros.get(self.micros.len() / 2).copied().map_or(0.0, ms),
            slowest_ms: self.micros.last().copied().map_or(0.0, ms),
            host,
            srflx,
            prflx,
            packets: self.packets.get(self.packets.len() / 2).copied().unwrap_or_default().into(),
            expected: theory::expect(a, b).name(),
            agrees: self.surprises == 0,
        }
    }
}

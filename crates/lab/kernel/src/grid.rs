use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use netsim::Preset;
use scenario::{Cell, Way, theory};
use serde_json::Value;

use crate::error::LabError;
use crate::lab::{Builder, Host, Lab};
use crate::program::Program;
use crate::stop::Stop;

/// What is sent: no block of it looks like another.
const BYTES: usize = 100_001;
/// How long the server may take to start, and the two sides to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// For so long, and a bit less, ICE looks for a direct path once it has a relayed one.
const CONTENT: Duration = Duration::from_millis(2600);
/// A pause for the server, where it slows us down.
const BREATH: Duration = Duration::from_secs(2);
/// The one port that even the strictest office lets TCP out to.
const PORT: u16 = 443;
/// Where the server's page really is.
const HTTP: u16 = 8080;

/// Who meets whom: every ordered pair of some presets, by the real `sterna`.
#[derive(Clone, Debug)]
pub struct Grid {
    /// The program.
    pub sterna: PathBuf,
    /// What the two sides sit behind.
    pub presets: Vec<Preset>,
    /// How often each pair meets, at least 1.
    pub rounds: u32,
    /// How many pairs meet at a time, at least 1.
    pub lanes: usize,
    /// Who makes the boxes.
    pub builder: Builder,
    /// How long two sides may take to connect, before that counts as a failure.
    pub limit: Duration,
}

/// How the two sides of one pair met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Meeting {
    /// They met, and what was sent arrived.
    Connected {
        /// By which way data went in the end.
        way: Way,
        /// From the moment at which the second side was started until both were connected.
        took: Duration,
    },
    /// They did not; with all that they said.
    Failed(String),
}

/// All meetings of one pair.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Pair {
    /// What the sender sits behind.
    pub a: Preset,
    /// What the receiver sits behind.
    pub b: Preset,
    /// How they went.
    pub meetings: Vec<Meeting>,
}

/// A lab with both sides of all pairs.
struct Stage {
    url: String,
    senders: BTreeMap<Preset, Host>,
    receivers: BTreeMap<Preset, Host>,
    lab: Lab,
}

impl Grid {
    /// A grid of these presets: one meeting a pair, two pairs at a time.
    pub fn new(sterna: impl Into<PathBuf>, presets: &[Preset]) -> Self {
        Self {
            sterna: sterna.into(),
            presets: presets.to_vec(),
            rounds: 1,
            lanes: 2,
            builder: Builder::default(),
            limit: Duration::from_secs(30),
        }
    }

    /// All ordered pairs, row by row.
    pub fn pairs(&self) -> Vec<[Preset; 2]> {
        self.presets.iter().flat_map(|&a| self.presets.iter().map(move |&b| [a, b])).collect()
    }

    /// Builds the topologies and lets all pairs meet. `progress` is called after each pair; the result is in the
    /// order of the presets, row by row.
    ///
    /// # Errors
    /// Whatever the lab objects to; [`LabError::Stopped`]. That a pair does not connect is no error.
    pub fn run(&self, stop: &Stop, progress: &(dyn Fn(&Pair) + Sync)) -> Result<Vec<Pair>, LabError> {
        self.play(&self.pairs(), stop, progress)
    }

    /// Like [`Grid::run`], but only these pairs, in this order.
    ///
    /// # Errors
    /// As [`Grid::run`].
    pub fn play(
        &self,
        pairs: &[[Preset; 2]],
        stop: &Stop,
        progress: &(dyn Fn(&Pair) + Sync),
    ) -> Result<Vec<Pair>, LabError> {
        // In this order they are dropped from the end: the server before the lab that would kill it.
        let (stage, _serve) = Stage::new(self, pairs, stop)?;
        // Diagonal by diagonal: the server slows down whoever knocks too often.
        let mut order: Vec<_> = (0..pairs.len()).collect();
        order.sort_by_key(|&number| stage.diagonal(pairs[number]));
        let next = AtomicUsize::new(0);
        let done: Vec<Mutex<Option<Pair>>> = pairs.iter().map(|_| Mutex::new(None)).collect();
        let lane = || -> Result<(), LabError> {
            loop {
                let Some(&number) = order.get(next.fetch_add(1, Ordering::Relaxed)) else { return Ok(()) };
                let [a, b] = pairs[number];
                let meetings = (0..self.rounds).map(|_| stage.meeting(self, [a, b], stop));
                let meetings = meetings.collect::<Result<_, _>>()?;
                let pair = Pair { a, b, meetings };
                progress(&pair);
                *done[number].lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(pair);
            }
        };
        std::thread::scope(|scope| {
            let lanes: Vec<_> = (0..self.lanes.max(1)).map(|_| scope.spawn(lane)).collect();
            let ends = lanes.into_iter().map(|lane| match lane.join() {
                Ok(end) => end,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            // All of them, before the first error counts.
            ends.collect::<Vec<_>>().into_iter().collect::<Result<(), _>>()
        })?;
        let done =
            done.into_iter().map(|pair| pair.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner));
        Ok(done.map(|pair| pair.expect("every pair has met")).collect())
    }
}

impl Pair {
    /// As the simulator tells of its own.
    pub fn cell(&self) -> Cell {
        let ways: Vec<_> = self.meetings.iter().filter_map(|meeting| meeting.way()).collect();
        let count = |wanted: Way| ways.iter().filter(|way| **way == wanted).count() as u64;
        let [host, srflx, prflx, relayed] =
            [Way::Host, Way::Reflexive, Way::PeerReflexive, Way::Relayed].map(count);
        let took = self.meetings.iter().filter_map(|meeting| match meeting {
            Meeting::Connected { took, .. } => Some(took.as_secs_f64() * 1000.0),
            Meeting::Failed(_) => None,
        });
        let mut took: Vec<_> = took.map(|ms| (ms * 10.0).round() / 10.0).collect();
        took.sort_by(f64::total_cmp);
        let (seeds, connected) = (self.meetings.len() as u64, ways.len() as u64);
        let expected = theory::expect(self.a, self.b);
        Cell {
            a: self.a,
            b: self.b,
            seeds,
            connected,
            direct: connected - relayed,
            relayed,
            failed: seeds - connected,
            median_ms: took.get(took.len() / 2).copied().unwrap_or_default(),
            slowest_ms: took.last().copied().unwrap_or_default(),
            host,
            srflx,
            prflx,
            packets: 0,
            expected: expected.name(),
            agrees: self.meetings.iter().all(|meeting| expected.admits(meeting.way())),
        }
    }

    /// Whether it came out as the simulator's did: direct where that is direct, relayed where that is relayed.
    pub fn is_as(&self, simulated: &Cell) -> bool {
        let cell = self.cell();
        let side = |cell: &Cell| (cell.direct > 0, cell.relayed > 0, cell.failed > 0);
        side(&cell) == side(simulated)
    }
}

impl Meeting {
    /// By which way they met, if they did.
    pub fn way(&self) -> Option<Way> {
        match self {
            Self::Connected { way, .. } => Some(*way),
            Self::Failed(_) => None,
        }
    }
}

impl Stage {
    fn new(grid: &Grid, pairs: &[[Preset; 2]], stop: &Stop) -> Result<(Self, Program), LabError> {
        let mut lab = Lab::new()?;
        lab.set_builder(grid.builder);
        // Even who may speak to port 443 alone finds signalling and relay: each at an address of its own.
        let server = lab.add_server("server", 2)?;
        let [relay, page] = [0, 1].map(|n| server.addresses()[n]);
        redirect(&server, page)?;
        let mut serve = Program::start(
            &grid.sterna,
            &server,
            lab.folder(),
            &[
                "serve",
                "--listen",
                "0.0.0.0",
                "--public-ip",
                &relay.to_string(),
                "--http",
                &HTTP.to_string(),
                "--stun",
                &PORT.to_string(),
            ],
            stop,
        )?;
        serve.event("listening", PATIENCE)?;
        let mut side = |side: &str, number: usize| {
            let presets: BTreeSet<_> = pairs.iter().map(|pair| pair[number]).collect();
            let hosts = presets.into_iter().map(|preset| {
                stop.check()?;
                let mut site = lab.add_site(&format!("{side}-{preset}"), preset)?;
                Ok((preset, lab.add_host(&mut site, &format!("host-{side}-{preset}"))?))
            });
            hosts.collect::<Result<_, LabError>>()
        };
        let (senders, receivers) = (side("a", 0)?, side("b", 1)?);
        let url = format!("http://{page}:{PORT}");
        Ok((Self { url, senders, receivers, lab }, serve))
    }

    /// The number of the diagonal that a pair is on: nobody is twice on the same one.
    fn diagonal(&self, [a, b]: [Preset; 2]) -> usize {
        let row = self.senders.keys().position(|it| *it == a).unwrap_or_default();
        let column = self.receivers.keys().position(|it| *it == b).unwrap_or_default();
        let count = self.senders.len().max(self.receivers.len());
        (column + count - row) % count
    }

    /// One file goes from a sender to a receiver.
    fn meeting(&self, grid: &Grid, [a, b]: [Preset; 2], stop: &Stop) -> Result<Meeting, LabError> {
        static MEETINGS: AtomicU32 = AtomicU32::new(0);
        let folder = self.lab.folder().join(MEETINGS.fetch_add(1, Ordering::Relaxed).to_string());
        let deadline = Instant::now() + PATIENCE;
        loop {
            let meeting = self.meet(grid, &folder, (&self.senders[&a], &self.receivers[&b]), stop);
            let _ = fs::remove_dir_all(&folder);
            match meeting {
                Err(LabError::Failed { command, message }) => {
                    stop.check()?;
                    if !message.contains("too many tries") || Instant::now() >= deadline {
                        return Ok(Meeting::Failed(format!("{command}: {message}")));
                    }
                    std::thread::sleep(BREATH);
                }
                meeting => return meeting,
            }
        }
    }

    fn meet(
        &self,
        grid: &Grid,
        folder: &Path,
        (from, to): (&Host, &Host),
        stop: &Stop,
    ) -> Result<Meeting, LabError> {
        let (cargo, out) = (folder.join("cargo.bin"), folder.join("out"));
        let bytes = noise();
        let failed = |source| LabError::Io { what: format!("writing {}", cargo.display()), source };
        fs::create_dir_all(&out).and_then(|()| fs::write(&cargo, &bytes)).map_err(failed)?;
        let start = |host: &Host, arguments: &[&str]| {
            let arguments = [arguments, &["--server", &self.url]].concat();
            Program::start(&grid.sterna, host, folder, &arguments, stop)
        };
        let mut sender = start(from, &["send", &text(&cargo)])?;
        let code = sender.event("code", PATIENCE)?["code"].as_str().unwrap_or_default().to_owned();
        let begun = Instant::now();
        let mut receiver = start(to, &["receive", &code, "--yes", "--out", &text(&out)])?;
        receiver.event("connected", grid.limit)?;
        sender.event("connected", grid.limit)?;
        let took = begun.elapsed();
        let paths = via(&mut receiver, &mut sender)?;
        receiver.end(PATIENCE)?;
        sender.end(PATIENCE)?;
        let arrived = fs::read(out.join("cargo.bin")).is_ok_and(|arrived| arrived == bytes);
        if !arrived {
            return Ok(Meeting::Failed("the file did not arrive as it was sent".to_owned()));
        }
        let way = match way(&paths) {
            // A short transfer ends before ICE is content: it looks for a direct path while data flows.
            Way::Relayed => self.settle(grid, folder, (from, to), stop)?,
            direct => direct,
        };
        Ok(Meeting::Connected { way, took })
    }

    /// By which way the two go when they have the time to look for the best.
    fn settle(
        &self,
        grid: &Grid,
        folder: &Path,
        (from, to): (&Host, &Host),
        stop: &Stop,
    ) -> Result<Way, LabError> {
        let start = |host: &Host, arguments: &[&str]| {
            let arguments = [&["pipe"], arguments, &["--server", &self.url]].concat();
            Program::start(&grid.sterna, host, folder, &arguments, stop)
        };
        let mut one = start(from, &[])?;
        let code = one.event("code", PATIENCE)?["code"].as_str().unwrap_or_default().to_owned();
        let mut other = start(to, &[&code])?;
        // That one first which knows why it could not come: the other would only wait for it.
        other.event("connected", grid.limit)?;
        one.event("connected", grid.limit)?;
        std::thread::sleep(CONTENT);
        one.close_input();
        other.close_input();
        Ok(way(&via(&mut one, &mut other)?))
    }
}

/// The paths of the data in the end, as both sides tell.
fn via(one: &mut Program, other: &mut Program) -> Result<[Value; 2], LabError> {
    let done = |side: &mut Program| Ok(side.event("done", PATIENCE)?["via"].clone());
    Ok([done(one)?, done(other)?])
}

/// From the paths that the two sides told: an end that is peer-reflexive for one makes the way so.
fn way(paths: &[Value]) -> Way {
    let has = |wanted: &str| paths.iter().any(|path| path["local"] == wanted || path["remote"] == wanted);
    if paths.iter().any(|path| path["kind"] == "relayed") {
        Way::Relayed
    } else if has("prflx") {
        Way::PeerReflexive
    } else if has("srflx") {
        Way::Reflexive
    } else {
        Way::Host
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Makes the page answer on port 443 of one of the server's addresses.
fn redirect(server: &Host, page: Ipv4Addr) -> Result<(), LabError> {
    let rules = format!(
        "table ip lab {{
            chain prerouting {{
                type nat hook prerouting priority dstnat;
                ip daddr {page} tcp dport {PORT} redirect to :{HTTP}
            }}
        }}"
    );
    server.nft(&rules)
}

/// Bytes in which no block looks like another.
fn noise() -> Vec<u8> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(BYTES).collect()
}

//! Who sent what to whom, and what became of it on the way.

mod naming;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::Duration;

use netsim::{Fate, HostId, Place, PlaceKind, Record, Trace};
use sansio::{Path, Time};

pub use naming::Layer;
use naming::Namer;

use crate::{Letter, Peer, World};

/// The way of each packet of a run, as a ladder diagram has it: a column for each host and box, time running down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ladder {
    /// The columns, from left to right.
    pub lanes: Vec<Lane>,
    /// What was sent, in order.
    pub steps: Vec<Step>,
}

/// A column of a [`Ladder`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lane {
    /// Its name in the net.
    pub name: String,
    /// What it is.
    pub kind: PlaceKind,
    /// What it does, for people: the preset of a box, the address of a host.
    pub about: String,
}

/// One packet or letter of a [`Ladder`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// When it was sent.
    pub at: Time,
    /// Its number in the trace; 0 for letters.
    pub packet: u64,
    /// What it belongs to.
    pub layer: Layer,
    /// Its name in its protocol: `Binding request`.
    pub title: String,
    /// What it says, if that can be said in a few words.
    pub detail: String,
    /// Who sent it, as an index into [`Ladder::lanes`].
    pub from: usize,
    /// The addresses that it left with; `None` for letters.
    pub path: Option<Path>,
    /// What happened to it on its way, in order. The last one tells how it ended.
    pub stops: Vec<Stop>,
}

/// Something that happened to a packet at a column.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stop {
    /// When.
    pub at: Time,
    /// Where, as an index into [`Ladder::lanes`].
    pub lane: usize,
    /// What.
    pub what: Happened,
}

/// What happened to a packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happened {
    /// A box gave it other addresses: these.
    Rewritten(Path),
    /// A box let it pass as it is.
    Passed,
    /// It was received.
    Delivered,
    /// It went no further; this is why.
    Dropped(String),
    /// A link changed some of its bits, or made two of it.
    Damaged(&'static str),
}

impl Step {
    /// Whether it got where it should.
    pub fn arrived(&self) -> bool {
        self.stops.iter().any(|stop| stop.what == Happened::Delivered)
    }

    /// Where and why it went no further.
    pub fn dropped(&self) -> Option<(&Stop, &str)> {
        self.stops.iter().find_map(|stop| match &stop.what {
            Happened::Dropped(why) => Some((stop, why.as_str())),
            _ => None,
        })
    }
}

impl Ladder {
    /// The ladder of all that happened in a world, as far as its net has kept records and payloads, its letters were
    /// kept, and its peers have kept their SCTP packets ([`peer::Configuration::capture`]). `order` tells the columns from left to right; what it does not name comes behind, in the net's order. Places
    /// without a packet have none.
    pub fn of(world: &World, order: &[(Place, String)], peers: &[HostId], until: Time) -> Self {
        let trace = world.net.trace();
        let mut builder = Builder {
            trace,
            columns: columns(trace, order),
            namer: Namer::default(),
            open: BTreeMap::new(),
            steps: Vec::new(),
        };
        let mut sealed: BTreeMap<Place, VecDeque<Vec<u8>>> = peers
            .iter()
            .map(|&host| {
                (
                    world.net.place(host),
                    world.net.machine::<Peer>(host).connection().captured().iter().cloned().collect(),
                )
            })
            .collect();
        for letter in world.letters().iter().filter(|letter| letter.sent <= until) {
            let lane = |host| builder.columns.iter().position(|(place, _)| *place == world.net.place(host));
            if let (Some(from), Some(to)) = (lane(letter.from), lane(letter.to)) {
                builder.steps.push(step_of(letter, from, to));
            }
        }
        for (index, record) in trace.records().iter().enumerate() {
            if record.time <= until || builder.open.contains_key(&record.packet) {
                builder.add(index, record, &mut sealed);
            }
        }
        builder.finish()
    }

    /// The steps that name a lane's box or host as the place where they ended.
    pub fn drops(&self) -> impl Iterator<Item = (&Step, &Stop, &str)> {
        self.steps.iter().filter_map(|step| step.dropped().map(|(stop, why)| (step, stop, why)))
    }
}

fn columns(trace: &Trace, order: &[(Place, String)]) -> Vec<(Place, Lane)> {
    let lane = |place, about: &str| {
        (place, Lane { name: trace.name(place).to_owned(), kind: trace.kind(place), about: about.to_owned() })
    };
    let named = order.iter().map(|(place, about)| lane(*place, about));
    let rest = trace
        .places()
        .filter(|place| order.iter().all(|(named, _)| named != place))
        .map(|place| lane(place, ""));
    named.chain(rest).collect()
}

fn step_of(letter: &Letter, from: usize, to: usize) -> Step {
    Step {
        at: letter.sent,
        packet: 0,
        layer: Layer::Signalling,
        title: letter.mail.title(),
        detail: String::new(),
        from,
        path: None,
        stops: vec![Stop { at: letter.due, lane: to, what: Happened::Delivered }],
    }
}

struct Builder<'a> {
    trace: &'a Trace,
    columns: Vec<(Place, Lane)>,
    namer: Namer,
    /// The step of each packet under way.
    open: BTreeMap<u64, usize>,
    steps: Vec<Step>,
}

impl Builder<'_> {
    fn add(&mut self, index: usize, record: &Record, sealed: &mut BTreeMap<Place, VecDeque<Vec<u8>>>) {
        let Some(lane) = self.columns.iter().position(|(place, _)| *place == record.place) else { return };
        if record.fate == Fate::Sent {
            let payload = self.trace.payload(index).unwrap_or_default();
            let mut none = VecDeque::new();
            let sealed = sealed.get_mut(&record.place).unwrap_or(&mut none);
            let named = self.namer.name(record.content, payload, sealed);
            self.open.insert(record.packet, self.steps.len());
            self.steps.push(Step {
                at: record.time,
                packet: record.packet,
                layer: named.layer,
                title: named.title,
                detail: named.detail,
                from: lane,
                path: Some(record.path),
                stops: Vec::new(),
            });
            return;
        }
        let what = match record.fate {
            Fate::Translated { to } => Happened::Rewritten(to),
            Fate::Passed { .. } => Happened::Passed,
            Fate::Delivered => Happened::Delivered,
            Fate::Dropped(cause) => Happened::Dropped(cause.to_string()),
            Fate::Duplicated => Happened::Damaged("duplicated"),
            Fate::Tampered => Happened::Damaged("tampered with"),
            Fate::Sent => return,
        };
        if let Some(&step) = self.open.get(&record.packet) {
            self.steps[step].stops.push(Stop { at: record.time, lane, what });
        }
    }

    /// Sorts by time and leaves out columns that nothing happened at.
    fn finish(self) -> Ladder {
        let mut steps = self.steps;
        steps.sort_by_key(|step| step.at);
        let used = |lane: usize| {
            steps.iter().any(|step| step.from == lane || step.stops.iter().any(|stop| stop.lane == lane))
        };
        let mut lanes = Vec::new();
        let mut moved = Vec::new();
        for (index, (_, lane)) in self.columns.into_iter().enumerate() {
            moved.push(lanes.len());
            if used(index) {
                lanes.push(lane);
            }
        }
        for step in &mut steps {
            step.from = moved[step.from];
            step.stops.iter_mut().for_each(|stop| stop.lane = moved[stop.lane]);
        }
        Ladder { lanes, steps }
    }
}

/// `5.0.0.10:3478`, or with brackets.
fn spell(path: Path) -> String {
    format!("{} → {}", path.local, path.remote)
}

impl fmt::Display for Ladder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |lane: usize| &self.lanes[lane].name;
        for step in &self.steps {
            let ms = |at: Time| Duration::as_secs_f64(&at.elapsed()) * 1000.0;
            write!(f, "{:>9.1} ms  {} sends {}", ms(step.at), name(step.from), step.title)?;
            if !step.detail.is_empty() {
                write!(f, " ({})", step.detail)?;
            }
            if let Some(path) = step.path {
                write!(f, ", {}", spell(path))?;
            }
            for stop in &step.stops {
                let name = name(stop.lane);
                match &stop.what {
                    Happened::Rewritten(path) => write!(f, "; {name} makes it {}", spell(*path)),
                    Happened::Passed => write!(f, "; {name} lets it pass"),
                    Happened::Delivered => write!(f, "; {name} gets it at {:.1} ms", ms(stop.at)),
                    Happened::Dropped(why) => write!(f, "; {name} drops it: {why}"),
                    Happened::Damaged(how) => write!(f, "; {how} at {name}"),
                }?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

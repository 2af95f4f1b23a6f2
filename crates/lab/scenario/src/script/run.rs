use std::fmt;
use std::time::Duration;

use netsim::{HostId, Net, Place};
use sansio::Time;

use super::director::Director;
use super::judge::Verdict;
use super::mistake::{Mistake, Source};
use super::plan::Plan;
use super::quantity::seconds;
use super::read;
use super::stage::Stage;
use super::words::Words;
use crate::Ladder;

/// A scenario that has been read and makes sense.
#[derive(Clone, Debug)]
pub struct Script {
    plan: Plan,
    /// What each expectation says, in words.
    claims: Vec<(usize, String)>,
}

impl Script {
    /// Reads a scenario. `file` is its name in what [`Mistake`]s say.
    ///
    /// # Errors
    /// The first mistake in it, with its line and what was expected there.
    pub fn parse(file: &str, text: &str) -> Result<Self, Mistake> {
        let plan = read::plan(&Source { file, text })?;
        let claims = plan.expectations.iter().map(|it| (it.line, Words(&plan).claim(&it.claim))).collect();
        Ok(Self { plan, claims })
    }

    /// Reads a scenario as the bytes of a file, which have to be UTF-8.
    ///
    /// # Errors
    /// As [`Script::parse`].
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, Mistake> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::parse(file, text),
            Err(error) => {
                let at = error.valid_up_to();
                let text = String::from_utf8_lossy(bytes);
                let what = format!("the byte 0x{:02x} is not UTF-8", bytes[at]);
                let source = Source { file, text: &text };
                Err(source.mistake(&(at..at + 1), what, "a file in UTF-8"))
            }
        }
    }

    /// What it is called.
    pub fn title(&self) -> &str {
        &self.plan.title
    }

    /// What it is about, perhaps several lines; empty if its author said nothing.
    pub fn about(&self) -> &str {
        &self.plan.about
    }

    /// The seed that it names, 1 if it names none.
    pub fn seed(&self) -> u64 {
        self.plan.seed
    }

    /// Plays it. The same seed gives the same run, but for what DTLS draws from the system.
    pub fn run(&self, seed: u64) -> Run {
        let mut director = Director::new(&self.plan, seed);
        director.play();
        let verdicts = std::mem::take(&mut director.judge.verdicts);
        let mut findings: Vec<Finding> = verdicts
            .into_iter()
            .zip(&self.claims)
            .map(|(verdict, (line, claim))| {
                let (held, because) = match verdict {
                    Verdict::Held(because) => (true, because),
                    Verdict::Broken(because) => (false, because),
                    Verdict::Open => (false, "it was not decided".to_owned()),
                };
                Finding { line: *line, claim: claim.clone(), held, because }
            })
            .collect();
        let problem = |because: String| Finding {
            line: 0,
            claim: "everything can be done".into(),
            held: false,
            because,
        };
        findings.extend(std::mem::take(&mut director.problems).into_iter().map(problem));
        let peers = director.peers();
        Run { plan: self.plan.clone(), seed, findings, stage: director.stage, peers }
    }
}

/// What came of an expectation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Where the file says it; 0 if it says it nowhere.
    pub line: usize,
    /// What was expected, in words.
    pub claim: String,
    /// Whether it is true.
    pub held: bool,
    /// How one can tell.
    pub because: String,
}

/// A scenario that has been played.
///
/// [`Display`](fmt::Display) is a line for each expectation.
pub struct Run {
    plan: Plan,
    seed: u64,
    findings: Vec<Finding>,
    stage: Stage,
    /// Those that still run.
    peers: Vec<HostId>,
}

impl Run {
    /// Whether all expectations hold.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|finding| finding.held)
    }

    /// One for each expectation, and one for each event that could not be done.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The seed that it was played with.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// How long it took, in the time of the scenario.
    pub fn took(&self) -> Duration {
        self.net().now().elapsed()
    }

    /// How many packets the hosts have sent.
    pub fn packets(&self) -> u64 {
        self.net().packets()
    }

    /// The net as it was in the end, with the trace of all packets.
    pub fn net(&self) -> &Net {
        &self.stage.world.net
    }

    /// Everything that was sent, and what the boxes did with it. The columns are ordered as one would draw them: the first
    /// network with its hosts, the internet, and the other networks.
    pub fn ladder(&self) -> Ladder {
        Ladder::of(&self.stage.world, &self.columns(), &self.peers, Time::from_start(Duration::MAX))
    }

    fn columns(&self) -> Vec<(Place, String)> {
        let mut columns = Vec::new();
        let top: Vec<usize> = (0..self.plan.networks.len())
            .filter(|network| self.plan.networks[*network].behind.is_none())
            .collect();
        if let Some(first) = top.first() {
            // Inside on the left.
            self.network_columns(*first, true, &mut columns);
            columns.reverse();
        }
        self.host_columns(None, false, &mut columns);
        for network in top.iter().skip(1) {
            self.network_columns(*network, false, &mut columns);
        }
        columns
    }

    /// A box, and what is behind it; mirrored, the hosts come in reverse.
    fn network_columns(&self, network: usize, mirrored: bool, columns: &mut Vec<(Place, String)>) {
        let segment = self.stage.segments[network];
        let net = self.net();
        // A preset may be several boxes.
        let behind =
            self.plan.networks[network].behind.map_or(Net::INTERNET, |outside| self.stage.segments[outside]);
        let mut boxes = vec![segment];
        while let Some(outside) = net.outside(boxes[boxes.len() - 1]).filter(|outside| *outside != behind) {
            boxes.push(outside);
        }
        columns.extend(
            boxes.iter().rev().map(|it| (net.gateway_place(*it), net.external_address(*it).to_string())),
        );
        for inner in 0..self.plan.networks.len() {
            if self.plan.networks[inner].behind == Some(network) {
                self.network_columns(inner, mirrored, columns);
            }
        }
        self.host_columns(Some(network), mirrored, columns);
    }

    fn host_columns(&self, network: Option<usize>, mirrored: bool, columns: &mut Vec<(Place, String)>) {
        let mut hosts: Vec<_> = self.plan.hosts.iter().zip(&self.stage.hosts).collect();
        if mirrored {
            hosts.reverse();
        }
        for (host, id) in hosts {
            if host.networks.first() == Some(&network) {
                let about = self.net().addresses(*id).first().map(ToString::to_string).unwrap_or_default();
                columns.push((self.net().place(*id), about));
            }
        }
    }

    /// What each host and each box saw, as pcapng files that Wireshark opens: name and contents.
    pub fn captures(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        let trace = self.net().trace();
        self.columns().into_iter().map(|(place, _)| (trace.name(place), trace.pcapng(place)))
    }
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("seed", &self.seed)
            .field("findings", &self.findings)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} (seed {}, {})", self.plan.title, self.seed, seconds(self.took()))?;
        for Finding { line, claim, held, because } in &self.findings {
            let mark = if *held { "✓" } else { "✗" };
            let at = if *held || *line == 0 { String::new() } else { format!(" (line {line})") };
            writeln!(f, "  {mark} {claim}{at}: {because}")?;
        }
        Ok(())
    }
}

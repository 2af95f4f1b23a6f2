use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use netsim::PlaceKind;
use sansio::{Path, Time};
use serde_json::{Value, json};

use crate::{Cell, Happened, Ladder, Layer, Outcome, Report, Step, Way};

const PAGE: &str = include_str!("html/page.html");
const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Steps of a ladder that the page shows. With relays on both sides there are some five hundred.
const STEPS: usize = 640;

/// A grid as one page that needs nothing else: a matrix in which each cell opens the ladder of its run.
///
/// `ladders` has one run for each cell of the report, as [`Grid::ladders`](crate::Grid::ladders) gives them; `seed` is theirs.
pub fn html(report: &Report, ladders: &[(Outcome, Ladder)], seed: u64) -> String {
    let mut strings = Strings::default();
    let runs: Vec<Value> =
        report.cells.iter().zip(ladders).map(|(cell, run)| strings.run(cell, run)).collect();
    let data = json!({
        "seed": seed,
        "layers": Layer::ALL.map(Layer::name),
        "runs": runs,
        "strings": strings.list,
    });
    // In a script element nothing is special but its end.
    let data = data.to_string().replace('<', "\\u003c");
    let parts = [
        ("{{STYLE}}", STYLE.to_owned()),
        ("{{SUMMARY}}", summary(report)),
        ("{{MATRIX}}", matrix(report)),
        ("{{DATA}}", data),
        ("{{SCRIPT}}", SCRIPT.to_owned()),
    ];
    let mut page = String::new();
    let mut rest = PAGE;
    for (mark, part) in parts {
        let (before, after) = rest.split_once(mark).expect("the template has each mark once, in this order");
        page.push_str(before);
        page.push_str(&part);
        rest = after;
    }
    page + rest
}

fn summary(report: &Report) -> String {
    let seconds = report.played.as_secs_f64();
    let all = report.cells.iter().all(|cell| cell.failed == 0);
    let what = if all { "complete connections" } else { "attempts to connect" };
    let each = report.cells.first().map_or(0, |cell| cell.seeds);
    let agrees = if report.agrees() {
        "Every one of them came out as the theory says."
    } else {
        "Not all of them came out as the theory says: the cells with an exclamation mark did not."
    };
    format!(
        "{} {what}, {each} for each pair: ICE, DTLS, SCTP and a message each way, with the code that ships. \
         {seconds:.0} seconds of virtual time, {} packets. {agrees}",
        thousands(report.runs),
        thousands(report.packets),
    )
}

/// `1,600`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How a cell looks: a class for the style sheet, a sign that needs no colour, and a word.
fn face(cell: &Cell) -> (&'static str, &'static str, &'static str) {
    match cell.way() {
        Some(Way::Host | Way::Reflexive) => ("direct", "●", "direct"),
        Some(Way::PeerReflexive) => ("prflx", "◆", "direct, prflx"),
        Some(Way::Relayed) => ("relayed", "○", "relayed"),
        None => ("failed", "✗", "not connected"),
    }
}

fn matrix(report: &Report) -> String {
    let mut text =
        String::from("<thead><tr><td class=\"corner\"><span>called →</span><span>calls ↓</span></td>");
    for preset in &report.presets {
        let _ = write!(text, "<th scope=\"col\" title=\"{}\"><span>{preset}</span></th>", preset.describe());
    }
    text.push_str("</tr></thead><tbody>");
    let rows = report.cells.chunks(report.presets.len().max(1)).zip(&report.presets).enumerate();
    for (row, (cells, preset)) in rows {
        let _ = write!(text, "<tr><th scope=\"row\" title=\"{}\">{preset}</th>", preset.describe());
        for (column, cell) in cells.iter().enumerate() {
            let (class, sign, word) = face(cell);
            let doubt = if cell.agrees { "" } else { "<b class=\"doubt\">!</b>" };
            let index = row * report.presets.len() + column;
            let ms = match cell.connected {
                0 => String::new(),
                _ => format!("{:.0}<small> ms</small>", cell.median_ms),
            };
            let _ = write!(
                text,
                "<td><button type=\"button\" class=\"cell {class}\" data-run=\"{index}\" tabindex=\"{}\" \
                 aria-label=\"{} calls {}: {word}{}\" title=\"{}: {word}\"><span class=\"sign\" aria-hidden=\"true\">{sign}</span>\
                 <span class=\"ms\">{ms}</span>{doubt}</button></td>",
                if index == 0 { 0 } else { -1 },
                cell.a,
                cell.b,
                if cell.connected > 0 { format!(", {:.0} ms", cell.median_ms) } else { String::new() },
                format_args!("{} × {}", cell.a, cell.b),
            );
        }
        text.push_str("</tr>");
    }
    text + "</tbody>"
}

/// All texts of the ladders, each once.
#[derive(Default)]
struct Strings {
    list: Vec<String>,
    known: BTreeMap<String, usize>,
}

impl Strings {
    fn index(&mut self, text: &str) -> usize {
        if let Some(&index) = self.known.get(text) {
            return index;
        }
        self.list.push(text.to_owned());
        self.known.insert(text.to_owned(), self.list.len() - 1);
        self.list.len() - 1
    }

    fn run(&mut self, cell: &Cell, (outcome, ladder): &(Outcome, Ladder)) -> Value {
        let lanes: Vec<Value> = ladder
            .lanes
            .iter()
            .map(|lane| {
                let kind = match lane.kind {
                    PlaceKind::Internet => "internet",
                    PlaceKind::Gateway => "box",
                    PlaceKind::Host => "host",
                };
                json!([lane.name, lane.about, kind])
            })
            .collect();
        let steps: Vec<Value> = ladder.steps.iter().take(STEPS).map(|step| self.step(step)).collect();
        json!({
            "a": cell.a.name(),
            "b": cell.b.name(),
            "result": result(outcome),
            "face": face(cell).0,
            "took": outcome.took.as_micros() as u64,
            "of": outcome.path_lines(),
            "tally": tally(cell),
            "more": ladder.steps.len().saturating_sub(STEPS),
            "lanes": lanes,
            "steps": steps,
        })
    }

    fn step(&mut self, step: &Step) -> Value {
        let stops: Vec<Value> = step
            .stops
            .iter()
            .map(|stop| {
                let (what, text) = match &stop.what {
                    Happened::Rewritten(path) => (0, self.path(*path)),
                    Happened::Passed => (1, 0),
                    Happened::Delivered => (2, 0),
                    Happened::Dropped(why) => (3, self.index(why)),
                    Happened::Damaged(how) => (4, self.index(how)),
                };
                json!([stop.lane, what, text, micros(stop.at)])
            })
            .collect();
        let layer = Layer::ALL.iter().position(|layer| *layer == step.layer);
        let path = step.path.map(|path| self.path(path));
        json!([
            micros(step.at),
            layer,
            self.index(&step.title),
            self.index(&step.detail),
            step.from,
            path,
            stops
        ])
    }

    fn path(&mut self, path: Path) -> usize {
        self.index(&format!("{}|{}", path.local, path.remote))
    }
}

fn micros(time: Time) -> u64 {
    time.elapsed().as_micros() as u64
}

fn result(outcome: &Outcome) -> String {
    let ms = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1000.0);
    match outcome.way {
        Some(way) => {
            let way = match way {
                Way::Host => "directly, between their own addresses",
                Way::Reflexive => "directly, to an address that STUN told",
                Way::PeerReflexive => "directly, to an address that only a check brought to light",
                Way::Relayed => "through the relay",
            };
            format!(
                "Connected {way}. A message had passed each way after {}; {} packets until ICE was content after {}.",
                ms(outcome.took),
                outcome.packets,
                ms(outcome.settled)
            )
        }
        None => {
            let why = outcome.failures.iter().flatten().next();
            why.map_or("Not connected.".to_owned(), |failure| {
                format!("Not connected: {}.", failure.message())
            })
        }
    }
}

fn tally(cell: &Cell) -> String {
    let counts = [
        (cell.host, "host"),
        (cell.srflx, "srflx"),
        (cell.prflx, "prflx"),
        (cell.relayed, "relayed"),
        (cell.failed, "not connected"),
    ];
    let counted: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    format!(
        "All {} seeds: {}; in the middle {:.0} ms, at most {:.0} ms. Theory: {}.",
        cell.seeds,
        counted.join(", "),
        cell.median_ms,
        cell.slowest_ms,
        cell.expected
    )
}

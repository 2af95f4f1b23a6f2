//! A ladder as text: columns, arrows, and what the boxes did.

use std::time::Duration;

use sansio::{Path, Time};

use super::quantity::seconds;
use crate::{Happened, Ladder, Layer, Step};

/// Where the first column stands: left of it is the time.
const MARGIN: usize = 12;
/// Beyond this no text goes, if it can go elsewhere.
const EDGE: usize = 140;
/// From one column to the next.
const STRIDE: usize = 22;

/// Which part of a [`Ladder`] is drawn.
#[derive(Clone, Debug)]
pub struct Picture {
    /// From when on.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// Only packets of these layers; all if there are none.
    pub layers: Vec<Layer>,
    /// Only packets that come from, pass or reach one of these columns; all if there are none.
    pub lanes: Vec<String>,
}

impl Default for Picture {
    /// Everything.
    fn default() -> Self {
        let until = Time::from_start(Duration::MAX);
        Self { from: Time::ZERO, until, layers: Vec::new(), lanes: Vec::new() }
    }
}

impl Picture {
    /// Draws it: a line of text, an arrow, and a line for everything that a box did, for each packet.
    ///
    /// A `●` is a box that changed addresses, a `○` one that let the packet pass as it was, a `✗` where it ended.
    /// Dotted arrows are signalling.
    pub fn draw(&self, ladder: &Ladder) -> String {
        let steps: Vec<&Step> = ladder.steps.iter().filter(|step| self.shows(ladder, step)).collect();
        let mut shown: Vec<usize> = steps
            .iter()
            .flat_map(|step| step.stops.iter().map(|stop| stop.lane).chain([step.from]))
            .collect();
        shown.sort_unstable();
        shown.dedup();
        let mut canvas = Canvas { lanes: shown.len(), lines: Vec::new() };
        canvas.heads(shown.iter().map(|lane| ladder.lanes[*lane].name.as_str()));
        if shown.iter().any(|lane| !ladder.lanes[*lane].about.is_empty()) {
            canvas.heads(shown.iter().map(|lane| ladder.lanes[*lane].about.as_str()));
        }
        let column =
            |lane: usize| shown.iter().position(|it| *it == lane).expect("every lane of a step is shown");
        for step in steps {
            canvas.step(step, column);
        }
        canvas.lines.join("\n") + "\n"
    }

    fn shows(&self, ladder: &Ladder, step: &Step) -> bool {
        let named = |lane: usize| self.lanes.contains(&ladder.lanes[lane].name);
        (self.from..=self.until).contains(&step.at)
            && (self.layers.is_empty() || self.layers.contains(&step.layer))
            && (self.lanes.is_empty() || named(step.from) || step.stops.iter().any(|stop| named(stop.lane)))
    }
}

struct Canvas {
    lanes: usize,
    lines: Vec<String>,
}

fn x(column: usize) -> usize {
    MARGIN + column * STRIDE
}

impl Canvas {
    fn width(&self) -> usize {
        x(self.lanes.saturating_sub(1)) + STRIDE / 2
    }

    /// Text centred above each column.
    fn heads<'n>(&mut self, names: impl Iterator<Item = &'n str>) {
        let mut line = vec![' '; self.width()];
        for (column, name) in names.enumerate() {
            let name: Vec<char> = name.chars().take(STRIDE - 1).collect();
            let at = x(column).saturating_sub(name.len() / 2);
            write(&mut line, at, &name);
        }
        self.push(line);
    }

    fn blank(&self) -> Vec<char> {
        let mut line = vec![' '; self.width()];
        (0..self.lanes).for_each(|column| line[x(column)] = '│');
        line
    }

    fn push(&mut self, line: Vec<char>) {
        self.lines.push(line.into_iter().collect::<String>().trim_end().to_owned());
    }

    /// Text that begins at a column.
    fn text(&mut self, label: &str, column: usize, text: &str) {
        let mut line = self.blank();
        let text: Vec<char> = text.chars().collect();
        // A little beyond the right edge is better than away from its arrow.
        let edge = EDGE.max(self.width());
        let at = (x(column) + 2).min(edge.saturating_sub(text.len()).max(MARGIN + 2));
        write(&mut line, at.saturating_sub(1), &[' ']);
        write(&mut line, at, &text);
        if line.get(at + text.len()) == Some(&'│') {
            // A column that touches the text.
        } else if at + text.len() < line.len() {
            write(&mut line, at + text.len(), &[' ']);
        }
        let label: Vec<char> = label.chars().collect();
        write(&mut line, (MARGIN - 2).saturating_sub(label.len()), &label);
        self.push(line);
    }

    fn step(&mut self, step: &Step, column: impl Fn(usize) -> usize) {
        let empty = self.blank();
        self.push(empty);
        let title = match step.detail.as_str() {
            "" => step.title.clone(),
            detail => format!("{} ({detail})", step.title),
        };
        let from = column(step.from);
        let told = clock(step.at.elapsed());
        self.text(&told, from.min(step.stops.first().map_or(from, |stop| column(stop.lane))), &title);
        let stops: Vec<(usize, &Happened)> =
            step.stops.iter().map(|stop| (column(stop.lane), &stop.what)).collect();
        self.arrows(from, &stops, step.layer == Layer::Signalling);
        let mut path = step.path;
        for (column, what) in stops {
            match what {
                Happened::Rewritten(to) => {
                    self.text("", column, &change(path, *to));
                    path = Some(*to);
                }
                Happened::Dropped(why) => self.text("", column, why),
                Happened::Damaged(how) => self.text("", column, how),
                Happened::Passed | Happened::Delivered => {}
            }
        }
    }

    /// One line for each stretch in one direction.
    fn arrows(&mut self, from: usize, stops: &[(usize, &Happened)], dotted: bool) {
        let dash = if dotted { '┄' } else { '─' };
        let mut line = self.blank();
        let (mut here, mut direction, mut drawn) = (from, None, false);
        for (column, what) in stops.iter().filter(|(_, what)| !matches!(what, Happened::Damaged(_))) {
            let rightwards = *column > here;
            if *column != here {
                if direction.is_some_and(|before| before != rightwards) {
                    let old = std::mem::replace(&mut line, self.blank());
                    self.push(old);
                }
                direction = Some(rightwards);
                let (low, high) = (x(here.min(*column)), x(here.max(*column)));
                line[low + 1..high].fill(dash);
                if line[x(here)] == '│' {
                    line[x(here)] = if rightwards { '├' } else { '┤' };
                }
                line[if rightwards { high - 1 } else { low + 1 }] = if rightwards { '▶' } else { '◀' };
                drawn = true;
            }
            line[x(*column)] = match what {
                Happened::Rewritten(_) => '●',
                Happened::Passed => '○',
                Happened::Dropped(_) => '✗',
                _ => line[x(*column)],
            };
            here = *column;
        }
        if drawn || stops.iter().any(|(_, what)| matches!(what, Happened::Dropped(_))) {
            self.push(line);
        }
    }
}

fn write(line: &mut Vec<char>, at: usize, text: &[char]) {
    if line.len() < at + text.len() {
        line.resize(at + text.len(), ' ');
    }
    line[at..at + text.len()].copy_from_slice(text);
}

/// `60 ms`, `1.01 s`.
fn clock(time: Duration) -> String {
    if time.is_zero() || time >= Duration::from_secs(1) {
        return seconds(time);
    }
    let text = format!("{:.1}", time.as_secs_f64() * 1000.0);
    format!("{} ms", text.trim_end_matches('0').trim_end_matches('.'))
}

/// What a box made of a packet's addresses.
fn change(from: Option<Path>, to: Path) -> String {
    match from {
        Some(from) if from.local != to.local && from.remote != to.remote => {
            format!("from {}, to {}", to.local, to.remote)
        }
        Some(from) if from.remote != to.remote => format!("to {}", to.remote),
        _ => format!("from {}", to.local),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lane, Stop};
    use netsim::PlaceKind;

    #[test]
    fn a_packet_that_is_rewritten_and_dropped() {
        let lane = |name: &str, kind| Lane { name: name.into(), kind, about: String::new() };
        let lanes = vec![
            lane("alice", PlaceKind::Host),
            lane("home", PlaceKind::Gateway),
            lane("flat", PlaceKind::Gateway),
        ];
        let path = Path::udp("10.0.0.2:5000".parse().unwrap(), "5.0.0.9:40000".parse().unwrap());
        let rewritten = Path { local: "5.0.0.8:5000".parse().unwrap(), ..path };
        let at = |ms| Time::from_start(Duration::from_millis(ms));
        let stops = vec![
            Stop { at: at(1000), lane: 1, what: Happened::Rewritten(rewritten) },
            Stop { at: at(1010), lane: 2, what: Happened::Dropped("filtered".into()) },
        ];
        let step = Step {
            at: at(1000),
            packet: 1,
            layer: Layer::Other,
            title: "“hello”".into(),
            detail: String::new(),
            from: 0,
            path: Some(path),
            stops,
        };
        let drawn = Picture::default().draw(&Ladder { lanes, steps: vec![step] });
        let expected = [
            "          alice                 home                  flat",
            "            │                     │                     │",
            "       1 s  │ “hello”             │                     │",
            "            ├────────────────────▶●────────────────────▶✗",
            "            │                     │ from 5.0.0.8:5000   │",
            "            │                     │                     │ filtered",
        ];
        let drawn: Vec<&str> = drawn.lines().collect();
        assert_eq!(drawn, expected);
    }
}

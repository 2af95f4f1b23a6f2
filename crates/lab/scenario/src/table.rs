use std::fmt::Write as _;

use crate::{Cell, Report, Way};

/// How wide a column is that has no room for a name.
const NARROW: usize = 8;

/// A grid as text for a terminal that is `width` characters wide, with ANSI colours or without.
///
/// A cell says by which way most connected and how long it took in the middle. What did not come out as theory says has an
/// exclamation mark.
pub fn table(report: &Report, width: usize, colours: bool) -> String {
    let names: Vec<&str> = report.presets.iter().map(|preset| preset.name()).collect();
    let longest = names.iter().map(|name| name.len()).max().unwrap_or_default();
    // Names at the top if there is room, numbers otherwise.
    let named = longest + 4 + names.len() * (longest + 2) <= width;
    let column = if named { longest.max(NARROW) + 2 } else { NARROW + 1 };
    let paint =
        |code: &str, text: &str| if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = String::new();
    let margin = longest + 5;
    let _ = write!(text, "{:<margin$}", if named { "caller ↓  called →" } else { "↓ calls →" });
    for (number, name) in names.iter().enumerate() {
        let head = if named { (*name).to_owned() } else { (number + 1).to_string() };
        let _ = write!(text, "{}", paint("1", &format!("{head:^column$}")));
    }
    text.push('\n');
    let rows = report.cells.chunks(names.len().max(1)).zip(&names).enumerate();
    for (number, (cells, name)) in rows {
        let number = if named { String::new() } else { format!("{:>2} ", number + 1) };
        let head = format!("{number}{name}");
        let _ = write!(text, "{}", paint("1", &format!("{head:<margin$}")));
        for cell in cells {
            let (mark, colour) = mark(cell);
            let doubt = if cell.agrees { "" } else { "!" };
            let words = format!("{mark} {}{doubt}", short(cell.median_ms));
            let padded = format!("{words:^column$}");
            text.push_str(&paint(colour, &padded));
        }
        let end = text.trim_end().len();
        text.truncate(end);
        text.push('\n');
    }
    text.push('\n');
    let key = [
        ("32", "● direct"),
        ("36", "◆ direct, to an address that only a check brought to light (prflx)"),
        ("33", "○ through the relay"),
        ("31", "✗ not connected"),
    ];
    for (colour, words) in key {
        let _ = writeln!(text, "{}", paint(colour, words));
    }
    text
}

fn mark(cell: &Cell) -> (&'static str, &'static str) {
    match cell.way() {
        Some(Way::Host | Way::Reflexive) => ("●", "32"),
        Some(Way::PeerReflexive) => ("◆", "36"),
        Some(Way::Relayed) => ("○", "33"),
        None => ("✗", "31"),
    }
}

/// `85 ms`, `1.2 s`, or nothing if nobody connected.
fn short(ms: f64) -> String {
    match ms {
        0.0 => String::new(),
        ms if ms < 999.5 => format!("{ms:.0} ms"),
        ms if ms < 9950.0 => format!("{:.1} s", ms / 1000.0),
        ms => format!("{:.0} s", ms / 1000.0),
    }
}

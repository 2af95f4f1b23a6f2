//! Instruction counts: how many the processor takes for what Sterna does most, which no busy machine makes longer.

use std::process::Command;

use crate::install::root;
use crate::steps::programs;

/// The cases of `crates/proto/peer/examples/instructions.rs`, and by how many per cent a count may exceed its standard. Those that
/// make keys draw dice, and cost a little more or less each time.
const CASES: &[(&str, u64)] =
    &[("parse", 3), ("seal", 3), ("relay", 3), ("checks", 5), ("message", 5), ("open", 8)];

/// Where the counts are kept: a table whose last row is the standard.
const FILE: &str = "docs/instructions.md";

/// Counts, and compares with the last row of the table; or adds a row to it.
pub(crate) fn count(accept: bool) -> Result<(), String> {
    let valgrind = Command::new("valgrind").arg("--version").output();
    if !valgrind.is_ok_and(|output| output.status.success()) {
        return if std::env::var_os("CI").is_some() {
            Err("there is no valgrind to count instructions".to_owned())
        } else {
            println!("SKIPPED: there is no valgrind to count instructions");
            Ok(())
        };
    }
    let counts = CASES.iter().map(|(case, _)| counted(case)).collect::<Result<Vec<u64>, String>>()?;
    let path = root().join(FILE);
    let table = std::fs::read_to_string(&path).map_err(|error| format!("{FILE}: {error}"))?;
    if accept {
        let cells: Vec<String> = counts.iter().map(|count| grouped(*count)).collect();
        let row = format!("| {} | {} | {} |\n", said("date", &["+%F"]), commit(), cells.join(" | "));
        let text = format!("{}\n{row}", table.trim_end());
        return std::fs::write(&path, text).map_err(|error| format!("{FILE}: {error}"));
    }
    let standard =
        standard(&table).ok_or_else(|| format!("the last row of {FILE} has not a count for each case"))?;
    let mut grown = Vec::new();
    for (((case, tolerance), count), standard) in CASES.iter().zip(counts).zip(standard) {
        let change = (count as f64 / standard as f64 - 1.0) * 100.0;
        println!("{case:>8} {:>12}  {change:+.1} %", grouped(count));
        if count * 100 > standard * (100 + tolerance) {
            grown.push(format!(
                "{case} takes {change:.1} % more instructions than the last row of {FILE} says"
            ));
        }
    }
    if grown.is_empty() {
        return Ok(());
    }
    Err(format!("{}. If that is worth it: `cargo xtask instructions accept` adds a row.", grown.join("; ")))
}

/// The instructions of one operation.
fn counted(case: &str) -> Result<u64, String> {
    let mut command = Command::new("valgrind");
    command
        .args([
            "--tool=callgrind",
            "--callgrind-out-file=/dev/null",
            "--toggle-collect=instructions::measured",
        ])
        .arg(programs().join("examples/instructions"))
        .arg(case);
    let output = command.output().map_err(|error| format!("valgrind: {error}"))?;
    let (said, noted) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let operations = said.trim().parse::<u64>().ok().filter(|_| output.status.success());
    let collected = noted.lines().find_map(|line| line.split_once("Collected : "));
    let collected =
        collected.and_then(|(_, count)| count.trim().parse::<u64>().ok()).filter(|count| *count > 0);
    match (collected, operations) {
        (Some(collected), Some(operations)) => Ok(collected / operations.max(1)),
        _ => Err(format!("{case} was not counted: {said}{noted}")),
    }
}

/// The counts of the last row of a table that has all of them.
fn standard(table: &str) -> Option<Vec<u64>> {
    let row = table.lines().rfind(|line| line.starts_with('|'))?;
    let cells =
        row.trim_matches('|').split('|').skip(2).map(|cell| cell.trim().replace(',', "").parse().ok());
    cells.collect::<Option<Vec<u64>>>().filter(|counts| counts.len() == CASES.len())
}

/// With commas between thousands.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|it| std::str::from_utf8(it).ok()).collect();
    groups.join(",")
}

fn commit() -> String {
    said("git", &["rev-parse", "--short", "HEAD"])
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_row_is_the_standard() {
        let table = "# Counts\n\n| day | at | a |\n|---|---|--:|\n| 1 | x | 1 | 2 | 3 | 4 | 5 | 6 |\n| 2 | y | 1,234,567 | 8 | 9 | 10 | 11 | 12 |\n";
        assert_eq!(standard(table), Some(vec![1_234_567, 8, 9, 10, 11, 12]));
        assert_eq!(standard("| 1 | x | 2 |"), None);
        assert_eq!(standard("nothing"), None);
        assert_eq!([1, 999, 1000, 1_234_567].map(grouped), ["1", "999", "1,000", "1,234,567"]);
    }
}

//! Whoever moves from coturn finds each of its options in our table (docs/coturn.md, which `sterna relay --import` goes by).

use std::process::Command;

use crate::rig;

#[test]
fn every_long_option_of_turnserver_is_known() {
    if !rig::is_there() {
        return;
    }
    let told = Command::new("turnserver").arg("--help").output().unwrap();
    let told = [told.stdout, told.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    // ` -L, --listening-ip <ip>` and ` --aux-server <ip:port>`: what explains them stands further right.
    let options: Vec<&str> = told.lines().filter_map(option).collect();
    assert!(options.len() > 80, "{} options in {told}", options.len());
    let table = include_str!("../../../../../docs/coturn.md");
    let unknown: Vec<&&str> =
        options.iter().filter(|option| !table.contains(&format!("\n| `{option}` |"))).collect();
    assert!(unknown.is_empty(), "not in crates/app/cli/src/relay/import/options.rs: {unknown:?}");
}

/// The long name of the option that a line of the help begins with.
fn option(line: &str) -> Option<&str> {
    let line = line.trim_start_matches([' ', '\t']);
    let line = match line.split_once(", ") {
        Some((short, rest)) if short.len() == 2 && short.starts_with('-') => rest,
        _ => line,
    };
    let name = line.trim_start().strip_prefix("--")?;
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_').unwrap_or(name.len());
    Some(&name[..end]).filter(|name| !name.is_empty())
}

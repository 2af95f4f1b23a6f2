//! Every file in `scenarios/` holds, with many seeds each.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use sterna_scenario::script::Script;

/// `20`; more with `STERNA_SEEDS=times`.
fn seeds() -> u64 {
    let times = std::env::var("STERNA_SEEDS").ok().and_then(|times| times.parse::<u64>().ok());
    20 * times.unwrap_or(1)
}

fn files() -> Vec<PathBuf> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../scenarios");
    let entries = std::fs::read_dir(folder).expect("the folder is part of the repository");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

#[test]
fn every_scenario_holds_with_every_seed() {
    let scripts: Vec<(String, Script)> = files()
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(path).unwrap();
            let script = Script::parse(&name, &text).unwrap_or_else(|mistake| panic!("\n{mistake}"));
            (name, script)
        })
        .collect();
    assert!(scripts.len() >= 20, "the folder has many files");
    let plays: Vec<(&str, &Script, u64)> = scripts
        .iter()
        .flat_map(|(name, script)| (1..=seeds()).map(move |seed| (name.as_str(), script, seed)))
        .collect();
    let next = AtomicUsize::new(0);
    let play = || {
        let mut broken = Vec::new();
        while let Some((name, script, seed)) = plays.get(next.fetch_add(1, Ordering::Relaxed)) {
            let run = script.run(*seed);
            if !run.passed() {
                broken.push(format!("{name}: {run}"));
            }
        }
        broken
    };
    let mut broken: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(play)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    broken.sort();
    assert!(broken.is_empty(), "{} of {} runs:\n{}", broken.len(), plays.len(), broken.join("\n"));
}

#[test]
fn the_list_of_words_names_every_preset() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/scenarios.md");
    let words = std::fs::read_to_string(path).unwrap();
    for preset in netsim::Preset::ALL {
        assert!(words.contains(&format!("`{preset}`")), "docs/scenarios.md does not name {preset}");
    }
}

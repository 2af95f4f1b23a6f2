//! The same seed plays the same run: every packet at the same time, as long as before, with the same fate. Keys and
//! certificates are fresh each time, so what is inside is not the same.

use std::path::Path;

use sterna_scenario::script::Script;

fn played(name: &str, text: &str, seed: u64) -> Vec<String> {
    let run = Script::parse(name, text).unwrap_or_else(|mistake| panic!("\n{mistake}")).run(seed);
    let records = run.net().trace().records().iter();
    records
        .map(|record| {
            let netsim::Record { time, place, path, content, length, fate, .. } = record;
            format!("{time:?} {place:?} {path} {content:?} {length} bytes {fate:?}")
        })
        .collect()
}

#[test]
fn a_seed_repeats_every_packet_to_its_length() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../scenarios");
    for name in ["relay-dies.toml", "far-and-lossy.toml", "http-proxy.toml"] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap();
        // A slow link, so that a byte more anywhere moves what comes after it.
        let slow = text.replacen("\n[hosts.", "\nlink = { rate = \"256kbit/s\" }\n\n[hosts.", 1);
        let slow = if text.contains("link =") { text.clone() } else { slow };
        assert!(slow.contains("rate = "));
        for seed in [1, 2] {
            let first = played(name, &slow, seed);
            assert!(first.len() > 100);
            for _ in 0..4 {
                let again = played(name, &slow, seed);
                let differs = first.iter().zip(&again).position(|(one, other)| one != other);
                if let Some(at) = differs {
                    panic!("{name}, seed {seed}, record {at}:\n{}\n{}", first[at], again[at]);
                }
                assert_eq!(first.len(), again.len(), "{name}, seed {seed}");
            }
        }
    }
}

//! Replays all corpora, and a few thousand mutations of each entry.

use std::path::Path;

#[test]
fn every_corpus_is_replayed_and_nothing_breaks() {
    for (name, target) in sterna_fuzz::TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
        let mut entries: Vec<_> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        assert!(!entries.is_empty(), "{} is empty", folder.display());
        for entry in entries {
            let bytes = std::fs::read(&entry).unwrap();
            println!("{}", entry.display());
            target(&bytes);
            mutations(&bytes, 500).for_each(|mutation| target(&mutation));
        }
    }
}

/// The same few hundred mutations in every run: flipped bits, changed, cut, doubled and inserted bytes.
fn mutations(bytes: &[u8], count: u64) -> impl Iterator<Item = Vec<u8>> + '_ {
    let mut state = 0x9E37_79B9_7F4A_7C15u64 ^ bytes.len() as u64;
    let mut dice = move |bound: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % bound.max(1) as u64) as usize
    };
    (0..count).map(move |_| {
        let mut mutation = bytes.to_vec();
        for _ in 0..=dice(4) {
            let at = dice(mutation.len());
            match dice(6) {
                0 if !mutation.is_empty() => mutation[at] ^= 1 << dice(8),
                1 if !mutation.is_empty() => mutation[at] = dice(256) as u8,
                2 => mutation.truncate(at),
                3 => mutation.insert(at, [0, 0xff, 0x7f, 0x80, b'\n', b':'][dice(6)]),
                4 if !mutation.is_empty() => {
                    mutation.remove(at);
                }
                _ => {
                    let piece = mutation[at..(at + dice(40)).min(mutation.len())].to_vec();
                    mutation.splice(at..at, piece);
                }
            }
        }
        mutation
    })
}

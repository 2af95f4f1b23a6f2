//! Settings files that somebody has garbled, ours and coturn's: each is read, or refused in one line that names it.
//!
//! `STERNA_FUZZ_RUNS=100000 cargo nextest run -p sterna-cli garbled` takes that many instead of a few hundred.

use std::path::Path;

use sansio::{Rng, Seed};

use super::Settings;
use super::import::Translation;
use crate::command_line::tests::options;
use crate::transfer::scratch::Scratch;

/// What is likely to be of consequence, besides what stands in the files themselves.
const WORDS: [&str; 24] = [
    "=",
    "[",
    "]",
    "\"",
    "\"\"\"",
    "'",
    "\\",
    "\n",
    "#",
    ",",
    "true",
    "-1",
    "70000",
    "1e999",
    "1979-05-27",
    "::",
    "0.0.0.0/33",
    "65535-1",
    "--",
    "{ a = 1 }",
    "secret",
    "relay-ports",
    "allow-peer",
    "\u{1f6f0}",
];

fn runs() -> u64 {
    std::env::var("STERNA_FUZZ_RUNS").map_or(400, |runs| runs.parse().expect("a number"))
}

/// A few lines removed, doubled or given each other's values; a few words and characters put in, taken out or changed.
fn garbled(text: &str, dice: &mut Rng) -> String {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for _ in 0..=dice.below(4) {
        let at = dice.below(lines.len().max(1) as u64) as usize;
        let other = lines.get(dice.below(lines.len().max(1) as u64) as usize).cloned().unwrap_or_default();
        let Some(line) = lines.get_mut(at) else { break };
        let places: Vec<usize> = line.char_indices().map(|(place, _)| place).chain([line.len()]).collect();
        let place = places[dice.below(places.len() as u64) as usize];
        match dice.below(7) {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, other),
            2 => {
                let key = line.split('=').next().unwrap_or_default();
                *line = format!("{key}={}", other.split_once('=').map_or("", |(_, value)| value));
            }
            3 => line.truncate(place),
            4 => line.insert_str(place, WORDS[dice.below(WORDS.len() as u64) as usize]),
            5 => line.insert(place, char::from_u32(dice.below(0x250) as u32).unwrap_or('\0')),
            _ => *line = line.chars().rev().collect(),
        }
    }
    lines.join("\n")
}

/// What the program makes of a settings file; the message, if it refuses it.
fn read(scratch: &Scratch, text: &str) -> Result<(), String> {
    let path = scratch.write("s.toml", text.as_bytes());
    let options = options(&["relay", "--config", path.to_str().expect("scratch files have plain names")])?;
    Settings::gather(&options).map(drop).map_err(|failure| failure.to_string())
}

fn example(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn a_garbled_settings_file_is_read_or_refused_in_one_line() {
    let scratch = Scratch::new("garbled");
    let all = "listen = [\"0.0.0.0\", \"::\"]\nstun = 3478\nstun-tls = 5349\npublic-ip = \"198.51.100.7\"\n\
               relay-ports = \"50000-51000\"\nsecret = [\"b7c1e0b1b7a94bd29ab1\", \"9f0c5a4e9fd94fe1a9c0\"]\n\
               realm = \"turn.example.org\"\ntls = \"/etc/a.pem,/etc/a.key\"\nallow-peer = \"10.0.0.9\"\n\
               deny-peer = [\"10.0.0.0/8\", \"2001:db8::/32\"]\nmax-allocations = 500\nmax-per-user = 12\n\
               admin = \"127.0.0.1:9641\"\nalternate-server = \"192.0.2.1:3478\"\nrelay-threads = 2\n";
    assert_eq!(read(&scratch, all), Ok(()));
    let texts = [all.to_owned(), example("deploy/relay.toml")];
    let mut dice = Rng::new(Seed::from(1));
    let (mut read_well, mut refused) = (0, 0);
    for number in 0..runs() {
        let text = garbled(&texts[number as usize % texts.len()], &mut dice);
        match read(&scratch, &text) {
            Ok(()) => read_well += 1,
            Err(message) => {
                refused += 1;
                assert!(!message.contains('\n') && !message.is_empty(), "{message:?}\n{text}");
            }
        }
    }
    println!("{read_well} were read, {refused} refused");
    assert!(read_well > runs() / 20 && refused > runs() / 4, "{read_well} were read, {refused} refused");
}

#[test]
fn whatever_stands_in_a_file_of_coturns_its_translation_has_our_keys_and_is_toml() {
    let scratch = Scratch::new("garbled-turnserver");
    let theirs = "listening-port=3478\ntls-listening-port=5349\nlistening-ip=0.0.0.0\nexternal-ip=198.51.100.7/10.0.0.5\n\
                  min-port=50000\nmax-port=51000\nfingerprint\nuse-auth-secret\nstatic-auth-secret=b7c1e0b1b7a94bd29ab1\n\
                  realm=turn.example.org\ntotal-quota=500\nuser-quota=12\ncert=/etc/ssl/turn.pem\npkey=/etc/ssl/turn.key\n\
                  no-multicast-peers\ndenied-peer-ip=10.0.0.0-10.255.255.255\nallowed-peer-ip=10.0.0.9\nprometheus\n\
                  user=alice:wonderland\nmax-bps=64000\nalternate-server=192.0.2.1\n";
    let mut dice = Rng::new(Seed::from(2));
    let mut read_well = 0;
    for _ in 0..runs() {
        let text = garbled(theirs, &mut dice);
        let toml = Translation::of(&text).toml();
        match read(&scratch, &toml) {
            Ok(()) => read_well += 1,
            // A value that is wrong there is wrong here.
            Err(message) => {
                assert!(
                    !message.contains("there is no key") && !message.contains(": line "),
                    "{message}\n{text}\n{toml}"
                );
                assert!(!message.contains('\n'), "{message:?}\n{text}");
            }
        }
    }
    assert!(read_well > runs() / 20, "{read_well} were read");
}

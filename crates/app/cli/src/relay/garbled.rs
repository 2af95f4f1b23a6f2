//! Files that somebody has garbled, settings (ours and coturn's), secrets, users, keys and certificates: each is read, or
//! refused in one line that names it.
//!
//! `STERNA_FUZZ_RUNS=100000 cargo nextest run -p sterna-cli garbled` takes that many instead of a few hundred.

use std::path::Path;

use sansio::{Rng, Seed};

use super::import::Translation;
use super::secrets::{Secrets, stun_partner};
use super::settings::Tls;
use super::tls::Identity;
use super::{Settings, tls};
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

/// The same, or bytes that are no text any more.
fn spoiled(text: &str, dice: &mut Rng) -> Vec<u8> {
    let mut bytes = garbled(text, dice).into_bytes();
    if dice.below(4) == 0 && !bytes.is_empty() {
        for _ in 0..=dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = dice.below(256) as u8;
        }
    }
    bytes
}

/// What the files of secrets mean to the program, up to the machine that goes by them.
fn let_in(line: &[&str]) -> Result<(), String> {
    let options = options(line)?;
    let secrets = Secrets::read(&options).map_err(|failure| failure.to_string())?;
    stun_partner(&options).map_err(|failure| failure.to_string())?;
    if secrets.is_empty() {
        return Ok(());
    }
    let relay = std::net::IpAddr::from([198, 51, 100, 7]);
    let config = turn::ServerConfig::new("example.org", relay, secrets.auth, Seed::from(1));
    turn::Server::new(config).map(drop).map_err(|error| error.to_string())
}

#[test]
fn a_garbled_file_of_secrets_users_or_keys_is_read_or_refused_in_one_line_that_does_not_show_it() {
    let scratch = Scratch::new("garbled-secrets");
    let user = turn::User::new("carol", "correct horse battery").line("example.org");
    let secrets = "# new\nb7c1e0b1b7a94bd29ab1\n\n9f0c5a4e9fd94fe1a9c0\n";
    let users = format!("# people\nalice:wonderland\n{user}\n\nbob:through the glass\n");
    let keys = "new:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=\nold:CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=\n";
    let token = "a token of this test alone\n";
    let hidden = [
        "b7c1e0b1b7a9",
        "9f0c5a4e9fd9",
        "wonderland",
        "the glass",
        "BwcHBwcHBwc",
        "CAgICAgICAg",
        "this test alone",
    ];
    let files: [(&str, &str, &[&str]); 6] = [
        ("--secret-file", secrets, &[]),
        ("--users-file", &users, &[]),
        ("--access-token-keys-file", keys, &["--access-token-name", "turn.example.org"]),
        ("--token-file", token, &[]),
        ("--auth-token-file", token, &["--auth-url", "https://localhost/"]),
        ("--stun-partner-secret-file", secrets, &["--stun-partner", "192.0.2.9"]),
    ];
    let mut dice = Rng::new(Seed::from(3));
    for (flag, text, more) in files {
        let (mut read_well, mut refused) = (0, 0);
        for number in 0..=runs() / 2 {
            let bytes = if number == 0 { text.as_bytes().to_vec() } else { spoiled(text, &mut dice) };
            let path = scratch.write("file", &bytes);
            let path = path.to_str().expect("scratch files have plain names");
            match let_in(&[&["relay", flag, path], more].concat()) {
                Ok(()) => read_well += 1,
                Err(message) => {
                    refused += 1;
                    assert!(number > 0, "as it should be, {flag} is refused: {message}");
                    let is_clear = !message.is_empty() && !message.contains(|c: char| c.is_control());
                    assert!(is_clear, "{flag}: {message:?}");
                    assert!(
                        !hidden.iter().any(|secret| message.contains(secret)),
                        "{flag} shows it: {message}"
                    );
                }
            }
        }
        println!("{flag}: {read_well} were read, {refused} refused");
        assert!(read_well > 0 && refused > 0, "{flag}: {read_well} were read, {refused} refused");
    }
}

#[test]
fn a_garbled_certificate_or_key_is_read_or_refused_in_one_line_that_names_it() {
    let scratch = Scratch::new("garbled-tls");
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let mut dice = Rng::new(Seed::from(4));
    let mut refused = 0;
    for number in 0..runs() / 2 {
        let [first, second] = [(&certificate, 0), (&key, 1)].map(|(text, which)| {
            if number % 3 == which { text.as_bytes().to_vec() } else { spoiled(text, &mut dice) }
        });
        let files =
            Tls::Files { certificate: scratch.write("c.pem", &first), key: scratch.write("k.pem", &second) };
        if let Err(failure) = Identity::load(&files, &[], false) {
            refused += 1;
            let message = failure.message;
            assert!(message.contains("c.pem") || message.contains("k.pem"), "{message}");
            assert!(!message.contains(|c: char| c.is_control()), "{message:?}");
            let secret = key.lines().nth(1).expect("a line of the key");
            assert!(!message.contains(secret), "{message}");
        }
    }
    assert!(refused > runs() / 4, "{refused} were refused");
    let chain = scratch.write("c.pem", certificate.as_bytes());
    assert!(tls::read(&chain, &scratch.write("k.pem", key.as_bytes())).is_ok());
}

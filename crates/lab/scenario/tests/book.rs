//! The ladders and verdicts in the book are what the lab draws and says today.
//!
//! A block is announced by a comment, and regenerated from it: `STERNA_BOOK=write cargo nextest run -p sterna-scenario`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sansio::Time;
use sterna_scenario::Layer;
use sterna_scenario::script::{Picture, Run, Script};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

fn pages() -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(root().join("docs/book/src")).expect("the book is part of the repository");
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    pages
}

/// `<!-- ladder: console.toml seed=1 from=1000 until=2000 layers=check,stun lanes=alice -->`, times in milliseconds.
struct Wish<'a> {
    kind: &'a str,
    file: &'a str,
    seed: Option<u64>,
    picture: Picture,
}

impl<'a> Wish<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let inner = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
        let (kind, rest) = inner.split_once(": ")?;
        if kind != "ladder" && kind != "verdicts" {
            return None;
        }
        let mut words = rest.split(' ');
        let mut wish = Self { kind, file: words.next()?, seed: None, picture: Picture::default() };
        for word in words {
            let (key, value) =
                word.split_once('=').unwrap_or_else(|| panic!("{line}: {word} lacks its value"));
            let time =
                || Time::from_start(Duration::from_millis(value.parse().expect("a number of milliseconds")));
            match key {
                "seed" => wish.seed = Some(value.parse().expect("a number")),
                "from" => wish.picture.from = time(),
                "until" => wish.picture.until = time(),
                "layers" => {
                    let named = |name: &str| Layer::ALL.into_iter().find(|layer| layer.name() == name);
                    wish.picture.layers =
                        value.split(',').map(|name| named(name).expect("a layer")).collect();
                }
                "lanes" => wish.picture.lanes = value.split(',').map(str::to_owned).collect(),
                _ => panic!("{line}: what is {key}?"),
            }
        }
        Some(wish)
    }

    fn run(&self) -> Run {
        let text = std::fs::read_to_string(root().join("scenarios").join(self.file))
            .expect("the book names files that exist");
        let script = Script::parse(self.file, &text).unwrap_or_else(|mistake| panic!("\n{mistake}"));
        script.run(self.seed.unwrap_or(script.seed()))
    }

    fn text(&self) -> String {
        let run = self.run();
        assert!(run.passed(), "{run}");
        match self.kind {
            "ladder" => self.picture.draw(&run.ladder()),
            _ => run.to_string(),
        }
    }
}

/// A table of all verdicts.
fn codes() -> String {
    let row = |code: &doctor::Code| format!("| `{code}` | {} |\n", code.message());
    let rows: String = doctor::Code::ALL.iter().map(row).collect();
    format!("\n| code | meaning |\n|---|---|\n{rows}\n")
}

/// The page with all its blocks made anew.
fn regenerated(page: &str) -> String {
    let mut made = String::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        made += line;
        made += "\n";
        if line == "<!-- codes -->" {
            assert!(lines.by_ref().any(|line| line == "<!-- end -->"), "the table of codes ends");
            made += &codes();
            made += "<!-- end -->\n";
            continue;
        }
        let Some(wish) = Wish::read(line) else { continue };
        assert_eq!(lines.next(), Some("```text"), "a block follows {line}");
        assert!(lines.by_ref().any(|line| line == "```"), "the block after {line} ends");
        made += "```text\n";
        made += wish.text().trim_end();
        made += "\n```\n";
    }
    made
}

#[test]
fn what_the_book_shows_is_what_the_lab_draws() {
    let write = std::env::var("STERNA_BOOK").is_ok_and(|word| word == "write");
    let mut stale = Vec::new();
    let mut blocks = 0;
    for path in pages() {
        let page = std::fs::read_to_string(&path).unwrap();
        blocks += page.lines().filter(|line| Wish::read(line).is_some()).count();
        let made = regenerated(&page);
        if made != page {
            if write {
                std::fs::write(&path, made).unwrap();
            } else {
                let differs = page.lines().zip(made.lines()).position(|(old, new)| old != new);
                stale.push(format!("{} line {}", path.display(), differs.map_or(0, |line| line + 1)));
            }
        }
    }
    assert!(blocks >= 10, "the book has {blocks} pictures");
    assert!(stale.is_empty(), "run STERNA_BOOK=write cargo nextest run -p sterna-scenario: {stale:?}");
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let folder = root().join("docs/book/src");
    let summary = std::fs::read_to_string(folder.join("SUMMARY.md")).unwrap();
    for path in pages() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "SUMMARY.md" || summary.contains(&format!("]({name})")),
            "{name} is not in SUMMARY.md"
        );
        let page = std::fs::read_to_string(&path).unwrap();
        for target in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap();
            let is_here = !target.is_empty() && !target.contains("://");
            assert!(!is_here || folder.join(target).exists(), "{name}: {target} is not there");
        }
        for file in page.split("scenarios/").skip(1).filter_map(|rest| rest.split(".toml").next()) {
            let is_name = file.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
            assert!(
                !is_name || root().join(format!("scenarios/{file}.toml")).exists(),
                "{name}: there is no {file}.toml"
            );
        }
    }
}

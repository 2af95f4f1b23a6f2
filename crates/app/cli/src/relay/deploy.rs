//! What `deploy/` and the docs promise is what the program takes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Settings;
use crate::command_line::tests::options;
use crate::transfer::scratch::Scratch;

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").join(path)
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The settings in a file's text.
fn settings(name: &str, toml: &str) -> Settings {
    let scratch = Scratch::new(&format!("deploy-{name}"));
    let path = scratch.write("relay.toml", toml.as_bytes());
    let options = options(&["relay", "--config", path.to_str().unwrap()])
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    Settings::gather(&options).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_example_of_few_lines_is_a_set_up() {
    let example = text("deploy/relay.toml");
    let lines = example.lines().filter(|line| !line.starts_with('#')).count();
    assert!(lines <= 10, "{lines} lines");
    assert_eq!(settings("example", &example).realm, "turn.example.org");
    let page = text("docs/deploy.md");
    let block = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(settings("docs", block).stun, 3478);
}

#[test]
fn the_charts_settings_are_settings() {
    let values = text("deploy/helm/sterna-relay/values.yaml");
    let block = values.split("\nsettings:\n").nth(1).unwrap();
    let mut toml = String::new();
    for line in block.lines().take_while(|line| line.starts_with("  ")).map(str::trim) {
        if line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
        // As `toJson` writes it: numbers and lists as they are, all else in quotes.
        let plain = value.starts_with('[') || value.parse::<u64>().is_ok();
        toml += &if plain { format!("{key} = {value}\n") } else { format!("{key} = {value:?}\n") };
    }
    assert_eq!(settings("chart", &toml).drain, Duration::from_secs(300));
}

#[test]
fn the_dashboard_shows_what_is_counted() {
    let dashboard = text("deploy/grafana.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() >= 8);
    let counted = super::metrics::text(
        &relay::Status::default(),
        true,
        Duration::ZERO,
        super::inquiry::Outcomes::default().so_far(),
    );
    let word = |c: char| c.is_ascii_lowercase() || c == '_';
    let names = dashboard.match_indices("sterna_").map(|(at, _)| {
        let rest = &dashboard[at..];
        &rest[..rest.find(|c| !word(c)).unwrap_or(rest.len())]
    });
    let mut checked = 0;
    for name in names {
        let there = counted.lines().any(|line| line.split(['{', ' ']).next() == Some(name));
        assert!(there, "{name} is shown, but not counted");
        checked += 1;
    }
    assert!(checked > 10);
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let there = std::process::Command::new("systemd-analyze").arg("--version").output().is_ok();
    if !there {
        return eprintln!("SKIPPED: there is no systemd-analyze");
    }
    let scratch = Scratch::new("unit");
    // The program need not be installed here.
    let unit = text("deploy/sterna-relay.service").replace("/usr/local/bin/sterna", "/bin/true");
    let path = scratch.write("sterna-relay.service", unit.as_bytes());
    let said = std::process::Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .arg(&path)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && !errors.contains("sterna-relay.service:"), "{errors}");
    // Of 100, where 100 is a service that may do anything.
    let judged = std::process::Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(&path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success(), "{}", said.lines().last().unwrap_or_default());
}

/// By the schema of compose files, and a linter of Dockerfiles, which `cargo xtask install` installs.
#[test]
fn compose_file_and_dockerfile_are_what_docker_takes() {
    for (program, arguments) in [
        ("check-jsonschema", &["--builtin-schema", "vendor.compose-spec", "deploy/compose.yaml"][..]),
        ("hadolint", &["deploy/Dockerfile"]),
    ] {
        let program = root("target/python/bin").join(program);
        if !program.exists() {
            let message = format!("{} is missing; `cargo xtask install` installs it", program.display());
            assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{message}");
            eprintln!("SKIPPED: {message}");
            continue;
        }
        let said =
            std::process::Command::new(program).args(arguments).current_dir(root("")).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&[said.stdout, said.stderr].concat()));
    }
}

//! What `deploy/` and the docs promise is what the program takes.

use std::path::{Path, PathBuf};

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
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(settings("docs", blocks[0]).stun, 3478);
    let acme = settings("docs-acme", blocks[1]);
    assert_eq!((acme.stun_tls, acme.host.as_deref()), (443, Some("turn.example.org")));
    assert!(acme.acme.is_some());
}

/// A program that `cargo xtask install` installs.
fn installed(program: &str) -> Option<std::process::Command> {
    let program = root("target/python/bin").join(program);
    if !program.exists() {
        let message = format!("{} is missing; `cargo xtask install` installs it", program.display());
        assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{message}");
        eprintln!("SKIPPED: {message}");
        return None;
    }
    let mut command = std::process::Command::new(program);
    command.current_dir(root(""));
    Some(command)
}

fn said(mut command: std::process::Command, arguments: &[&str]) -> String {
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    String::from_utf8(output.stdout).unwrap()
}

/// Rendered by Helm itself, as it is and with everything that may be added.
#[test]
fn the_chart_is_rendered_and_its_settings_are_settings() {
    let chart = "deploy/helm/sterna-relay";
    for (more, tls) in [(&[][..], false), (&["--set", "tlsSecretName=t,settings.drain=30"], true)] {
        let (Some(lint), Some(template)) = (installed("helm"), installed("helm")) else { return };
        said(lint, &[&["lint", "--strict", chart], more].concat());
        let rendered = said(template, &[&["template", "relay", chart], more].concat());
        let block = rendered.split("relay.toml: |\n").nth(1).unwrap();
        let lines = block.lines().map_while(|line| line.strip_prefix("    "));
        let toml: String = lines.flat_map(|line| [line, "\n"]).collect();
        let settings = settings("chart", &toml);
        let (drain, grace) = if tls { (30, 45) } else { (300, 315) };
        assert_eq!((settings.drain.as_secs(), settings.tls.is_some()), (drain, tls), "{toml}");
        assert!(rendered.contains(&format!("terminationGracePeriodSeconds: {grace}\n")), "{rendered}");
        // What is mounted is there, and what is read is mounted.
        for one in ["mountPath: /etc/sterna/tls,", "secretName: t,"] {
            assert_eq!(rendered.contains(one), tls, "{one} in {rendered}");
        }
        assert!(rendered.contains("mountPath: /etc/sterna/secret,"), "{rendered}");
        // Metrics are not the internet's, and health is asked for where it is.
        let admin = settings.admin.unwrap();
        assert!(admin.ip().is_loopback() && !rendered.contains("prometheus.io/scrape"), "{rendered}");
        assert_eq!(rendered.matches("host: 127.0.0.1, path: /").count(), 2, "{rendered}");
    }
}

#[test]
fn the_dashboard_shows_what_is_counted() {
    let dashboard = text("deploy/grafana.json");
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    assert!(parsed["panels"].as_array().unwrap().len() >= 8);
    let beside = super::metrics::Beside {
        inquiries: super::inquiry::Outcomes::default().so_far().into(),
        renewals: super::acme::Renewals::default().so_far().into(),
        certificate_until: Some(0),
        ..super::metrics::Beside::default()
    };
    let counted = super::metrics::text(&relay::Status::default(), &beside);
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
        let Some(program) = installed(program) else { continue };
        said(program, arguments);
    }
}

//! `sterna lab run`: scenarios in, verdicts, captures and ladders out.

mod program;

use std::path::Path;
use std::process::Command;

use program::{Program, Scratch};

fn scenario(name: &str) -> String {
    format!("{}/../../../scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_scenario_is_played_and_told() {
    let run = Program::json(&["lab", "run", &scenario("console"), "--seed", "7", "--ladder"]);
    let told = run.event("scenario");
    assert_eq!((told["passed"].as_bool(), told["seed"].as_u64()), (Some(true), Some(7)), "{told}");
    let claims = told["expectations"].as_array().unwrap();
    assert!(claims.len() == 4 && claims.iter().all(|claim| claim["held"] == true), "{told}");
    let ladder = told["ladder"].as_str().unwrap();
    assert!(ladder.contains("“May I join?”") && ladder.contains("57433") && ladder.contains('✗'), "{ladder}");
    assert_eq!(run.end().0, 0);
}

#[test]
fn captures_are_written_for_each_host_and_box() {
    let scratch = Scratch::new("captures");
    let folder = scratch.text("pcap");
    let run = Program::json(&["lab", "run", &scenario("hole-punching"), "--pcap", &folder]);
    assert_eq!(run.end().0, 0);
    for name in ["alice", "one", "stun", "two", "bob"] {
        let bytes = std::fs::read(format!("{folder}/{name}.pcapng")).unwrap();
        assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a], "a section header begins {name}.pcapng");
    }
}

/// Wireshark without its window, as far as it is there: every packet is what it says, with sums that are right.
#[test]
fn wireshark_reads_the_captures() {
    const TSHARK: &str = "/usr/bin/tshark";
    if !Path::new(TSHARK).exists() {
        assert!(std::env::var_os("CI").is_none(), "install tshark with `cargo xtask install`");
        return eprintln!("SKIPPED: tshark is not there");
    }
    let scratch = Scratch::new("wireshark");
    let folder = scratch.text("pcap");
    let run = Program::json(&["lab", "run", &scenario("http-proxy"), "--pcap", &folder]);
    assert_eq!(run.end().0, 0);
    let shown = |name: &str, filter: &str| {
        let file = format!("{folder}/{name}.pcapng");
        let checks = ["ip", "udp", "tcp"].map(|layer| format!("-o{layer}.check_checksum:TRUE"));
        let output =
            Command::new(TSHARK).args(["-r", &file]).args(checks).args(["-Y", filter]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().lines().count()
    };
    for name in ["alice", "office", "relay", "bank", "bob"] {
        assert!(shown(name, "stun || tls || http || tcp") > 20, "{name}");
        let wrong = "_ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0 || tcp.checksum.status == 0";
        assert_eq!(shown(name, wrong), 0, "{name}");
    }
}

#[test]
fn what_does_not_come_out_fails() {
    let scratch = Scratch::new("broken");
    let text = std::fs::read_to_string(scenario("console")).unwrap();
    let file = scratch.text("broken.toml");
    std::fs::write(&file, text.replace("home:57433", "home:57434")).unwrap();
    let (failed, exit) = Program::json(&["lab", "run", &file]).failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("failed"), 1), "{failed}");
}

#[test]
fn a_mistake_is_told_with_its_line() {
    let scratch = Scratch::new("mistake");
    let file = scratch.text("wrong.toml");
    std::fs::write(
        &file,
        "title = \"x\"\n\n[hosts.alice]\nnetwork = \"internet\"\nruns = \"peer\"\nserver = []\n",
    )
    .unwrap();
    let (failed, exit) = Program::json(&["lab", "run", &file]).failure();
    let message = failed["message"].as_str().unwrap();
    assert_eq!((failed["code"].as_str(), exit), (Some("usage"), 2), "{message}");
    assert!(
        message.contains("wrong.toml:6:1: unknown key `server` in a host; expected `servers`"),
        "{message}"
    );
    // A line of Latin-1.
    std::fs::write(&file, b"title = \"x\"\nabout = \"caf\xe9\"\n").unwrap();
    let (failed, exit) = Program::json(&["lab", "run", &file]).failure();
    let message = failed["message"].as_str().unwrap();
    assert_eq!((failed["code"].as_str(), exit), (Some("usage"), 2), "{message}");
    let expected = "wrong.toml:2:13: the byte 0xe9 is not UTF-8; expected a file in UTF-8";
    assert!(message.contains(expected), "{message}");
    let (failed, exit) = Program::json(&["lab", "run", "/nowhere.toml"]).failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("file"), 7), "{failed}");
}

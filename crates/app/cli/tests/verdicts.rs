//! What the real program says of a connection that does not come about, and of two machines that look at each other.

mod program;

use std::time::Duration;

use program::{Program, Scratch, Server};

#[test]
fn a_connection_that_fails_says_why_on_both_sides() {
    // Only the relay may be used, and it does not relay to this machine's own loopback addresses.
    let server = Server::start();
    let folder = Scratch::new("verdicts");
    let file = folder.noise("file", 1000);
    let sender = Program::json(&["send", &file, "--relay-only", "--server", &server.url]);
    let (code, _) = sender.code();
    // The other side says it in words.
    let out = folder.text("out");
    let receiver = Program::run(
        &["receive", &code, "--yes", "--relay-only", "--out", &out, "--server", &server.url],
        &[],
    );
    // ICE waits for the other side's checks, as RFC 8863 wants it.
    std::thread::sleep(Duration::from_secs(30));
    let (failed, exit) = sender.failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("connection"), 5), "{failed}");
    let verdict = &failed["verdicts"][0];
    assert_eq!(verdict["code"], "turn-refuses-peer", "{failed}");
    assert_eq!(verdict["message"], "the TURN server does not relay to the other side's addresses");
    assert!(
        verdict["evidence"].as_array().unwrap().iter().any(|it| it.as_str().unwrap().contains("403")),
        "{failed}"
    );
    assert!(verdict["advice"].as_str().unwrap().contains("--allow-peer"), "{failed}");
    let (exit, words) = receiver.end();
    assert_eq!(exit, 5, "{words}");
    assert!(
        words.contains("turn-refuses-peer: the TURN server does not relay")
            && words.contains("  → allow 127.0.0.1"),
        "{words}"
    );
}

#[test]
fn two_machines_look_at_each_other() {
    let server = Server::start();
    let here = Program::json(&["doctor", "--invite", "--server", &server.url]);
    let (code, _) = here.code();
    let there = Program::json(&["doctor", &code, "--server", &server.url]);
    let ends = [here, there].map(|side| {
        let own = side.event("report");
        let theirs = side.event("theirs");
        let attempt = side.event("attempt");
        assert_eq!(attempt["expected"], "direct", "{attempt}");
        assert_eq!(attempt["found"], "direct", "{attempt}");
        assert_eq!(attempt["held"], true, "{attempt}");
        assert_eq!(attempt["path"]["kind"], "direct", "{attempt}");
        assert_eq!(attempt["verdicts"].as_array().map(Vec::len), Some(0), "{attempt}");
        assert_eq!(side.end().0, 0);
        (own, theirs)
    });
    // Each shows what the other one found.
    let [(first, of_second), (second, of_first)] = ends;
    for (own, told) in [(first, of_first), (second, of_second)] {
        assert_eq!(own["nat"], told["report"]["nat"]);
        assert_eq!(own["took_ms"], told["report"]["took_ms"]);
    }
}

#[test]
fn a_doctor_that_meets_somebody_else_says_so() {
    let server = Server::start();
    let folder = Scratch::new("stranger");
    let file = folder.noise("file", 10);
    let sender = Program::json(&["send", &file, "--server", &server.url]);
    let (code, _) = sender.code();
    let doctor = Program::json(&["doctor", &code, "--server", &server.url]);
    let (failed, exit) = sender.failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("peer"), 6), "{failed}");
    let (failed, exit) = doctor.failure();
    assert_eq!((failed["code"].as_str(), exit), (Some("peer"), 6), "{failed}");
}

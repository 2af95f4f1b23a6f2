//! Two machines look at each other: `sterna doctor CODE` with the real program.

mod program;

use program::{Program, Scratch, Server};

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
    // The host may have left before the guest knew whom it had met.
    let (failed, exit) = doctor.failure();
    assert!([4, 6].contains(&exit), "{failed}");
}

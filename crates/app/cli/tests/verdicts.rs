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

/// Both sides end with the same word on what is the matter.
#[track_caller]
fn both_say(sides: [Program; 2], theirs: [&str; 2]) {
    for (side, theirs) in sides.into_iter().zip(theirs) {
        let (failed, exit) = side.failure();
        assert_eq!((failed["code"].as_str(), exit), (Some("peer"), 6), "{failed}");
        let message = failed["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("the other side is {theirs}, and this is ")), "{message}");
        assert!(message.contains("use the same command"), "{message}");
    }
}

#[test]
fn a_doctor_that_comes_to_a_transfer_says_what_is_the_matter_and_so_does_the_transfer() {
    let server = Server::start();
    let folder = Scratch::new("stranger");
    let file = folder.noise("file", 10);
    let sender = Program::json(&["send", &file, "--server", &server.url]);
    let (code, _) = sender.code();
    let doctor = Program::json(&["doctor", &code, "--server", &server.url]);
    both_say([sender, doctor], ["`sterna doctor`", "`sterna send` or `receive`"]);
}

#[test]
fn a_receiver_that_comes_to_a_doctor_says_what_is_the_matter_and_so_does_the_doctor() {
    let server = Server::start();
    let folder = Scratch::new("stranger-too");
    let doctor = Program::json(&["doctor", "--invite", "--server", &server.url]);
    let (code, _) = doctor.code();
    let receiver =
        Program::json(&["receive", &code, "--yes", "--out", &folder.text("out"), "--server", &server.url]);
    both_say([doctor, receiver], ["`sterna send` or `receive`", "`sterna doctor`"]);
}

//! A transfer that cannot be says why: the real `sterna` in networks where no path leads through.

mod lab;
mod sterna;

use std::process::Stdio;
use std::time::Instant;

use lab::lab;
use netsim::Preset;
use serde_json::Value;
use sterna::{PATIENCE, Server, event};
use sterna_kernel::{Host, Lab, Program};

/// Relays that answer over UDP only, and where nothing arrives for those to whom they relay.
const CLOSED: &str = "table inet closed {
    chain input {
        type filter hook input priority 0
        tcp dport 3478 reject with tcp reset
        udp dport 49152-65535 drop
    }
}";
/// The exit code of two machines that found no path to each other.
const NO_CONNECTION: i32 = 5;

fn hosts(lab: &mut Lab, name: &str, presets: [Preset; 2]) -> [Host; 2] {
    let mut ends = ["a", "b"].into_iter();
    presets.map(|preset| {
        let end = ends.next().expect("there are two");
        let mut site = lab.add_site(&format!("{name}{end}"), preset).unwrap();
        lab.add_host(&mut site, &format!("{name}-{end}")).unwrap()
    })
}

/// The verdicts of a program that fails, whose last word this is.
#[track_caller]
fn verdicts(mut program: Program) -> Vec<Value> {
    let failed = event(&mut program, "failed");
    assert_eq!(failed["code"], "connection", "{failed}");
    assert_eq!(program.exit_code(PATIENCE).unwrap(), NO_CONNECTION);
    failed["verdicts"].as_array().expect("there are verdicts").clone()
}

#[track_caller]
fn find<'a>(verdicts: &'a [Value], code: &str) -> &'a Value {
    let found = verdicts.iter().find(|verdict| verdict["code"] == code);
    found.unwrap_or_else(|| panic!("{code} is not among {verdicts:#?}"))
}

/// Both at once: a connection is given up after 40 s, and waiting is no work.
#[test]
fn two_machines_without_a_path_say_why() {
    let Some(mut lab) = lab() else { return };
    let secret = lab.folder().join("secret");
    std::fs::write(&secret, "of this lab alone, 8d1f2a90b35c").unwrap();
    let shared = ["--secret-file", secret.to_str().unwrap()];
    let Some(relay) = Server::start(&mut lab, "relay", &shared) else { return };
    let url = format!("turn:{}:3478", relay.host.address());
    let arguments = [&shared[..], &["--relay", &url]].concat();
    let server = Server::start(&mut lab, "server", &arguments).expect("the first one started");
    for server in [&relay, &server] {
        server.host.nft(CLOSED).unwrap();
    }
    let [mute, open] = hosts(&mut lab, "mute", [Preset::UdpBlocked, Preset::PortRestricted]);
    let [left, right] = hosts(&mut lab, "strict", [Preset::Symmetric; 2]);
    let begun = Instant::now();
    let blocked = server.transfer(&mute, &open, 10, &[]);

    // Of the other two only one uses a relay, at which nothing arrives. Its words are for a person.
    let file = lab.folder().join("letter");
    std::fs::write(&file, "Dear Bob").unwrap();
    let mut sender = server.run(&left, &["send", file.to_str().unwrap(), "--no-relay"]);
    let code = event(&mut sender, "code")["code"].as_str().unwrap().to_owned();
    let mut receiver = right.command(sterna::program().expect("it ran just now"));
    receiver.args(["receive", &code, "--yes", "--server", &server.url]).current_dir(lab.folder());
    receiver.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let receiver = receiver.spawn().unwrap();

    for (side, whose) in [(blocked.sender, "this network"), (blocked.receiver, "the other side")] {
        let found = verdicts(side);
        let verdict = find(&found, "udp-blocked");
        assert!(verdict["advice"].as_str().unwrap().contains(whose), "{verdict}");
        assert!(!verdict["evidence"].as_array().unwrap().is_empty(), "{verdict}");
    }
    assert!(!verdicts(sender).is_empty());
    let told = receiver.wait_with_output().unwrap();
    let words = String::from_utf8(told.stderr).unwrap();
    assert_eq!(told.status.code(), Some(NO_CONNECTION), "{words}");
    for word in ["relay-ports-closed", "0 arrived", "→ open the TURN server's relay ports"] {
        assert!(words.contains(word), "{word:?} is not in:\n{words}");
    }
    println!("given up and explained after {:.1} s", begun.elapsed().as_secs_f64());
}

//! What a file says about a box is how the box behaves.

use sterna_scenario::script::{Run, Script};

/// A host that speaks first, one that answers, and a box with these lines.
fn play(lines: &str, rest: &str) -> Run {
    let text = format!(
        r#"
limit = "9h"
[networks.home]
nat = "full-cone"
inside = "192.168.1.0/24"
{lines}
[hosts.inner]
network = "home"
address = "192.168.1.20"
runs = "plain"
port = 5000
[hosts.server]
network = "internet"
runs = "plain"
port = 7000
{rest}"#
    );
    let script = Script::parse("box.toml", &text).unwrap_or_else(|mistake| panic!("\n{mistake}"));
    script.run(1)
}

/// `inner` sends at once; does what the server sends back at these times get in?
fn gets_in(lines: &str, seconds: &[u32]) -> Vec<bool> {
    let mut rest =
        String::from("[[events]]\nat = \"0s\"\nsend = \"hello\"\nfrom = \"inner\"\nto = \"server\"\n");
    for at in seconds {
        rest += &format!(
            "[[events]]\nat = \"{at}s\"\nsend = \"at {at}\"\nfrom = \"server\"\nto = \"home:5000\"\n\
             [[expect]]\nreceived = \"at {at}\"\nby = \"inner\"\n"
        );
    }
    play(lines, &rest).findings().iter().map(|finding| finding.held).collect()
}

#[test]
fn timeouts_and_what_refreshes() {
    assert_eq!(gets_in("", &[100, 130]), [true, false], "two minutes, whatever comes in");
    assert_eq!(gets_in("inbound-refresh = true", &[100, 200, 330]), [true, true, false]);
    assert_eq!(gets_in("timeout = \"30s\"", &[20, 40]), [true, false]);
    assert_eq!(gets_in("timeouts = { udp = \"30s\" }", &[20, 40]), [true, false]);
    let unanswered = "inbound-refresh = true\ntimeouts = { unanswered = \"10s\", udp = \"1min\" }";
    assert_eq!(gets_in(unanswered, &[20]), [false]);
    assert_eq!(gets_in(unanswered, &[5, 50, 120]), [true, true, false]);
}

/// A stream from inside: an answer by it, so many seconds after it was opened.
fn stream(lines: &str, seconds: u32) -> bool {
    let rest = format!(
        r#"
[hosts.client]
network = "home"
runs = "plain"
port = 6000
transport = "tcp"
[hosts.web]
network = "internet"
runs = "plain"
port = 80
transport = "tcp"
[[events]]
at = "0s"
send = "a page, please"
from = "client"
to = "web"
[[events]]
at = "1s"
send = "wait"
from = "web"
to = "web.seen"
[[events]]
at = "{seconds}s"
send = "here it is"
from = "web"
to = "web.seen"
[[expect]]
received = "here it is"
by = "client"
"#
    );
    play(lines, &rest).passed()
}

#[test]
fn timeouts_of_streams() {
    assert!(stream("", 7000), "two hours and four minutes");
    assert!(!stream("", 8000));
    assert!(stream("timeouts = { tcp = \"3h\" }", 8000));
    assert!(!stream("timeouts = { tcp = \"1min\" }", 100));
    assert!(stream("timeouts = { transitory = \"1min\" }", 100), "it is open");
}

/// From how many outer addresses twelve programs' datagrams come, two hosts with six each.
fn addresses(lines: &str) -> [usize; 2] {
    let mut rest = String::new();
    for (host, first) in [("a", 10), ("b", 30)] {
        // A host's program has one port, but a symmetric box maps it anew for every remote end.
        rest += &format!("[hosts.{host}]\nnetwork = \"home\"\nruns = \"plain\"\nport = 5000\n");
        for n in 0..6 {
            let server = format!("s{}", first + n);
            rest += &format!(
                "[hosts.{server}]\nnetwork = \"internet\"\nruns = \"plain\"\n[[events]]\nat = \"{n}s\"\n\
                 send = \"{host}{n}\"\nfrom = \"{host}\"\nto = \"{server}\"\n"
            );
        }
    }
    let lines = format!("mapping = \"address-and-port-dependent\"\n{lines}");
    let run = play(&lines, &(rest + "[[expect]]\nreceived = \"b5\"\nby = \"s35\"\n"));
    assert!(run.passed(), "{run}");
    let ladder = run.ladder();
    ["a", "b"].map(|host| {
        let lane = ladder.lanes.iter().position(|lane| lane.name == host).unwrap();
        let steps = ladder.steps.iter().filter(|step| step.from == lane);
        let outer = steps.flat_map(|step| &step.stops).filter_map(|stop| match &stop.what {
            sterna_scenario::Happened::Rewritten(to) => Some(to.local.ip()),
            _ => None,
        });
        outer.collect::<std::collections::BTreeSet<_>>().len()
    })
}

#[test]
fn pools_are_paired_or_arbitrary() {
    assert_eq!(addresses(""), [1, 1]);
    assert_eq!(addresses("pool = 4"), [1, 1], "paired, as the preset is");
    assert!(addresses("pool = 4\npooling = \"arbitrary\"").iter().all(|count| *count > 1));
}

#[test]
fn a_list_of_ports_is_for_the_shared_address() {
    let lines = "one-to-one = [\"inner\"]\nports = [40000, 40001]";
    let rest = r#"
[hosts.other]
network = "home"
runs = "plain"
[[events]]
at = "0s"
send = "from inner"
from = "inner"
to = "server"
[[events]]
at = "1s"
send = "from other"
from = "other"
to = "server"
[[events]]
at = "2s"
send = "back"
from = "server"
to = "inner.outer"
[[expect]]
translated = "from inner"
to = "inner.outer"
[[expect]]
translated = "from other"
to = "home:40000"
[[expect]]
received = "back"
by = "inner"
"#;
    let run = play(lines, rest);
    assert!(run.passed(), "{run}");
}

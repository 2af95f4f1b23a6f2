//! What is wrong with a scenario file is told with its line and with what was expected there.

use sterna_scenario::script::{Mistake, Script};

/// Two peers behind a NAT each, a relay, a plain host: a file without a mistake.
const SOUND: &str = r#"title = "Sound"
limit = "30s"

[networks.home]
nat = "port-restricted"
inside = "192.168.1.0/24"

[networks.flat]
nat = "symmetric"

[hosts.alice]
network = "home"
runs = "peer"

[hosts.bob]
network = "flat"
runs = "peer"

[hosts.relay]
network = "internet"
runs = "relay"

[hosts.console]
network = "home"
address = "192.168.1.20"
runs = "plain"

[[events]]
at = "0s"
call = "bob"
from = "alice"

[[expect]]
connected = ["alice", "bob"]
within = "5s"
"#;

#[track_caller]
fn mistake(text: &str) -> Mistake {
    match Script::parse("home.toml", text) {
        Ok(_) => panic!("nothing is wrong with\n{text}"),
        Err(mistake) => mistake,
    }
}

/// `SOUND` with `old` replaced by `new`: the line, what is wrong, and what is expected.
#[track_caller]
fn told(old: &str, new: &str) -> (usize, String, String) {
    assert_eq!(SOUND.matches(old).count(), 1, "`{old}` is there once");
    let Mistake { line, what, expected, .. } = mistake(&SOUND.replace(old, new));
    (line, what, expected)
}

#[track_caller]
fn check(old: &str, new: &str, line: usize, what: &str, expected: &str) {
    let told = told(old, new);
    assert_eq!((told.0, told.1.as_str()), (line, what), "expected {}", told.2);
    assert!(told.2.contains(expected), "{}", told.2);
}

#[test]
fn a_sound_file_is_read() {
    let script = Script::parse("home.toml", SOUND).unwrap();
    assert_eq!((script.title(), script.seed()), ("Sound", 1));
}

#[test]
fn an_unknown_key_is_told_with_the_nearest_right_one() {
    check("limit = \"30s\"", "limmit = \"30s\"", 2, "unknown key `limmit` in a scenario", "`limit` (or ");
    check(
        "nat = \"symmetric\"",
        "nat = \"symmetric\"\nlink = { dealy = \"5ms\" }",
        10,
        "unknown key `dealy` in a link",
        "`delay`",
    );
    check(
        "runs = \"relay\"",
        "runs = \"relay\"\nport = 80",
        22,
        "unknown key `port` in a host",
        "`network`, `address`, `link` or `runs`",
    );
    check("call = \"bob\"", "cal = \"bob\"", 30, "unknown key `cal` in an event", "`call`");
    check("within = \"5s\"", "witin = \"5s\"", 35, "unknown key `witin` in an expectation", "`within`");
    let mistake = mistake("titel = \"x\"\n");
    assert_eq!(
        mistake.to_string().lines().next(),
        Some("home.toml:1:1: there is no host in this scenario; expected a section such as `[hosts.alice]`")
    );
}

#[test]
fn a_circle_is_told() {
    let mut text = SOUND.replace("nat = \"symmetric\"", "nat = \"symmetric\"\nbehind = \"home\"");
    text = text.replace("inside = \"192.168.1.0/24\"", "inside = \"192.168.1.0/24\"\nbehind = \"flat\"");
    let Mistake { line, what, expected, .. } = mistake(&text);
    assert_eq!(line, 4);
    assert_eq!(what, "these networks are behind each other in a circle: home → flat → home");
    assert_eq!(expected, "a way to the internet");
    check(
        "nat = \"symmetric\"",
        "nat = \"symmetric\"\nbehind = \"flat\"",
        8,
        "these networks are behind each other in a circle: flat → flat",
        "a way",
    );
}

#[test]
fn an_impossible_address_is_told() {
    let address = |address: &str| format!("address = \"{address}\"");
    let old = address("192.168.1.20");
    for (new, what, expected) in [
        ("192.168.1.300", "`192.168.1.300` is not an address", "192.168.0.7"),
        ("192.168.2.20", "192.168.2.20 is not in `home`", "192.168.1.0/24"),
        ("192.168.1.0", "192.168.1.0 is the network's own address", "a host"),
        ("192.168.1.255", "192.168.1.255 is the broadcast address", "a host"),
        ("2a0a:1::1", "nobody said which IPv6 addresses `home` has", "ipv6 = "),
    ] {
        check(&old, &address(new), 25, what, expected);
    }
    let given = "network = \"internet\"\naddress = \"5.0.0.10\"";
    check("network = \"internet\"", given, 21, "5.0.0.10 is one that the lab gives to others", "5.1.2.3");
    let public = "network = \"internet\"\naddress = \"10.0.0.1\"";
    check("network = \"internet\"", public, 21, "10.0.0.1 cannot be on the internet", "5.1.2.3");
    let unsaid = "network = \"flat\"\naddress = \"10.0.0.1\"";
    check("network = \"flat\"", unsaid, 17, "nobody said which addresses `flat` has inside", "inside = ");
    let taken = "network = \"home\"\naddress = \"192.168.1.20\"\nruns = \"peer\"\n\n[hosts.bob]";
    let told = told("network = \"home\"\nruns = \"peer\"\n\n[hosts.bob]", taken);
    assert_eq!((told.0, told.1.as_str()), (26, "`alice` has 192.168.1.20 already"));
    let twice = "address = [\"192.168.1.20\", \"192.168.1.20\"]";
    check(&old, twice, 25, "`console` has 192.168.1.20 already", "nobody has");
    let v6 = "network = \"internet\"\naddress = \"2001:db8::1\"";
    check("network = \"internet\"", v6, 21, "2001:db8::1 cannot be on the internet", "2a0a::7");
    let inside = "inside = \"192.168.1.0/24\"";
    check(inside, "inside = \"5.1.0.0/24\"", 6, "5.1.0.0/24 is public, and the box translates", "192.168");
    check(inside, "inside = \"192.168.1.0/33\"", 6, "`192.168.1.0/33` is not that", "range");
    let twice = "nat = \"symmetric\"\nbehind = \"home\"\ninside = \"192.168.0.0/16\"";
    check("nat = \"symmetric\"", twice, 11, "192.168.0.0/16 is also outside of this network's box", "own");
    let routed = "nat = \"none\"\ninside = \"10.1.0.0/24\"";
    check(
        "nat = \"symmetric\"",
        routed,
        10,
        "10.1.0.0/24 is not public, and the box does not translate",
        "public",
    );
}

#[test]
fn an_impossible_ipv6_address_is_told() {
    let ipv6 = |line: &str| format!("inside = \"192.168.1.0/24\"\n{line}");
    let inside = ipv6("");
    for (range, what, expected) in [
        ("yes", "`yes` is not that", "2a0a:1::/64"),
        ("192.168.1.0/24", "`192.168.1.0/24` is not that", "IPv6"),
        ("2a0a:1::/120", "`2a0a:1::/120` is not that", "range of IPv6"),
        ("fd00::/64", "fd00::/64 is not to be had", "public"),
        ("2a00:1::/64", "2a00:1::/64 is not to be had", "2a0a:1::/64"),
    ] {
        check(inside.trim_end(), &ipv6(&format!("ipv6 = \"{range}\"")), 7, what, expected);
    }
    let sound = SOUND.replace(inside.trim_end(), &ipv6("ipv6 = \"2a0a:1::/64\""));
    let tell = |old: &str, new: &str| {
        let Mistake { line, what, expected, .. } = mistake(&sound.replace(old, new));
        (line, what, expected)
    };
    let address = |address: &str| tell("\"192.168.1.20\"", &format!("[\"192.168.1.20\", \"{address}\"]"));
    let (line, what, expected) = address("2a0a:2::5");
    assert_eq!(
        (line, &*what, &*expected),
        (26, "2a0a:2::5 is not in `home`", "an address out of 2a0a:1::/64")
    );
    assert_eq!(address("2a0a:1::").1, "2a0a:1:: is that of all routers");
    let twice = "nat = \"symmetric\"\nipv6 = \"2a0a:1::/64\"";
    assert_eq!(tell("nat = \"symmetric\"", twice).1, "`home` has 2a0a:1::/64 already");
    let outside = "network = \"internet\"\naddress = \"2a0a:1::9\"";
    assert_eq!(tell("network = \"internet\"", outside).1, "2a0a:1::9 is in `home`");
    let forward =
        "\nforward = [{ outer = 80, to = \"console\", port = 80, transport = \"tcp\" }]\n\n[networks.flat]";
    let v6_only = sound.replace("\"192.168.1.20\"", "\"2a0a:1::5\"").replace("\n\n[networks.flat]", forward);
    assert_eq!(mistake(&v6_only).what, "`console` has no IPv4 address");
}

#[test]
fn a_missing_host_or_network_is_told_with_the_nearest_one() {
    check("call = \"bob\"", "call = \"bop\"", 30, "there is no host `bop`", "`bob`");
    check(
        "[\"alice\", \"bob\"]",
        "[\"alice\", \"carol\"]",
        34,
        "there is no host `carol`",
        "`alice`, `bob`, `relay` or `console`",
    );
    check("network = \"flat\"", "network = \"flt\"", 16, "there is no network `flt`", "`flat`");
    let event = "[[events]]\nat = \"1s\"\ndown = \"hme\"\n\n[[expect]]";
    check("[[expect]]", event, 35, "there is no network or host `hme`", "`home`");
    let forward = "nat = \"symmetric\"\nforward = [{ outer = 80, to = \"web\", port = 80 }]";
    check("nat = \"symmetric\"", forward, 10, "there is no host `web`", "console");
    let server = "runs = \"peer\"\nservers = [\"stun:relais\"]\n\n[hosts.bob]";
    check("runs = \"peer\"\n\n[hosts.bob]", server, 14, "there is no host `relais`", "`relay`");
}

#[test]
fn wrong_values_are_told() {
    check("nat = \"symmetric\"", "nat = \"symetric\"", 9, "there is no preset `symetric`", "`symmetric`");
    check("nat = \"symmetric\"", "ports = \"random\"", 8, "the network lacks `nat`", "full-cone");
    check("runs = \"relay\"", "runs = \"relais\"", 21, "there is no `relais`", "`relay`");
    check("limit = \"30s\"", "limit = \"30\"", 2, "`30` is not that", "20ms");
    check("limit = \"30s\"", "limit = \"8days\"", 2, "this is very long", "7days");
    check("at = \"0s\"", "at = \"31s\"", 28, "by then it is over", "limit");
    check(
        "nat = \"symmetric\"",
        "nat = \"nat64\"\ninside = \"10.0.0.0/24\"",
        9,
        "a network behind `nat64` has no IPv4",
        "inside",
    );
    check("limit = \"30s\"", "limit = 30", 2, "this is a number", "a time such as");
    check("[hosts.bob]", "[hosts.home]", 15, "`home` is a network already", "of its own");
    check("[hosts.bob]", "[hosts.internet]", 15, "`internet` is there already", "another name");
    check("at = \"0s\"\n", "", 28, "an event lacks `at`", "2s");
    check("from = \"alice\"", "from = \"bob\"", 28, "`bob` calls itself", "another peer");
    check("from = \"alice\"", "from = \"relay\"", 31, "`relay` does not run as `peer`", "`alice` or `bob`");
    check("call = \"bob\"\nfrom", "restart = \"bob\"\n# from", 28, "`bob` is in no call", "call");
    check("within = \"5s\"", "path = \"strait\"", 35, "there is no `strait`", "`direct`");
    check("[\"alice\", \"bob\"]", "[\"alice\"]", 34, "these are 1", "two peers");
    check("[\"alice\", \"bob\"]", "[\"alice\", \"relay\"]", 34, "`relay` is no peer", "runs = ");
    let forward = "nat = \"symmetric\"\nforward = [{ outer = 80, to = \"alice\", port = 80 }]";
    check("nat = \"symmetric\"", forward, 10, "`alice` is not on `flat`", "a host that is");
    let both = "{ outer = 80, to = \"bob\", port = 80, transport = \"tcp\" }";
    let twice = format!("nat = \"symmetric\"\nforward = [{both}, {both}]");
    check("nat = \"symmetric\"", &twice, 10, "port 80 is forwarded twice", "once");
    let sctp =
        "nat = \"symmetric\"\nforward = [{ outer = 80, to = \"bob\", port = 80, transport = \"sctp\" }]";
    check("nat = \"symmetric\"", sctp, 10, "there is no `sctp`", "`tcp` (or `udp`)");
    let ask = "at = \"1s\"\nask = \"relay\"\nby = \"console\"\n\n[[events]]\nat = \"0s\"";
    let tcp = SOUND
        .replace("at = \"0s\"", ask)
        .replace("runs = \"plain\"", "runs = \"plain\"\ntransport = \"tcp\"");
    assert_eq!(mistake(&tcp).what, "`console` speaks TCP, and asks nobody who it is");
    let listed = "nat = \"cgn\"\nports = [5000]";
    check("nat = \"symmetric\"", listed, 9, "`cgn` is 2 boxes, which cannot be changed here", "one box");
    let far = "nat = \"symmetric\"\nforward = [{ outer = 80000, to = \"bob\", port = 80 }]";
    check("nat = \"symmetric\"", far, 10, "80000 is out of range", "65535");
    let changed = "nat = \"cgn\"\nhairpin = \"none\"";
    check("nat = \"symmetric\"", changed, 9, "`cgn` is 2 boxes, which cannot be changed here", "behind");
}

#[test]
fn wrong_words_about_a_box_are_told() {
    let flat = |lines: &str| format!("nat = \"symmetric\"\n{lines}");
    for (lines, line, what, expected) in [
        ("pool = 0", 10, "0 is out of range", "a whole number from 1 to 8"),
        ("pool = 9", 10, "9 is out of range", "from 1 to 8"),
        ("pooling = \"payred\"", 10, "there is no `payred`", "`paired` (or `arbitrary`)"),
        ("ports = [5000]\npool = 2", 11, "a list of `ports` is for one outer address", "ports = \"random\""),
        ("inbound-refresh = \"yes\"", 10, "this is a string", "`true` or `false`"),
        (
            "inbound_refresh = true",
            10,
            "unknown key `inbound_refresh` in a network",
            "`inbound-refresh` (or ",
        ),
        ("timeouts = \"2min\"", 10, "this is a string", "a table"),
        ("timeouts = { tpc = \"2h\" }", 10, "unknown key `tpc` in the timeouts", "`tcp` (or `udp`"),
        ("timeouts = { icmp = 60 }", 10, "this is a number", "a time such as"),
        (
            "timeout = \"1min\"\ntimeouts = { udp = \"2min\" }",
            11,
            "`timeout` has said that already",
            "one of",
        ),
        (
            "timeouts = { unanswered = \"3min\" }",
            10,
            "this is longer than with an answer",
            "as long as `udp` at most",
        ),
        ("one-to-one = [\"bop\"]", 10, "there is no host `bop`", "`bob`"),
        ("one-to-one = 7", 10, "this is a number", "the name of a host, or a list of them"),
        ("one-to-one = \"alice\"", 10, "`alice` is not on `flat`", "a host that is"),
        ("one-to-one = [\"bob\", \"bob\"]", 10, "`bob` has an outer address already", "each host once"),
        (
            "pool = 8\none-to-one = \"bob\"",
            11,
            "there is no outer address left for `bob`",
            "a `pool` and hosts of 8 addresses together",
        ),
    ] {
        check("nat = \"symmetric\"", &flat(lines), line, what, expected);
    }
    let firewall = |lines: &str| format!("nat = \"firewall\"\n{lines}");
    for (lines, what, expected) in [
        ("pool = 2", "the box of `firewall` does not translate", "no `pool` here"),
        ("pooling = \"paired\"", "the box of `firewall` does not translate", "no `pooling` here"),
        ("one-to-one = \"bob\"", "the box of `flat` does not translate", "no `one-to-one` here"),
    ] {
        check("nat = \"symmetric\"", &firewall(lines), 10, what, expected);
    }
    let cgn = "nat = \"cgn\"\ntimeouts = { tcp = \"3h\" }";
    check("nat = \"symmetric\"", cgn, 9, "`cgn` is 2 boxes, which cannot be changed here", "one box");
    let nat64 = "nat = \"nat64\"\none-to-one = \"bob\"";
    check("nat = \"symmetric\"", nat64, 9, "a network behind `nat64` has no IPv4", "`one-to-one`");
    let send =
        "[[events]]\nat = \"1s\"\nsend = \"x\"\nfrom = \"console\"\nto = \"console.outer\"\n\n[[expect]]";
    let expected = "`one-to-one = [\"console\"]` in its network's section";
    check("[[expect]]", send, 37, "`console` has no outer address of its own", expected);
    let inner = send.replace("console.outer", "console.inner");
    check("[[expect]]", &inner, 37, "a host has no `inner`", "`outer` (its address one to one)");
}

#[test]
fn a_file_that_is_not_utf_8_is_told_with_its_line() {
    let file = SOUND.replace("Sound", "Caf?").replace("30s", "30s\" # d?j?");
    let latin: Vec<u8> = file.bytes().map(|byte| if byte == b'?' { 0xe9 } else { byte }).collect();
    let text = Script::read("home.toml", &latin).expect_err("it is Latin-1").to_string();
    let expected = "home.toml:1:13: the byte 0xe9 is not UTF-8; expected a file in UTF-8\n 1 | title = \"Caf\u{fffd}\"\n";
    assert!(text.starts_with(expected), "{text}");
    // The line is that of the byte, and the letters before it are whole.
    let late = [SOUND.as_bytes(), "# naïve \u{1f600} ".as_bytes(), b"\xf0\x9f"].concat();
    let mistake = Script::read("home.toml", &late).expect_err("it ends within a letter");
    assert_eq!((mistake.line, mistake.column), (SOUND.lines().count() + 1, 11));
    let wide: Vec<u8> = "\u{feff}title".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mistake = Script::read("home.toml", &wide).expect_err("it is UTF-16");
    assert_eq!((mistake.line, mistake.column), (1, 1));
    assert!(Script::read("home.toml", SOUND.as_bytes()).is_ok());
}

#[test]
fn what_is_not_toml_is_told() {
    let (line, what, _) = told("title = \"Sound\"", "title = \"Sound");
    assert_eq!(line, 1, "{what}");
    let (line, what, _) = told("[hosts.bob]", "[hosts.bob");
    assert_eq!(line, 15, "{what}");
    let (line, what, _) = told("[hosts.bob]", "[hosts.alice]");
    assert_eq!(line, 15, "{what}");
}

#[test]
fn a_mistake_shows_its_line() {
    let mistake = mistake(&SOUND.replace("nat = \"symmetric\"", "nat = \"symetric\""));
    let text = mistake.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("home.toml:9:7: there is no preset `symetric`; expected `symmetric`"),
        "{text}"
    );
    assert_eq!(lines[1..], [" 9 | nat = \"symetric\"", "   |       ^^^^^^^^^^"]);
}

#[test]
fn no_bytes_make_it_panic() {
    let lines: Vec<&str> = SOUND.lines().collect();
    for cut in 0..SOUND.len() {
        if SOUND.is_char_boundary(cut) {
            let _ = Script::parse("cut.toml", &SOUND[..cut]);
        }
    }
    for left_out in 0..lines.len() {
        let text: Vec<&str> =
            lines.iter().enumerate().filter(|(at, _)| *at != left_out).map(|(_, line)| *line).collect();
        let _ = Script::parse("hole.toml", &text.join("\n"));
    }
    for number in 0..lines.len() {
        for other in 0..lines.len() {
            let mut text = lines.clone();
            text.swap(number, other);
            let _ = Script::parse("mixed.toml", &text.join("\n"));
        }
    }
}

#[test]
fn a_network_without_room_is_told() {
    let many: String =
        (0..300).map(|n| format!("[hosts.h{n}]\nnetwork = \"flat\"\nruns = \"plain\"\n")).collect();
    let Mistake { line, what, .. } = mistake(&format!("{SOUND}{many}"));
    assert_eq!((line, what.as_str()), (8, "`flat` has no room for 301 hosts and 0 boxes"));
}

#[test]
fn strange_scenarios_are_played_all_the_same() {
    // Hosts get their own addresses before others are given out; a relay behind a NAT; a move from where one is not;
    // an address that is taken; events for what does not run; what is asked for before it is known.
    let strange = r#"
limit = "20s"
[networks.home]
nat = "cgn"
[networks.six]
nat = "nat64"
[networks.attic]
nat = "hairpin-internal"
behind = "home"
inside = "192.168.8.0/24"
[hosts.first]
network = "attic"
runs = "plain"
[hosts.second]
network = "attic"
address = "192.168.8.10"
runs = "plain"
[hosts.relay]
network = "home"
runs = "relay"
[hosts.a]
network = ["six", "home"]
runs = "peer"
[hosts.b]
network = "six"
runs = "peer"
[[events]]
at = "0s"
call = "a"
from = "b"
[[events]]
at = "1s"
readdress = "first"
address = "192.168.8.10"
[[events]]
at = "1s"
send = "lost"
from = "first"
to = "second.mapped"
[[events]]
at = "2s"
stop = "second"
[[events]]
at = "3s"
send = "gone"
from = "second"
to = "first"
[[events]]
at = "3s"
move = "second"
to = "six"
[[events]]
at = "4s"
move = "second"
from = "attic"
to = "six"
[[events]]
at = "4s"
start = "second"
[[events]]
at = "5s"
stop = "b"
[[events]]
at = "6s"
send = "hello"
from = "a"
[[events]]
at = "6s"
restart = "b"
[[events]]
at = "7s"
start = "b"
[[events]]
at = "7s"
sleep = "relay"
for = "2s"
[[events]]
at = "8s"
renumber = "home"
[[events]]
at = "9s"
clock = "a"
jump = "10000days"
[[expect]]
lost = "nobody says this"
"#;
    let script = Script::parse("strange.toml", strange).unwrap_or_else(|mistake| panic!("\n{mistake}"));
    for seed in 0..5 {
        let run = script.run(seed);
        let problems = run.findings().iter().filter(|finding| finding.line == 0).count();
        assert_eq!(problems, 4, "{run}");
        assert!(!run.passed());
        let _ = run.ladder();
    }
}

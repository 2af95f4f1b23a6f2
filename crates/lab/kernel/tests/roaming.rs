//! A transfer survives what happens to the network under it: the real `sterna`, and how long it takes it to go on.

mod lab;
mod sterna;

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use lab::lab;
use netsim::Preset;
use serde_json::Value;
use sterna_kernel::{Host, Lab, Program, Site, Stop};

/// How long one event may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// With the throttle below a transfer of a few seconds.
const BYTES: usize = 12_000_000;

/// A transfer from alice to bob that is on its way.
struct Transfer {
    lab: Lab,
    home: Site,
    alice: Host,
    sender: Program,
    receiver: Program,
    _serve: Program,
    sent: PathBuf,
    received: PathBuf,
    /// Where the receiver saw the sender at first.
    seen: Value,
}

#[track_caller]
fn run(host: &Host, line: &str) {
    let mut words = line.split_whitespace();
    let output = host.command(words.next().unwrap()).args(words).output().expect("it runs");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn event(program: &mut Program, name: &str) -> Value {
    match program.event(name, PATIENCE) {
        Ok(event) => event,
        Err(error) => panic!("{error}"),
    }
}

/// What the system calls the namespace of a host.
fn namespace(host: &Host) -> String {
    let output = host.command("ip").args(["netns", "identify"]).output().expect("ip runs");
    String::from_utf8(output.stdout).expect("names are ASCII").trim().to_owned()
}

impl Transfer {
    /// Two homes behind NATs, and a link that makes the transfer last.
    fn start() -> Option<Self> {
        let sterna = sterna::program()?;
        let mut lab = lab()?;
        let mut home = lab.add_site("home", Preset::PortRestricted).unwrap();
        let mut far = lab.add_site("far", Preset::PortRestricted).unwrap();
        let alice = lab.add_host(&mut home, "alice").unwrap();
        let bob = lab.add_host(&mut far, "bob").unwrap();
        let server = lab.add_server("server", 1).unwrap();
        let throttle = "add table ip slow; add chain ip slow forward { type filter hook forward priority -50; }; \
                        add rule ip slow forward limit rate over 3 mbytes/second burst 300 kbytes drop";
        let throttled = lab.router(&far).command("nft").arg(throttle).status().unwrap();
        assert!(throttled.success());
        let folder = lab.folder().to_owned();
        let start = |host: &Host, arguments: &[&str]| {
            Program::start(&sterna, host, &folder, arguments, &Stop::default()).unwrap()
        };
        let public = server.address().to_string();
        let mut serve = start(&server, &["serve", "--listen", "0.0.0.0", "--public-ip", &public]);
        event(&mut serve, "listening");
        let url = format!("http://{public}:8080");
        let sent = folder.join("cargo.bin");
        let bytes: Vec<u8> = (0..BYTES).map(|at| (at * at / 7 + at / 251) as u8).collect();
        fs::write(&sent, bytes).unwrap();
        let mut sender = start(&alice, &["send", sent.to_str().unwrap(), "--server", &url]);
        let code = event(&mut sender, "code")["code"].as_str().expect("a code is a text").to_owned();
        let out = folder.join("out");
        fs::create_dir(&out).unwrap();
        let arguments = ["receive", &code, "--server", &url, "--yes", "--out", out.to_str().unwrap()];
        let mut receiver = start(&bob, &arguments);
        assert_eq!(event(&mut sender, "connected")["path"]["kind"], "direct");
        // Some of it has arrived, and both sides have their ways back.
        for _ in 0..4 {
            event(&mut receiver, "progress");
        }
        let seen = receiver.path().expect("it is connected")["remote_address"].clone();
        let received = out.join("cargo.bin");
        Some(Self { lab, home, alice, sender, receiver, _serve: serve, sent, received, seen })
    }

    /// Both sides tell that they have a path again, and the file arrives. Tells for how long the sender had none. The
    /// other side may not have noticed that (what it hears of the search comes before its own patience ends), but it
    /// sees that the sender is elsewhere.
    #[track_caller]
    fn goes_on(mut self, what: &str) -> f64 {
        let begun = Instant::now();
        let outage = loop {
            let path = event(&mut self.sender, "path");
            // Before it, one side may tell that nomination has settled on another pair.
            if let Some(outage) = path["outage_ms"].as_f64() {
                assert_eq!(path["path"]["kind"], "direct", "{path}");
                break outage / 1000.0;
            }
        };
        loop {
            let path = event(&mut self.receiver, "path");
            assert_eq!(path["path"]["kind"], "direct", "{path}");
            if path["path"]["remote_address"] != self.seen {
                break;
            }
        }
        let all = begun.elapsed().as_secs_f64();
        println!("{what}: path again after {all:.2} s (the sender was without one for {outage:.2} s)");
        for side in [&mut self.sender, &mut self.receiver] {
            assert_eq!(event(side, "done")["via"]["kind"], "direct");
        }
        self.sender.end(PATIENCE).unwrap();
        self.receiver.end(PATIENCE).unwrap();
        assert!(
            fs::read(&self.received).unwrap() == fs::read(&self.sent).unwrap(),
            "the file arrived intact"
        );
        outage
    }
}

#[test]
fn a_transfer_survives_the_move_to_another_uplink() {
    let Some(mut transfer) = Transfer::start() else { return };
    let mobile = transfer.lab.add_site("mobile", Preset::PortRestricted).unwrap();
    let (router, alice) = (transfer.lab.router(&mobile), &transfer.alice);
    run(&router, &format!("ip link add phone type veth peer name wwan0 netns {}", namespace(alice)));
    run(&router, "ip link set phone master lan up");
    // Out of the reach of one, into that of the other.
    run(alice, "ip addr flush dev eth0");
    run(alice, "ip link set eth0 down");
    let [a, b, c, _] = router.address().octets();
    run(alice, "ip link set wwan0 up");
    run(alice, &format!("ip addr add {}/24 dev wwan0", Ipv4Addr::new(a, b, c, 77)));
    run(alice, &format!("ip route add default via {}", router.address()));
    let outage = transfer.goes_on("another uplink");
    assert!(outage < 10.0, "{outage}");
}

#[test]
fn a_transfer_survives_a_router_that_reboots() {
    let Some(mut transfer) = Transfer::start() else { return };
    let internet = namespace(&transfer.alice).replace("alice", "internet");
    let router = transfer.lab.router(&transfer.home);
    let old = transfer.home.external_address();
    let spare = transfer.lab.add_site("spare", Preset::PortRestricted).unwrap().external_address();
    let [a, b, c, d] = spare.octets();
    let new = Ipv4Addr::new(a, b, c, d + 50);
    let ip = |arguments: &str| {
        let output = Command::new("ip").args(["-n", &internet]).args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let route = ip(&format!("route show {old}"));
    let port = route.split_whitespace().skip_while(|word| *word != "dev").nth(1).expect("there is a route");
    // It forgets all flows (masqueraded ones go with their address), and its provider gives it another address.
    ip(&format!("route add {new}/32 dev {port}"));
    ip(&format!("route del {old}/32 dev {port}"));
    run(&router, &format!("ip addr add {new}/32 dev wan"));
    run(&router, &format!("ip addr del {old}/32 dev wan"));
    let outage = transfer.goes_on("router reboot, new outer address");
    assert!(outage < 15.0, "{outage}");
}

#[test]
fn a_transfer_survives_a_nap() {
    let Some(transfer) = Transfer::start() else { return };
    let pids =
        Command::new("ip").args(["netns", "pids", &namespace(&transfer.alice)]).output().unwrap().stdout;
    let pids = String::from_utf8(pids).unwrap();
    let tell = |signal: &str| {
        let status = Command::new("kill").arg(signal).args(pids.split_whitespace()).status().unwrap();
        assert!(status.success());
    };
    tell("-STOP");
    // Long enough for the server to take it for lost.
    std::thread::sleep(Duration::from_secs(13));
    tell("-CONT");
    let mut transfer = transfer;
    let path = event(&mut transfer.receiver, "path");
    println!("a nap of 13 s: the other side was without a path for {} ms", path["outage_ms"]);
    event(&mut transfer.sender, "done");
    event(&mut transfer.receiver, "done");
    assert!(fs::read(&transfer.received).unwrap() == fs::read(&transfer.sent).unwrap());
}

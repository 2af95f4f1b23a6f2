//! A transfer survives what happens to the network under it: the real `sterna`, and how long it takes it to go on.

mod lab;
mod sterna;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{change_uplink, lab, namespace, run};
use netsim::Preset;
use serde_json::Value;
use sterna::{Server, Transfer, event};
use sterna_kernel::{Host, Lab, Site};

/// With the throttle below a transfer of a few seconds.
const BYTES: usize = 20_000_000;
/// For those that begin once nomination has settled.
const MORE_BYTES: usize = 36_000_000;

/// A transfer from alice to bob that is on its way.
struct Voyage {
    lab: Lab,
    home: Site,
    alice: Host,
    transfer: Transfer,
    /// What the two met at, and relays besides.
    servers: Vec<Server>,
    /// The kind of its path, before and after.
    kind: &'static str,
    /// Where the receiver saw the sender at first.
    seen: Value,
}

impl Voyage {
    /// Two homes behind NATs, and a link that makes the transfer last.
    fn start() -> Option<Self> {
        Self::between(Preset::PortRestricted, "direct", &[], BYTES, &[])
    }

    /// The same, by relays alone.
    fn relayed() -> Option<Self> {
        let mut voyage =
            Self::between(Preset::PortRestricted, "relayed", &[], MORE_BYTES, &["--relay-only"])?;
        let url = format!("turn:{}:3478?transport=udp", voyage.servers[0].host.address());
        voyage.settles_on(&url);
        voyage.seen = voyage.transfer.receiver.path().expect("it is connected")["remote_address"].clone();
        Some(voyage)
    }

    /// Nomination settles on the relay that is preferred, some two seconds after the first path.
    fn settles_on(&mut self, url: &str) {
        loop {
            let sides = [&mut self.transfer.sender, &mut self.transfer.receiver].map(|side| {
                event(side, "progress");
                side.path().expect("it told its path").clone()
            });
            if relays(&[&sides[0], &sides[1]]) == [url] {
                return;
            }
        }
    }

    /// Two networks behind such NATs; `relays` are names of relays that are preferred to the server's own, `more` are
    /// arguments of both sides.
    fn between(
        preset: Preset,
        kind: &'static str,
        relays: &[&str],
        bytes: usize,
        more: &[&str],
    ) -> Option<Self> {
        let mut lab = lab()?;
        let mut home = lab.add_site("home", preset).unwrap();
        let mut far = lab.add_site("far", preset).unwrap();
        let alice = lab.add_host(&mut home, "alice").unwrap();
        let bob = lab.add_host(&mut far, "bob").unwrap();
        sterna::throttle(&lab.router(&far));
        let secret = lab.folder().join("secret");
        std::fs::write(&secret, "of this lab alone, 8d1f2a90b35c").unwrap();
        let shared = ["--secret-file", secret.to_str().unwrap()];
        let mut servers = Vec::new();
        for relay in relays {
            servers.push(Server::start(&mut lab, relay, &shared)?);
        }
        let url = |server: &Server| format!("turn:{}:3478", server.host.address());
        let others = servers.iter().flat_map(|server| ["--relay".to_owned(), url(server)]);
        let others: Vec<String> = others.chain(shared.map(str::to_owned)).collect();
        let arguments: Vec<&str> = others.iter().map(String::as_str).collect();
        let server = Server::start(&mut lab, "server", &arguments)?;
        let mut transfer = server.transfer(&alice, &bob, bytes, more);
        servers.push(server);
        assert_eq!(event(&mut transfer.sender, "connected")["path"]["kind"], kind);
        // Some of it has arrived, and both sides have their ways back.
        for _ in 0..4 {
            event(&mut transfer.receiver, "progress");
        }
        let seen = transfer.receiver.path().expect("it is connected")["remote_address"].clone();
        Some(Self { lab, home, alice, transfer, servers, kind, seen })
    }

    /// Alice is out of the reach of one network, and in that of another.
    fn change_uplink(&mut self) {
        change_uplink(&mut self.lab, &self.alice);
    }

    /// Alice's router forgets all flows (masqueraded ones go with their address), and its provider gives it another address.
    fn reboot_router(&mut self) {
        let internet = namespace(&self.alice).replace("alice", "internet");
        let router = self.lab.router(&self.home);
        let old = self.home.external_address();
        let spare = self.lab.add_site("spare", Preset::PortRestricted).unwrap().external_address();
        let [a, b, c, d] = spare.octets();
        let new = Ipv4Addr::new(a, b, c, d + 50);
        let ip = |arguments: &str| {
            let output =
                Command::new("ip").args(["-n", &internet]).args(arguments.split(' ')).output().unwrap();
            assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let route = ip(&format!("route show {old}"));
        let port =
            route.split_whitespace().skip_while(|word| *word != "dev").nth(1).expect("there is a route");
        ip(&format!("route add {new}/32 dev {port}"));
        ip(&format!("route del {old}/32 dev {port}"));
        run(&router, &format!("ip addr add {new}/32 dev wan"));
        run(&router, &format!("ip addr del {old}/32 dev wan"));
    }

    /// The file goes on arriving by the path that there was, from the relayed address that there was: nobody looks for
    /// another one. Tells for how long nothing came, which shows in quarters of a second.
    #[track_caller]
    fn comes_along(mut self, what: &str) -> f64 {
        let begun = Instant::now();
        let (mut first, mut last, mut gap) = (None, begun, Duration::ZERO);
        loop {
            let bytes = event(&mut self.transfer.receiver, "progress")["bytes"].as_u64().expect("a number");
            gap = gap.max(last.elapsed());
            last = Instant::now();
            // What was under way is told first.
            if bytes > *first.get_or_insert(bytes) + BYTES as u64 / 4 {
                break;
            }
        }
        println!("{what}: nothing came for {:.2} s", gap.as_secs_f64());
        let [(_, from), (_, to)] = self.transfer.done();
        assert_eq!((&from["kind"], &to["kind"]), (&self.kind.into(), &self.kind.into()));
        assert_eq!(to["remote_address"], self.seen, "the relay still knows the sender by the same address");
        gap.as_secs_f64()
    }

    /// Both sides tell that they have a path again, it comes to be of the kind that it was, and the file arrives. Tells for how
    /// long the sender had none.
    #[track_caller]
    fn goes_on(mut self, what: &str) -> f64 {
        let outage = self.has_a_path_again(what);
        let [(_, from), (_, to)] = self.transfer.done();
        for path in [&from, &to] {
            assert_eq!(path["kind"], self.kind, "{path}");
        }
        outage
    }

    /// Both sides tell that they have a path again: for the time being the first that works, which may be a relayed one. Tells
    /// for how long the sender had none. The other side may not have noticed that (what it hears of the search comes before
    /// its own patience ends), but it sees that the sender is elsewhere.
    #[track_caller]
    fn has_a_path_again(&mut self, what: &str) -> f64 {
        let begun = Instant::now();
        let before = host_of(self.transfer.sender.path().expect("it told its path"));
        let outage = loop {
            let path = event(&mut self.transfer.sender, "path");
            // Before it, one side may tell that nomination has settled on another pair. Where the other side was first to
            // move to another host, this one was never without a path.
            let outage = path["outage_ms"].as_f64();
            if outage.is_some() || host_of(&path["path"]) != before {
                break outage.unwrap_or_default() / 1000.0;
            }
        };
        while event(&mut self.transfer.receiver, "path")["path"]["remote_address"] == self.seen {}
        let all = begun.elapsed().as_secs_f64();
        println!("{what}: path again after {all:.2} s (the sender was without one for {outage:.2} s)");
        outage
    }
}

/// The host that a path leads to.
fn host_of(path: &Value) -> IpAddr {
    let address: SocketAddr =
        path["remote_address"].as_str().and_then(|it| it.parse().ok()).expect("an address");
    address.ip()
}

/// The relays of the two ends of a path: one of them is enough.
fn relays(paths: &[&Value]) -> Vec<Value> {
    let mut relays: Vec<Value> = paths.iter().map(|path| path["relay"].clone()).collect();
    relays.retain(Value::is_string);
    relays.dedup();
    relays
}

#[test]
fn a_transfer_survives_the_move_to_another_uplink() {
    let Some(mut voyage) = Voyage::start() else { return };
    voyage.change_uplink();
    let outage = voyage.goes_on("another uplink");
    assert!(outage < 10.0, "{outage}");
}

#[test]
fn a_relayed_transfer_takes_its_allocation_along_to_another_uplink() {
    let Some(mut voyage) = Voyage::relayed() else { return };
    voyage.change_uplink();
    let gap = voyage.comes_along("another uplink, by the relay");
    assert!(gap < 5.0, "{gap}");
}

#[test]
fn a_transfer_survives_a_router_that_reboots() {
    let Some(mut voyage) = Voyage::start() else { return };
    voyage.reboot_router();
    let outage = voyage.goes_on("router reboot, new outer address");
    assert!(outage < 15.0, "{outage}");
}

#[test]
fn a_relayed_transfer_takes_its_allocation_along_to_another_outer_address() {
    let Some(mut voyage) = Voyage::relayed() else { return };
    voyage.reboot_router();
    let gap = voyage.comes_along("router reboot, by the relay");
    assert!(gap < 6.0, "{gap}");
}

#[test]
fn a_transfer_survives_a_nap() {
    let Some(voyage) = Voyage::start() else { return };
    let pids = Command::new("ip").args(["netns", "pids", &namespace(&voyage.alice)]).output().unwrap().stdout;
    let pids = String::from_utf8(pids).unwrap();
    let tell = |signal: &str| {
        let status = Command::new("kill").arg(signal).args(pids.split_whitespace()).status().unwrap();
        assert!(status.success());
    };
    tell("-STOP");
    // Long enough for the server to take it for lost.
    std::thread::sleep(Duration::from_secs(13));
    tell("-CONT");
    let mut transfer = voyage.transfer;
    let outage = loop {
        // One that tells no outage is older than the nap: nomination settled.
        if let Some(outage) = event(&mut transfer.receiver, "path")["outage_ms"].as_f64() {
            break outage / 1000.0;
        }
    };
    println!("a nap of 13 s: the other side was without a path for {outage:.2} s");
    transfer.done();
    assert!(outage < 20.0, "{outage}");
}

#[test]
fn a_transfer_survives_the_end_of_its_relay() {
    let Some(mut voyage) = Voyage::between(Preset::Symmetric, "relayed", &["relay"], MORE_BYTES, &[]) else {
        return;
    };
    let relay = voyage.servers.remove(0);
    let url = format!("turn:{}:3478?transport=udp", relay.host.address());
    voyage.settles_on(&url);
    relay.serve.kill();
    let stand_in = format!("turn:{}:3478?transport=udp", voyage.servers[0].host.address());
    let outage = voyage.has_a_path_again("the relay ends, another stands by");
    assert!(outage < 10.0, "{outage}");
    voyage.settles_on(&stand_in);
    voyage.transfer.done();
}

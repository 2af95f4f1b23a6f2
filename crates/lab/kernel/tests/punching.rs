//! `--punch` through NATs of the Linux kernel: a direct path where otherwise only the relay is left, in bounded time.

mod lab;
mod sterna;

use std::time::{Duration, Instant};

use lab::lab;
use netsim::Preset;
use sterna::{PATIENCE, Server, event};
use sterna_kernel::Host;

/// It is given up after 8 seconds, and a busy machine may be late.
const AT_MOST: Duration = Duration::from_secs(20);
/// 1,024 packets from outside miss 256 holes among 64,512 ports once in sixty times (docs/punching.md).
const ATTEMPTS: usize = 3;

/// Two pipes meet by the relay; whether a direct path takes its place, and how long that took from the start.
fn meet(server: &Server, hosts: [&Host; 2]) -> Option<Duration> {
    let pipe = |host: &Host, code: &[&str]| server.run(host, &[&["pipe", "--punch"], code].concat());
    let mut one = pipe(hosts[0], &[]);
    let code = event(&mut one, "code")["code"].as_str().unwrap().to_owned();
    let begun = Instant::now();
    let mut other = pipe(hosts[1], &[&code]);
    let first = [&mut one, &mut other].map(|side| event(side, "connected")["path"]["kind"].clone());
    assert_eq!(first, ["relayed", "relayed"], "the relay is used at once");
    let mut path = one.event("path", AT_MOST).ok()?;
    while path["path"]["kind"] != "direct" {
        path = one.event("path", AT_MOST).ok()?;
    }
    let took = begun.elapsed();
    one.close_input();
    other.close_input();
    for mut side in [one, other] {
        assert_eq!(event(&mut side, "done")["via"]["kind"], "direct");
        side.end(PATIENCE).unwrap();
    }
    Some(took)
}

#[test]
fn a_symmetric_nat_and_a_port_restricted_one_are_passed_by_many_sockets() {
    let Some(mut lab) = lab() else { return };
    let mut hard = lab.add_site("hard", Preset::Symmetric).unwrap();
    let mut strict = lab.add_site("strict", Preset::PortRestricted).unwrap();
    let alice = lab.add_host(&mut hard, "alice").unwrap();
    let bob = lab.add_host(&mut strict, "bob").unwrap();
    let Some(server) = Server::start(&mut lab, "server", &[]) else { return };
    let took = (0..ATTEMPTS).find_map(|_| meet(&server, [&alice, &bob])).expect("it works nearly each time");
    println!("a direct path after {:.1} s", took.as_secs_f64());
    assert!(took < AT_MOST, "{took:?}");
}

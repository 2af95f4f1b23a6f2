//! Ports that a real `miniupnpd` maps: two peers whose NATs would need the relay meet directly, and the router's table is
//! clean afterwards.

mod lab;
mod sterna;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lab::lab;
use netsim::Preset;
use sterna::{PATIENCE, Server, doctor, event};
use sterna_kernel::Host;

const DAEMON: &str = "/usr/sbin/miniupnpd";

/// The chains that it writes its rules into; those of the lab's own table stay as they are.
const CHAINS: &str = "table inet filter {
    chain forward { type filter hook forward priority -10; policy accept; jump miniupnpd; }
    chain miniupnpd { }
    chain prerouting { type nat hook prerouting priority -110; policy accept; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 90; policy accept; jump postrouting_miniupnpd; }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
}";

/// A running `miniupnpd`, ended when dropped.
struct Daemon(Child);

impl Daemon {
    /// Starts it on a router; `more` are lines of its configuration.
    fn start(router: &Host, folder: &Path, more: &str) -> Option<Self> {
        if !Path::new(DAEMON).exists() {
            let missing = "miniupnpd is not there; install it with `apt-get install miniupnpd-nftables`";
            assert!(std::env::var_os("CI").is_none(), "{missing}");
            eprintln!("SKIPPED: {missing}");
            return None;
        }
        let mut nft = router.command("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(CHAINS.as_bytes()).unwrap();
        assert!(nft.wait().unwrap().success());
        let file = folder.join("miniupnpd.conf");
        let configuration = format!(
            "ext_ifname=wan\nlistening_ip=lan\nhttp_port=0\nsecure_mode=yes\nsystem_uptime=yes\n\
             uuid=00000000-0000-0000-0000-000000000001\nupnp_table_name=filter\nupnp_nat_table_name=filter\n\
             upnp_forward_chain=miniupnpd\nupnp_nat_chain=prerouting_miniupnpd\n\
             upnp_nat_postrouting_chain=postrouting_miniupnpd\nallow 1024-65535 0.0.0.0/0 1024-65535\n{more}\n"
        );
        fs::write(&file, configuration).unwrap();
        let mut command = router.command(DAEMON);
        command.arg("-d").arg("-f").arg(&file).arg("-P").arg(folder.join("miniupnpd.pid"));
        let log = fs::File::create(folder.join("miniupnpd.log")).unwrap();
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let daemon = Self(child);
        // It is there once it listens for its oldest protocol.
        let begun = Instant::now();
        let wanted = if more.contains("enable_natpmp=no") { ":1900" } else { ":5351" };
        loop {
            let listening = router.command("ss").args(["-uln"]).output().unwrap().stdout;
            if String::from_utf8_lossy(&listening).contains(wanted) {
                return Some(daemon);
            }
            let log = || fs::read_to_string(folder.join("miniupnpd.log")).unwrap_or_default();
            assert!(begun.elapsed() < Duration::from_secs(10), "miniupnpd does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The rules that map ports now.
fn mappings(router: &Host) -> String {
    let mut command = router.command("nft");
    let output = command.args(["list", "chain", "inet", "filter", "prerouting_miniupnpd"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).lines().filter(|line| line.contains("dnat")).collect()
}

/// A symmetric NAT and a port-restricted one: without a mapped port only the relay helps.
fn hard_case(more: &str, arguments: &[&str], kind: &str) {
    let Some(mut lab) = lab() else { return };
    let mut home = lab.add_site("home", Preset::Symmetric).unwrap();
    let mut far = lab.add_site("far", Preset::PortRestricted).unwrap();
    let alice = lab.add_host(&mut home, "alice").unwrap();
    let bob = lab.add_host(&mut far, "bob").unwrap();
    let router = lab.router(&home);
    let Some(_daemon) = Daemon::start(&router, lab.folder(), more) else { return };
    let Some(server) = Server::start(&mut lab, "server", &[]) else { return };
    // It has to last until the router has answered: UPnP takes longer than 300 kB through a relay.
    sterna::throttle(&lab.router(&far));
    let mut transfer = server.transfer(&alice, &bob, 9_000_000, arguments);
    event(&mut transfer.sender, "connected");
    // It may be connected by the relay before the router has answered.
    let asked = std::time::Instant::now();
    let mut granted = mappings(&router);
    while kind == "direct" && !granted.contains("dnat") && asked.elapsed() < PATIENCE {
        std::thread::sleep(std::time::Duration::from_millis(20));
        granted = mappings(&router);
    }
    for side in [&mut transfer.sender, &mut transfer.receiver] {
        assert_eq!(event(side, "done")["via"]["kind"], kind, "{granted}");
    }
    transfer.sender.end(PATIENCE).unwrap();
    transfer.receiver.end(PATIENCE).unwrap();
    if kind == "direct" {
        assert!(granted.contains("dnat"), "nothing was mapped");
    }
    assert_eq!(mappings(&router), "", "what was granted is given back");
}

#[test]
fn a_port_mapped_by_pcp_spares_the_relay() {
    hard_case("enable_natpmp=yes\nenable_upnp=no", &[], "direct");
}

#[test]
fn a_port_mapped_by_upnp_spares_the_relay() {
    hard_case("enable_natpmp=no\nenable_upnp=yes", &[], "direct");
}

#[test]
fn who_does_not_want_it_is_not_mapped() {
    hard_case("enable_natpmp=yes\nenable_upnp=yes", &["--no-port-mapping"], "relayed");
}

/// A router of the time before PCP: whatever is of version 2 is not understood, and here not even refused.
const NO_PCP: &str = "table inet old {
    chain input {
        type filter hook input priority -20; policy accept;
        udp dport 5351 @th,64,8 2 drop
    }
}";

#[test]
fn an_old_router_is_asked_by_nat_pmp() {
    let (Some(_), Some(mut lab)) = (sterna::program(), lab()) else { return };
    let mut home = lab.add_site("home", Preset::Symmetric).unwrap();
    let mut far = lab.add_site("far", Preset::PortRestricted).unwrap();
    let alice = lab.add_host(&mut home, "alice").unwrap();
    let bob = lab.add_host(&mut far, "bob").unwrap();
    let router = lab.router(&home);
    let Some(_daemon) = Daemon::start(&router, lab.folder(), "enable_natpmp=yes\nenable_upnp=no") else {
        return;
    };
    assert!(router.command("nft").arg(NO_PCP).status().unwrap().success());
    let report = doctor(&alice, &["--stun", "5.5.5.5"], |_| {});
    let spoken = &report["port_mapping"];
    assert_eq!(
        (&spoken["pcp"], &spoken["nat_pmp"], &spoken["upnp"]),
        (&false.into(), &true.into(), &false.into())
    );
    let server = Server::start(&mut lab, "server", &[]).expect("the program is there");
    sterna::throttle(&lab.router(&far));
    let mut transfer = server.transfer(&alice, &bob, 12_000_000, &[]);
    event(&mut transfer.sender, "connected");
    let granted = granted(&router);
    for (via, _) in transfer.done() {
        assert_eq!(via["via"]["kind"], "direct", "{granted}");
    }
    assert_eq!(mappings(&router), "", "what was granted is given back");
}

/// Waits until a port is mapped.
#[track_caller]
fn granted(router: &Host) -> String {
    let begun = Instant::now();
    loop {
        let granted = mappings(router);
        if !granted.is_empty() {
            return granted;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing is mapped");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The router grants a port for four seconds, whatever one asks for.
#[test]
fn a_mapping_is_renewed_as_long_as_somebody_wants_it() {
    const LIFE: Duration = Duration::from_secs(4);
    let (Some(_), Some(mut lab)) = (sterna::program(), lab()) else { return };
    let mut home = lab.add_site("home", Preset::PortRestricted).unwrap();
    let alice = lab.add_host(&mut home, "alice").unwrap();
    let router = lab.router(&home);
    let short = "enable_natpmp=yes\nenable_upnp=no\nmin_lifetime=2\nmax_lifetime=4";
    let Some(_daemon) = Daemon::start(&router, lab.folder(), short) else { return };
    let server = Server::start(&mut lab, "server", &[]).expect("the program is there");
    let pipe = |code: &[&str]| server.run(&alice, &[&["pipe"], code].concat());
    let meet = || {
        let mut one = pipe(&[]);
        let code = event(&mut one, "code")["code"].as_str().unwrap().to_owned();
        let mut other = pipe(&[&code]);
        event(&mut one, "connected");
        event(&mut other, "connected");
        [one, other]
    };
    let ends = meet();
    let first = granted(&router);
    let begun = Instant::now();
    while begun.elapsed() < LIFE * 2 {
        assert!(!mappings(&router).is_empty(), "{first} is gone after {:?}", begun.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut ends = ends;
    ends.iter_mut().for_each(sterna_kernel::Program::close_input);
    for mut end in ends {
        event(&mut end, "done");
        end.end(PATIENCE).unwrap();
    }
    assert_eq!(mappings(&router), "", "it is given back at once");
    // Who dies gives nothing back, and renews nothing.
    let ends = meet();
    granted(&router);
    ends.into_iter().for_each(sterna_kernel::Program::kill);
    let begun = Instant::now();
    while !mappings(&router).is_empty() {
        assert!(begun.elapsed() < LIFE * 3, "{}", mappings(&router));
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn the_doctor_tells_which_protocols_the_router_speaks_and_maps_nothing() {
    for (configuration, pcp, upnp) in [
        ("enable_natpmp=yes\nenable_upnp=yes", true, true),
        ("enable_natpmp=no\nenable_upnp=yes", false, true),
    ] {
        let (Some(_), Some(mut lab)) = (sterna::program(), lab()) else { return };
        let mut home = lab.add_site("home", Preset::PortRestricted).unwrap();
        let host = lab.add_host(&mut home, "host").unwrap();
        let router = lab.router(&home);
        let Some(_daemon) = Daemon::start(&router, lab.folder(), configuration) else { return };
        let report = doctor(&host, &["--stun", "5.5.5.5"], |_| {});
        let spoken = &report["port_mapping"];
        assert_eq!((&spoken["pcp"], &spoken["nat_pmp"]), (&pcp.into(), &pcp.into()), "{report:#}");
        assert_eq!(spoken["upnp"], upnp, "{report:#}");
        assert_eq!(mappings(&router), "", "nothing was mapped");
    }
}

//! A relay behind a one-to-one NAT: the outer address that it is told is verified before anything listens.

mod lab;
mod sterna;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lab::lab;
use netsim::Preset;
use serde_json::Value;
use sterna_kernel::{Host, Program, Stop};

const PATIENCE: Duration = Duration::from_secs(60);
const SECRET: (&str, &str) = ("STERNA_SECRET", "b7c1e0b1b7a94bd29ab1");

/// What `sterna relay --check` says last, and its exit code.
fn check(sterna: &Path, host: &Host, arguments: &[&str]) -> (Value, i32) {
    let output = host
        .command(sterna)
        .args(["--json", "relay", "--check", "--listen", "0.0.0.0"])
        .args(arguments)
        .env(SECRET.0, SECRET.1)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let last = said.lines().last().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    (serde_json::from_str(last).unwrap(), output.status.code().unwrap())
}

fn proof(said: &Value) -> &str {
    said["public"][0]["proof"].as_str().unwrap_or_else(|| panic!("{said}"))
}

fn is_loud(said: &Value, code: i32, wrong: &str, right: &str) {
    let message = said["message"].as_str().unwrap_or_default();
    assert!(code == 3 && message.contains(&format!("{wrong} is wrong")) && message.contains(right), "{said}");
}

#[test]
fn a_server_elsewhere_tells_the_right_outer_address_from_a_wrong_one_by_udp_and_by_tcp() {
    let (Some(sterna), Some(mut lab)) = (sterna::program(), lab()) else { return };
    let elsewhere = lab.add_server("elsewhere", 1).unwrap();
    let mut cloud = lab.add_site("cloud", Preset::FullCone).unwrap();
    let host = lab.add_host(&mut cloud, "relay").unwrap();
    let (outer, probe) = (cloud.external_address().to_string(), elsewhere.address().to_string());
    let folder = lab.folder().to_owned();
    let arguments = ["serve", "--listen", "0.0.0.0", "--public-ip", &probe];
    let mut server = Program::start(&sterna, &elsewhere, &folder, &arguments, &Stop::default()).unwrap();
    server.event("listening", PATIENCE).unwrap();

    for udp_gets_out in [true, false] {
        if !udp_gets_out {
            let walls = "add table ip walls; add chain ip walls out { type filter hook output priority 0; }; \
                         add rule ip walls out meta l4proto udp drop";
            host.nft(walls).unwrap();
        }
        let verify = |public: &str| check(&sterna, &host, &["--public-ip", public, "--probe-server", &probe]);
        let (said, code) = verify(&outer);
        assert_eq!((proof(&said), code), ("seen", 0), "{said}");
        assert_eq!(proof(&verify("auto").0), "seen");
        let (said, code) = verify("198.51.100.7");
        is_loud(&said, code, "198.51.100.7", &outer);
    }
}

/// Nobody elsewhere is asked: what is sent to the outer address has to come back.
#[test]
fn an_outer_address_that_the_nat_turns_around_is_verified_by_sending_there() {
    let (Some(sterna), Some(mut lab)) = (sterna::program(), lab()) else { return };
    let host = lab.add_server("relay", 1).unwrap();
    let own = host.address();
    // A cloud's one-to-one NAT as its machine sees it.
    let cloud = "add table ip cloud; add chain ip cloud out { type nat hook output priority -100; }";
    let whole = format!("add rule ip cloud out ip daddr 198.51.100.7 dnat to {own}");
    let half = format!("add rule ip cloud out ip daddr 198.51.100.8 meta l4proto tcp dnat to {own}");
    host.nft(&[cloud, &whole, &half].join("\n")).unwrap();
    let warnings = |said: &Value| said["warnings"].to_string();

    let (said, code) = check(&sterna, &host, &["--public-ip", "198.51.100.7"]);
    assert_eq!((proof(&said), code), ("arrived", 0), "{said}");
    assert!(!warnings(&said).contains("198.51.100.7"), "{said}");
    let (said, _) = check(&sterna, &host, &["--public-ip", "198.51.100.8"]);
    assert_eq!(proof(&said), "arrived-by-tcp");
    assert!(warnings(&said).contains("datagrams do not"), "{said}");
    let (said, _) = check(&sterna, &host, &["--public-ip", "198.51.100.9"]);
    assert_eq!(proof(&said), "unverified");
    assert!(warnings(&said).contains("198.51.100.9 is not verified"), "{said}");
}

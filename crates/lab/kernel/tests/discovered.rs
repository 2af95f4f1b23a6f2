//! Relays that the network offers (RFC 8155) are really used: two machines that need one meet through it.

mod lab;
mod sterna;

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lab::lab;
use netsim::Preset;
use simple_dns::rdata::{A, NAPTR, RData, SRV};
use simple_dns::{CLASS, Name, Packet, QTYPE, ResourceRecord};
use sterna::{Server, certificate, doctor};
use sterna_kernel::{Host, Lab};

const COTURN: &str = "/usr/bin/turnserver";
/// A server that nobody reaches by TCP, its pages apart.
const NOT_BY_TCP: &str = "table inet off {
    chain input {
        type filter hook input priority 0
        tcp dport 3478 drop
    }
}";
const ANYCAST: Ipv4Addr = Ipv4Addr::new(192, 0, 0, 10);

fn record(owner: &'static str, data: RData<'static>) -> ResourceRecord<'static> {
    ResourceRecord::new(Name::new(owner).unwrap(), CLASS::IN, 60, data)
}

/// What the DNS of the office says: its relay speaks TLS, at this address.
fn zone(relay: Ipv4Addr) -> Vec<ResourceRecord<'static>> {
    let naptr = NAPTR {
        order: 1,
        preference: 1,
        flags: "s".try_into().unwrap(),
        services: "RELAY:turn.tls".try_into().unwrap(),
        regexp: "".try_into().unwrap(),
        replacement: Name::new("_turns._tcp.office.example").unwrap(),
    };
    let target = Name::new("relay.office.example").unwrap();
    vec![
        record("office.example", RData::NAPTR(naptr)),
        record("_turns._tcp.office.example", RData::SRV(SRV { priority: 0, weight: 0, port: 443, target })),
        record("relay.office.example", RData::A(A::from(relay))),
    ]
}

/// Answers whoever asks; ends with the test's process.
fn answer(socket: UdpSocket, zone: Vec<ResourceRecord<'static>>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Ok(request) = Packet::parse(&buffer[..length]) else { continue };
            let mut reply = Packet::new_reply(request.id());
            for question in &request.questions {
                let fits = |one: &&ResourceRecord<'_>| {
                    one.name == question.qname && question.qtype == QTYPE::TYPE(one.rdata.type_code())
                };
                reply.answers.extend(zone.iter().filter(fits).cloned());
            }
            reply.questions = request.questions.clone();
            let _ = socket.send_to(&reply.build_bytes_vec().unwrap(), from);
        }
    });
}

/// A coturn that relays for everybody, by TLS on port 443; ended when dropped.
struct Coturn(Child);

impl Drop for Coturn {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn coturn(lab: &Lab, host: &Host) -> Option<(Coturn, PathBuf)> {
    if !Path::new(COTURN).exists() {
        let missing = "coturn is not there; install it with `apt-get install coturn`";
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return None;
    }
    // Whoever finds a relay in the DNS of a domain knows it by that domain (RFC 8155 §9, RFC 5928 §5).
    let [certificate, key] = certificate(lab, "office.example");
    let address = host.address().to_string();
    let log = fs::File::create(lab.folder().join("coturn.log")).unwrap();
    let mut command = host.command(COTURN);
    command.args([
        "-n",
        "--no-cli",
        "--no-auth",
        "--no-dtls",
        "--no-udp",
        "--no-tcp",
        "--log-file",
        "stdout",
    ]);
    command.args(["--listening-ip", &address, "--relay-ip", &address, "--tls-listening-port", "443"]);
    command.arg("--cert").arg(&certificate).arg("--pkey").arg(key);
    command.arg("--pidfile").arg(lab.folder().join("coturn.pid"));
    command.arg("--userdb").arg(lab.folder().join("coturn.users"));
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let coturn = Coturn(command.spawn().unwrap());
    let begun = Instant::now();
    while !String::from_utf8_lossy(&host.command("ss").args(["-tln"]).output().unwrap().stdout)
        .contains(":443")
    {
        let log = || fs::read_to_string(lab.folder().join("coturn.log")).unwrap_or_default();
        assert!(begun.elapsed() < Duration::from_secs(20), "coturn does not listen: {}", log());
        std::thread::sleep(Duration::from_millis(50));
    }
    Some((coturn, certificate))
}

#[test]
fn a_relay_that_the_dns_names_carries_a_transfer() {
    let (Some(sterna), Some(mut lab)) = (sterna::program(), lab()) else { return };
    let mut office = lab.add_site("office", Preset::UdpBlocked).unwrap();
    let mut home = lab.add_site("home", Preset::Symmetric).unwrap();
    let alice = lab.add_host(&mut office, "alice").unwrap();
    let bob = lab.add_host(&mut home, "bob").unwrap();
    let relay = lab.add_server("relay", 1).unwrap();
    let Some((_coturn, certificate)) = coturn(&lab, &relay) else { return };
    // The office's own DNS, on its router: the other side has no such relay.
    let router = lab.router(&office);
    let nameserver = router.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53))).unwrap().unwrap();
    answer(nameserver, zone(relay.address()));
    let resolv_conf = lab.folder().join("resolv.conf");
    fs::write(&resolv_conf, format!("nameserver {}\nsearch office.example\n", router.address())).unwrap();
    let script = lab.folder().join("sterna-of-the-office");
    let mount = format!("mount --bind {} /etc/resolv.conf", resolv_conf.display());
    fs::write(&script, format!("#!/bin/sh\n{mount} && exec {} \"$@\"\n", sterna.display())).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();

    let server = Server::start(&mut lab, "server", &[]).expect("the program is there");
    // The server's own relay is out of reach for the office: UDP does not get out, and TCP not in. The other side
    // finds by UDP where it is seen.
    server.host.nft(NOT_BY_TCP).unwrap();
    let with = ["--discover", "--ca", certificate.to_str().unwrap()];
    let [(_, from), (_, to)] = server.transfer_by(&script, &alice, &bob, 300_000, &with).done();
    assert_eq!((&from["kind"], &to["kind"]), (&"relayed".into(), &"relayed".into()), "{from} {to}");
    let relayed = from["relay"].as_str().unwrap_or_default();
    assert!(relayed.starts_with("turns:relay.office.example:443"), "{from}");
}

#[test]
fn a_server_at_the_anycast_address_tells_its_own() {
    let Some(mut lab) = lab() else { return };
    let mut home = lab.add_site("home", Preset::Symmetric).unwrap();
    let alice = lab.add_host(&mut home, "alice").unwrap();
    let secret = lab.folder().join("secret");
    fs::write(&secret, "of this lab alone, 27c1d9e0a4b8").unwrap();
    let arguments = ["--secret-file", secret.to_str().unwrap()];
    let Some(server) = Server::start(&mut lab, "server", &arguments) else { return };
    let add = format!("address add {ANYCAST}/32 dev lo");
    assert!(server.host.command("ip").args(add.split(' ')).status().unwrap().success());
    lab.announce(ANYCAST, &server.host).unwrap();
    let stun = format!("{}:3478", server.host.address());
    // It is there for those who look for relays without being told …
    let report = doctor(&alice, &["--stun", &stun, "--discover"], |_| {});
    let found = report["discovered"].as_array().unwrap();
    let url = |relay: &serde_json::Value| relay["url"].as_str().unwrap_or_default().to_owned();
    assert!(found.iter().any(|relay| url(relay).contains("192.0.0.10")), "{report:#}");
    // … and whoever has credentials is sent to where it really is, and gets an address there.
    let made = Command::new(sterna::program().unwrap())
        .args(["--json", "credentials", "--secret-file", secret.to_str().unwrap()])
        .output()
        .unwrap();
    let made: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    let made = &made["iceServers"][1];
    let [user, password] = ["username", "credential"].map(|key| made[key].as_str().unwrap());
    let login = ["--turn", "turn:192.0.0.10", "--turn-user", user, "--turn-password", password];
    let report = doctor(&alice, &login, |_| {});
    let relay = &report["relays"][0];
    assert_eq!((&relay["outcome"], &relay["address"]), (&"allocated".into(), &stun.into()), "{report:#}");
}

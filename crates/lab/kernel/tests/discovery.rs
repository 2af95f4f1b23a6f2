//! What the network tells of itself: relays that it offers (RFC 8155), and NATs as two servers with one address each find
//! them out (RFC 5780). The real program, in namespaces.

mod lab;
mod sterna;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use lab::lab;
use netsim::Preset;
use serde_json::Value;
use simple_dns::rdata::{PTR, RData, SRV};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QTYPE, ResourceRecord};
use sterna_kernel::{Host, Program, Stop};

const PATIENCE: Duration = Duration::from_secs(60);
const ANYCAST: &str = "192.0.0.10";
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);

fn ip(host: &Host, arguments: &str) {
    let status = host.command("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn srv(owner: &'static str, port: u16, target: &'static str) -> ResourceRecord<'static> {
    let srv = SRV { priority: 0, weight: 0, port, target: Name::new(target).unwrap() };
    ResourceRecord::new(Name::new(owner).unwrap(), CLASS::IN, 60, RData::SRV(srv))
}

fn ptr(owner: &'static str, instance: &'static str) -> ResourceRecord<'static> {
    let ptr = PTR(Name::new(instance).unwrap());
    ResourceRecord::new(Name::new(owner).unwrap(), CLASS::IN, 60, RData::PTR(ptr))
}

/// Answers with `zone` whoever asks, or everybody; ends with the test's process.
fn answer(socket: UdpSocket, zone: Vec<ResourceRecord<'static>>, multicast: bool) {
    std::thread::spawn(move || {
        let mut buffer = [0; 9000];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Ok(request) = Packet::parse(&buffer[..length]) else { continue };
            if request.has_flags(PacketFlag::RESPONSE) {
                continue;
            }
            let mut reply = Packet::new_reply(if multicast { 0 } else { request.id() });
            for question in &request.questions {
                let fits = |one: &&ResourceRecord<'_>| {
                    one.name == question.qname && question.qtype == QTYPE::TYPE(one.rdata.type_code())
                };
                reply.answers.extend(zone.iter().filter(fits).cloned());
            }
            if !multicast {
                reply.questions = request.questions.clone();
            } else if reply.answers.is_empty() {
                continue;
            }
            let to = if multicast { (GROUP, 5353).into() } else { from };
            let _ = socket.send_to(&reply.build_bytes_vec().unwrap(), to);
        }
    });
}

/// Sends whoever asks for an allocation elsewhere.
fn redirect(socket: UdpSocket, elsewhere: SocketAddr) {
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let Ok(request) = stun::Message::parse(&buffer[..length]) else { continue };
            let mut reply = [0; 200];
            let mut writer = stun::MessageWriter::answer(&mut reply, stun::Class::Error, &request);
            writer.error_code(300, "").address(stun::kind::ALTERNATE_SERVER, elsewhere);
            let length = writer.finish().unwrap();
            let _ = socket.send_to(&reply[..length], from);
        }
    });
}

fn serve(sterna: &Path, host: &Host, folder: &Path, more: &[&str]) -> Program {
    let public = host.address().to_string();
    let arguments = [&["serve", "--listen", "0.0.0.0", "--public-ip", &public], more].concat();
    let mut server = Program::start(sterna, host, folder, &arguments, &Stop::default()).unwrap();
    server.event("listening", PATIENCE).unwrap();
    server
}

/// The report of `sterna doctor`; with its own idea of the DNS.
fn doctor(sterna: &Path, host: &Host, resolv_conf: Option<&Path>, arguments: &[&str]) -> Value {
    let mount = resolv_conf
        .map_or_else(String::new, |file| format!("mount --bind {} /etc/resolv.conf && ", file.display()));
    let script = format!("{mount}exec {} doctor --json \"$@\"", sterna.display());
    let mut command = host.command("sh");
    command.args(["-c", &script, "sh"]).args(arguments).stdin(Stdio::null());
    for name in ["STERNA_SERVER", "STERNA_CA", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// What a tool says on a host; `None` and a word on standard error where its package is not installed.
fn tool(host: &Host, package: &str, program: &str, arguments: &[&str]) -> Option<String> {
    if !Path::new(program).exists() {
        assert!(std::env::var_os("CI").is_none(), "{program} is not there");
        eprintln!("SKIPPED: {program} is not there; install it with `apt-get install {package}`");
        return None;
    }
    let output = host.command(program).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn relays_that_the_network_offers_are_found_in_its_dns_by_multicast_and_at_the_anycast_address() {
    let (Some(sterna), Some(mut lab)) = (sterna::program(), lab()) else { return };
    let server = lab.add_server("server", 1).unwrap();
    let mut office = lab.add_site("office", Preset::PortRestricted).unwrap();
    let desk = lab.add_host(&mut office, "desk").unwrap();
    let cellar = lab.add_host(&mut office, "cellar").unwrap();
    let folder = lab.folder().to_owned();

    let nameserver = server.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 53))).unwrap().unwrap();
    answer(nameserver, vec![srv("_turns._tcp.office.example", 443, "relay.office.example")], false);
    let responder = cellar.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 5353))).unwrap().unwrap();
    responder.join_multicast_v4(&GROUP, &cellar.address()).unwrap();
    let local =
        vec![ptr("_turn._udp.local", "Box._turn._udp.local"), srv("Box._turn._udp.local", 3478, "box.local")];
    answer(responder, local, true);
    // The nearest relay is the router itself.
    let router = lab.router(&office);
    ip(&router, &format!("address add {ANYCAST}/32 dev lo"));
    let anycast = router.enter(|| UdpSocket::bind((ANYCAST, 3478))).unwrap().unwrap();
    redirect(anycast, "198.51.100.99:3479".parse().unwrap());

    let resolv_conf = folder.join("resolv.conf");
    fs::write(&resolv_conf, format!("nameserver {}\nsearch office.example\n", server.address())).unwrap();
    let _serving = serve(&sterna, &server, &folder, &["--stun", "4000"]);
    let url = format!("http://{}:8080", server.address());
    let report = doctor(&sterna, &desk, Some(&resolv_conf), &["--server", &url, "--discover"]);
    let found: Vec<_> = report["discovered"]
        .as_array()
        .unwrap()
        .iter()
        .map(|relay| {
            (
                relay["url"].as_str().unwrap(),
                relay["by"].as_str().unwrap(),
                relay["certificate_name"].as_str(),
            )
        })
        .collect();
    let expected = [
        ("turns:relay.office.example:443?transport=tcp", "dns", Some("office.example")),
        ("turn:box.local:3478?transport=udp", "mdns", None),
        ("turn:198.51.100.99:3479?transport=udp", "anycast", None),
    ];
    assert_eq!(found, expected, "{report:#}");
    // What others send to the relay arrives, which this machine has found out by itself.
    assert!(report["relay_echo"]["received"].as_u64().is_some_and(|it| it > 0), "{report:#}");
    assert!(report["took_ms"].as_f64().unwrap() < 4000.0, "{report:#}");
    // Nobody looks for relays who was not asked to.
    let report = doctor(&sterna, &desk, Some(&resolv_conf), &["--server", &url]);
    assert_eq!(report["discovered"], Value::Null);
}

#[test]
fn a_firewall_before_the_relay_ports_is_found_from_one_machine() {
    let (Some(sterna), Some(mut lab)) = (sterna::program(), lab()) else { return };
    let server = lab.add_server("server", 1).unwrap();
    let mut home = lab.add_site("home", Preset::PortRestricted).unwrap();
    let host = lab.add_host(&mut home, "host").unwrap();
    let folder = lab.folder().to_owned();
    // As a cloud's security group does it: answers pass, and nothing else.
    server
        .nft(
            "table inet closed { chain input {
                type filter hook input priority 0; policy accept;
                ct state established,related accept
                udp dport 49152-65535 drop
            }
            }",
        )
        .unwrap();
    let _serving = serve(&sterna, &server, &folder, &[]);
    let report = doctor(&sterna, &host, None, &["--server", &format!("http://{}:8080", server.address())]);
    let echo = &report["relay_echo"];
    assert_eq!((echo["sent"].as_u64(), echo["received"].as_u64()), (Some(3), Some(0)), "{report:#}");
    let codes: Vec<_> =
        report["verdicts"].as_array().unwrap().iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"relay-ports-closed"), "{report:#}");
}

#[test]
fn two_servers_with_one_address_each_find_out_a_nat_together() {
    let (Some(sterna), Some(mut lab)) = (sterna::program(), lab()) else { return };
    let [one, two] = ["one", "two"].map(|name| lab.add_server(name, 1).unwrap());
    let folder = lab.folder().to_owned();
    let secret = folder.join("partners");
    std::fs::write(&secret, "both servers know this").unwrap();
    let secret = secret.to_str().unwrap().to_owned();
    let with = |partner: &Host| {
        let address = partner.address().to_string();
        ["--stun-partner".to_owned(), address, "--stun-partner-secret-file".into(), secret.clone()]
    };
    let start = |host: &Host, partner: &Host| {
        serve(&sterna, host, &folder, &with(partner).each_ref().map(String::as_str))
    };
    let _serving = [start(&one, &two), start(&two, &one)];
    let (free, address, port) = ("endpoint-independent", "address-dependent", "address-and-port-dependent");
    let cases = [
        (
            Preset::FullCone,
            [free, free],
            ["NAT with Endpoint Independent Mapping!", "NAT with Endpoint Independent Filtering!"],
            "Primary: Independent Mapping, Independent Filter",
        ),
        (
            Preset::AddressRestricted,
            [free, address],
            ["NAT with Endpoint Independent Mapping!", "NAT with Address Dependent Filtering!"],
            "Primary: Independent Mapping, Address Dependent Filter",
        ),
        (
            Preset::PortRestricted,
            [free, port],
            ["NAT with Endpoint Independent Mapping!", "NAT with Address and Port Dependent Filtering!"],
            "Primary: Independent Mapping, Port Dependent Filter",
        ),
        (
            Preset::Symmetric,
            [port, port],
            [
                "NAT with Address and Port Dependent Mapping!",
                "NAT with Address and Port Dependent Filtering!",
            ],
            "Primary: Dependent Mapping",
        ),
    ];
    // Most of it is to wait for what a NAT drops.
    std::thread::scope(|scope| {
        for (preset, [mapping, filtering], words, old_words) in cases {
            let mut site = lab.add_site(preset.name(), preset).unwrap();
            let host = lab.add_host(&mut site, &format!("{}-host", preset.name())).unwrap();
            let (sterna, one, two) = (&sterna, &one, &two);
            scope.spawn(move || {
                for server in [one, two] {
                    let report =
                        doctor(sterna, &host, None, &["--stun", &format!("{}:3478", server.address())]);
                    assert_eq!(report["nat"]["mapping"], mapping, "{preset}: {report:#}");
                    assert_eq!(report["nat"]["filtering"], filtering, "{preset}: {report:#}");
                }
                let server = one.address().to_string();
                if let Some(said) =
                    tool(&host, "coturn", "/usr/bin/turnutils_natdiscovery", &["-m", "-f", &server])
                {
                    for expected in words {
                        assert!(said.contains(expected), "{preset}: {expected:?} is not in\n{said}");
                    }
                }
                // By the rules of RFC 3489, of which RFC 5780's server still knows the half that is asked for.
                if let Some(said) = tool(&host, "stun-client", "/usr/bin/stun", &[&server]) {
                    assert!(said.contains(old_words), "{preset}: {old_words:?} is not in\n{said}");
                }
            });
        }
    });
}

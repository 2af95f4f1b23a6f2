//! Nothing listens before all is known to be there: whichever port cannot be had, nobody was ever let in at another.

mod program;

use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use program::Scratch;

/// The ports of a server, all different, all free.
struct Ports {
    http: u16,
    stun: u16,
    tls: u16,
    admin: u16,
}

/// What keeps a port from the server.
#[allow(dead_code, reason = "they are held, not used")]
enum Held {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Ports {
    /// Free for UDP and TCP at this moment.
    fn find() -> Self {
        let mut found = Vec::new();
        let [http, stun, tls, admin] = [(); 4].map(|()| {
            loop {
                let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
                let port = tcp.local_addr().unwrap().port();
                if let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)) {
                    // Held until all are found, so that they differ.
                    found.push((tcp, udp));
                    return port;
                }
            }
        });
        Self { http, stun, tls, admin }
    }
}

/// What a server did until it ended: each time that it took a port or opened one. `None`: nobody can tell.
fn watched(scratch: &Scratch, arguments: &[String]) -> Option<(String, String)> {
    let trace = scratch.text("trace");
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-qq",
        "-e",
        "trace=bind,listen",
        "-o",
        &trace,
        env!("CARGO_BIN_EXE_sterna"),
        "--json",
    ]);
    let Ok(output) = command.args(arguments).output() else {
        let missing = "strace is not there; install it with `apt-get install strace`";
        assert!(std::env::var_os("CI").is_none(), "{missing}");
        eprintln!("SKIPPED: {missing}");
        return None;
    };
    let said = String::from_utf8(output.stdout).unwrap();
    Some((said, std::fs::read_to_string(trace).unwrap()))
}

fn arguments(scratch: &Scratch, command: &str, ports: &Ports) -> Vec<String> {
    let secret = scratch.text("secret");
    let Ports { http, stun, tls, admin } = ports;
    let mut line = format!(
        "{command} --stun {stun} --stun-tls {tls} --admin {admin} --tls self-signed --relay-threads 2 --secret-file {secret}"
    );
    if command == "serve" {
        line += &format!(" --http {http}");
    }
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn whichever_port_is_taken_no_other_one_was_ever_open() {
    let scratch = Scratch::new("ports-taken");
    std::fs::write(scratch.path("secret"), "b7c1e0b1b7a94bd29ab1").unwrap();
    let tcp = |port: u16| Held::Tcp(TcpListener::bind(("127.0.0.1", port)).unwrap());
    let udp = |port: u16| Held::Udp(UdpSocket::bind(("127.0.0.1", port)).unwrap());
    type Taken<'a> = (&'a str, fn(&Ports) -> u16, &'a dyn Fn(u16) -> Held);
    let all: [Taken<'_>; 6] = [
        ("the page's", |ports| ports.http, &tcp),
        ("STUN over UDP", |ports| ports.stun, &udp),
        ("STUN over TCP", |ports| ports.stun, &tcp),
        ("DTLS", |ports| ports.tls, &udp),
        ("TLS", |ports| ports.tls, &tcp),
        ("the operator's", |ports| ports.admin, &tcp),
    ];
    for (command, which) in [("serve", &all[..]), ("relay", &all[1..])] {
        for (name, port, hold) in which {
            let ports = Ports::find();
            let port = port(&ports);
            let held = hold(port);
            let Some((said, trace)) = watched(&scratch, &arguments(&scratch, command, &ports)) else {
                return;
            };
            drop(held);
            assert!(
                said.contains("\"failed\"") && said.contains(&port.to_string()),
                "{command}, {name}: {said}"
            );
            assert!(said.contains("in use"), "{command}, {name}: {said}");
            assert!(trace.contains("bind(") && !trace.contains("listen("), "{command}, {name}:\n{trace}");
        }
    }
}

/// The same eyes see the ports of a server that starts: all are taken, and then all are opened.
#[test]
fn all_ports_are_taken_before_the_first_is_opened() {
    let scratch = Scratch::new("ports-order");
    std::fs::write(scratch.path("secret"), "b7c1e0b1b7a94bd29ab1").unwrap();
    let ports = Ports::find();
    for command in ["serve", "relay"] {
        let mut line = arguments(&scratch, command, &ports);
        line.push("--check".to_owned());
        let Some((said, trace)) = watched(&scratch, &line) else { return };
        assert!(said.contains("\"checked\""), "{said}");
        let (first_open, last_taken) = (trace.find("listen("), trace.rfind("bind("));
        assert!(first_open.is_some() && first_open > last_taken, "{command}:\n{trace}");
        for port in [ports.stun, ports.tls, ports.admin] {
            assert!(trace.contains(&format!("htons({port})")), "{command}, {port}:\n{trace}");
        }
        assert_eq!(
            command == "serve",
            trace.contains(&format!("htons({})", ports.http)),
            "{command}:\n{trace}"
        );
    }
}

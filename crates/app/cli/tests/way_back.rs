//! The server goes away in the middle, with its relay, and comes back: the two find each other again and go on.

mod program;

use std::net::{TcpListener, UdpSocket};

use program::{Program, Scratch, same};

/// A server whose ports are the same each time that it starts.
struct Ports([String; 3]);

impl Ports {
    fn free() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let ports = [tcp.local_addr().unwrap(), udp.local_addr().unwrap()];
        let [http, stun] = ports.map(|address| address.port().to_string());
        Self([http, stun, "0".to_owned()])
    }

    fn serve(&self) -> Program {
        let [http, stun, tls] = &self.0;
        let ports = ["serve", "--http", http, "--stun", stun, "--stun-tls", tls];
        let server = Program::json(&[&ports[..], &["--allow-peer", "127.0.0.0/8"]].concat());
        server.event("listening");
        server
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.0[0])
    }
}

#[test]
fn a_relayed_transfer_outlives_the_server_and_its_relay() {
    let (ports, scratch) = (Ports::free(), Scratch::new("way-back"));
    let server = ports.serve();
    let file = scratch.noise("big", 200_000_000);
    let reach = ["--server", &ports.url(), "--relay-only"];
    let sender = Program::json(&[&["send", &file], &reach[..]].concat());
    let (code, _) = sender.code();
    let out = scratch.text("out");
    let receiver = Program::json(&[&["receive", &code, "--yes", "--out", &out], &reach[..]].concat());
    for side in [&sender, &receiver] {
        side.event("connected");
        side.event("progress");
    }
    server.signal("-KILL");
    sender.event("disconnected");
    let _server = ports.serve();
    let path = sender.event("path");
    println!("a path again after {} ms", path["outage_ms"]);
    assert_eq!(path["path"]["kind"], "relayed", "{path}");
    let (sent, received) = (sender.event("done"), receiver.event("done"));
    assert_eq!(sent["blake3"], received["blake3"]);
    assert_eq!((sender.end().0, receiver.end().0), (0, 0));
    assert!(same(&scratch.path("big"), &scratch.path("out/big")));
}

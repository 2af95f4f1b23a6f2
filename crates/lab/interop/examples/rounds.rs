//! How many round trips pass until the first message of a Chromium that offers arrives at us who answer, over a wire of 100 ms
//! there and back, with signalling that takes no time:
//!
//! ```text
//! cargo run -p sterna-interop --example rounds
//! ```
//!
//! Clocks run while this is measured: a round trip is 100 ms, and what the machines do in it counts. The floor for a message of
//! the DTLS server, which Chromium is here, stands in `proto/peer/tests/rounds.rs`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sterna::{Configuration, PeerConnection, PeerEvent};
use sterna_interop::{FOLDER, Foreign};
use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// What Chromium can be told to do, and what that is called.
const TRIALS: [(&str, &str); 4] = [
    ("", "as it is"),
    ("WebRTC-Sctp-Snap/Enabled/", "with SNAP"),
    ("WebRTC-IceHandshakeDtls/Enabled/", "with SPED"),
    ("WebRTC-IceHandshakeDtls/Enabled/WebRTC-Sctp-Snap/Enabled/", "with both"),
];
const ROUND_TRIP: Duration = Duration::from_millis(100);
const RUNS: usize = 7;

/// A wire between two sockets of this machine. Each sees the other at an address of the wire's.
struct Wire {
    /// Where the other one finds each.
    ends: [SocketAddr; 2],
}

impl Wire {
    async fn between(hosts: [SocketAddr; 2]) -> std::io::Result<Self> {
        // Where both can send to; it does not leave this machine.
        let place = (hosts[0].ip(), 0);
        let sockets = [UdpSocket::bind(place).await?, UdpSocket::bind(place).await?].map(Arc::new);
        let ends = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        for to in [0, 1] {
            // What is for a host comes to its end, and leaves by the other's, half a round trip later.
            let (arrival, departure, host) =
                (Arc::clone(&sockets[to]), Arc::clone(&sockets[1 - to]), hosts[to]);
            let (sender, mut queue) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
            tokio::spawn(async move {
                let mut buffer = vec![0; 65_536];
                while let Ok((length, _)) = arrival.recv_from(&mut buffer).await {
                    let _ = sender.send((Instant::now() + ROUND_TRIP / 2, buffer[..length].to_vec()));
                }
            });
            tokio::spawn(async move {
                while let Some((due, packet)) = queue.recv().await {
                    tokio::time::sleep_until(due).await;
                    let _ = departure.send_to(&packet, host).await;
                }
            });
        }
        Ok(Self { ends })
    }
}

/// The first candidate of a description that is of UDP and IPv4, and the line that it stands in.
fn candidate(sdp: &str) -> (SocketAddr, &str) {
    let read = |line| {
        let words: Vec<&str> = str::split(line, ' ').collect();
        let is_udp = line.starts_with("a=candidate:") && words[2].eq_ignore_ascii_case("udp");
        let address: Option<Ipv4Addr> = words.get(4).filter(|_| is_udp)?.parse().ok();
        Some(((address?, words[5].parse().ok()?).into(), line))
    };
    sdp.lines().find_map(read).expect("a candidate of UDP and IPv4")
}

/// The description with that candidate alone, and at the end of a wire.
fn at_end(sdp: &str, end: SocketAddr) -> String {
    let (own, kept) = candidate(sdp);
    let lines = sdp.lines().filter(|line| !line.starts_with("a=candidate:") || *line == kept);
    let from = format!(" {} {} ", own.ip(), own.port());
    let to = format!(" {} {} ", end.ip(), end.port());
    lines.map(|line| line.replacen(&from, &to, 1) + "\r\n").collect()
}

/// The round trips of one connection; `None` if Chromium crashes, as it does with SNAP, with itself as well.
async fn run(chromium: &std::path::Path, trials: &str) -> Option<f64> {
    let mut command = Command::new("node");
    command.args(["browser/peer.mjs", "balanced", "data"]).current_dir(FOLDER);
    command.env("CHROMIUM", chromium).env("TRIALS", trials);
    let mut foreign = Foreign::start(command);
    let offer = foreign.event("description").await["sdp"].as_str().expect("an offer").to_owned();

    let configuration = Configuration { include_loopback: true, ..Configuration::default() };
    let connection = PeerConnection::new(configuration).expect("a connection");
    // Our candidates are to be known before theirs are: with a description without any.
    let bare: String = offer
        .lines()
        .filter(|line| !line.starts_with("a=candidate:") && *line != "a=end-of-candidates")
        .map(|line| format!("{line}\r\n"))
        .collect();
    let described = |kind: &str, sdp: &str| -> sterna::SessionDescription {
        serde_json::from_value(json!({ "type": kind, "sdp": sdp })).expect("a description")
    };
    connection.set_remote_description(described("offer", &bare)).await.expect("it is understood");
    connection.set_local_description(None).await.expect("it is answered");
    connection.gathering_complete().await.expect("there are candidates");
    let answer = connection.local_description().expect("an answer");
    let answer: Value = serde_json::to_value(answer).expect("JSON");
    let answer = answer["sdp"].as_str().expect("text");

    let hosts = [&offer, answer].map(|sdp| candidate(sdp).0);
    let wire = Wire::between(hosts).await.expect("a wire");
    let theirs = at_end(&offer, wire.ends[0]);
    let candidate = candidate(&theirs).1.replacen("a=", "", 1);
    let ours = json!({ "type": "answer", "sdp": at_end(answer, wire.ends[1]) });

    foreign.tell(&ours).await;
    let init = json!({ "candidate": candidate, "sdpMid": "0", "sdpMLineIndex": 0 });
    let init: sterna::IceCandidateInit = serde_json::from_value(init).expect("a candidate");
    connection.add_ice_candidate(Some(init)).await.expect("it is taken");
    let told = foreign.one_of(&["stable", "crashed"]).await;
    // Chromium is the last to know: what it is told goes through a debugger.
    let known = told["since"].as_f64()? / 1000.0;
    let channel = loop {
        match connection.next_event().await.expect("a channel comes") {
            PeerEvent::DataChannel(channel) => break channel,
            PeerEvent::Failed(failure) => panic!("{failure}"),
            _ => {}
        }
    };
    channel.recv().await.expect("a message");
    let arrived = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    foreign.quit().await;
    Some((arrived.as_secs_f64() - known) / ROUND_TRIP.as_secs_f64())
}

#[tokio::main]
async fn main() {
    let chromium = sterna_interop::chromium().expect("Chromium; `cargo xtask install` installs it");
    println!("| Chromium | round trips: median | least | most |\n|---|---|---|---|");
    for (trials, name) in TRIALS {
        let mut all = Vec::new();
        while all.len() < RUNS {
            all.extend(run(chromium, trials).await);
        }
        all.sort_by(f64::total_cmp);
        println!("| {name} | {:.2} | {:.2} | {:.2} |", all[RUNS / 2], all[0], all[RUNS - 1]);
    }
}

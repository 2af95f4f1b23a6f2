//! Our DTLS beside `dimpl`, in one run, on one thread: handshakes a second (both ends), and what a record of 1,200 bytes costs to
//! seal and to open. `cargo bench -p sterna-dtls`.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::Certificate;
use dimpl::{Dtls, DtlsCertificate, Output};
use sansio::{Outbox, Seed, Time};
use sterna_dtls::{Config, Endpoint, Role, Versions};

const RECORD: usize = 1200;
/// Records that are sealed, and then opened, in one go.
const RECORDS: usize = 20_000;
const HANDSHAKES: usize = 200;
const ROUNDS: usize = 5;

/// One packet after another in one buffer.
struct Sink {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Outbox<()> for Sink {
    fn room(&self) -> usize {
        1 << 30
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let start = self.ends.last().copied().unwrap_or(0);
        if self.bytes.len() < start + max {
            self.bytes.resize(start + max, 0);
        }
        let used = fill(&mut self.bytes[start..start + max]);
        if used > 0 {
            self.ends.push(start + used);
        }
        true
    }
}

impl Sink {
    fn new() -> Self {
        Self { bytes: Vec::new(), ends: Vec::new() }
    }

    fn datagrams(&mut self, mut take: impl FnMut(&mut [u8])) {
        let mut start = 0;
        for end in self.ends.drain(..) {
            take(&mut self.bytes[start..end]);
            start = end;
        }
    }
}

fn certificates() -> [Certificate; 2] {
    [(); 2].map(|()| Certificate::generate().expect("a certificate"))
}

fn ours(versions: Versions, certificates: &[Certificate; 2]) -> [Endpoint; 2] {
    let mut ends = [(0, Role::Client), (1, Role::Server)].map(|(end, role)| {
        let expected = vec![certificates[1 - end].fingerprint()];
        let config = Config::new(role, certificates[end].clone(), expected, Seed(crypto::seed()));
        Endpoint::new(Time::ZERO, Config { versions, ..config }).expect("an endpoint")
    });
    let mut sink = Sink::new();
    while !ends.iter().all(Endpoint::is_connected) {
        for from in [0, 1] {
            ends[from].poll_transmit(Time::ZERO, &mut sink);
            sink.datagrams(|datagram| ends[1 - from].open(Time::ZERO, datagram, &mut |_| {}));
        }
    }
    ends
}

/// With settings that are made once: making them tests the cryptography, which takes longer than a handshake.
fn theirs(versions: Versions, certificates: &[Certificate; 2], config: &Arc<dimpl::Config>) -> [Dtls; 2] {
    let now = Instant::now();
    let mut ends = [0, 1].map(|end| {
        let identity = DtlsCertificate {
            certificate: certificates[end].der.clone(),
            private_key: certificates[end].private_key_der.clone(),
        };
        let new = if versions == Versions::Dtls12 { Dtls::new_12 } else { Dtls::new_13 };
        let mut dtls = new(config.clone(), identity, now);
        dtls.set_active(end == 0);
        dtls.handle_timeout(now).expect("it begins");
        dtls
    });
    let mut connected = [false; 2];
    let mut buffer = vec![0; 4096];
    while connected != [true; 2] {
        for from in [0, 1] {
            loop {
                match ends[from].poll_output(&mut buffer) {
                    Output::Packet(packet) => {
                        let packet = packet.to_vec();
                        ends[1 - from].handle_packet(&packet).expect("it is sound");
                    }
                    Output::Connected => connected[from] = true,
                    Output::Timeout(_) => break,
                    _ => {}
                }
            }
        }
    }
    ends
}

/// The best of some rounds: what the machine can do when nobody disturbs it.
fn best(mut round: impl FnMut() -> Duration) -> Duration {
    (0..ROUNDS).map(|_| round()).min().expect("there are rounds")
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn main() {
    println!("{:<10} {:>8} {:>14} {:>10} {:>10}", "", "", "handshakes/s", "seal, ns", "open, ns");
    for (version, versions) in [("DTLS 1.3", Versions::Dtls13), ("DTLS 1.2", Versions::Dtls12)] {
        let certificates = certificates();
        let config = dimpl::Config::builder().use_server_cookie(false).build().expect("settings");
        let config = Arc::new(config);
        let rate = |time: Duration| HANDSHAKES as f64 / time.as_secs_f64();
        let each = |time: Duration| time.as_nanos() as f64 / RECORDS as f64;

        let hands =
            best(|| timed(|| (0..HANDSHAKES).for_each(|_| _ = black_box(ours(versions, &certificates)))));
        let [mut client, mut server] = ours(versions, &certificates);
        let mut sink = Sink { bytes: vec![0; RECORDS * (RECORD + 64)], ends: Vec::with_capacity(RECORDS) };
        let (mut seal, mut open) = (Duration::MAX, Duration::MAX);
        for _ in 0..ROUNDS {
            seal = seal.min(timed(|| {
                for _ in 0..RECORDS {
                    client.lane(&mut sink).send((), RECORD, &mut |buffer| buffer.len());
                }
            }));
            let mut opened = 0;
            open = open.min(timed(|| {
                sink.datagrams(|record| server.open(Time::ZERO, record, &mut |plain| opened += plain.len()));
            }));
            assert_eq!(opened, RECORDS * RECORD);
        }
        println!(
            "{version:<10} {:>8} {:>14.0} {:>10.0} {:>10.0}",
            "ours",
            rate(hands),
            each(seal),
            each(open)
        );

        let hands = best(|| {
            timed(|| (0..HANDSHAKES).for_each(|_| _ = black_box(theirs(versions, &certificates, &config))))
        });
        let [mut client, mut server] = theirs(versions, &certificates, &config);
        let (mut seal, mut open) = (Duration::MAX, Duration::MAX);
        let plain = vec![7; RECORD];
        let mut buffer = vec![0; 2048];
        for _ in 0..ROUNDS {
            let mut records = Vec::with_capacity(RECORDS);
            seal = seal.min(timed(|| {
                for _ in 0..RECORDS {
                    client.send_application_data(&plain).expect("it is connected");
                    while let Output::Packet(packet) = client.poll_output(&mut buffer) {
                        records.push(packet.to_vec());
                    }
                }
            }));
            let mut opened = 0;
            open = open.min(timed(|| {
                for record in &records {
                    server.handle_packet(record).expect("it is sound");
                    while let Output::ApplicationData(plain) = server.poll_output(&mut buffer) {
                        opened += plain.len();
                    }
                }
            }));
            assert!(opened > 0);
        }
        println!("{:<10} {:>8} {:>14.0} {:>10.0} {:>10.0}", "", "dimpl", rate(hands), each(seal), each(open));
    }
    let fresh = best(|| timed(|| (0..HANDSHAKES).for_each(|_| _ = black_box(Certificate::generate()))));
    println!(
        "a certificate with its key, ECDSA P-256: {:.0} us",
        fresh.as_micros() as f64 / HANDSHAKES as f64
    );
}

//! The real `sterna` over a wire that delays, loses and queues.

mod lab;
mod sterna;

use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use lab::lab;
use serde_json::Value;
use sterna::Server;
use sterna_kernel::{Host, Link};

/// Bits a second.
const RATE: u64 = 20_000_000;

fn link(delay: u64, loss: f64) -> Link {
    Link { rate: Some(RATE), queue: 150_000, ..Link::delay_ms(delay).with_loss(loss) }
}

/// Sends a file over such a wire, from the host of the server; what the receiver says when it is done.
#[track_caller]
fn send_over(link: Link, bytes: usize) -> Option<Value> {
    send_and_look(link, bytes, |_, _| {})
}

/// The same, and looks at both hosts before they are gone.
#[track_caller]
fn send_and_look(link: Link, bytes: usize, look: impl FnOnce(&Host, &Host)) -> Option<Value> {
    let mut lab = lab()?;
    let [here, there] = lab.add_wire(["here", "there"], link, 1.into()).unwrap();
    let server = Server::at(here.clone(), &lab)?;
    let [_, (received, _)] = server.transfer(&here, &there, bytes, &[]).done();
    assert_eq!(received["bytes"], bytes);
    look(&here, &there);
    Some(received)
}

/// What the system of a host has counted: a name in a line of `/proc/net/snmp` or `netstat`.
fn counted(host: &Host, file: &str, line: &str, name: &str) -> u64 {
    let text = host.enter(|| fs::read_to_string(format!("/proc/thread-self/net/{file}"))).unwrap().unwrap();
    let mut lines = text.lines().filter_map(|it| it.strip_prefix(line));
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split_whitespace().zip(numbers.split_whitespace());
    pairs.find(|(it, _)| *it == name).unwrap().1.parse().unwrap()
}

fn echo(host: &Host) -> UdpSocket {
    let socket = host.enter(|| UdpSocket::bind((host.address(), 7))).unwrap().unwrap();
    let ours = socket.try_clone().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 2000];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    ours
}

#[test]
fn a_wire_delays_both_ways_and_loses_what_it_is_told_to() {
    let Some(mut lab) = lab() else { return };
    let [here, there] = lab.add_wire(["left", "right"], Link::delay_ms(40), 1.into()).unwrap();
    let _echo = echo(&there);
    let asker = here.enter(|| UdpSocket::bind((here.address(), 0))).unwrap().unwrap();
    asker.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let started = Instant::now();
    asker.send_to(b"hello", (there.address(), 7)).unwrap();
    assert_eq!(asker.recv(&mut [0; 10]).unwrap(), 5);
    assert!(started.elapsed() >= Duration::from_millis(80), "{:?}", started.elapsed());

    let [here, there] = lab.add_wire(["up", "down"], Link::default().with_loss(1.0), 1.into()).unwrap();
    let asker = here.enter(|| UdpSocket::bind((here.address(), 0))).unwrap().unwrap();
    let listener = there.enter(|| UdpSocket::bind((there.address(), 7))).unwrap().unwrap();
    listener.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    asker.send_to(b"hello", (there.address(), 7)).unwrap();
    assert!(listener.recv(&mut [0; 10]).is_err());
}

#[test]
fn a_file_arrives_intact_over_a_wire_that_loses_a_packet_in_fifty() {
    send_over(link(10, 0.02), 2_000_001);
}

#[test]
fn without_loss_a_file_gets_more_than_half_of_the_wire() {
    let bytes = 6_000_000;
    let Some(received) = send_over(link(10, 0.0), bytes) else { return };
    let seconds = received["seconds"].as_f64().unwrap();
    let share = bytes as f64 * 8.0 / seconds / RATE as f64;
    assert!(share > 0.5, "{share} in {seconds} s");
    // It is a wire with that rate, too.
    assert!(share < 1.0, "{share}");
}

#[test]
fn a_queue_that_marks_is_asked_to_and_heard() {
    let link = Link { marks: Some(30_000), ..link(10, 0.0) };
    send_and_look(link, 4_000_000, |_, there| {
        let [marked, capable] =
            ["InCEPkts", "InECT0Pkts"].map(|name| counted(there, "netstat", "IpExt:", name));
        assert!(marked > 0 && capable > marked, "{marked} marked, {capable} capable");
    });
}

#[test]
fn packets_are_as_large_as_the_wire_takes_and_never_in_pieces() {
    let link = Link { mtu: 1400, ..link(10, 0.0) };
    send_and_look(link, 4_000_000, |here, there| {
        assert_eq!(counted(here, "snmp", "Ip:", "FragCreates"), 0);
        assert_eq!(counted(there, "snmp", "Ip:", "ReasmReqds"), 0);
    });
}

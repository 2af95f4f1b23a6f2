//! Congestion marks: told of what came marked, and asked for with what is sent.

#![cfg(target_os = "linux")]

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use sansio::{Batches, Outbox as _, Path};
use socket2::{Domain, Type};
use sterna_udp::{Bundles, Config, Outcome, Socket};

const INSIDE: &str = "STERNA_TEST_INSIDE";
/// In the lowest two bits of the type of service (RFC 3168 §5).
const ECT_0: u32 = 2;
const CE: u32 = 3;

fn bind(address: &str) -> Socket {
    let mut config = Config::default();
    config.marks = true;
    Socket::bind_with(address.parse().unwrap(), &config).unwrap()
}

/// Each datagram that comes, with whether it was marked.
async fn receive(socket: &Socket, count: usize) -> Vec<(Vec<u8>, bool)> {
    let (mut received, mut buffers) = (Vec::new(), Bundles::new(4));
    while received.len() < count {
        tokio::time::timeout(Duration::from_secs(10), socket.readable()).await.expect("it arrives").unwrap();
        socket.try_recv(&mut buffers).unwrap();
        for bundle in buffers.iter_mut() {
            let marked = bundle.marked;
            received.extend(bundle.datagrams().map(|datagram| (datagram.to_vec(), marked)));
        }
    }
    received
}

/// Sends datagrams of `size` bytes whose type of service says this much.
fn send_as(class: u32, to: SocketAddr, size: usize) {
    let socket = socket2::Socket::new(Domain::for_address(to), Type::DGRAM, None).unwrap();
    match to {
        SocketAddr::V4(_) => socket.set_tos_v4(class).unwrap(),
        SocketAddr::V6(_) => socket.set_tclass_v6(class).unwrap(),
    }
    socket.send_to(&vec![class as u8; size], &to.into()).unwrap();
}

#[tokio::test]
async fn what_came_marked_is_told_from_what_could_have_been() {
    for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
        let socket = bind(address);
        let mut to = socket.local();
        if to.ip().is_unspecified() {
            to.set_ip(if to.is_ipv4() { [127, 0, 0, 1].into() } else { "::1".parse().unwrap() });
        }
        for class in [0, ECT_0, CE, 1, CE | 0xb8] {
            send_as(class, to, 100);
            let received = receive(&socket, 1).await;
            assert_eq!(received, [(vec![class as u8; 100], class & 3 == CE)], "{address} {class}");
        }
    }
}

#[tokio::test]
async fn marks_are_told_to_who_asks_alone() {
    let socket = Socket::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    send_as(CE, socket.local(), 100);
    assert_eq!(receive(&socket, 1).await, [(vec![CE as u8; 100], false)]);
}

/// In a network namespace of its own, whose system counts what came; so it needs root.
#[test]
fn what_may_be_marked_says_so_by_one_call_or_by_many() {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(inside());
    }
    let this = std::env::current_exe().unwrap();
    let test = "what_may_be_marked_says_so_by_one_call_or_by_many";
    let inside = format!("ip link set lo up && exec {} --exact {test} --nocapture", this.display());
    let output = Command::new("unshare").args(["--net", "sh", "-c", &inside]).env(INSIDE, "1").output();
    let output = output.expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("Operation not permitted") && std::env::var_os("CI").is_none() {
        return eprintln!("skipped: a network namespace takes root");
    }
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
}

async fn inside() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        for (count, segmentation) in [(1, true), (20, true), (20, false)] {
            let mut config = Config::default();
            config.segmentation = segmentation;
            let here = Socket::bind_with(address.parse().unwrap(), &config).unwrap();
            let there = bind(address);
            let path = Path::udp(here.local(), there.local());
            for capable in [true, false] {
                let mut out = Batches::new(1 << 20);
                for _ in 0..count {
                    let fill = &mut |buffer: &mut [u8]| buffer.len();
                    assert!(match capable {
                        true => out.send_capable(path, 500, fill),
                        false => out.send(path, 500, fill),
                    });
                }
                let before = capable_packets();
                assert!(matches!(here.try_send_batch(&out.pop().unwrap()), Outcome::Sent));
                assert!(
                    receive(&there, count).await.iter().all(|(bytes, marked)| bytes.len() == 500 && !marked)
                );
                // A batch that stays in one piece all the way counts as one.
                let told = capable_packets() - before;
                assert_eq!(told > 0, capable, "{address}: {told} of {count}");
                assert!(told <= count, "{address}: {told} of {count}");
            }
        }
    }
}

/// How many packets have come that may be marked, of both families.
fn capable_packets() -> usize {
    let four = fs::read_to_string("/proc/self/net/netstat").unwrap();
    let mut lines = four.lines().filter(|line| line.starts_with("IpExt:"));
    let (names, numbers) = (lines.next().unwrap(), lines.next().unwrap());
    let mut pairs = names.split_whitespace().zip(numbers.split_whitespace());
    let four = pairs.find(|(name, _)| *name == "InECT0Pkts").unwrap().1;
    let six = fs::read_to_string("/proc/self/net/snmp6").unwrap();
    let six = six.lines().find_map(|line| line.strip_prefix("Ip6InECT0Pkts")).unwrap();
    [four, six.trim()].map(|number| number.parse::<usize>().unwrap()).iter().sum()
}

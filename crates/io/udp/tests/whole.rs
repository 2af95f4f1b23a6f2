//! Datagrams that must not be fragmented, on a loopback whose MTU is small: in a network namespace of the test's own, so it
//! needs root.

#![cfg(target_os = "linux")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use sansio::{Batches, Outbox as _, Path};
use sterna_udp::{BareSocket, Bundles, Config, Outcome, Unreachable};

const INSIDE: &str = "STERNA_TEST_INSIDE";
const MTU: u32 = 1280;

#[test]
fn what_must_stay_whole_is_not_sent_in_pieces_and_the_mtu_is_told() {
    if std::env::var_os(INSIDE).is_some() {
        for (local, icmp) in [("127.0.0.1:0", (3, 4)), ("[::1]:0", (2, 0))] {
            inside(local.parse().unwrap(), icmp);
        }
        return;
    }
    let this = std::env::current_exe().unwrap();
    let inside = format!("ip link set lo mtu {MTU} up && exec {} --nocapture", this.display());
    let output = Command::new("unshare").args(["--net", "sh", "-c", &inside]).env(INSIDE, "1").output();
    let output = output.expect("unshare is there");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("Operation not permitted") && std::env::var_os("CI").is_none() {
        return eprintln!("skipped: a network namespace takes root");
    }
    assert!(output.status.success(), "{}{said}", String::from_utf8_lossy(&output.stdout));
}

fn inside(local: SocketAddr, (icmp_type, icmp_code): (u8, u8)) {
    let config = {
        let mut config = Config::default();
        config.report_unreachable = true;
        config
    };
    let (here, there) =
        (BareSocket::bind(local, &config).unwrap(), BareSocket::bind(local, &config).unwrap());
    let send = |whole: bool, bytes: usize| {
        let mut out = Batches::new(1 << 16);
        let path = Path::udp(here.local(), there.local());
        let fill = &mut |buffer: &mut [u8]| buffer.len();
        assert!(if whole { out.send_whole(path, bytes, fill) } else { out.send(path, bytes, fill) });
        here.try_send_batch(&out.pop().unwrap())
    };
    let too_large = MTU as usize + 100;
    assert!(matches!(send(true, too_large), Outcome::Lost(_)), "it is not sent");
    // Linux does not tell the port of what it has not sent over IPv4.
    let told = here.poll_unreachable().expect("the system tells");
    assert_eq!(told, Unreachable { to: told.to, icmp_type, icmp_code, mtu: MTU });
    assert_eq!(told.to.ip(), there.local().ip());
    assert_eq!(here.poll_unreachable(), None);
    assert!(matches!(send(true, 1000), Outcome::Sent));
    assert!(matches!(send(false, too_large), Outcome::Sent), "others are sent in pieces, as before");
    assert_eq!(lengths(&there, 2), [1000, too_large]);
}

/// How long the next `count` datagrams are.
fn lengths(socket: &BareSocket, count: usize) -> Vec<usize> {
    let (mut lengths, deadline) = (Vec::new(), Instant::now() + Duration::from_secs(10));
    let mut bundles = Bundles::new(4);
    while lengths.len() < count {
        assert!(Instant::now() < deadline, "only {lengths:?} came");
        match socket.try_recv(&mut bundles) {
            Ok(_) => lengths.extend(bundles.iter_mut().map(|bundle| bundle.bytes.len())),
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        std::thread::yield_now();
    }
    lengths
}

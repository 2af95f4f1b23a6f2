//! What one socket sends, another receives: the same datagrams in the same order, however they travel.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Batch, Batches, Outbox, Path};
use sterna_udp::{Bundles, Config, Outcome, Socket, Transmit};

fn bind(address: &str) -> Socket {
    Socket::bind(address.parse().unwrap()).unwrap()
}

fn plain(address: &str) -> Socket {
    let mut config = Config::default();
    config.segmentation = false;
    config.coalescing = false;
    Socket::bind_with(address.parse().unwrap(), &config).unwrap()
}

struct Received {
    bundles: usize,
    datagrams: Vec<Vec<u8>>,
    paths: Vec<Path>,
}

/// Receives until `count` datagrams are there.
async fn receive(socket: &Socket, count: usize) -> Received {
    let mut received = Received { bundles: 0, datagrams: Vec::new(), paths: Vec::new() };
    let mut buffers = Bundles::new(8);
    while received.datagrams.len() < count {
        tokio::time::timeout(Duration::from_secs(10), socket.readable()).await.expect("it arrives").unwrap();
        received.bundles += socket.try_recv(&mut buffers).unwrap();
        for bundle in buffers.iter_mut() {
            received.paths.push(bundle.path);
            received.datagrams.extend(bundle.datagrams().map(|datagram| datagram.to_vec()));
        }
    }
    received
}

/// `count` datagrams of `size` bytes and one of 7, all different, as one batch.
fn batch(from: SocketAddr, to: SocketAddr, count: usize, size: usize) -> (Batch, Vec<Vec<u8>>) {
    let mut datagrams: Vec<Vec<u8>> = (0..count).map(|at| vec![at as u8; size]).collect();
    datagrams.push(vec![0xff; 7]);
    let mut out = Batches::new(1 << 20);
    for datagram in &datagrams {
        assert!(out.send_bytes(Path::udp(from, to), datagram));
    }
    let batch = out.pop().unwrap();
    assert!(out.is_empty(), "all in one batch");
    (batch, datagrams)
}

#[tokio::test]
async fn a_batch_goes_out_by_one_call_and_comes_in_as_few_bundles() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (here, there) = (bind(address), bind(address));
        let (batch, sent) = batch(here.local(), there.local(), 50, 1200);
        assert!(matches!(here.try_send_batch(&batch), Outcome::Sent));
        let received = receive(&there, sent.len()).await;
        assert_eq!(received.datagrams, sent);
        assert!(received.paths.iter().all(|path| *path == Path::udp(there.local(), here.local())));
        if cfg!(target_os = "linux") {
            assert!(here.segments());
            assert_eq!(received.bundles, 1, "the kernel of the build machine segments and coalesces");
        }
    }
}

#[tokio::test]
async fn without_segmentation_and_coalescing_the_same_datagrams_arrive() {
    let (fast, slow) = (bind("127.0.0.1:0"), plain("127.0.0.1:0"));
    assert!(!slow.segments());
    for (from, to) in [(&fast, &slow), (&slow, &fast), (&slow, &slow)] {
        let (batch, sent) = batch(from.local(), to.local(), 50, 1200);
        assert!(matches!(from.try_send_batch(&batch), Outcome::Sent));
        assert_eq!(receive(to, sent.len()).await.datagrams, sent);
    }
}

#[tokio::test]
async fn more_than_one_call_takes_is_sent_by_several() {
    let (here, there) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let bytes: Vec<u8> = (0..150u8).flat_map(|at| [at; 900]).collect();
    let pieces = [IoSlice::new(&bytes)];
    let transmit = Transmit { from: None, to: there.local(), segment: 900, bytes: &pieces };
    assert!(matches!(here.try_send(&transmit), Outcome::Sent));
    let received = receive(&there, 150).await;
    assert_eq!(received.datagrams.concat(), bytes);
    assert!(here.segments(), "a long transmit says nothing about the kernel");
}

#[tokio::test]
async fn headers_are_put_in_front_without_a_copy() {
    for here in [bind("127.0.0.1:0"), plain("127.0.0.1:0")] {
        let there = bind("127.0.0.1:0");
        let payload: Vec<u8> = (0..=255).collect();
        let mut pieces = Vec::new();
        for chunk in payload.chunks(100) {
            pieces.push(IoSlice::new(b"HEAD"));
            pieces.push(IoSlice::new(chunk));
        }
        let transmit = Transmit { from: None, to: there.local(), segment: 104, bytes: &pieces };
        assert!(matches!(here.try_send(&transmit), Outcome::Sent));
        let expected: Vec<Vec<u8>> = payload.chunks(100).map(|chunk| [b"HEAD", chunk].concat()).collect();
        assert_eq!(receive(&there, 3).await.datagrams, expected);
    }
}

#[tokio::test]
async fn a_datagram_larger_than_the_link_falls_back_or_passes_but_arrives() {
    // On a loopback of 64 KiB this is segmented; run with `ip link set lo mtu 1500` it is refused and fragmented.
    let (here, there) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    for size in [1600, 900] {
        let (batch, sent) = batch(here.local(), there.local(), 20, size);
        assert!(matches!(here.try_send_batch(&batch), Outcome::Sent));
        assert_eq!(receive(&there, sent.len()).await.datagrams, sent);
        assert!(here.segments(), "smaller datagrams are still segmented");
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_wildcard_socket_knows_and_keeps_the_address_it_was_called_by() {
    let server = bind("0.0.0.0:0");
    let client = bind("127.0.0.1:0");
    let called: SocketAddr = ([127, 0, 0, 2], server.local().port()).into();
    let ask = [IoSlice::new(b"ask")];
    let transmit = Transmit { from: None, to: called, segment: 3, bytes: &ask };
    assert!(matches!(client.try_send(&transmit), Outcome::Sent));
    let received = receive(&server, 1).await;
    assert_eq!(received.paths, [Path::udp(called, client.local())]);
    // The answer, by the path that the question came by.
    let mut out = Batches::new(1000);
    out.send_bytes(received.paths[0], b"answer");
    assert!(matches!(server.try_send_batch(&out.pop().unwrap()), Outcome::Sent));
    assert_eq!(receive(&client, 1).await.paths, [Path::udp(client.local(), called)]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_wildcard_socket_of_ipv6_hears_ipv6_only() {
    let server = bind("[::]:0");
    let port = server.local().port();
    let (six, four) = (bind("[::1]:0"), bind("127.0.0.1:0"));
    let ask = [IoSlice::new(b"4")];
    let to = ([127, 0, 0, 1], port).into();
    four.try_send(&Transmit { from: None, to, segment: 1, bytes: &ask });
    let ask = [IoSlice::new(b"6")];
    let to = SocketAddr::new("::1".parse().unwrap(), port);
    assert!(matches!(six.try_send(&Transmit { from: None, to, segment: 1, bytes: &ask }), Outcome::Sent));
    let received = receive(&server, 1).await;
    assert_eq!(received.datagrams, [b"6"]);
    assert_eq!(received.paths, [Path::udp(to, six.local())]);
}

#[tokio::test]
async fn a_closed_port_at_the_other_end_changes_nothing() {
    let (here, there) = (bind("127.0.0.1:0"), bind("127.0.0.1:0"));
    let gone = bind("127.0.0.1:0").local();
    for _ in 0..20 {
        let (batch, _) = batch(here.local(), gone, 3, 100);
        assert!(matches!(here.try_send_batch(&batch), Outcome::Sent | Outcome::Lost(_)));
    }
    let (batch, sent) = batch(there.local(), here.local(), 3, 100);
    assert!(matches!(there.try_send_batch(&batch), Outcome::Sent));
    assert_eq!(receive(&here, sent.len()).await.datagrams, sent);
}

#[tokio::test]
async fn what_cannot_be_sent_is_lost_and_says_why() {
    let here = bind("127.0.0.1:0");
    // Another family than the socket's, port 0, and a source that is not ours.
    let elsewhere: SocketAddr = "[::1]:9".parse().unwrap();
    for (from, to) in [
        (None, elsewhere),
        (None, "127.0.0.1:0".parse().unwrap()),
        (Some("192.0.2.77".parse().unwrap()), "127.0.0.1:9".parse().unwrap()),
    ] {
        let bytes = [IoSlice::new(&[1; 500])];
        let outcome = here.try_send(&Transmit { from, to, segment: 100, bytes: &bytes });
        if from.is_none() || cfg!(target_os = "linux") {
            assert!(matches!(outcome, Outcome::Lost(_)), "{from:?} {to}: {outcome:?}");
        }
    }
    assert_eq!(here.segments(), cfg!(target_os = "linux"), "a bad address is no reason to stop segmenting");
}

#[tokio::test]
async fn buffers_are_larger_than_what_systems_give_unasked() {
    let (receive, send) = bind("127.0.0.1:0").buffer_sizes().unwrap();
    assert!(receive >= 200_000 && send >= 200_000, "{receive} {send}");
}

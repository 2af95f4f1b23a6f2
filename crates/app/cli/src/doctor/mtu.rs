//! The largest packet that comes through to a server, and its answer of the same size back.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Rng, Seed};
use stun::{Class, Message, MessageWriter, Method, TransactionId};
use tokio::time::{Instant, sleep_until, timeout_at};
use udp::{Bundles, Config, Socket, Transmit};

/// What links have: Ethernet, PPPoE, tunnels of all sorts, and the least that IPv6 allows.
const SIZES: [usize; 10] = [9000, 1500, 1492, 1480, 1460, 1440, 1420, 1400, 1360, 1280];
/// How often each is tried, and how far apart.
const TRIES: usize = 3;
const GAP: Duration = Duration::from_millis(150);
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks with PADDING (RFC 5780 §7.6), in packets that may not be fragmented. `None`: the server does not do that, or the
/// system does not.
pub(super) async fn measure(local: IpAddr, server: SocketAddr) -> Option<usize> {
    let mut config = Config::default();
    config.never_fragment = true;
    (config.segmentation, config.coalescing) = (false, false);
    let socket = Socket::bind_with(SocketAddr::new(local, 0), &config).ok()?;
    let headers = if server.is_ipv4() { 28 } else { 48 };
    let mut rng = Rng::new(Seed(crypto::seed()));
    let requests = SIZES.map(|size| (size, request(size - headers, &mut rng)));
    let mut bundles = Bundles::new(4);
    let mut largest = None;
    let started = Instant::now();
    for round in 0..TRIES {
        for (_, (_, bytes)) in requests.iter().filter(|(size, _)| Some(*size) > largest) {
            let transmit =
                Transmit { from: None, to: server, segment: bytes.len(), bytes: &[IoSlice::new(bytes)] };
            // What is too long for the interface is refused at once, and silent like what is lost.
            let _ = socket.try_send(&transmit);
        }
        let last = round + 1 == TRIES;
        let until = started + GAP * (round as u32 + 1) + if last { PATIENCE } else { Duration::ZERO };
        while timeout_at(until, socket.readable()).await.is_ok() {
            let _ = socket.try_recv(&mut bundles);
            for bundle in bundles.iter_mut().filter(|bundle| bundle.path.remote == server) {
                for datagram in bundle.datagrams() {
                    let Ok(answer) = Message::parse(datagram) else { continue };
                    let found = requests.iter().find(|(_, (id, _))| *id == answer.transaction_id());
                    let Some((size, _)) = found else { continue };
                    if answer.class() == Class::Error {
                        return None;
                    }
                    largest = largest.max(Some(*size));
                }
            }
            if largest == requests.iter().map(|(size, _)| *size).max() {
                return largest;
            }
        }
        sleep_until(until).await;
        if round > 0 && largest.is_some() {
            break;
        }
    }
    largest
}

/// A request of so many bytes.
fn request(bytes: usize, rng: &mut Rng) -> (TransactionId, Vec<u8>) {
    let id = TransactionId::random(rng);
    let mut buffer = vec![0; bytes];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, id);
    // A message is a multiple of four bytes.
    writer.padding((bytes - 24) / 4 * 4);
    let length = writer.finish().expect("the buffer is as long as the message");
    buffer.truncate(length);
    (id, buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_long_as_they_should_be() {
        let mut rng = Rng::new(Seed::from(1));
        for size in SIZES {
            let (_, bytes) = request(size - 28, &mut rng);
            assert!(bytes.len() <= size - 28 && bytes.len() + 4 > size - 28);
        }
    }
}

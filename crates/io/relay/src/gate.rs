use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sansio::{Path, Transport};
use stun::Packet;
use tokio::sync::mpsc;

/// Hellos that may wait. Strangers send them; what comes beyond is lost, and they try again.
const HELLOS: usize = 256;
/// Other records that may wait.
const RECORDS: usize = 4096;
/// Where the first message of an unprotected record tells its kind: 1 is a client's hello.
const KIND: usize = 13;
/// Where a record tells its epoch; what is not protected is of the first one.
const EPOCH: std::ops::Range<usize> = 3..5;
const HANDSHAKE: u8 = 22;

/// Where the threads that receive leave what is DTLS. It comes in at the same sockets as all else, and is told from that
/// by its first byte (RFC 7983 §7).
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    hellos: mpsc::Sender<Parcel>,
    records: mpsc::Sender<Parcel>,
    lost: Arc<AtomicU64>,
}

/// A datagram.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) path: Path,
    pub(crate) bytes: Vec<u8>,
}

/// The other side of the gate. Hellos come by a way of their own, so that a flood of them is in nobody else's.
#[derive(Debug)]
pub(crate) struct Arrivals {
    pub(crate) hellos: mpsc::Receiver<Parcel>,
    pub(crate) records: mpsc::Receiver<Parcel>,
}

impl Gate {
    pub(crate) fn new() -> (Self, Arrivals) {
        let (hellos, arriving_hellos) = mpsc::channel(HELLOS);
        let (records, arriving_records) = mpsc::channel(RECORDS);
        let gate = Self { hellos, records, lost: Arc::default() };
        (gate, Arrivals { hellos: arriving_hellos, records: arriving_records })
    }

    /// Takes a client's datagram, if it is DTLS.
    pub(crate) fn takes(&self, path: &Path, bytes: &[u8]) -> bool {
        if stun::classify(bytes) != Packet::Dtls {
            return false;
        }
        let is_hello =
            bytes[0] == HANDSHAKE && bytes.get(EPOCH) == Some(&[0, 0]) && bytes.get(KIND) == Some(&1);
        let way = if is_hello { &self.hellos } else { &self.records };
        let path = Path { transport: Transport::Dtls, ..*path };
        // Not copied if there is no room for it.
        match way.try_reserve() {
            Ok(place) => place.send(Parcel { path, bytes: bytes.to_vec() }),
            Err(_) => _ = self.lost.fetch_add(1, Ordering::Relaxed),
        }
        true
    }

    /// How many datagrams there was no room for.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_hellos_leaves_the_way_of_records_free() {
        let (gate, mut arrivals) = Gate::new();
        let path = Path::udp("192.0.2.1:3478".parse().unwrap(), "198.51.100.7:9".parse().unwrap());
        let mut hello = [0; 60];
        (hello[0], hello[KIND]) = (HANDSHAKE, 1);
        for _ in 0..HELLOS + 10 {
            assert!(gate.takes(&path, &hello));
        }
        let mut sealed = hello;
        sealed[EPOCH.end - 1] = 1;
        assert!(gate.takes(&path, &sealed));
        assert_eq!(arrivals.records.recv().await.unwrap().path.transport, Transport::Dtls);
        assert_eq!((arrivals.hellos.len(), gate.lost()), (HELLOS, 10));
        for other in [&[][..], &[0, 1], &[0x40, 0], &[128, 0]] {
            assert!(!gate.takes(&path, other));
        }
    }
}

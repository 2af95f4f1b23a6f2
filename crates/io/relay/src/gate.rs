use std::sync::Arc;

use sansio::{Path, Transport};
use stun::Packet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::losses::{Loss, Losses};

/// Hellos that may wait, and their bytes. Strangers send them; what comes beyond is lost, and they try again.
const HELLOS: (usize, usize) = (256, 256 << 10);
/// Other records, from here to where their sessions open them.
const RECORDS: (usize, usize) = (4096, 8 << 20);
/// Those of one session.
const INBOX: (usize, usize) = (256, 512 << 10);
/// Where the first message of an unprotected record tells its kind: 1 is a client's hello.
const KIND: usize = 13;
/// Where a record tells its epoch; what is not protected is of the first one.
const EPOCH: std::ops::Range<usize> = 3..5;
const HANDSHAKE: u8 = 22;

/// Where the threads that receive leave what is DTLS. It comes in at the same sockets as all else, and is told from that
/// by its first byte (RFC 7983 §7).
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    hellos: Way,
    records: Way,
    losses: Arc<Losses>,
}

/// A datagram on its way from the thread that received it to the task that opens it.
///
/// It is a copy, for where it was received the next ones come before the task has its turn. That place cannot change hands
/// instead: it is as large as the largest bundle, so that one small datagram that waits would hold the memory of hundreds.
/// (To open it where it lies, the threads that carry would have to do the sessions' cryptography.)
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) path: Path,
    pub(crate) bytes: Vec<u8>,
    /// Its share of the bytes that may wait, in all and for its session; given back with it.
    shares: [Option<OwnedSemaphorePermit>; 2],
}

/// So many datagrams may wait, and so many bytes. What comes beyond is lost, as on a network.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    parcels: mpsc::Sender<Parcel>,
    bytes: Arc<Semaphore>,
}

impl Way {
    /// To a session.
    pub(crate) fn inbox() -> (Self, mpsc::Receiver<Parcel>) {
        Self::new(INBOX)
    }

    fn new((parcels, bytes): (usize, usize)) -> (Self, mpsc::Receiver<Parcel>) {
        let (sender, receiver) = mpsc::channel(parcels);
        (Self { parcels: sender, bytes: Arc::new(Semaphore::new(bytes)) }, receiver)
    }

    /// Copies a datagram, if there is room for it.
    fn send(&self, path: Path, bytes: &[u8]) -> Option<()> {
        let place = self.parcels.try_reserve().ok()?;
        let shares = [Some(self.share(bytes)?), None];
        place.send(Parcel { path, bytes: bytes.to_vec(), shares });
        Some(())
    }

    /// Hands one on, if there is room for it.
    pub(crate) fn pass_on(&self, mut parcel: Parcel) -> Option<()> {
        let place = self.parcels.try_reserve().ok()?;
        parcel.shares[1] = Some(self.share(&parcel.bytes)?);
        place.send(parcel);
        Some(())
    }

    fn share(&self, bytes: &[u8]) -> Option<OwnedSemaphorePermit> {
        self.bytes.clone().try_acquire_many_owned(u32::try_from(bytes.len()).ok()?).ok()
    }

    /// Whether nobody receives what is sent.
    pub(crate) fn is_closed(&self) -> bool {
        self.parcels.is_closed()
    }
}

/// The other side of the gate. Hellos come by a way of their own, so that a flood of them is in nobody else's.
#[derive(Debug)]
pub(crate) struct Arrivals {
    pub(crate) hellos: mpsc::Receiver<Parcel>,
    pub(crate) records: mpsc::Receiver<Parcel>,
}

impl Gate {
    pub(crate) fn new(losses: Arc<Losses>) -> (Self, Arrivals) {
        let (hellos, arriving_hellos) = Way::new(HELLOS);
        let (records, arriving_records) = Way::new(RECORDS);
        let gate = Self { hellos, records, losses };
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
        if way.send(path, bytes).is_none() {
            self.losses.add(Loss::Dtls, 1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_hellos_leaves_the_way_of_records_free() {
        let losses = Arc::<Losses>::default();
        let (gate, mut arrivals) = Gate::new(losses.clone());
        let path = Path::udp("192.0.2.1:3478".parse().unwrap(), "198.51.100.7:9".parse().unwrap());
        let mut hello = [0; 60];
        (hello[0], hello[KIND]) = (HANDSHAKE, 1);
        for _ in 0..HELLOS.0 + 10 {
            assert!(gate.takes(&path, &hello));
        }
        let mut sealed = hello;
        sealed[EPOCH.end - 1] = 1;
        assert!(gate.takes(&path, &sealed));
        assert_eq!(arrivals.records.recv().await.unwrap().path.transport, Transport::Dtls);
        assert_eq!((arrivals.hellos.len(), losses.so_far().of(Loss::Dtls)), (HELLOS.0, 10));
        for other in [&[][..], &[0, 1], &[0x40, 0], &[128, 0]] {
            assert!(!gate.takes(&path, other));
        }
    }

    #[tokio::test]
    async fn what_waits_takes_no_more_memory_than_told_however_long_the_datagrams_are() {
        let losses = Arc::<Losses>::default();
        let (gate, mut arrivals) = Gate::new(losses.clone());
        let lost = || losses.so_far().of(Loss::Dtls);
        let path = Path::udp("192.0.2.1:3478".parse().unwrap(), "198.51.100.7:9".parse().unwrap());
        let mut long = vec![0; 60_000];
        (long[0], long[EPOCH.end - 1]) = (HANDSHAKE, 1);
        let fit = RECORDS.1 / long.len();
        for _ in 0..fit + 10 {
            assert!(gate.takes(&path, &long));
        }
        assert_eq!((arrivals.records.len(), lost()), (fit, 10));
        // Opened elsewhere, they make room; while they only change hands, they do not.
        let held = arrivals.records.recv().await.unwrap();
        assert!(gate.takes(&path, &long));
        assert_eq!(lost(), 11);
        let (inbox, mut opened) = Way::inbox();
        assert!(inbox.pass_on(held).is_some());
        assert!(gate.takes(&path, &long));
        assert_eq!(lost(), 12);
        drop(opened.recv().await);
        assert!(gate.takes(&path, &long));
        assert_eq!(lost(), 12);
    }

    #[tokio::test]
    async fn one_session_cannot_have_all_the_room() {
        let losses = Arc::<Losses>::default();
        let (gate, mut arrivals) = Gate::new(losses.clone());
        let lost = || losses.so_far().of(Loss::Dtls);
        let path = Path::udp("192.0.2.1:3478".parse().unwrap(), "198.51.100.7:9".parse().unwrap());
        let mut long = vec![0; 60_000];
        (long[0], long[EPOCH.end - 1]) = (HANDSHAKE, 1);
        let (inbox, _nobody_reads) = Way::inbox();
        let mut taken = 0;
        for _ in 0..50 {
            assert!(gate.takes(&path, &long));
            taken += inbox.pass_on(arrivals.records.recv().await.unwrap()).map_or(0, |()| 1);
        }
        assert_eq!((taken, lost()), (INBOX.1 / long.len(), 0));
    }
}

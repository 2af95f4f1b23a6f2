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

    /// How many bytes wait behind it.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        let taken = |way: &Way, all: usize| all - way.bytes.available_permits();
        taken(&self.hellos, HELLOS.1) + taken(&self.records, RECORDS.1)
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

    /// A gate, what came through, and where that comes from.
    struct Rig {
        gate: Gate,
        arrivals: Arrivals,
        path: Path,
    }

    impl Rig {
        fn new() -> Self {
            let (gate, arrivals) = Gate::new(Arc::default());
            let path = Path::udp("192.0.2.1:3478".parse().unwrap(), "198.51.100.7:9".parse().unwrap());
            Self { gate, arrivals, path }
        }

        fn takes(&self, bytes: &[u8]) -> bool {
            self.gate.takes(&self.path, bytes)
        }

        fn lost(&self) -> u64 {
            self.gate.losses.so_far().of(Loss::Dtls)
        }
    }

    /// A record of so many bytes that is protected.
    fn sealed(length: usize) -> Vec<u8> {
        let mut record = vec![0; length];
        (record[0], record[EPOCH.end - 1], record[KIND]) = (HANDSHAKE, 1, 1);
        record
    }

    #[tokio::test]
    async fn a_flood_of_hellos_leaves_the_way_of_records_free() {
        let mut rig = Rig::new();
        let mut hello = [0; 60];
        (hello[0], hello[KIND]) = (HANDSHAKE, 1);
        for _ in 0..HELLOS.0 + 10 {
            assert!(rig.takes(&hello));
        }
        assert!(rig.takes(&sealed(60)));
        assert_eq!(rig.arrivals.records.recv().await.unwrap().path.transport, Transport::Dtls);
        assert_eq!((rig.arrivals.hellos.len(), rig.lost()), (HELLOS.0, 10));
        for other in [&[][..], &[0, 1], &[0x40, 0], &[128, 0]] {
            assert!(!rig.takes(other));
        }
    }

    #[tokio::test]
    async fn what_waits_takes_no_more_memory_than_told_however_long_the_datagrams_are() {
        let (mut rig, long) = (Rig::new(), sealed(60_000));
        let fit = RECORDS.1 / long.len();
        for _ in 0..fit + 10 {
            assert!(rig.takes(&long));
        }
        assert_eq!((rig.arrivals.records.len(), rig.lost()), (fit, 10));
        // Opened elsewhere, they make room; while they only change hands, they do not.
        let held = rig.arrivals.records.recv().await.unwrap();
        assert!(rig.takes(&long));
        assert_eq!(rig.lost(), 11);
        let (inbox, mut opened) = Way::inbox();
        assert!(inbox.pass_on(held).is_some());
        assert!(rig.takes(&long));
        assert_eq!(rig.lost(), 12);
        drop(opened.recv().await);
        assert!(rig.takes(&long));
        assert_eq!(rig.lost(), 12);
    }

    #[tokio::test]
    async fn one_session_cannot_have_all_the_room() {
        let (mut rig, long) = (Rig::new(), sealed(60_000));
        let (inbox, _nobody_reads) = Way::inbox();
        let mut taken = 0;
        for _ in 0..50 {
            assert!(rig.takes(&long));
            taken += inbox.pass_on(rig.arrivals.records.recv().await.unwrap()).map_or(0, |()| 1);
        }
        assert_eq!((taken, rig.lost()), (INBOX.1 / long.len(), 0));
    }
}

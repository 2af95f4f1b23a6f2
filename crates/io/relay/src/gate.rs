use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;

use sansio::{KeyedHash, Path, Rng, Time, Transport};
use stun::Packet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::desk::Desk;
use crate::losses::{Loss, Losses};

/// Hellos that may wait, and their bytes. Strangers send them; what comes beyond is lost, and they try again.
const HELLOS: (usize, usize) = (2048, 512 << 10);
/// The networks that they come from share the places by lot: a flood from a few leaves those of the others free.
const LOTS: usize = 128;
/// Hellos that bring a cookie back: their senders are where they say, and have all but one flight behind them.
const PROVEN: (usize, usize) = (256, 256 << 10);
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
    lots: Lots,
    proven: Way,
    records: Way,
    desk: Desk,
    losses: Arc<Losses>,
}

/// The places of hellos, by the network that they come from: an IPv4 /24 or an IPv6 /48, by a hash that nobody outside can
/// aim at. Who may have made his address up is held against it all the same.
#[derive(Clone, Debug)]
struct Lots {
    free: Arc<[Arc<Semaphore>]>,
    hash: KeyedHash,
}

impl Lots {
    fn new(rng: &mut Rng) -> Self {
        let free = (0..LOTS).map(|_| Arc::new(Semaphore::new(HELLOS.0 / LOTS))).collect();
        Self { free, hash: KeyedHash::new(rng) }
    }

    fn place(&self, source: IpAddr) -> Option<OwnedSemaphorePermit> {
        let network = match source {
            IpAddr::V4(v4) => u64::from(v4.to_bits() >> 8) << 1 | 1,
            IpAddr::V6(v6) => (v6.to_bits() >> 80 << 1) as u64,
        };
        let lot = self.hash.hash_one(network) % LOTS as u64;
        self.free[lot as usize].clone().try_acquire_owned().ok()
    }
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
    /// Its share of the bytes that may wait, in all and for its session, or of the places of its network; given back with
    /// it.
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
    fn send(&self, path: Path, bytes: &[u8], lot: Option<OwnedSemaphorePermit>) -> Option<()> {
        let place = self.parcels.try_reserve().ok()?;
        let shares = [Some(self.share(bytes)?), lot];
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

/// The other side of the gate. Hellos come by ways of their own, so that a flood of them is in nobody else's.
#[derive(Debug)]
pub(crate) struct Arrivals {
    pub(crate) hellos: mpsc::Receiver<Parcel>,
    pub(crate) proven: mpsc::Receiver<Parcel>,
    pub(crate) records: mpsc::Receiver<Parcel>,
}

impl Gate {
    pub(crate) fn new(desk: Desk, losses: Arc<Losses>, rng: &mut Rng) -> (Self, Arrivals) {
        let [(hellos, from_hellos), (proven, from_proven), (records, from_records)] =
            [HELLOS, PROVEN, RECORDS].map(Way::new);
        let arrivals = Arrivals { hellos: from_hellos, proven: from_proven, records: from_records };
        (Self { hellos, lots: Lots::new(rng), proven, records, desk, losses }, arrivals)
    }

    /// How many bytes wait behind it.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        let taken = |way: &Way, all: usize| all - way.bytes.available_permits();
        [(&self.hellos, HELLOS), (&self.proven, PROVEN), (&self.records, RECORDS)]
            .into_iter()
            .map(|(way, (_, bytes))| taken(way, bytes))
            .sum()
    }

    /// Takes a client's datagram, if it is DTLS.
    pub(crate) fn takes(&self, now: Time, path: &Path, bytes: &[u8]) -> bool {
        if stun::classify(bytes) != Packet::Dtls {
            return false;
        }
        let is_hello =
            bytes[0] == HANDSHAKE && bytes.get(EPOCH) == Some(&[0, 0]) && bytes.get(KIND) == Some(&1);
        let path = Path { transport: Transport::Dtls, ..*path };
        let sent = if !is_hello {
            self.records.send(path, bytes, None)
        } else if self.desk.believes(now, &path, bytes) {
            self.proven.send(path, bytes, None)
        } else {
            let lot = self.lots.place(path.remote.ip());
            lot.and_then(|lot| self.hellos.send(path, bytes, Some(lot)))
        };
        if sent.is_none() {
            self.losses.add(Loss::Dtls, 1);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use sansio::Seed;

    use super::*;

    /// A gate, what came through, and where that comes from.
    struct Rig {
        gate: Gate,
        arrivals: Arrivals,
        path: Path,
    }

    impl Rig {
        fn new() -> Self {
            let mut rng = Rng::new(Seed::from(1));
            let certificate = crypto::Certificate::generate().unwrap();
            let server = dtls::Server::new(dtls::ServerConfig::new(certificate, Seed::from(2))).unwrap();
            let (gate, arrivals) = Gate::new(Desk::new(server), Arc::default(), &mut rng);
            let path = Path::udp("192.0.2.1:3478".parse().unwrap(), "198.51.100.7:9".parse().unwrap());
            Self { gate, arrivals, path }
        }

        fn takes(&self, bytes: &[u8]) -> bool {
            self.gate.takes(Time::ZERO, &self.path, bytes)
        }

        /// What a client is answered that has said hello, and the client.
        fn challenge(&mut self) -> (Vec<u8>, dtls::Endpoint) {
            let certificate = crypto::Certificate::generate().unwrap();
            let mut config = dtls::Config::new(dtls::Role::Client, certificate, Vec::new(), Seed::from(3));
            config.trust = dtls::Trust::Owner;
            let mut client = dtls::Endpoint::new(Time::ZERO, config).unwrap();
            assert!(self.takes(&said(&mut client)));
            let Parcel { path, bytes, .. } = self.arrivals.hellos.try_recv().unwrap();
            let dtls::Verdict::Challenge(answer) = self.gate.desk.examine(Time::ZERO, &path, &bytes) else {
                panic!("it has no cookie yet");
            };
            (answer.to_vec(), client)
        }

        fn lost(&self) -> u64 {
            self.gate.losses.so_far().of(Loss::Dtls)
        }
    }

    const CLIENT: [u8; 4] = [198, 51, 100, 7];
    /// As much of one as the gate looks at.
    const HELLO: [u8; 60] = {
        let mut hello = [0; 60];
        (hello[0], hello[KIND]) = (HANDSHAKE, 1);
        hello
    };

    /// What an endpoint has to say.
    fn said(endpoint: &mut dtls::Endpoint) -> Vec<u8> {
        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        endpoint.poll_transmit(Time::ZERO, &mut datagrams);
        datagrams.pop().expect("it has something to say")
    }

    /// A record of so many bytes that is protected.
    fn sealed(length: usize) -> Vec<u8> {
        let mut record = vec![0; length];
        (record[0], record[EPOCH.end - 1], record[KIND]) = (HANDSHAKE, 1, 1);
        record
    }

    #[tokio::test]
    async fn a_flood_of_hellos_leaves_the_way_of_records_free_and_that_of_proven_clients() {
        let mut rig = Rig::new();
        let (challenge, mut client) = rig.challenge();
        // From everywhere.
        for network in 0..100 * HELLOS.0 as u32 {
            rig.path.remote.set_ip((network << 8).to_be_bytes().into());
            assert!(rig.takes(&HELLO));
        }
        assert_eq!(rig.arrivals.hellos.len(), HELLOS.0);
        assert_eq!(rig.lost(), 99 * HELLOS.0 as u64);
        assert!(rig.takes(&sealed(60)));
        assert_eq!(rig.arrivals.records.recv().await.unwrap().path.transport, Transport::Dtls);

        rig.path.remote.set_ip(CLIENT.into());
        client.open(Time::ZERO, &mut challenge.clone(), &mut |_| {});
        let answer = said(&mut client);
        assert!(rig.takes(&answer));
        assert_eq!(rig.arrivals.proven.try_recv().unwrap().bytes, answer);
        // From where the cookie was not sent to it is nobody's.
        rig.path.remote.set_port(10);
        assert!(rig.takes(&answer));
        assert!(rig.arrivals.proven.try_recv().is_err());
        for other in [&[][..], &[0, 1], &[0x40, 0], &[128, 0]] {
            assert!(!rig.takes(other));
        }
    }

    #[tokio::test]
    async fn a_flood_of_hellos_from_one_network_leaves_those_of_others_free() {
        let mut rig = Rig::new();
        for host in 0..HELLOS.0 as u32 {
            rig.path.remote.set_ip(((203 << 24) + host % 256).to_be_bytes().into());
            assert!(rig.takes(&HELLO));
        }
        let places = HELLOS.0 / LOTS;
        assert_eq!((rig.arrivals.hellos.len(), rig.lost()), (places, (HELLOS.0 - places) as u64));
        rig.path.remote.set_ip(CLIENT.into());
        assert!(rig.takes(&HELLO));
        assert_eq!(rig.arrivals.hellos.len(), places + 1);
        // Read, they make room.
        for _ in 0..=places {
            drop(rig.arrivals.hellos.recv().await);
        }
        rig.path.remote.set_ip([203, 0, 0, 7].into());
        assert!(rig.takes(&HELLO));
        assert_eq!(rig.arrivals.hellos.len(), 1);
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

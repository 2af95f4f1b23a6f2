//! A day in the life of a relay, with its sockets, shards, streams and DTLS sessions, and a clock that is told the time: who
//! comes leaves by word, without one, or stays until he is forgotten, and nothing of him is left in any table. (That nothing
//! is left in the machine's is `proto/turn/tests/churn.rs`.)

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use sansio::{Rng, Seed, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use super::rig::{self, PATIENCE, Server, TestClient};
use super::{Relay, RelayConfig, Shards, breathe, carry};
use crate::Limits;
use crate::clock::AHEAD;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Clients who stay, and say nothing.
const STAYING: usize = 6;

/// What happened in the day.
#[derive(Default, Debug)]
struct Day {
    visits: BTreeMap<Transport, u32>,
    meetings: u32,
    joined: u32,
    /// The most that ever stood in each table.
    most: BTreeMap<(usize, &'static str), usize>,
}

impl Day {
    fn look(&mut self, shards: &RefCell<Shards>) {
        for (table, length) in shards.borrow().tables() {
            let most = self.most.entry(table).or_default();
            *most = (*most).max(length);
        }
    }

    /// Somebody comes, does what he came for, and leaves, or is given back to stay.
    async fn visit(
        &mut self,
        rng: &mut Rng,
        server: &Server,
        shards: &RefCell<Shards>,
    ) -> Option<TestClient> {
        let all = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Dtls];
        let transport = all[rng.below(4) as usize];
        *self.visits.entry(transport).or_default() += 1;
        let mut client = server.client(transport).await;
        let relayed = client.allocated().await;
        match rng.below(4) {
            0 => {
                let peer = rig::peer().await;
                let address = peer.local_addr().unwrap();
                client.permit(address).await.unwrap();
                for _ in 0..3 {
                    client.send(address, b"over there").await;
                    assert_eq!(rig::peer_recv(&peer).await, (b"over there".to_vec(), relayed));
                    peer.send_to(b"and back", relayed).await.unwrap();
                    assert_eq!(client.recv().await, (address, b"and back".to_vec()));
                }
            }
            1 => {
                let mut other = server.client(all[rng.below(4) as usize]).await;
                let at_other = other.allocated().await;
                rig::meet((&mut client, relayed), (&mut other, at_other)).await;
                self.meetings += 1;
            }
            2 if matches!(transport, Transport::Tcp | Transport::Tls) => self.join(server, transport).await,
            _ => {
                // Nobody's datagrams, and a hello that is the last word.
                let stranger = UdpSocket::bind(rig::loopback()).await.unwrap();
                for bytes in [&b"garbage"[..], &[22, 254, 253], &rig::tunnel::hello()] {
                    stranger.send_to(bytes, server.address(Transport::Udp)).await.unwrap();
                }
                drop(server.connect(Transport::Tcp).await);
            }
        }
        self.look(shards);
        match rng.below(3) {
            0 => client.close().await,
            1 => {}
            _ => return Some(client),
        }
        None
    }

    /// A client has its connection joined with a peer's (RFC 6062), and one of both ends it.
    async fn join(&mut self, server: &Server, transport: Transport) {
        let listener = TcpListener::bind(rig::loopback()).await.unwrap();
        let mut client = server.stream_client(transport).await;
        client.allocated().await;
        let address = listener.local_addr().unwrap();
        client.permit_without_channel(address).await;
        let (data, accepted) = tokio::join!(client.connect(server, address), listener.accept());
        let (mut data, (mut peer, _)) = (data.unwrap(), accepted.unwrap());
        data.stream.write_all(b"by stream").await.unwrap();
        data.stream.flush().await.unwrap();
        let mut buffer = [0; 9];
        peer.read_exact(&mut buffer).await.unwrap();
        self.joined += 1;
        if self.joined.is_multiple_of(2) {
            drop(peer);
            data.ended().await;
        }
    }
}

#[tokio::test]
async fn a_day_leaves_nothing_in_any_table() {
    let (certificate, tls) = rig::tls_config();
    let listening = "127.0.0.3:0".parse().unwrap();
    let config = RelayConfig {
        udp: vec![listening],
        tcp: vec![listening],
        tls: vec![(listening, tls)],
        dtls: Some(crypto::Certificate::generate().unwrap()),
        shards: 2,
        limits: Limits { idle: Duration::from_secs(1), ..Limits::default() },
        ..RelayConfig::new(rig::machine(true))
    };
    let relay = Relay::bind(config).unwrap();
    let server = Server::elsewhere(relay.addresses().to_vec(), relay.handle(), certificate);
    let Relay { shard, aides, mut streams, acceptors, lobby, reception, stop: _stop, .. } = relay;
    let (mut lobby, admission) = (lobby.unwrap(), reception.admission.clone());
    let mut doors = JoinSet::new();
    acceptors.into_iter().for_each(|acceptor| _ = doors.spawn(acceptor.run(reception.clone())));
    let shards = RefCell::new(Shards { chief: shard, aides });
    let empty = (shards.borrow().tables(), streams.tables(), lobby.tables(), admission.tables());

    let mut day = Day::default();
    let mut sessions = JoinSet::new();
    let (mut most_connections, mut rng) = (0, Rng::new(Seed::from(24)));
    let world = async {
        let mut staying = VecDeque::new();
        while AHEAD.get() < DAY {
            staying.extend(day.visit(&mut rng, &server, &shards).await);
            most_connections = most_connections.max(admission.connections());
            if staying.len() > STAYING {
                staying.pop_front();
            }
            AHEAD.set(AHEAD.get() + Duration::from_secs(30 + rng.below(1200)));
        }
        // Half of the rest is still there, and silent, when their time is over.
        staying.truncate(STAYING / 2);
        AHEAD.set(AHEAD.get() + Duration::from_secs(2 * 3600));
        let all_are_gone = async {
            while shards.borrow().tables() != empty.0 || admission.tables() != empty.3 {
                breathe().await;
            }
        };
        let left = || format!("{:?} {:?}", shards.borrow().tables(), admission.tables());
        tokio::time::timeout(PATIENCE, all_are_gone)
            .await
            .unwrap_or_else(|_| panic!("there is left: {}", left()));
        // What was told last is done.
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    tokio::select! {
        () = world => {}
        () = carry(&shards) => {}
        () = lobby.serve(&reception, &mut sessions) => panic!("it has ended"),
        () = streams.serve() => panic!("it has ended"),
    }
    assert_eq!((streams.tables(), lobby.tables()), (empty.1, empty.2));
    assert!(sessions.is_empty());

    // It was a day of all sorts.
    assert!(day.visits.len() == 4 && day.visits.values().all(|visits| *visits > 10), "{day:?}");
    assert!(day.meetings > 10 && day.joined > 4 && most_connections > 2, "{day:?}");
    for table in ["flows", "allocations with flows", "sockets"] {
        for of in 0..2 {
            assert!(day.most[&(of, table)] > empty.0[&(of, table)], "{table}: {day:?}");
        }
    }
    assert!(day.most[&(0, "clients with a task")] > 2, "{day:?}");
}

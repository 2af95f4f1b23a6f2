//! A crowd of strangers at a relayed address of a shard that has not the machine, which has no time meanwhile.

use std::cell::RefCell;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use sansio::Transport;
use turn::Drop;

use super::rig::{self, Server, TestClient};
use super::{Relay, RelayConfig, Shards, carry};
use crate::clock::AHEAD;

/// More than wait for the machine at any time.
const CROWD: usize = 5000;
/// What the system keeps for a shard until that has its turn.
const AT_ONCE: usize = 32;

/// A relay of two shards.
struct Rig {
    server: Server,
    shards: RefCell<Shards>,
}

impl Rig {
    fn new(shared_port: Option<u16>) -> Self {
        let (certificate, _) = rig::tls_config();
        let mut config = RelayConfig::new(rig::machine(true));
        config.udp = vec!["127.0.0.3:0".parse().unwrap()];
        (config.shards, config.server.shared_port) = (2, shared_port);
        let relay = Relay::bind(config).unwrap();
        let server = Server::elsewhere(relay.addresses().to_vec(), relay.handle(), certificate);
        Self { server, shards: RefCell::new(Shards { chief: relay.shard, aides: relay.aides }) }
    }

    /// Carries until that is ready.
    async fn during<T>(&self, what: impl Future<Output = T>) -> T {
        tokio::select! {
            done = what => done,
            () = carry(&self.shards) => unreachable!("it carries for ever"),
        }
    }

    /// One that has a client whose relayed address is the aide's. Which shard a client comes to is the system's choice, and
    /// with another relay it chooses anew.
    async fn with_client(shared_port: Option<u16>) -> (Self, TestClient, SocketAddr) {
        loop {
            let rig = Self::new(shared_port);
            let mut client = rig.server.client(Transport::Udp).await;
            let relayed = rig.during(client.allocated()).await;
            if rig.shards.borrow().tables()[&(1, "relayed addresses")] > 0 {
                return (rig, client, relayed);
            }
        }
    }

    fn aide_steps(&self) {
        self.shards.borrow_mut().aides[0].step();
    }

    /// Nothing was lost, and of all that the machine has heard.
    async fn all_were_refused(&self) {
        AHEAD.set(AHEAD.get() + Duration::from_secs(1));
        self.aide_steps();
        let status = self.during(self.server.handle.status()).await.unwrap();
        assert_eq!((status.lost.total(), status.counters.dropped(Drop::NoPermission)), (0, CROWD as u64));
    }

    /// So many datagrams of strangers come to the aide, and nothing to the chief.
    fn crowd(&self, to: SocketAddr) {
        let stranger = UdpSocket::bind("127.9.9.9:0").unwrap();
        for number in 0..CROWD {
            stranger.send_to(&number.to_be_bytes()[..1 + number % 8], to).unwrap();
            if number % AT_ONCE == 0 {
                self.aide_steps();
            }
        }
        self.aide_steps();
    }
}

/// There is a crowd, and nobody is lost in it who has no flow yet.
async fn a_peer_is_heard_in_a_crowd(shared_port: Option<u16>) {
    let (rig, mut client, relayed) = Rig::with_client(shared_port).await;
    let peer = rig::peer().await;
    let address = peer.local_addr().unwrap();
    rig.during(client.permit(address)).await.unwrap();
    rig.crowd(relayed);
    peer.send_to(b"the first of his", relayed).await.unwrap();
    rig.aide_steps();
    assert_eq!(rig.during(client.recv()).await, (address, b"the first of his".to_vec()));
    rig.all_were_refused().await;
}

#[tokio::test]
async fn a_crowd_at_a_relayed_address_is_in_no_peers_way() {
    a_peer_is_heard_in_a_crowd(None).await;
}

#[tokio::test]
async fn nor_is_one_at_the_port_that_all_share() {
    a_peer_is_heard_in_a_crowd(Some(rig::free_port("127.0.0.2").port())).await;
}

#[tokio::test]
async fn a_peer_may_send_as_soon_as_the_client_has_its_answer_and_no_longer_than_it_wants() {
    let (rig, mut client, relayed) = Rig::with_client(None).await;
    let peer = rig::peer().await;
    let address = peer.local_addr().unwrap();
    // What the aide is told it hears of with the datagram, and not before.
    let permitted = async {
        client.permit_without_channel(address).await;
        peer.send_to(b"at once", relayed).await.unwrap();
        client.recv().await
    };
    assert_eq!(rig.during(permitted).await, (address, b"at once".to_vec()));
    assert_eq!(rig.shards.borrow().tables()[&(1, "peers with a permission")], 1);
    AHEAD.set(AHEAD.get() + Duration::from_secs(301));
    rig.shards.borrow_mut().step();
    assert_eq!(rig.shards.borrow().tables()[&(1, "peers with a permission")], 0);
    rig.crowd(relayed);
    rig.all_were_refused().await;
}

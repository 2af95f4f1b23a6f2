//! Application data costs no memory: not through the lane, not through `open`, direct or relayed.

mod world;

use netsim::NatBehaviour;
use sansio::{Batches, Datagram, Outbox};
use sterna_ice::Agent;
use world::{A, Peer, Plan, World};

fn send(agent: &mut Agent, out: &mut Batches, bytes: &[u8]) {
    assert!(agent.lane(out).expect("a path").send_bytes((), bytes));
}

#[test]
fn a_packet_of_the_application_costs_no_allocation() {
    for behaviour in [NatBehaviour::port_restricted(), NatBehaviour::symmetric()] {
        let mut world = World::new(Plan::nats(1, [behaviour; 2]));
        world.connect(10.0);
        world.run_for(20.0);
        let now = world.net.now();
        let mut out = Batches::new(1 << 20);
        let round = |peer: &mut Peer, out: &mut Batches| {
            for _ in 0..500 {
                send(&mut peer.agent, out, &[22; 1100]);
            }
            // What comes back takes the same path the other way round.
            let mut received = 0;
            while let Some(mut batch) = out.pop() {
                let from = batch.path;
                let segment = batch.segment;
                for bytes in batch.bytes.chunks_mut(segment) {
                    let datagram = Datagram { from, payload: bytes };
                    peer.agent.open(now, datagram, &mut sansio::Full, &mut |_| received += 1);
                }
                out.recycle(batch);
            }
            received
        };
        world.with(A, |peer, _| {
            let mut received = 0;
            for _ in 0..4 {
                // Buffers grow to their size.
                received = round(peer, &mut out);
            }
            let counted = allocation_counter::measure(|| received = round(peer, &mut out));
            assert_eq!(counted.count_total, 0, "{behaviour:?}");
            assert_eq!(received, 500, "{behaviour:?}: ChannelData and datagrams alike come back");
        });
    }
}

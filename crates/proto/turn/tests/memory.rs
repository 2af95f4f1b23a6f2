//! What an allocation takes of the server's memory.

mod world;

use sterna_turn::Server;
use stun::kind;
use world::{Raw, World, address, allocate, client_path, credentials};

const ALLOCATIONS: usize = 2000;

#[test]
fn an_allocation_with_a_permission_and_a_channel_takes_little_more_than_a_kilobyte() {
    let mut config = world::server_config();
    config.quotas.per_source = ALLOCATIONS;
    config.quotas.per_user = ALLOCATIONS;
    config.quotas.unauthenticated_per_second = u32::MAX;
    let mut world = World::with(config);
    let mut requests = Vec::new();
    for number in 0..ALLOCATIONS {
        // Signed before anything is measured.
        let port = 1024 + number as u16;
        let mut raw = Raw::challenged(&mut world, client_path(port), credentials("alice"));
        let peer = address(&format!("203.0.113.9:{port}"));
        let bind = |writer: &mut stun::MessageWriter<'_>| {
            writer.u32(kind::CHANNEL_NUMBER, 0x4000 << 16).xor_address(kind::XOR_PEER_ADDRESS, peer);
        };
        requests.push((raw.path, raw.write(stun::Method::ALLOCATE, &allocate)));
        requests.push((raw.path, raw.write(stun::Method::CHANNEL_BIND, &bind)));
    }
    let info = allocation_counter::measure(|| {
        for (path, request) in &requests {
            assert_eq!(world::outcome(&world.ask(*path, request).unwrap()), Ok(()));
            world.server_events.clear();
        }
        // What the test itself keeps of it.
        world.sockets.clear();
        world.answers = std::collections::VecDeque::new();
        world.server_events = Vec::new();
    });
    assert_eq!(world.server.allocations(), ALLOCATIONS);
    let each = info.bytes_current as usize / ALLOCATIONS;
    println!("{each} bytes, and {} of the server itself", size_of::<Server>());
    assert!(each < 1250, "{each} bytes");
}

//! A connection outlives the network that it was made in: how long it takes to find another path, in virtual time.

mod world;

use std::cell::{Cell, RefCell};
use std::time::Duration;

use ice::{Interface, InterfaceKind};
use netsim::{HostId, Link, NatBehaviour, Net, SegmentId};
use sterna_peer::{Configuration, ConnectionState, Event, PathKind};
use world::{A, B, Mail, Places, Signalling, World, seeds, servers, turn_server, turn_server_called};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

thread_local! {
    /// Whether signalling is broken, too.
    static CUT_OFF: Cell<bool> = const { Cell::new(false) };
}

fn signalling() -> Signalling {
    CUT_OFF.set(false);
    let tamper: fn(usize, Mail) -> Option<Mail> = |_, mail| (!CUT_OFF.get()).then_some(mail);
    Signalling { tamper, ..Signalling::default() }
}

fn roams(_: usize, _: &Net, configuration: &mut Configuration) {
    configuration.roam = Some(MINUTE * 5);
}

/// Two networks, 10 ms from the internet each.
fn two_nets(net: &mut Net, behaviours: [NatBehaviour; 2]) -> [SegmentId; 2] {
    behaviours.map(|behaviour| {
        let network = net.add_network(Net::INTERNET, "nat", behaviour);
        net.set_link(net.uplink(network), Link::delay_ms(10));
        network
    })
}

fn connected(seed: u64, behaviours: [NatBehaviour; 2]) -> World {
    let places = |net: &mut Net| Places { nets: two_nets(net, behaviours), turn: Some(turn_server(net)) };
    let mut world = World::build_with(seed, signalling(), places, roams);
    world.create_channel(A, "file");
    world.connect(MINUTE);
    world
}

/// Sends a number every 10 ms each way, until one that was sent after this call began has arrived on both sides; tells
/// how long that took.
#[track_caller]
fn time_to_recover(world: &mut World, within: Duration) -> Duration {
    let begun = world.net.now();
    let ids = [A, B].map(|side| world.sides.read().unwrap()[side].opened()[0].0);
    let received = |world: &World, side: usize| {
        world.sides.read().unwrap()[side].count(|event| matches!(event, Event::MessageReceived { .. }))
    };
    // What was sent before arrives before: the channel is reliable and ordered.
    let sent = [A, B].map(|side| {
        let channels = world.connection(side);
        channels.channel(ids[side]).expect("it is open").messages_sent as usize
    });
    while world.net.now() - begun < within {
        for side in [A, B] {
            world.send(side, ids[side], b"are you there?");
        }
        world.run_for(Duration::from_millis(10));
        if received(world, B) > sent[A] && received(world, A) > sent[B] {
            return world.net.now() - begun;
        }
    }
    panic!("not recovered after {within:?}: {}", world.describe());
}

#[track_caller]
fn nobody_noticed(world: &World) {
    for side in [A, B] {
        let side_seen = &world.sides.read().unwrap()[side];
        assert!(side_seen.failure().is_none(), "{}", world.describe());
        assert_eq!(side_seen.count(|event| matches!(event, Event::ChannelClosed(_))), 0);
        let failed = |event: &Event| matches!(event, Event::ConnectionStateChanged(ConnectionState::Failed));
        assert_eq!(side_seen.count(failed), 0);
    }
}

/// The slowest of many runs. It and the median stand in a row of `docs/roaming.md`, and have to be true there:
/// `STERNA_BOOK=write cargo nextest run -j1 -p sterna-peer --test roam` renews them.
fn tell(row: &str, mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    let [median, worst] = [times.len() / 2, times.len() - 1].map(|at| times[at]);
    println!("{row}: {} runs, median {median:?}, slowest {worst:?}", times.len());
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/roaming.md");
    let page = std::fs::read_to_string(path).expect("the page is part of the repository");
    let begins = format!("| {row} | ");
    let old = page.lines().find(|line| line.starts_with(&begins)).expect("the page has a row for it");
    let bound = old.rsplit('|').nth(1).expect("a row has several cells");
    let new = format!("{begins}{} | {} | {} |{bound}|", times.len(), words(median), words(worst));
    if std::env::var("STERNA_BOOK").is_ok_and(|word| word == "write") {
        std::fs::write(path, page.replace(old, &new)).expect("the page can be written");
    } else {
        assert_eq!(old, new, "docs/roaming.md is out of date; STERNA_BOOK=write renews it");
    }
    worst
}

fn words(time: Duration) -> String {
    if time < SECOND {
        format!("{} ms", (time.as_millis() + 5) / 10 * 10)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

/// Takes a host out of its network and into another one.
fn move_to(world: &mut World, side: usize, behaviour: NatBehaviour, name: &str) {
    let (host, home) = (world.hosts[side], world.nets[side]);
    let other = world.net.add_network(Net::INTERNET, "elsewhere", behaviour);
    world.net.set_link(world.net.uplink(other), Link::delay_ms(25));
    let access = world.net.access(host, home);
    let addresses = world.net.free_addresses(other);
    world.net.set_link_up(access, false);
    world.net.add_interface(host, other, &addresses);
    let interfaces = addresses.iter().map(|address| Interface::new(name, *address)).collect();
    world.with(side, |connection, now| connection.network_changed(now, interfaces));
}

#[test]
fn a_host_that_moves_is_found_in_its_new_network() {
    let mut times = Vec::new();
    for seed in seeds(20) {
        for side in [A, B] {
            let mut world = connected(seed, [NatBehaviour::port_restricted(); 2]);
            world.run_for(SECOND * 3);
            move_to(&mut world, side, NatBehaviour::port_restricted(), "wwan0");
            times.push(time_to_recover(&mut world, MINUTE));
            nobody_noticed(&world);
            assert_eq!(world.kinds(), [PathKind::Direct; 2]);
        }
    }
    assert!(tell("another network, direct again", times) < SECOND);
}

#[test]
fn a_host_that_moves_behind_a_symmetric_nat_goes_on_by_the_relay() {
    let mut times = Vec::new();
    for seed in seeds(10) {
        let mut world = connected(seed, [NatBehaviour::port_restricted(); 2]);
        world.run_for(SECOND * 3);
        move_to(&mut world, A, NatBehaviour::symmetric(), "wwan0");
        times.push(time_to_recover(&mut world, MINUTE));
        nobody_noticed(&world);
        world.run_for(SECOND * 5);
        assert_eq!(world.kinds(), [PathKind::Relayed; 2]);
    }
    assert!(tell("another network behind a symmetric NAT, so by the relay", times) < SECOND * 2);
}

#[test]
fn a_nat_that_reboots_interrupts_for_seconds() {
    let mut times = Vec::new();
    for seed in seeds(20) {
        let mut world = connected(seed, [NatBehaviour::port_restricted(); 2]);
        time_to_recover(&mut world, SECOND);
        let home = world.nets[A];
        world.net.reboot(home);
        world.net.renumber(home);
        times.push(time_to_recover(&mut world, MINUTE));
        nobody_noticed(&world);
    }
    assert!(tell("the NAT reboots and gets another address", times) < SECOND * 5);
}

#[test]
fn a_laptop_that_sleeps_goes_on_when_it_wakes() {
    let mut times = Vec::new();
    for seed in seeds(10) {
        // Longer than consent lasts, so that ICE has ended on both sides.
        for nap in [20, 90] {
            let mut world = connected(seed, [NatBehaviour::port_restricted(); 2]);
            world.run_for(SECOND * 3);
            let access = world.net.access(world.hosts[A], world.nets[A]);
            world.net.set_link_up(access, false);
            CUT_OFF.set(true);
            let id = world.sides.read().unwrap()[B].opened()[0].0;
            world.send(B, id, b"into the void");
            world.run_for(SECOND * nap);
            assert_ne!(world.connection(B).connection_state(), ConnectionState::Connected);
            world.net.set_link_up(access, true);
            CUT_OFF.set(false);
            world.ask_again();
            times.push(time_to_recover(&mut world, MINUTE));
            nobody_noticed(&world);
        }
    }
    assert!(tell("asleep for 20 and 90 s, counted from waking up", times) < SECOND * 2);
}

#[test]
fn a_relay_that_dies_is_replaced_by_the_one_that_stands_by() {
    let mut times = Vec::new();
    for seed in seeds(10) {
        let relays: RefCell<Vec<HostId>> = RefCell::default();
        let places = |net: &mut Net| {
            let found = ["turn", "spare"].map(|name| turn_server_called(net, name));
            relays.borrow_mut().extend(found);
            Places { nets: two_nets(net, [NatBehaviour::symmetric(); 2]), turn: Some(found[0]) }
        };
        let tune = |side: usize, net: &Net, configuration: &mut Configuration| {
            roams(side, net, configuration);
            configuration.ice_servers.extend(servers(net, relays.borrow()[1]));
        };
        let mut world = World::build_with(seed, signalling(), places, tune);
        world.create_channel(A, "file");
        world.connect(MINUTE);
        world.run_for(SECOND * 5);
        assert_eq!(world.kinds(), [PathKind::Relayed; 2]);
        let dead = relays.borrow()[0];
        let addresses = relays.borrow().iter().map(|relay| world.net.address(*relay)).collect::<Vec<_>>();
        world.net.stop(dead);
        times.push(time_to_recover(&mut world, MINUTE));
        nobody_noticed(&world);
        let path = world.connection(A).path().unwrap();
        assert_ne!(path.relay, Some(format!("turn:{}:3478", addresses[0])), "{path}");
    }
    assert!(tell("the relay dies, a second one stands by", times) < SECOND * 6);
}

/// By relays alone, each side by an allocation of its own; signalling is cut from now on.
fn relayed(seed: u64) -> World {
    let behaviours = [NatBehaviour::port_restricted(); 2];
    let places = |net: &mut Net| Places { nets: two_nets(net, behaviours), turn: Some(turn_server(net)) };
    let tune = |side: usize, net: &Net, configuration: &mut Configuration| {
        roams(side, net, configuration);
        configuration.ice_transport_policy = ice::TransportPolicy::Relay;
    };
    let mut world = World::build_with(seed, signalling(), places, tune);
    world.create_channel(A, "file");
    world.connect(MINUTE);
    world.run_for(SECOND * 5);
    CUT_OFF.set(true);
    world
}

/// Nobody has even asked for another path.
#[track_caller]
fn nobody_restarted(world: &World) {
    nobody_noticed(world);
    for side in [A, B] {
        let seen = &world.sides.read().unwrap()[side];
        let needed = seen.count(|event| matches!(event, Event::NegotiationNeeded));
        assert_eq!(needed, usize::from(side == A), "{}", world.describe());
        assert_eq!(world.connection(side).path().expect("it goes on").kind, PathKind::Relayed);
    }
}

#[test]
fn a_relayed_connection_takes_its_relay_along_to_another_network_without_any_signalling() {
    let mut times = Vec::new();
    for seed in seeds(20) {
        for side in [A, B] {
            let mut world = relayed(seed);
            let relay = world.connection(side).path().unwrap().local_address;
            move_to(&mut world, side, NatBehaviour::symmetric(), "wwan0");
            times.push(time_to_recover(&mut world, MINUTE));
            world.run_for(SECOND * 10);
            assert_eq!(world.connection(side).path().unwrap().local_address, relay);
            nobody_restarted(&world);
        }
    }
    assert!(
        tell("another network, by relays alone: the allocation is taken along, signalling cut", times)
            < Duration::from_millis(600)
    );
}

#[test]
fn a_nat_that_reboots_under_a_relayed_connection_needs_no_signalling() {
    let mut times = Vec::new();
    for seed in seeds(20) {
        for side in [A, B] {
            let mut world = relayed(seed);
            time_to_recover(&mut world, SECOND);
            let network = world.nets[side];
            world.net.reboot(network);
            world.net.renumber(network);
            times.push(time_to_recover(&mut world, MINUTE));
            world.run_for(SECOND * 10);
            nobody_restarted(&world);
        }
    }
    assert!(tell("the NAT reboots under a relayed path, signalling cut", times) < SECOND * 3);
}

#[test]
fn a_better_network_is_taken_without_a_gap() {
    for seed in seeds(10) {
        let places = |net: &mut Net| {
            let nets = two_nets(net, [NatBehaviour::port_restricted(); 2]);
            Places { nets, turn: Some(turn_server(net)) }
        };
        let mobile = |side: usize, net: &Net, configuration: &mut Configuration| {
            roams(side, net, configuration);
            if side == A {
                configuration.interfaces[0].kind = InterfaceKind::Cellular;
            }
        };
        let mut world = World::build_with(seed, signalling(), places, mobile);
        world.create_channel(A, "file");
        world.connect(MINUTE);
        world.run_for(SECOND * 3);
        let (host, home) = (world.hosts[A], world.nets[A]);
        let wifi = world.net.add_network(Net::INTERNET, "wifi", NatBehaviour::port_restricted());
        let addresses = world.net.free_addresses(wifi);
        world.net.add_interface(host, wifi, &addresses);
        let old = world.net.addresses(host).into_iter().filter(|address| !addresses.contains(address));
        let mut interfaces: Vec<Interface> = old
            .map(|address| Interface { kind: InterfaceKind::Cellular, ..Interface::new("eth0", address) })
            .collect();
        interfaces.extend(addresses.iter().map(|address| Interface::new("wlan0", *address)));
        world.with(A, |connection, now| connection.network_changed(now, interfaces));
        for _ in 0..30 {
            assert!(time_to_recover(&mut world, MINUTE) < Duration::from_millis(150), "there was a gap");
            world.run_for(Duration::from_millis(100));
        }
        nobody_noticed(&world);
        // The old network can go now.
        let access = world.net.access(host, home);
        world.net.set_link_up(access, false);
        assert!(time_to_recover(&mut world, MINUTE) < Duration::from_millis(150), "it was still in use");
    }
}

#[test]
fn without_any_path_it_fails_after_all_and_says_why() {
    let places = |net: &mut Net| Places {
        nets: two_nets(net, [NatBehaviour::port_restricted(); 2]),
        turn: Some(turn_server(net)),
    };
    let mut world = World::build_with(1, signalling(), places, |_, _, configuration| {
        configuration.roam = Some(MINUTE);
    });
    world.create_channel(A, "file");
    world.connect(MINUTE);
    let access = world.net.access(world.hosts[A], world.nets[A]);
    world.net.set_link_up(access, false);
    CUT_OFF.set(true);
    world.run_for(SECOND * 60);
    nobody_noticed(&world);
    world.run_for(SECOND * 20);
    for side in [A, B] {
        let sides = world.sides.read().unwrap();
        assert_eq!(sides[side].failure().expect("it is over").code(), "ice-consent-lost");
        assert_eq!(sides[side].count(|event| matches!(event, Event::Failed(_))), 1);
        assert_eq!(world.connection(side).connection_state(), ConnectionState::Failed);
    }
    // Who does not give up may find it again.
    world.net.set_link_up(access, true);
    CUT_OFF.set(false);
    world.ask_again();
    world.run_for(SECOND * 20);
    assert_eq!(world.connection(A).connection_state(), ConnectionState::Connected, "{}", world.describe());
    world.echo();
}

#[test]
fn a_silent_path_is_noticed_soon_and_an_idle_one_is_left_alone() {
    let mut world = connected(1, [NatBehaviour::port_restricted(); 2]);
    let count = |world: &World| world.net.trace().records().len();
    world.run_for(SECOND * 5);
    let before = count(&world);
    world.run_for(SECOND * 100);
    let packets = count(&world) - before;
    // A consent check and its answer every five seconds from either side, some hops each.
    assert!(packets < 100 / 5 * 2 * 2 * 8, "{packets} records of packets while nobody said anything");
    nobody_noticed(&world);
    let home = world.nets[A];
    let id = world.sides.read().unwrap()[A].opened()[0].0;
    world.net.reboot(home);
    world.net.renumber(home);
    let access = world.net.access(world.hosts[B], world.nets[B]);
    world.net.set_link_up(access, false);
    world.send(A, id, b"hello?");
    world.run_for(SECOND * 4);
    assert_eq!(world.connection(A).connection_state(), ConnectionState::Disconnected);
}

//! Client and server machines in the simulated internet.

use std::time::Duration;

use netsim::{Hostile, Limits, Link, NatBehaviour, Net};
use sansio::{Machine as _, Path, Seed, Time};
use sterna_stun::client::{Client, Config, Event, Failure};
use sterna_stun::server::Server;
use sterna_stun::transaction::Cause;
use sterna_stun::{AttributeKind, Class, MessageWriter, Method, TransactionId, kind};

const PORT: u16 = 3478;

struct Scene {
    net: Net,
    client: netsim::HostId,
    expected: std::net::IpAddr,
}

/// A client behind a NAT asks a server on the internet, over a link with these losses.
fn scene(seed: u64, nat: NatBehaviour, loss: f64) -> Scene {
    let mut net = Net::new(seed);
    let server = net.add_host("server", &[Net::INTERNET]);
    let home = net.add_network(Net::INTERNET, "home", nat);
    let client = net.add_host("client", &[home]);
    net.set_link(net.uplink(home), Link::delay_ms(25).with_loss(loss));
    let (local, remote) = (net.socket(client, 5000), net.socket(server, PORT));
    net.bind(server, remote).unwrap();
    net.bind(client, local).unwrap();
    net.start(server, Server::default());
    let seed = net.draw_seed();
    net.start(client, Client::new(Time::ZERO, Config::new(Path::udp(local, remote), seed)));
    let expected = net.external_address(home);
    Scene { net, client, expected }
}

#[test]
fn through_every_nat_the_client_learns_its_outer_address_in_one_round_trip() {
    for nat in [
        NatBehaviour::full_cone(),
        NatBehaviour::address_restricted(),
        NatBehaviour::port_restricted(),
        NatBehaviour::symmetric(),
    ] {
        let Scene { mut net, client, expected } = scene(1, nat, 0.0);
        net.run_for(Duration::from_secs(60));
        let events = net.events::<Client>(client);
        let [Event::Mapped(mapped)] = &events[..] else { panic!("{events:?}") };
        assert_eq!(mapped.address.ip(), expected);
        let rtt = mapped.rtt.expect("it was asked once");
        assert!((Duration::from_millis(50)..=Duration::from_millis(60)).contains(&rtt), "{rtt:?}");
    }
}

#[test]
fn loss_delays_and_does_not_prevent() {
    let (mut answered, mut at_once) = (0, 0);
    for seed in 0..200 {
        let Scene { mut net, client, expected } = scene(seed, NatBehaviour::port_restricted(), 0.3);
        net.run_for(Duration::from_secs(60));
        match &net.events::<Client>(client)[..] {
            [Event::Mapped(mapped)] => {
                assert_eq!(mapped.address.ip(), expected);
                answered += 1;
                at_once += u32::from(mapped.rtt.is_some());
            }
            [Event::Failed(Failure::NoAnswer(Cause::TimedOut { requests: 7 }))] => {}
            other => panic!("{other:?}"),
        }
    }
    // Each of the 7 requests gets through and back with a chance of 0.49: 1 in 112 clients is out of luck.
    assert!((190..=200).contains(&answered), "{answered}");
    assert!((70..=130).contains(&at_once), "{at_once}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let Scene { mut net, .. } = scene(seed, NatBehaviour::symmetric(), 0.3);
        net.run_for(Duration::from_secs(60));
        net.trace().to_string()
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

#[test]
fn nobody_home_is_told_after_39_and_a_half_seconds() {
    let Scene { mut net, client, .. } = scene(3, NatBehaviour::full_cone(), 1.0);
    net.run_for(Duration::from_millis(39_499));
    assert!(net.events::<Client>(client).is_empty());
    net.run_for(Duration::from_millis(2));
    let failure = Failure::NoAnswer(Cause::TimedOut { requests: 7 });
    assert_eq!(net.events::<Client>(client), [Event::Failed(failure)]);
}

fn samples() -> Vec<Vec<u8>> {
    let message = |class, build: &dyn Fn(&mut MessageWriter<'_>)| {
        let mut buffer = [0; 600];
        let mut writer = MessageWriter::new(&mut buffer, class, Method::BINDING, TransactionId([4; 12]));
        build(&mut writer);
        let length = writer.finish().unwrap();
        buffer[..length].to_vec()
    };
    vec![
        message(Class::Request, &|_| {}),
        message(Class::Request, &|writer| {
            writer.fingerprint();
        }),
        message(Class::Request, &|writer| {
            (0x7000..0x7020).for_each(|kind| {
                writer.flag(AttributeKind(kind));
            });
        }),
        message(Class::Indication, &|writer| {
            writer.string(kind::SOFTWARE, "hostile");
        }),
        message(Class::Success, &|writer| {
            writer.xor_address(kind::XOR_MAPPED_ADDRESS, "192.0.2.1:1".parse().unwrap());
        }),
    ]
}

#[test]
fn hostile_bytes_get_bounded_answers_from_the_server_and_none_from_the_client() {
    let paths: Vec<_> = (1..20)
        .map(|port| Path::udp("192.0.2.1:3478".parse().unwrap(), ([198, 51, 100, 7], port).into()))
        .collect();
    let limits = Limits { datagrams: 1, amplification: 1.6, allowance: 0 };
    let mut hostile = Hostile::new(5).with_samples(samples());
    let answers = hostile.assault(&mut Server::default(), Time::ZERO, &paths, 20_000, limits);
    assert!(answers.datagrams > 0, "the samples are near enough to be answered");

    let mut client = Client::new(Time::ZERO, Config::new(paths[0].reversed(), Seed::from(1)));
    let none = Limits { datagrams: 0, amplification: 0.0, allowance: 0 };
    let from_server: Vec<_> = paths.iter().map(|path| path.reversed()).collect();
    // Its own request must be out of the way, or it would count as an answer.
    client.poll_transmit(Time::ZERO, &mut sansio::Batches::new(1500));
    let answers = hostile.assault(&mut client, Time::ZERO, &from_server, 20_000, none);
    assert_eq!((answers.datagrams, answers.events), (0, 0));
}

//! Every failure carries its cause and its evidence: each cause is brought about, and must be named.

mod world;

use std::time::Duration;

use netsim::NatBehaviour;
use sterna_ice::{
    Config, Event, PairError, RemoteFate, ServerOutcome, ServerRequest, State, TransportPolicy,
};
use world::{A, B, Plan, World, set_credentials};

/// Offers and waits until A has failed.
#[track_caller]
fn fail(world: &mut World) -> sterna_ice::Failure {
    world.offer();
    finish(world)
}

#[track_caller]
fn finish(world: &mut World) -> sterna_ice::Failure {
    let failed = world.run(Duration::from_secs(150), |net, hosts| {
        net.machine::<world::Peer>(hosts[A]).agent.state() == State::Failed
    });
    assert!(failed, "{}", world.explain());
    let failure = world.peer(A).failure().unwrap().clone();
    assert_eq!(world.peer(A).count(|event| matches!(event, Event::Failed(_))), 1, "once");
    assert!(!failure.cause.advice().is_empty() && failure.cause.code().starts_with("ice-"));
    failure
}

#[track_caller]
fn code(world: &mut World) -> &'static str {
    let failure = fail(world);
    failure.cause.code()
}

fn no_addresses(_: usize, _: sterna_ice::Candidate) -> Option<sterna_ice::Candidate> {
    None
}

#[test]
fn no_direct_path_and_no_relay() {
    let plan = Plan { servers: vec!["stun:server.example"], ..Plan::nats(1, [NatBehaviour::symmetric(); 2]) };
    let failure = fail(&mut World::new(plan));
    assert_eq!(failure.cause.code(), "ice-no-direct-path");
    assert!(failure.report.pairs.iter().all(|pair| pair.checks_sent == 1 && pair.retransmissions == 6));
    assert!(failure.report.pairs.iter().all(|pair| pair.error == Some(PairError::TimedOut)));
    assert!(matches!(failure.report.servers[0].outcome, ServerOutcome::Succeeded(_)));
    assert_eq!(failure.report.servers[0].took, Some(Duration::from_millis(30)));
}

#[test]
fn nothing_comes_before_the_patience_of_rfc_8863_is_over() {
    let mut world = World::new(Plan::open(1));
    world.filter = no_addresses;
    // Neither learns of the other's candidates; both lists are empty.
    assert_eq!(code(&mut world), "ice-no-remote-candidates");
    let failed = world.peer(A).entered(State::Failed).unwrap().elapsed();
    assert_eq!(failed, Duration::from_millis(40 + 39_500));
}

#[test]
fn a_wrong_turn_password_is_named() {
    let config: fn(usize, &mut Config) = |side, config| {
        if side == A {
            config.servers[0].credential = "wrong".to_owned();
        }
        config.policy = TransportPolicy::Relay;
    };
    let plan = Plan { config, ..Plan::nats(1, [NatBehaviour::symmetric(); 2]) };
    let mut world = World::new(plan);
    let failure = fail(&mut world);
    assert_eq!(failure.cause.code(), "ice-turn-unauthorized");
    let refused = |server: &sterna_ice::ServerReport| {
        matches!(server.outcome, ServerOutcome::Refused { code: 401, .. })
    };
    assert!(
        failure
            .report
            .servers
            .iter()
            .any(|server| server.request == ServerRequest::Allocate && refused(server))
    );
    let told = |event: &Event| matches!(event, Event::CandidateFailed { code: 401, .. });
    assert_eq!(world.peer(A).count(told), 1, "the first 401 is normal, the second is not");
}

#[test]
fn an_unreachable_turn_server_is_named() {
    for (server, relayed) in
        [("turn:nowhere.example", false), ("turn:server.example:9999?transport=tcp", true)]
    {
        let plan = Plan {
            servers: vec!["stun:server.example", server],
            ..Plan::nats(1, [NatBehaviour::symmetric(); 2])
        };
        let failure = fail(&mut World::new(plan));
        assert_eq!(failure.cause.code(), "ice-turn-unreachable");
        let evidence = failure.report.servers.iter().any(|report| match report.outcome {
            ServerOutcome::NotResolved(_) => !relayed,
            ServerOutcome::NotConnected(_) => relayed,
            _ => false,
        });
        assert!(evidence, "{:?}", failure.report.servers);
    }
}

#[test]
fn blocked_udp_is_named() {
    let behaviours = [NatBehaviour::udp_blocked(), NatBehaviour::full_cone()];
    for servers in [vec!["stun:server.example"], vec!["turn:server.example"]] {
        let mut world = World::new(Plan { servers, ..Plan::nats(1, behaviours) });
        // Without the other side's relay, which A could not reach either.
        world.filter =
            |_, candidate| (candidate.kind != sterna_ice::CandidateKind::Relay).then_some(candidate);
        let failure = fail(&mut world);
        assert_eq!(failure.cause.code(), "ice-udp-blocked", "{}", world.explain());
    }
}

#[test]
fn a_relay_that_does_not_want_the_peer_is_named() {
    // The peer is in the private network that the relay must not reach, and nowhere else.
    let config: fn(usize, &mut Config) = |side, config| match side {
        A => config.policy = TransportPolicy::Relay,
        _ => config.servers.clear(),
    };
    let plan = Plan { config, ..Plan::nats(1, [NatBehaviour::port_restricted(); 2]) };
    let failure = fail(&mut World::new(plan));
    assert_eq!(failure.cause.code(), "ice-relay-refused");
    let refused = |error: &PairError| matches!(error, PairError::PermissionRefused { code: 403, .. });
    assert!(failure.report.pairs.iter().all(|pair| pair.error.as_ref().is_some_and(refused)));
}

#[test]
fn families_that_do_not_meet_are_named() {
    let mut world = World::new(Plan { ipv6: [true, false], ..Plan::open(1) });
    // A is left with its IPv6 address.
    let found: Vec<_> =
        world::interfaces(&world.net, world.hosts[A]).into_iter().filter(|i| i.address.is_ipv6()).collect();
    world.with(A, |peer, now| peer.agent.gather(now, &found));
    world.gather(B);
    world.send_credentials(A);
    world.send_credentials(B);
    assert_eq!(finish(&mut world).cause.code(), "ice-no-common-family");
}

#[test]
fn names_that_do_not_resolve_are_named() {
    let plan = Plan {
        config: |_, config| config.mdns = true,
        servers: vec![],
        ..Plan::nats(1, [NatBehaviour::port_restricted(); 2])
    };
    let failure = fail(&mut World::new(plan));
    assert_eq!(failure.cause.code(), "ice-mdns-unresolved");
    assert!(matches!(&failure.report.remote[0].fate, RemoteFate::Unresolved(_)));
}

#[test]
fn credentials_that_do_not_match_are_named() {
    let mut world = World::new(Plan::open(1));
    world.gather(A);
    world.gather(B);
    let mut wrong = world.agent(B).local_credentials().clone();
    wrong.pwd.replace_range(..4, "????");
    let host = world.hosts[A];
    world.net.after(Duration::from_millis(50), move |net| set_credentials(net, host, wrong));
    world.send_credentials(A);
    let failure = finish(&mut world);
    assert_eq!(failure.cause.code(), "ice-wrong-credentials", "{}", world.explain());
}

#[test]
fn a_peer_that_is_not_there_is_named() {
    let mut world = World::new(Plan::nats(1, [NatBehaviour::port_restricted(); 2]));
    world.gather(A);
    world.gather(B);
    world.run_for(2.0);
    let credentials = world.agent(B).local_credentials().clone();
    world.with(B, |peer, now| peer.agent.close(now));
    world.run_for(1.0);
    world.with(A, |peer, now| peer.agent.set_remote_credentials(now, credentials));
    assert_eq!(finish(&mut world).cause.code(), "ice-peer-silent");
}

#[test]
fn a_machine_without_addresses_is_named() {
    let mut world = World::new(Plan::open(1));
    world.with(A, |peer, now| peer.agent.gather(now, &[]));
    world.gather(B);
    world.send_credentials(A);
    world.send_credentials(B);
    assert_eq!(finish(&mut world).cause.code(), "ice-no-local-candidates");
}

#[test]
fn one_way_is_named() {
    let mut world = World::new(Plan { servers: vec!["stun:server.example"], ..Plan::open(1) });
    // What A sends arrives nowhere, what others send arrives at A.
    let link = world.net.access(world.hosts[A], world.nets[A]);
    let lossy = netsim::Link { loss: 0.0, ..netsim::Link::delay_ms(0) };
    world.net.set_link(link, lossy);
    world.gather(A);
    world.gather(B);
    world.run_for(1.0);
    world.net.set_link_towards(link, netsim::Direction::Up, netsim::Link::delay_ms(0).with_loss(1.0));
    world.send_credentials(A);
    world.send_credentials(B);
    let failure = finish(&mut world);
    assert_eq!(failure.cause.code(), "ice-one-way", "{}", world.explain());
    assert!(
        failure.report.pairs.iter().any(|pair| pair.requests_received > 0 && pair.responses_received == 0)
    );
}

#[test]
fn a_relay_that_goes_away_is_named() {
    let mut world = World::new(Plan::nats(1, [NatBehaviour::symmetric(); 2]));
    world.connect(10.0);
    let server = world.server;
    // The server forgets everything.
    world.net.stop(server);
    world.run_for(700.0);
    let causes: Vec<_> =
        [A, B].iter().map(|side| world.peer(*side).failure().unwrap().cause.code()).collect();
    assert!(causes.iter().all(|code| ["ice-consent-lost", "ice-relay-lost"].contains(code)), "{causes:?}");
}

//! Many connections on one port: who gets what.

mod party;

use std::time::Duration;

use netsim::{NatBehaviour, Net};
use party::{PORT, Pair, Party, credentials};
use sansio::{Machine as _, Seed, Time};
use sterna_peer::{Census, Configuration, Connection, Event, Hub, HubConfig, HubDrops, IceConnectionState};
use stun::{Class, MessageWriter, Method, TransactionId, kind};

/// Guests on networks of their own, behind a NAT of this kind.
fn invite(party: &mut Party, count: usize, nat: NatBehaviour) -> Vec<Pair> {
    (0..count)
        .map(|number| {
            let home = party.net.add_network(Net::INTERNET, &format!("home {number}"), nat);
            let guest = party.net.add_host(&format!("guest {number}"), &[home]);
            party.invite(guest, 0)
        })
        .collect()
}

/// A check to the hub's end of a connection, as its other side would sign it, or somebody who does not know how.
fn check(party: &Party, pair: &Pair, password: Option<&str>) -> Vec<u8> {
    let (ours, pwd) = credentials(&party.hub().get(pair.id).unwrap().local_description().unwrap());
    let (theirs, _) = credentials(&party.guest(pair.guest).local_description().unwrap());
    let mut buffer = vec![0; 400];
    let id = TransactionId([9; 12]);
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, id);
    writer
        .string(kind::USERNAME, &format!("{ours}:{theirs}"))
        .u32(kind::PRIORITY, 1)
        .u64(kind::ICE_CONTROLLING, u64::MAX);
    writer.integrity(&stun::Key::short_term(password.unwrap_or(&pwd))).fingerprint();
    let length = writer.finish().unwrap();
    buffer.truncate(length);
    buffer
}

#[test]
fn many_come_to_one_port() {
    let mut party = Party::new(1);
    let mut pairs = Vec::new();
    for nat in [NatBehaviour::none(), NatBehaviour::full_cone(), NatBehaviour::symmetric()] {
        pairs.extend(invite(&mut party, 30, nat));
    }
    party.open(&pairs);
    party.talk(&pairs);
    for pair in &pairs {
        let description = party.hub().get(pair.id).unwrap().local_description().unwrap();
        assert!(description.sdp.contains(&format!(" {PORT} typ host")), "{}", description.sdp);
    }
    // Nobody's packets were lost on the way, and one path each is kept, besides those that were tried.
    assert_eq!(party.hub().drops(), HubDrops::default());
    let census = party.hub().census();
    assert_eq!((census.connections, census.ufrags), (90, 90));
    assert!((90..=180).contains(&census.paths), "{census:?}");
    let paths: std::collections::BTreeSet<_> = pairs.iter().map(|pair| party.path_of(pair)).collect();
    assert_eq!(paths.len(), 90);
}

#[test]
fn two_behind_one_address_are_told_apart() {
    let mut party = Party::new(2);
    let home = party.net.add_network(Net::INTERNET, "home", NatBehaviour::port_restricted());
    let pairs = ["one", "other"].map(|name| {
        let guest = party.net.add_host(name, &[home]);
        party.invite(guest, 0)
    });
    party.open(&pairs);
    party.talk(&pairs);
    let paths = pairs.each_ref().map(|pair| party.path_of(pair).remote);
    assert_eq!(paths[0].ip(), paths[1].ip());
    assert_ne!(paths[0].port(), paths[1].port());
}

#[test]
fn strangers_are_dropped_and_counted_and_never_answered() {
    let mut party = Party::new(3);
    let pairs = invite(&mut party, 2, NatBehaviour::none());
    party.open(&pairs);
    party.net.run_for(Duration::from_secs(1));
    party.listen();
    let stranger = party.net.add_host("stranger", &[Net::INTERNET]);
    let from = party.net.socket(stranger, 999);
    let told = party.net.trace().records().len();
    let before = party.hub().census();

    party.inject(from, &[22, 254, 253, 0, 0]);
    party.inject(from, &[0x80; 40]);
    let mut known = check(&party, &pairs[0], None);
    party.inject(from, &known[..30]);
    let at = known.windows(8).position(|window| window.contains(&b':')).unwrap();
    known[at..at + 3].copy_from_slice(b"zzz");
    party.inject(from, &known);
    for class in [Class::Success, Class::Error] {
        let mut buffer = [0; 64];
        let mut writer = MessageWriter::new(&mut buffer, class, Method::BINDING, TransactionId([1; 12]));
        let length = writer.fingerprint().finish().unwrap();
        party.inject(from, &buffer[..length]);
    }
    let drops = HubDrops { strangers: 2, unknown_user: 1, unsolicited: 2, malformed: 1 };
    assert_eq!(party.hub().drops(), drops);
    assert_eq!(party.hub().census(), before);
    let answered = party.net.trace().records()[told..].iter().any(|record| record.path.remote == from);
    assert!(!answered, "{}", party.net.trace());
    party.talk(&pairs);
}

#[test]
fn a_foreign_sender_on_a_check_takes_nobodys_path() {
    let mut party = Party::new(4);
    let pairs = invite(&mut party, 2, NatBehaviour::none());
    party.open(&pairs);
    party.talk(&pairs);
    let [victim, thief] = [pairs[0], pairs[1]];
    let path = party.path_of(&victim);
    // Signed by a peer who is one, but is not there; and by somebody who is none.
    for password in [None, Some("of somebody else, who guesses")] {
        for _ in 0..5 {
            let check = check(&party, &thief, password);
            party.inject(path.remote, &check);
        }
        party.talk_within(&pairs, Duration::from_millis(100));
        assert_eq!(party.path_of(&victim), path);
        assert_ne!(party.path_of(&thief), path);
    }
    // Consent goes on as well.
    party.net.run_for(Duration::from_secs(120));
    party.listen();
    party.talk(&pairs);
}

#[test]
fn an_unsigned_check_from_a_new_address_claims_nothing() {
    let mut party = Party::new(5);
    let pairs = invite(&mut party, 1, NatBehaviour::none());
    party.open(&pairs);
    let stranger = party.net.add_host("stranger", &[Net::INTERNET]);
    let from = party.net.socket(stranger, 999);
    let paths = party.hub().census().paths;
    let unsigned = check(&party, &pairs[0], Some("which is not the password"));
    party.inject(from, &unsigned);
    assert_eq!(party.hub().census().paths, paths);
    let signed = check(&party, &pairs[0], None);
    party.inject(from, &signed);
    assert_eq!(party.hub().census().paths, paths + 1);
}

#[test]
fn a_port_that_a_nat_gives_to_somebody_else_moves_to_him() {
    let mut party = Party::new(6);
    let host = party.net.add_host("address", &[Net::INTERNET]);
    let first = party.invite(host, 7000);
    party.open(&[first]);
    party.talk(&[first]);
    let path = party.path_of(&first);
    // Gone without a word, and the next one has his address and port, while the hub still takes the first for present.
    party.net.stop(host);
    let second = party.invite(host, 7000);
    party.open(&[second]);
    party.talk(&[second]);
    assert_eq!(party.path_of(&second), path);
    party.net.run_for(Duration::from_secs(60));
    party.listen();
    let state = party.hub().get(first.id).unwrap().ice_connection_state();
    assert_ne!(state, IceConnectionState::Connected, "nobody answers its consent checks");
    party.talk(&[second]);
}

#[test]
fn who_has_left_leaves_nothing_and_his_place_is_taken_again() {
    let mut party = Party::new(7);
    let pairs = invite(&mut party, 10, NatBehaviour::full_cone());
    party.open(&pairs);
    let paths = pairs.iter().map(|pair| party.path_of(pair)).collect::<Vec<_>>();
    for pair in &pairs[..5] {
        party.with(pair.id, |hub, now| hub.close(now));
    }
    for pair in &pairs[5..] {
        party.with_guest(pair.guest, |guest, now| guest.close(now));
    }
    party.net.run_for(Duration::from_secs(5));
    party.listen();
    for pair in &pairs {
        assert!(party.told[&pair.id].iter().any(|event| matches!(event, Event::ConnectionStateChanged(state) if *state == sterna_peer::ConnectionState::Closed)));
        party.with(pair.id, |hub, now| hub.close(now));
    }
    party.net.run_for(Duration::from_secs(1));
    party.listen();
    let census = party.hub().census();
    assert_eq!(Census { questions: 0, ..census }, Census { connections: 10, ..Census::default() });
    assert_eq!(party.hub().poll_timeout(), None);
    let host = party.host;
    for pair in &pairs {
        party.net.with(host, |hub: &mut Hub, _| {
            assert!(hub.get(pair.id).unwrap().is_finished());
            assert!(hub.remove(pair.id).is_some() && hub.remove(pair.id).is_none());
        });
    }
    let strangers = party.hub().drops().strangers;
    party.inject(paths[0].remote, &[23, 254, 253, 0]);
    assert_eq!(party.hub().drops().strangers, strangers + 1);

    let again = invite(&mut party, 10, NatBehaviour::full_cone());
    assert!(again.iter().all(|pair| party.hub().get(pair.id).is_some()));
    assert!(pairs.iter().all(|pair| party.hub().get(pair.id).is_none()), "names are not used again");
    party.open(&again);
    party.talk(&again);
}

#[test]
fn a_restart_of_ice_is_heard_by_its_new_name() {
    let mut party = Party::new(8);
    let pairs = invite(&mut party, 3, NatBehaviour::symmetric());
    party.open(&pairs);
    for round in 0..4 {
        let before = credentials(&party.hub().get(pairs[0].id).unwrap().local_description().unwrap());
        party.with_guest(pairs[0].guest, |guest, now| guest.restart_ice(now));
        party.negotiate(pairs[0].guest, pairs[0].id);
        party.net.run_for(Duration::from_secs(5));
        party.listen();
        let after = credentials(&party.hub().get(pairs[0].id).unwrap().local_description().unwrap());
        assert_ne!(before.0, after.0);
        party.talk(&pairs);
        let census = party.hub().census();
        assert!(
            census.ufrags <= 4,
            "round {round}: the latest and the one before, and of others one: {census:?}"
        );
    }
}

#[test]
fn there_are_no_more_than_there_may_be() {
    let mut hub = Hub::new(HubConfig { max_connections: 2, ..HubConfig::new(Seed::from(1)) });
    let make = || Connection::new(Time::ZERO, Configuration::new(Seed::from(1), party::certificate()));
    let ids = [(); 2].map(|()| hub.insert(Time::ZERO, make()).ok().unwrap());
    assert!(hub.insert(Time::ZERO, make()).is_err());
    assert!(hub.remove(ids[0]).is_some());
    let id = hub.insert(Time::ZERO, make()).ok().unwrap();
    assert_ne!(id, ids[0]);
    assert!(hub.get(ids[0]).is_none() && hub.get(id).is_some());
}

#[test]
fn who_is_idle_sends_consent_checks_and_nothing_else() {
    let mut party = Party::new(9);
    let pairs = invite(&mut party, 20, NatBehaviour::none());
    party.open(&pairs);
    party.net.run_for(Duration::from_secs(60));
    party.listen();
    let (packets, steps) = (party.net.packets(), party.net.steps());
    let minutes = 10;
    party.net.run_for(Duration::from_secs(60 * minutes));
    let each = |count: u64| count as f64 / (20 * minutes) as f64;
    let (packets, steps) = (each(party.net.packets() - packets), each(party.net.steps() - steps));
    // A check every 5 seconds on average from either end (RFC 7675 §5.1), and its answer: 48 a minute.
    println!("{packets:.1} packets and {steps:.1} steps of the network per connection and minute");
    assert!(packets < 52.0, "{packets} packets a minute");
}

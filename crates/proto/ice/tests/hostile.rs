//! Strangers, forgers and floods.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use netsim::{Hostile, Limits, NatBehaviour, Net};
use sansio::{Batches, Datagram, Machine, Path, SocketOp, SocketReply, Time};
use sterna_ice::{Agent, Config, Interface, State};
use stun::{Class, Key, Message, MessageWriter, Method, TransactionId, kind};
use world::{A, B, Plan, World, seed};

/// A check as `from` would sign it.
fn check(username: &str, password: &str, use_candidate: bool) -> Vec<u8> {
    let mut buffer = vec![0; 400];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([7; 12]));
    writer.string(kind::USERNAME, username).u32(kind::PRIORITY, 1 << 30).u64(kind::ICE_CONTROLLING, u64::MAX);
    if use_candidate {
        writer.flag(kind::USE_CANDIDATE);
    }
    let length = writer.integrity(&Key::short_term(password)).fingerprint().finish().unwrap();
    buffer.truncate(length);
    buffer
}

/// A check that carries these packets of a handshake, before its signature or behind it, where nothing counts.
fn carrying(username: &str, password: Option<&str>, packets: &[&[u8]], behind: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 4000];
    let id = TransactionId(*crypto::seed().first_chunk().expect("32 bytes"));
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, id);
    writer.string(kind::USERNAME, username).u32(kind::PRIORITY, 1 << 30).u64(kind::ICE_CONTROLLING, u64::MAX);
    for packet in packets {
        writer.raw(kind::META_DTLS_IN_STUN, packet);
    }
    if let Some(password) = password {
        writer.integrity(&Key::short_term(password));
    }
    if !behind.is_empty() {
        writer.raw(kind::META_DTLS_IN_STUN, behind);
    }
    let length = writer.fingerprint().finish().unwrap();
    buffer.truncate(length);
    buffer
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Two agents with one socket each, and the wire in the test's hands.
struct Pair {
    agents: [Agent; 2],
    now: Time,
    wire: Vec<(usize, Path, Vec<u8>)>,
    inbox: [Vec<Vec<u8>>; 2],
}

const ADDRESSES: [&str; 2] = ["192.0.2.1:5000", "192.0.2.2:5000"];

impl Pair {
    fn new(number: u64) -> Self {
        let agents = [A, B].map(|side| {
            let config = Config { controlling: side == A, ..Config::new(seed(number * 2 + side as u64)) };
            let mut agent = Agent::new(Time::ZERO, config);
            let local = address(ADDRESSES[side]);
            agent.gather(Time::ZERO, &[Interface::new("eth0", local.ip())]);
            while let Some(op) = agent.poll_socket() {
                if let SocketOp::Bind { ticket, .. } = op {
                    agent.handle_socket(Time::ZERO, SocketReply::Bound { ticket, local });
                }
            }
            agent
        });
        let mut pair = Self { agents, now: Time::ZERO, wire: Vec::new(), inbox: Default::default() };
        for (from, to) in [(A, B), (B, A)] {
            let credentials = pair.agents[from].local_credentials().clone();
            let candidates: Vec<_> = pair.agents[from].local_candidates().cloned().collect();
            let agent = &mut pair.agents[to];
            agent.set_remote_credentials(pair.now, credentials);
            candidates.into_iter().for_each(|candidate| agent.add_remote_candidate(Time::ZERO, candidate));
        }
        pair
    }

    /// What a side sends now goes onto the wire.
    fn collect(&mut self, side: usize) {
        let mut out = Batches::new(1 << 16);
        self.agents[side].handle_timeout(self.now);
        self.agents[side].poll_transmit(self.now, &mut out);
        self.take(side, out);
    }

    fn take(&mut self, side: usize, mut out: Batches) {
        while let Some(batch) = out.pop() {
            for bytes in batch.datagrams() {
                self.wire.push((side, batch.path, bytes.to_vec()));
            }
        }
    }

    /// Delivers the packets that a side sent, for which `keep` returns true; the others are lost.
    fn deliver(&mut self, from: usize, keep: impl Fn(&[u8]) -> bool) {
        let (ours, others) = std::mem::take(&mut self.wire).into_iter().partition(|(side, ..)| *side == from);
        self.wire = others;
        let ours: Vec<(usize, Path, Vec<u8>)> = ours;
        for (_, path, bytes) in ours {
            if keep(&bytes) {
                self.receive(1 - from, path.reversed(), bytes);
            }
        }
    }

    fn receive(&mut self, side: usize, from: Path, mut bytes: Vec<u8>) {
        let mut out = Batches::new(1 << 16);
        let inbox = &mut self.inbox[side];
        let datagram = Datagram { from, payload: &mut bytes };
        self.agents[side].open(self.now, datagram, &mut out, &mut |bytes| inbox.push(bytes.to_vec()));
        self.take(side, out);
    }

    fn send(&mut self, side: usize, bytes: &[u8]) {
        use sansio::Outbox;
        let mut out = Batches::new(1 << 16);
        assert!(self.agents[side].lane(&mut out).expect("a path").send_bytes((), bytes));
        self.take(side, out);
    }
}

fn is_request(bytes: &[u8]) -> bool {
    Message::parse(bytes).is_ok_and(|message| message.class() == Class::Request)
}

#[test]
fn early_bytes_of_the_peer_are_held_and_delivered_in_order_when_its_path_is_valid() {
    let mut pair = Pair::new(1);
    pair.collect(A);
    // B's own first check is lost; A's comes through and is answered.
    pair.collect(B);
    pair.deliver(B, |_| false);
    pair.deliver(A, |_| true);
    pair.deliver(B, |bytes| !is_request(bytes));
    assert_eq!(pair.agents[A].state(), State::Connected);
    for number in 0..5 {
        pair.send(A, &[22, number]);
    }
    pair.deliver(A, |bytes| !is_request(bytes));
    assert!(pair.inbox[B].is_empty(), "not before B's own check is answered");
    // B's triggered check gets through.
    pair.collect(B);
    pair.deliver(B, |_| true);
    pair.deliver(A, |_| true);
    assert_eq!(pair.inbox[B], (0..5).map(|number| vec![22, number]).collect::<Vec<_>>());
    assert_eq!(pair.agents[B].report().drops.unvalidated, 0);
}

#[test]
fn bytes_from_elsewhere_are_dropped_before_and_after() {
    let mut pair = Pair::new(2);
    let elsewhere = Path::udp(address(ADDRESSES[B]), address("192.0.2.66:5000"));
    let before_any_check = Path::udp(address(ADDRESSES[B]), address(ADDRESSES[A]));
    pair.receive(B, elsewhere, vec![22; 50]);
    pair.receive(B, before_any_check, vec![22; 50]);
    for _ in 0..4 {
        for side in [A, B] {
            pair.collect(side);
            pair.deliver(side, |_| true);
        }
    }
    assert_eq!(pair.agents[B].state(), State::Completed);
    pair.receive(B, elsewhere, vec![22; 50]);
    pair.receive(B, Path::udp(address(ADDRESSES[B]), address("192.0.2.1:5001")), vec![22; 50]);
    assert!(pair.inbox[B].is_empty());
    assert_eq!(pair.agents[B].report().drops.unvalidated, 4);
    pair.send(A, &[22; 50]);
    pair.deliver(A, |_| true);
    assert_eq!(pair.inbox[B], [vec![22; 50]]);
}

#[test]
fn forged_checks_do_nothing() {
    let mut pair = Pair::new(3);
    let (ours, theirs) =
        (pair.agents[B].local_credentials().clone(), pair.agents[A].local_credentials().clone());
    let from = Path::udp(address(ADDRESSES[B]), address("192.0.2.66:6000"));
    let good = format!("{}:{}", ours.ufrag, theirs.ufrag);
    let report = |pair: &Pair| {
        let report = pair.agents[B].report();
        (report.pairs, report.remote, report.state, report.controlling)
    };
    let before = report(&pair);
    pair.wire.clear();
    for (username, password) in [
        (good.as_str(), "wrong password, wrong password"),
        ("nobody:nobody", ours.pwd.as_str()),
        (ours.ufrag.as_str(), ours.pwd.as_str()),
        ("", ours.pwd.as_str()),
    ] {
        let forged = check(username, password, true);
        pair.receive(B, from, forged.clone());
        pair.receive(B, Path::udp(address(ADDRESSES[B]), address(ADDRESSES[A])), forged.clone());
        assert_eq!(report(&pair), before, "{username}");
        for (_, path, answer) in std::mem::take(&mut pair.wire) {
            assert!(answer.len() <= forged.len(), "no more than was sent goes to {path}");
            let answer = Message::parse(&answer).unwrap();
            assert_eq!(answer.class(), Class::Error);
            assert!(answer.integrity().is_none());
        }
    }
    // And bytes from there are not held either.
    pair.receive(B, from, vec![22; 50]);
    assert_eq!(pair.agents[B].report().drops.unvalidated, 1);
    // Damage: a bit anywhere makes a good check nothing.
    let real = check(&good, &ours.pwd, false);
    for at in 0..real.len() {
        let mut damaged = real.clone();
        damaged[at] ^= 1;
        pair.receive(B, from, damaged);
        pair.wire.clear();
    }
    assert_eq!(report(&pair), before);
    // The undamaged one counts.
    pair.receive(B, from, real);
    assert_ne!(report(&pair), before);
}

#[test]
fn only_what_the_other_side_has_signed_is_taken_out_of_a_check() {
    let mut pair = Pair::new(8);
    let (ours, theirs) =
        (pair.agents[B].local_credentials().clone(), pair.agents[A].local_credentials().clone());
    let good = format!("{}:{}", ours.ufrag, theirs.ufrag);
    let hello = [22, 0xfe, 0xfd, 1, 2, 3];
    let from = Path::udp(address(ADDRESSES[B]), address("192.0.2.66:6000"));
    let mut bring = |check: Vec<u8>| {
        pair.receive(B, from, check);
        pair.wire.clear();
        std::iter::from_fn(|| pair.agents[B].poll_embedded()).collect::<Vec<_>>()
    };
    let signed = |packets: &[&[u8]]| carrying(&good, Some(&ours.pwd), packets, &[]);
    // Nobody has agreed to it.
    assert!(bring(signed(&[&hello])).is_empty());
    pair.agents[B].start_embedding(&theirs.ufrag);
    let mut bring = |check: Vec<u8>| {
        pair.receive(B, from, check);
        pair.wire.clear();
        std::iter::from_fn(|| pair.agents[B].poll_embedded()).collect::<Vec<_>>()
    };
    for (username, password, behind) in [
        (good.as_str(), None, &[][..]),
        (&good, Some("wrong password, wrong password"), &[]),
        ("nobody:nobody", Some(ours.pwd.as_str()), &[]),
    ] {
        assert!(
            bring(carrying(username, password, &[&hello], behind)).is_empty(),
            "{username}, {password:?}"
        );
    }
    // Behind the signature anybody on the way can write.
    assert!(bring(carrying(&good, Some(&ours.pwd), &[&[]], &hello)).is_empty());
    // Too large, and no DTLS: dropped. Two at once contradict each other: the first counts.
    assert!(bring(signed(&[&[22; 1300]])).is_empty());
    assert!(bring(signed(&[b"GET / HTTP/1.1"])).is_empty());
    assert_eq!(bring(signed(&[&hello, &[22; 50]])), [hello.to_vec()]);
    assert!(bring(signed(&[&hello])).is_empty(), "each comes once");
}

#[test]
fn forged_answers_do_nothing() {
    let mut pair = Pair::new(4);
    pair.collect(A);
    let (_, path, request) = pair.wire[0].clone();
    let request = Message::parse(&request).unwrap();
    let before = pair.agents[A].state();
    for (class, code) in [(Class::Success, 0), (Class::Error, 487), (Class::Error, 400), (Class::Error, 403)]
    {
        for key in [None, Some(Key::short_term("wrong password, wrong password"))] {
            let mut buffer = vec![0; 200];
            let mut writer = MessageWriter::answer(&mut buffer, class, &request);
            if class == Class::Success {
                writer.xor_address(kind::XOR_MAPPED_ADDRESS, address(ADDRESSES[A]));
            } else {
                writer.error(code);
            }
            if let Some(key) = &key {
                writer.integrity(key);
            }
            let length = writer.fingerprint().finish().unwrap();
            buffer.truncate(length);
            pair.receive(A, path.reversed(), buffer);
            let report = pair.agents[A].report();
            assert_eq!(
                (report.state, report.controlling, report.pairs[0].state),
                (before, true, sterna_ice::PairState::InProgress)
            );
        }
    }
    // The real answer still counts.
    pair.deliver(A, |_| true);
    pair.deliver(B, |_| true);
    assert_eq!(pair.agents[A].state(), State::Connected);
}

#[test]
fn an_answer_by_another_way_fails_the_pair() {
    let mut pair = Pair::new(5);
    pair.collect(A);
    pair.deliver(A, |_| true);
    let (_, path, answer) = pair.wire.iter().find(|(side, ..)| *side == B).cloned().unwrap();
    // Signed by the peer, but from where nothing was sent to (RFC 8445 §7.2.5.2.1).
    let elsewhere = Path::udp(path.remote, address("192.0.2.66:6000"));
    pair.receive(A, elsewhere, answer);
    let report = pair.agents[A].report();
    assert_eq!(report.pairs[0].state, sterna_ice::PairState::Failed);
    assert_eq!(report.pairs[0].error, Some(sterna_ice::PairError::NonSymmetric));
}

#[test]
fn what_has_to_be_understood_and_is_not_is_answered_with_420() {
    let mut pair = Pair::new(6);
    let credentials = pair.agents[B].local_credentials().clone();
    let username = format!("{}:{}", credentials.ufrag, pair.agents[A].local_credentials().ufrag);
    let mut buffer = vec![0; 400];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([7; 12]));
    writer.string(kind::USERNAME, &username).u32(stun::AttributeKind(0x7777), 1);
    let length = writer.integrity(&Key::short_term(&credentials.pwd)).fingerprint().finish().unwrap();
    buffer.truncate(length);
    pair.wire.clear();
    pair.receive(B, Path::udp(address(ADDRESSES[B]), address(ADDRESSES[A])), buffer);
    let (_, _, answer) = &pair.wire[0];
    let answer = Message::parse(answer).unwrap();
    assert_eq!(answer.error_code().unwrap().code, 420);
    assert_eq!(&*answer.unknown_attributes().unwrap(), &[0x7777]);
    assert!(answer.check_integrity(&Key::short_term(&credentials.pwd)).is_ok());
}

#[test]
fn hostile_bytes_cause_no_panic_no_growth_and_bounded_answers() {
    for number in 0..20 {
        let mut pair = Pair::new(100 + number);
        let ufrags = [A, B].map(|side| pair.agents[side].local_credentials().clone());
        let good = check(
            &format!("{}:{}", ufrags[B].ufrag, ufrags[A].ufrag),
            "wrong password, wrong password",
            true,
        );
        pair.collect(A);
        pair.collect(B);
        let mut samples: Vec<Vec<u8>> = pair.wire.iter().map(|(_, _, bytes)| bytes.clone()).collect();
        samples.push(good);
        let paths = [
            Path::udp(address(ADDRESSES[B]), address(ADDRESSES[A])),
            Path::udp(address(ADDRESSES[B]), address("192.0.2.66:6000")),
            Path::udp(address("192.0.2.77:1"), address(ADDRESSES[A])),
        ];
        let limits = Limits { datagrams: 2, ..Limits::default() };
        let mut hostile = Hostile::new(number).with_samples(samples);
        hostile.assault(&mut pair.agents[B], Time::ZERO, &paths, 3000, limits);
        let report = pair.agents[B].report();
        assert!(report.pairs.len() <= 2 && report.remote.len() <= 2);
        // It works as before.
        pair.wire.clear();
        pair.now += Duration::from_millis(500);
        for _ in 0..6 {
            for side in [A, B] {
                pair.collect(side);
                pair.deliver(side, |_| true);
            }
            pair.now += Duration::from_millis(500);
        }
        assert_eq!([A, B].map(|side| pair.agents[side].state()), [State::Completed; 2]);
    }
}

#[test]
fn a_peer_that_checks_from_everywhere_is_bounded() {
    let mut pair = Pair::new(7);
    let credentials = pair.agents[B].local_credentials().clone();
    let username = format!("{}:{}", credentials.ufrag, pair.agents[A].local_credentials().ufrag);
    for number in 0..2000u32 {
        let remote = SocketAddr::from(([198, 51, (number >> 8) as u8, number as u8], 7));
        let good = check(&username, &credentials.pwd, false);
        pair.receive(B, Path::udp(address(ADDRESSES[B]), remote), good);
    }
    let report = pair.agents[B].report();
    assert!(report.pairs.len() <= 100 && report.remote.len() <= 100);
    assert!(report.drops.over_limit >= 1900);
}

#[test]
fn a_stranger_on_the_network_cannot_disturb_a_connection() {
    for seed in 0..20 {
        let mut world = World::new(Plan::nats(seed, [NatBehaviour::full_cone(); 2]));
        world.connect(10.0);
        let victim = world.agent(A).selected().unwrap().local.address.ip().unwrap();
        let peer = world.agent(A).selected().unwrap().remote.address.ip().unwrap();
        let ufrags = [A, B].map(|side| world.agent(side).local_credentials().ufrag.clone());
        for number in 0..200u16 {
            // As if from the peer, and as if from anywhere.
            let from = if number % 2 == 0 { peer } else { SocketAddr::from(([5, 0, 0, 99], number + 1)) };
            let path = Path::udp(from, victim);
            let forged =
                check(&format!("{}:{}", ufrags[A], ufrags[B]), "wrong password, wrong password", true);
            world.net.inject(Net::INTERNET, path, &forged);
            if number % 2 == 1 {
                world.net.inject(Net::INTERNET, path, &[22; 100]);
            }
        }
        world.exchange();
        assert_eq!(world.agent(A).state(), State::Completed);
        assert_eq!(world.peer(A).agent.report().drops.unvalidated, 100);
    }
}

#[test]
fn a_machine_that_is_closed_stays_quiet() {
    let mut pair = Pair::new(8);
    pair.agents[B].close(pair.now);
    let mut out = Batches::new(1 << 16);
    pair.agents[B].poll_transmit(pair.now, &mut out);
    assert!(out.is_empty());
    pair.collect(A);
    pair.deliver(A, |_| true);
    assert!(pair.wire.iter().all(|(side, ..)| *side == A));
    assert_eq!(pair.agents[B].poll_timeout(), None);
}

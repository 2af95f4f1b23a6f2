//! Peers that are written otherwise than we are: a hand-made one, whose every packet the test decides.

mod world;

use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Batches, Datagram, Machine, Path, SocketOp, SocketReply, Time};
use sterna_ice::{Agent, Config, Credentials, Event, Interface, State};
use stun::{Class, Key, Message, MessageWriter, Method, TransactionId, kind};
use world::seed;

const LOCAL: &str = "192.0.2.1:5000";
const PASSWORD: &str = "the-password-of-the-peer";

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The agent under test, and a peer that is made of addresses.
struct Bench {
    agent: Agent,
    now: Time,
    /// Requests of the agent that have not been answered, by destination.
    requests: Vec<(SocketAddr, Vec<u8>)>,
    answers: Vec<(SocketAddr, Vec<u8>)>,
    next: u8,
}

impl Bench {
    fn new(controlling: bool, candidates: &[&str]) -> Self {
        let mut agent = Agent::new(Time::ZERO, Config { controlling, ..Config::new(seed(1)) });
        agent.gather(Time::ZERO, &[Interface::new("eth0", address(LOCAL).ip())]);
        while let Some(op) = agent.poll_socket() {
            if let SocketOp::Bind { ticket, .. } = op {
                agent.handle_socket(Time::ZERO, SocketReply::Bound { ticket, local: address(LOCAL) });
            }
        }
        agent.set_remote_credentials(Time::ZERO, Credentials::new("peer", PASSWORD).unwrap());
        for line in candidates {
            agent.add_remote_candidate(Time::ZERO, line.parse().unwrap());
        }
        let mut bench = Self { agent, now: Time::ZERO, requests: Vec::new(), answers: Vec::new(), next: 0 };
        bench.turn();
        bench
    }

    fn turn(&mut self) {
        let mut out = Batches::new(1 << 16);
        self.agent.handle_timeout(self.now);
        self.agent.poll_transmit(self.now, &mut out);
        self.take(out);
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.turn();
    }

    fn take(&mut self, mut out: Batches) {
        while let Some(batch) = out.pop() {
            for bytes in batch.datagrams() {
                let request = Message::parse(bytes).unwrap().class() == Class::Request;
                let list = if request { &mut self.requests } else { &mut self.answers };
                list.push((batch.path.remote, bytes.to_vec()));
            }
        }
    }

    fn receive(&mut self, from: &str, mut bytes: Vec<u8>) {
        let mut out = Batches::new(1 << 16);
        let from = Path::udp(address(LOCAL), address(from));
        self.agent.handle_datagram(self.now, Datagram { from, payload: &mut bytes }, &mut out);
        self.take(out);
        self.turn();
    }

    /// What is delivered of an application's packet.
    fn deliver(&mut self, from: &str, packet: &[u8]) -> Vec<Vec<u8>> {
        let (mut delivered, mut out) = (Vec::new(), Batches::new(1 << 16));
        let from = Path::udp(address(LOCAL), address(from));
        let datagram = Datagram { from, payload: &mut packet.to_vec() };
        self.agent.open(self.now, datagram, &mut out, &mut |bytes| delivered.push(bytes.to_vec()));
        delivered
    }

    /// A check of the peer, which takes the role that the agent does not have unless told.
    fn check(&mut self, from: &str, use_candidate: bool, controlling: bool, tiebreaker: u64) {
        let ours = self.agent.local_credentials().clone();
        let mut buffer = vec![0; 400];
        self.next += 1;
        let id = TransactionId([self.next; 12]);
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, id);
        writer.string(kind::USERNAME, &format!("{}:peer", ours.ufrag)).u32(kind::PRIORITY, 1000);
        writer.u64(if controlling { kind::ICE_CONTROLLING } else { kind::ICE_CONTROLLED }, tiebreaker);
        if use_candidate {
            writer.flag(kind::USE_CANDIDATE);
        }
        let length = writer.integrity(&Key::short_term(&ours.pwd)).fingerprint().finish().unwrap();
        buffer.truncate(length);
        self.receive(from, buffer);
    }

    /// Answers the agent's last request to this address, and those before it there.
    fn answer(&mut self, to: &str, class: Class, code: u16) {
        let (ours, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.requests).into_iter().partition(|(remote, _)| *remote == address(to));
        self.requests = others;
        assert!(!ours.is_empty(), "no check went to {to}");
        for (_, request) in ours {
            let request = Message::parse(&request).unwrap();
            let mut buffer = vec![0; 200];
            let mut writer = MessageWriter::answer(&mut buffer, class, &request);
            match class {
                Class::Success => writer.xor_address(kind::XOR_MAPPED_ADDRESS, address(LOCAL)),
                _ => writer.error(code),
            };
            let length = writer.integrity(&Key::short_term(PASSWORD)).fingerprint().finish().unwrap();
            buffer.truncate(length);
            self.receive(to, buffer);
        }
    }

    fn selected(&self) -> Option<SocketAddr> {
        self.agent.selected().filter(|pair| pair.nominated).and_then(|pair| pair.remote.address.ip())
    }
}

const HIGH: &str = "192.0.2.9:1";
const MIDDLE: &str = "192.0.2.9:2";
const LOW: &str = "192.0.2.9:3";
const CANDIDATES: [&str; 3] = [
    "1 1 udp 3000 192.0.2.9 1 typ host",
    "2 1 udp 2000 192.0.2.9 2 typ host",
    "3 1 udp 1000 192.0.2.9 3 typ host",
];

#[test]
fn of_several_nominations_the_best_counts_whatever_their_order() {
    let mut bench = Bench::new(false, &CANDIDATES);
    bench.wait(50);
    bench.wait(50);
    bench.check(MIDDLE, true, true, 5);
    bench.answer(MIDDLE, Class::Success, 0);
    assert_eq!(bench.selected(), Some(address(MIDDLE)));
    // RFC 8445 §8.1.1: "use the pairs with the highest priority".
    bench.check(LOW, true, true, 5);
    let checked = bench.requests.iter().any(|(to, _)| *to == address(LOW));
    if checked {
        bench.answer(LOW, Class::Success, 0);
    }
    assert_eq!(bench.selected(), Some(address(MIDDLE)), "never a worse one");
    bench.check(HIGH, true, true, 5);
    bench.answer(HIGH, Class::Success, 0);
    assert_eq!(bench.selected(), Some(address(HIGH)));
    // A late answer of the worse one changes nothing.
    bench.check(MIDDLE, true, true, 5);
    assert_eq!(bench.selected(), Some(address(HIGH)));
}

#[test]
fn who_insists_on_a_worse_pair_gets_it_and_is_heard_there_from_the_first_nomination() {
    // libwebrtc selects by round-trip times and networks, and changes its mind in the first second.
    let mut bench = Bench::new(false, &CANDIDATES);
    bench.check(HIGH, true, true, 5);
    bench.answer(HIGH, Class::Success, 0);
    assert_eq!(bench.selected(), Some(address(HIGH)));
    bench.check(LOW, true, true, 5);
    bench.answer(LOW, Class::Success, 0);
    assert_eq!(bench.selected(), Some(address(HIGH)), "one may be an aggressive nomination, or late");
    assert_eq!(bench.deliver(LOW, &[20, 1, 2, 3]), [[20, 1, 2, 3]]);
    bench.check(LOW, true, true, 5);
    assert_eq!(bench.selected(), Some(address(LOW)));
    assert_eq!(bench.deliver(HIGH, &[20, 4]), [[20, 4]], "what is still on its way arrives");
    // Back again, and the better one needs to be asked for but once.
    bench.check(HIGH, true, true, 5);
    assert_eq!(bench.selected(), Some(address(HIGH)));
}

#[test]
fn a_selected_pair_that_has_gone_silent_gives_way() {
    let mut bench = Bench::new(false, &CANDIDATES);
    bench.check(HIGH, true, true, 5);
    bench.answer(HIGH, Class::Success, 0);
    assert_eq!(bench.selected(), Some(address(HIGH)));
    for _ in 0..110 {
        bench.wait(100);
    }
    assert_eq!(bench.agent.state(), State::Disconnected);
    bench.check(MIDDLE, true, true, 5);
    bench.answer(MIDDLE, Class::Success, 0);
    assert_eq!((bench.selected(), bench.agent.state()), (Some(address(MIDDLE)), State::Completed));
}

#[test]
fn the_controlling_agent_nominates_once_and_with_the_best() {
    let mut bench = Bench::new(true, &CANDIDATES);
    for _ in 0..3 {
        bench.wait(50);
    }
    bench.answer(LOW, Class::Success, 0);
    assert_eq!(bench.agent.state(), State::Connected);
    bench.wait(10);
    bench.answer(HIGH, Class::Success, 0);
    let nominations = |bench: &Bench| {
        let nominates = |bytes: &[u8]| Message::parse(bytes).unwrap().use_candidate();
        bench.requests.iter().filter(|(_, bytes)| nominates(bytes)).map(|(to, _)| *to).collect::<Vec<_>>()
    };
    // At once: nothing can be better.
    assert_eq!(nominations(&bench), [address(HIGH)]);
    bench.answer(HIGH, Class::Success, 0);
    assert_eq!(bench.selected(), Some(address(HIGH)));
    bench.requests.clear();
    for _ in 0..600 {
        bench.wait(100);
        assert_eq!(nominations(&bench), []);
        if bench.requests.iter().any(|(to, _)| *to == address(HIGH)) {
            bench.answer(HIGH, Class::Success, 0);
        }
        assert!(bench.requests.is_empty(), "only consent checks of the selected pair");
    }
}

#[test]
fn role_conflicts_are_answered_and_obeyed() {
    // We control, and so says the peer, with a smaller and with a greater tie-breaker.
    let mut bench = Bench::new(true, &CANDIDATES);
    bench.check(HIGH, false, true, 0);
    let (_, answer) = bench.answers.pop().unwrap();
    assert_eq!(Message::parse(&answer).unwrap().error_code().unwrap().code, 487);
    assert!(bench.agent.is_controlling());
    bench.check(HIGH, false, true, u64::MAX);
    let (_, answer) = bench.answers.pop().unwrap();
    assert_eq!(Message::parse(&answer).unwrap().class(), Class::Success);
    assert!(!bench.agent.is_controlling());

    // A 487 makes us change, with another tie-breaker, and check again at once.
    let mut bench = Bench::new(true, &CANDIDATES);
    let tiebreaker = |bytes: &[u8]| {
        let message = Message::parse(bytes).unwrap();
        (message.ice_controlling(), message.ice_controlled())
    };
    let (before, _) = tiebreaker(&bench.requests[0].1);
    bench.answer(HIGH, Class::Error, 487);
    assert!(!bench.agent.is_controlling());
    let again = bench.requests.iter().rev().find(|(to, _)| *to == address(HIGH)).unwrap();
    let (none, after) = tiebreaker(&again.1);
    assert!(none.is_none() && after.is_some() && after != before);
    // A second 487 to a check that was made in the old role changes nothing.
    let mut events = 0;
    while let Some(event) = bench.agent.poll_event() {
        events += usize::from(matches!(event, Event::RoleChanged(false)));
    }
    assert_eq!(events, 1);
}

#[test]
fn consent_can_be_taken_back() {
    let mut bench = Bench::new(true, &CANDIDATES[..1]);
    bench.answer(HIGH, Class::Success, 0);
    bench.answer(HIGH, Class::Success, 0);
    assert_eq!(bench.agent.state(), State::Completed);
    bench.requests.clear();
    while bench.requests.is_empty() {
        bench.wait(100);
    }
    // RFC 7675 §5.2.
    bench.answer(HIGH, Class::Error, 403);
    assert_eq!(bench.agent.state(), State::Failed);
    let mut out = Batches::new(1 << 16);
    assert!(bench.agent.lane(&mut out).is_none());
}

#[test]
fn consent_checks_come_every_four_to_six_seconds_and_are_never_repeated() {
    let mut bench = Bench::new(true, &CANDIDATES[..1]);
    bench.answer(HIGH, Class::Success, 0);
    bench.answer(HIGH, Class::Success, 0);
    bench.requests.clear();
    let mut last = bench.now;
    for _ in 0..50 {
        while bench.requests.is_empty() {
            bench.wait(10);
        }
        let pause = (bench.now - last).as_millis();
        assert!((3990..=6010).contains(&pause), "{pause}");
        last = bench.now;
        assert_eq!(bench.requests.len(), 1);
        bench.answer(HIGH, Class::Success, 0);
    }
}

#[test]
fn sha_256_is_answered_with_sha_256() {
    let mut bench = Bench::new(true, &CANDIDATES[..1]);
    let ours = bench.agent.local_credentials().clone();
    let mut buffer = vec![0; 400];
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([9; 12]));
    writer.string(kind::USERNAME, &format!("{}:peer", ours.ufrag)).u32(kind::PRIORITY, 1000);
    let key = Key::short_term(&ours.pwd);
    let length = writer.integrity_sha256(&key).fingerprint().finish().unwrap();
    buffer.truncate(length);
    bench.receive(HIGH, buffer);
    let (_, answer) = bench.answers.pop().unwrap();
    let answer = Message::parse(&answer).unwrap();
    assert_eq!(answer.integrity(), Some(stun::Integrity::Sha256));
    assert!(answer.check_integrity(&key).is_ok());
}

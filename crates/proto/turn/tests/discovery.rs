//! What the network says of its relays, and what follows from it (RFC 8155, RFC 5928).

use std::collections::BTreeMap;
use std::net::SocketAddr;

use proptest::prelude::*;
use sansio::{Seed, Transport};
use sterna_turn::discovery::{Config, Discovery, Found, Question, Record, RecordKind, Relay, Wanted};

/// A DNS: what stands at which name.
#[derive(Default)]
struct Zone(BTreeMap<Question, Vec<Record>>);

impl Zone {
    fn with(mut self, name: &str, kind: RecordKind, record: Record) -> Self {
        self.0.entry(Question::dns(name, kind)).or_default().push(record);
        self
    }

    fn naptr(self, name: &str, order: u16, flags: &str, services: &str, replacement: &str) -> Self {
        let [flags, services, replacement] = [flags, services, replacement].map(str::to_owned);
        let record =
            Record::Naptr { order, preference: 10, flags, services, regexp: String::new(), replacement };
        self.with(name, RecordKind::Naptr, record)
    }

    fn srv(self, name: &str, priority: u16, weight: u16, port: u16, target: &str) -> Self {
        self.with(name, RecordKind::Srv, Record::Srv { priority, weight, port, target: target.to_owned() })
    }

    fn instance(self, service: &str, instance: &str) -> Self {
        self.with(service, RecordKind::Ptr, Record::Ptr(instance.to_owned()))
    }

    /// Answers until nothing is left to ask.
    fn answer(&self, discovery: &mut Discovery) -> usize {
        let mut asked = 0;
        while let Some(question) = discovery.poll_question() {
            asked += 1;
            discovery.handle_answer(&question, self.0.get(&question).cloned().unwrap_or_default());
        }
        assert!(discovery.is_finished());
        asked
    }

    fn relays(&self, config: Config) -> Vec<Relay> {
        let mut discovery = Discovery::new(config);
        self.answer(&mut discovery);
        discovery.relays()
    }
}

fn of(domain: &str) -> Config {
    Config { domains: vec![domain.to_owned()], ..Config::new(Seed::from(1)) }
}

fn urls(relays: &[Relay]) -> Vec<String> {
    relays.iter().map(Relay::url).collect()
}

/// Figure 1 of RFC 5928 §4.1.
fn figure_1() -> Zone {
    Zone::default()
        .naptr("example.net", 100, "", "RELAY:turn.udp", "datagram.example.net.")
        .naptr("example.net", 200, "", "RELAY:turn.tcp:turn.tls", "stream.example.net.")
        .naptr("datagram.example.net", 100, "S", "RELAY:turn.udp", "_turn._udp.example.net")
        .naptr("stream.example.net", 100, "S", "RELAY:turn.tcp", "_turn._tcp.example.net")
        .naptr("stream.example.net", 200, "A", "RELAY:turn.tls", "a.example.net")
        .srv("_turn._udp.example.net", 0, 0, 3478, "a.example.net.")
        .srv("_turn._tcp.example.net", 0, 0, 5000, "a.example.net")
}

/// Table 2 of RFC 5928 §4.1.
const TABLE_2: [&str; 3] = [
    "turn:a.example.net:3478?transport=udp",
    "turns:a.example.net:5349?transport=tcp",
    "turn:a.example.net:5000?transport=tcp",
];

#[test]
fn the_examples_of_rfc_5928_come_out_as_printed() {
    let preferred = vec![Transport::Tls, Transport::Tcp, Transport::Udp];
    let relays = figure_1().relays(Config { transports: preferred.clone(), ..of("example.net") });
    assert_eq!(urls(&relays), TABLE_2);
    assert!(relays.iter().all(|relay| relay.identity == "example.net" && relay.found == Found::Dns));
    // Figure 2: remote hosting.
    let zone = figure_1().naptr("example.com", 100, "", "RELAY:turn.udp:turn.tcp:turn.tls", "example.net");
    let relays = zone.relays(Config { transports: preferred, ..of("example.com") });
    // All have one rank here, so that this side's order counts.
    assert_eq!(urls(&relays), [TABLE_2[1], TABLE_2[2], TABLE_2[0]]);
    // The certificate has to name the domain that was asked for, not the one that it was sent to.
    assert!(relays.iter().all(|relay| relay.identity == "example.com"), "{relays:?}");
    assert_eq!(relays.iter().filter(|relay| relay.is_secured()).count(), 1);
}

#[test]
fn a_transport_that_is_not_there_is_not_asked_for() {
    let relays = figure_1().relays(Config { transports: vec![Transport::Tcp], ..of("example.net") });
    assert_eq!(urls(&relays), [TABLE_2[2]]);
}

#[test]
fn without_naptr_records_there_are_srv_records() {
    let zone = Zone::default()
        .srv("_turn._udp.example.com", 0, 0, 3478, "a.example.net")
        .srv("_turn._tcp.example.com", 0, 0, 5000, "a.example.net")
        .srv("_turns._tcp.example.com", 0, 0, 443, "a.example.net");
    let found = zone.relays(of("Example.com."));
    let expected =
        ["turn:a.example.net:3478?transport=udp", "turns:a.example.net:443?transport=tcp", TABLE_2[2]];
    assert_eq!(urls(&found), expected);
    // Where there are NAPTR records of relays they alone count (RFC 5928 §3, step 4).
    let zone = zone.naptr("example.com", 1, "a", "RELAY:turn.udp", "b.example.net");
    assert_eq!(urls(&zone.relays(of("example.com"))), ["turn:b.example.net:3478?transport=udp"]);
}

#[test]
fn a_uri_without_a_port_asks_for_the_records_of_its_domain_alone() {
    let uri = |wanted, transport| Config { wanted, transports: vec![transport], ..of("example.net") };
    let zone = figure_1()
        .srv("_stun._udp.example.net", 2, 0, 3478, "b.example.net")
        .srv("_stun._udp.example.net", 1, 0, 8000, "a.example.net")
        .instance("_turn._udp.example.net", "Box._turn._udp.example.net");
    assert_eq!(urls(&zone.relays(uri(Wanted::Turn, Transport::Udp))), [TABLE_2[0]]);
    let hosts =
        |relays: Vec<Relay>| -> Vec<_> { relays.into_iter().map(|one| (one.host, one.port)).collect() };
    let found = hosts(zone.relays(uri(Wanted::Stun, Transport::Udp)));
    assert_eq!(found, [("a.example.net".to_owned(), 8000), ("b.example.net".to_owned(), 3478)]);
    let mut discovery = Discovery::new(uri(Wanted::Stun, Transport::Tls));
    assert_eq!(discovery.poll_question(), Some(Question::dns("_stuns._tcp.example.net", RecordKind::Srv)));
    assert_eq!(discovery.poll_question(), None);
}

#[test]
fn a_domain_that_does_not_speak_of_relays_has_none() {
    let zone = Zone::default()
        .naptr("example.com", 1, "s", "SIP+D2U", "_sip._udp.example.com")
        .naptr("example.com", 1, "u", "RELAY:turn.udp", "a.example.com")
        .srv("_turn._udp.example.com", 0, 0, 3478, ".")
        .srv("_turn._tcp.example.com", 0, 0, 0, "a.example.com")
        .srv("_turns._tcp.example.com", 0, 0, 443, "a.example.com?x=y");
    assert_eq!(zone.relays(of("example.com")), []);
}

#[test]
fn srv_records_are_used_by_priority_and_drawn_by_weight() {
    let zone = Zone::default()
        .srv("_turn._udp.a.example", 20, 0, 1, "last.example")
        .srv("_turn._udp.a.example", 10, 90, 1, "heavy.example")
        .srv("_turn._udp.a.example", 10, 10, 1, "light.example");
    let mut heavy_first = 0;
    for seed in 0..200 {
        let relays = zone.relays(Config { seed: Seed::from(seed), ..of("a.example") });
        let hosts: Vec<&str> = relays.iter().map(|relay| relay.host.as_str()).collect();
        assert_eq!((hosts.len(), hosts[2]), (3, "last.example"));
        heavy_first += usize::from(hosts[0] == "heavy.example");
    }
    assert!((160..=197).contains(&heavy_first), "{heavy_first} of 200");
}

#[test]
fn services_of_the_domain_and_of_the_local_network_are_found() {
    let zone = Zone::default()
        .instance("_turn._udp.example.com", "floor 3._turn._udp.example.com")
        .srv("floor 3._turn._udp.example.com", 0, 0, 3478, "three.example.com")
        .instance("_turns._tcp.local", r"Relay\.1._turns._tcp.local.")
        .instance("_turns._tcp.local", "thief._http._tcp.local")
        .srv(r"Relay\.1._turns._tcp.local", 0, 0, 5349, "Box.local.")
        .srv("thief._http._tcp.local", 0, 0, 80, "thief.local");
    let relays = zone.relays(of("example.com"));
    let expected = ["turn:three.example.com:3478?transport=udp", "turns:box.local:5349?transport=tcp"];
    assert_eq!(urls(&relays), expected);
    assert_eq!([relays[0].found, relays[1].found], [Found::DnsSd, Found::Mdns]);
    assert_eq!([&relays[0].identity, &relays[1].identity], ["example.com", "box.local"]);
    let unicast = Config { mdns: false, ..of("example.com") };
    assert_eq!(zone.relays(unicast).len(), 1);
}

#[test]
fn by_multicast_answers_come_one_after_another() {
    let mut discovery = Discovery::new(Config { anycast: [false; 2], ..Config::new(Seed::from(1)) });
    let service = Question::dns("_turn._udp.local", RecordKind::Ptr);
    for name in ["one", "two", "one"] {
        let instance = format!("{name}._turn._udp.local");
        discovery.handle_answer(&service, vec![Record::Ptr(instance.clone())]);
        let target = format!("{name}.local");
        let srv = Record::Srv { priority: 0, weight: 0, port: 3478, target };
        discovery.handle_answer(&Question::dns(instance, RecordKind::Srv), vec![srv]);
    }
    let found = urls(&discovery.relays());
    assert_eq!(found, ["turn:one.local:3478?transport=udp", "turn:two.local:3478?transport=udp"]);
    assert!(!discovery.is_finished(), "the other services were not heard of");
}

#[test]
fn the_nearest_relay_tells_its_own_address_or_is_used_as_it_is() {
    let [v4, v6]: [SocketAddr; 2] = ["192.0.0.10:3478", "[2001:1::2]:3478"].map(|it| it.parse().unwrap());
    let mut zone = Zone::default();
    zone.0.insert(Question::Anycast(v4), vec![Record::Anycast(None)]);
    zone.0.insert(Question::Anycast(v6), vec![Record::Anycast(Some("[2001:db8::7]:3479".parse().unwrap()))]);
    let relays = zone.relays(Config::new(Seed::from(1)));
    assert_eq!(
        urls(&relays),
        ["turn:192.0.0.10:3478?transport=udp", "turn:[2001:db8::7]:3479?transport=udp"]
    );
    assert!(relays.iter().all(|relay| relay.found == Found::Anycast && !relay.is_secured()));
    // Nothing is sent there by those who do not want to (RFC 8155 §9.3).
    assert_eq!(zone.relays(Config { anycast: [false; 2], ..Config::new(Seed::from(1)) }), []);
}

#[test]
fn domains_that_point_in_circles_are_left() {
    let mut zone = Zone::default();
    for (from, to) in [("a.example", "b.example"), ("b.example", "a.example")] {
        for order in 0..40 {
            zone = zone.naptr(from, order, "", "RELAY:turn.udp:turn.tcp:turn.tls", to);
        }
    }
    let mut discovery = Discovery::new(of("a.example"));
    assert!(zone.answer(&mut discovery) < 64);
    assert_eq!(discovery.relays(), []);
}

#[test]
fn an_answer_that_nobody_asked_for_is_not_heard() {
    let mut discovery = Discovery::new(of("a.example"));
    let srv = Record::Srv { priority: 0, weight: 0, port: 1, target: "b.example".into() };
    discovery.handle_answer(&Question::dns("_turn._udp.b.example", RecordKind::Srv), vec![srv]);
    assert_eq!(discovery.relays(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the DNS says: few questions, few relays, and all of them are URLs.
    #[test]
    fn hostile_records_are_bounded(
        replies in proptest::collection::vec((".{0,12}|[ab]\\.example|\\.|_turn\\._udp\\.[ab]\\.example", any::<u16>(),
            "[sSaAuU]?", "RELAY(:turn\\.(udp|tcp|tls)){0,3}"), 1..40),
        seed in any::<u64>(),
    ) {
        let mut discovery = Discovery::new(Config { seed: Seed::from(seed), ..of("a.example") });
        let mut asked = 0;
        while let Some(question) = discovery.poll_question() {
            asked += 1;
            let records = replies.iter().map(|(name, number, flags, services)| match &question {
                Question::Dns { kind: RecordKind::Naptr, .. } => Record::Naptr {
                    order: *number % 4, preference: 0, flags: flags.clone(), services: services.clone(),
                    regexp: String::new(), replacement: name.clone(),
                },
                Question::Dns { kind: RecordKind::Srv, .. } =>
                    Record::Srv { priority: *number % 3, weight: *number, port: *number, target: name.clone() },
                Question::Dns { name: service, .. } => Record::Ptr(format!("{name}.{service}")),
                Question::Anycast(_) => Record::Anycast(None),
            });
            discovery.handle_answer(&question, records.collect());
        }
        prop_assert!(asked <= 64 && discovery.is_finished());
        let relays = discovery.relays();
        prop_assert!(relays.len() <= 16);
        for relay in relays {
            let authority = relay.url();
            prop_assert!(authority.is_ascii() && authority.matches('?').count() == 1, "{}", authority);
        }
    }
}

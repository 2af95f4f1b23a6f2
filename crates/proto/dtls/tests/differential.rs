//! Against another implementation, `dimpl`: whatever the two agree on, and whatever the path does to their datagrams.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, reason = "the other one wants an `Instant`")]

mod link;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crypto::Certificate;
use dimpl::crypto::{Dtls12CipherSuite, Dtls13CipherSuite, NamedGroup};
use dimpl::{ConfigBuilder, Dtls, DtlsCertificate, Output};
use link::{FINE, Weather};
use sansio::{Outbox, Rng, Seed, Time};
use sterna_dtls::{Config, Endpoint, Event, Role, SrtpKeys, Version, Versions};

/// One of us and one of them, in virtual time.
struct Pair {
    now: Time,
    base: Instant,
    ours: Endpoint,
    theirs: Dtls,
    /// What either has heard, of the other.
    heard: [Vec<Vec<u8>>; 2],
    version: Option<(Version, &'static str)>,
    srtp: [Option<Vec<u8>>; 2],
    they_are_connected: bool,
    their_timeout: Option<Time>,
    closed: [bool; 2],
    failure: Option<String>,
    wire: BTreeMap<(Time, u64), (usize, Vec<u8>)>,
    number: u64,
    weather: Weather,
    rng: Rng,
    /// The epochs that either has used, as their first byte shows them, without repetitions.
    epochs: [Vec<u8>; 2],
}

const WE: usize = 0;
const THEY: usize = 1;

/// What is particular about one meeting.
struct Meeting {
    role: Role,
    versions: Versions,
    their_versions: Versions,
    weather: Weather,
    mtu: usize,
    seed: u64,
    rekey_after: u64,
}

impl Meeting {
    fn new(role: Role, versions: Versions) -> Self {
        Self {
            role,
            versions,
            their_versions: versions,
            weather: FINE,
            mtu: 1200,
            seed: 1,
            rekey_after: 1 << 23,
        }
    }

    fn begin(self, change: impl FnOnce(ConfigBuilder) -> ConfigBuilder) -> Pair {
        let [ours, theirs] = [(); 2].map(|()| Certificate::generate().expect("a certificate"));
        let mut rng = Rng::new(Seed::from(self.seed));
        let config = Config {
            versions: self.versions,
            mtu: self.mtu,
            rekey_after: self.rekey_after,
            ..Config::new(self.role, ours, vec![theirs.fingerprint()], rng.fork())
        };
        let base = Instant::now();
        let builder = dimpl::Config::builder()
            .mtu(self.mtu)
            .use_server_cookie(false)
            .flight_start_rto(Duration::from_millis(250))
            .flight_retries(12)
            .handshake_timeout(Duration::from_secs(30))
            .dangerously_set_rng_seed(self.seed);
        let their_config = Arc::new(change(builder).build().expect("settings"));
        let identity =
            DtlsCertificate { certificate: theirs.der.clone(), private_key: theirs.private_key_der.clone() };
        let new = match self.their_versions {
            Versions::Auto => Dtls::new_auto,
            Versions::Dtls12 => Dtls::new_12,
            Versions::Dtls13 => Dtls::new_13,
        };
        let mut theirs = new(their_config, identity, base);
        theirs.set_active(self.role == Role::Server);
        theirs.handle_timeout(base).expect("it begins");
        Pair {
            now: Time::ZERO,
            base,
            ours: Endpoint::new(Time::ZERO, config).expect("an endpoint"),
            theirs,
            heard: [Vec::new(), Vec::new()],
            version: None,
            srtp: [None, None],
            they_are_connected: false,
            their_timeout: None,
            closed: [false; 2],
            failure: None,
            wire: BTreeMap::new(),
            number: 0,
            weather: self.weather,
            rng,
            epochs: [Vec::new(), Vec::new()],
        }
    }
}

impl Pair {
    fn launch(&mut self, from: usize, datagram: Vec<u8>) {
        if self.epochs[from].last() != datagram.first() {
            self.epochs[from].push(datagram[0]);
        }
        if self.rng.below(100) < self.weather.loss {
            return;
        }
        let copies = if self.rng.below(100) < self.weather.twice { 2 } else { 1 };
        for _ in 0..copies {
            let at = self.now + self.weather.delay + self.weather.jitter.mul_f64(self.rng.unit());
            self.number += 1;
            self.wire.insert((at, self.number), (1 - from, datagram.clone()));
        }
    }

    fn settle(&mut self) {
        let mut datagrams = Vec::new();
        self.ours.poll_transmit(self.now, &mut datagrams);
        datagrams.into_iter().for_each(|datagram| self.launch(WE, datagram));
        while let Some(event) = self.ours.poll_event() {
            match event {
                Event::Connected(connected) => {
                    self.version = Some((connected.version, connected.cipher.name()));
                    self.srtp[WE] = connected.srtp.map(|SrtpKeys { material, .. }| material);
                }
                Event::Closed => self.closed[WE] = true,
                Event::Failed(error) => self.failure = Some(error.to_string()),
            }
        }
        let mut buffer = vec![0; 4096];
        loop {
            match self.theirs.poll_output(&mut buffer) {
                Output::Packet(packet) => {
                    let packet = packet.to_vec();
                    self.launch(THEY, packet);
                }
                Output::ApplicationData(data) => self.heard[THEY].push(data.to_vec()),
                Output::Connected => self.they_are_connected = true,
                Output::KeyingMaterial(material, _) => self.srtp[THEY] = Some(material.to_vec()),
                Output::CloseNotify => self.closed[THEY] = true,
                Output::Timeout(at) => {
                    // It wants to be asked again at once while it acknowledges; its clock ticks in milliseconds here.
                    let at = Time::from_start(at.saturating_duration_since(self.base));
                    let at = at.max(self.now + Duration::from_millis(1));
                    self.their_timeout = Some(at).filter(|at| at.elapsed() < Duration::from_secs(100_000));
                    return;
                }
                _ => {}
            }
        }
    }

    fn step(&mut self) -> bool {
        self.settle();
        let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
        let timers = [self.ours.poll_timeout(), self.their_timeout, arrival];
        let Some(next) = timers.into_iter().flatten().min() else { return false };
        self.now = self.now.max(next);
        self.ours.handle_timeout(self.now);
        if let Err(error) = self.theirs.handle_timeout(self.base + self.now.elapsed()) {
            self.failure = Some(format!("theirs: {error:?}"));
        }
        while let Some((&(at, number), _)) = self.wire.first_key_value()
            && at <= self.now
        {
            let (to, mut datagram) = self.wire.remove(&(at, number)).expect("it is there");
            if to == WE {
                let heard = &mut self.heard[WE];
                self.ours.open(self.now, &mut datagram, &mut |plain| heard.push(plain.to_vec()));
            } else if let Err(error) = self.theirs.handle_packet(&datagram) {
                self.failure = Some(format!("theirs: {error:?}"));
            }
        }
        true
    }

    #[track_caller]
    fn run(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        for _ in 0..20_000 {
            self.settle();
            if done(self) {
                return;
            }
            assert!(self.failure.is_none(), "{:?}", self.failure);
            assert!(self.now <= end, "not in {limit:?}: {:?} {}", self.version, self.they_are_connected);
            assert!(self.step(), "nothing is under way");
        }
        panic!("time stands still");
    }

    fn connected(&self) -> bool {
        self.ours.is_connected() && self.they_are_connected
    }

    fn say(&mut self, end: usize, plain: &[u8]) {
        if end == WE {
            let mut datagrams = Vec::new();
            assert!(self.ours.lane(&mut datagrams).send_bytes((), plain));
            datagrams.into_iter().for_each(|datagram| self.launch(WE, datagram));
        } else {
            self.theirs.send_application_data(plain).expect("they are connected");
        }
    }

    /// Both have connected: they have the same keys for media, and understand each other.
    #[track_caller]
    fn check(&mut self) {
        assert!(self.srtp[WE].is_some() && self.srtp[WE] == self.srtp[THEY], "the same keys for media");
        self.weather = FINE;
        for (from, text) in [(WE, &b"from us"[..]), (THEY, b"from them")] {
            self.say(from, text);
            self.run(Duration::from_secs(60), |pair| {
                pair.heard[1 - from].last().is_some_and(|heard| heard == text)
            });
        }
    }
}

const LONG: Duration = Duration::from_secs(60);
const ROLES: [Role; 2] = [Role::Client, Role::Server];
const BOTH: [Versions; 2] = [Versions::Dtls12, Versions::Dtls13];

#[test]
fn we_understand_each_other_whatever_version_either_speaks() {
    let all = [Versions::Auto, Versions::Dtls12, Versions::Dtls13];
    for role in ROLES {
        for versions in all {
            for their_versions in all {
                let expected = match (versions, their_versions) {
                    (Versions::Dtls12, Versions::Dtls13) | (Versions::Dtls13, Versions::Dtls12) => continue,
                    (Versions::Dtls12, _) | (_, Versions::Dtls12) => Version::Dtls12,
                    _ => Version::Dtls13,
                };
                let mut pair =
                    Meeting { their_versions, ..Meeting::new(role, versions) }.begin(|builder| builder);
                pair.run(LONG, Pair::connected);
                assert_eq!(pair.version.map(|(version, _)| version), Some(expected), "{role:?} {versions:?}");
                pair.check();
            }
        }
    }
}

#[test]
fn loss_reordering_and_copies_delay_but_do_not_prevent() {
    for role in ROLES {
        for versions in BOTH {
            for seed in 0..40 {
                let weather = Weather {
                    delay: Duration::from_millis(20),
                    jitter: Duration::from_millis(20),
                    loss: 5 + seed % 16,
                    twice: 10,
                };
                let mut pair =
                    Meeting { weather, seed, ..Meeting::new(role, versions) }.begin(|builder| builder);
                pair.run(LONG, |pair| pair.connected() || pair.failure.is_some());
                assert!(pair.failure.is_none(), "{role:?} {versions:?} seed {seed}: {:?}", pair.failure);
                pair.check();
            }
        }
    }
}

#[test]
fn small_datagrams_do_as_well() {
    for role in ROLES {
        for versions in BOTH {
            // In order: they acknowledge parts that came early and then wait for them for ever.
            for mtu in [256, 300, 576] {
                let mut pair = Meeting { mtu, ..Meeting::new(role, versions) }.begin(|builder| builder);
                pair.run(LONG, Pair::connected);
                pair.check();
            }
        }
    }
}

#[test]
fn cookies_are_brought_back() {
    for versions in BOTH {
        let mut pair = Meeting::new(Role::Client, versions).begin(|builder| builder.use_server_cookie(true));
        pair.run(LONG, Pair::connected);
        let trips = if versions == Versions::Dtls13 { 5 } else { 6 };
        assert_eq!(pair.now.elapsed(), FINE.delay * trips, "a round trip more");
        pair.check();
    }
}

#[test]
fn a_server_that_has_other_groups_asks_for_one_of_them() {
    for role in ROLES {
        let mut pair =
            Meeting::new(role, Versions::Dtls13).begin(|builder| builder.kx_groups(&[NamedGroup::Secp256r1]));
        pair.run(LONG, Pair::connected);
        // As a server we take their share; as a client we have not shown one of P-256, and are asked for it.
        let trips = if role == Role::Client { 5 } else { 3 };
        assert_eq!(pair.now.elapsed(), FINE.delay * trips, "{role:?}");
        pair.check();
        let mut pair =
            Meeting::new(role, Versions::Dtls12).begin(|builder| builder.kx_groups(&[NamedGroup::Secp256r1]));
        pair.run(LONG, Pair::connected);
        pair.check();
    }
}

#[test]
fn we_ask_for_a_group_that_both_have() {
    // They show a share of P-384, which we have not.
    let mut pair = Meeting::new(Role::Server, Versions::Dtls13)
        .begin(|builder| builder.kx_groups(&[NamedGroup::Secp384r1, NamedGroup::Secp256r1]));
    pair.run(LONG, Pair::connected);
    pair.check();
}

#[test]
fn all_cipher_suites_protect() {
    let suites_13 = [
        (Dtls13CipherSuite::AES_128_GCM_SHA256, "TLS_AES_128_GCM_SHA256"),
        (Dtls13CipherSuite::AES_256_GCM_SHA384, "TLS_AES_256_GCM_SHA384"),
        (Dtls13CipherSuite::CHACHA20_POLY1305_SHA256, "TLS_CHACHA20_POLY1305_SHA256"),
    ];
    let suites_12 = [
        (Dtls12CipherSuite::ECDHE_ECDSA_AES128_GCM_SHA256, "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        (Dtls12CipherSuite::ECDHE_ECDSA_AES256_GCM_SHA384, "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        (
            Dtls12CipherSuite::ECDHE_ECDSA_CHACHA20_POLY1305_SHA256,
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        ),
    ];
    for role in ROLES {
        for (suite, name) in suites_13 {
            let mut pair =
                Meeting::new(role, Versions::Dtls13).begin(|builder| builder.dtls13_cipher_suites(&[suite]));
            pair.run(LONG, Pair::connected);
            assert_eq!(pair.version.map(|(_, name)| name), Some(name));
            pair.check();
        }
        for (suite, name) in suites_12 {
            let mut pair =
                Meeting::new(role, Versions::Dtls12).begin(|builder| builder.dtls12_cipher_suites(&[suite]));
            pair.run(LONG, Pair::connected);
            assert_eq!(pair.version.map(|(_, name)| name), Some(name));
            pair.check();
        }
    }
}

#[test]
fn goodbyes_are_understood() {
    for role in ROLES {
        for versions in BOTH {
            for first in [WE, THEY] {
                let mut pair = Meeting::new(role, versions).begin(|builder| builder);
                pair.run(LONG, Pair::connected);
                pair.check();
                let now = pair.now;
                if first == WE {
                    pair.ours.close(now);
                } else {
                    pair.theirs.close().expect("it can be closed");
                }
                pair.run(LONG, |pair| pair.closed[1 - first]);
            }
        }
    }
}

#[test]
fn keys_that_they_renew_are_followed_and_they_follow_ours() {
    for role in ROLES {
        for renewing in [WE, THEY] {
            let limit = |end| if renewing == end { 50 } else { 1 << 20 };
            let meeting = Meeting { rekey_after: limit(WE), ..Meeting::new(role, Versions::Dtls13) };
            let mut pair = meeting.begin(|builder| builder.aead_encryption_limit(limit(THEY)));
            pair.run(LONG, Pair::connected);
            let epochs = |pair: &Pair| pair.epochs[renewing].len();
            for number in 0..400_u32 {
                pair.say(renewing, &number.to_be_bytes());
                pair.run(LONG, |pair| pair.heard[1 - renewing].len() == number as usize + 1);
                // Their acknowledgement comes when they are asked for it.
                pair.run(LONG, |pair| pair.wire.is_empty());
            }
            assert!(epochs(&pair) >= 5, "{role:?} {renewing}: {} keys", epochs(&pair));
            pair.check();
        }
    }
}

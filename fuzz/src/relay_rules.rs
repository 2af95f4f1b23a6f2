//! What a relay goes by, and its users: chosen by a byte, so that every rule meets every other.

use std::net::SocketAddr;
use std::time::Duration;

use sansio::Seed;
use stun::credential::{AccessToken, LongTerm, SessionKey, TokenKey, rest_credentials};
use stun::server::{Alternate, PartnerSecret};
use turn::{Auth, LookupRules, OtherServer, PeerPolicy, Quotas, ServerConfig, ThirdParty, User};

const SECRET: &str = "b7c1e0b1b7a94bd29ab1";
const START: u64 = 1_700_000_000;
pub(crate) const LISTEN: ([u8; 4], u16) = ([5, 5, 5, 5], 3478);
/// The other address of a server that helps with discovery.
pub(crate) const OTHER: ([u8; 4], u16) = ([5, 5, 5, 6], 3479);
pub(crate) const SHARED_PORT: u16 = 50_000;
/// A user whom only somebody else knows.
pub(crate) const STRANGER: (&str, &str) = ("carol", "wonderland");
const NAME: &str = "fuzz.example.org";

/// Each bit is a rule.
#[derive(Clone, Copy)]
pub(crate) struct Rules(pub(crate) u8);

impl Rules {
    pub(crate) fn shares_a_port(self) -> bool {
        self.0 & 1 != 0
    }

    fn asks_elsewhere(self) -> bool {
        self.0 & 2 != 0
    }

    fn takes_tokens(self) -> bool {
        self.0 & 4 != 0
    }

    fn is_strict(self) -> bool {
        self.0 & 8 != 0
    }

    fn helps_with_discovery(self) -> bool {
        self.0 & 16 != 0
    }

    fn has_a_partner(self) -> bool {
        self.0 & 32 != 0
    }

    fn denies_more(self) -> bool {
        self.0 & 64 != 0
    }

    fn sends_whole(self) -> bool {
        self.0 & 128 != 0
    }

    fn alternate(self) -> Option<Alternate> {
        self.helps_with_discovery()
            .then(|| Alternate::new(LISTEN.into(), OTHER.into()).expect("they differ in both"))
    }

    /// Where clients reach the server.
    pub(crate) fn listening(self) -> Vec<SocketAddr> {
        self.alternate().map_or(vec![LISTEN.into()], |alternate| alternate.sockets().to_vec())
    }

    pub(crate) fn auth(self) -> Auth {
        let lookup = LookupRules {
            ttl: Duration::from_secs(60),
            waiting: 4,
            waiting_per_source: 2,
            remembered: 1,
            ..LookupRules::default()
        };
        let third_party = ThirdParty { server_name: NAME.into(), keys: vec![key()] };
        Auth {
            lookup: self.asks_elsewhere().then_some(lookup),
            third_party: self.takes_tokens().then_some(third_party),
            ..Auth::shared_secret(SECRET).expect("the secret is long enough")
        }
    }

    pub(crate) fn policy(self) -> PeerPolicy {
        let usual = PeerPolicy::default();
        if !self.denies_more() {
            return usual;
        }
        usual.deny("6.6.6.0/24".parse().expect("it is a range"))
    }

    pub(crate) fn quotas(self) -> Quotas {
        if !self.is_strict() {
            return Quotas::default();
        }
        Quotas {
            per_user: 2,
            per_source: 3,
            total: 4,
            permissions: 2,
            channels: 2,
            connections: 1,
            unauthenticated_per_second: 2,
            bandwidth_per_user: Some(100_000),
            bandwidth: Some(150_000),
            session: Some(Duration::from_secs(2000)),
        }
    }

    pub(crate) fn config(self) -> ServerConfig {
        let address = |text: &str| text.parse::<SocketAddr>().expect("it is an address");
        let listen = SocketAddr::from(LISTEN);
        let mut config = ServerConfig::new("fuzz", listen.ip(), self.auth(), Seed::from(1));
        config.relay_addresses.push(address("[2a05::5]:0").ip().into());
        config.listening = self.listening();
        config.tcp_relay = true;
        config.unix_time_at_start = Duration::from_secs(START);
        // Few ports, so that they run out.
        config.ports = 50_000..=50_005;
        config.shared_port = self.shares_a_port().then_some(SHARED_PORT);
        config.policy = self.policy();
        config.quotas = self.quotas();
        config.alternate = self.alternate();
        config.partner = self.has_a_partner().then(|| PartnerSecret::new(SECRET).expect("it is long enough"));
        config.dont_fragment = self.sends_whole();
        if self.is_strict() {
            let others = ["7.7.7.7:3478", "[2606::7]:3478"];
            config.others =
                others.map(|other| OtherServer { address: address(other), domain: None }).to_vec();
        }
        config
    }

    /// What the user of a seat signs with.
    pub(crate) fn long_term(self, seat: u8) -> LongTerm {
        if seat == 4 {
            return LongTerm::new(STRANGER.0, STRANGER.1);
        }
        let name = ["alice", "bob"][usize::from(seat % 2)];
        // One of them is over after a while.
        let expires = START + [600, 100_000][usize::from(seat % 2)];
        let (username, password) =
            rest_credentials(SECRET, name, expires).expect("the secret is long enough");
        let long_term = LongTerm::new(username, password);
        if seat == 1 && self.takes_tokens() { long_term.with_token(token()) } else { long_term }
    }
}

fn key() -> TokenKey {
    TokenKey::new("north", [9; 32])
}

fn token() -> AccessToken {
    let session = SessionKey::new(vec![7; 20], Duration::from_secs(START), Duration::from_secs(3000));
    AccessToken { kid: "north".into(), mac_key: vec![7; 20], token: key().seal(NAME, [7; 12], &session) }
}

/// Who a user is, as somebody else has it.
pub(crate) fn verdict(username: &str, good: bool) -> turn::Verdict {
    match username {
        _ if !good => turn::Verdict::Failed,
        name if name == STRANGER.0 => turn::Verdict::Known(User::new(STRANGER.0, STRANGER.1)),
        _ => turn::Verdict::Unknown,
    }
}

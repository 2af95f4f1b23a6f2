use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use sansio::Seed;
use stun::credential::{SharedSecret, WeakSecret};
use stun::server::{Alternate, PartnerSecret};
use stun::{PasswordAlgorithm, PasswordHash, opaque_string};

use super::{LookupRules, PeerPolicy, Quotas, ThirdParty};

/// The longest SOFTWARE text, in bytes: RFC 8489 §14.14 allows fewer than 128 characters.
const MAX_TEXT: usize = 127;

/// An address that the server relays from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// The address that relay sockets are bound to.
    pub bind: IpAddr,
    /// The address that peers and clients see: the same, or that of a one-to-one NAT in front of the server.
    pub advertised: IpAddr,
}

impl From<IpAddr> for RelayAddress {
    fn from(address: IpAddr) -> Self {
        Self { bind: address, advertised: address }
    }
}

/// Someone who may use the server, with a password of his own.
///
/// In a file it is a line `name md5:… sha256:…`, with both hashes of his password in the server's realm: the first for
/// clients of RFC 5389, which is what browsers are, the second for those of RFC 8489. Made with [`User::line`].
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    name: String,
    secret: UserSecret,
}

#[derive(Clone, PartialEq, Eq)]
pub(super) enum UserSecret {
    Password(String),
    /// By MD5 and by SHA-256.
    Hashes([PasswordHash; 2]),
}

impl User {
    /// A user whose password is known. The server keeps hashes of it. His name is what [`opaque_string`] makes of `name`.
    pub fn new(name: impl AsRef<str>, password: impl Into<String>) -> Self {
        Self { name: prepared(name.as_ref()), secret: UserSecret::Password(password.into()) }
    }

    /// The username.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a line of a file.
    ///
    /// # Errors
    /// If it is not a name and both hashes.
    pub fn from_line(line: &str) -> Result<Self, UserError> {
        let error = || UserError(line.split_whitespace().next().unwrap_or_default().to_owned());
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, md5, sha256] = fields[..] else { return Err(error()) };
        let hashes: [PasswordHash; 2] =
            [md5.parse().map_err(|_| error())?, sha256.parse().map_err(|_| error())?];
        if !matches!(hashes, [PasswordHash::Md5(_), PasswordHash::Sha256(_)]) {
            return Err(error());
        }
        Ok(Self { name: prepared(name), secret: UserSecret::Hashes(hashes) })
    }

    /// A line for a file. Whoever reads it can log in to this realm, and learns nothing of the password.
    pub fn line(&self, realm: &str) -> String {
        let [md5, sha256] = self.hashes(realm);
        format!("{} {} {}", self.name, md5.to_text(), sha256.to_text())
    }

    /// His hashes, by MD5 and by SHA-256.
    pub(super) fn hashes(&self, realm: &str) -> [PasswordHash; 2] {
        self.hashes_as(&self.name, realm)
    }

    /// The same for who calls himself `username` in his messages, however that is spelled.
    pub(super) fn hashes_as(&self, username: &str, realm: &str) -> [PasswordHash; 2] {
        match &self.secret {
            UserSecret::Hashes(hashes) => *hashes,
            UserSecret::Password(password) => [PasswordAlgorithm::Md5, PasswordAlgorithm::Sha256]
                .map(|algorithm| PasswordHash::new(algorithm, username, realm, password)),
        }
    }
}

/// A name that is no name stays as it is, and [`ServerConfig::check`] refuses it.
fn prepared(name: &str) -> String {
    opaque_string(name).map_or_else(|_| name.to_owned(), Into::into)
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A line is no [`User`]. It shows the name alone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the line of the user `{0}` is not `name md5:HASH sha256:HASH`")]
pub struct UserError(String);

/// Another server, which clients are sent to with ALTERNATE-SERVER (RFC 8489 §14.15).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherServer {
    /// Where it listens, on the same transports as this one.
    pub address: SocketAddr,
    /// The name on its certificate, if it is not this one's.
    pub domain: Option<String>,
}

/// Who may use the server.
///
/// With a shared secret, a back end that knows it makes usernames `timestamp:user` that are good until that Unix
/// time, and passwords for them ([`SharedSecret::credentials`]); the server needs no list of users. An
/// allocation lives on after its username has expired, for as long as it is refreshed: only new ones need a fresh
/// username.
#[derive(Clone, Debug, Default)]
pub struct Auth {
    /// Secrets shared with back ends. Several, so that one can be replaced without an interruption.
    pub shared_secrets: Vec<SharedSecret>,
    /// Users with a password each.
    pub users: Vec<User>,
    /// Other parties whose access tokens are good here. Unless told, there are none.
    pub third_party: Option<ThirdParty>,
    /// How somebody else is asked about the others. Unless told, nobody is.
    pub lookup: Option<LookupRules>,
}

impl Auth {
    /// Time-limited credentials made with `secret`.
    ///
    /// # Errors
    /// If the secret is short, or stands in manuals.
    pub fn shared_secret(secret: &str) -> Result<Self, WeakSecret> {
        Ok(Self { shared_secrets: vec![SharedSecret::new(secret)?], ..Self::default() })
    }

    /// Whether nobody could be let in by it.
    pub fn is_empty(&self) -> bool {
        let tokens = self.third_party.as_ref().is_some_and(|third_party| !third_party.keys.is_empty());
        self.shared_secrets.is_empty() && self.users.is_empty() && self.lookup.is_none() && !tokens
    }

    /// One user with a password.
    pub fn user(name: impl AsRef<str>, password: impl Into<String>) -> Self {
        Self { users: vec![User::new(name, password)], ..Self::default() }
    }
}

/// What a [`Server`](crate::Server) needs to know. [`ServerConfig::new`] fills in the usual.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What the usernames belong to; RFC 8489 §9.2.4 recommends the provider's domain name. At most 40 bytes: it is in
    /// every challenge, and a challenge is never more than four times what it answers.
    pub realm: String,
    /// The addresses to relay from. Several of one family are used in turn, by lot.
    pub relay_addresses: Vec<RelayAddress>,
    /// The ports to relay from, for each address. RFC 8656 §7.2 wants them in 49152–65535.
    pub ports: RangeInclusive<u16>,
    /// One port to relay from in place of those, on each address and for all allocations, which are told apart by their
    /// peers (`docs/decisions/010-one-relay-port-for-all.md`). Unless told, each has its own.
    pub shared_port: Option<u16>,
    /// The addresses that the server listens on: never a peer, not even where [`ServerConfig::policy`] allows it.
    pub listening: Vec<SocketAddr>,
    /// What else this machine is reached at: no peers unless [`ServerConfig::policy`] names them, since other services
    /// of the machine may listen there.
    pub machine: Vec<IpAddr>,
    /// Who may use the server.
    pub auth: Auth,
    /// Which peers are reached.
    pub policy: PeerPolicy,
    /// How much each may take.
    pub quotas: Quotas,
    /// How long a nonce is good for.
    pub nonce_lifetime: Duration,
    /// Lifetime of an allocation whose client asks for none, or for less. RFC 8656 §6: 10 minutes.
    pub default_lifetime: Duration,
    /// Longest lifetime that a client can ask for. RFC 8656 §7.2: no more than an hour.
    pub max_lifetime: Duration,
    /// Whether an allocation may move with its client to another address (RFC 8016). On unless told.
    pub mobility: bool,
    /// Whether the owner's outbox sees to it that a datagram is not fragmented ([`Outbox::send_whole`]). Clients that ask
    /// for it without are told 420. Off unless told.
    ///
    /// [`Outbox::send_whole`]: sansio::Outbox::send_whole
    pub dont_fragment: bool,
    /// Whether the owner connects to peers and lets them connect ([`Server::poll_stream`](crate::Server::poll_stream)), so
    /// that there are TCP allocations (RFC 6062). Off unless told.
    pub tcp_relay: bool,
    /// Whether the owner keeps what peers without a permission send from the server himself, and asks for permissions
    /// ([`Server::poll_permit`](crate::Server::poll_permit)). Off unless told.
    pub tells_permits: bool,
    /// Where to send clients when this server is full or drains: one of the client's address family, by lot. Without any
    /// they are told 508.
    pub others: Vec<OtherServer>,
    /// The SOFTWARE attribute of authenticated answers; nothing unless told.
    pub software: Option<String>,
    /// Two addresses and two ports, on all four of which the owner listens, to help clients find out how their NAT
    /// behaves (RFC 5780). Without them the server does not know what they ask for, and says so.
    pub alternate: Option<Alternate>,
    /// Where the second address of [`ServerConfig::alternate`] is another machine's: what the two share. The owner then
    /// listens on the first address only.
    pub partner: Option<PartnerSecret>,
    /// What the random generator starts from: nonces and relayed ports come from it.
    pub seed: Seed,
    /// Unix time at [`Time::ZERO`](sansio::Time::ZERO), which time-limited usernames are held against.
    pub unix_time_at_start: Duration,
}

impl ServerConfig {
    /// A server that relays from `relay`, with the usual in all other respects.
    pub fn new(realm: impl Into<String>, relay: impl Into<RelayAddress>, auth: Auth, seed: Seed) -> Self {
        Self {
            realm: realm.into(),
            relay_addresses: vec![relay.into()],
            ports: 49152..=65535,
            shared_port: None,
            listening: Vec::new(),
            machine: Vec::new(),
            auth,
            policy: PeerPolicy::default(),
            quotas: Quotas::default(),
            nonce_lifetime: Duration::from_secs(3600),
            default_lifetime: Duration::from_secs(600),
            max_lifetime: Duration::from_secs(3600),
            mobility: true,
            dont_fragment: false,
            tcp_relay: false,
            tells_permits: false,
            others: Vec::new(),
            software: None,
            alternate: None,
            partner: None,
            seed,
            unix_time_at_start: Duration::ZERO,
        }
    }

    /// Whether a server can be made of this. A mistake here must not make a server that is open to all.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        // How long it may be depends on what else is in a challenge: see `Server::new`.
        if opaque_string(&self.realm).is_err() || self.realm.contains('"') {
            return Err(ConfigError::Realm(self.realm.clone()));
        }
        if self.relay_addresses.is_empty() {
            return Err(ConfigError::NoRelayAddress);
        }
        for relay in &self.relay_addresses {
            let unusable = |address: IpAddr| address.is_unspecified() || address.is_multicast();
            if unusable(relay.bind)
                || unusable(relay.advertised)
                || relay.bind.is_ipv4() != relay.advertised.is_ipv4()
            {
                return Err(ConfigError::RelayAddress(*relay));
            }
        }
        // "The TURN server SHOULD NOT allocate ports in the range 0 - 1023" (RFC 8656 §7.2).
        if self.ports.is_empty() || *self.ports.start() < 1024 {
            return Err(ConfigError::Ports(*self.ports.start(), *self.ports.end()));
        }
        if let Some(port) = self.shared_port.filter(|port| *port < 1024) {
            return Err(ConfigError::Ports(port, port));
        }
        if self.default_lifetime < Duration::from_secs(1) || self.max_lifetime < self.default_lifetime {
            return Err(ConfigError::Lifetime);
        }
        if self.auth.is_empty() {
            return Err(ConfigError::NoAuth);
        }
        if self.software.as_ref().is_some_and(|software| software.len() > MAX_TEXT) {
            return Err(ConfigError::Software);
        }
        for user in &self.auth.users {
            let no_password =
                matches!(&user.secret, UserSecret::Password(password) if opaque_string(password).is_err());
            if opaque_string(&user.name).is_err() || user.name.len() > 508 || no_password {
                return Err(ConfigError::User(user.name.clone()));
            }
        }
        Ok(())
    }
}

/// Why a server cannot be made of a [`ServerConfig`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The realm is no [`opaque_string`], longer than 40 bytes (or 36 with [`ThirdParty::server_name`]), or has a quote in it.
    #[error(
        "the realm `{}` is empty, longer than 40 bytes (with the server's name for access tokens 36) or has a quote or \
         invisible characters in it: use the server's domain name",
        .0.escape_debug()
    )]
    Realm(String),
    /// There is no address to relay from.
    #[error("the server has no address to relay from")]
    NoRelayAddress,
    /// The address cannot be relayed from: unspecified or multicast, or bound and advertised differ in family.
    #[error("cannot relay from {} (advertised as {}): give one real address", .0.bind, .0.advertised)]
    RelayAddress(RelayAddress),
    /// No ports, or privileged ones.
    #[error("cannot relay from ports {0} to {1}: give a range within 1024-65535, such as 49152-65535")]
    Ports(u16, u16),
    /// The default lifetime is zero or longer than the longest.
    #[error(
        "the default lifetime of an allocation must be at least a second and at most the longest lifetime"
    )]
    Lifetime,
    /// Nobody could use the server.
    #[error("the TURN server has neither a shared secret nor users")]
    NoAuth,
    /// The name is empty or too long, or the password empty, or one of them no [`opaque_string`].
    #[error(
        "the user `{}` has no name, no password, a name longer than 508 bytes, or in one of them characters that nobody sees",
        .0.escape_debug()
    )]
    User(String),
    /// The server's name for access tokens was given, taken away or changed while it runs.
    #[error("the server's name for access tokens changes with a restart only")]
    ServerName,
    /// The SOFTWARE text is longer than 127 bytes.
    #[error("the SOFTWARE text is longer than {MAX_TEXT} bytes")]
    Software,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(auth: Auth) -> ServerConfig {
        ServerConfig::new("example.org", IpAddr::from([192, 0, 2, 1]), auth, Seed::from(1))
    }

    #[test]
    fn empty_short_and_public_secrets_are_refused() {
        for secret in ["", "north", "changeme", "openrelayprojectsecret", "OpenRelayProjectSecret"] {
            assert_eq!(Auth::shared_secret(secret).err(), Some(WeakSecret), "{secret}");
        }
        assert_eq!(config(Auth::shared_secret("b7c1e0b1b7a94bd29ab1").unwrap()).check(), Ok(()));
    }

    #[test]
    fn a_server_that_nobody_or_everybody_could_use_is_not_made() {
        assert_eq!(config(Auth::default()).check(), Err(ConfigError::NoAuth));
        assert_eq!(config(Auth::user("", "x")).check(), Err(ConfigError::User("".into())));
        assert_eq!(config(Auth::user("alice", "")).check(), Err(ConfigError::User("alice".into())));
        assert_eq!(config(Auth::user("alice", "wonderland")).check(), Ok(()));
    }

    #[test]
    fn names_passwords_and_realms_that_nobody_can_type_are_refused() {
        assert_eq!(
            config(Auth::user("alice", "wonder\u{0}land")).check(),
            Err(ConfigError::User("alice".into()))
        );
        let error = config(Auth::user("al\u{1b}ice", "wonderland")).check().unwrap_err();
        assert_eq!(error, ConfigError::User("al\u{1b}ice".into()));
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
        let realm =
            ServerConfig { realm: "example\u{200b}.org".into(), ..config(Auth::user("alice", "wonderland")) };
        assert!(matches!(realm.check(), Err(ConfigError::Realm(_))));
        // RFC 8265 §4.2: one name, however it was typed.
        assert_eq!(User::new("Jose\u{301}", "wonderland").name(), "José");
    }

    #[test]
    fn addresses_and_ports_that_cannot_be_relayed_from_are_refused() {
        let good = config(Auth::user("alice", "wonderland"));
        let check = |change: &dyn Fn(&mut ServerConfig)| {
            let mut config = good.clone();
            change(&mut config);
            config.check().is_err()
        };
        assert!(check(&|c| c.relay_addresses.clear()));
        assert!(check(&|c| c.relay_addresses[0].bind = [0, 0, 0, 0].into()));
        assert!(check(&|c| c.relay_addresses[0].advertised = "::".parse().unwrap()));
        assert!(check(&|c| c.relay_addresses[0].advertised = "2001:db8::1".parse().unwrap()));
        assert!(check(&|c| c.ports = 80..=65535));
        #[allow(clippy::reversed_empty_ranges)]
        let reversed = 50_001..=50_000;
        assert!(check(&|c| c.ports = reversed.clone()));
        assert!(check(&|c| c.realm = String::new()));
        assert!(check(&|c| c.realm = "a\"b".into()));
        assert!(check(&|c| c.max_lifetime = Duration::from_secs(1)));
    }

    #[test]
    fn a_users_line_reads_as_it_was_written_and_does_not_show_the_password() {
        let user = User::new("alice", "wonderland");
        let line = user.line("example.org");
        assert!(!line.contains("wonderland"), "{line}");
        let read = User::from_line(&line).unwrap();
        assert_eq!((read.name(), read.hashes("example.org")), ("alice", user.hashes("example.org")));
        let [name, md5, sha256] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        for bad in
            [format!("{name} {sha256} {md5}"), format!("{name} {md5}"), "alice:wonderland".into(), "".into()]
        {
            let error = User::from_line(&bad).unwrap_err().to_string();
            assert!(!error.contains("wonderland") || bad == "alice:wonderland", "{error}");
        }
    }

    #[test]
    fn secrets_and_passwords_do_not_show_themselves() {
        let auth = Auth {
            users: vec![User::new("alice", "wonderland")],
            ..Auth::shared_secret("b7c1e0b1b7a94bd29ab1").unwrap()
        };
        let shown = format!("{:?}", config(auth));
        assert!(
            !shown.contains("wonderland") && !shown.contains("b7c1") && shown.contains("alice"),
            "{shown}"
        );
    }
}

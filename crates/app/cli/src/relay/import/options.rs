//! coturn's options, one by one.

use std::fmt;

/// What becomes of an option.
#[derive(Debug)]
pub(super) enum Fate {
    /// A key of ours.
    Key(&'static str),
    /// That is how it is anyway; why or how.
    Usual(&'static str),
    /// It is done in another way, or refused.
    Otherwise(&'static str),
    /// It cannot be had.
    Missing(&'static str),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, "`{key}`"),
            Self::Usual(why) => write!(f, "always so: {why}"),
            Self::Otherwise(how) => write!(f, "{how}"),
            Self::Missing(why) => write!(f, "not there: {why}"),
        }
    }
}

use Fate::{Key, Missing, Otherwise, Usual};

/// All that matter to a person who moves.
pub(super) const OPTIONS: &[(&str, Fate)] = &[
    ("listening-ip", Key("listen")),
    ("listening-port", Key("stun")),
    ("tls-listening-port", Key("stun-tls")),
    ("alt-listening-port", Otherwise("the second port of `stun-alternate` is the one after `stun`")),
    ("alt-tls-listening-port", Missing("NAT discovery needs UDP alone")),
    ("external-ip", Key("public-ip")),
    ("relay-ip", Otherwise("relays from the addresses of `listen` and `public-ip`")),
    ("relay-device", Otherwise("relays from the addresses of `listen`")),
    ("listening-device", Otherwise("name the device's address with `listen`")),
    ("min-port", Key("relay-ports")),
    ("max-port", Key("relay-ports")),
    ("realm", Key("realm")),
    ("server-name", Key("host")),
    ("use-auth-secret", Usual("where there is a `secret`")),
    ("static-auth-secret", Key("secret")),
    ("rest-api-separator", Missing("the separator is a colon, as in browsers' back ends")),
    ("lt-cred-mech", Usual("nobody is let in without credentials")),
    ("no-auth", Otherwise("refused: an open relay is everybody's weapon")),
    ("anonymous-auth", Otherwise("refused: an open relay is everybody's weapon")),
    ("user", Key("users-file")),
    ("userdb", Missing("users stand in `users-file`, or a web service knows them: `auth-url`")),
    ("psql-userdb", Missing("a web service in front of it can be asked: `auth-url`")),
    ("mysql-userdb", Missing("a web service in front of it can be asked: `auth-url`")),
    ("mongo-userdb", Missing("a web service in front of it can be asked: `auth-url`")),
    ("redis-userdb", Missing("a web service in front of it can be asked: `auth-url`")),
    ("redis-statsdb", Otherwise("counters are at `admin`, sessions in the log")),
    ("cert", Key("tls")),
    ("pkey", Key("tls")),
    ("pkey-pwd", Missing("the key is a file that only the server can read")),
    ("cipher-list", Usual("rustls has good ciphers only")),
    ("dh-file", Usual("rustls has no finite-field Diffie-Hellman")),
    ("no-tlsv1", Usual("TLS 1.2 and 1.3 alone")),
    ("no-tlsv1_1", Usual("TLS 1.2 and 1.3 alone")),
    ("no-tlsv1_2", Missing("TLS 1.2 stays")),
    ("no-tls", Otherwise("there is no TLS without `tls`")),
    ("no-dtls", Key("no-dtls")),
    ("no-udp", Missing("UDP is what a relay is for")),
    ("no-tcp", Missing("TCP is there for those whose firewall blocks UDP")),
    ("no-udp-relay", Missing("UDP is what a relay is for")),
    ("no-tcp-relay", Key("no-tcp-relay")),
    ("allowed-peer-ip", Key("allow-peer")),
    ("denied-peer-ip", Key("deny-peer")),
    ("allow-loopback-peers", Key("allow-peer")),
    (
        "no-loopback-peers",
        Usual("private, loopback, link-local and metadata addresses are denied in every spelling"),
    ),
    ("no-multicast-peers", Usual("multicast is denied")),
    ("total-quota", Key("max-allocations")),
    ("user-quota", Key("max-per-user")),
    ("max-bps", Key("max-bandwidth-per-user")),
    ("bps-capacity", Key("max-bandwidth")),
    ("max-allocate-lifetime", Key("max-lifetime")),
    ("channel-lifetime", Usual("ten minutes, as RFC 8656 says")),
    ("permission-lifetime", Usual("five minutes, as RFC 8656 says")),
    ("stale-nonce", Usual("a nonce is good for an hour and bound to its source")),
    ("fingerprint", Usual("answers have one where requests have one")),
    ("mobility", Usual("unless there is `no-mobility`")),
    ("alternate-server", Key("alternate-server")),
    ("tls-alternate-server", Key("alternate-server")),
    ("aux-server", Otherwise("add the address to `listen`")),
    ("no-stun", Missing("STUN is there")),
    ("no-rfc5780", Usual("unless there is `stun-alternate` or `stun-partner`")),
    ("no-stun-backward-compatibility", Usual("unless there is `stun-alternate`")),
    ("response-origin-only-with-rfc5780", Usual("as small as an answer can be")),
    ("unauthorized-ratelimit", Usual("strangers get few answers, by host and by network")),
    ("secure-stun", Missing("a Binding request tells nobody anything")),
    ("check-origin", Missing("browsers send none")),
    ("oauth", Otherwise("`access-token-keys-file` and `access-token-name`")),
    ("prometheus", Key("admin")),
    ("prometheus-port", Key("admin")),
    ("prometheus-address", Key("admin")),
    ("prometheus-path", Usual("`/metrics`")),
    (
        "prometheus-username-labels",
        Otherwise("refused: labels that clients choose grow without bound; sessions are in the log"),
    ),
    ("web-admin", Otherwise("`admin` has metrics and health; nothing can be changed there")),
    ("no-cli", Usual("there is no console")),
    ("cli-ip", Missing("there is no console")),
    ("cli-port", Missing("there is no console")),
    ("cli-password", Missing("there is no console")),
    ("verbose", Otherwise("RUST_LOG=debug")),
    ("Verbose", Otherwise("RUST_LOG=trace")),
    ("log-file", Otherwise("logs go to standard error, for systemd or the container to keep")),
    ("no-stdout-log", Otherwise("logs go to standard error")),
    ("syslog", Otherwise("logs go to standard error, for systemd to keep")),
    ("simple-log", Otherwise("logs go to standard error; nothing is rotated")),
    ("new-log-timestamp", Usual("lines begin with the time; `log-format = \"json\"` for programs")),
    ("pidfile", Otherwise("systemd and containers know the process")),
    ("proc-user", Otherwise("started as a user without privileges: see deploy/sterna-relay.service")),
    ("proc-group", Otherwise("started as a user without privileges: see deploy/sterna-relay.service")),
    ("relay-threads", Key("relay-threads")),
    ("server-relay", Missing("peers are not clients")),
    ("acme-redirect", Missing("certificates are read again when they change")),
    ("no-software-attribute", Usual("strangers are not told the version")),
    ("software-attribute", Missing("strangers are not told the version")),
    ("ne", Usual("not needed")),
    ("cpus", Otherwise("`relay-threads`")),
];

//! The command line of `sterna relay`, and what the STUN and TURN server is told by either of its commands.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::settings::{Format, PortRange, PublicIp, SecondAddress, Tls};

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "A set-up of few lines, in a file for --config:\n\n    \
    listen = \"0.0.0.0\"\n    \
    host = \"turn.example.org\"\n    \
    public-ip = \"198.51.100.7\"\n    \
    secret-file = \"/etc/sterna/secret\"\n    \
    tls = \"/etc/sterna/cert.pem,/etc/sterna/key.pem\"\n\n\
    SIGHUP reads it again, SIGTERM waits for sessions to end (--drain), Ctrl-C ends at once."
)]
pub(crate) struct Relay {
    #[command(subcommand)]
    pub(crate) task: Option<Task>,

    #[command(flatten)]
    pub(crate) options: Options,

    /// Become this user when the ports are taken and keys and secrets read. For those who start it as root; systemd's
    /// User= does the same
    #[arg(long, value_name = "NAME[:GROUP]", env = "STERNA_USER")]
    pub(crate) user: Option<String>,

    /// Check addresses, ports, keys and reachability, say what clients will be told, and end
    #[arg(long)]
    pub(crate) check: bool,

    /// Print the settings file that does what this file of coturn's does (turnserver.conf), and end
    #[arg(long, value_name = "FILE")]
    pub(crate) import: Option<PathBuf>,
}

/// What `sterna relay` does besides relaying.
#[derive(Debug, Subcommand)]
pub(crate) enum Task {
    /// Try a TURN server, anybody's: connect, log in, allocate, relay, and explain each step
    Test(super::test::Test),
}

/// What the STUN and TURN server is told. Each is a flag, an environment variable and a key of the settings file.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The addresses to listen on, such as 0.0.0.0,:: for all of this machine's [default: 127.0.0.1]. At the anycast
    /// addresses of relays (192.0.0.10, 2001:1::2; RFC 8155) clients are told this machine's own
    #[arg(long, value_name = "ADDR", env = "STERNA_LISTEN", value_delimiter = ',')]
    pub(crate) listen: Vec<IpAddr>,

    /// The port of STUN and TURN, on UDP and TCP. Where there is a certificate, TLS and DTLS are spoken here, too
    #[arg(long, value_name = "PORT", env = "STERNA_STUN", default_value_t = 3478)]
    pub(crate) stun: u16,

    /// The port of TURN over TLS and DTLS, where there is a certificate: the one that URLs name for it. It may be the
    /// same as --stun
    #[arg(long, value_name = "PORT", env = "STERNA_STUN_TLS", default_value_t = 5349)]
    pub(crate) stun_tls: u16,

    /// A second address of this machine, for NAT discovery (RFC 5780); behind a one-to-one NAT with the
    /// address that others see: 10.0.0.2=198.51.100.8. Takes the port after the one of STUN, too
    #[arg(long, value_name = "IP[=PUBLIC]", env = "STERNA_STUN_ALTERNATE")]
    pub(crate) stun_alternate: Option<SecondAddress>,

    /// Another Sterna server at this address, for NAT discovery (RFC 5780) by two machines with one address each:
    /// the same ports, and --stun-partner with this one's address there. Takes the port after the one of STUN, too
    #[arg(long, value_name = "IP", env = "STERNA_STUN_PARTNER", conflicts_with = "stun_alternate")]
    pub(crate) stun_partner: Option<IpAddr>,

    /// A file with the secret that the two share; or the secret itself in STERNA_STUN_PARTNER_SECRET
    #[arg(long, value_name = "FILE", env = "STERNA_STUN_PARTNER_SECRET_FILE")]
    pub(crate) stun_partner_secret_file: Option<PathBuf>,

    /// The address under which others reach this server, if it is not its own: one for each family, or `auto`,
    /// which asks --probe-server
    #[arg(long, value_name = "IP|auto", env = "STERNA_PUBLIC_IP", value_delimiter = ',')]
    pub(crate) public_ip: Vec<PublicIp>,

    /// A STUN server elsewhere, to be asked at the start whether the public address is right
    #[arg(long, value_name = "HOST[:PORT]", env = "STERNA_PROBE_SERVER")]
    pub(crate) probe_server: Option<String>,

    /// The name that clients are told instead of an address; a certificate has to have it
    #[arg(long, value_name = "NAME", env = "STERNA_HOST")]
    pub(crate) host: Option<String>,

    /// What usernames belong to [default: --host, or sterna]
    #[arg(long, value_name = "NAME", env = "STERNA_REALM")]
    pub(crate) realm: Option<String>,

    /// Use TLS: a certificate chain and its key in PEM files, or `self-signed`
    #[arg(long, value_name = "CERT,KEY|self-signed", env = "STERNA_TLS")]
    pub(crate) tls: Option<Tls>,

    /// Have a certificate made for this name by a certificate authority (ACME), and made anew in time. The authority
    /// connects to port 443 of the name, by TLS, and has to arrive at this server's TLS
    #[arg(
        long,
        value_name = "NAME",
        env = "STERNA_ACME_DOMAIN",
        value_delimiter = ',',
        conflicts_with = "tls"
    )]
    pub(crate) acme_domain: Vec<String>,

    /// The authority's terms of service are accepted; without this nobody is asked for a certificate
    #[arg(long, env = "STERNA_ACME_ACCEPT_TERMS", requires = "acme_domain")]
    pub(crate) acme_accept_terms: bool,

    /// The folder for the certificate and the keys, which the server makes and only it can read
    #[arg(long, value_name = "DIR", env = "STERNA_ACME_STATE", requires = "acme_domain")]
    pub(crate) acme_state: Option<PathBuf>,

    /// Where the authority may write to, should there be trouble
    #[arg(long, value_name = "ADDRESS", env = "STERNA_ACME_EMAIL", requires = "acme_domain")]
    pub(crate) acme_email: Option<String>,

    /// The authority, by its directory
    #[arg(
        long,
        value_name = "URL",
        env = "STERNA_ACME_DIRECTORY",
        default_value = "https://acme-v02.api.letsencrypt.org/directory"
    )]
    pub(crate) acme_directory: String,

    /// Trust this certificate authority (PEM) as well when talking to the directory: for one of your own
    #[arg(long, value_name = "FILE", env = "STERNA_ACME_CA", requires = "acme_domain")]
    pub(crate) acme_ca: Option<PathBuf>,

    /// Do not speak DTLS (TURN over DTLS over UDP), for which the certificate's key has to be ECDSA
    #[arg(long, env = "STERNA_NO_DTLS")]
    pub(crate) no_dtls: bool,

    /// A file of secrets shared with those who make credentials, one a line; the first makes new ones. `-` reads
    /// standard input. Instead of a file: STERNA_SECRET in the environment
    #[arg(long, value_name = "FILE", env = "STERNA_SECRET_FILE")]
    pub(crate) secret_file: Option<PathBuf>,

    /// A file of users, one a line, as `sterna credentials hash` prints them
    #[arg(long, value_name = "FILE", env = "STERNA_USERS_FILE")]
    pub(crate) users_file: Option<PathBuf>,

    /// A web service that says who a user is whom neither a secret nor the users file knows: it is asked by
    /// POST with JSON, and answers with a password, or 404 (docs/deploy.md)
    #[arg(long, value_name = "URL", env = "STERNA_AUTH_URL")]
    pub(crate) auth_url: Option<String>,

    /// Trust this certificate authority (PEM) as well when talking to the web service: for one of your own
    #[arg(long, value_name = "FILE", env = "STERNA_AUTH_CA", requires = "auth_url")]
    pub(crate) auth_ca: Option<PathBuf>,

    /// A file with the token that the web service knows this server by (Authorization: Bearer)
    #[arg(long, value_name = "FILE", env = "STERNA_AUTH_TOKEN_FILE", requires = "auth_url")]
    pub(crate) auth_token_file: Option<PathBuf>,

    /// How long the web service may take to answer, seconds
    #[arg(long, value_name = "SECONDS", env = "STERNA_AUTH_TIMEOUT", default_value_t = 3,
          value_parser = clap::value_parser!(u64).range(1..=30))]
    pub(crate) auth_timeout: u64,

    /// How long what the web service says is believed, seconds
    #[arg(long, value_name = "SECONDS", env = "STERNA_AUTH_TTL", default_value_t = 300,
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) auth_ttl: u64,

    /// A file of keys that others make access tokens with for their users (RFC 7635), one a line: NAME:KEY, where the
    /// key is 32 bytes in base64
    #[arg(long, value_name = "FILE", env = "STERNA_ACCESS_TOKEN_KEYS_FILE", requires = "access_token_name")]
    pub(crate) access_token_keys_file: Option<PathBuf>,

    /// This server's name in access tokens
    #[arg(long, value_name = "NAME", env = "STERNA_ACCESS_TOKEN_NAME", requires = "access_token_keys_file")]
    pub(crate) access_token_name: Option<String>,

    /// Relayed addresses do not move with their clients to another network (RFC 8016)
    #[arg(long, env = "STERNA_NO_MOBILITY")]
    pub(crate) no_mobility: bool,

    /// Relay to these addresses although they are private (for tests)
    #[arg(long, value_name = "CIDR", env = "STERNA_ALLOW_PEER", value_delimiter = ',')]
    pub(crate) allow_peer: Vec<String>,

    /// Never relay to these addresses
    #[arg(long, value_name = "CIDR", env = "STERNA_DENY_PEER", value_delimiter = ',')]
    pub(crate) deny_peer: Vec<String>,

    /// The ports that relayed addresses get
    #[arg(long, value_name = "MIN-MAX", env = "STERNA_RELAY_PORTS", default_value = "49152-50175")]
    pub(crate) relay_ports: PortRange,

    /// One port for all relayed addresses in place of those, which are told apart by their peers: for containers. Not
    /// for peers that many clients share, such as a media server, nor for TCP to peers
    #[arg(long, value_name = "PORT", env = "STERNA_RELAY_PORT", conflicts_with = "relay_ports",
          value_parser = clap::value_parser!(u16).range(1024..))]
    pub(crate) relay_port: Option<u16>,

    /// Relay no TCP connections to peers (RFC 6062)
    #[arg(long, env = "STERNA_NO_TCP_RELAY")]
    pub(crate) no_tcp_relay: bool,

    /// Relayed addresses at a time [default: 10000]
    #[arg(long, value_name = "N", env = "STERNA_MAX_ALLOCATIONS")]
    pub(crate) max_allocations: Option<usize>,

    /// Relayed addresses of one user at a time [default: 200]
    #[arg(long, value_name = "N", env = "STERNA_MAX_PER_USER")]
    pub(crate) max_per_user: Option<usize>,

    /// Relayed addresses of one client address at a time [default: 1000]
    #[arg(long, value_name = "N", env = "STERNA_MAX_PER_SOURCE")]
    pub(crate) max_per_source: Option<usize>,

    /// Bytes a second that one user may have relayed to peers, and as many back [default: any number]
    #[arg(long, value_name = "BYTES", env = "STERNA_MAX_BANDWIDTH_PER_USER",
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_bandwidth_per_user: Option<u64>,

    /// The same for all users together [default: any number]
    #[arg(long, value_name = "BYTES", env = "STERNA_MAX_BANDWIDTH", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_bandwidth: Option<u64>,

    /// The longest that a relayed address lives without being refreshed, seconds
    #[arg(long, value_name = "SECONDS", env = "STERNA_MAX_LIFETIME", default_value_t = 3600,
          value_parser = clap::value_parser!(u64).range(60..=3600))]
    pub(crate) max_lifetime: u64,

    /// The longest that a relayed address lives however often it is refreshed, seconds [default: any time]
    #[arg(long, value_name = "SECONDS", env = "STERNA_MAX_SESSION", value_parser = clap::value_parser!(u64).range(60..))]
    pub(crate) max_session: Option<u64>,

    /// Threads that relay, best as many as there are cores to spare
    #[arg(long, value_name = "N", env = "STERNA_RELAY_THREADS", default_value_t = 1,
          value_parser = clap::value_parser!(u64).range(1..=256))]
    pub(crate) relay_threads: u64,

    /// Keep looking for datagrams for a millisecond after each instead of sleeping: less delay, for a core
    #[arg(long, env = "STERNA_BUSY_POLL")]
    pub(crate) busy_poll: bool,

    /// The TURN URL of another relay that clients get as well, the preferred one first; this server's own
    /// stands by. It has to share the secret
    #[arg(
        long = "relay",
        alias = "relays",
        value_name = "URL",
        env = "STERNA_RELAYS",
        value_delimiter = ','
    )]
    pub(crate) relays: Vec<String>,

    /// How long credentials are good for that this server hands out, seconds; connections go on after that
    #[arg(long, value_name = "SECONDS", env = "STERNA_CREDENTIAL_LIFETIME", default_value_t = 4 * 3600,
          value_parser = clap::value_parser!(u64).range(60..=31_536_000))]
    pub(crate) credential_lifetime: u64,

    /// Where to serve /metrics, /healthz, /readyz and /ice-servers; a port alone is one of loopback
    #[arg(long, value_name = "[ADDR:]PORT", env = "STERNA_ADMIN", value_parser = super::settings::admin)]
    pub(crate) admin: Option<SocketAddr>,

    /// A file with the token that /ice-servers asks for (Authorization: Bearer). Without one it is not there
    #[arg(long, value_name = "FILE", env = "STERNA_TOKEN_FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// How long SIGTERM waits for sessions to end, seconds
    #[arg(long, value_name = "SECONDS", env = "STERNA_DRAIN", default_value_t = 60)]
    pub(crate) drain: u64,

    /// Other servers, with the same secret and certificate name, that new clients are sent to (ALTERNATE-SERVER) when
    /// this one is full (--max-allocations), and while its sessions end after SIGTERM: one of the client's address
    /// family, by lot
    #[arg(long, value_name = "IP[:PORT]", env = "STERNA_ALTERNATE_SERVER", value_delimiter = ',',
          value_parser = super::settings::server_address)]
    pub(crate) alternate_server: Vec<SocketAddr>,

    /// What log lines look like, on standard error
    #[arg(long, value_name = "text|json", env = "STERNA_LOG_FORMAT", default_value = "text")]
    pub(crate) log_format: Format,

    /// A file of these settings, in TOML: each key is the name of a flag, and `secret` is a secret or a list of them
    #[arg(long, value_name = "FILE", env = "STERNA_CONFIG")]
    pub(crate) config: Option<PathBuf>,

    /// The secrets that stand in the settings file.
    #[arg(skip)]
    pub(crate) secrets: Vec<String>,
}

impl Options {
    /// The files that a reload reads.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        let certificate = match &self.tls {
            Some(Tls::Files { certificate, key }) => vec![certificate, key],
            _ => Vec::new(),
        };
        let named = [
            &self.config,
            &self.secret_file,
            &self.users_file,
            &self.access_token_keys_file,
            &self.token_file,
            &self.auth_token_file,
            &self.stun_partner_secret_file,
        ];
        let named = named.into_iter().flatten().filter(|path| path.as_os_str() != "-");
        named.chain(certificate).cloned().collect()
    }
}

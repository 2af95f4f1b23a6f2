//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Connects any two machines, through whatever NATs and firewalls stand between them.
#[derive(Debug, Parser)]
#[command(name = "sterna", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 server, 4 code, 5 no connection, \
    6 other side gone or unwilling, 7 file, 8 checksum, 9 machine, 130 interrupted.\n\
    Environment: STERNA_SERVER, STERNA_CODE, NO_COLOR, RUST_LOG, SSLKEYLOGFILE.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print one JSON object a line, for programs (docs/json.md)
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Say only what matters
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server: web page, signalling, STUN and TURN in one process
    Serve(Serve),
    /// Send files and folders to whoever has the code
    Send(Send),
    /// Receive what somebody sends
    #[command(visible_alias = "recv")]
    Receive(Receive),
    /// Connect standard input and output of two machines
    Pipe(Pipe),
    /// Carry TCP connections and UDP datagrams to another machine
    Forward(Forward),
    /// Say what this network lets through, and what is in the way
    Doctor(crate::doctor::Doctor),
    /// Play with NATs, without root and in virtual time
    Lab(crate::lab::args::Lab),
}

/// How to find the other side.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reach {
    /// The server that introduces the two sides
    #[arg(long, value_name = "URL", env = "STERNA_SERVER", default_value = "http://127.0.0.1:8080")]
    pub(crate) server: String,

    /// Trust this certificate authority (PEM) as well
    #[arg(long, value_name = "FILE", env = "STERNA_CA")]
    pub(crate) ca: Option<PathBuf>,

    /// Connect only through the server's relay
    #[arg(long, conflicts_with = "no_relay")]
    pub(crate) relay_only: bool,

    /// Never connect through a relay
    #[arg(long)]
    pub(crate) no_relay: bool,

    /// Tell the other side all candidates at once instead of one by one
    #[arg(long)]
    pub(crate) no_trickle: bool,

    /// Do not ask the router, by PCP, NAT-PMP or UPnP, to let the other side in
    #[arg(long)]
    pub(crate) no_port_mapping: bool,

    /// Where NATs that change ports leave only a relay, look for a direct path with up to 1,024 packets from 256
    /// sockets; the other side has to want it, too
    #[arg(long, conflicts_with = "relay_only")]
    pub(crate) punch: bool,

    /// Use relays that this network offers, too (RFC 8155): by default only those inside TLS whose certificate
    /// names them; `any` trusts everybody in the network to be one
    #[arg(long, value_name = "tls|any", num_args = 0..=1, require_equals = true, default_missing_value = "tls",
          env = "STERNA_DISCOVER")]
    pub(crate) discover: Option<Discover>,
}

/// Which relays that the network offers may be used (RFC 8155 §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Discover {
    /// Those inside TLS, whose certificate names them
    Tls,
    /// All
    Any,
}

/// A code or a link.
#[derive(Clone, Debug, Args)]
pub(crate) struct CodeArg {
    /// The code or link that the other side shows; better given by STERNA_CODE or at the prompt, where
    /// other users of this machine cannot see it
    #[arg(value_name = "CODE", env = "STERNA_CODE", hide_env_values = true)]
    pub(crate) code: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDR", env = "STERNA_LISTEN")]
    pub(crate) listen: Option<IpAddr>,

    /// The port of the page and of signalling [default: 8080]
    #[arg(long, value_name = "PORT", env = "STERNA_HTTP")]
    pub(crate) http: Option<u16>,

    /// The port of STUN and TURN, on UDP and TCP [default: 3478]
    #[arg(long, value_name = "PORT", env = "STERNA_STUN")]
    pub(crate) stun: Option<u16>,

    /// The port of TURN over TLS, where there is a certificate [default: 5349]
    #[arg(long, value_name = "PORT", env = "STERNA_STUN_TLS")]
    pub(crate) stun_tls: Option<u16>,

    /// A second address of this machine, for NAT discovery (RFC 5780); behind a one-to-one NAT with the
    /// address that others see: 10.0.0.2=198.51.100.8. Takes the port after the one of STUN, too
    #[arg(long, value_name = "IP[=PUBLIC]", env = "STERNA_STUN_ALTERNATE")]
    pub(crate) stun_alternate: Option<String>,

    /// Another Sterna server at this address, for NAT discovery (RFC 5780) by two machines with one address each:
    /// the same ports, and --stun-partner with this one's address there. Takes the port after the one of STUN, too
    #[arg(long, value_name = "IP", env = "STERNA_STUN_PARTNER", conflicts_with = "stun_alternate")]
    pub(crate) stun_partner: Option<IpAddr>,

    /// What the two share; better given by the environment or the file, where other users cannot see it
    #[arg(long, value_name = "SECRET", env = "STERNA_STUN_PARTNER_SECRET", hide_env_values = true)]
    pub(crate) stun_partner_secret: Option<String>,

    /// The address under which others reach this server, if it is not its own
    #[arg(long, value_name = "IP", env = "STERNA_PUBLIC_IP")]
    pub(crate) public_ip: Option<IpAddr>,

    /// Use TLS: a certificate chain and its key in PEM files, or `self-signed`
    #[arg(long, value_name = "CERT,KEY|self-signed", env = "STERNA_TLS")]
    pub(crate) tls: Option<String>,

    /// Relay to these addresses although they are private (for tests)
    #[arg(long, value_name = "CIDR", env = "STERNA_ALLOW_PEER", value_delimiter = ',')]
    pub(crate) allow_peer: Vec<String>,

    /// The ports that relayed addresses get [default: 49152-65535]
    #[arg(long, value_name = "MIN-MAX", env = "STERNA_RELAY_PORTS")]
    pub(crate) relay_ports: Option<String>,

    /// Threads that relay, best as many as there are cores to spare [default: 1]
    #[arg(long, value_name = "N", env = "STERNA_RELAY_THREADS")]
    pub(crate) relay_threads: Option<usize>,

    /// Keep looking for datagrams for a millisecond after each instead of sleeping: less delay, for a core
    #[arg(long, env = "STERNA_BUSY_POLL")]
    pub(crate) busy_poll: bool,

    /// The TURN URL of another relay that clients get as well, the preferred one first; this server's own
    /// stands by. It has to share --secret-file
    #[arg(long = "relay", value_name = "URL", env = "STERNA_RELAYS", value_delimiter = ',')]
    pub(crate) relays: Vec<String>,

    /// A file with the secret that TURN credentials are made of, for relays that share it (another `sterna
    /// serve`, or coturn's static-auth-secret) [default: a new one at each start]
    #[arg(long, value_name = "FILE", env = "STERNA_SECRET_FILE")]
    pub(crate) secret_file: Option<PathBuf>,

    /// A file of these settings, in TOML
    #[arg(long, value_name = "FILE", env = "STERNA_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Send {
    /// Files and folders
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Receive {
    #[command(flatten)]
    pub(crate) code: CodeArg,

    /// The folder to put the files in
    #[arg(long, short, value_name = "DIR", default_value = ".")]
    pub(crate) out: PathBuf,

    /// Accept without asking
    #[arg(long, short)]
    pub(crate) yes: bool,

    /// Replace files that exist
    #[arg(long, conflicts_with = "rename")]
    pub(crate) overwrite: bool,

    /// Give new files another name where one exists
    #[arg(long)]
    pub(crate) rename: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Pipe {
    #[command(flatten)]
    pub(crate) code: CodeArg,

    /// Go on until the inputs of both sides have ended
    #[arg(long)]
    pub(crate) both: bool,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Forward {
    #[command(flatten)]
    pub(crate) code: CodeArg,

    /// Listen here and connect there, as seen from the other side: \[ADDR:\]PORT:HOST:PORT, with /udp at the end
    /// for datagrams
    #[arg(
        short = 'L',
        long = "local",
        value_name = "SPEC",
        help = "Listen here and connect there, as seen from the other side: [ADDR:]PORT:HOST:PORT, with /udp at the end \
                for datagrams"
    )]
    pub(crate) local: Vec<String>,

    /// Let the other side connect to this from here (default: any port of this machine's loopback)
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) allow: Vec<String>,

    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}

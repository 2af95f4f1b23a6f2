//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::relay::args::Options;

/// Connects any two machines, through whatever NATs and firewalls stand between them.
#[derive(Debug, Parser)]
#[command(name = "sterna", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 server, 4 code, 5 no connection, \
    6 other side gone or unwilling, 7 file, 8 checksum, 9 machine, 130 interrupted.\n\
    Environment: STERNA_SERVER, STERNA_CODE, HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY, NO_COLOR, RUST_LOG, SSLKEYLOGFILE.")]
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
    Serve(Box<Serve>),
    /// Run the STUN and TURN server alone, without page and signalling
    Relay(Box<crate::relay::args::Relay>),
    /// Make credentials for clients of a TURN server
    Credentials(Box<crate::credentials::Credentials>),
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
    /// The port of the page and of signalling
    #[arg(long, value_name = "PORT", env = "STERNA_HTTP", default_value_t = 8080)]
    pub(crate) http: u16,

    #[command(flatten)]
    pub(crate) options: Options,

    /// Become this user when the ports are taken and keys and secrets read. For those who start it as root; systemd's
    /// User= does the same
    #[arg(long, value_name = "NAME[:GROUP]", env = "STERNA_USER")]
    pub(crate) user: Option<String>,

    /// Check addresses, ports, keys and reachability, say what clients will be told, and end
    #[arg(long)]
    pub(crate) check: bool,
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

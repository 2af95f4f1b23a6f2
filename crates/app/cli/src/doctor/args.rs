//! The command line of `sterna doctor`.

use std::path::PathBuf;

use clap::Args;

use crate::args::{Discover, Reach};

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Look at two machines: the code that the other one shows with --invite. Both reports are exchanged, a path is
    /// predicted, and a real connection is made
    #[arg(value_name = "CODE", conflicts_with = "invite")]
    pub(crate) code: Option<String>,

    /// Look at two machines: show a code, to be given to `sterna doctor` on the other one
    #[arg(long)]
    pub(crate) invite: bool,

    /// The server to examine: its page and signalling, its STUN and TURN, its clock [default:
    /// http://127.0.0.1:8080, unless there is --stun or --turn]
    #[arg(long, value_name = "URL", env = "STERNA_SERVER")]
    pub(crate) server: Option<String>,

    /// Trust this certificate authority (PEM) as well
    #[arg(long, value_name = "FILE", env = "STERNA_CA")]
    pub(crate) ca: Option<PathBuf>,

    /// Ask this STUN server as well; may be given several times. One that has two addresses tells most
    #[arg(long, value_name = "HOST[:PORT]", value_delimiter = ',')]
    pub(crate) stun: Vec<String>,

    /// Ask this TURN server for a relayed address as well, such as turn:example.org?transport=tcp
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub(crate) turn: Vec<String>,

    /// The user of --turn
    #[arg(long, value_name = "NAME", env = "STERNA_TURN_USER")]
    pub(crate) turn_user: Option<String>,

    /// The password of --turn; better given by the environment, where other users cannot see it
    #[arg(long, value_name = "PASSWORD", env = "STERNA_TURN_PASSWORD", hide_env_values = true)]
    pub(crate) turn_password: Option<String>,

    /// Look for relays that this network offers, too (RFC 8155), in its DNS, by multicast DNS and at the anycast
    /// addresses; with two machines, use those inside TLS, or `any`
    #[arg(long, value_name = "tls|any", num_args = 0..=1, require_equals = true, default_missing_value = "tls",
          env = "STERNA_DISCOVER")]
    pub(crate) discover: Option<Discover>,

    /// Find out how long a NAT remembers an idle connection, too; takes that many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "120",
          value_parser = clap::value_parser!(u64).range(8..=3600))]
    pub(crate) lifetime: Option<u64>,

    /// Write what was found into an archive for a bug report, without addresses and names
    #[arg(long, value_name = "FILE.tar")]
    pub(crate) bundle: Option<PathBuf>,
}

impl Doctor {
    /// How to find the other machine, if there is to be one.
    pub(super) fn reach(&self, server: &str) -> Option<Reach> {
        (self.invite || self.code.is_some()).then(|| Reach {
            server: self.server.clone().unwrap_or_else(|| server.to_owned()),
            ca: self.ca.clone(),
            relay_only: false,
            no_relay: false,
            no_trickle: false,
            no_port_mapping: false,
            punch: false,
            discover: self.discover,
        })
    }
}

//! `sterna credentials`: what clients of a TURN server are given.

use std::io::{IsTerminal, Read as _};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::relay::args::Options;
use crate::relay::settings::PublicIp;
use crate::relay::{self, Addresses, IceServers, Ports, Settings, read_secrets, unix_time};

/// The longest password.
const LONGEST: u64 = 4096;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Credentials {
    #[command(subcommand)]
    task: Option<Task>,

    /// Whom the credentials are for: quotas go by this name
    #[arg(long, value_name = "NAME", default_value = "anonymous")]
    pub(crate) user: String,

    /// How long they are good for, seconds [default: --credential-lifetime]
    #[arg(long, value_name = "SECONDS")]
    lifetime: Option<u64>,

    #[command(flatten)]
    pub(crate) options: Options,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Print a line for --users-file; the password is asked for, or read from standard input
    Hash {
        /// The user's name
        #[arg(value_name = "NAME")]
        name: String,

        /// The server's realm: in another one the line is worth nothing
        #[arg(long, value_name = "REALM", env = "STERNA_REALM", default_value = "sterna")]
        realm: String,
    },
}

pub(crate) fn run(args: Credentials, output: Output) -> Result<(), Failure> {
    match &args.task {
        Some(Task::Hash { name, realm }) => user_line(name, realm, output),
        None => print(&args, output),
    }
}

/// Ready `iceServers`, with the secret of the server.
fn print(args: &Credentials, output: Output) -> Result<(), Failure> {
    let mut settings = Settings::gather(&args.options)?;
    let secrets = read_secrets(&args.options, None)?;
    let Some(maker) = secrets.maker else {
        let message = "time-limited credentials are made with a shared secret, and there is none: users of \
                       --users-file have their passwords";
        return Err(Failure::new(Kind::Usage, message));
    };
    if args.user.contains(':') || args.user.is_empty() {
        return Err(Failure::new(Kind::Usage, "--user is a name without colons"));
    }
    // This may be another machine than the server: its addresses are those that were named.
    let named = settings.public.iter().filter_map(|public| match public {
        PublicIp::Is(ip) => Some(*ip),
        PublicIp::Auto => None,
    });
    let listen = settings.listen.iter().copied().filter(|listen| !listen.is_unspecified());
    let names: Vec<_> = named.chain(listen).collect();
    if settings.host.is_none() && names.is_empty() {
        let message =
            "say how clients reach the server, by --host or --public-ip, or by --config FILE of the server";
        return Err(Failure::new(Kind::Usage, message));
    }
    let names = if names.is_empty() { settings.listen.clone() } else { names };
    settings.listen = names.clone();
    if let Some(lifetime) = args.lifetime {
        settings.credential_lifetime = lifetime;
    }
    let addresses = Addresses { names, relay: Vec::new() };
    let tls = settings.tls.is_some().then_some(settings.stun_tls);
    let ports = Ports { stun: settings.stun, tls, ..Ports::default() };
    let servers = IceServers::new(&settings, &addresses, ports, Some(maker));
    let now = unix_time();
    let made = servers.make(&args.user, None, None, now);
    output.event("credentials", json!({ "iceServers": made, "expires": now + settings.credential_lifetime }));
    output.say(&serde_json::to_string_pretty(&made).unwrap_or_default());
    Ok(())
}

fn user_line(name: &str, realm: &str, output: Output) -> Result<(), Failure> {
    if name.is_empty()
        || name.contains([':', ' '])
        || name.contains(char::is_control)
        || name.starts_with('#')
    {
        return Err(Failure::new(
            Kind::Usage,
            "a user's name has no colon and no space, and does not begin with #",
        ));
    }
    let password = password(output)?;
    let line = turn::User::new(name, password).line(realm);
    output.event("user", json!({ "line": line }));
    output.say(&line);
    Ok(())
}

/// The password, of standard input.
fn password(output: Output) -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        output.note("password (it will be shown; a file or a pipe on standard input does as well):");
    }
    let mut text = String::new();
    let read = if std::io::stdin().is_terminal() {
        std::io::stdin().read_line(&mut text)
    } else {
        std::io::stdin().take(LONGEST).read_to_string(&mut text)
    };
    read.map_err(|error| Failure::new(Kind::File, format!("cannot read the password: {error}")))?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.contains(['\r', '\n']) {
        return Err(Failure::new(Kind::Usage, "a password is one line; it is read from standard input"));
    }
    relay::check_password(password).map_err(|why| Failure::new(Kind::Usage, why))?;
    Ok(password.to_owned())
}

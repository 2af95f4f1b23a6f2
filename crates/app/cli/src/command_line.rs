//! The command line and, for servers, the settings file: each of its keys is a flag, and is read like one.
//!
//! A flag wins over the environment, the environment over the file, the file over the default.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, CommandFactory, FromArgMatches, Parser};
use toml::Value;

use crate::args::{Cli, Command};
use crate::failure::{Failure, Kind};
use crate::relay::args::Options;
use crate::relay::import;

/// Flags that make no sense in a file.
const NOT_SETTINGS: [&str; 4] = ["config", "check", "import", "lifetime"];
/// Keys less alike than this are not suggested.
const ALIKE: f64 = 0.75;

/// Why there is nothing to do.
pub(crate) enum Unread {
    /// The command line is wrong, or asked for help.
    Usage(clap::Error),
    /// The settings file is wrong.
    File(Failure),
}

impl From<clap::Error> for Unread {
    fn from(error: clap::Error) -> Self {
        Self::Usage(error)
    }
}

/// Reads the command line, and the settings file that it names.
pub(crate) fn parse(mut arguments: Vec<OsString>) -> Result<Cli, Unread> {
    let matches = Cli::command().try_get_matches_from(&arguments)?;
    let Some((name, given, path)) = settings_file(&matches) else {
        return Ok(Cli::from_arg_matches(&matches)?);
    };
    let root = Cli::command();
    let command = root.find_subcommand(name).expect("it was matched");
    let settings = read(&path, command, given).map_err(Unread::File)?;
    arguments.extend(settings.arguments);
    let mut cli = Cli::try_parse_from(&arguments).map_err(|error| Unread::File(in_file(&path, &error)))?;
    if let Some(options) = cli.command.options_mut() {
        options.secrets = settings.secrets;
    }
    Ok(cli)
}

/// The command with a settings file, what was given to it, and the file.
fn settings_file(matches: &ArgMatches) -> Option<(&str, &ArgMatches, PathBuf)> {
    let (name, given) = matches.subcommand()?;
    if !matches!(name, "serve" | "relay" | "credentials") || given.subcommand().is_some() {
        return None;
    }
    Some((name, given, given.get_one::<PathBuf>("config")?.clone()))
}

impl Command {
    /// What the STUN and TURN server is told, if this is a command of one.
    pub(crate) fn options_mut(&mut self) -> Option<&mut Options> {
        match self {
            Self::Serve(serve) => Some(&mut serve.options),
            Self::Relay(relay) => Some(&mut relay.options),
            Self::Credentials(credentials) => Some(&mut credentials.options),
            _ => None,
        }
    }
}

#[derive(Debug, Default)]
struct SettingsFile {
    /// Its keys as flags, but for those that flags or environment override.
    arguments: Vec<OsString>,
    /// What never is a flag.
    secrets: Vec<String>,
}

fn read(path: &Path, command: &clap::Command, given: &ArgMatches) -> Result<SettingsFile, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, &error))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text[..at].matches('\n').count() + 1;
        wrong(path, &format!("line {line}: {}", error.message().replace('\n', " ")))
    })?;
    let mut settings = SettingsFile::default();
    for (key, value) in table {
        let values = values(&value).ok_or_else(|| {
            wrong(path, &format!("{key} is no table: all keys stand on their own, without [headers]"))
        })?;
        if key == "secret" {
            settings.secrets = values;
            continue;
        }
        let known = |argument: &&clap::Arg| {
            let names = argument.get_long().into_iter().chain(argument.get_all_aliases().unwrap_or_default());
            names.into_iter().any(|name| name == key) && is_setting(command, &key)
        };
        let Some(argument) = command.get_arguments().find(known) else {
            // One file serves for both commands: the page has keys of its own.
            if is_key_elsewhere(&key) {
                continue;
            }
            return Err(unknown(path, &key, command));
        };
        let overridden = matches!(
            given.value_source(argument.get_id().as_str()),
            Some(ValueSource::CommandLine | ValueSource::EnvVariable)
        );
        if overridden {
            continue;
        }
        if matches!(argument.get_action(), ArgAction::SetTrue) {
            match value {
                Value::Boolean(true) => settings.arguments.push(format!("--{key}").into()),
                Value::Boolean(false) => {}
                _ => return Err(wrong(path, &format!("{key} is a switch: write {key} = true, or false"))),
            }
            continue;
        }
        settings.arguments.extend(values.into_iter().map(|value| format!("--{key}={value}").into()));
    }
    Ok(settings)
}

/// Whether what a flag of a command is called may stand in a file. (Whom a server becomes is none of the business of
/// `credentials`, where a user is whom they are for.)
fn is_setting(command: &clap::Command, name: &str) -> bool {
    !NOT_SETTINGS.contains(&name) && (command.get_name(), name) != ("credentials", "user")
}

/// Whether the other server command has the key.
fn is_key_elsewhere(key: &str) -> bool {
    let root = Cli::command();
    let of = |name: &str| {
        let command = root.find_subcommand(name).expect("there is such a command");
        command.get_arguments().any(|argument| argument.get_long() == Some(key))
    };
    !NOT_SETTINGS.contains(&key) && (of("serve") || of("relay"))
}

/// A value as flags would have it; a list is a flag given several times.
fn values(value: &Value) -> Option<Vec<String>> {
    Some(match value {
        Value::String(text) => vec![text.clone()],
        Value::Integer(number) => vec![number.to_string()],
        Value::Float(number) => vec![number.to_string()],
        Value::Boolean(yes) => vec![yes.to_string()],
        Value::Array(list) => list.iter().map(values).collect::<Option<Vec<_>>>()?.concat(),
        Value::Datetime(_) | Value::Table(_) => return None,
    })
}

fn unknown(path: &Path, key: &str, command: &clap::Command) -> Failure {
    if let Some(ours) = import::ours(key) {
        return wrong(path, &format!("there is no key `{key}`; what coturn calls that is `{ours}` here"));
    }
    let keys: Vec<&str> = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|name| is_setting(command, name))
        .chain(["secret"])
        .collect();
    let alike =
        |name: &str| strsim::jaro_winkler(name, key).max(strsim::jaro_winkler(name, &key.replace('_', "-")));
    let nearest = keys.iter().copied().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest.filter(|name| alike(name) > ALIKE) {
        Some(nearest) => wrong(path, &format!("there is no key `{key}`; did you mean `{nearest}`?")),
        None => wrong(path, &format!("there is no key `{key}`; there are {}", keys.join(", "))),
    }
}

/// What clap says of a value, in one line, and where it stands.
fn in_file(path: &Path, error: &clap::Error) -> Failure {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    wrong(path, line)
}

fn wrong(path: &Path, what: &str) -> Failure {
    Failure::new(Kind::Usage, format!("{}: {what}", path.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::transfer::scratch::Scratch;

    /// The options of a command line, as if given to the program.
    pub(crate) fn options(arguments: &[&str]) -> Result<Options, String> {
        let arguments = ["sterna"].iter().chain(arguments).map(OsString::from).collect();
        match parse(arguments) {
            Ok(mut cli) => Ok(cli.command.options_mut().expect("a server's command").clone()),
            Err(Unread::Usage(error)) => Err(error.to_string()),
            Err(Unread::File(failure)) => Err(failure.message),
        }
    }

    fn with_file(text: &str, arguments: &[&str]) -> Result<Options, String> {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let scratch = Scratch::new(&format!("command-line-{number}"));
        let path = scratch.write("s.toml", text.as_bytes());
        options(&[&["relay", "--config", path.to_str().unwrap()], arguments].concat())
    }

    #[test]
    fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
        let text = "stun = 2\nstun-tls = 5\nlisten = [\"0.0.0.0\", \"::\"]\nsecret = \"x\"\n";
        let options = with_file(text, &["--stun", "3"]).unwrap();
        assert_eq!((options.stun, options.stun_tls, options.drain), (3, 5, 60));
        assert_eq!(options.listen.len(), 2);
        assert_eq!(options.secrets, ["x"]);
        let relays = with_file("relays = [\"turn:a.example\"]", &[]).unwrap().relays;
        assert_eq!(relays, ["turn:a.example"]);
    }

    #[test]
    fn every_key_is_a_flag_and_an_environment_variable() {
        let root = Cli::command();
        for command in ["serve", "relay"].map(|name| root.find_subcommand(name).unwrap()) {
            let mut keys = 0;
            for argument in command.get_arguments().filter(|argument| !argument.is_global_set()) {
                let name = argument.get_long().unwrap();
                if ["help", "version", "check", "import"].contains(&name) {
                    continue;
                }
                let variable = argument.get_env().and_then(|name| name.to_str());
                let expected = match name {
                    "relay" => "STERNA_RELAYS".to_owned(),
                    name => format!("STERNA_{}", name.replace('-', "_").to_ascii_uppercase()),
                };
                assert_eq!(variable, Some(&*expected), "--{name}");
                keys += 1;
            }
            assert!(keys > 40, "{keys}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_right_one() {
        for (text, right) in [
            ("relay_ports = \"1024-2048\"", "`relay-ports`"),
            ("pubic-ip = \"1.2.3.4\"", "`public-ip`"),
            ("secrets = \"x\"", "`secret`"),
            ("external-ip = \"1.2.3.4\"", "`public-ip` here"),
            ("static-auth-secret = \"x\"", "`secret` here"),
        ] {
            let message = with_file(text, &[]).unwrap_err();
            assert!(message.contains(right) && message.contains("s.toml"), "{message}");
        }
        let message = with_file("zzz = 1", &[]).unwrap_err();
        assert!(message.contains("there are listen"), "{message}");
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said_in_one_line_with_its_name() {
        for (text, words) in [
            ("stun = 70000", ["s.toml", "70000"]),
            ("listen = \"here\"", ["s.toml", "here"]),
            ("\n\nstun == 3", ["s.toml", "line 3"]),
            ("[relay]\nstun = 3", ["s.toml", "relay is no table"]),
            ("config = \"other.toml\"", ["s.toml", "no key `config`"]),
            ("busy-poll = \"yes\"", ["s.toml", "busy-poll = true"]),
            ("no-tcp-relay = \"true\"", ["s.toml", "no-tcp-relay = true"]),
            ("no-dtls = 1", ["s.toml", "no-dtls = true"]),
        ] {
            let message = with_file(text, &[]).unwrap_err();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
            assert!(!message.contains('\n'), "{message:?}");
        }
    }

    #[test]
    fn switches_are_switched_by_what_is_true_and_what_is_false() {
        for yes in [true, false] {
            assert_eq!(with_file(&format!("busy-poll = {yes}"), &[]).unwrap().busy_poll, yes);
        }
    }

    #[test]
    fn one_file_does_for_both_commands() {
        assert!(
            with_file("http = 8080\nstun = 3", &[]).is_ok(),
            "the page's port is none of the relay's business"
        );
        let scratch = Scratch::new("command-line-user");
        let path = scratch.write("s.toml", b"user = \"sterna\"\nstun = 3\n");
        let of = |command: &str| {
            parse(["sterna", command, "--config", path.to_str().unwrap()].map(OsString::from).to_vec())
        };
        let Ok(Cli { command: Command::Relay(relay), .. }) = of("relay") else { panic!("it is read") };
        assert_eq!((relay.user.as_deref(), relay.options.stun), (Some("sterna"), 3));
        let Ok(Cli { command: Command::Credentials(credentials), .. }) = of("credentials") else {
            panic!("it is read")
        };
        assert_eq!((credentials.user.as_str(), credentials.options.stun), ("anonymous", 3));
    }
}

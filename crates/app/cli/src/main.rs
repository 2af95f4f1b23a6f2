//! The `sterna` command: connects any two machines.

mod args;
mod command_line;
mod credentials;
mod doctor;
mod failure;
mod forward;
mod lab;
mod negotiation;
mod offered;
mod output;
mod pipe;
mod qr;
mod receive;
mod relay;
mod reunion;
mod send;
mod serve;
mod session;
mod transfer;

use std::process::ExitCode;

use clap::error::ErrorKind;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry};

use crate::args::Command;
use crate::command_line::Unread;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::relay::settings::Format;

fn main() -> ExitCode {
    let mut cli = match command_line::parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(Unread::Usage(error)) => return usage(&error),
        Err(Unread::File(failure)) => {
            Output::new(asks_for_json(), false).failed(&failure);
            return failure.exit_code();
        }
    };
    let output = Output::new(cli.json, cli.quiet);
    log(&mut cli.command);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure = Failure::new(Kind::Other, format!("cannot start: {error}"));
            output.failed(&failure);
            return failure.exit_code();
        }
    };
    let result = runtime.block_on(async {
        match cli.command {
            Command::Serve(args) => serve::run(*args, output).await,
            Command::Relay(args) => relay::run(*args, output).await,
            Command::Credentials(args) => credentials::run(*args, output),
            Command::Send(args) => send::run(args, output).await,
            Command::Receive(args) => receive::run(args, output).await,
            Command::Pipe(args) => pipe::run(args, output).await,
            Command::Forward(args) => forward::run(args, output).await,
            Command::Doctor(args) => doctor::run(args, output).await,
            Command::Lab(args) => lab::run(args, output).await,
        }
    });
    // A thread that waits for standard input would otherwise keep the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failed(&failure);
            failure.exit_code()
        }
    }
}

/// A wrong command line, told as clap tells it, or as an event if `--json` was among it.
fn usage(error: &clap::Error) -> ExitCode {
    let informative = matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    );
    if !informative && asks_for_json() {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Output::new(true, false).failed(&Failure::new(Kind::Usage, line));
    } else {
        let _ = error.print();
    }
    if error.use_stderr() { ExitCode::from(Kind::Usage.exit()) } else { ExitCode::SUCCESS }
}

/// Whether a program reads what we say, as far as a wrong command line tells.
fn asks_for_json() -> bool {
    std::env::args_os().any(|argument| argument == "--json")
}

/// Logs go to standard error: what `RUST_LOG` asks for, or what matters. Of a relay, that is also who came and went. The
/// terminal of a person who tries `serve` is spared that: there it is what programs read.
fn log(command: &mut Command) {
    let form = match command.options_mut() {
        Some(options) => options.log_format,
        None => Format::Text,
    };
    let usual = match (&*command, form) {
        (Command::Relay(_), _) | (Command::Serve(_), Format::Json) => "warn,sterna=info,sterna_relay=info",
        _ => "error",
    };
    let usual: Targets = usual.parse().expect("a filter");
    let asked = std::env::var("RUST_LOG").ok().map(|text| text.parse());
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let logs: Box<dyn Layer<Registry> + Send + Sync> = match form {
        Format::Text => format.boxed(),
        Format::Json => {
            format.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    let wrong =
        asked.as_ref().and_then(|asked: &Result<Targets, _>| asked.as_ref().err().map(ToString::to_string));
    let filter = asked.and_then(Result::ok).unwrap_or(usual);
    tracing_subscriber::registry().with(logs).with(filter).init();
    if let Some(wrong) = wrong {
        tracing::error!("RUST_LOG is not understood ({wrong}): say debug, or target=level,target=level");
    }
}

//! The `sterna` command: connects any two machines.

mod args;
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
mod reunion;
mod send;
mod serve;
mod session;
mod transfer;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::failure::{Failure, Kind};
use crate::output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let output = Output::new(cli.json, cli.quiet);
    log();
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
            Command::Serve(args) => serve::run(args, output).await,
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
    if !informative && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Output::new(true, false).failed(&Failure::new(Kind::Usage, line));
    } else {
        let _ = error.print();
    }
    if error.use_stderr() { ExitCode::from(Kind::Usage.exit()) } else { ExitCode::SUCCESS }
}

/// Logs go to standard error, and only those that `RUST_LOG` asks for.
fn log() {
    let filter = EnvFilter::builder().with_env_var("RUST_LOG").from_env_lossy();
    let filter = if std::env::var_os("RUST_LOG").is_some() { filter } else { EnvFilter::new("error") };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

//! `cargo xtask test` installs what the tests need, then runs them all; see `cargo xtask help`.

mod install;
mod instructions;
mod links;
mod steps;

use std::process::ExitCode;

const HELP: &str = "\
cargo xtask test      install what the tests need, then run everything that CI runs
cargo xtask install   only install what the tests need
cargo xtask quick     fmt, clippy and the tests that need no third-party program
cargo xtask instructions [accept]   count instructions, and compare with docs/instructions.md, or add a row to it";

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_else(|| "help".to_owned());
    match command.as_str() {
        "test" => steps::test(),
        "install" => match install::everything() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("xtask: {error}");
                ExitCode::FAILURE
            }
        },
        "quick" => steps::quick(),
        "instructions" => steps::instructions(std::env::args().nth(2).as_deref() == Some("accept")),
        "help" | "--help" | "-h" => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("xtask: there is no {other:?}\n{HELP}");
            ExitCode::from(2)
        }
    }
}

//! `sterna lab`: NATs to play with.

pub(crate) mod args;
mod grid;
#[cfg(target_os = "linux")]
mod kernel;
mod punch;
mod run;

use crate::failure::Failure;
use crate::output::Output;
use args::{Lab, LabCommand};

pub(crate) async fn run(args: Lab, output: Output) -> Result<(), Failure> {
    match args.command {
        LabCommand::Grid(args) => grid::run(args, output),
        LabCommand::Punch(args) => punch::run(args, output),
        LabCommand::Run(args) => run::run(args, output),
        #[cfg(target_os = "linux")]
        LabCommand::Kernel(args) => kernel::run(args, output).await,
    }
}

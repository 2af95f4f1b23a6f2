//! `sterna lab`: NATs to play with.

pub(crate) mod args;
mod grid;
mod run;

use crate::failure::Failure;
use crate::output::Output;
use args::{Lab, LabCommand};

pub(crate) fn run(args: Lab, output: Output) -> Result<(), Failure> {
    match args.command {
        LabCommand::Grid(args) => grid::run(args, output),
        LabCommand::Run(args) => run::run(args, output),
    }
}

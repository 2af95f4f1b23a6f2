//! What `cargo xtask test` runs, in order. All steps run, so that one failure does not hide another.

use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::install::{self, python_environment, root, run};
use crate::{instructions, links};

type Step = (&'static str, fn() -> Result<(), String>);

const FORMAT: Step = ("format", || cargo(&["fmt", "--all", "--check"]));
const CLIPPY: Step =
    ("clippy", || cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"]));

const ALL: &[Step] = &[
    ("install", install::everything),
    FORMAT,
    ("deny", || cargo(&["deny", "--log-level", "error", "check", "bans", "licenses", "sources"])),
    CLIPPY,
    ("documentation", documentation),
    ("links", links::check),
    ("book", book),
    ("build", build),
    ("instructions", || instructions::count(false)),
    ("tests", || tests(&["--workspace"])),
    ("examples in documentation", || cargo(&["test", "--workspace", "--doc", "--quiet"])),
    ("fuzz corpora", fuzz_corpora),
];

const QUICK: &[Step] = &[
    FORMAT,
    CLIPPY,
    ("tests", || tests(&["--workspace", "--exclude", "sterna-interop", "--exclude", "sterna-kernel"])),
];

/// Everything that CI runs.
pub(crate) fn test() -> ExitCode {
    all(ALL)
}

/// What a person runs between two edits.
pub(crate) fn quick() -> ExitCode {
    all(QUICK)
}

/// Counts instructions, or takes new counts for the standard.
pub(crate) fn instructions(accept: bool) -> ExitCode {
    // With the features of the whole workspace, as CI builds it: it is the same program.
    let example = ["build", "--workspace", "--example", "instructions", "--quiet"];
    match cargo(&example).and_then(|()| instructions::count(accept)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn all(steps: &[Step]) -> ExitCode {
    let started = Instant::now();
    let mut failed = Vec::new();
    let mut lines = Vec::new();
    for (name, step) in steps {
        println!("\n=== {name} ===");
        let begun = Instant::now();
        let result = step();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        lines.push(format!("{verdict:>6}  {:>6.1} s  {name}", begun.elapsed().as_secs_f64()));
        if let Err(error) = result {
            eprintln!("xtask: {error}");
            failed.push(*name);
        }
    }
    println!("\n{}\n{:>6}  {:>6.1} s  in all", lines.join("\n"), "", started.elapsed().as_secs_f64());
    println!("steps: {} passed, {} failed", steps.len() - failed.len(), failed.len());
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cargo(arguments: &[&str]) -> Result<(), String> {
    run(Command::new("cargo").args(arguments).current_dir(root()))
}

fn documentation() -> Result<(), String> {
    // The program's name is the library's, and so their pages share a folder: one after the other, the library's last.
    let program = ["--package", "sterna-cli"];
    let others = ["--workspace", "--exclude", "sterna-cli"];
    for packages in [&program[..], &others] {
        let mut command = Command::new("cargo");
        command.args(["doc", "--no-deps", "--quiet"]).args(packages).env("RUSTDOCFLAGS", "-D warnings");
        run(command.current_dir(root()))?;
    }
    Ok(())
}

/// The book as people read it: `docs/book/book/index.html`, from where its links to files of ours lead to them.
fn book() -> Result<(), String> {
    let mut command = Command::new(python_environment().join("bin/mdbook"));
    run(command.args(["build", "docs/book"]).current_dir(root()))
}

fn build() -> Result<(), String> {
    cargo(&["build", "--workspace", "--bins", "--examples", "--quiet"])
}

/// Where cargo puts the programs that it builds for tests.
pub(crate) fn programs() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("debug")
}

fn tests(which: &[&str]) -> Result<(), String> {
    let mut command = Command::new("cargo");
    command.args(["nextest", "run", "--no-tests", "pass"]).args(which).current_dir(root());
    command.env("STERNA_BIN", programs().join("sterna"));
    command.env("STERNA_PYTHON", python_environment().join("bin/python"));
    run(&mut command)
}

/// Replays what the fuzzers have found, with stable Rust: each target is a plain function of bytes.
fn fuzz_corpora() -> Result<(), String> {
    if !root().join("fuzz/Cargo.toml").exists() {
        return Err("the fuzz workspace is missing".to_owned());
    }
    let mut command = Command::new("cargo");
    command.args(["test", "--quiet"]).current_dir(root().join("fuzz"));
    command.env("CARGO_TARGET_DIR", programs().parent().expect("debug has a parent"));
    run(&mut command)
}

//! The command line of `sterna lab`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub(crate) struct Lab {
    #[command(subcommand)]
    pub(crate) command: LabCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LabCommand {
    /// Let every pair of NATs meet, many times, in virtual time
    Grid(Grid),
    /// Measure how often NATs that change ports are punched through, for each rule by which they do
    Punch(Punch),
    /// Play scenarios: hosts, networks and what happens to them, out of small files
    Run(Run),
    /// Let this very program meet itself through NATs of the Linux kernel; needs root
    #[cfg(target_os = "linux")]
    Kernel(Kernel),
}

#[derive(Debug, Args)]
pub(crate) struct Grid {
    /// What stands between the two and the internet: names of presets, `classic` or `all`
    #[arg(long, value_name = "NAME,NAME,…", value_delimiter = ',', default_value = "classic")]
    pub(crate) presets: Vec<String>,

    /// How often each pair meets
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) seeds: u64,

    /// The first seed; the same seed gives the same result
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=1 << 53))]
    pub(crate) seed: u64,

    /// How many packets in a hundred get lost between each box and the internet
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub(crate) loss: f64,

    /// Hold every machine to the laws of the simulator after each step; takes longer
    #[arg(long)]
    pub(crate) strict: bool,

    /// Write a page with the grid, in which each cell opens the ladder of its run
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Punch {
    /// How often each pair meets
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) seeds: u64,

    /// The first seed; the same seed gives the same result
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(..=1 << 53))]
    pub(crate) seed: u64,

    /// How many other connections a second pass each box
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1000))]
    pub(crate) busy: u32,

    /// How many packets in a hundred get lost between each box and the internet
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    pub(crate) loss: f64,
}

#[derive(Debug, Args)]
#[command(after_help = "The words of a scenario are in docs/scenarios.md, examples in scenarios/.")]
pub(crate) struct Run {
    /// The files
    #[arg(value_name = "SCENARIO.toml", required = true)]
    pub(crate) scenarios: Vec<PathBuf>,

    /// The dice, in place of those that the file names; the same seed gives the same run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(..=1 << 53))]
    pub(crate) seed: Option<u64>,

    /// Write what each host and each box saw into this folder, as captures for Wireshark
    #[arg(long, value_name = "DIR")]
    pub(crate) pcap: Option<PathBuf>,

    /// Draw the ladder: who sent what to whom, and which box rewrote or dropped it
    #[arg(long)]
    pub(crate) ladder: bool,
}

#[cfg(target_os = "linux")]
#[derive(Debug, Args)]
pub(crate) struct Kernel {
    /// What stands between the two and the internet: names of presets, `classic` or `all`
    #[arg(long, value_name = "NAME,NAME,…", value_delimiter = ',', default_value = "classic")]
    pub(crate) presets: Vec<String>,

    /// How often each pair meets
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: u32,

    /// How many pairs meet at a time
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) lanes: u8,

    /// Find out what each preset does to packets, and let nobody meet
    #[arg(long)]
    pub(crate) probe: bool,

    /// Let a program make every NAT (the simulator's own tables between TUN devices), not nftables
    #[arg(long)]
    pub(crate) userspace: bool,
}

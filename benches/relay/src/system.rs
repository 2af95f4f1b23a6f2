//! What the system is asked: cores, limits, and what a process has used.

use std::io;
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};

/// Keeps the calling thread, and what it starts, on `cores`.
pub(crate) fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    cores.iter().for_each(|core| set.set(*core));
    Ok(sched_setaffinity(None, &set)?)
}

/// Lets this process, and what it starts, open many files.
pub(crate) fn open_many_files() {
    let limit = Rlimit { current: Some(65_536), maximum: Some(65_536) };
    // Who may not raise it gets a clear error later, when files run out.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// CPU time that a process has used, in user and in kernel mode.
pub(crate) fn cpu_time(process: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name, which is in parentheses and may have anything in it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Ok(Duration::from_micros((ticks(11) + ticks(12)) * 1_000_000 / clock_ticks_per_second()))
}

/// CPU time of each thread of a process, by name.
pub(crate) fn threads(process: u32) -> io::Result<Vec<(String, Duration)>> {
    let mut threads = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        let name = std::fs::read_to_string(task.join("comm"))?.trim().to_owned();
        let ran = std::fs::read_to_string(task.join("schedstat"))?;
        let nanos = ran.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0);
        threads.push((name, Duration::from_nanos(nanos)));
    }
    threads.sort();
    Ok(threads)
}

/// Bytes of memory that a process has in use.
pub(crate) fn resident(process: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024)
}

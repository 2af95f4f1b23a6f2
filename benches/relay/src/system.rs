//! What the system is asked: cores, limits, and what a process has used.

use std::io;
use std::time::Duration;

/// Keeps the calling thread, and what it starts, on `cores`.
pub fn pin(cores: &[usize]) -> io::Result<()> {
    // SAFETY: all zeros is an empty set, the cores are small numbers, and the call only reads the set.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        cores.iter().for_each(|core| libc::CPU_SET(*core, &mut set));
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets this process, and what it starts, open many files.
pub fn open_many_files() {
    let limit = libc::rlimit { rlim_cur: 65_536, rlim_max: 65_536 };
    // SAFETY: the call only reads `limit`. Who may not raise it gets a clear error later, when files run out.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
}

/// CPU time that a process has used, in user and in kernel mode.
pub fn cpu_time(process: u32) -> io::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    // After the name, which is in parentheses and may have anything in it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    // SAFETY: asks for a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
    Ok(Duration::from_micros((ticks(11) + ticks(12)) * 1_000_000 / per_second))
}

/// CPU time of each thread of a process, by name.
pub fn threads(process: u32) -> io::Result<Vec<(String, Duration)>> {
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
pub fn resident(process: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    Ok(line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024)
}

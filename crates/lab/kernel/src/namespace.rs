use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::LabError;
use crate::guardian::Guardian;

/// What all our namespaces begin with; the id and start time of the process that made them follow.
const PREFIX: &str = "sterna-lab-";

/// A network namespace with a name, removed when dropped, together with the processes that still run in it.
#[derive(Debug)]
pub(crate) struct Namespace {
    name: String,
}

/// Says which lab of which process a namespace belongs to. Has a folder, removed when dropped.
#[derive(Debug)]
pub(crate) struct Owner {
    prefix: String,
    folder: PathBuf,
    /// Tidies up if this process is killed.
    _guardian: Guardian,
}

impl Owner {
    /// A new lab of this process. What dead processes left behind is removed first.
    pub(crate) fn new() -> Result<Self, LabError> {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let pid = std::process::id();
        let born = start_time(pid).unwrap_or_default();
        let _lock = lock()?;
        sweep()?;
        let lab = LABS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{PREFIX}{pid}-{born}-{lab}-");
        let folder = std::env::temp_dir().join(format!("{prefix}files"));
        let failed = |source| LabError::Io { what: format!("making {}", folder.display()), source };
        let _guardian = Guardian::new(&prefix, &folder)?;
        fs::create_dir(&folder).map_err(failed)?;
        Ok(Self { prefix, folder, _guardian })
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Namespace {
    /// Makes a namespace in which nothing is up but loopback, and IPv6 is off.
    pub(crate) fn new(owner: &Owner, name: &str) -> Result<Self, LabError> {
        let name = format!("{}{name}", owner.prefix);
        let lock = lock()?;
        run(Command::new("ip").args(["netns", "add", &name]), "")?;
        drop(lock);
        let namespace = Self { name };
        namespace.sysctls(&[
            ("net/ipv6/conf/all/disable_ipv6", "1"),
            ("net/ipv6/conf/default/disable_ipv6", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
        ])?;
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` in here, a command a line.
    pub(crate) fn ip(&self, lines: &str) -> Result<(), LabError> {
        run(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), lines).map(drop)
    }

    /// Replaces the rules in here.
    pub(crate) fn nft(&self, rules: &str) -> Result<(), LabError> {
        let mut command = command_in(&self.name, "nft");
        run(command.args(["-f", "-"]), &format!("flush ruleset\n{rules}")).map(drop)
    }

    /// Sets kernel parameters that namespaces have of their own, named by their paths below `/proc/sys`.
    pub(crate) fn sysctls(&self, parameters: &[(&str, &str)]) -> Result<(), LabError> {
        let write = |(parameter, value): &(&str, &str)| {
            let path = format!("/proc/sys/{parameter}");
            fs::write(&path, value).map_err(|source| LabError::Io { what: format!("writing {path}"), source })
        };
        enter(&self.name, || parameters.iter().try_for_each(write))?
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // There is nobody to tell of a failure; what stays is swept by the next lab.
        let _ = remove(&self.name);
    }
}

/// Runs `task` on a thread of its own that belongs to a namespace. What it opens there stays there: sockets, TUN
/// devices.
pub(crate) fn enter<T: Send>(namespace: &str, task: impl FnOnce() -> T + Send) -> Result<T, LabError> {
    let path = format!("/run/netns/{namespace}");
    let failed = |source| LabError::Io { what: format!("entering {path}"), source };
    let file = File::open(&path).map_err(failed)?;
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok::<T, rustix::io::Errno>(task())
        });
        match inside.join() {
            Ok(result) => result.map_err(|errno| failed(errno.into())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// `ip netns exec` replaces itself by the program, so that killing the child kills the program.
pub(crate) fn command_in(namespace: &str, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

/// Removes what processes left behind that were killed, together with their guardians, before they could tidy up.
fn sweep() -> Result<(), LabError> {
    let list = run(Command::new("ip").args(["netns", "list"]), "")?;
    for line in String::from_utf8_lossy(&list.stdout).lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let Some((pid, born)) = owner(name) else { continue };
        if start_time(pid) != Some(born) {
            // Its guardian may be at it, too.
            let _ = remove(name);
        }
    }
    let files = fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten();
    for file in files {
        let Some((pid, born)) = file.file_name().to_str().and_then(owner) else { continue };
        if start_time(pid) != Some(born) {
            let _ = fs::remove_dir_all(file.path());
        }
    }
    Ok(())
}

/// The process that made a namespace or a folder: its id and start time.
fn owner(name: &str) -> Option<(u32, u64)> {
    let mut parts = name.strip_prefix(PREFIX)?.splitn(3, '-');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// When a process started, in clock ticks after boot: with its id it names a process for good.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name in parentheses, may contain anything; the 22nd is the start time.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn remove(name: &str) -> Result<(), LabError> {
    let pids = run(Command::new("ip").args(["netns", "pids", name]), "")?;
    let pids = String::from_utf8_lossy(&pids.stdout).into_owned();
    if !pids.trim().is_empty() {
        // They may end on their own meanwhile, which is as good.
        let _ = run(Command::new("kill").arg("-KILL").args(pids.split_whitespace()), "");
    }
    run(Command::new("ip").args(["netns", "delete", name]), "").map(drop)
}

/// Held while namespaces are listed or made: the first `ip netns add` on a machine sets up `/run/netns`, and two
/// at once get in each other's way.
fn lock() -> Result<File, LabError> {
    // Not in a folder that anybody can write to: there it could be somebody else's.
    let path = Path::new("/run/sterna-lab.lock");
    let failed = |source| LabError::Io { what: format!("locking {}", path.display()), source };
    let file = File::create(path).map_err(failed)?;
    file.lock().map_err(failed)?;
    Ok(file)
}

/// Runs a command to its end, feeding it `input`.
pub(crate) fn run(command: &mut Command, input: &str) -> Result<Output, LabError> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(OsStr::to_string_lossy).collect();
    let text = if input.is_empty() { words.join(" ") } else { format!("{} <<< {input}", words.join(" ")) };
    let failed = |source| LabError::Io { what: format!("running `{text}`"), source };
    // A group of its own: Ctrl-C in a terminal asks us to tidy up, and must not end those who do it for us.
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut stdin = child.stdin.take().expect("it is piped");
    // A program that does not read its input breaks the pipe; its exit code tells.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(output);
    }
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(LabError::Failed { command: text, message })
}

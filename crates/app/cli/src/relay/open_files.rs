//! How many sockets the system lets this process have.

/// Every session takes one.
#[cfg(unix)]
const ENOUGH: u64 = 16_384;

/// Raises the limit as far as it goes without privileges. What a person should know if that is not far.
#[cfg(unix)]
pub(crate) fn raise() -> Option<String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // `None` is no limit at all.
    if current != maximum {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    let now = getrlimit(Resource::Nofile).current?;
    (now < ENOUGH).then(|| {
        format!(
            "this process may have {now} open files, one of which each session takes: raise the hard limit \
             (`ulimit -Hn`, LimitNOFILE= of systemd)"
        )
    })
}

#[cfg(not(unix))]
pub(crate) fn raise() -> Option<String> {
    None
}

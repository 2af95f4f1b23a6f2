//! How many files the process may open: each allocation is a socket, and a socket is a file.

#![allow(unsafe_code)] // Two system calls that read and write a struct of their own.

/// Raises the limit as far as the process may: what shells and service managers give is often 1,024. Whoever wants
/// less sets the hard limit.
#[cfg(unix)]
pub(crate) fn raise_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the first call writes to `limit`, the second reads it; both only for as long as they last.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

/// Elsewhere there is none that could be raised.
#[cfg(not(unix))]
pub(crate) fn raise_limit() {}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn the_limit_is_as_high_as_it_may_be() {
        super::raise_limit();
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 1 };
        // SAFETY: the call writes to `limit`.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
        assert_eq!(limit.rlim_cur, limit.rlim_max);
    }
}

//! Notices when an interface, an address or a route of this machine appears or disappears.

use std::sync::OnceLock;
use std::time::Duration;

use tokio::sync::watch;

/// One change is several messages: a route follows its address, which follows its interface.
const SETTLING: Duration = Duration::from_millis(30);

/// Changes whenever the addresses of this machine may have changed.
///
/// One thread serves all connections of a process; it sleeps until the system has something to tell.
pub(crate) fn changes() -> watch::Receiver<u64> {
    static CHANGES: OnceLock<watch::Sender<u64>> = OnceLock::new();
    let start = || {
        let (sender, _) = watch::channel(0);
        let teller = sender.clone();
        let work = move || {
            if let Err(error) = system::watch(&|| teller.send_modify(|count| *count += 1)) {
                tracing::warn!(%error, "changes of this machine's addresses go unnoticed");
            }
        };
        if let Err(error) = std::thread::Builder::new().name("sterna-changes".to_owned()).spawn(work) {
            tracing::warn!(%error, "changes of this machine's addresses go unnoticed");
        }
        sender
    };
    CHANGES.get_or_init(start).subscribe()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::io;

    use netlink_sys::protocols::NETLINK_ROUTE;
    use netlink_sys::{Socket, SocketAddr};

    use super::SETTLING;

    /// Links, and addresses and routes of both families.
    const GROUPS: i32 = libc::RTMGRP_LINK
        | libc::RTMGRP_IPV4_IFADDR
        | libc::RTMGRP_IPV4_ROUTE
        | RTMGRP_IPV6_IFADDR
        | RTMGRP_IPV6_ROUTE;
    const RTMGRP_IPV6_IFADDR: i32 = 0x100;
    const RTMGRP_IPV6_ROUTE: i32 = 0x400;

    /// Calls `tell` after every change, for ever.
    pub(super) fn watch(tell: &dyn Fn()) -> io::Result<()> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, GROUPS as u32))?;
        let mut message = Vec::with_capacity(1 << 16);
        loop {
            receive(&socket, &mut message, 0)?;
            std::thread::sleep(SETTLING);
            while receive(&socket, &mut message, libc::MSG_DONTWAIT).is_ok() {}
            tell();
        }
    }

    /// What a message says is of no interest: everything is listed anew, and compared.
    fn receive(socket: &Socket, message: &mut Vec<u8>, flags: i32) -> io::Result<()> {
        message.clear();
        match socket.recv(message, flags) {
            // There was more to tell than there was room for.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            other => other.map(drop),
        }
    }
}

/// Elsewhere the system is not asked to tell: who is interested looks now and then.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io;
    use std::time::Duration;

    const EVERY: Duration = Duration::from_secs(3);

    pub(super) fn watch(tell: &dyn Fn()) -> io::Result<()> {
        loop {
            std::thread::sleep(EVERY + super::SETTLING);
            tell();
        }
    }
}

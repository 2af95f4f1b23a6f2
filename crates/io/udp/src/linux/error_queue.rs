//! What the network says about datagrams that did not arrive: a socket's error queue (`IP_RECVERR`).

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::RawFd;

use super::{CONTROL_BYTES, Control, address, is};
use crate::Unreachable;

/// Whether `error` may be what an ICMP error has become (`icmp_err_convert` and `icmpv6_err_convert` in the kernel).
pub(super) fn tells_of_icmp(error: &io::Error) -> bool {
    let numbers = [
        libc::ECONNREFUSED,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
        libc::EHOSTDOWN,
        libc::ENONET,
        libc::ENOPROTOOPT,
        libc::EOPNOTSUPP,
        libc::EMSGSIZE,
        libc::EPROTO,
        libc::EACCES,
    ];
    numbers.iter().any(|number| is(error, *number))
}

/// One message of the error queue; the inner `None` if it is not about a datagram that did not arrive.
pub(super) fn receive_error(fd: RawFd) -> Option<Option<Unreachable>> {
    // SAFETY: all zeros is a valid `sockaddr_storage` and a valid `msghdr`.
    let (mut name, mut header): (libc::sockaddr_storage, libc::msghdr) =
        unsafe { (mem::zeroed(), mem::zeroed()) };
    let mut control = Control::new();
    header.msg_name = (&raw mut name).cast();
    header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    header.msg_control = control.bytes.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_BYTES as _;
    // SAFETY: `header` points to `name` and `control`, which live until after the call; there is no other buffer.
    if unsafe { libc::recvmsg(fd, &mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) } < 0 {
        return None;
    }
    // SAFETY: the kernel wrote a socket address of `msg_namelen` bytes: that of the datagram's destination.
    let to = unsafe { address(&name, header.msg_namelen) };
    // SAFETY: the header is as the kernel left it, and its control buffer is alive.
    let error = unsafe { extended_error(&header) };
    Some(to.zip(error).and_then(|(to, error)| {
        let (icmp_type, icmp_code) = match (error.ee_origin, to) {
            (libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6, _) => (error.ee_type, error.ee_code),
            // This machine has found it too large itself: it says what a router would.
            (libc::SO_EE_ORIGIN_LOCAL, SocketAddr::V4(_)) => (3, 4),
            (libc::SO_EE_ORIGIN_LOCAL, SocketAddr::V6(_)) => (2, 0),
            _ => return None,
        };
        let too_large = error.ee_errno == libc::EMSGSIZE as u32;
        if error.ee_origin == libc::SO_EE_ORIGIN_LOCAL && !too_large {
            return None;
        }
        Some(Unreachable { to, icmp_type, icmp_code, mtu: if too_large { error.ee_info } else { 0 } })
    }))
}

/// The error that a message of the error queue is about.
///
/// # Safety
/// `header` is as `recvmsg` left it, and its control buffer is alive.
unsafe fn extended_error(header: &libc::msghdr) -> Option<libc::sock_extended_err> {
    // SAFETY: by the caller's promise the macros walk messages that the kernel wrote, within the buffer.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: as above: `at` is null or points to a whole control message header.
    while let Some(message) = unsafe { at.as_ref() } {
        let kind = (message.cmsg_level, message.cmsg_type);
        if kind == (libc::IPPROTO_IP, libc::IP_RECVERR) || kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR) {
            // SAFETY: the kernel writes this type for these kinds.
            return Some(unsafe { libc::CMSG_DATA(at).cast::<libc::sock_extended_err>().read_unaligned() });
        }
        // SAFETY: as above.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    None
}

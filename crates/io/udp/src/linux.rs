//! `sendmsg` with `UDP_SEGMENT`, `sendmmsg`, and `recvmmsg` with `UDP_GRO`.

mod error_queue;

use std::io::{self, IoSlice};
use std::mem;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use libc::{c_int, c_void};
use sansio::{MAX_BATCH_BYTES, MAX_BATCH_SEGMENTS, Path, Transport};
use socket2::{SockAddr, SockRef};

use self::error_queue::{receive_error, tells_of_icmp};
use crate::bundle::{Arrived, BUNDLE_BYTES, slot};
use crate::handle::Handle;
use crate::segments::Segments;
use crate::socket::is_transient;
use crate::{Bundles, Config, Outcome, Transmit, Unreachable};

/// Room for the control messages of one call: a packet-info of either family, a segment size, a mark, and some to spare.
const CONTROL_BYTES: usize = 128;
/// Pieces that one call takes (`UIO_MAXIOV`).
const MAX_PIECES: usize = 1024;
/// In the type of service of IPv4 and the traffic class of IPv6 (RFC 3168 §5): may be marked, and is.
const ECT_0: c_int = 2;
const CE: u8 = 3;
/// Errors of the network that one call skips.
const MAX_SKIPPED: usize = 16;
/// How often a call is made again that failed with the error of an earlier datagram. A socket that is told of ICMP errors
/// has its next call fail for each, whomever that call is about.
const MAX_AGAIN: usize = 4;

/// What a socket remembers about its system.
pub(crate) struct State {
    /// Datagrams of this size and larger must not be segmented by the kernel; 0: none may.
    segment_below: AtomicUsize,
    /// The option that decides whether datagrams are fragmented, and what it says as a rule.
    fragmenting: Fragmenting,
    /// Whether the errors of the network are told.
    reports: bool,
}

struct Fragmenting {
    level: c_int,
    option: c_int,
    rule: c_int,
    /// Datagrams have the DF bit and are not sent at all if they are too large for the path.
    never: c_int,
}

/// Asks for large buffers: beyond the system's limit if the process may, up to it otherwise.
pub(crate) fn enlarge_buffers(socket: SockRef<'_>, config: &Config) {
    let fd = socket.as_raw_fd();
    let size = |bytes: usize| c_int::try_from(bytes).unwrap_or(c_int::MAX);
    if set_option(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, size(config.receive_buffer)).is_err() {
        let _ = socket.set_recv_buffer_size(config.receive_buffer);
    }
    if set_option(fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, size(config.send_buffer)).is_err() {
        let _ = socket.set_send_buffer_size(config.send_buffer);
    }
}

impl State {
    pub(crate) fn new(socket: SockRef<'_>, local: SocketAddr, config: &Config) -> io::Result<Self> {
        let fd = socket.as_raw_fd();
        if local.ip().is_unspecified() {
            match local {
                SocketAddr::V4(_) => set_option(fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?,
                SocketAddr::V6(_) => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?,
            }
        }
        let fragmenting = Fragmenting::of(local, config.never_fragment);
        if config.never_fragment {
            fragmenting.set(fd, fragmenting.rule)?;
        }
        if config.report_unreachable {
            match local {
                SocketAddr::V4(_) => set_option(fd, libc::IPPROTO_IP, libc::IP_RECVERR, 1)?,
                SocketAddr::V6(_) => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR, 1)?,
            }
        }
        if config.marks {
            // Without this nothing is told of marks, which is as if there were none.
            let _ = match local {
                SocketAddr::V4(_) => set_option(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1),
                SocketAddr::V6(_) => set_option(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1),
            };
        }
        // Old kernels and some sandboxes know neither; setting 0 changes nothing, and tells.
        let segments = config.segmentation && set_option(fd, libc::SOL_UDP, libc::UDP_SEGMENT, 0).is_ok();
        if config.coalescing {
            let _ = set_option(fd, libc::SOL_UDP, libc::UDP_GRO, 1);
        }
        let segment_below = AtomicUsize::new(if segments { usize::MAX } else { 0 });
        Ok(Self { segment_below, fragmenting, reports: config.report_unreachable })
    }

    pub(crate) fn segments(&self) -> bool {
        self.segment_below.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn send(&self, socket: &impl Handle, transmit: &Transmit<'_>) -> Outcome {
        self.send_as(socket, transmit, false)
    }

    /// Sends datagrams that routers may mark instead of dropping them.
    pub(crate) fn send_capable(&self, socket: &impl Handle, transmit: &Transmit<'_>) -> Outcome {
        self.send_as(socket, transmit, true)
    }

    fn send_as(&self, socket: &impl Handle, transmit: &Transmit<'_>, capable: bool) -> Outcome {
        let total: usize = transmit.bytes.iter().map(|piece| piece.len()).sum();
        if total == 0 {
            return Outcome::Sent;
        }
        let one_call = total <= MAX_BATCH_BYTES && total.div_ceil(transmit.segment) <= MAX_BATCH_SEGMENTS;
        if total <= transmit.segment
            || one_call && transmit.segment < self.segment_below.load(Ordering::Relaxed)
        {
            let segment = (total > transmit.segment).then_some(transmit.segment as u16);
            match or_blocked(socket, || send_message(fd(socket), transmit, segment, capable, self.reports)) {
                Ok(()) => return Outcome::Sent,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Outcome::Blocked { sent: 0 };
                }
                Err(error) if segment.is_some() && refuses_segmentation(&error) => {
                    let outcome = send_each(socket, transmit, capable, self.reports);
                    // Only if that went better was the segmentation to blame, and not, say, the address.
                    if !matches!(outcome, Outcome::Lost(_)) {
                        let limit = if is(&error, libc::EIO) { 0 } else { transmit.segment };
                        self.segment_below.fetch_min(limit, Ordering::Relaxed);
                        tracing::debug!(%error, limit, "the system refuses to segment; sending one by one");
                    }
                    return outcome;
                }
                Err(error) => return Outcome::Lost(error),
            }
        }
        send_each(socket, transmit, capable, self.reports)
    }

    /// Sends datagrams with the DF bit, and none that is too large for what is known of the path. (There is no way to say
    /// so of one datagram. What another thread sends meanwhile has the bit, too.)
    pub(crate) fn send_whole(&self, socket: &impl Handle, transmit: &Transmit<'_>) -> Outcome {
        if let Err(error) = self.fragmenting.set(fd(socket), self.fragmenting.never) {
            return Outcome::Lost(error);
        }
        let outcome = send_each(socket, transmit, false, false);
        let _ = self.fragmenting.set(fd(socket), self.fragmenting.rule);
        outcome
    }

    pub(crate) fn poll_unreachable(&self, socket: &impl Handle) -> Option<Unreachable> {
        if !self.reports {
            return None;
        }
        // What is no ICMP error is skipped.
        std::iter::from_fn(|| receive_error(fd(socket))).find_map(|error| error)
    }

    pub(crate) fn receive(
        &self,
        socket: &impl Handle,
        local: SocketAddr,
        bundles: &mut Bundles,
    ) -> io::Result<()> {
        let mut skipped = 0;
        loop {
            match receive_messages(fd(socket), local, bundles) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_transient(&error) && skipped < MAX_SKIPPED => skipped += 1,
                // Anybody can send an ICMP error. It shall not end the socket, whatever it says and however many come.
                Err(error) if self.reports && tells_of_icmp(&error) => {}
                result => return result,
            }
        }
    }
}

/// Tries at once, and if that blocks, again in the terms of whoever waits for writability.
fn or_blocked<T>(socket: &impl Handle, mut send: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    match send() {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.blocked(send),
        result => result,
    }
}

fn fd(socket: &impl Handle) -> RawFd {
    socket.socket().as_raw_fd()
}

fn is(error: &io::Error, number: c_int) -> bool {
    error.raw_os_error() == Some(number)
}

/// EIO: the route cannot; EINVAL and EMSGSIZE: a datagram of this size cannot.
fn refuses_segmentation(error: &io::Error) -> bool {
    is(error, libc::EIO) || is(error, libc::EINVAL) || is(error, libc::EMSGSIZE)
}

/// Sends the datagrams one by one, many a call. `reports` as in [`State`].
fn send_each(socket: &impl Handle, transmit: &Transmit<'_>, capable: bool, reports: bool) -> Outcome {
    let name = SockAddr::from(transmit.to);
    let mut control = Control::new();
    control.put_source(transmit.from);
    if capable {
        control.put_capable(transmit.to);
    }
    let mut segments = Segments::new(transmit.bytes, transmit.segment);
    let (mut done, mut lost) = (0, None);
    let mut again = if reports { MAX_AGAIN } else { 0 };
    loop {
        let mut pieces: Vec<IoSlice<'_>> = Vec::with_capacity(MAX_BATCH_SEGMENTS);
        let mut ends = [(0, 0); MAX_BATCH_SEGMENTS]; // (pieces up to here, bytes of the datagram)
        let mut count = 0;
        while count < MAX_BATCH_SEGMENTS {
            match segments.next_into(&mut pieces, MAX_PIECES) {
                Some(0) => break,
                Some(length) => ends[count] = (pieces.len(), length),
                None if count > 0 => break,
                None => return Outcome::Lost(io::ErrorKind::InvalidInput.into()),
            }
            count += 1;
        }
        if count == 0 {
            return lost.map_or(Outcome::Sent, Outcome::Lost);
        }
        let mut messages: Vec<libc::mmsghdr> = (0..count)
            .map(|at| {
                let start = if at == 0 { 0 } else { ends[at - 1].0 };
                let header = message(&name, &pieces[start..ends[at].0], &control);
                libc::mmsghdr { msg_hdr: header, msg_len: 0 }
            })
            .collect();
        let mut at = 0;
        while at < count {
            let result = or_blocked(socket, || {
                let rest = &mut messages[at..];
                // SAFETY: the headers point to `name`, `pieces` and `control`, which live until after the call and
                // are only read by it.
                let sent =
                    unsafe { libc::sendmmsg(fd(socket), rest.as_mut_ptr(), rest.len() as libc::c_uint, 0) };
                if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
            });
            let gone = match result {
                Ok(sent) => sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Outcome::Blocked { sent: done };
                }
                Err(error) if again > 0 && tells_of_icmp(&error) => {
                    again -= 1;
                    continue;
                }
                Err(error) => {
                    lost = lost.or(Some(error));
                    1
                }
            };
            done += ends[at..(at + gone).min(count)].iter().map(|(_, length)| length).sum::<usize>();
            at += gone;
        }
    }
}

fn send_message(
    fd: RawFd,
    transmit: &Transmit<'_>,
    segment: Option<u16>,
    capable: bool,
    reports: bool,
) -> io::Result<()> {
    let mut again = if reports { MAX_AGAIN } else { 0 };
    let name = SockAddr::from(transmit.to);
    let mut control = Control::new();
    control.put_source(transmit.from);
    if capable {
        control.put_capable(transmit.to);
    }
    if let Some(segment) = segment {
        control.put(libc::SOL_UDP, libc::UDP_SEGMENT, segment);
    }
    let header = message(&name, transmit.bytes, &control);
    loop {
        // SAFETY: `header` points to `name`, the pieces and `control`, which live until after the call and are
        // only read by it.
        if unsafe { libc::sendmsg(fd, &header, 0) } >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() == io::ErrorKind::Interrupted {
            continue;
        }
        if again == 0 || !tells_of_icmp(&error) {
            return Err(error);
        }
        again -= 1;
    }
}

impl Fragmenting {
    fn of(local: SocketAddr, never: bool) -> Self {
        match local {
            SocketAddr::V4(_) => Self {
                level: libc::IPPROTO_IP,
                option: libc::IP_MTU_DISCOVER,
                rule: if never { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_WANT },
                never: if never { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_DO },
            },
            SocketAddr::V6(_) => Self {
                level: libc::IPPROTO_IPV6,
                option: libc::IPV6_MTU_DISCOVER,
                rule: if never { libc::IPV6_PMTUDISC_PROBE } else { libc::IPV6_PMTUDISC_WANT },
                never: if never { libc::IPV6_PMTUDISC_PROBE } else { libc::IPV6_PMTUDISC_DO },
            },
        }
    }

    fn set(&self, fd: RawFd, value: c_int) -> io::Result<()> {
        set_option(fd, self.level, self.option, value)
    }
}

/// A header for sending. The kernel only reads through its pointers.
fn message(name: &SockAddr, pieces: &[IoSlice<'_>], control: &Control) -> libc::msghdr {
    // SAFETY: all zeros is a valid `msghdr`.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = name.as_ptr() as *mut c_void;
    header.msg_namelen = name.len();
    // `IoSlice` is ABI-compatible with `iovec` on Unix, as its documentation promises.
    header.msg_iov = pieces.as_ptr() as *mut libc::iovec;
    header.msg_iovlen = pieces.len() as _;
    if control.length > 0 {
        header.msg_control = control.bytes.as_ptr() as *mut c_void;
        header.msg_controllen = control.length as _;
    }
    header
}

/// Control messages, aligned as the kernel wants them.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control {
    bytes: [u8; CONTROL_BYTES],
    length: usize,
}

impl Control {
    fn new() -> Self {
        Self { bytes: [0; CONTROL_BYTES], length: 0 }
    }

    /// Appends one control message. `value` is plain data.
    fn put<T: Copy>(&mut self, level: c_int, kind: c_int, value: T) {
        // SAFETY: pure arithmetic.
        let (space, length) = unsafe {
            (libc::CMSG_SPACE(size_of::<T>() as u32) as usize, libc::CMSG_LEN(size_of::<T>() as u32) as usize)
        };
        assert!(self.length + space <= CONTROL_BYTES, "the control messages of one call have room");
        let header = self.bytes[self.length..].as_mut_ptr().cast::<libc::cmsghdr>();
        // SAFETY: `header` is aligned (`bytes` is, and every `CMSG_SPACE` keeps it so), and `space` bytes from it
        // are ours, by the assertion; the value is written unaligned.
        unsafe {
            (*header).cmsg_len = length as _;
            (*header).cmsg_level = level;
            (*header).cmsg_type = kind;
            libc::CMSG_DATA(header).cast::<T>().write_unaligned(value);
        }
        self.length += space;
    }

    /// The datagrams' sender heeds marks.
    fn put_capable(&mut self, to: SocketAddr) {
        match to {
            SocketAddr::V4(_) => self.put(libc::IPPROTO_IP, libc::IP_TOS, ECT_0),
            SocketAddr::V6(_) => self.put(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, ECT_0),
        }
    }

    fn put_source(&mut self, from: Option<IpAddr>) {
        match from {
            None => {}
            Some(IpAddr::V4(from)) => self.put(
                libc::IPPROTO_IP,
                libc::IP_PKTINFO,
                libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(from.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                },
            ),
            Some(IpAddr::V6(from)) => self.put(
                libc::IPPROTO_IPV6,
                libc::IPV6_PKTINFO,
                libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: from.octets() }, ipi6_ifindex: 0 },
            ),
        }
    }
}

/// What `recvmmsg` is told about the buffers of one [`Bundles`], written once and used again and again.
pub(crate) struct Headers {
    messages: Vec<libc::mmsghdr>,
    pieces: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    /// How many the system has written to since they were last made ready.
    used: usize,
    /// Where the buffers begin that the pieces lead to.
    base: *mut u8,
}

// SAFETY: the pointers in it lead to memory that it owns, or are held against where they should lead to before each use.
unsafe impl Send for Headers {}
// SAFETY: nothing is reached through a shared reference.
unsafe impl Sync for Headers {}

impl Headers {
    pub(crate) fn new(capacity: usize) -> Self {
        // SAFETY: all zeros is a valid `sockaddr_storage`.
        let mut names = vec![unsafe { mem::zeroed::<libc::sockaddr_storage>() }; capacity];
        let controls = vec![Control::new(); capacity];
        let mut pieces =
            vec![libc::iovec { iov_base: std::ptr::null_mut(), iov_len: BUNDLE_BYTES }; capacity];
        let (names_at, pieces_at) = (names.as_mut_ptr(), pieces.as_mut_ptr());
        let messages = (0..capacity)
            .map(|at| {
                // SAFETY: all zeros is a valid `mmsghdr`; `at` is within both.
                unsafe {
                    let mut message: libc::mmsghdr = mem::zeroed();
                    message.msg_hdr.msg_name = names_at.add(at).cast();
                    message.msg_hdr.msg_iov = pieces_at.add(at);
                    message.msg_hdr.msg_iovlen = 1;
                    message
                }
            })
            .collect();
        Self { messages, pieces, names, controls, used: capacity, base: std::ptr::null_mut() }
    }

    /// Makes them ready for a call that fills `buffers`.
    fn prepare(&mut self, buffers: &mut [u8]) -> &mut [libc::mmsghdr] {
        let base = buffers.as_mut_ptr();
        // Buffers stay where they are.
        if base != self.base {
            for (at, piece) in self.pieces.iter_mut().enumerate() {
                let range = slot(at);
                assert!(range.end <= buffers.len(), "each piece has its buffer");
                piece.iov_base = base.wrapping_add(range.start).cast();
            }
            self.base = base;
        }
        // The system says how much it wrote where it was told how much room there is.
        for (message, control) in self.messages[..self.used].iter_mut().zip(&mut self.controls) {
            message.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            message.msg_hdr.msg_control = control.bytes.as_mut_ptr().cast::<c_void>();
            message.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        self.used = 0;
        &mut self.messages
    }
}

/// One `recvmmsg`. Fills `bundles` from its first buffer.
fn receive_messages(fd: RawFd, local: SocketAddr, bundles: &mut Bundles) -> io::Result<()> {
    let messages = bundles.headers.prepare(&mut bundles.buffers);
    // SAFETY: the headers point to names, pieces and control messages that `Headers` owns, and the pieces to one
    // buffer each of `bundles`; all live until after the call and nothing else touches them meanwhile.
    let received = unsafe {
        libc::recvmmsg(
            fd,
            messages.as_mut_ptr(),
            messages.len() as libc::c_uint,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    bundles.headers.used = received;
    for (message, name) in bundles.headers.messages.iter().zip(&bundles.headers.names).take(received) {
        // SAFETY: the kernel wrote a socket address of `msg_namelen` bytes here.
        let remote = unsafe { address(name, message.msg_hdr.msg_namelen) };
        let length = (message.msg_len as usize).min(BUNDLE_BYTES);
        let start = slot(bundles.arrivals.len()).start;
        // Normal already: an IPv6 socket speaks IPv6 only.
        let path = Path { transport: Transport::Udp, local, remote: remote.unwrap_or(UNKNOWN) };
        let mut arrived = Arrived { path, segment: length, marked: false, range: start..start + length };
        // SAFETY: the header is as the kernel left it, its control buffer is alive and written up to
        // `msg_controllen`.
        unsafe { read_control(&message.msg_hdr, &mut arrived) };
        if remote.is_none() {
            arrived.range.end = start; // not an internet address: cannot happen on such a socket; carries nothing
        }
        bundles.arrivals.push(arrived);
    }
    Ok(())
}

const UNKNOWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// Reads the local address, the segment size and the mark.
///
/// # Safety
/// `header` is as `recvmmsg` left it, and its control buffer is alive.
unsafe fn read_control(header: &libc::msghdr, arrived: &mut Arrived) {
    // SAFETY: by the caller's promise the macros walk messages that the kernel wrote, within the buffer.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: as above: `at` is null or points to a whole control message header.
    while let Some(message) = unsafe { at.as_ref() } {
        // SAFETY: as above; the kernel writes the type that belongs to level and kind.
        unsafe {
            let data = libc::CMSG_DATA(at);
            match (message.cmsg_level, message.cmsg_type) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment = data.cast::<c_int>().read_unaligned();
                    if let Ok(segment @ 1..) = usize::try_from(segment) {
                        arrived.segment = segment.min(arrived.range.len().max(1));
                    }
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                    arrived.path.local.set_ip(Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                    arrived.path.local.set_ip(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                }
                // Of IPv4 a byte, of IPv6 an `int`.
                (libc::IPPROTO_IP, libc::IP_TOS) => arrived.marked = data.read() & CE == CE,
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    arrived.marked = data.cast::<c_int>().read_unaligned() as u8 & CE == CE;
                }
                _ => {}
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
}

/// The internet address in `name`.
///
/// # Safety
/// `name` holds a socket address of `length` bytes.
unsafe fn address(name: &libc::sockaddr_storage, length: libc::socklen_t) -> Option<SocketAddr> {
    if (length as usize) < size_of::<libc::sockaddr_in>() {
        return None;
    }
    match c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what it is, and the length was checked.
            let name = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(name.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::new(ip.into(), u16::from_be(name.sin_port)))
        }
        libc::AF_INET6 if length as usize >= size_of::<libc::sockaddr_in6>() => {
            // SAFETY: the family says what it is, and the length was checked.
            let name = unsafe { &*std::ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            let port = u16::from_be(name.sin6_port);
            Some(std::net::SocketAddrV6::new(ip, port, 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn set_option(fd: RawFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: `value` is an `int` that lives until after the call.
    let result = unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast::<c_void>(), length) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

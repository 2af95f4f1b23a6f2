//! A NAT that is a program: `netsim`'s own tables between two TUN devices, for what nftables cannot do.

mod packet;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::Instant;

use netsim::{Content, Nat, Translator};
use rustix::event::{PollFd, PollFlags, poll};
use sansio::{Path, Time};
use tun_rs::{DeviceBuilder, SyncDevice};

use self::packet::{Complaint, Packet, Piece, Whole};
use crate::error::LabError;
use crate::namespace::{Namespace, enter};

/// Where packets from the LAN come out, and where those for it go in.
const INNER: &str = "inner";
/// The same for the rest of the world.
const OUTER: &str = "outer";
/// As on the links to the left and right.
const MTU: u16 = 1500;
/// Packets whose later fragments may still come.
const BROKEN: usize = 64;

/// A NAT at work, until it is dropped.
#[derive(Debug)]
pub(crate) struct Userspace {
    /// Closed, it ends the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// The router's packets on their way through the NAT.
struct Passage {
    inner: SyncDevice,
    outer: SyncDevice,
    nat: Translator,
    external: Vec<Ipv4Addr>,
    /// What became of the first fragments that came last. The others have no ports.
    broken: VecDeque<(Whole, Path, Side)>,
    started: Instant,
}

/// To where a packet leaves the NAT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Inner,
    Outer,
}

impl Userspace {
    /// Makes the router's namespace, which has the interfaces `lan` and `wan`, hand its packets to `nat`.
    /// `external` are addresses that the router answers for, but does not have.
    pub(crate) fn new(
        router: &Namespace,
        nat: Translator,
        external: Vec<Ipv4Addr>,
    ) -> Result<Self, LabError> {
        let (inner, outer) =
            enter(router.name(), || Ok((open(INNER)?, open(OUTER)?)))?.map_err(LabError::NoTun)?;
        router.ip(&format!(
            "link set {INNER} up\n link set {OUTER} up\n\
             route add default dev {INNER} table 101\n rule add iif lan lookup 101 pref 101\n\
             route add default dev {OUTER} table 102\n rule add iif wan lookup 102 pref 102\n"
        ))?;
        let failed = |source| LabError::Io { what: "starting a userspace NAT".to_owned(), source };
        let (ours, theirs) = rustix::pipe::pipe().map_err(|errno| failed(errno.into()))?;
        let started = Instant::now();
        let passage = Passage { inner, outer, nat, external, broken: VecDeque::new(), started };
        let thread = std::thread::Builder::new().name("userspace NAT".to_owned());
        let thread = thread.spawn(move || passage.run(&ours)).map_err(failed)?;
        Ok(Self { stop: Some(theirs), thread: Some(thread) })
    }
}

impl Drop for Userspace {
    fn drop(&mut self) {
        // The devices must be closed before their namespace is removed: they keep it alive.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn open(name: &str) -> io::Result<SyncDevice> {
    DeviceBuilder::new().name(name).mtu(MTU).build_sync()
}

impl Passage {
    fn run(mut self, stop: &OwnedFd) {
        let mut buffer = vec![0; 65_535];
        loop {
            let ready = {
                let mut wanted = [
                    PollFd::new(&self.inner, PollFlags::IN),
                    PollFd::new(&self.outer, PollFlags::IN),
                    PollFd::new(stop, PollFlags::IN),
                ];
                match poll(&mut wanted, None) {
                    Ok(_) => wanted.map(|it| !it.revents().is_empty()),
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(_) => return,
                }
            };
            if ready[2] {
                return;
            }
            if ready[0] {
                let Ok(length) = self.inner.recv(&mut buffer) else { return };
                self.outbound(&mut buffer[..length]);
            }
            if ready[1] {
                let Ok(length) = self.outer.recv(&mut buffer) else { return };
                self.inbound(&mut buffer[..length]);
            }
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    fn outbound(&mut self, bytes: &mut [u8]) {
        let now = self.now();
        let Some(packet) = Packet::parse(bytes) else { return self.piece(bytes) };
        let (path, content, whole) = (packet.path(), packet.content(), packet.whole());
        let turns = matches!(path.remote.ip(), IpAddr::V4(to) if self.external.contains(&to));
        let translated = if turns {
            self.nat.turn_round(now, path, content)
        } else {
            self.nat.outbound(now, path, content)
        };
        let Ok(translated) = translated else { return };
        self.pass(bytes, whole, translated, if turns { Side::Inner } else { Side::Outer });
    }

    fn inbound(&mut self, bytes: &mut [u8]) {
        let now = self.now();
        if let Some(packet) = Packet::parse(bytes) {
            let (path, content, whole) = (packet.path().reversed(), packet.content(), packet.whole());
            let Ok(inner) = self.nat.inbound(now, path, content) else { return };
            self.pass(bytes, whole, inner.reversed(), Side::Inner);
        } else if let Some(mut complaint) = Complaint::parse(bytes) {
            // What it quotes went out, so an answer to that may come in.
            let content = Content::Message;
            let Ok(inner) = self.nat.inbound(now, complaint.path(), content) else { return };
            complaint.redirect(inner.local);
            self.send(bytes, Side::Inner);
        } else {
            self.piece(bytes);
        }
    }

    fn pass(&mut self, bytes: &mut [u8], whole: Option<Whole>, path: Path, to: Side) {
        if let Some(whole) = whole {
            self.broken.truncate(BROKEN - 1);
            self.broken.push_front((whole, path, to));
        }
        if let Some(mut packet) = Packet::parse(bytes) {
            packet.redirect(path);
            self.send(bytes, to);
        }
    }

    fn piece(&self, bytes: &mut [u8]) {
        let Some(mut piece) = Piece::parse(bytes) else { return };
        let whole = piece.whole();
        let Some((_, path, to)) = self.broken.iter().find(|(it, ..)| *it == whole) else { return };
        piece.redirect(*path);
        self.send(bytes, *to);
    }

    /// Who does not get a packet will send another, so nobody is told that one could not be written.
    fn send(&self, bytes: &[u8], to: Side) {
        let _ = match to {
            Side::Inner => self.inner.send(bytes),
            Side::Outer => self.outer.send(bytes),
        };
    }
}

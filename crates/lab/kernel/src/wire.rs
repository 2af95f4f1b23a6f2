use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netsim::{Direction, Link};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sansio::{Rng, Seed, Time};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::error::LabError;
use crate::namespace::{Namespace, enter};

/// What either host calls its end.
const DEVICE: &str = "wire";
/// Packets that a host may write before we come to read them. It is the wire's own queue that is to be full, not this one.
const AHEAD: u32 = 20_000;
/// Packets that are taken from one end before the other end and the clock have their turn.
const TURN: usize = 32;
/// Buffers that are kept for later packets.
const SPARE: usize = 4096;

/// A wire between two namespaces with the delay, the loss, the rate and the queue of a `netsim` link, until it is dropped: a
/// thread that carries packets from one TUN device to another.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Closed, it ends the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// The packets between the two ends.
struct Carrier {
    ends: [SyncDevice; 2],
    wire: netsim::Wire,
    /// What is to arrive at either end, by time.
    under_way: [VecDeque<(Time, Vec<u8>)>; 2],
    spare: Vec<Vec<u8>>,
    mtu: usize,
    started: Instant,
}

impl Wire {
    /// A wire between two namespaces, in which its ends have these addresses.
    pub(crate) fn new(
        namespaces: [&Namespace; 2],
        addresses: [Ipv4Addr; 2],
        link: Link,
        seed: Seed,
    ) -> Result<Self, LabError> {
        let mtu = u16::try_from(link.mtu).unwrap_or(u16::MAX);
        let open = |at: usize| enter(namespaces[at].name(), || device(mtu))?.map_err(LabError::NoTun);
        let ends = [open(0)?, open(1)?];
        for (at, namespace) in namespaces.into_iter().enumerate() {
            let (own, other) = (addresses[at], addresses[1 - at]);
            namespace.ip(&format!(
                "addr add {own} peer {other} dev {DEVICE}\n link set {DEVICE} up\n route add default dev {DEVICE}\n"
            ))?;
        }
        let failed = |source| LabError::Io { what: "starting a wire".to_owned(), source };
        let (ours, theirs) = rustix::pipe::pipe().map_err(|errno| failed(errno.into()))?;
        let carrier = Carrier {
            ends,
            wire: netsim::Wire::new(link, Rng::new(seed)),
            under_way: [VecDeque::new(), VecDeque::new()],
            spare: Vec::new(),
            mtu: mtu.into(),
            started: Instant::now(),
        };
        let thread = std::thread::Builder::new().name("wire".to_owned());
        let thread = thread.spawn(move || carrier.run(&ours)).map_err(failed)?;
        Ok(Self { stop: Some(theirs), thread: Some(thread) })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The devices must be closed before their namespaces are removed: they keep them alive.
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn device(mtu: u16) -> io::Result<SyncDevice> {
    let device = DeviceBuilder::new().name(DEVICE).mtu(mtu).tx_queue_len(AHEAD).build_sync()?;
    device.set_nonblocking(true)?;
    Ok(device)
}

/// Marks an IPv4 packet, if it may be marked (RFC 3168 §5).
fn mark(packet: &mut [u8]) {
    const CE: u8 = 3;
    let Some(header) = packet.first().map(|first| usize::from(first & 0xf) * 4) else { return };
    if packet[0] >> 4 != 4 || packet.len() < header || header < 20 || packet[1] & CE == 0 {
        return;
    }
    packet[1] |= CE;
    packet[10..12].fill(0);
    let (words, _) = packet[..header].as_chunks::<2>();
    let sum: u32 = words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

impl Carrier {
    fn run(mut self, stop: &OwnedFd) {
        loop {
            self.deliver();
            let wait = self.next().map(|wait| Timespec {
                tv_sec: wait.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: wait.subsec_nanos().into(),
            });
            let ready = {
                let mut wanted = [
                    PollFd::new(&self.ends[0], PollFlags::IN),
                    PollFd::new(&self.ends[1], PollFlags::IN),
                    PollFd::new(stop, PollFlags::IN),
                ];
                match poll(&mut wanted, wait.as_ref()) {
                    Ok(_) => wanted.map(|it| !it.revents().is_empty()),
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(_) => return,
                }
            };
            if ready[2] {
                return;
            }
            for (from, ready) in ready[..2].iter().enumerate() {
                if *ready {
                    self.take(from);
                }
            }
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.started.elapsed()
    }

    /// How long until something arrives.
    fn next(&self) -> Option<Duration> {
        let first = self.under_way.iter().filter_map(|lane| lane.front()).map(|(at, _)| *at).min()?;
        Some(first - self.now())
    }

    /// Takes packets that a host has sent.
    fn take(&mut self, from: usize) {
        let direction = [Direction::Up, Direction::Down][from];
        for _ in 0..TURN {
            let mut packet = self.spare.pop().unwrap_or_default();
            packet.resize(self.mtu, 0);
            // Nothing there, or the device is gone: `poll` tells which.
            let Ok(length) = self.ends[from].recv(&mut packet) else { return self.keep(packet) };
            packet.truncate(length);
            let now = self.now();
            match self.wire.cross(now, direction, length, false) {
                Ok(passage) => {
                    if passage.crowded {
                        mark(&mut packet);
                    }
                    let lane = &mut self.under_way[1 - from];
                    let at = lane.partition_point(|(at, _)| *at <= passage.arrival);
                    lane.insert(at, (passage.arrival, packet));
                }
                Err(_) => self.keep(packet),
            }
        }
    }

    /// Hands over what has arrived.
    fn deliver(&mut self) {
        let now = self.now();
        for to in 0..2 {
            while self.under_way[to].front().is_some_and(|(at, _)| *at <= now) {
                let Some((_, packet)) = self.under_way[to].pop_front() else { break };
                // A host that takes no packet has lost one.
                let _ = self.ends[to].send(&packet);
                self.keep(packet);
            }
        }
    }

    fn keep(&mut self, packet: Vec<u8>) {
        if self.spare.len() < SPARE {
            self.spare.push(packet);
        }
    }
}

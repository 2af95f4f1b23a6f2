//! Ways through NATs that map anew for each destination, where ordinary checks find none.
//!
//! Behind such a NAT nobody knows at which outer port a packet to *this* peer will appear, so the peer, if its own NAT
//! filters by port, cannot open that for it. Two things help, if both sides agree to them ([`Config::punch`] and
//! [`Agent::set_remote_punching`]):
//!
//! * **Foresight**: some NATs give ports by a rule that shows in three mappings ([`scouts`], [`allocation`]). Then the
//!   other side is told where a hole is going to be, by a candidate with the extension `sterna-aim`.
//! * **Numbers**: the side with the hard NAT sends to the other from many sockets, its [`battery`], each of which makes a hole
//!   somewhere; the other side sends to many ports, one after another ([`ports`]), until one is a hole. 256 holes and 1,024
//!   tries meet with a probability of 98 %, by the mathematics of birthdays.
//!
//! Against a second hard NAT numbers do not help: both ports of a path have to be guessed at once, one in four thousand
//! millions. Foresight on both sides does: each aims all of its battery at the one port that the other has announced.
//!
//! What is sent are ordinary checks, no faster than ICE paces those, that nobody repeats or waits for. One that gets through
//! shows itself by the check that it triggers on the other side; from there on all is ordinary ICE.
//!
//! [`Config::punch`]: crate::Config::punch
//! [`Agent::set_remote_punching`]: crate::Agent::set_remote_punching

pub(crate) mod allocation;
pub(crate) mod battery;
pub(crate) mod ports;
pub(crate) mod scouts;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Path, Time, Timers};

pub(crate) use allocation::Allocation;
use battery::Battery;
use ports::Ports;

use crate::Candidate;

/// The extension attribute of a candidate that is no address of ours yet, but will be when we punch.
pub(crate) const AIM: &str = "sterna-aim";
/// How many such candidates of the other side are remembered.
pub(crate) const MAX_AIMS: usize = 4;

/// How long ordinary checks have for themselves once there is a relayed path.
const AFTER_RELAYED: Duration = Duration::from_millis(600);
/// The same, if there is no path at all.
const AFTER_NOTHING: Duration = Duration::from_millis(1500);
/// How long a side waits for signs that punching is of use.
const INTEREST: Duration = Duration::from_secs(6);
/// A hole that was announced is given so long before others are looked for.
const AFTER_AIMS: Duration = Duration::from_secs(2);
/// The battery fires no more often from one socket.
const ROUND: Duration = Duration::from_millis(500);
/// After the last packet: until what it may bring is there.
const AFTERMATH: Duration = Duration::from_secs(1);

/// What is known of how a NAT maps: ours, or the other side's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// Nothing yet.
    Unknown,
    /// The same port for several destinations.
    Same,
    /// Another port for each destination, at this address: for us the local one, for the other side its NAT's.
    Dependent(IpAddr),
}

/// What this side does.
#[derive(Debug)]
pub(crate) enum Role {
    /// Fires at these addresses from all sockets of the battery; those that were announced come first.
    Fire { targets: Vec<SocketAddr>, next: usize, round: Option<Time> },
    /// Tries the ports of an address, from one of our sockets.
    Spray { from: SocketAddr, at: IpAddr, ports: Ports },
}

/// Where this side stands.
#[derive(Debug, Default)]
pub(crate) enum Phase {
    /// Ordinary checks come first.
    #[default]
    Waiting,
    /// Under way.
    Punching { role: Role, until: Time },
    /// It has worked, or is of no use, or has taken too long.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PunchTimer {
    /// Whether to begin, or to end, is to be considered.
    Consider,
    /// The next packet may go.
    Pace,
}

/// One side's part of it.
#[derive(Debug, Default)]
pub(crate) struct Puncher {
    /// Whether the other side has agreed to it.
    pub(crate) agreed: bool,
    pub(crate) phase: Phase,
    /// Since when there are checks in this ICE session.
    since: Option<Time>,
    /// Packets that were sent, in all sessions.
    pub(crate) sent: usize,
    timers: Timers<PunchTimer>,
    /// A packet may go now.
    due: bool,
}

impl Mapping {
    /// What follows from what several others have seen of one socket: who, and as what.
    pub(crate) fn of(seen: &[(SocketAddr, SocketAddr)]) -> Self {
        let mut mapping = Self::Unknown;
        for (at, (by, one)) in seen.iter().enumerate() {
            for (_, other) in seen.iter().skip(at + 1).filter(|(other, _)| other != by) {
                if one == other {
                    mapping = Self::Same;
                } else if one.ip() == other.ip() {
                    return Self::Dependent(one.ip());
                }
            }
        }
        mapping
    }
}

impl Candidate {
    /// Whether it tells where a hole is going to be.
    pub(crate) fn is_aim(&self) -> bool {
        self.extensions.iter().any(|(name, _)| name == AIM)
    }
}

impl Puncher {
    /// A new ICE session: all over again, but for what was spent.
    pub(crate) fn restart(&mut self) {
        *self = Self { agreed: self.agreed, sent: self.sent, ..Self::default() };
    }

    /// Whether it is time to begin. `relayed`: since when there is a path.
    pub(crate) fn may_begin(&mut self, now: Time, relayed: Option<Time>) -> bool {
        let since = *self.since.get_or_insert(now);
        if now >= since + INTEREST {
            self.end();
            return false;
        }
        let patient = since + AFTER_NOTHING;
        let at = relayed.map_or(patient, |relayed| patient.min(relayed + AFTER_RELAYED));
        let wake = if now < at { at } else { since + INTEREST };
        self.timers.set(PunchTimer::Consider, wake);
        now >= at
    }

    /// Begins. `wait`: the other side has announced holes, which come first.
    pub(crate) fn begin(&mut self, now: Time, role: Role, patience: Duration, wait: bool) {
        match role {
            Role::Spray { .. } if wait => self.timers.set(PunchTimer::Pace, now + AFTER_AIMS),
            Role::Spray { .. } => self.due = true,
            Role::Fire { .. } => {}
        }
        let until = now + patience;
        self.phase = Phase::Punching { role, until };
        self.timers.set(PunchTimer::Consider, until);
    }

    /// The battery is ready: its first packet may go.
    pub(crate) fn fire(&mut self) {
        if let Phase::Punching { role: Role::Fire { round: None, .. }, .. } = &self.phase {
            self.due = true;
        }
    }

    /// Ends, for this session.
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Over;
        self.timers.clear();
        self.due = false;
    }

    /// Until when punching may bring a path, while it is under way.
    pub(crate) fn until(&self) -> Option<Time> {
        match self.phase {
            Phase::Punching { until, .. } => Some(until),
            _ => None,
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Time) {
        while let Some(timer) = self.timers.expired(now) {
            self.due |= timer == PunchTimer::Pace;
        }
    }

    /// When [`Puncher::handle_timeout`] wants to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// The way of the packet that may go now.
    pub(crate) fn aim(&self, battery: &Battery) -> Option<Path> {
        if !self.due {
            return None;
        }
        let Phase::Punching { role, .. } = &self.phase else { return None };
        match role {
            Role::Spray { from, at, ports } => {
                Some(Path::udp(*from, SocketAddr::new(*at, ports.clone().next())))
            }
            Role::Fire { targets, next, .. } => {
                let barrel = battery.barrels().get(next / targets.len())?;
                // Some NATs keep a socket's port for the first that it sends to, and for nobody else.
                let (turn, last) = (next % targets.len(), targets.len() - 1);
                let target = if battery.is_herald(barrel) { turn } else { last - turn };
                Some(Path::udp(barrel.local, targets[target]))
            }
        }
    }

    /// The packet is on its way; `ta` is the pace of checks, and `limit` how many packets there may be.
    pub(crate) fn shot(&mut self, now: Time, battery: &Battery, ta: Duration, limit: usize) {
        self.sent += 1;
        self.due = false;
        let Phase::Punching { role, until } = &mut self.phase else { return };
        let mut next_at = now + ta;
        match role {
            Role::Spray { ports, .. } => {
                ports.next();
            }
            Role::Fire { targets, next, round } => {
                let begun = *round.get_or_insert(now);
                *next += 1;
                if *next >= battery.barrels().len() * targets.len() {
                    *next = 0;
                    next_at = next_at.max(begun + ROUND);
                    *round = Some(next_at);
                }
            }
        }
        if self.sent < limit {
            self.timers.set(PunchTimer::Pace, next_at);
        } else {
            *until = (*until).min(now + AFTERMATH);
            self.timers.set(PunchTimer::Consider, *until);
        }
    }
}

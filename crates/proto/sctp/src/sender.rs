//! What goes to the peer: messages wait in the backlog, leave in fragments, are under way, arrive or are lost.

mod backlog;
mod flight;
mod loss;
mod packets;
mod rate;
mod silence;

use std::collections::VecDeque;
use std::time::Duration;

use sansio::{Time, Timers};

pub(crate) use self::backlog::{Backlog, Limit, Outgoing};
use self::flight::{Acked, Flight, Found};
use self::loss::Rack;
use self::rate::Meter;
use crate::Congestion;
use crate::chunk::Sack;
use crate::congestion::{Ack, Controller, Loss, Pacer, controller};
use crate::rtt::Rtt;
use crate::serial::unroll32;
use crate::timer::Timer;

pub(crate) use self::flight::Absurd;

/// Large packets that are lost, while small ones arrive, before their size is held for the cause. Some in a timeout are as good.
const SWALLOWED: usize = 5;

/// Packets on their way: fewer are no way to send.
const LEAST: usize = 4;

/// The sending half of an association.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) backlog: Backlog,
    flight: Flight,
    rack: Rack,
    rtt: Rtt,
    meter: Meter,
    choice: Congestion,
    congestion: Box<dyn Controller>,
    pacer: Pacer,
    mtu: usize,
    /// The size of packets that any path carries. No chunk is larger: what was sent in a larger packet can be sent again in
    /// several of these.
    base: usize,
    /// Larger packets that were lost since one arrived, and whether one was among what arrived last: then they were lost for other
    /// reasons.
    swallowed: usize,
    carries: bool,
    /// What the peer can take.
    window: usize,
    /// The number of the next packet with data.
    packet: u64,
    /// Losses of packets before this one belong to the last reaction to a loss.
    recovery: u64,
    /// Marks of what was sent before this number are answered by the last smaller window.
    reduced: u64,
    /// The round trip ends when this packet arrives.
    round: u64,
    /// Whether the congestion window held something back since the last SACK.
    limited: bool,
    /// Whether the peer should hear what is given up.
    forward: Forwarding,
    /// Whether the last packet is to be sent again to provoke an answer.
    probe: bool,
    /// What goes once more with a packet after this one, so that it is not lost yet again.
    copies: VecDeque<(u64, u64)>,
    /// Copies of which it was not told yet that they came in vain.
    copied: u16,
    /// Whether a packet may go although the peer has no room, and whether one did: its loss says nothing about the path.
    peek: bool,
    peeked: bool,
    /// Whether something was sent since the timers were set.
    unwatched: bool,
    /// Whether the peer knows FORWARD-TSN.
    partial: bool,
}

/// How FORWARD-TSN stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Forwarding {
    Idle,
    Due,
    Sent(Time),
}

impl Sender {
    /// `first` is the first TSN. Nothing may leave before [`Sender::agree`].
    pub(crate) fn new(now: Time, choice: Congestion, mtu: usize, first: u32) -> Self {
        Self {
            backlog: Backlog::default(),
            flight: Flight::new(first),
            rack: Rack::default(),
            rtt: Rtt::default(),
            meter: Meter::default(),
            choice,
            congestion: controller(choice, mtu),
            pacer: Pacer::new(now),
            mtu,
            base: mtu,
            swallowed: 0,
            carries: false,
            window: 0,
            packet: 1,
            recovery: 0,
            reduced: 0,
            round: 1,
            limited: false,
            forward: Forwarding::Idle,
            probe: false,
            copies: VecDeque::new(),
            copied: 0,
            peek: false,
            peeked: false,
            unwatched: false,
            partial: false,
        }
    }

    /// The peer's terms are known.
    pub(crate) fn agree(&mut self, window: u32, interleaved: bool, partial: bool) {
        self.window = window as usize;
        self.partial = partial;
        self.backlog.set_interleaved(interleaved);
        self.flight.set_interleaved(interleaved);
    }

    pub(crate) fn set_mtu(&mut self, mtu: usize) {
        self.mtu = mtu;
        self.congestion.set_mtu(mtu);
    }

    pub(crate) fn rtt(&self) -> &Rtt {
        &self.rtt
    }

    /// The last TSN that was assigned.
    pub(crate) fn last_tsn(&self) -> u32 {
        self.flight.last_assigned() as u32
    }

    /// Bytes that the path has room for.
    pub(crate) fn congestion_window(&self) -> usize {
        self.congestion.window()
    }

    /// Whether nothing is under way, and nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_empty() && self.backlog.is_empty()
    }

    /// Whether a packet may be written now.
    pub(crate) fn has_work(&mut self, now: Time) -> bool {
        if self.forward == Forwarding::Due || self.probe || !self.copies.is_empty() {
            return true;
        }
        let lost = self.flight.has_lost() && self.flight.next_lost().is_some();
        if !lost && self.backlog.is_empty() {
            return false;
        }
        if !lost && (self.flight.is_full() || !self.has_credit()) {
            self.meter.starve(self.flight.bytes());
            return false;
        }
        if self.flight.bytes() >= self.congestion.window() {
            self.limited = true;
            return false;
        }
        self.is_paced(now)
    }

    /// Whether the peer can take a packet more. If it cannot, and nothing is under way, one may go now and then, to see
    /// whether that is still so (RFC 9260 §6.1 A).
    fn has_credit(&self) -> bool {
        let under_way = self.flight.payload();
        under_way + self.mtu.min(self.backlog.bytes()) <= self.window || under_way == 0 && self.peek
    }

    fn is_paced(&mut self, now: Time) -> bool {
        let Some(rate) = self.congestion.rate(self.rtt.smoothed()) else { return true };
        self.pacer.fill(now, rate, self.mtu);
        let ready = self.pacer.is_ready();
        self.limited |= !ready;
        ready
    }

    /// Takes a SACK in.
    pub(crate) fn acknowledge(
        &mut self,
        now: Time,
        sack: &Sack<'_>,
        timers: &mut Timers<Timer>,
    ) -> Result<(), Absurd> {
        let flight = self.flight.bytes();
        let backlog = &mut self.backlog;
        let late = self.meter.late(self.rtt.least() / 4);
        let acked = self.flight.acknowledge(sack, late, |fragment| {
            backlog.release(fragment.stream, fragment.protocol, fragment.data.len());
        })?;
        if !acked.news {
            return Ok(());
        }
        let opened = self.window < self.mtu && sack.window as usize >= self.mtu;
        self.window = sack.window as usize;
        self.peeked &= !opened;
        let expected = sack.duplicates.min(self.copied);
        self.copied -= expected;
        if sack.duplicates > expected {
            self.rack.duplicated();
        }
        if self.flight.advance() || self.flight.is_advanced() && self.may_forward(now) {
            self.forward = Forwarding::Due;
        }
        if acked.newest.is_some() {
            self.arrived(now, &acked, flight);
        } else if opened && !acked.advanced && self.flight.bytes() <= 2 * self.mtu {
            // The peer had no room for the probe of its window, but has now.
            self.flight.lose_all();
        }
        self.find_losses(now, flight, timers);
        if acked.newest.is_some() || acked.advanced || self.flight.is_empty() {
            timers.stop(Timer::Retransmission);
            timers.stop(Timer::Probe);
            self.arm(now, timers);
        }
        Ok(())
    }

    /// The peer is told once a round trip.
    fn may_forward(&self, now: Time) -> bool {
        match self.forward {
            Forwarding::Sent(at) => now - at >= self.rtt.smoothed().unwrap_or_default(),
            Forwarding::Idle | Forwarding::Due => true,
        }
    }

    fn arrived(&mut self, now: Time, acked: &Acked, flight: usize) {
        let Some(newest) = acked.newest else { return };
        let rtt = (!newest.repeated).then(|| now - newest.at);
        if let Some(rtt) = rtt {
            self.rtt.measured(now, rtt);
        }
        self.rtt.progressed();
        self.peeked = false;
        self.carries = acked.large;
        if acked.large {
            self.swallowed = 0;
        }
        self.rack.arrived(now, acked, &self.rtt);
        let delivery =
            self.meter.arrived(now, acked.bytes - acked.late, newest.at, newest.snapshot, self.rtt.least());
        let round = newest.packet >= self.round;
        if round {
            self.round = self.packet;
        }
        let recovering = self.rack.newest().is_none_or(|newest| newest < self.recovery);
        self.congestion.acknowledged(&Ack {
            now,
            bytes: acked.bytes,
            flight,
            rtt,
            smoothed: self.rtt.smoothed().unwrap_or_else(|| self.rtt.timeout()),
            least: self.rtt.least(),
            round,
            recovering,
            limited: std::mem::take(&mut self.limited)
                || 2 * flight >= self.congestion.window() && self.is_growing(),
            delivery,
        });
    }

    /// Whether the application keeps up with a window that doubles.
    fn is_growing(&self) -> bool {
        !self.backlog.is_empty() && self.window > self.flight.payload() + self.mtu
    }

    fn find_losses(&mut self, now: Time, flight: usize, timers: &mut Timers<Timer>) {
        let (rack, rtt) = (&self.rack, &self.rtt);
        let mut next = None;
        let found = self.flight.find_lost(|packet, at| match rack.due(packet, at, rtt) {
            Some(due) if due <= now => true,
            due => {
                next = due;
                false
            }
        });
        match next {
            Some(at) => timers.set(Timer::Reordering, at),
            None => timers.stop(Timer::Reordering),
        }
        if let Some(Found { bytes, packet, large }) = found {
            self.swallowed += if self.carries { 0 } else { large };
            let fresh = packet >= self.recovery;
            if fresh {
                self.recovery = self.packet;
            }
            self.congestion.lost(&Loss { bytes, flight, fresh });
        }
    }

    /// The peer got a packet with this number that was marked. Returns whether the window was made smaller for it.
    pub(crate) fn marked(&mut self, tsn: u32) -> Result<bool, Absurd> {
        let next = self.flight.next();
        let tsn = unroll32(next - 1, tsn);
        if tsn >= next {
            return Err(Absurd);
        }
        let news = tsn >= self.reduced;
        if news {
            (self.reduced, self.recovery) = (next, self.packet);
            self.congestion.marked(self.flight.bytes());
        }
        Ok(news)
    }

    /// Whether hardly anything may be on its way.
    pub(crate) fn is_least(&self) -> bool {
        self.congestion.window() <= LEAST * self.mtu.max(self.base)
    }

    /// Whether packets larger than any path carries seem to get lost for their size (RFC 8899 §4.3). Asked once, it begins anew.
    pub(crate) fn is_in_black_hole(&mut self) -> bool {
        let is = self.swallowed >= SWALLOWED;
        if is {
            self.swallowed = 0;
        }
        is
    }

    /// Everything under way goes again.
    pub(crate) fn lose_all(&mut self) {
        self.flight.lose_all();
        if self.flight.is_advanced() {
            self.forward = Forwarding::Due;
        }
    }

    /// There is a path again, and maybe another one: what is under way goes again, and nothing is known of the path.
    pub(crate) fn begin_anew(&mut self, now: Time) {
        if !self.flight.is_empty() {
            self.lose_all();
        }
        self.rtt.progressed();
        self.congestion = controller(self.choice, self.mtu);
        self.pacer = Pacer::new(now);
        self.recovery = self.packet;
    }

    /// A round trip that was measured by other means.
    pub(crate) fn measured(&mut self, now: Time, rtt: Duration) {
        self.rtt.measured(now, rtt);
    }
}

//! What the sender waits for, and what it does when nothing comes.

use sansio::{Time, Timers};

use super::{SWALLOWED, Sender};
use crate::timer::Timer;

impl Sender {
    /// Sets the timers that notice silence, if something was sent, in whatever packet, or waits for the peer to have room: that
    /// it has may be said once and not heard.
    pub(crate) fn watch(&mut self, now: Time, timers: &mut Timers<Timer>) {
        let waits = self.flight.is_empty() && !self.backlog.is_empty() && !self.has_credit();
        if std::mem::take(&mut self.unwatched) || waits {
            self.arm(now, timers);
        }
    }

    /// Sets the timers that notice silence, after something was sent or arrived.
    pub(crate) fn arm(&self, now: Time, timers: &mut Timers<Timer>) {
        if self.flight.is_empty() {
            timers.stop(Timer::Probe);
            if self.backlog.is_empty() || self.has_credit() {
                timers.stop(Timer::Retransmission);
                return;
            }
        }
        timers.set_earlier(Timer::Retransmission, now + self.rtt.timeout());
        let silent = !self.flight.is_empty() && !self.probe;
        if let Some(wait) = self.rtt.probe_timeout().filter(|_| silent) {
            timers.set(Timer::Probe, now + wait);
        }
    }

    /// When pacing lets the next packet go, if that is what it waits for.
    pub(crate) fn pace(&mut self, now: Time, timers: &mut Timers<Timer>) {
        let waits =
            self.flight.has_lost() || !self.backlog.is_empty() && !self.flight.is_full() && self.has_credit();
        let rate = self
            .congestion
            .rate(self.rtt.smoothed())
            .filter(|_| waits && self.flight.bytes() < self.congestion.window() && !self.is_paced(now));
        match rate {
            Some(rate) => timers.set(Timer::Pace, self.pacer.ready_at(rate, self.mtu)),
            None => timers.stop(Timer::Pace),
        }
    }

    /// Nothing was heard for a while: something is sent, to provoke an answer (RFC 8985 §7).
    pub(crate) fn probe(&mut self) {
        self.probe = !self.flight.is_empty();
        self.rtt.probed();
    }

    /// The time for which reordering is waited for is over.
    pub(crate) fn reordered(&mut self, now: Time, timers: &mut Timers<Timer>) {
        let flight = self.flight.bytes();
        self.find_losses(now, flight, timers);
    }

    /// The retransmission timer went off (RFC 9260 §6.3.3).
    pub(crate) fn timed_out(&mut self, now: Time) {
        if self.flight.is_empty() {
            self.peek = true;
            return self.rtt.timed_out();
        }
        let flight = self.flight.bytes();
        self.swallowed += if self.flight.has_large() { SWALLOWED } else { 0 };
        self.lose_all();
        if !self.peeked {
            self.congestion.timed_out(now, flight, self.rtt.backoff() > 0);
        }
        self.rtt.timed_out();
        self.recovery = self.packet;
    }
}

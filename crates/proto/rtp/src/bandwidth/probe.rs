use std::time::Duration;

use sansio::Time;

use crate::bandwidth::sent::Outcome;

/// A short burst at a higher rate, to see whether it gets through. Its packets are what waits to be sent, and padding.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Probe {
    /// Which one: what [`Estimator::handle_sent`](super::Estimator::handle_sent) wants to know.
    pub id: u32,
    /// How fast, in bits per second.
    pub bits_per_second: f64,
    /// How much is to be sent at this rate, in all.
    pub bytes: usize,
    /// How many packets it has at least, so that there are enough to measure.
    pub packets: usize,
    /// How large padding is to be, so that there are as many.
    pub packet_bytes: usize,
}

/// When there is a probe, and what came of it.
#[derive(Debug)]
pub(super) struct Probing {
    next: Time,
    id: u32,
    wish: Option<Probe>,
    /// The one that was sent, and what is known of its packets.
    sent: Option<Sent>,
}

#[derive(Debug)]
struct Sent {
    id: u32,
    since: Time,
    packets: u32,
    bytes: usize,
    first: Option<Outcome>,
    last: Option<Outcome>,
}

/// How long a probe lasts.
const DURATION: Duration = Duration::from_millis(15);
/// Packets that it has at least.
const PACKETS: usize = 5;
/// The smallest of them.
const SMALLEST: usize = 200;
/// The largest of them.
const LARGEST: usize = 1200;
/// How often there is one.
const INTERVAL: Duration = Duration::from_millis(1200);
/// How often, while they show that there is no more.
const FULL_INTERVAL: Duration = Duration::from_millis(1800);
/// How soon it is considered again, if something speaks against one.
const AGAIN: Duration = Duration::from_millis(20);
/// By how much faster it is.
const FACTOR: f64 = 2.0;
/// How long its outcome is waited for.
const PATIENCE: Duration = Duration::from_millis(600);
/// How soon one is repeated that said nothing.
const REPEAT: Duration = Duration::from_millis(200);

impl Probing {
    pub(super) fn new() -> Self {
        Self { next: Time::ZERO, id: 0, wish: None, sent: None }
    }

    /// Wishes for a probe, if it is time for one and nothing speaks against it.
    pub(super) fn update(&mut self, now: Time, rate: f64, most: f64, calm: bool) {
        if self.sent.as_ref().is_some_and(|sent| now.since(sent.since) > PATIENCE) {
            self.sent = None;
            self.next = now;
        }
        if now < self.next {
            return;
        }
        if !calm || self.sent.is_some() || self.wish.is_some() || rate >= most {
            self.next = now + AGAIN;
            return;
        }
        self.id = self.id.wrapping_add(1);
        let bits_per_second = (FACTOR * rate).min(most);
        let bytes = (bits_per_second * DURATION.as_secs_f64() / 8.0) as usize;
        let packet_bytes = (bytes / PACKETS).clamp(SMALLEST, LARGEST);
        let bytes = bytes.max(PACKETS * packet_bytes);
        self.wish = Some(Probe { id: self.id, bits_per_second, bytes, packets: PACKETS, packet_bytes });
        self.next = now + INTERVAL;
    }

    /// The wish for a probe, once.
    pub(super) fn take(&mut self, now: Time) -> Option<Probe> {
        let wish = self.wish.take()?;
        self.sent = Some(Sent { id: wish.id, since: now, packets: 0, bytes: 0, first: None, last: None });
        Some(wish)
    }

    /// When there will be one.
    pub(super) fn next(&self) -> Time {
        self.next
    }

    /// There will be none for a while: the way is full. One that is under way says nothing.
    pub(super) fn delay(&mut self, now: Time) {
        self.wish = None;
        self.sent = None;
        self.next = now + INTERVAL;
    }

    /// Learns what came of packets. Returns the rate that was seen, when enough of a probe has come; what was seen while
    /// a queue grew for other reasons says nothing.
    pub(super) fn push(&mut self, now: Time, outcomes: &[Outcome], calm: bool) -> Option<f64> {
        let sent = self.sent.as_mut()?;
        for outcome in
            outcomes.iter().filter(|outcome| outcome.probe == Some(sent.id) && outcome.arrived.is_some())
        {
            sent.first.get_or_insert(*outcome);
            sent.bytes += outcome.bytes;
            sent.packets += 1;
            sent.last = Some(*outcome);
        }
        // What comes behind it shows that it is over.
        let over = sent.last.is_some_and(|last| {
            outcomes.iter().any(|outcome| outcome.probe.is_none() && outcome.sent > last.sent)
        });
        if !over || sent.packets < PACKETS as u32 - 1 {
            return None;
        }
        let seen = sent.seen();
        self.sent = None;
        // One that says nothing is repeated soon.
        self.next = now + REPEAT;
        let (rate, gets_through) = seen.filter(|_| calm)?;
        if gets_through {
            // There may be more: the next one follows at once.
            self.next = now;
        } else {
            self.next = now + FULL_INTERVAL;
        }
        Some(rate)
    }
}

impl Sent {
    /// The rate that got through, and whether it was all that was sent.
    fn seen(&self) -> Option<(f64, bool)> {
        let (first, last) = (self.first?, self.last?);
        let sent = last.sent.since(first.sent).as_secs_f64();
        let arrived = last.arrived?.checked_sub(first.arrived?)?.as_secs_f64();
        if sent < 0.001 || arrived < 0.001 {
            return None;
        }
        // The last packet leaves after the time that is measured, and the first arrives before it.
        let bits = |but: Outcome| (self.bytes - but.bytes) as f64 * 8.0;
        let (sent, arrived) = (bits(last) / sent, bits(first) / arrived);
        // A bunch that came faster than it left was held up before.
        if arrived > 2.0 * sent {
            return None;
        }
        if arrived > 0.9 * sent { Some((arrived.min(sent), true)) } else { Some((0.95 * arrived, false)) }
    }
}

use std::time::Duration;

use sansio::{Path, SocketReply, Time};

use super::{Happening, HostId, Net, SegmentId, Stop};
use crate::content::Content;
use crate::host::Node;
use crate::laws::Accused;
use crate::tray::Tray;

/// Rounds of polling after which a machine that always has something more is taken for broken.
const ROUNDS: usize = 100_000;
/// Wake-ups in one instant after which a machine is taken for broken.
const WAKES: u32 = 10_000;

/// Going on.
impl Net {
    /// Lets time go on by so much.
    ///
    /// # Panics
    /// If a machine breaks a law, or the step limit is reached.
    pub fn run_for(&mut self, duration: Duration) {
        self.run(self.now + duration, &mut |_| false);
    }

    /// Lets time go on until `done`, but for `within` at most. Says whether it was done; `done` is asked first of
    /// all and after every step.
    ///
    /// # Panics
    /// If a machine breaks a law, or the step limit is reached.
    pub fn run_until(&mut self, within: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        self.run(self.now + within, &mut done)
    }

    /// Calls `what` at a time to come, or now if that is past.
    pub fn at(&mut self, time: Time, what: impl FnOnce(&mut Self) + Send + 'static) {
        self.calendar.push(time.max(self.now), Happening::Call(Box::new(what)));
    }

    /// Calls `what` after a while.
    pub fn after(&mut self, delay: Duration, what: impl FnOnce(&mut Self) + Send + 'static) {
        self.at(self.now + delay, what);
    }

    /// Puts a datagram onto a segment, as if somebody there had sent it: `path.local` is the sender that it claims.
    pub fn inject(&mut self, segment: SegmentId, path: Path, payload: &[u8]) {
        let payload = self.tray.copy(payload);
        let packet = self.packet(path, payload, Content::Datagram);
        self.calendar.push(self.now, Happening::Arrival(Stop::Segment(segment), packet));
    }

    fn run(&mut self, end: Time, done: &mut dyn FnMut(&mut Self) -> bool) -> bool {
        let limit = self.steps.saturating_add(self.step_limit);
        loop {
            self.settle_dirty();
            if done(self) {
                self.settle_dirty();
                return true;
            }
            self.settle_dirty();
            if self.calendar.next().is_none_or(|at| at > end) {
                break;
            }
            assert!(self.steps < limit, "no end in {} steps, at {:?}", self.step_limit, self.now);
            self.step();
        }
        self.now = self.now.max(end);
        done(self)
    }

    fn step(&mut self) {
        let Some((at, happening)) = self.calendar.pop() else { return };
        self.now = self.now.max(at);
        self.steps += 1;
        match happening {
            Happening::Arrival(Stop::Segment(segment), packet) => self.route_packet(segment, packet),
            Happening::Arrival(Stop::Gateway(segment), packet) => self.come_in(segment, packet),
            Happening::Arrival(Stop::Host(host), packet) => self.receive(host, packet),
            Happening::Wake(host) => self.wake(host),
            Happening::Reply { host, process, reply } => {
                if self.hosts[host.0].process == process {
                    self.tell(host, reply);
                }
            }
            Happening::ConnectTimeout(stream) => self.connect_timeout(stream),
            Happening::Repeat(packet) => self.repeat(packet),
            Happening::Call(call) => call(self),
        }
    }

    /// Lets a host's machine do something, and takes away what comes of it.
    pub(super) fn drive(&mut self, host: HostId, what: impl FnOnce(&mut dyn Node, Time, &mut Tray)) {
        let Some(mut node) = self.hosts[host.0].node.take() else { return };
        let now = self.clock(host);
        let mut tray = std::mem::replace(&mut self.tray, Tray::new());
        what(&mut *node, now, &mut tray);
        self.tray = tray;
        self.settle(host, &mut *node);
        self.hosts[host.0].node = Some(node);
    }

    pub(super) fn settle_dirty(&mut self) {
        while let Some(host) = self.dirty.pop() {
            self.hosts[host.0].dirty = false;
            // A sleeper is looked at when it wakes up.
            if self.hosts[host.0].asleep.is_none() {
                self.drive(host, |_, _, _| {});
            }
        }
    }

    /// Tells a machine what became of a wish, or will when its host wakes up.
    pub(super) fn tell(&mut self, host: HostId, reply: SocketReply) {
        if self.hosts[host.0].asleep.is_some() {
            return self.hosts[host.0].held.push(reply);
        }
        self.drive(host, |node, now, _| node.socket(now, reply));
    }

    /// Polls a machine until it has nothing more to say, and holds it to the laws.
    fn settle(&mut self, host: HostId, node: &mut dyn Node) {
        for round in 0.. {
            if round > ROUNDS {
                self.accused(host).condemn(node, "it never comes to rest");
            }
            if !self.poll(host, node) {
                break;
            }
        }
        if self.laws.early_timeouts_do_nothing {
            let mut tray = std::mem::replace(&mut self.tray, Tray::new());
            self.accused(host).check_early_timeout(node, &mut tray);
            self.tray = tray;
        }
        if let Some(due) = node.next_timeout() {
            self.arm(host, due);
        }
    }

    /// One round of polling; says whether anything came of it.
    fn poll(&mut self, host: HostId, node: &mut dyn Node) -> bool {
        let mut tray = std::mem::replace(&mut self.tray, Tray::new());
        tray.refused = false;
        node.transmit(self.clock(host), &mut tray);
        if self.laws.drained_polls_stay_empty && !tray.refused {
            self.accused(host).check_drained(node, &mut tray);
        }
        let mut busy = !tray.is_empty();
        self.tray = tray;
        while let Some(written) = self.tray.pop() {
            self.send(host, node, written);
        }
        while let Some(op) = node.next_socket() {
            busy = true;
            self.do_socket_op(host, op);
        }
        busy | (node.drain_events() > 0)
    }

    /// Has the machine woken when its host's clock shows `due`.
    fn arm(&mut self, host: HostId, due: Time) {
        let due = self.hosts[host.0].clock.when(due).max(self.now);
        if self.hosts[host.0].armed.is_none_or(|armed| due < armed) {
            self.hosts[host.0].armed = Some(due);
            self.calendar.push(due, Happening::Wake(host));
        }
    }

    fn wake(&mut self, id: HostId) {
        let host = &mut self.hosts[id.0];
        if host.armed != Some(self.now) {
            return; // a later or an earlier one has taken its place
        }
        host.armed = None;
        if host.asleep.is_some() {
            return; // it is armed again when it wakes up
        }
        let Some(node) = &host.node else { return };
        let Some(due) = node.next_timeout() else { return };
        if due > host.clock.tell(self.now) {
            return self.arm(id, due);
        }
        host.wakes = (self.now, if host.wakes.0 == self.now { host.wakes.1 + 1 } else { 1 });
        let too_many = host.wakes.1 > WAKES;
        let Some(mut node) = host.node.take() else { return };
        let now = self.clock(id);
        if too_many {
            self.accused(id).condemn(&*node, "it wants to be woken again and again in one instant");
        }
        node.timeout(now);
        if let Some(due) = node.next_timeout().filter(|due| *due <= now) {
            self.accused(id).condemn(
                &*node,
                format_args!("handle_timeout must move poll_timeout past now, but it stays at {due:?}"),
            );
        }
        self.settle(id, &mut *node);
        self.hosts[id.0].node = Some(node);
    }

    pub(super) fn accused(&self, host: HostId) -> Accused<'_> {
        Accused { host: self.host_name(host), now: self.clock(host) }
    }
}

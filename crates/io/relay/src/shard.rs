use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sansio::{Rng, Time};
use tokio::sync::mpsc::{self, UnboundedSender};
use turn::{LookupId, Server, Verdict};
use udp::BareSocket;

use crate::carrier::Carrier;
use crate::chief::Chief;
use crate::clock::Clock;
use crate::connection::StreamEvent;
use crate::control::Wish;
use crate::crew::{Contact, Crew};
use crate::gate::Gate;
use crate::losses::Losses;
use crate::mail::Mailbox;
use crate::pulse::Pulse;
use crate::question::Inquiry;
use crate::sockets::{Role, Sockets};
use crate::streams::StreamOrder;

/// Stream events, and letters of aides, handled before the sockets get their turn.
const AT_ONCE: usize = 64;
/// How long the aides are listened to when all end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The shard that has the machine: one thread that shares nothing that is hot.
pub(crate) struct Shard {
    clock: Clock,
    pulse: Pulse,
    carrier: Carrier,
    chief: Chief,
    inbox: Inbox,
    /// When the machine wants to be woken.
    due: Option<Time>,
    /// What the streams and the aides left over wakes nobody a second time.
    left: bool,
}

/// Where others leave what they have for the machine, before they wake its thread.
pub(crate) struct Inbox {
    pub(crate) streams: mpsc::Receiver<StreamEvent>,
    pub(crate) letters: Mailbox,
    pub(crate) wishes: mpsc::Receiver<Wish>,
    pub(crate) answers: mpsc::UnboundedReceiver<(LookupId, Verdict)>,
}

impl Shard {
    pub(crate) fn new(
        pulse: Pulse,
        server: Server,
        listeners: Vec<BareSocket>,
        inbox: Inbox,
        aides: Vec<Contact>,
        (inquiry, streams, losses): (Inquiry, UnboundedSender<StreamOrder>, Arc<Losses>),
        rng: &mut Rng,
    ) -> io::Result<Self> {
        let mut sockets = Sockets::new(losses.clone(), rng);
        let mut crew = Crew::new(pulse.registry().try_clone()?, aides);
        let next_socket = listeners.len();
        for (number, socket) in listeners.into_iter().enumerate() {
            crew.employ(0, number, socket, Role::Listener, &mut sockets)?;
        }
        let chief = Chief::new(server, crew, next_socket, inquiry, streams, losses, rng);
        let (clock, due, carrier) = (pulse.clock(), chief.poll_timeout(), Carrier::new(sockets, rng));
        Ok(Self { clock, pulse, carrier, chief, inbox, due, left: false })
    }

    /// Lets what is DTLS through there.
    pub(crate) fn with_gate(mut self, gate: Option<Gate>) -> Self {
        self.carrier.gate = gate;
        self
    }

    /// The sockets that clients send to.
    pub(crate) fn listeners(&self) -> Vec<Arc<BareSocket>> {
        self.carrier.sockets.listeners()
    }

    /// Serves until `stop` says so; then ends all allocations and lets the streams go.
    pub(crate) fn run(mut self, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let until = if self.left { Some(Time::ZERO) } else { self.due };
            self.turn(until);
        }
        // What the aides still have to say about the sessions that end now: their threads are ending, too.
        self.carrier.report(&mut self.chief);
        let deadline = Instant::now() + LAST_WORDS;
        let left = || deadline.saturating_duration_since(Instant::now());
        while let Some(letter) = self.inbox.letters.wait(left()) {
            self.chief.read(self.clock.now(), letter, &mut self.carrier.sockets);
        }
        self.chief.close(self.clock.now(), &mut self.carrier.sockets);
    }

    /// Waits for something to do, until then at the longest, and does it.
    fn turn(&mut self, until: Option<Time>) {
        let now = self.pulse.wait(until, &mut self.carrier.sockets);
        if self.due.is_some_and(|at| at <= now) {
            // Sessions may end: first what was carried for them.
            self.carrier.report(&mut self.chief);
            self.chief.wake(now);
            self.carrier.forget_stale(&mut self.chief);
        }
        self.carrier.hear(now, &mut self.chief);
        for _ in 0..self.carrier.sockets.pending() {
            if let Some(role) = self.carrier.receive() {
                self.carrier.pass_on(now, role, &mut self.chief);
            }
        }
        if self.pulse.was_called() || self.left {
            self.carrier.report(&mut self.chief);
            self.left = self.read(now);
        }
        if self.chief.has_news() {
            self.chief.settle(now, 0, &mut self.carrier.sockets);
            self.carrier.forget_stale(&mut self.chief);
            self.due = self.chief.poll_timeout();
        }
    }

    /// Takes a turn that waits for nothing.
    #[cfg(test)]
    pub(crate) fn step(&mut self) {
        self.turn(Some(Time::ZERO));
    }

    /// How much stands in each of its tables.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize)> {
        [self.carrier.tables(), self.chief.tables()].concat()
    }

    /// Reads what streams and aides have sent. Returns whether there may be more.
    fn read(&mut self, now: Time) -> bool {
        let sockets = &mut self.carrier.sockets;
        let mut events = 0;
        while events < AT_ONCE
            && let Ok(event) = self.inbox.streams.try_recv()
        {
            self.chief.stream_has(now, event, sockets);
            self.chief.settle(now, 0, sockets);
            events += 1;
        }
        let mut letters = 0;
        while letters < AT_ONCE
            && let Some(letter) = self.inbox.letters.next()
        {
            self.chief.read(now, letter, sockets);
            letters += 1;
        }
        while let Ok((id, verdict)) = self.inbox.answers.try_recv() {
            self.chief.answered(now, id, verdict);
        }
        while let Ok(wish) = self.inbox.wishes.try_recv() {
            self.chief.obey(wish);
        }
        events == AT_ONCE || letters == AT_ONCE
    }
}

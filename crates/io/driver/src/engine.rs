//! The one loop: gives a machine its sockets, its clock and its turn.

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sansio::{Batches, Datagram, Machine, Outbox, Path, SocketOp, SocketReply, Time, Transport};
use tokio::time::Sleep;
use udp::Bundles;

use crate::Clock;
use crate::network::{Network, Outcome};
use crate::sockets::Sockets;
use crate::streams::Streams;
use crate::wake::{Bell, Wake};

/// Bundles received in one turn, 64 KiB each at most.
const BUNDLES: usize = 4;
/// Bytes that a machine may write in one turn before they are sent: the answer to all that one turn receives, and
/// some for itself.
const OUT_BYTES: usize = (BUNDLES + 2) * 64 * 1024;
/// With less room than this left, a machine may have stopped writing for want of room.
const LARGEST_DATAGRAM: usize = 2048;
/// Turns before other tasks of the thread get theirs.
const TURNS: usize = 32;

/// What an [`Engine`] runs: a machine, and what becomes of its events.
///
/// A host lives behind the mutex of [`Shared`], where the engine and the holders of handles meet.
pub trait Host: Send + 'static {
    /// The machine.
    type Machine: Machine<Addr = Path>;

    /// The machine, to be fed and polled.
    fn machine(&mut self) -> &mut Self::Machine;

    /// Called first of all in each turn: for hosts of many, to learn whom handles have told something.
    fn prepare(&mut self, _now: Time) {}

    /// Drains the machine's events. Called once a turn, after the machine has written what it wants to send.
    ///
    /// Tasks to wake go into `wakers`; they are woken once the mutex is released. Returns whether the machine was
    /// told to do something that needs another turn at once.
    fn absorb(&mut self, now: Time, wakers: &mut Vec<Waker>) -> bool;

    /// When the host, besides its machine, needs a turn.
    fn deadline(&self) -> Option<Time> {
        None
    }

    /// Whether the engine should end, once what the machine wrote is sent.
    fn ended(&self) -> bool;

    /// The engine is gone, perhaps with the runtime: nothing will ever happen again. Called once, at the end.
    fn abandon(&mut self, wakers: &mut Vec<Waker>);
}

/// Where an engine and the holders of handles meet: a host behind a mutex, a clock, and a bell for the engine.
#[derive(Debug)]
pub struct Shared<H> {
    host: Mutex<H>,
    clock: Clock,
    bell: Bell,
}

impl<H: Host> Shared<H> {
    /// `host`, to be run by an engine whose clock is `clock`.
    pub fn new(clock: Clock, host: H) -> Arc<Self> {
        Self::with_bell(clock, host, Bell::Own(Wake::default()))
    }

    pub(crate) fn with_bell(clock: Clock, host: H, bell: Bell) -> Arc<Self> {
        Arc::new(Self { host: Mutex::new(host), clock, bell })
    }

    /// The host. Hold it briefly: the engine waits. Call [`Shared::wake`] after a wish.
    pub fn lock(&self) -> MutexGuard<'_, H> {
        // After a panic under the lock the host is no worse than after any other bug.
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time now, by the engine's clock.
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Has the engine take a turn soon.
    pub fn wake(&self) {
        self.bell.ring();
    }

    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn bell(&self) -> &Bell {
        &self.bell
    }
}

/// The loop as a future: it ends when its host has ended.
///
/// Every turn it receives once, lets the machine react, write and report, and sends what it wrote: one clock read, one
/// `poll_transmit`, one drain of events and one `poll_timeout` however many datagrams there were.
pub struct Engine<H: Host> {
    shared: Arc<Shared<H>>,
    network: Network,
    sockets: Sockets,
    streams: Streams,
    timer: Pin<Box<Sleep>>,
    /// What `timer` is set to. It may be earlier than the machine's deadline, never later.
    armed: Option<Time>,
    /// Whether the machine has more to write than it had room for.
    unfinished: bool,
    replies: Vec<SocketReply>,
    farewells: Vec<SocketOp>,
}

/// What turns need and no engine needs between turns; one set serves all engines of a thread.
struct Workspace {
    bundles: Bundles,
    batches: Batches,
    wakers: Vec<Waker>,
}

thread_local! {
    static WORKSPACE: RefCell<Workspace> = RefCell::new(Workspace {
        bundles: Bundles::new(BUNDLES),
        batches: Batches::new(OUT_BYTES),
        wakers: Vec::new(),
    });
}

impl<H: Host> Engine<H> {
    /// An engine for `shared` that opens its sockets by `network`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(shared: Arc<Shared<H>>, network: Network) -> Self {
        Self {
            timer: Box::pin(tokio::time::sleep_until(shared.clock.instant(Time::ZERO).into())),
            armed: Some(Time::ZERO),
            shared,
            network,
            sockets: Sockets::default(),
            streams: Streams::default(),
            unfinished: false,
            replies: Vec::new(),
            farewells: Vec::new(),
        }
    }

    /// Whether there is anything to do.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = std::mem::take(&mut self.unfinished);
        any |= self.shared.bell.poll(cx).is_ready();
        if self.armed.is_some() && self.timer.as_mut().poll(cx).is_ready() {
            self.armed = None;
            any = true;
        }
        while let Poll::Ready(outcome) = self.network.poll(cx) {
            self.replies.push(match outcome {
                Outcome::Reply(reply) => reply,
                Outcome::Connected { ticket, path, io } => {
                    self.streams.add(path, io);
                    SocketReply::Connected { ticket, path }
                }
            });
            any = true;
        }
        any |= self.sockets.poll_ready(cx);
        any |= self.streams.poll_ready(cx);
        any
    }

    /// Takes a turn. Returns `false` once the host has ended.
    fn turn(&mut self, cx: &mut Context<'_>, workspace: &mut Workspace) -> bool {
        let Workspace { bundles, batches, wakers } = workspace;
        self.sockets.receive(bundles);
        self.sockets.resume(|batch| batches.recycle(batch));
        let shared = self.shared.clone();
        let now = shared.now();
        let mut out = Outlet::new(batches, &self.sockets, &self.streams);
        let mut host = shared.lock();
        host.prepare(now);
        for bundle in bundles.iter_mut() {
            let (from, marked) = (bundle.path, bundle.marked);
            for payload in bundle.datagrams() {
                if marked {
                    host.machine().handle_mark(now);
                }
                host.machine().handle_datagram(now, Datagram { from, payload }, &mut out);
            }
        }
        self.streams.receive(
            |from, payload| host.machine().handle_datagram(now, Datagram { from, payload }, &mut out),
            &mut self.replies,
        );
        let machine = host.machine();
        for reply in self.replies.drain(..) {
            machine.handle_socket(now, reply);
        }
        if machine.poll_timeout().is_some_and(|at| at <= now) {
            machine.handle_timeout(now);
        }
        self.serve(now, host.machine());
        host.machine().poll_transmit(now, &mut out);
        let again = host.absorb(now, wakers);
        // What the events led to (a name to resolve, a socket to close) need not wait for the next turn.
        self.serve(now, host.machine());
        let deadline = host.machine().poll_timeout().into_iter().chain(host.deadline()).min();
        let ended = host.ended();
        drop(host);

        // A machine that looks at the room before it writes is not refused anything.
        let full = out.refused || batches.room() < LARGEST_DATAGRAM;
        self.unfinished = again || full || deadline.is_some_and(|at| at <= now);
        while let Some(batch) = batches.pop() {
            let batch = match batch.path.transport {
                Transport::Udp => self.sockets.send(batch),
                Transport::Tcp | Transport::Tls | Transport::Dtls => self.streams.send(cx, batch),
            };
            if let Some(batch) = batch {
                batches.recycle(batch);
            }
        }
        for op in self.farewells.drain(..) {
            match op {
                SocketOp::Unbind { local } => self.sockets.unbind(local),
                SocketOp::Disconnect { path } => self.streams.remove(path),
                _ => {}
            }
        }
        for waker in wakers.drain(..) {
            waker.wake();
        }
        self.arm(deadline);
        !ended
    }

    /// Does what the machine wants of sockets and names.
    fn serve(&mut self, now: Time, machine: &mut H::Machine) {
        while let Some(op) = machine.poll_socket() {
            match op {
                SocketOp::Bind { ticket, local } => machine.handle_socket(
                    now,
                    match self.sockets.bind(local) {
                        Ok(local) => SocketReply::Bound { ticket, local },
                        Err(error) => SocketReply::Failed { ticket, error },
                    },
                ),
                // Only once what was written before is sent.
                SocketOp::Unbind { .. } | SocketOp::Disconnect { .. } => self.farewells.push(op),
                SocketOp::Connect { .. }
                | SocketOp::Resolve { .. }
                | SocketOp::Locate { .. }
                | SocketOp::Publish { .. } => {
                    self.network.start(op);
                }
            }
        }
    }

    /// Sets the timer. A deadline that moved away lets the timer fire early: that costs a turn now and then, and
    /// saves setting it anew with every packet.
    fn arm(&mut self, deadline: Option<Time>) {
        if let Some(deadline) = deadline
            && self.armed.is_none_or(|armed| deadline < armed)
        {
            self.timer.as_mut().reset(self.shared.clock.instant(deadline).into());
            self.armed = Some(deadline);
        }
    }
}

impl<H: Host> Future for Engine<H> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let engine = &mut *self;
        for _ in 0..TURNS {
            if !engine.poll_ready(cx) {
                return Poll::Pending;
            }
            if !WORKSPACE.with_borrow_mut(|workspace| engine.turn(cx, workspace)) {
                return Poll::Ready(());
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<H: Host> Drop for Engine<H> {
    fn drop(&mut self) {
        let mut wakers = Vec::new();
        self.shared.lock().abandon(&mut wakers);
        for waker in wakers {
            waker.wake();
        }
    }
}

/// The outbox of one turn: refuses what a socket or a stream cannot take now.
struct Outlet<'a> {
    batches: &'a mut Batches,
    congested_sockets: Vec<SocketAddr>,
    congested_streams: Vec<Path>,
    /// Whether anything was refused for want of room in this turn.
    refused: bool,
}

impl<'a> Outlet<'a> {
    fn new(batches: &'a mut Batches, sockets: &Sockets, streams: &Streams) -> Self {
        let mut congested_sockets = Vec::new();
        sockets.congested(&mut congested_sockets);
        let mut congested_streams = Vec::new();
        streams.congested(&mut congested_streams);
        Self { batches, congested_sockets, congested_streams, refused: false }
    }

    fn is_congested(&self, path: Path) -> bool {
        match path.transport {
            Transport::Udp => self.congested_sockets.iter().any(|bound| {
                bound.port() == path.local.port()
                    && (bound.ip().is_unspecified() || bound.ip() == path.local.ip())
            }),
            Transport::Tcp | Transport::Tls | Transport::Dtls => self.congested_streams.contains(&path),
        }
    }

    fn note(&mut self, send: impl FnOnce(&mut Batches) -> bool) -> bool {
        let sent = send(self.batches);
        self.refused |= !sent;
        sent
    }
}

impl Outbox for Outlet<'_> {
    fn room(&self) -> usize {
        self.batches.room()
    }

    fn send(&mut self, to: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        // What is congested has a turn when it has room again.
        !self.is_congested(to) && self.note(|batches| batches.send(to, max, fill))
    }

    fn send_whole(&mut self, to: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        !self.is_congested(to) && self.note(|batches| batches.send_whole(to, max, fill))
    }

    fn send_capable(&mut self, to: Path, max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        !self.is_congested(to) && self.note(|batches| batches.send_capable(to, max, fill))
    }
}

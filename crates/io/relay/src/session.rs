use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dtls::{Endpoint, Event, Hello, Server};
use sansio::{Batches, Outbox, Path, Seed, Time};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use crate::Limits;
use crate::admission::Admitted;
use crate::clock::Clock;
use crate::connection::{Client, End, Frames, StreamEvent};
use crate::exits::Exits;
use crate::gate::Parcel;
use crate::handshakes::Handshakes;
use crate::outgoing::Outgoing;
use crate::post::Post;

/// Datagrams taken in at once.
const AT_ONCE: usize = 64;
/// Bytes that wait to be sent while one batch is made.
const OUT_BYTES: usize = 1 << 20;

/// A DTLS client: the machine knows it as it knows a stream, but that its messages are datagrams and may be lost.
pub(crate) struct Session {
    pub(crate) path: Path,
    /// What the client has sent.
    pub(crate) inbox: mpsc::Receiver<Parcel>,
    pub(crate) exits: Exits,
    pub(crate) clock: Clock,
    pub(crate) limits: Limits,
    pub(crate) events: Post,
    pub(crate) handshakes: Arc<Handshakes>,
}

impl Session {
    /// Serves the client that said `hello` until either has enough.
    pub(crate) async fn run(mut self, mut admitted: Admitted, server: &Server, hello: &Hello, seed: Seed) {
        let (path, began) = (self.path, Instant::now());
        let Some(mut endpoint) = server.welcome(self.clock.now(), hello, seed) else {
            self.handshakes.failed();
            let refusal = dtls::refusal();
            self.exits.send(path, refusal.len(), &refusal);
            return debug!(%path, "DTLS handshake failed: nothing in common with the client");
        };
        match timeout(self.limits.handshake, self.shake_hands(&mut endpoint)).await {
            Ok(Ok(())) => self.handshakes.succeeded(began.elapsed()),
            Ok(Err(why)) => {
                self.handshakes.failed();
                return debug!(%path, why, "DTLS handshake failed");
            }
            Err(_) => {
                self.handshakes.took_too_long();
                return debug!(%path, "DTLS handshake took too long");
            }
        }
        admitted.has_shaken_hands();
        let client = Arc::new(Client::new(Outgoing::of_datagrams(self.limits.queue)));
        if self.events.send(StreamEvent::Opened { path, client: client.clone() }).await.is_err() {
            return;
        }
        let end = self.carry(&mut endpoint, &client).await;
        endpoint.close(self.clock.now());
        self.transmit(&mut endpoint);
        let _ = self.events.send(StreamEvent::Closed { path, end }).await;
    }

    async fn shake_hands(&mut self, endpoint: &mut Endpoint) -> Result<(), String> {
        loop {
            self.transmit(endpoint);
            match endpoint.poll_event() {
                Some(Event::Connected(_)) => return Ok(()),
                Some(Event::Failed(error)) => return Err(error.to_string()),
                Some(Event::Closed) => return Err("the client has left".to_owned()),
                None => {}
            }
            tokio::select! {
                first = self.inbox.recv() => match first {
                    Some(first) => _ = self.open(endpoint, first),
                    None => return Err("the client has begun anew".to_owned()),
                },
                () = due(self.clock, endpoint.poll_timeout()) => endpoint.handle_timeout(self.clock.now()),
            }
        }
    }

    /// Carries messages between the client and the machine.
    async fn carry(&mut self, endpoint: &mut Endpoint, client: &Client) -> End {
        let mut patience = self.limits.handshake;
        let mut deadline = Instant::now() + patience;
        let mut bytes = Vec::new();
        loop {
            self.transmit(endpoint);
            while let Some(event) = endpoint.poll_event() {
                match event {
                    Event::Connected(_) => {}
                    Event::Closed => return End::Client,
                    Event::Failed(error) => return End::Dtls(error),
                }
            }
            tokio::select! {
                first = self.inbox.recv() => {
                    let Some(first) = first else { return End::Client };
                    let frames = self.open(endpoint, first);
                    if !frames.is_empty() {
                        patience = self.limits.idle;
                        deadline = Instant::now() + patience;
                        let event = StreamEvent::Received { path: self.path, frames };
                        if self.events.send(event).await.is_err() {
                            return End::Server;
                        }
                    }
                }
                more = client.outgoing.take(&mut bytes) => {
                    if !more {
                        return End::Server;
                    }
                    self.seal(endpoint, &bytes);
                }
                () = due(self.clock, endpoint.poll_timeout()) => endpoint.handle_timeout(self.clock.now()),
                () = sleep_until(deadline) => {
                    if !client.allocated.load(Ordering::Relaxed) {
                        return End::Silent(patience);
                    }
                    deadline = Instant::now() + patience;
                }
            }
        }
    }

    /// Takes in the client's datagrams, as many as are here, and returns the messages in them.
    fn open(&mut self, endpoint: &mut Endpoint, mut parcel: Parcel) -> Frames {
        let (now, mut frames) = (self.clock.now(), Frames::default());
        for _ in 0..AT_ONCE {
            endpoint.open(now, &mut parcel.bytes, &mut |message| frames.push(message));
            match self.inbox.try_recv() {
                Ok(next) => parcel = next,
                Err(_) => break,
            }
        }
        frames
    }

    /// Sends the messages in `bytes`, each in a record of its own.
    fn seal(&self, endpoint: &mut Endpoint, bytes: &[u8]) {
        let mut batches = Batches::new(OUT_BYTES);
        let mut way = Way { path: self.path, batches: &mut batches };
        for message in Outgoing::datagrams(bytes) {
            endpoint.lane(&mut way).send_bytes((), message);
        }
        self.depart(batches);
    }

    /// Sends what the endpoint has to say by itself.
    fn transmit(&self, endpoint: &mut Endpoint) {
        let mut batches = Batches::new(OUT_BYTES);
        endpoint.poll_transmit(self.clock.now(), &mut Way { path: self.path, batches: &mut batches });
        self.depart(batches);
    }

    fn depart(&self, mut batches: Batches) {
        while let Some(batch) = batches.pop() {
            self.exits.send(self.path, batch.segment, &batch.bytes);
        }
    }
}

/// Ready when the clock has come there.
async fn due(clock: Clock, at: Option<Time>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(clock.now()).max(Duration::from_millis(1))).await,
        None => std::future::pending().await,
    }
}

/// The way to the client.
struct Way<'a> {
    path: Path,
    batches: &'a mut Batches,
}

impl Outbox<()> for Way<'_> {
    fn room(&self) -> usize {
        self.batches.room()
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.batches.send(self.path, max, fill)
    }
}

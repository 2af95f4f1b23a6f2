use std::collections::HashMap;
use std::sync::Arc;

use dtls::{Hello, Verdict};
use sansio::{KeyedHash, Path, Rng, Seed};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use crate::acceptor::{FAREWELL, Reception, stopped};
use crate::clock::Clock;
use crate::desk::Desk;
use crate::exits::Exits;
use crate::gate::{Arrivals, Parcel, Way};
use crate::losses::{Loss, Losses};
use crate::session::Session;

/// Where DTLS clients arrive. Who has not shown that he is where he says gets an answer shorter than his question, and
/// leaves nothing behind; who has gets a [`Session`], a task of his own, if there is room.
pub(crate) struct Lobby {
    arrivals: Arrivals,
    desk: Desk,
    exits: Exits,
    losses: Arc<Losses>,
    clock: Clock,
    rng: Rng,
    sessions: HashMap<Path, Place, KeyedHash>,
}

/// A session, as seen from here.
struct Place {
    /// What tells the client's attempt from another.
    attempt: [u8; 32],
    /// `None`: it is to end.
    inbox: Option<Way>,
}

impl Lobby {
    pub(crate) fn new(
        arrivals: Arrivals,
        desk: Desk,
        exits: Exits,
        losses: Arc<Losses>,
        clock: Clock,
    ) -> Self {
        let mut rng = Rng::new(Seed(crypto::seed()));
        let sessions = HashMap::with_hasher(KeyedHash::new(&mut rng));
        Self { arrivals, desk, exits, losses, clock, rng, sessions }
    }

    /// Serves until the server ends, and then gives the sessions a moment to end, too.
    pub(crate) async fn run(mut self, reception: Reception) {
        let mut tasks = JoinSet::new();
        self.serve(&reception, &mut tasks).await;
        drop(reception);
        // What clients have to say to the end still reaches them: the machine tells them, and they leave by themselves.
        let _ = timeout(FAREWELL, async { while tasks.join_next().await.is_some() {} }).await;
    }

    /// Serves until the server ends, with a task for each session.
    pub(crate) async fn serve(&mut self, reception: &Reception, tasks: &mut JoinSet<Path>) {
        let mut stop: watch::Receiver<bool> = reception.stop.clone();
        loop {
            tokio::select! {
                Some(parcel) = self.arrivals.records.recv() => self.pass_on(parcel),
                Some(parcel) = self.arrivals.proven.recv() => self.greet(parcel, reception, tasks),
                Some(parcel) = self.arrivals.hellos.recv() => self.greet(parcel, reception, tasks),
                Some(ended) = tasks.join_next() => self.left(ended.ok()),
                () = stopped(&mut stop) => return,
            }
        }
    }

    /// How much stands in each of its tables.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize)> {
        let Arrivals { hellos, proven, records } = &self.arrivals;
        let waiting = hellos.len() + proven.len() + records.len();
        vec![("DTLS sessions", self.sessions.len()), ("DTLS datagrams that wait", waiting)]
    }

    /// Hands a datagram to its session.
    fn pass_on(&self, parcel: Parcel) {
        if let Some(Place { inbox: Some(inbox), .. }) = self.sessions.get(&parcel.path) {
            // What there is no room for is lost, as on a network.
            if !inbox.is_closed() && inbox.pass_on(parcel).is_none() {
                self.losses.add(Loss::Dtls, 1);
            }
        }
    }

    fn greet(&mut self, parcel: Parcel, reception: &Reception, tasks: &mut JoinSet<Path>) {
        let path = parcel.path;
        match self.desk.examine(self.clock.now(), &path, &parcel.bytes) {
            Verdict::Ignored => {}
            Verdict::Challenge(answer) => self.exits.send(path, answer.len(), &answer),
            Verdict::Proven(hello) => self.welcome(parcel, hello, reception, tasks),
        }
    }

    /// A client is where it says.
    fn welcome(&mut self, parcel: Parcel, hello: Hello, reception: &Reception, tasks: &mut JoinSet<Path>) {
        let path = parcel.path;
        if let Some(place) = self.sessions.get_mut(&path) {
            // The same again: its answer was lost. Another one: the client has begun anew (RFC 6347 §4.2.8), and will
            // ask once more when the old session is gone.
            if place.attempt == hello.attempt() {
                return self.pass_on(parcel);
            }
            place.inbox = None;
            return;
        }
        let admitted = reception.admission.admit(path.remote.ip()).and_then(|mut admitted| {
            admitted.shakes_hands()?;
            Ok(admitted)
        });
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return debug!(%path, ?refused, "DTLS client refused: too many"),
        };
        let (inbox, received) = Way::inbox();
        self.sessions.insert(path, Place { attempt: hello.attempt(), inbox: Some(inbox) });
        let session = Session {
            path,
            inbox: received,
            exits: self.exits.clone(),
            clock: self.clock,
            limits: reception.limits,
            events: reception.events.clone(),
            handshakes: reception.handshakes.clone(),
        };
        let (server, seed) = (self.desk.server(), self.rng.fork());
        tasks.spawn(async move {
            session.run(admitted, &server, &hello, seed).await;
            path
        });
    }

    fn left(&mut self, path: Option<Path>) {
        match path {
            Some(path) => _ = self.sessions.remove(&path),
            // One has panicked, and did not say which it was.
            None => {
                self.sessions.retain(|_, place| place.inbox.as_ref().is_some_and(|inbox| !inbox.is_closed()))
            }
        }
    }
}

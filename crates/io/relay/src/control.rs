use std::net::SocketAddr;
use std::sync::Arc;

use crypto::Certificate;
use mio::Waker;
use tokio::sync::{mpsc, oneshot};
use turn::{Auth, ConfigError, Counters, OtherServer, PeerPolicy, Quotas};

use crate::admission::Admission;
use crate::desk::Desk;
use crate::handshakes::{Handshakes, HandshakesSoFar};
use crate::losses::{Losses, LossesSoFar};

/// Wishes that may wait; whoever has one more waits, too.
const WISHES: usize = 16;

/// Reaches a relay that runs: tells what it is doing, and changes what may change meanwhile. No packet is dropped for
/// it.
#[derive(Clone, Debug)]
pub struct Handle {
    wishes: mpsc::Sender<Wish>,
    /// Of the machine's thread.
    waker: Arc<Waker>,
    admission: Admission,
    handshakes: Arc<Handshakes>,
    losses: Arc<Losses>,
    /// If it speaks DTLS.
    dtls: Option<Desk>,
}

/// What a relay may be told while it runs. Sessions that there are go on; requests from now on are held against it.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Who may use the server.
    pub auth: Auth,
    /// Which peers are reached.
    pub policy: PeerPolicy,
    /// How much each may take.
    pub quotas: Quotas,
    /// Where clients are sent for whom there is no room.
    pub others: Vec<OtherServer>,
}

/// What a relay is doing at this moment, and did so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Allocations at this moment.
    pub allocations: usize,
    /// TCP and TLS connections and DTLS sessions at this moment.
    pub connections: usize,
    /// What the machine counted.
    pub counters: Counters,
    /// Datagrams lost that nobody had refused, by reason.
    pub lost: LossesSoFar,
    /// Connections turned away because there were too many, in all or from there.
    pub connections_refused: u64,
    /// Handshakes of TLS and DTLS that did not begin because too many were under way.
    pub handshakes_refused: u64,
    /// Handshakes of TLS and DTLS.
    pub handshakes: HandshakesSoFar,
}

/// What is wanted of the machine's thread.
#[derive(Debug)]
pub(crate) enum Wish {
    /// Tell what you are doing.
    Tell(oneshot::Sender<Doings>),
    /// Go by these rules.
    Apply(Box<Rules>, oneshot::Sender<Result<(), ConfigError>>),
    /// Make no new allocations; send who asks for one elsewhere, if there is an elsewhere.
    Drain(Option<SocketAddr>),
}

/// What it has to tell.
#[derive(Debug)]
pub(crate) struct Doings {
    pub(crate) allocations: usize,
    pub(crate) counters: Counters,
}

/// Where the machine's thread finds wishes.
pub(crate) fn wishes() -> (mpsc::Sender<Wish>, mpsc::Receiver<Wish>) {
    mpsc::channel(WISHES)
}

impl Handle {
    pub(crate) fn new(
        wishes: mpsc::Sender<Wish>,
        waker: Arc<Waker>,
        admission: Admission,
        handshakes: Arc<Handshakes>,
        losses: Arc<Losses>,
        dtls: Option<Desk>,
    ) -> Self {
        Self { wishes, waker, admission, handshakes, losses, dtls }
    }

    /// What it is doing. `None`: it has ended.
    pub async fn status(&self) -> Option<Status> {
        let (answer, told) = oneshot::channel();
        self.wish(Wish::Tell(answer)).await;
        let Doings { allocations, counters } = told.await.ok()?;
        let [connections_refused, handshakes_refused] = self.admission.refused();
        Some(Status {
            allocations,
            connections: self.admission.connections(),
            counters,
            lost: self.losses.so_far(),
            connections_refused,
            handshakes_refused,
            handshakes: self.handshakes.so_far(),
        })
    }

    /// Has it go by other rules from now on.
    ///
    /// # Errors
    /// If nobody or everybody could use the server by them; then all stays as it is.
    pub async fn apply(&self, rules: Rules) -> Result<(), ConfigError> {
        let (answer, told) = oneshot::channel();
        self.wish(Wish::Apply(Box::new(rules), answer)).await;
        // Who has ended goes by no rules.
        told.await.unwrap_or(Ok(()))
    }

    /// Has it make no new allocations: clients that ask for one are sent to `alternate`, to one of [`Rules::others`], or
    /// away. Those that there
    /// are go on until their clients give them up.
    pub async fn drain(&self, alternate: Option<SocketAddr>) {
        self.wish(Wish::Drain(alternate)).await;
    }

    /// Shows this certificate to DTLS clients from now on. Sessions that there are go on.
    ///
    /// # Errors
    /// If its key cannot be used; then all stays as it is.
    pub fn show_to_dtls_clients(&self, certificate: Certificate) -> Result<(), dtls::ConfigError> {
        self.dtls.as_ref().map_or(Ok(()), |desk| desk.renew(certificate))
    }

    async fn wish(&self, wish: Wish) {
        if self.wishes.send(wish).await.is_ok() {
            let _ = self.waker.wake();
        }
    }
}

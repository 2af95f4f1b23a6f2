//! From an invitation to a session: open a door or knock at one, meet, and talk under the seal.

use crate::client::{Client, Event, Gone, Joined, Peer, SignalError};
use crate::code::Code;
use crate::connect::{ConnectError, ConnectOptions};
use crate::invitation::Invitation;
use crate::link::{Link, ParseLinkError};
use crate::message::ErrorCode;
use crate::payload::{Hello, Payload};
use crate::seal::{Keyed, OpenError, Role, Waiting, WayBack};
use serde_json::Value;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Who enters must prove the key within this time.
const PATIENCE: Duration = Duration::from_secs(30);
/// Credentials younger than this are fresh enough for a session.
const FRESH: Duration = Duration::from_secs(60);

/// One place to meet: a room on a server, and the secret that opens the seal there.
///
/// A door with a [`Code`] is open to one guess: after a wrong one it is shut, and the code is dead. A door
/// with a [`Link`] cannot be guessed. Either can be met at several times, one guest after the other.
#[derive(Debug)]
pub struct Door {
    client: Client,
    secret: Secret,
    /// Members we have not met yet, with our role towards them.
    arrivals: VecDeque<(Peer, Role)>,
    pending: Option<Pending>,
    ice_servers_at: Instant,
    shut: bool,
}

#[derive(Debug)]
enum Secret {
    Code(Code),
    Link(Link),
}

/// A meeting under way, kept here so that [`Door::meet`] can be cancelled and called again.
#[derive(Debug)]
struct Pending {
    peer: Peer,
    role: Role,
    step: Step,
    until: Instant,
}

#[derive(Debug)]
enum Step {
    /// Our handshake message is out, theirs is not in.
    Handshake(Waiting),
    /// The key is there; the other's first sealed message must prove that it has the same.
    Proof(Keyed),
    /// Never seen from outside: between two steps.
    Moving,
}

/// Why no session came about.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MeetError {
    /// The server could not be reached.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server refuses, or is gone.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The two ends have different words. The code is dead now.
    #[error("the code is wrong: it worked for one try only, so ask the other side for a new one")]
    WrongCode,
    /// Somebody used the number of our code with other words. The code is dead now.
    #[error("somebody tried this code with wrong words, so it is dead now: start again for a new one")]
    WrongGuess,
    /// What comes does not fit the link's secret.
    #[error(
        "the other side has another link, or the server changes messages: open the whole link, and use a \
         server that you trust"
    )]
    Tampered,
    /// Somebody came in and did not speak the protocol, or nothing at all.
    #[error("somebody came in who does not speak this protocol; start again for a new code")]
    Stranger,
    /// The other side left before the session began.
    #[error("the other side left before the connection began: ask for a new code")]
    Gone,
    /// The door was shut before.
    #[error("this code is dead: start again for a new one")]
    Shut,
    /// The server's address is not fit for a link.
    #[error(transparent)]
    Link(#[from] ParseLinkError),
}

impl Door {
    /// Opens a door on `server` with a fresh code.
    pub async fn open_code(server: &str, options: &ConnectOptions) -> Result<Self, MeetError> {
        let mut client = Client::connect(server, options).await?;
        let joined = client.allocate(None).await?;
        let code = Code::generate(&joined.room);
        Ok(Self::new(client, Secret::Code(code), joined))
    }

    /// Opens again a door that was lost (the server restarted, the program was killed), with the same code
    /// if its number is still free. Look at [`Door::code`] for the one it got.
    pub async fn reopen_code(server: &str, options: &ConnectOptions, code: &Code) -> Result<Self, MeetError> {
        let mut client = Client::connect(server, options).await?;
        let joined = client.allocate(Some(code.nameplate())).await?;
        let code = if joined.room == code.nameplate() { code.clone() } else { Code::generate(&joined.room) };
        Ok(Self::new(client, Secret::Code(code), joined))
    }

    /// Opens a door with a link, on the link's server. Who comes first waits for the other; it is full when
    /// two are there.
    pub async fn open_link(link: &Link, options: &ConnectOptions) -> Result<Self, MeetError> {
        let mut client = Client::connect(link.server(), options).await?;
        let joined = client.join(&link.room(), Some(2)).await?;
        Ok(Self::new(client, Secret::Link(link.clone()), joined))
    }

    /// Opens this end's door of a [`WayBack`], or with `knock` goes to the other's. Whoever then meets there proves as
    /// with a link that it knows the secret, which only the two ends of the session do.
    pub async fn open_back(
        server: &str,
        way: WayBack,
        knock: bool,
        options: &ConnectOptions,
    ) -> Result<Self, MeetError> {
        Self::open_link(&Link::new(server, if knock { way.other } else { way.own })?, options).await
    }

    /// Goes where an invitation says. A code is looked for on `server`; a link names its own.
    ///
    /// With a code somebody must be waiting ([`ErrorCode::NoSuchCode`] otherwise); with a link
    /// [`Door::meet`] waits.
    pub async fn knock(
        invitation: &Invitation,
        server: &str,
        options: &ConnectOptions,
    ) -> Result<Self, MeetError> {
        match invitation {
            Invitation::Link(link) => Self::open_link(link, options).await,
            Invitation::Code(code) => {
                let mut client = Client::connect(server, options).await?;
                let joined = client.join(code.nameplate(), None).await?;
                Ok(Self::new(client, Secret::Code(code.clone()), joined))
            }
        }
    }

    fn new(client: Client, secret: Secret, joined: Joined) -> Self {
        // Who was there before us is the host of that meeting.
        let arrivals = joined.peers.into_iter().map(|peer| (peer, Role::Guest)).collect();
        Self { client, secret, arrivals, pending: None, ice_servers_at: Instant::now(), shut: false }
    }

    /// The code to tell, if the door has one.
    pub fn code(&self) -> Option<&Code> {
        match &self.secret {
            Secret::Code(code) => Some(code),
            Secret::Link(_) => None,
        }
    }

    /// The link to tell, if the door has one.
    pub fn link(&self) -> Option<&Link> {
        match &self.secret {
            Secret::Link(link) => Some(link),
            Secret::Code(_) => None,
        }
    }

    /// Lets the code die: the room is closed for everybody. For who opened it only; others just leave.
    pub fn shut(&mut self) {
        self.shut = true;
        let _ = self.client.close_room();
        let _ = self.client.leave();
    }

    /// Waits for somebody who has the same code or link, and proves it. Cancel-safe: call it again and it
    /// goes on.
    ///
    /// Call it once more on the same door for the next guest.
    pub async fn meet(&mut self, hello: &Hello) -> Result<Session, MeetError> {
        let met = self.meet_next(hello).await;
        if met.is_err() && self.shut {
            // The program may end now, and the other side should still hear that the door was shut.
            self.client.flush().await;
        }
        met
    }

    async fn meet_next(&mut self, hello: &Hello) -> Result<Session, MeetError> {
        loop {
            if self.shut {
                return Err(MeetError::Shut);
            }
            let Some(pending) = &mut self.pending else {
                match self.arrivals.pop_front() {
                    Some((peer, role)) => self.greet(peer, role)?,
                    None => match self.client.next().await? {
                        Event::PeerJoined(peer) => self.arrivals.push_back((peer, Role::Host)),
                        Event::RoomClosed => {
                            self.shut = true;
                            return Err(MeetError::Gone);
                        }
                    },
                }
                continue;
            };
            let said = match tokio::time::timeout_at(pending.until, pending.peer.next()).await {
                Ok(Ok(said)) => said,
                Ok(Err(gone)) => {
                    self.abandoned(gone)?;
                    continue;
                }
                Err(_) => return Err(self.fail(MeetError::Stranger)),
            };
            if let Some(session) = self.step(&said, hello)? {
                return Ok(session);
            }
        }
    }

    /// Sends our handshake message to somebody new.
    fn greet(&mut self, peer: Peer, role: Role) -> Result<(), MeetError> {
        let waiting = match &self.secret {
            Secret::Code(code) => Waiting::with_code(code, role),
            Secret::Link(link) => Waiting::with_link(link, role),
        };
        if self.ice_servers_at.elapsed() > FRESH {
            self.client.refresh_ice_servers()?;
            self.ice_servers_at = Instant::now();
        }
        peer.send(waiting.message())?;
        let until = Instant::now() + PATIENCE;
        self.pending = Some(Pending { peer, role, step: Step::Handshake(waiting), until });
        Ok(())
    }

    /// Takes what the other said. The guest proves its key first; so a stranger who guesses must show the
    /// guess before it learns whether it was right, and each guess costs a code.
    fn step(&mut self, said: &str, hello: &Hello) -> Result<Option<Session>, MeetError> {
        let pending = self.pending.as_mut().expect("the caller looked");
        match std::mem::replace(&mut pending.step, Step::Moving) {
            Step::Handshake(waiting) => {
                let Ok(mut keyed) = waiting.receive(said) else {
                    return Err(self.fail(MeetError::Stranger));
                };
                if pending.role == Role::Guest {
                    pending.peer.send(keyed.seal(&plaintext(hello)))?;
                }
                pending.step = Step::Proof(keyed);
                Ok(None)
            }
            Step::Proof(mut keyed) => {
                let theirs = match keyed.open(said) {
                    Ok(theirs) => theirs,
                    Err(_) => return Err(self.wrong()),
                };
                let Ok(Payload::Hello(theirs)) = serde_json::from_slice(&theirs) else {
                    return Err(self.fail(MeetError::Stranger));
                };
                if pending.role == Role::Host {
                    pending.peer.send(keyed.seal(&plaintext(hello)))?;
                }
                let Pending { peer, role, .. } = self.pending.take().expect("the caller looked");
                let ice_servers = self.client.ice_servers();
                let server_ahead = self.client.greeting().server_ahead();
                Ok(Some(Session { peer, role, keyed, hello: theirs, ice_servers, server_ahead }))
            }
            Step::Moving => unreachable!("every step ends in another or in an error that clears it"),
        }
    }

    /// The other went away in the middle. A host goes on waiting; nothing was given away.
    fn abandoned(&mut self, gone: Gone) -> Result<(), MeetError> {
        let pending = self.pending.take().expect("the caller looked");
        match gone {
            Gone::ServerLost => Err(SignalError::ServerLost.into()),
            // We showed our proof, and the host shut the door or went away in place of showing its own.
            _ if pending.role == Role::Guest
                && self.code().is_some()
                && matches!(pending.step, Step::Proof(_)) =>
            {
                Err(self.fail(MeetError::WrongCode))
            }
            Gone::RoomClosed => Err(self.fail(MeetError::Gone)),
            _ if pending.role == Role::Guest && self.code().is_some() => Err(self.fail(MeetError::Gone)),
            _ => Ok(()),
        }
    }

    fn wrong(&mut self) -> MeetError {
        let role = self.pending.as_ref().map_or(Role::Guest, |pending| pending.role);
        match (&self.secret, role) {
            (Secret::Code(_), Role::Host) => self.fail(MeetError::WrongGuess),
            (Secret::Code(_), Role::Guest) => self.fail(MeetError::WrongCode),
            (Secret::Link(_), _) => self.fail(MeetError::Tampered),
        }
    }

    /// Ends the meeting; with a code, the door as well.
    fn fail(&mut self, error: MeetError) -> MeetError {
        self.pending = None;
        if self.code().is_some() {
            self.shut();
        }
        error
    }
}

fn plaintext(hello: &Hello) -> Vec<u8> {
    serde_json::to_vec(&Payload::Hello(hello.clone())).expect("a hello is JSON")
}

/// Both doors of one who waits: a code to say and a link to open. Whichever the guest takes.
#[derive(Debug)]
pub struct Host {
    code: Option<Door>,
    link: Option<Door>,
}

impl Host {
    /// Opens both doors on `server`; `link_server` is the address to put into the link, where guests reach
    /// the server (usually the same).
    pub async fn open(server: &str, link_server: &str, options: &ConnectOptions) -> Result<Self, MeetError> {
        let link = Link::generate(link_server)?;
        let reached = Link::new(server, *link.secret())?;
        let (code, mut door) =
            tokio::try_join!(Door::open_code(server, options), Door::open_link(&reached, options))?;
        door.secret = Secret::Link(link);
        Ok(Self { code: Some(code), link: Some(door) })
    }

    /// The code, while it lives.
    pub fn code(&self) -> Option<&Code> {
        self.code.as_ref()?.code()
    }

    /// The link, while it lives.
    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref()?.link()
    }

    /// Waits for a guest at either door. Cancel-safe, and to be called again for the next guest.
    ///
    /// After [`MeetError::WrongGuess`] the code is dead, but the link lives: calling again waits there.
    pub async fn meet(&mut self, hello: &Hello) -> Result<Session, MeetError> {
        let (code, link) = (&mut self.code, &mut self.link);
        let met = match (code.as_mut(), link.as_mut()) {
            (None, None) => Err(MeetError::Shut),
            (Some(door), None) | (None, Some(door)) => door.meet(hello).await,
            (Some(first), Some(second)) => tokio::select! {
                met = first.meet(hello) => met,
                met = second.meet(hello) => met,
            },
        };
        // The other side must hear that its guess was wrong, even if this process ends now.
        for door in [code.take_if(|door| door.shut), link.take_if(|door| door.shut)].into_iter().flatten() {
            door.client.close().await;
        }
        met
    }

    /// Lets the code and the link die.
    pub fn shut(&mut self) {
        for mut door in [self.code.take(), self.link.take()].into_iter().flatten() {
            door.shut();
        }
    }
}

/// Two ends that have proved to each other that they have the same invitation; what they say now, nobody
/// else can read or change.
#[derive(Debug)]
pub struct Session {
    peer: Peer,
    role: Role,
    keyed: Keyed,
    hello: Hello,
    ice_servers: Value,
    server_ahead: Option<i64>,
}

/// Why a session is over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The other side, or the way to it, is gone. A connection between the peers may still be alive.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The server is gone.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// A message was changed, left out or forged: the server is not to be trusted.
    #[error("the signalling server changes messages: {0}")]
    Tampered(#[from] OpenError),
    /// The other side says what nobody understands.
    #[error("the other side does not speak this protocol: {0}")]
    BadPayload(String),
}

impl Session {
    /// Who the other is.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Whether this end makes the offer: who was there first does.
    pub fn offers(&self) -> bool {
        self.role == Role::Host
    }

    /// The server's `iceServers`, with fresh credentials, as `RTCPeerConnection` takes them.
    pub fn ice_servers(&self) -> &Value {
        &self.ice_servers
    }

    /// By how many seconds the server's clock was ahead of ours when we came to it, if it told.
    pub fn server_ahead(&self) -> Option<i64> {
        self.server_ahead
    }

    /// Where the two ends find each other again when the connection of either to the server breaks: with
    /// [`Door::open_back`] each waits behind its own door, and knocks at the other's.
    pub fn way_back(&self) -> WayBack {
        self.keyed.way_back()
    }

    /// Sends under the seal. Does not wait.
    pub fn send(&mut self, payload: &Payload) -> Result<(), SessionError> {
        let plaintext = serde_json::to_vec(payload).map_err(|e| SessionError::BadPayload(e.to_string()))?;
        Ok(self.peer.send(self.keyed.seal(&plaintext))?)
    }

    /// Returns when all that was said before is on its way, for a program that is about to end: the host's hello, too,
    /// without which the other side would take its code for wrong.
    pub async fn flush(&self) {
        self.peer.flush().await;
    }

    /// What the other says next; what a later version may say is left out. Cancel-safe.
    pub async fn next(&mut self) -> Result<Payload, SessionError> {
        loop {
            let plaintext = self.keyed.open(&self.peer.next().await?)?;
            match serde_json::from_slice(&plaintext) {
                Ok(Payload::Other(_)) => {}
                Ok(payload) => return Ok(payload),
                Err(error) => return Err(SessionError::BadPayload(error.to_string())),
            }
        }
    }
}

impl MeetError {
    /// A stable word for programs (`--json`).
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect(ConnectError::Certificate { .. }) => "bad-certificate",
            Self::Connect(ConnectError::UnknownName { .. }) => "unknown-name",
            Self::Connect(ConnectError::BadUrl(_)) | Self::Link(_) => "bad-address",
            Self::Connect(ConnectError::NotSterna { .. } | ConnectError::Tls { .. }) => "not-a-sterna-server",
            Self::Connect(_) => "server-unreachable",
            Self::Signal(SignalError::Refused { code, .. }) => match code {
                ErrorCode::NoSuchCode => "no-such-code",
                ErrorCode::RoomFull => "room-full",
                ErrorCode::SlowDown => "slow-down",
                _ => "refused",
            },
            Self::Signal(_) => "server-lost",
            Self::WrongCode => "wrong-code",
            Self::WrongGuess => "wrong-guess",
            Self::Tampered => "tampered",
            Self::Stranger => "stranger",
            Self::Gone => "peer-gone",
            Self::Shut => "code-dead",
        }
    }
}

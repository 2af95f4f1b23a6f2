//! ICE (RFC 8445): gathering, check lists, nomination, consent and trickle, sans-IO.
//!
//! Two machines that want to talk rarely know an address at which the other can be reached: there are NATs and
//! firewalls in between. ICE finds out. Each side collects *candidates*, addresses at which it might be reached:
//! its own (*host*), how STUN servers see it (*server-reflexive*), and addresses on TURN servers that relay for
//! it (*relayed*). The candidates travel to the other side by signalling, which is not ICE's business. Each side
//! then pairs its candidates with the other's and sends *checks*, small signed STUN questions, along each pair,
//! the most promising first. The checks of both sides open the NATs for each other. A pair whose check is
//! answered is *valid*; the *controlling* side picks the best and *nominates* it. From then on data takes that
//! path, and a check every few seconds asks whether the other side still consents to that.
//!
//! An [`Agent`] is one side of that, as a state machine: see [`sansio`] for how it is driven.
//!
//! ```
//! use sansio::{Batches, Datagram, Machine, Path, Seed, SocketOp, SocketReply, Time};
//! use sterna_ice::{Agent, Config, Interface, State};
//!
//! // Two agents on one machine; what a driver does for sockets and the wire is done by hand here.
//! let now = Time::ZERO;
//! let mut agents = [1, 2].map(|n| Agent::new(now, Config { controlling: n == 1, ..Config::new(Seed::from(n)) }));
//! for (n, agent) in agents.iter_mut().enumerate() {
//!     agent.gather(now, &[Interface::new("eth0", "192.0.2.1".parse().unwrap())]);
//!     while let Some(op) = agent.poll_socket() {
//!         if let SocketOp::Bind { ticket, local } = op {
//!             agent.handle_socket(now, SocketReply::Bound { ticket, local: (local.ip(), 5000 + n as u16).into() });
//!         }
//!     }
//! }
//! // Signalling: credentials and candidates change sides.
//! for (from, to) in [(0, 1), (1, 0)] {
//!     let credentials = agents[from].local_credentials().clone();
//!     let candidates: Vec<_> = agents[from].local_candidates().cloned().collect();
//!     agents[to].set_remote_credentials(now, credentials);
//!     candidates.into_iter().for_each(|candidate| agents[to].add_remote_candidate(now, candidate));
//!     agents[to].end_of_remote_candidates(now);
//! }
//! // The wire.
//! let mut wire = Batches::new(1 << 16);
//! for round in 0..10 {
//!     for agent in &mut agents {
//!         agent.handle_timeout(now);
//!         agent.poll_transmit(now, &mut wire);
//!     }
//!     while let Some(mut batch) = wire.pop() {
//!         let from = batch.path.reversed();
//!         let at = usize::from(from.local.port() - 5000);
//!         agents[at].handle_datagram(now, Datagram { from, payload: &mut batch.bytes }, &mut wire);
//!     }
//! }
//! assert_eq!(agents.map(|agent| agent.state()), [State::Completed, State::Completed]);
//! ```

mod agent;
mod candidate;
mod candidate_error;
mod check;
mod checklist;
mod config;
mod consent;
mod credentials;
mod event;
mod failure;
mod foundation;
mod gate;
mod gather;
mod lane;
mod local;
mod nominate;
mod pair;
mod parcels;
mod priority;
mod probe;
mod punch;
mod relay;
mod remote;
mod report;
mod request;
mod response;
mod role;
mod route;
mod schedule;
mod server_url;
mod session;
mod size;

pub use agent::{Agent, Proof};
pub use candidate::{
    Candidate, CandidateAddress, CandidateKind, CandidateTransport, TcpType, hidden_address,
};
pub use candidate_error::{ParseCandidateError, ParseCandidateErrorKind};
pub use config::{AddressPolicy, Config, Interface, InterfaceKind, Punch, Server, Timings, TransportPolicy};
pub use credentials::{Credentials, CredentialsError};
pub use event::{Event, GatheringState, SelectedPair, State};
pub use failure::{Failure, FailureCause};
pub use lane::Lane;
pub use priority::is_preferred;
pub use report::{
    Drops, Padded, PairError, PairReport, PairState, Punched, RemoteFate, RemoteReport, Report,
    ServerOutcome, ServerReport, ServerRequest,
};
pub use server_url::{Scheme, ServerUrl, ServerUrlError};

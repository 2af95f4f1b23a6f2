//! Taking the allocation along to another address (RFC 8016).

use sansio::{Path, Time};
use stun::{Message, kind};

use super::answer::words;
use super::request::{Asked, Request};
use super::{Client, ClientEvent, State, hint};
use crate::error::{Stage, TurnError};

/// How often the ticket is shown from the same path, if the server forgets in between that it did: a NAT may have another
/// address for every packet.
const MAX_RETURNS: u8 = 3;

/// The allocation cannot be taken along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Immobile {
    /// There is no allocation, or no longer.
    #[error("there is no allocation to take along")]
    NoAllocation,
    /// The server gave no ticket, or was not asked for one: see [`ClientConfig::mobility`](super::ClientConfig::mobility).
    #[error("the server does not let allocations move")]
    NoTicket,
}

impl Client {
    /// Our address has changed, or is about to: takes the allocation along to `path`, another way to the same server.
    ///
    /// Until [`ClientEvent::Moved`] everything goes by the old path, and what comes by either is to be handed to
    /// [`Client::open`]. On [`ClientEvent::MoveRefused`] the old path stays.
    ///
    /// # Errors
    /// If there is nothing to take along, or no ticket for it.
    pub fn migrate(&mut self, now: Time, path: Path) -> Result<(), Immobile> {
        if !matches!(self.state, State::Allocated { .. }) {
            return Err(Immobile::NoAllocation);
        }
        if self.ticket.is_none() {
            return Err(Immobile::NoTicket);
        }
        // A wish that is older is no wish any more.
        for id in self.outstanding(|request| request == Request::Move) {
            self.transactions.cancel(id);
        }
        self.moving = Some(path);
        self.ask(now, Asked { request: Request::Move, times: 1 });
        Ok(())
    }

    /// Whether the server shall know us by the address that a NAT on the way has given us.
    pub(super) fn is_returning(&self) -> bool {
        self.moving == Some(self.config.server)
    }

    /// Whether to show the ticket when the server does not know us.
    pub(super) fn may_return(&self) -> bool {
        self.is_mobile() && self.returns < MAX_RETURNS
    }

    /// The server does not know us where we are: either it has lost the allocation, or a NAT has given us another address,
    /// from where `request` came. The ticket tells which. What was asked is asked again then.
    pub(super) fn come_back(&mut self, now: Time, request: Request) {
        if request != Request::Refresh {
            self.want(request);
        }
        // On its way to another path it will be known there.
        if self.moving.is_none() {
            self.returns += 1;
            self.moving = Some(self.config.server);
            self.ask(now, Asked { request: Request::Move, times: 1 });
        }
    }

    /// There is no allocation of ours to come back to.
    pub(super) fn not_returned(&mut self, code: Option<u16>, silence: String) {
        let hint = hint::for_code(437).to_owned();
        let (code, reason) = match code {
            Some(_) => (Some(437), words(437).to_owned()),
            None => (None, silence),
        };
        self.fail(TurnError { code, reason, stage: Stage::Refresh, hint });
    }

    /// The server knows us at the new path.
    pub(super) fn moved(&mut self, now: Time, message: &Message<'_>) {
        let Some(path) = self.moving.take() else { return };
        self.keep_ticket(message);
        self.config.server = path;
        // What was asked by the old path may never be answered.
        for id in self.outstanding(|_| true) {
            if let Some(asked) = self.transactions.cancel(id) {
                self.ask(now, asked);
            }
        }
        self.events.push_back(ClientEvent::Moved(path));
    }

    /// It does not: everything stays as it was.
    pub(super) fn not_moved(&mut self, code: Option<u16>, reason: String) {
        self.moving = None;
        self.events.push_back(ClientEvent::MoveRefused { code, reason });
    }

    pub(super) fn keep_ticket(&mut self, message: &Message<'_>) {
        if let Some(ticket) = message.raw(kind::MOBILITY_TICKET).filter(|ticket| !ticket.is_empty()) {
            self.ticket = Some(ticket.to_vec());
        }
    }

    /// Where the answer to a request has to come from.
    pub(super) fn path_of(&self, message: &Message<'_>) -> Path {
        let asked = self.transactions.token(message.transaction_id());
        match (asked, self.moving) {
            (Some(Asked { request: Request::Move, .. }), Some(path)) => path,
            _ => self.config.server,
        }
    }

    pub(super) fn outstanding(&self, which: impl Fn(Request) -> bool) -> Vec<stun::TransactionId> {
        let tokens = self.transactions.tokens().filter(|(_, asked)| which(asked.request));
        tokens.map(|(id, _)| id).collect()
    }
}

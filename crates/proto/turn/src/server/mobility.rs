//! An allocation that moves with its client (RFC 8016).
//!
//! A client that asked for one has a *ticket*. When its address changes it shows the ticket in a Refresh request from the
//! new one, and both 5-tuples are the allocation's until the client sends data from the new one: so nothing is lost of
//! what is on its way.

use std::time::Duration;

use sansio::{Outbox, Path, Time};
use stun::credential::Authenticated;
use stun::{Message, MessageWriter, kind};

use super::allocation::AllocationId;
use super::answer::Asker;
use super::ticket::Ticket;
use super::{EndReason, Server, ServerEvent};

/// How long an old ticket is good for a Refresh request that is sent again: "at least 30 seconds" (RFC 8016 §3.2.2).
const RETRANSMISSION: Duration = Duration::from_secs(40);
/// How long an allocation whose client's stream has ended waits for the client to come back with its ticket.
pub(super) const GRACE: Duration = Duration::from_secs(120);

/// Where an allocation has been asked to go, and is not yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub(super) to: Path,
    since: Time,
}

impl Server {
    /// Whether an Allocate request asks for a ticket. Errors: it may not have one, or asks in the wrong way.
    pub(super) fn wants_ticket(&self, request: &Message<'_>) -> Result<bool, u16> {
        match request.raw(kind::MOBILITY_TICKET) {
            None => Ok(false),
            Some([]) if self.config.mobility => Ok(true),
            Some([]) => Err(405),
            Some(_) => Err(400),
        }
    }

    /// The allocation's ticket, if it has any.
    pub(super) fn ticket(&mut self, id: AllocationId) -> Option<Ticket> {
        let number = self.allocations.by_id(id)?.ticket?;
        Some(self.tickets.issue(id, number))
    }

    /// The allocation that the ticket in a request names, right or wrong.
    pub(super) fn ticket_holder(&self, request: &Message<'_>) -> Option<AllocationId> {
        self.tickets.read(request.raw(kind::MOBILITY_TICKET)?).map(|(id, _)| id)
    }

    /// A Refresh request with a ticket (RFC 8016 §3.2.2).
    pub(super) fn handle_move(
        &mut self,
        now: Time,
        asker: Asker,
        request: &Message<'_>,
        signer: &Authenticated,
        out: &mut dyn Outbox,
    ) {
        match self.move_to(now, asker.client, request, signer) {
            Ok(id) => self.handle_refresh(now, id, asker, request, signer, out),
            Err(code) => self.refuse(asker, signer, code, out),
        }
    }

    fn move_to(
        &mut self,
        now: Time,
        to: Path,
        request: &Message<'_>,
        signer: &Authenticated,
    ) -> Result<AllocationId, u16> {
        if !self.config.mobility {
            return Err(405);
        }
        let (id, number) =
            request.raw(kind::MOBILITY_TICKET).and_then(|value| self.tickets.read(value)).ok_or(400u16)?;
        let holder = self.allocations.by_client(to).map(|(holder, _)| holder);
        let allocation = self.allocations.by_id(id).ok_or(437u16)?;
        if allocation.username != signer.username {
            return Err(441);
        }
        if allocation.client == to && !allocation.adrift {
            return Err(400);
        }
        let current = allocation.ticket.ok_or(400u16)?;
        match allocation.moving {
            // Sent again, because the answer was lost.
            Some(Move { to: there, since })
                if there == to && current == number.wrapping_add(1) && now.since(since) <= RETRANSMISSION =>
            {
                return Ok(id);
            }
            _ if current != number => return Err(400),
            _ => {}
        }
        if holder.is_some_and(|holder| holder != id) {
            return Err(437);
        }
        allocation.ticket = Some(current.wrapping_add(1));
        let (username, from) = (allocation.username.clone(), allocation.client);
        self.allocations.begin_move(id, Move { to, since: now });
        self.tell(ServerEvent::AllocationMoved { id, username, from, to });
        Ok(id)
    }

    /// The client sends data from where it has moved to: the old 5-tuple is discarded.
    pub(super) fn arrive(&mut self, id: AllocationId) {
        self.unsettle(id);
        if let Some((username, from, to)) = self.allocations.finish_move(id) {
            self.usage.relocate(&username, from.remote.ip(), to.remote.ip());
        }
    }

    /// A client's stream has ended.
    pub(super) fn disconnected(&mut self, now: Time, path: Path) {
        self.abandon(path);
        self.lookups.forget(path);
        self.data_connection_ended(path);
        let Some((id, allocation)) = self.allocations.by_client(path) else { return };
        match allocation.moving {
            Some(_) if !allocation.adrift && allocation.client == path => self.arrive(id),
            Some(_) if !allocation.adrift => self.allocations.cancel_move(id),
            // It may come back from elsewhere. Another connection from the same address and port is not it, however: behind a
            // NAT it may be anybody's.
            _ if allocation.ticket.is_some() => {
                allocation.seats.shorten(now + GRACE);
                self.arm(id);
                self.unsettle(id);
                self.allocations.set_adrift(id);
            }
            _ => self.end(now, id, EndReason::Disconnected),
        }
    }
}

/// Writes the ticket, if there is one.
pub(super) fn write_ticket(writer: &mut MessageWriter<'_>, ticket: Option<&Ticket>) {
    if let Some(ticket) = ticket {
        writer.raw(kind::MOBILITY_TICKET, ticket);
    }
}

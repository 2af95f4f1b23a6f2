use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Outbox, Path, SocketOp, Ticket, Time};
use stun::credential::Authenticated;
use stun::{Class, Message, MessageWriter, kind};

use super::allocation::{Allocation, AllocationId};
use super::answer::Asker;
use super::channels::Channels;
use super::permission::Permissions;
use super::quota::Exceeded;
use super::{Server, ServerEvent};
use crate::attribute::Family;

/// How many ports are tried when others on this machine have taken some.
const BIND_ATTEMPTS: u8 = 8;

/// An allocation whose socket is being bound.
#[derive(Debug)]
pub(super) struct Pending {
    asker: Asker,
    signer: Authenticated,
    lifetime: Duration,
    relay: usize,
    port: u16,
    even: bool,
    wanted_another: bool,
    attempts: u8,
    /// The client's stream ended meanwhile.
    abandoned: bool,
}

/// An answer that could not be given at once, for the socket had to be bound first.
#[derive(Debug)]
pub(super) struct Reply {
    asker: Asker,
    signer: Authenticated,
    outcome: Result<AllocationId, u16>,
}

/// What an Allocate request asks for.
struct Wish {
    family: Family,
    even: bool,
    wanted_another: bool,
    lifetime: Duration,
}

impl Pending {
    /// Nobody waits for it any more.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }
}

impl Server {
    /// RFC 8656 §7.2.
    pub(super) fn handle_allocate(
        &mut self,
        now: Time,
        asker: Asker,
        request: &Message<'_>,
        signer: Authenticated,
        out: &mut dyn Outbox,
    ) {
        if let Some((id, allocation)) = self.allocations.by_client(asker.client) {
            if allocation.transaction_id != asker.id {
                return self.refuse(asker, &signer, 437, out);
            }
            // A retransmission: the same answer, "stateless stack approach".
            let reply = Reply { asker, signer, outcome: Ok(id) };
            return self.reply(now, &reply, out);
        }
        if let Some(ticket) = self.pending_by_client.get(&asker.client) {
            // A retransmission will be answered when the first one is.
            if self.pending.get(ticket).is_none_or(|pending| pending.asker.id != asker.id) {
                self.refuse(asker, &signer, 437, out);
            }
            return;
        }
        let wish = match self.wish(request) {
            Ok(wish) => wish,
            Err(code) => return self.refuse(asker, &signer, code, out),
        };
        let relays: Vec<usize> = (0..self.config.relay_addresses.len())
            .filter(|at| Family::of(self.config.relay_addresses[*at].bind) == wish.family)
            .collect();
        if relays.is_empty() {
            return self.refuse(asker, &signer, 440, out);
        }
        match self.usage.admit(&self.config.quotas, &signer.username, asker.client.remote.ip()) {
            Ok(()) => {}
            Err(Exceeded::User | Exceeded::Source) => return self.refuse(asker, &signer, 486, out),
            Err(Exceeded::Total) => return self.refuse(asker, &signer, 508, out),
        }
        let relay = relays[self.rng.below(relays.len() as u64) as usize];
        let Some(port) = self.ports[relay].draw(&mut self.rng, wish.even) else {
            self.usage.release(&signer.username, asker.client.remote.ip());
            return self.refuse(asker, &signer, 508, out);
        };
        let Wish { even, wanted_another, lifetime, .. } = wish;
        self.bind(Pending {
            asker,
            signer,
            lifetime,
            relay,
            port,
            even,
            wanted_another,
            attempts: 1,
            abandoned: false,
        });
    }

    /// What the request asks for, or the error code that it gets: the checks of RFC 8656 §7.2 in their order.
    fn wish(&self, request: &Message<'_>) -> Result<Wish, u16> {
        match request.raw(kind::REQUESTED_TRANSPORT) {
            Some([17, _, _, _]) => {}
            Some([_, _, _, _]) => return Err(442),
            _ => return Err(400),
        }
        let even_port = request.raw(kind::EVEN_PORT);
        let requested = request.raw(kind::REQUESTED_ADDRESS_FAMILY);
        let additional = request.raw(kind::ADDITIONAL_ADDRESS_FAMILY);
        if request.raw(kind::RESERVATION_TOKEN).is_some() {
            let alone = even_port.is_none() && requested.is_none() && additional.is_none();
            // We reserve no ports, so no token is valid.
            return Err(if alone { 508 } else { 400 });
        }
        if requested.is_some() && additional.is_some() {
            return Err(400);
        }
        let family = match requested {
            Some(value) => Family::from_value(value).ok_or(440u16)?,
            None => Family::Ipv4,
        };
        let even = match even_port {
            None => false,
            Some([flags]) if flags & 0x80 == 0 => true,
            // The next port too, for a later allocation: we have none to reserve.
            Some([_]) => return Err(if additional.is_some() { 400 } else { 508 }),
            Some(_) => return Err(400),
        };
        let wanted_another = match additional {
            None => false,
            Some([2, _, _, _]) => true,
            Some(_) => return Err(400),
        };
        Ok(Wish { family, even, wanted_another, lifetime: self.lifetime(request.u32(kind::LIFETIME)) })
    }

    /// The lifetime that a client gets who asks for so many seconds (RFC 8656 §7.2).
    pub(super) fn lifetime(&self, asked: Option<u32>) -> Duration {
        let asked = asked.map_or(Duration::ZERO, |seconds| Duration::from_secs(seconds.into()));
        asked.min(self.config.max_lifetime).max(self.config.default_lifetime)
    }

    fn bind(&mut self, pending: Pending) {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let local = SocketAddr::new(self.config.relay_addresses[pending.relay].bind, pending.port);
        self.sockets.push_back(SocketOp::Bind { ticket, local });
        self.pending_by_client.insert(pending.asker.client, ticket);
        self.pending.insert(ticket, pending);
    }

    fn take_pending(&mut self, ticket: Ticket) -> Option<Pending> {
        let pending = self.pending.remove(&ticket)?;
        self.pending_by_client.remove(&pending.asker.client);
        Some(pending)
    }

    /// The relay socket is there: so is the allocation.
    pub(super) fn bound(&mut self, now: Time, ticket: Ticket, local: SocketAddr) {
        let Some(pending) = self.take_pending(ticket) else { return };
        let Pending { asker, signer, lifetime, relay, port, wanted_another, abandoned, .. } = pending;
        if abandoned {
            self.sockets.push_back(SocketOp::Unbind { local });
            return self.give_up(asker, &signer.username, relay, port);
        }
        let relayed = SocketAddr::new(self.config.relay_addresses[relay].advertised, local.port());
        let expiry = now + lifetime;
        let id = self.allocations.insert(Allocation {
            client: asker.client,
            username: signer.username.clone(),
            relay,
            local,
            relayed,
            transaction_id: asker.id,
            wanted_another,
            created: now,
            expiry,
            permissions: Permissions::new(self.config.quotas.permissions),
            channels: Channels::new(self.config.quotas.channels),
            bytes_to_peers: 0,
            bytes_to_client: 0,
            in_flows: false,
        });
        self.timers.set(id, expiry);
        self.counters.allocations += 1;
        self.tell(ServerEvent::AllocationCreated {
            id,
            username: signer.username.clone(),
            client: asker.client,
            relayed,
        });
        self.replies.push_back(Reply { asker, signer, outcome: Ok(id) });
    }

    /// The relay socket is not to be had: another port, or no allocation.
    pub(super) fn bind_failed(&mut self, ticket: Ticket) {
        let Some(mut pending) = self.take_pending(ticket) else { return };
        let ports = &mut self.ports[pending.relay];
        // Another one is drawn before the bad one is given back.
        let another = ports.draw(&mut self.rng, pending.even);
        ports.release(pending.port);
        match another {
            Some(port) if pending.attempts < BIND_ATTEMPTS && !pending.abandoned => {
                pending.port = port;
                pending.attempts += 1;
                self.bind(pending);
            }
            another => {
                if let Some(port) = another {
                    ports.release(port);
                }
                let Pending { asker, signer, .. } = pending;
                self.usage.release(&signer.username, asker.client.remote.ip());
                if !pending.abandoned {
                    self.replies.push_back(Reply { asker, signer, outcome: Err(508) });
                }
            }
        }
    }

    fn give_up(&mut self, asker: Asker, username: &str, relay: usize, port: u16) {
        self.ports[relay].release(port);
        self.usage.release(username, asker.client.remote.ip());
    }

    /// The client's stream ended while its socket was being bound.
    pub(super) fn abandon(&mut self, client: Path) {
        if let Some(pending) =
            self.pending_by_client.get(&client).and_then(|ticket| self.pending.get_mut(ticket))
        {
            pending.abandon();
        }
    }

    /// Answers that had to wait.
    pub(super) fn send_replies(&mut self, now: Time, out: &mut dyn Outbox) {
        while out.room() >= super::answer::ANSWER_ROOM {
            let Some(reply) = self.replies.pop_front() else { return };
            self.reply(now, &reply, out);
        }
    }

    fn reply(&mut self, now: Time, reply: &Reply, out: &mut dyn Outbox) {
        let Reply { asker, signer, outcome } = reply;
        let id = match outcome {
            Ok(id) => *id,
            Err(code) => return self.refuse(*asker, signer, *code, out),
        };
        // Deleted or expired before the outbox had room.
        let Some(allocation) = self.allocations.by_id(id) else { return };
        let (relayed, wanted_another) = (allocation.relayed, allocation.wanted_another);
        let lifetime = allocation.expiry.since(now).as_secs() as u32;
        self.succeed(*asker, signer, out, &|writer: &mut MessageWriter<'_>| {
            writer.xor_address(kind::XOR_RELAYED_ADDRESS, relayed);
            writer.xor_address(kind::XOR_MAPPED_ADDRESS, asker.client.remote);
            writer.u32(kind::LIFETIME, lifetime);
            if wanted_another {
                // 440 for IPv6 (RFC 8656 §18.12): two addresses in one allocation are not supported.
                writer.raw(kind::ADDRESS_ERROR_CODE, &[2, 0, 4, 40]);
            }
        });
    }

    /// Answers a request with success.
    pub(super) fn succeed(
        &mut self,
        asker: Asker,
        signer: &Authenticated,
        out: &mut dyn Outbox,
        write: &dyn Fn(&mut MessageWriter<'_>),
    ) {
        let software = self.config.software.as_deref();
        let sent = asker.answer(out, Class::Success, Some(signer), &|writer| {
            write(writer);
            if let Some(software) = software {
                writer.string(kind::SOFTWARE, software);
            }
        });
        self.count_answer(sent);
    }

    /// Answers an authenticated request with an error.
    pub(super) fn refuse(&mut self, asker: Asker, signer: &Authenticated, code: u16, out: &mut dyn Outbox) {
        let sent = asker.answer(out, Class::Error, Some(signer), &|writer| {
            writer.error(code);
        });
        self.count_answer(sent);
    }
}

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Outbox, Path, Time};
use stun::credential::Authenticated;
use stun::server::{MAX_ANSWER_BYTES, answer_binding, is_classic_request};
use stun::{AttributeKind, Class, Message, MessageWriter, Method, PasswordAlgorithm, kind};

use super::allocation::AllocationId;
use super::answer::Asker;
use super::channels::BindError;
use super::mobility::write_ticket;
use super::operation::Intake;
use super::policy::Denial;
use super::{Drop, EndReason, Server, ServerEvent};
use crate::attribute::{Family, plain};
use crate::channel::ChannelNumber;

/// The password algorithms that clients may choose from, the better first.
pub(super) const ALGORITHMS: [PasswordAlgorithm; 2] = [PasswordAlgorithm::Sha256, PasswordAlgorithm::Md5];

/// The comprehension-required attributes that requests may have, all of them.
const KNOWN: &[AttributeKind] = &[
    kind::CHANNEL_NUMBER,
    kind::LIFETIME,
    kind::XOR_PEER_ADDRESS,
    kind::DATA,
    kind::REQUESTED_ADDRESS_FAMILY,
    kind::EVEN_PORT,
    kind::REQUESTED_TRANSPORT,
    kind::RESERVATION_TOKEN,
    kind::ACCESS_TOKEN,
    kind::CONNECTION_ID,
    kind::DONT_FRAGMENT,
];

impl Server {
    /// A Binding request: where do you see me?
    pub(super) fn handle_binding(
        &mut self,
        now: Time,
        from: Path,
        request: &Message<'_>,
        out: &mut dyn Outbox,
    ) {
        if !self.may_answer(now, from) {
            return;
        }
        let sent = match (&self.config.alternate, &mut self.partner) {
            (_, Some(partner)) => partner.answer(now, request, from, None, out),
            (Some(alternate), None) => alternate.answer(request, from, None, out),
            (None, None) => out.send(from, MAX_ANSWER_BYTES, &mut |buffer| {
                answer_binding(request, from, None, buffer).unwrap_or(0)
            }),
        };
        self.count_answer(sent);
    }

    /// What is no message of RFC 8489: perhaps a Binding request of RFC 3489, for those who look at their NAT.
    pub(super) fn handle_classic(&mut self, now: Time, from: Path, bytes: &[u8], out: &mut dyn Outbox) {
        let Some(alternate) = self.config.alternate.filter(|_| is_classic_request(bytes)) else {
            return self.counters.drop(Drop::Malformed);
        };
        if !self.may_answer(now, from) {
            return;
        }
        let sent = match &mut self.partner {
            Some(partner) => partner.answer_classic(now, bytes, from, out),
            None => alternate.answer_classic(bytes, from, out),
        };
        match sent {
            Some(sent) => self.count_answer(sent),
            None => self.counters.drop(Drop::Malformed),
        }
    }

    /// A request of TURN: authentication comes first, whatever it asks for (RFC 8656 §5).
    pub(super) fn handle_request(
        &mut self,
        now: Time,
        from: Path,
        request: &Message<'_>,
        out: &mut dyn Outbox,
    ) {
        let Some((signer, secret)) = self.authenticate(now, from, request, out) else { return };
        let asker = Asker::new(from, request);
        let unknown = request.unknown_comprehension_required(&self.known());
        if !unknown.is_empty() {
            let sent = asker.answer(out, Class::Error, Some(&signer), &|writer| {
                writer.error(420).unknown_attributes(&unknown);
            });
            return self.count_answer(sent);
        }
        if asker.method == Method::ALLOCATE {
            if let Intake::Draining(alternate) = self.intake
                && self.allocations.by_client(from).is_none()
            {
                return self.send_away(asker, &signer, alternate, out);
            }
            return self.handle_allocate(now, asker, request, (signer, secret), out);
        }
        if asker.method == Method::REFRESH && request.raw(kind::MOBILITY_TICKET).is_some() {
            return self.handle_move(now, asker, request, &signer, out);
        }
        if asker.method == Method::CONNECTION_BIND {
            return self.join(asker, request, &signer, out);
        }
        let Some((id, allocation)) = self.allocations.by_client(from) else {
            return self.refuse(asker, &signer, 437, out);
        };
        // "All requests after the initial Allocate must use the same username" (RFC 8656 §5).
        if allocation.username != signer.username {
            // Unless it is another token at the same 5-tuple: tokens end before their users do.
            if !(asker.method == Method::REFRESH && secret.is_token() && allocation.secret.is_token()) {
                return self.refuse(asker, &signer, 441, out);
            }
            allocation.secret = secret;
        }
        let outcome = match asker.method {
            Method::REFRESH => return self.handle_refresh(now, id, asker, request, &signer, out),
            Method::CREATE_PERMISSION => self.create_permission(now, id, request),
            Method::CONNECT => match self.connect(now, id, (asker, &signer), request) {
                Ok(()) => return,
                Err(code) => Err(code),
            },
            _ => self.bind_channel(now, id, request),
        };
        match outcome {
            Ok(()) => self.succeed(asker, &signer, out, &|_: &mut MessageWriter<'_>| {}),
            Err(code) => self.refuse(asker, &signer, code, out),
        }
    }

    /// The comprehension-required attributes that requests may have here: who cannot set the DF bit says so with 420
    /// (RFC 8656 §7.2), and so does who takes no tokens (RFC 7635 §7).
    fn known(&self) -> Vec<AttributeKind> {
        let known = |attribute: &AttributeKind| match *attribute {
            kind::DONT_FRAGMENT => self.config.dont_fragment,
            kind::ACCESS_TOKEN => self.config.auth.third_party.is_some(),
            _ => true,
        };
        KNOWN.iter().copied().filter(known).collect()
    }

    /// RFC 8656 §8.2.
    pub(super) fn handle_refresh(
        &mut self,
        now: Time,
        id: AllocationId,
        asker: Asker,
        request: &Message<'_>,
        signer: &Authenticated,
        out: &mut dyn Outbox,
    ) {
        let unix_now = self.unix(now);
        let Some(allocation) = self.allocations.by_id(id) else { return };
        let (created, longest) = (allocation.created, allocation.secret.longest(unix_now));
        // Of a dual allocation one relayed address, or both (RFC 8656 §8.1).
        let family = match request.raw(kind::REQUESTED_ADDRESS_FAMILY).map(Family::from_value) {
            None => None,
            Some(Some(family)) if allocation.seats.get(family).is_some() => Some(family),
            Some(_) => return self.refuse(asker, signer, 443, out),
        };
        let asked = request.u32(kind::LIFETIME);
        let lifetime = if asked == Some(0) {
            match family {
                Some(family) => self.end_seat(now, id, family, EndReason::Deleted),
                None => self.end(now, id, EndReason::Deleted),
            }
            0
        } else {
            let mut lifetime = self.lifetime(asked);
            if let Some(end) = self.session_end(created) {
                // LIFETIME 0 would say that the allocation is no more.
                lifetime = lifetime.min(end.since(now)).max(Duration::from_secs(1));
            }
            if let Some(longest) = longest {
                lifetime = lifetime.min(longest).max(Duration::from_secs(1));
            }
            if let Some(allocation) = self.allocations.by_id(id) {
                allocation.seats.extend(family, now + lifetime);
            }
            self.arm(id);
            lifetime.as_secs() as u32
        };
        // A new ticket to who came with one.
        let ticket = request.raw(kind::MOBILITY_TICKET).and_then(|_| self.ticket(id));
        self.succeed(asker, signer, out, &|writer: &mut MessageWriter<'_>| {
            writer.u32(kind::LIFETIME, lifetime);
            write_ticket(writer, ticket.as_ref());
        });
    }

    /// RFC 8656 §10.2.
    fn create_permission(&mut self, now: Time, id: AllocationId, request: &Message<'_>) -> Result<(), u16> {
        let peers: Option<Vec<SocketAddr>> = request.xor_addresses(kind::XOR_PEER_ADDRESS).collect();
        let peers = peers.filter(|peers| !peers.is_empty()).ok_or(400u16)?;
        let addresses: Vec<IpAddr> = peers.into_iter().map(|peer| peer.ip()).collect();
        for address in &addresses {
            self.check_family(id, *address)?;
            let denial = self.check_permission(*address);
            self.forbid(id, *address, denial)?;
        }
        self.permit(now, id, &addresses)
    }

    /// RFC 8656 §12.2.
    fn bind_channel(&mut self, now: Time, id: AllocationId, request: &Message<'_>) -> Result<(), u16> {
        let number = match request.raw(kind::CHANNEL_NUMBER) {
            Some(&[high, low, _, _]) => ChannelNumber::new(u16::from_be_bytes([high, low])),
            _ => None,
        };
        let peer = request.xor_address(kind::XOR_PEER_ADDRESS).map(plain).filter(|peer| peer.port() != 0);
        let (Some(number), Some(peer)) = (number, peer) else { return Err(400) };
        if self.allocations.by_id(id).is_some_and(|allocation| allocation.seats.are_streams()) {
            return Err(400);
        }
        self.check_family(id, peer.ip())?;
        let denial = self.reach(peer).map(|_| ());
        self.forbid(id, peer.ip(), denial)?;
        let allocation = self.allocations.by_id(id).ok_or(437u16)?;
        let refusal = |error| if error == BindError::Conflict { 400u16 } else { 508 };
        // Both or neither.
        allocation.channels.check(now, number, peer).map_err(refusal)?;
        let seat = *allocation.seats.get(Family::of(peer.ip())).ok_or(443u16)?;
        if seat.shared && !self.sharing.is_relayed(peer) && !self.claim(now, id, seat.local, peer) {
            return Err(403);
        }
        // The permission, of the two, is over first.
        self.permit(now, id, &[peer.ip()])?;
        let allocation = self.allocations.by_id(id).ok_or(437u16)?;
        let is_new = allocation.channels.binding(now, number).is_none();
        allocation.channels.bind(now, number, peer).map_err(refusal)?;
        if is_new {
            // What came from this peer in Data indications comes by the channel from now on.
            self.unsettle(id);
        }
        Ok(())
    }

    fn check_family(&mut self, id: AllocationId, address: IpAddr) -> Result<(), u16> {
        let allocation = self.allocations.by_id(id).ok_or(437u16)?;
        allocation.seats.get(Family::of(address)).map(|_| ()).ok_or(443)
    }

    /// 403 for what the policy denies, with a line for the audit.
    pub(super) fn forbid(
        &mut self,
        id: AllocationId,
        peer: IpAddr,
        denial: Result<(), Denial>,
    ) -> Result<(), u16> {
        let Err(denial) = denial else { return Ok(()) };
        self.counters.forbidden += 1;
        if let Some(allocation) = self.allocations.by_id(id) {
            let (username, client) = (allocation.username.clone(), allocation.client);
            self.tell(ServerEvent::PeerDenied { username, client, peer, denial });
        }
        Err(403)
    }
}

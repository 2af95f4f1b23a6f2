use sansio::{Datagram, Outbox, Path, SocketOp, SocketReply, Time};
use stun::{Class, Message, Method};
use turn::Opened;

use super::Agent;
use crate::State;
use crate::gate::Access;
use crate::parcels::Load;
use crate::request::{Owed, Refusal};
use crate::response::Taken;
use crate::route::Route;
use crate::session::Session;

/// Whether these bytes are STUN, and not the application's (RFC 7983 §7, RFC 8489 §5).
fn is_stun(bytes: &[u8]) -> bool {
    bytes.len() >= stun::HEADER_BYTES && bytes[0] < 4 && bytes[4..8] == stun::MAGIC_COOKIE.to_be_bytes()
}

/// What a packet has shown of the path that it came by; see [`Agent::poll_proof`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A check that the other side has signed came from there, or from somebody who has a copy of it.
    Authenticated(Path),
    /// An answer to a check of ours, which the other side has signed, came from there: there it is.
    Answered(Path),
}

/// What comes in.
impl Agent {
    /// What the last packet has shown of its path, asked once: for who shares sockets among several agents and has to know
    /// whose a path is. Paths through relays are nobody else's, and not told.
    pub fn poll_proof(&mut self) -> Option<Proof> {
        match self.gate.poll_seen()? {
            (Route::Direct(path), Access::Authenticated) => Some(Proof::Authenticated(path)),
            (Route::Direct(path), Access::Validated) => Some(Proof::Answered(path)),
            _ => None,
        }
    }

    /// The username fragments that checks to this agent may carry: that of the session, and that of the one before.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        [Some(&self.session), self.previous.as_deref()]
            .into_iter()
            .flatten()
            .map(|session| session.local.ufrag.as_str())
    }

    /// Takes a received datagram; application bytes in it, and those that were held until now, go to `deliver`.
    ///
    /// Application bytes are delivered from where a check of ours was answered, and nowhere else. The other
    /// side may be faster than our check: what it sends from where an authenticated check of its own came is
    /// held, within bounds, and delivered in the call that makes that way valid, in its order.
    pub fn open(
        &mut self,
        now: Time,
        datagram: Datagram<'_>,
        out: &mut dyn Outbox,
        deliver: &mut dyn FnMut(&mut [u8]),
    ) {
        let Datagram { from, payload } = datagram;
        if self.state == State::Closed {
            return;
        }
        if let Some(relay) = self.relays.at_path(&from) {
            let Self { relays, gate, drops, scratch, .. } = self;
            let mut control = None;
            let opened = relays.open(now, relay, payload, &mut |peer, bytes| {
                let route = Route::Relayed { relay, peer: crate::route::plain(peer) };
                if is_stun(bytes) {
                    // Its answer leaves by the same allocation, which is busy here.
                    scratch.clear();
                    scratch.extend_from_slice(bytes);
                    control = Some(route);
                } else {
                    gate.pass(route, bytes, drops, deliver);
                }
            });
            match (opened, control) {
                (Opened::Data, None) => return,
                (Opened::Data, Some(route)) => {
                    let scratch = std::mem::take(&mut self.scratch);
                    self.control(now, route, &scratch, out, deliver);
                    self.scratch = scratch;
                    return;
                }
                (Opened::Control, _) => return self.advance(now),
                (Opened::Other, _) => {}
            }
        }
        if is_stun(payload) {
            self.control(now, Route::Direct(from), payload, out, deliver);
        } else {
            self.gate.pass(Route::Direct(from), payload, &mut self.drops, deliver);
        }
    }

    fn control(
        &mut self,
        now: Time,
        route: Route,
        bytes: &[u8],
        out: &mut dyn Outbox,
        deliver: &mut dyn FnMut(&mut [u8]),
    ) {
        let Ok(message) = Message::parse(bytes) else {
            self.drops.malformed += 1;
            return;
        };
        if message.method() != Method::BINDING {
            self.drops.ignored += 1;
            return;
        }
        match message.class() {
            Class::Request => self.request(now, &message, route, out),
            Class::Success | Class::Error => self.response(now, &message, route),
            // RFC 8445 §11: a keep-alive, "used solely to keep the NAT bindings alive".
            Class::Indication => {
                self.drops.ignored += 1;
                return;
            }
        }
        self.advance(now);
        self.gate.release(deliver);
    }

    /// RFC 8445 §7.3, RFC 8489 §9.1.3.
    fn request(&mut self, now: Time, message: &Message<'_>, route: Route, out: &mut dyn Outbox) {
        // "It MUST utilize the FINGERPRINT mechanism."
        if !message.check_fingerprint() {
            self.drops.malformed += 1;
            return;
        }
        // What is nobody's candidate is not there: RFC 8445 §7.3 only speaks of bases of candidates.
        let base = self.locals.base_of(&route).map(|base| base.id);
        if base.and_then(|base| self.locals.pairing(base)).is_none() {
            self.drops.ignored += 1;
            return;
        }
        let Some((ours, theirs)) = message.username().and_then(|username| username.split_once(':')) else {
            return self.refuse(message, &route, 400, out);
        };
        let of = |session: &Session| session.local.ufrag == ours;
        let previous = match (of(&self.session), self.previous.as_deref().is_some_and(of)) {
            (true, _) => false,
            (_, true) => true,
            _ => {
                self.drops.unknown_user += 1;
                return self.refuse(message, &route, 401, out);
            }
        };
        let (mut ctx, session, past) = self.context(now);
        let session = if previous { past.as_deref_mut().unwrap_or(session) } else { session };
        if session.end.is_some() {
            ctx.drops.ignored += 1;
            return;
        }
        match message.check_integrity(&session.local_key) {
            Ok(()) => {}
            Err(stun::IntegrityError::Missing) => return self.refuse(message, &route, 400, out),
            Err(stun::IntegrityError::Mismatch) => {
                ctx.drops.unauthenticated += 1;
                return self.refuse(message, &route, 401, out);
            }
        }
        if let Err(refusal) = session.judge(&mut ctx, message) {
            return refusal.send(message, &session.local_key, &route, ctx.relays, out, ctx.drops);
        }
        let answer = Owed::new(message, route);
        if ctx.parcels.are_in(message) {
            session.owe(answer, ctx.drops);
        } else {
            answer.send(&Load::default(), &session.local_key, ctx.relays, out, ctx.drops);
        }
        ctx.parcels.receive(message, theirs);
        session.accept(&mut ctx, message, route, theirs);
    }

    fn refuse(&mut self, message: &Message<'_>, route: &Route, code: u16, out: &mut dyn Outbox) {
        let key = &self.session.local_key;
        Refusal::Unsigned(code).send(message, key, route, &mut self.relays, out, &mut self.drops);
    }

    fn response(&mut self, now: Time, message: &Message<'_>, route: Route) {
        if let Route::Direct(path) = route {
            let (mut supplies, gatherer) = self.supplies(now);
            if gatherer.handle_response(&mut supplies, path, message) {
                return;
            }
        }
        let (mut ctx, session, past) = self.context(now);
        if message.has_fingerprint() && !message.check_fingerprint() {
            ctx.drops.malformed += 1;
            return;
        }
        let taken = session
            .handle_response(&mut ctx, message, &route)
            .or_else(|| past.as_mut()?.handle_response(&mut ctx, message, &route));
        match taken {
            None => ctx.drops.unsolicited += 1,
            Some(Taken::Worthless) => {}
            Some(Taken::Success) => ctx.parcels.receive(message, session.remote_ufrag()),
        }
    }

    /// Takes the answer to a wish for a socket or a name.
    pub(super) fn socket_reply(&mut self, now: Time, reply: &SocketReply) {
        if self.state == State::Closed {
            // A wish from before the end.
            match reply {
                SocketReply::Bound { local, .. } => {
                    self.gatherer.ops.push_back(SocketOp::Unbind { local: *local });
                }
                SocketReply::Connected { path, .. } => {
                    self.gatherer.ops.push_back(SocketOp::Disconnect { path: *path });
                }
                _ => {}
            }
            return;
        }
        if !self.name_reply(now, reply) {
            let (mut supplies, gatherer) = self.supplies(now);
            if !gatherer.handle_socket(&mut supplies, reply) {
                tracing::debug!(?reply, "an answer to no wish");
            }
        }
        self.advance(now);
    }

    /// A name of the other side is looked up, or cannot be.
    fn name_reply(&mut self, now: Time, reply: &SocketReply) -> bool {
        let (SocketReply::Resolved { ticket, .. } | SocketReply::Failed { ticket, .. }) = reply else {
            return false;
        };
        let Some((generation, remote)) = self.lookups.remove(ticket) else { return false };
        if generation != self.generation {
            return true;
        }
        let (mut ctx, session, _) = self.context(now);
        match reply {
            SocketReply::Resolved { addresses, .. } if !addresses.is_empty() => {
                let added = session.remotes.resolved(remote, addresses[0]);
                session.added(&mut ctx, &added);
            }
            SocketReply::Failed { error, .. } => session.remotes.unresolved(remote, error.to_string()),
            _ => session.remotes.unresolved(remote, "no address".to_owned()),
        }
        true
    }
}

use sansio::Outbox;
use stun::{AttributeKind, Class, Integrity, Key, Message, MessageWriter, Method, TransactionId, kind};

use crate::pair::PairId;
use crate::parcels::Load;
use crate::relay::{Relays, Sent};
use crate::report::{Drops, PairState};
use crate::role::{Claim, Verdict};
use crate::route::Route;
use crate::session::{Context, EarlyCheck, Session};

/// What a check may require us to comprehend, besides what all of STUN has.
const KNOWN: [AttributeKind; 2] = [kind::PRIORITY, kind::USE_CANDIDATE];
/// Bytes of the largest answer: mapped address, error, unknown attributes, SHA-256 integrity, fingerprint.
const MAX_ANSWER: usize = 160;

/// Why a Binding request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// An error, signed because the asker is who he says.
    Signed(u16),
    /// An error that cannot be signed.
    Unsigned(u16),
}

impl Refusal {
    /// Writes the answer to `request` into `out`.
    pub(crate) fn send(
        self,
        request: &Message<'_>,
        key: &Key,
        route: &Route,
        relays: &mut Relays,
        out: &mut dyn Outbox,
        drops: &mut Drops,
    ) {
        let asked = request.bytes().len();
        let (Self::Signed(code) | Self::Unsigned(code)) = self;
        let mut fill = |buffer: &mut [u8]| {
            let mut writer = MessageWriter::answer(buffer, Class::Error, request);
            // The reason is left out: who asks is a machine.
            writer.error_code(code, "");
            if code == 420 {
                writer.unknown_attributes(&request.unknown_comprehension_required(&KNOWN));
            }
            if matches!(self, Self::Signed(_)) {
                sign(&mut writer, request.integrity(), key);
            }
            let length = writer.fingerprint().finish().unwrap_or(0);
            // Whoever cannot sign may have forged his address: he never gets more than he sent.
            if matches!(self, Self::Unsigned(_)) && length > asked { 0 } else { length }
        };
        if relays.send(route, out, MAX_ANSWER, &mut fill) == Sent::NoRoom {
            drops.no_room += 1;
        }
    }
}

/// RFC 8489 §9.1.3: an answer is signed as the request was.
fn sign(writer: &mut MessageWriter<'_>, integrity: Option<Integrity>, key: &Key) {
    match integrity {
        Some(Integrity::Sha256) => writer.integrity_sha256(key),
        _ => writer.integrity(key),
    };
}

/// The answer to a check that is fine. That to one that carried something is written when what was carried has had its
/// consequences, so that they can ride in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed {
    id: TransactionId,
    route: Route,
    integrity: Option<Integrity>,
}

impl Owed {
    /// Answers that may wait at once. Who asks more often in one moment asks again.
    const MAX: usize = 16;

    pub(crate) fn new(request: &Message<'_>, route: Route) -> Self {
        Self { id: request.transaction_id(), route, integrity: request.integrity() }
    }

    /// Writes it into `out`.
    pub(crate) fn send(
        &self,
        load: &Load<'_>,
        key: &Key,
        relays: &mut Relays,
        out: &mut dyn Outbox,
        drops: &mut Drops,
    ) {
        let mut fill = |buffer: &mut [u8]| {
            let mut writer = MessageWriter::new(buffer, Class::Success, Method::BINDING, self.id);
            writer.xor_address(kind::XOR_MAPPED_ADDRESS, self.route.remote());
            load.write(&mut writer);
            sign(&mut writer, self.integrity, key);
            writer.fingerprint().finish().unwrap_or(0)
        };
        if relays.send(&self.route, out, MAX_ANSWER + load.length(), &mut fill) == Sent::NoRoom {
            drops.no_room += 1;
        }
    }
}

/// What the other side's checks bring (RFC 8445 §7.3).
impl Session {
    /// Puts the answer to a check off until [`Session::pay`].
    pub(crate) fn owe(&mut self, answer: Owed, drops: &mut Drops) {
        if self.owed.len() >= Owed::MAX {
            drops.over_limit += 1;
            return;
        }
        self.owed.push(answer);
    }

    /// Writes the answers that were put off.
    pub(crate) fn pay(&mut self, ctx: &mut Context<'_>, out: &mut dyn Outbox) {
        for owed in std::mem::take(&mut self.owed) {
            // Who asks again had no answer: perhaps its load was in the way.
            let pair = self.list.at_route(&owed.route);
            let is_path = pair.is_some_and(|pair| pair.valid.is_some());
            let is_light = is_path || self.paid.contains(&owed.id);
            let load = match is_light {
                true => ctx.parcels.light(),
                false => ctx.parcels.next(pair.map(|pair| pair.id)),
            };
            if self.paid.len() >= Owed::MAX {
                self.paid.pop_front();
            }
            self.paid.push_back(owed.id);
            owed.send(&load, &self.local_key, ctx.relays, out, ctx.drops);
        }
    }

    /// Judges an authenticated Binding request. Its consequences come with [`Session::accept`].
    pub(crate) fn judge(&mut self, ctx: &mut Context<'_>, message: &Message<'_>) -> Result<(), Refusal> {
        if !message.unknown_comprehension_required(&KNOWN).is_empty() {
            return Err(Refusal::Signed(420));
        }
        let claims = [(message.ice_controlling(), true), (message.ice_controlled(), false)];
        for (tiebreaker, controlling) in claims {
            let Some(tiebreaker) = tiebreaker else { continue };
            match ctx.role.judge(Claim { controlling, tiebreaker }) {
                Verdict::Fine => {}
                Verdict::Refuse => return Err(Refusal::Signed(487)),
                // RFC 8445 §6.1.1: a lite agent is controlled unless both are.
                Verdict::Switch if ctx.config.lite => {}
                Verdict::Switch => self.switch_role(ctx),
            }
        }
        Ok(())
    }

    /// Draws the consequences of a check that was answered with success.
    pub(crate) fn accept(&mut self, ctx: &mut Context<'_>, message: &Message<'_>, route: Route, ufrag: &str) {
        let check = EarlyCheck {
            ufrag: ufrag.to_owned(),
            route,
            // RFC 8445 §7.1.1 demands it; without it the candidate is worth the least.
            priority: message.priority().unwrap_or(1).max(1),
            use_candidate: message.use_candidate(),
        };
        if self.retired {
            return;
        }
        ctx.gate.authenticate(route);
        if self.is_remote_ufrag(ufrag) {
            self.handle_check(ctx, check);
        } else {
            // Before the answer has come (RFC 8445 §7.3), or of a session that signalling has yet to tell of.
            self.remember(check, ctx.drops);
        }
    }

    /// RFC 8445 §7.3.1.3 to §7.3.1.5.
    pub(crate) fn handle_check(&mut self, ctx: &mut Context<'_>, check: EarlyCheck) {
        let EarlyCheck { route, priority, use_candidate, .. } = check;
        if self.end.is_some() {
            return;
        }
        let Some(base) = ctx.locals.base_of(&route).copied() else { return };
        let Some(remote) = self.remotes.learn(route.remote(), priority) else {
            ctx.drops.over_limit += 1;
            return;
        };
        let known = self.list.at_route(&route).map(|pair| pair.id);
        let Some(id) = known.or_else(|| self.pair(ctx, &base, remote)) else {
            ctx.drops.over_limit += 1;
            return;
        };
        let Some(pair) = self.list.get_mut(id) else { return };
        pair.evidence.requests_received += 1;
        self.reached = Some(id);
        let use_candidate = use_candidate && !ctx.role.controlling;
        if ctx.config.lite {
            return self.accept_lite(ctx, id, use_candidate);
        }
        if use_candidate {
            self.insistence.nominated(id);
        }
        if self.selected == Some(id) {
            return self.heard_on(ctx, id);
        }
        // A nominated pair is checked even if a better one is selected: the other side will send there.
        if self.selected.is_some() && !use_candidate {
            return;
        }
        self.heard_on(ctx, id);
        self.trigger_check(ctx, id, use_candidate);
    }

    /// RFC 8445 §7.3.1.4 and §7.3.1.5.
    fn trigger_check(&mut self, ctx: &mut Context<'_>, id: PairId, use_candidate: bool) {
        let Some(pair) = self.list.get_mut(id) else { return };
        match pair.state {
            PairState::Succeeded if use_candidate => return self.select(ctx, id),
            PairState::Succeeded => return,
            // A peer that checks for ever does not keep a hopeless check alive for ever.
            PairState::InProgress if self.impatient => {
                pair.nominate_on_success |= use_candidate;
                return;
            }
            PairState::InProgress => {
                self.checks.cancel(|check| check.pair == id);
            }
            PairState::Waiting | PairState::Frozen | PairState::Failed => {}
        }
        if let Some(pair) = self.list.get_mut(id) {
            pair.nominate_on_success |= use_candidate;
        }
        self.list.trigger(id);
    }
}

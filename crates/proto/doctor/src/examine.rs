//! From evidence to verdicts.

mod direct;
mod login;
mod meeting;
mod path;
mod secure;
mod servers;

use crate::view::View;
use crate::{Code, Evidence, Outcome, Verdict};

/// Why there is no connection, or why it is not direct, with what has to be mended first in front.
///
/// A direct connection needs no verdict and gets none; a relayed one gets those that say why it is not direct, unless
/// only relayed paths were wanted. Where the evidence does not suffice the verdict is [`Code::Inconclusive`], and says
/// what would tell.
pub fn examine(evidence: &Evidence) -> Vec<Verdict> {
    let view = View::of(evidence);
    let mut verdicts = match evidence.outcome {
        Outcome::Direct => return Vec::new(),
        Outcome::Relayed if evidence.relay_only => return Vec::new(),
        // It is too early to tell.
        Outcome::Connecting => return Vec::new(),
        Outcome::Relayed => not_direct(view),
        Outcome::Untried => alone(view),
        Outcome::Failed => failed(view),
        Outcome::Lost => path::lost(view),
    };
    verdicts.sort_by_key(|verdict| verdict.code);
    if verdicts.is_empty() && matches!(evidence.outcome, Outcome::Failed | Outcome::Lost | Outcome::Relayed) {
        verdicts.push(inconclusive(view));
    }
    verdicts
}

/// Why a path that is there goes through a relay.
fn not_direct(view: View<'_>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    verdicts.extend(servers::udp_blocked(view));
    verdicts.extend(servers::vpn_or_proxy(view));
    verdicts.extend(meeting::signalling(view));
    verdicts.extend(meeting::mdns(view));
    verdicts.extend(meeting::family(view));
    verdicts.extend(direct::hairpin(view));
    verdicts.extend(direct::nats(view));
    verdicts.extend(direct::one_way(view));
    verdicts
}

/// What a machine that has not tried to connect finds wrong.
fn alone(view: View<'_>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    verdicts.extend(meeting::no_network(view));
    verdicts.extend(servers::udp_blocked(view));
    verdicts.extend(servers::vpn_or_proxy(view));
    verdicts.extend(servers::stun(view));
    verdicts.extend(servers::turn(view));
    verdicts.extend(login::refused(view));
    if !verdicts.iter().any(|verdict| verdict.code == Code::ClockSkewed) {
        verdicts.extend(login::clocks(view));
    }
    verdicts.extend(path::relay_ports(view));
    verdicts.extend(secure::path_mtu(view));
    verdicts.extend(direct::own_mapping(view));
    verdicts
}

/// Why there was never a connection.
fn failed(view: View<'_>) -> Vec<Verdict> {
    if view.evidence.secure != crate::Secure::Idle {
        // There was a path: whatever else is wrong does not matter.
        let lost = path::lost(view);
        return if lost.is_empty() && !path::is_silent(view) { secure::examine(view) } else { lost };
    }
    let mut verdicts = Vec::new();
    verdicts.extend(meeting::no_network(view));
    verdicts.extend(meeting::descriptions(view));
    verdicts.extend(not_direct(view));
    if !view.has_relay() {
        verdicts.extend(servers::turn(view));
        verdicts.extend(login::refused(view));
        verdicts.extend(servers::no_relay(view));
    }
    verdicts.extend(servers::stun(view));
    verdicts.extend(path::peer_refused(view));
    verdicts.extend(path::relay_ports(view));
    verdicts
}

/// What is known, and what would tell more.
fn inconclusive(view: View<'_>) -> Verdict {
    let evidence = view.evidence;
    let mut advice = "run `sterna doctor` on both machines: it asks more servers than a connection does";
    let mut verdict = Verdict::new(Code::Inconclusive, advice);
    let only_relays = || view.signalled().all(|remote| remote.candidate.kind == ice::CandidateKind::Relay);
    if let Some(why) = &evidence.channels {
        let advice =
            "connect again; if it happens again, the other side's software may not support data channels";
        return Verdict::new(Code::Inconclusive, advice)
            .shown(format!("there was a secure connection, but no data channels on it: {why}"));
    }
    if evidence.outcome == Outcome::Lost || path::is_silent(view) {
        return path::unexplained(view);
    }
    if view.signalled().next().is_none() {
        verdict = verdict.shown("the other side said that it has no address at all");
        advice = "look at the other side: it found no network and no server";
    } else if only_relays() {
        verdict = verdict.shown("the other side gave only relayed candidates");
    } else if view.direct().any(|pair| pair.valid) {
        verdict = verdict.shown("a direct path was found only later, or was lost");
        advice = "nothing has to be changed; if it stays relayed, run `sterna doctor` on both machines";
    } else if view.direct().next().is_none() {
        verdict = verdict.shown("the two sides have no candidates that could be tried directly");
    } else {
        verdict = verdict.shown(view.direct_tried());
    }
    let ours = view.our_mapping_depends();
    if ours.holds == Some(false) {
        verdict.evidence.extend(ours.shown);
    }
    if view.failed() && view.has_relay() {
        verdict = verdict.shown("a TURN server relays for us, but nothing came through it either");
        advice = "check that the other side is running and has this side's description, then run `sterna doctor` on both \
                  machines";
    }
    verdict.advice = advice.to_owned();
    verdict
}

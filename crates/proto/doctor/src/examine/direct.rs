//! Why the two sides do not reach each other without help.

use std::net::IpAddr;

use ice::CandidateKind;

use crate::view::{View, plural};
use crate::{Code, Verdict};

/// NATs that give another address for each destination, and filters that want to know it beforehand.
pub(super) fn nats(view: View<'_>) -> Vec<Verdict> {
    let tried = view.direct().any(|pair| pair.checks_sent > 0);
    let reached = view.direct().any(|pair| pair.responses_received > 0);
    if !tried || reached {
        return Vec::new();
    }
    let (ours, theirs) = (view.our_mapping_depends(), view.their_mapping_depends());
    let mut verdicts = Vec::new();
    if ours.holds == Some(true) || theirs.holds == Some(true) {
        let whose = match (ours.holds, theirs.holds) {
            (Some(true), Some(true)) => "on both sides",
            (Some(true), _) => "on this side",
            _ => "on the other side",
        };
        let both = ours.holds == theirs.holds;
        let advice = format!(
            "{whose}: switch on UPnP or NAT-PMP in the router, forward a UDP port to the machine, or use a network without \
             such a NAT (IPv6, no mobile network or office firewall); a TURN server relays meanwhile{}",
            punching(view, both).map_or(String::new(), |told| format!("; {told}"))
        );
        let mut verdict = Verdict::new(Code::MappingDependsOnDestination, advice);
        for finding in [&ours, &theirs].into_iter().filter(|finding| finding.holds == Some(true)) {
            verdict.evidence.extend(finding.shown.iter().cloned());
        }
        verdicts.push(verdict.shown(view.direct_tried()));
    }
    // With an open filter here their checks would have come in, and shown their address.
    if ours.holds == Some(false) && theirs.holds == Some(true) {
        let mut verdict = Verdict::new(
            Code::FilteringOnly,
            "forward a UDP port to this machine in its router, or switch on UPnP or NAT-PMP there: then the other side's \
             address need not be known beforehand",
        );
        verdict.evidence.extend(ours.shown);
        verdicts
            .push(verdict.shown("0 checks came in from the address that the other side's NAT really uses"));
    }
    verdicts
}

/// What punching could do about it, as the lab has measured it (docs/punching.md).
fn punching(view: View<'_>, both: bool) -> Option<&'static str> {
    // Whoever tries already needs not be told.
    view.evidence.ice.punched.is_none().then_some(match both {
        false => {
            "--punch on both sides looks for a direct path past it (in the lab it found one in 99 of 100 tries or more)"
        }
        true => {
            "--punch on both sides looks for a direct path (in the lab it found one where both NATs keep ports or count them \
             up, and never where one of the two draws them at random)"
        }
    })
}

/// One machine's own NAT, before it has tried to reach anybody.
pub(super) fn own_mapping(view: View<'_>) -> Option<Verdict> {
    let finding = view.our_mapping_depends();
    (finding.holds == Some(true)).then(|| {
        let mut verdict = Verdict::new(
            Code::MappingDependsOnDestination,
            "switch on UPnP or NAT-PMP in the router, forward a UDP port to this machine, or use a network without such a NAT; \
             without that, peers behind port-restricting NATs are reached through a TURN server only, or with --punch on both \
             sides (in the lab in 99 of 100 tries or more; where both NATs are such ones only if both keep ports or count them up)",
        );
        verdict.evidence = finding.shown;
        verdict
    })
}

/// Both behind one NAT that does not turn packets round.
pub(super) fn hairpin(view: View<'_>) -> Option<Verdict> {
    if view.evidence.nat.as_ref().is_some_and(|nat| nat.hairpin == Some(true)) {
        return None;
    }
    let ours = view.our_public();
    let through = |pair: &&ice::PairReport| {
        let to = pair.remote.address.ip().map(|address| address.ip());
        pair.remote.kind != CandidateKind::Host && to.is_some_and(|to| to.is_ipv4() && ours.contains(&to))
    };
    let pairs: Vec<_> = view.direct().filter(through).filter(|pair| pair.checks_sent > 0).collect();
    let deaf = !pairs.is_empty()
        && pairs.iter().all(|pair| pair.responses_received == 0 && pair.requests_received == 0)
        && !view.direct().any(|pair| pair.responses_received > 0);
    // Who has no NAT at all shares his address with nobody.
    let untranslated = |address: &IpAddr| view.evidence.interfaces.iter().any(|it| it.address == *address);
    let outer = pairs.first()?.remote.address.ip()?.ip();
    if !deaf || untranslated(&outer) {
        return None;
    }
    let checks: u32 = pairs.iter().map(|pair| pair.checks_sent + pair.retransmissions).sum();
    let inner = view.signalled().filter(|remote| remote.candidate.kind == CandidateKind::Host).count();
    let advice = "let the two machines reach each other inside their network: give the host candidates to the other side \
                  (no policy that hides them, no .local names that nobody resolves, no client isolation in the Wi-Fi); or \
                  switch on hairpinning (NAT loopback) in the router";
    Some(
        Verdict::new(Code::NoHairpin, advice)
            .shown(format!("both sides are seen at {outer}"))
            .shown(format!(
                "{} sent to it, 0 came back in",
                plural(checks as usize, "check was", "checks were")
            ))
            .shown(format!("the other side told {} of its inner addresses", inner)),
    )
}

/// Their checks come in, ours do not arrive.
pub(super) fn one_way(view: View<'_>) -> Option<Verdict> {
    // Where a NAT draws a new address for each destination this is what one sees as well.
    if view.our_mapping_depends().holds == Some(true) || view.their_mapping_depends().holds == Some(true) {
        return None;
    }
    let answered = view.evidence.ice.pairs.iter().any(|pair| pair.responses_received > 0);
    let heard: u32 = view.direct().map(|pair| pair.requests_received).sum();
    let sent: u32 = view
        .direct()
        .filter(|pair| pair.requests_received > 0)
        .map(|pair| pair.checks_sent + pair.retransmissions)
        .sum();
    (view.failed() && heard > 0 && sent > 0 && !answered).then(|| {
        Verdict::new(
            Code::OneWay,
            "look for a firewall that lets packets pass in one direction only, on this machine (outgoing UDP) or on the other \
             (incoming UDP); or add a TURN server",
        )
        .shown(format!("{} arrived from the other side", plural(heard as usize, "check", "checks")))
        .shown(format!("{} of ours on the same paths, 0 answers", plural(sent as usize, "check", "checks")))
    })
}

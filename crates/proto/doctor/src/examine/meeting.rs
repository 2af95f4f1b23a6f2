//! What the two sides know of each other.

use ice::{CandidateAddress, PairError, RemoteFate};

use crate::summary::spell;
use crate::view::{View, plural};
use crate::{Code, Outcome, Verdict};

/// No address to connect from.
pub(super) fn no_network(view: View<'_>) -> Option<Verdict> {
    let report = &view.evidence.ice;
    let bare = report.local.is_empty()
        && report.pairs.is_empty()
        && report.servers.iter().all(|server| server.local.is_none())
        && view.evidence.interfaces.iter().all(|interface| interface.address.is_loopback());
    // Before anything was gathered nothing is known.
    (bare && report.gathering != ice::GatheringState::New && !view.evidence.relay_only).then(|| {
        Verdict::new(
            Code::NoNetwork,
            "connect this machine to a network, and allow this program to open UDP sockets",
        )
        .shown(format!("{} addresses besides loopback, 0 candidates", view.evidence.interfaces.len()))
    })
}

/// One side holds an old description of the other.
pub(super) fn descriptions(view: View<'_>) -> Option<Verdict> {
    let refused =
        |error: &PairError| matches!(error, PairError::Unauthenticated(400 | 401) | PairError::Refused(_));
    let pairs = &view.evidence.ice.pairs;
    let refused = pairs.iter().filter(|pair| pair.error.as_ref().is_some_and(refused)).count();
    let drops = &view.evidence.ice.drops;
    let foreign = drops.unknown_user + drops.unauthenticated;
    if refused == 0 && (foreign == 0 || pairs.iter().any(|pair| pair.requests_received > 0)) {
        return None;
    }
    let advice = "give both sides each other's latest description: ice-ufrag and ice-pwd do not match. Does signalling \
                  deliver an old one, or two calls' at once?";
    let mut verdict = Verdict::new(Code::DescriptionsMismatched, advice);
    if refused > 0 {
        verdict = verdict.shown(format!("on {} our checks were refused", plural(refused, "pair", "pairs")));
    }
    if foreign > 0 {
        let checks = plural(usize::try_from(foreign).unwrap_or(usize::MAX), "packet", "packets");
        verdict = verdict.shown(format!("{checks} came that were signed with other credentials"));
    }
    Some(verdict)
}

/// Candidates that were sent and did not arrive.
pub(super) fn signalling(view: View<'_>) -> Option<Verdict> {
    let report = &view.evidence.ice;
    let advice = "look at what carries the candidates: each has to be given to the other side's addIceCandidate, with \
                  those that come before the description kept until it is there";
    let verdict = Verdict::new(Code::SignallingLostCandidates, advice);
    if let Some(theirs) = &view.evidence.theirs {
        let ours: Vec<String> = report.local.iter().map(|candidate| spell(&candidate.address)).collect();
        let got: Vec<String> = view.signalled().map(|remote| spell(&remote.candidate.address)).collect();
        let lost = |sent: &[String], received: &[String]| {
            sent.iter().filter(|address| !received.contains(address)).count()
        };
        let (here, there) = (lost(&theirs.sent, &got), lost(&ours, &theirs.received));
        if here == 0 && there == 0 {
            return None;
        }
        return Some(
            verdict
                .shown(format!(
                    "the other side sent {} candidates, {here} of them did not arrive here",
                    theirs.sent.len()
                ))
                .shown(format!("this side sent {}, {there} of them did not arrive there", ours.len())),
        );
    }
    // Alone, only the extreme is certain: the description came, and nothing after it, not even the end mark.
    let nothing = report.has_remote_credentials
        && !report.remote_candidates_complete
        && view.signalled().next().is_none();
    nothing.then(|| {
        verdict.shown(format!(
            "the other side's description arrived, and after it 0 candidates and no end of candidates; {} of ours were \
             given to signalling",
            report.local.len()
        ))
    })
}

/// `.local` names that nobody here knows.
pub(super) fn mdns(view: View<'_>) -> Option<Verdict> {
    let hidden = |remote: &&ice::RemoteReport| {
        matches!(remote.candidate.address, CandidateAddress::Mdns { .. })
            && matches!(remote.fate, RemoteFate::Unresolved(_) | RemoteFate::Resolving)
    };
    let names = view.signalled().filter(hidden).count();
    if names == 0 {
        return None;
    }
    // On two networks names never resolve, and are not missed: they are to blame only if there is nothing else, or
    // if both are at one place.
    let ours = view.our_public();
    let same_place = view.signalled().any(|remote| {
        remote.candidate.kind == ice::CandidateKind::Srflx
            && remote.candidate.address.ip().is_some_and(|address| ours.contains(&address.ip()))
    });
    let only = view.signalled().all(|remote| hidden(&remote));
    let shown = plural(names, "candidate is a .local name that does", "candidates are .local names that do");
    (only || same_place).then(|| {
        let advice = if only {
            "if both machines are on one network let multicast DNS (UDP port 5353) through, else give the other side a \
             STUN or a TURN server"
        } else {
            "both machines are on one network: let multicast DNS (UDP port 5353) through in it (guest and Wi-Fi networks \
             often do not)"
        };
        Verdict::new(Code::MdnsUnresolved, advice).shown(format!("{shown} not resolve here"))
    })
}

/// IPv4 here, IPv6 there.
pub(super) fn family(view: View<'_>) -> Option<Verdict> {
    let report = &view.evidence.ice;
    let ours = View::families(report.local.iter().map(|candidate| &candidate.address));
    let theirs = View::families(
        view.signalled()
            .filter(|remote| remote.fate == RemoteFate::Used)
            .map(|remote| &remote.candidate.address),
    );
    let direct = view.evidence.outcome == Outcome::Relayed && view.direct().next().is_some();
    let apart = ours.iter().zip(&theirs).all(|(ours, theirs)| !(*ours && *theirs));
    let known = ours.contains(&true) && theirs.contains(&true);
    (apart && known && !direct).then(|| {
        let word = |families: [bool; 2]| if families[0] { "IPv4" } else { "IPv6" };
        Verdict::new(
            Code::FamilyMismatch,
            "use a TURN server that has both IPv4 and IPv6, and that both sides know",
        )
        .shown(format!(
            "this side has only {} candidates, the other only {}",
            word(ours),
            word(theirs)
        ))
    })
}

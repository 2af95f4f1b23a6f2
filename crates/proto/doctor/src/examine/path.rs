//! Relays that do not carry, and paths that end.

use ice::{CandidateKind, PairError, ServerOutcome};

use crate::view::{View, plural};
use crate::{Code, Verdict};

/// The TURN server does not relay to the other side.
pub(super) fn peer_refused(view: View<'_>) -> Option<Verdict> {
    let relayed: Vec<_> =
        view.evidence.ice.pairs.iter().filter(|pair| pair.local.kind == CandidateKind::Relay).collect();
    let refusal = |pair: &&&ice::PairReport| match &pair.error {
        Some(PairError::PermissionRefused { code, reason }) => Some((*code, reason.clone())),
        _ => None,
    };
    let refused: Vec<_> = relayed.iter().filter(|pair| refusal(pair).is_some()).collect();
    // Private addresses are rightly refused as long as others are not.
    if relayed.is_empty() || refused.len() < relayed.len() {
        return None;
    }
    let addresses: Vec<String> =
        refused.iter().filter_map(|pair| Some(pair.remote.address.ip()?.ip().to_string())).collect();
    let (code, reason) = refusal(refused.first()?)?;
    let url =
        relayed.iter().find_map(|pair| pair.local.url.clone()).unwrap_or_else(|| "the TURN server".into());
    let advice = format!(
        "allow {} in the peer policy of {url} (`sterna serve --allow-peer`, coturn `allowed-peer-ip`), or let the other side \
         use a STUN or TURN server, so that it has a public address",
        addresses.join(", ")
    );
    Some(
        Verdict::new(Code::TurnRefusesPeer, advice)
            .shown(format!(
                "{url} refused to relay to {} of {}",
                plural(refused.len(), "address", "addresses"),
                relayed.len()
            ))
            .shown(format!("it said: {code} {reason}")),
    )
}

/// An address was given to us, but nothing arrives there.
pub(super) fn relay_ports(view: View<'_>) -> Option<Verdict> {
    let advice = "open the TURN server's relay ports for UDP in the firewall in front of it (49152–65535 unless configured \
                  otherwise: `sterna serve --relay-ports`, coturn `min-port` and `max-port`), and check its public address";
    let relays: Vec<_> = view
        .allocations()
        .filter_map(|server| match server.outcome {
            ServerOutcome::Succeeded(relayed) => Some((server, relayed)),
            _ => None,
        })
        .collect();
    let verdict = |server: &ice::ServerReport, relayed| {
        Verdict::new(Code::RelayPortsClosed, advice)
            .shown(format!("{} gave the address {relayed}", server.url))
    };
    if let Some(echo) = view.evidence.relay_echo
        && let Some((server, relayed)) = relays.first()
    {
        // Silence both ways may be the fault of this network, too.
        return (echo.sent > 0 && echo.received == 0 && echo.returned > 0).then(|| {
            let packets = plural(echo.sent as usize, "packet", "packets");
            verdict(server, *relayed)
                .shown(format!("{packets} sent there by this machine itself, 0 came back through the relay"))
                .shown(format!(
                    "the other way, from there to this machine, {} came",
                    plural(echo.returned as usize, "packet", "packets")
                ))
        });
    }
    let theirs = view.evidence.theirs.as_ref()?;
    for (server, relayed) in relays {
        let sent: u32 =
            theirs.checks.iter().filter(|check| check.to == relayed).map(|check| check.sent).sum();
        let through = view.evidence.ice.pairs.iter().filter(|pair| pair.local.address.ip() == Some(relayed));
        let arrived: u32 = through.map(|pair| pair.requests_received + pair.responses_received).sum();
        if view.failed() && sent > 0 && arrived == 0 && theirs.udp == Some(true) {
            return Some(verdict(server, relayed).shown(format!(
                "the other side sent {} there, 0 arrived",
                plural(sent as usize, "check", "checks")
            )));
        }
    }
    None
}

/// There was a connection.
pub(super) fn lost(view: View<'_>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    if let crate::Secure::Failed(_) = view.evidence.secure {
        verdicts.extend(super::secure::refused(view));
    }
    let pairs = &view.evidence.ice.pairs;
    let error = |wanted: &PairError| pairs.iter().filter(|pair| pair.error.as_ref() == Some(wanted)).count();
    let again = "restart ICE: a new path is looked for, from the addresses that there are now";
    if error(&PairError::AddressLost) > 0 && error(&PairError::ConsentLost) == 0 {
        verdicts.push(Verdict::new(Code::NetworkChanged, again).shown(format!(
            "{} lost their address",
            plural(error(&PairError::AddressLost), "pair", "pairs")
        )));
    }
    if error(&PairError::RelayLost) > 0 && error(&PairError::ConsentLost) == 0 {
        verdicts.push(
            Verdict::new(
                Code::RelayLost,
                "restart ICE to get another relayed path; if it happens again look at the TURN server's log",
            )
            .shown(format!(
                "{} ended with the allocation",
                plural(error(&PairError::RelayLost), "pair", "pairs")
            )),
        );
    }
    let changed = view.evidence.ice.servers.iter().find_map(|server| match server.outcome {
        ServerOutcome::Succeeded(now) if server.earlier.is_some_and(|earlier| earlier != now) => {
            Some((server, server.earlier?, now))
        }
        _ => None,
    });
    let lifetime = view.evidence.nat.as_ref().and_then(|nat| nat.lifetime);
    if let Some((server, earlier, now)) = changed {
        let mut verdict = Verdict::new(
            Code::BindingExpired,
            "restart ICE. If it happens again: let the NAT keep idle UDP mappings for two minutes or more (RFC 4787 REQ-5), and \
             do not let this machine sleep meanwhile",
        )
        .shown(format!("{} saw us at {earlier} before, and sees us at {now} now", server.address.map_or_else(
            || server.url.clone(),
            |address| address.to_string()
        )));
        if let Some(lifetime) = lifetime {
            verdict = verdict
                .shown(format!("the NAT forgets a mapping after {} s", lifetime.alive_after.as_secs()));
        }
        verdicts.push(verdict.shown(consent(view)));
    }
    verdicts
}

/// Whether there was a path, and nobody at its other end any more.
pub(super) fn is_silent(view: View<'_>) -> bool {
    view.evidence.ice.pairs.iter().any(|pair| pair.error == Some(PairError::ConsentLost))
}

/// A path that ended for a reason that does not show here.
pub(super) fn unexplained(view: View<'_>) -> Verdict {
    Verdict::new(
        Code::Inconclusive,
        "check that the other side is still running and on its network, then connect again, or restart ICE",
    )
    .shown(consent(view))
}

fn consent(view: View<'_>) -> String {
    let lost = view.evidence.ice.pairs.iter().find(|pair| pair.error == Some(PairError::ConsentLost));
    match lost {
        Some(pair) => format!(
            "the other side stopped answering after {}",
            plural(pair.responses_received as usize, "answer", "answers")
        ),
        None => "there was a connection, and it ended".to_owned(),
    }
}

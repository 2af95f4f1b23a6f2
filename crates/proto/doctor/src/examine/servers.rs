//! Whether servers can be reached.

use std::net::SocketAddr;

use ice::{InterfaceKind, ServerOutcome, ServerReport, ServerRequest};
use sansio::Transport;

use crate::view::{View, plural};
use crate::{Code, Outcome, Verdict};

/// UDP does not get through at all.
pub(super) fn udp_blocked(view: View<'_>) -> Option<Verdict> {
    if let Some(theirs) = view.evidence.theirs.as_ref().filter(|theirs| theirs.udp == Some(false)) {
        let mut verdict = Verdict::new(
            Code::UdpBlocked,
            "on the other side: allow outgoing UDP in its firewall; until then a TURN server over TCP or TLS is its only way",
        );
        verdict = verdict.shown("the other side reports that no UDP gets through in its network");
        if theirs.sent.is_empty() {
            verdict = verdict.shown("it has no candidate to offer");
        }
        return Some(verdict);
    }
    if view.udp() != Some(false) {
        return None;
    }
    let streams = view.allocations().any(|server| server.transport != Transport::Udp);
    let advice = if streams {
        "allow outgoing UDP in the firewall of this network; until then TURN over TCP or TLS is the only way"
    } else {
        "allow outgoing UDP in the firewall of this network, or add a TURN server with ?transport=tcp or turns: on port 443"
    };
    let mut verdict = Verdict::new(Code::UdpBlocked, advice);
    let (_, silent) = view.udp_servers();
    if !silent.is_empty() {
        let servers = plural(silent.len(), "server", "servers");
        verdict = verdict.shown(format!("{servers} asked over UDP, 0 answered: {}", list(&silent)));
    }
    if let Some(alive) = view.alive_otherwise(&silent) {
        let at = alive.address.map_or_else(String::new, |address| format!(" at {address}"));
        verdict = verdict.shown(format!("the server{at} answers over {}", alive.transport));
    }
    if view.direct().any(|pair| pair.checks_sent > 0) {
        verdict = verdict.shown(view.direct_tried());
    }
    Some(verdict)
}

/// Something that is there on purpose.
pub(super) fn vpn_or_proxy(view: View<'_>) -> Option<Verdict> {
    let evidence = view.evidence;
    if let Some(portal) = &evidence.captive_portal {
        let verdict =
            Verdict::new(Code::VpnOrProxy, "open a web page in a browser and log in to this network");
        return Some(verdict.shown(format!("{portal} answers in place of the server")));
    }
    let refused = |proxy: &str| {
        let words = view.allocations().filter_map(|server| match &server.outcome {
            ServerOutcome::NotConnected(why) if why.contains(proxy) => Some(format!("{}: {why}", server.url)),
            _ => None,
        });
        words.collect::<Vec<_>>()
    };
    // Many proxies connect to port 443 alone, which is enough.
    let passes = view.allocations().any(|server| {
        server.transport != Transport::Udp && matches!(server.outcome, ServerOutcome::Succeeded(_))
    });
    if let Some(proxy) = evidence.proxy.as_ref().filter(|_| !passes)
        && let words = refused(proxy)
        && !words.is_empty()
    {
        let advice = "allow CONNECT to the TURN server's port in the proxy, or use turns: on port 443; or go without the \
                      proxy (NO_PROXY)";
        return Some(words.into_iter().fold(Verdict::new(Code::VpnOrProxy, advice), Verdict::shown));
    }
    // A tunnel that carries everything, and lets no UDP through.
    let ways: Vec<_> = evidence
        .interfaces
        .iter()
        .filter(|it| it.default_route && it.kind != InterfaceKind::Loopback)
        .collect();
    let tunnels: Vec<&str> =
        ways.iter().filter(|it| it.kind == InterfaceKind::Vpn).map(|it| it.name.as_str()).collect();
    if tunnels.is_empty() || tunnels.len() < ways.len() || view.udp() != Some(false) {
        return None;
    }
    let mut names = tunnels;
    names.dedup();
    let advice = "switch the VPN off for the test; if that helps, let it pass UDP, or exclude this program from it (split \
                  tunnelling)";
    Some(
        Verdict::new(Code::VpnOrProxy, advice).shown(format!(
            "all traffic leaves through the VPN ({}), and no UDP comes back",
            names.join(", ")
        )),
    )
}

/// STUN servers that did not answer.
pub(super) fn stun(view: View<'_>) -> Option<Verdict> {
    if view.udp() == Some(false) {
        return None; // told as such
    }
    let asked: Vec<&ServerReport> =
        view.evidence.ice.servers.iter().filter(|server| server.request == ServerRequest::Binding).collect();
    let dead = |server: &&&ServerReport| {
        view.is_silent(server)
            || matches!(server.outcome, ServerOutcome::NotResolved(_) | ServerOutcome::NotConnected(_))
    };
    let dead_ones: Vec<_> = asked.iter().filter(dead).collect();
    let works = view.evidence.ice.servers.iter().any(|server| {
        server.transport == Transport::Udp
            && matches!(server.outcome, ServerOutcome::Succeeded(_) | ServerOutcome::Refused { .. })
    });
    // Where one answers the others are not missed.
    if dead_ones.is_empty() || works {
        return None;
    }
    let advice = "check the STUN server's address and port, that it runs, and that the firewall lets UDP to it pass; or use \
                  another one";
    let verdict = Verdict::new(Code::StunUnreachable, advice);
    Some(dead_ones.into_iter().fold(verdict, |verdict, server| verdict.shown(describe(server))))
}

/// TURN servers that cannot be reached, by transport.
pub(super) fn turn(view: View<'_>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for (transport, code) in [
        (Transport::Udp, Code::TurnUnreachableUdp),
        (Transport::Tcp, Code::TurnUnreachableTcp),
        (Transport::Tls, Code::TurnUnreachableTls),
    ] {
        if transport == Transport::Udp && view.udp() == Some(false) {
            continue; // told as such
        }
        let asked: Vec<&ServerReport> =
            view.allocations().filter(|server| server.transport == transport).collect();
        let dead = |server: &ServerReport| {
            view.is_silent(server)
                || matches!(server.outcome, ServerOutcome::NotResolved(_) | ServerOutcome::NotConnected(_))
        };
        let reached = asked.iter().any(|server| {
            matches!(server.outcome, ServerOutcome::Succeeded(_) | ServerOutcome::Refused { .. })
        });
        let dead_ones: Vec<_> = asked.into_iter().filter(|server| dead(server)).collect();
        if dead_ones.is_empty() || reached {
            continue;
        }
        let unresolved =
            dead_ones.iter().all(|server| matches!(server.outcome, ServerOutcome::NotResolved(_)));
        let advice = match transport {
            _ if unresolved => "correct the name in the TURN server's URL, or this machine's DNS",
            Transport::Udp => {
                "check the TURN server's address and port, that it runs, and that the firewalls let UDP to it pass; add a \
                 URL with ?transport=tcp, or turns: on port 443"
            }
            Transport::Tcp => {
                "check that the TURN server listens on TCP at this port, and that the firewalls let it pass; add turns: on \
                 port 443"
            }
            _ => {
                "check that the TURN server listens for TLS at this port, that its certificate is valid for the name in the \
                 URL, and that the firewalls let it pass; port 443 passes most"
            }
        };
        let verdict = Verdict::new(code, advice);
        verdicts.push(dead_ones.into_iter().fold(verdict, |verdict, server| verdict.shown(describe(server))));
    }
    verdicts
}

/// No TURN server to fall back on.
pub(super) fn no_relay(view: View<'_>) -> Option<Verdict> {
    let theirs = view.signalled().any(|remote| remote.candidate.kind == ice::CandidateKind::Relay);
    let tried = view.direct().any(|pair| pair.checks_sent > 0);
    let none = view.allocations().next().is_none();
    (none && !theirs && tried && view.evidence.outcome == Outcome::Failed).then(|| {
        Verdict::new(
            Code::NoRelay,
            "add a TURN server to the iceServers of at least one side (`sterna serve` is one), or allow the relay if it was \
             switched off",
        )
        .shown(view.direct_tried())
        .shown("0 TURN servers on this side, 0 relayed candidates from the other")
    })
}

/// `turn:example.org at 192.0.2.1:3478: no answer in 39.5 s`.
pub(super) fn describe(server: &ServerReport) -> String {
    let at = server.address.map_or_else(String::new, |address| format!(" at {address}"));
    let took = server.took.map_or_else(String::new, |took| format!(" in {:.1} s", took.as_secs_f64()));
    let tries = if server.sent > 0 { format!(" to {} requests", server.sent) } else { String::new() };
    match &server.outcome {
        ServerOutcome::TimedOut | ServerOutcome::Pending => {
            format!("{}{at}: no answer{tries}{took}", server.url)
        }
        outcome => format!("{}{at}: {outcome}", server.url),
    }
}

fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

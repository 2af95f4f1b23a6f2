//! The findings for people.

use std::time::Duration;

use ice::{InterfaceKind, ServerOutcome};
use stun::discovery::{Aspect, Behaviour, NatReport};

use super::findings::{Findings, kind};
use super::nat::Nat;
use super::paint::Paint;

/// How wide a rule is.
const WIDTH: usize = 78;
/// How wide the names on the left are.
const NAMES: usize = 12;

/// A screen of text.
pub(super) fn draw(findings: &Findings, paint: Paint) -> String {
    let mut sheet = Sheet { paint, lines: Vec::new() };
    let took = format!("{:.1} s", findings.took.as_secs_f64());
    let title = format!("Sterna doctor {}", env!("CARGO_PKG_VERSION"));
    let gap = WIDTH.saturating_sub(title.len() + took.len());
    sheet.lines.push(format!("{}{}{}", paint.title(&title), " ".repeat(gap), paint.dim(&took)));
    sheet.rule();
    network(&mut sheet, findings);
    server(&mut sheet, findings);
    udp(&mut sheet, findings);
    if let Some(nat) = findings.nat().filter(|nat| nat.report.nat.udp == Some(true)) {
        behaviour(&mut sheet, nat, findings.path_mtu);
    }
    if let [Some(first), Some(second)] = &findings.nats
        && first.report.nat.udp == Some(true)
        && second.report.nat.udp == Some(true)
    {
        let mapped = second.report.mapped.map_or_else(String::new, |mapped| format!(", seen as {mapped}"));
        sheet.row("IPv6", Some(true), &format!("filtering {}{mapped}", second.report.nat.filtering));
    }
    relays(&mut sheet, findings);
    machine(&mut sheet, findings);
    sheet.rule();
    verdicts(&mut sheet, findings);
    sheet.lines.join("\n")
}

struct Sheet {
    paint: Paint,
    lines: Vec<String>,
}

impl Sheet {
    fn rule(&mut self) {
        self.lines.push(self.paint.dim("─".repeat(WIDTH)));
    }

    /// `Name        ✓ text`
    fn row(&mut self, name: &str, fine: Option<bool>, text: &str) {
        let name = self.paint.bold(format!("{name:<NAMES$}"));
        self.lines.push(format!("{name}{} {text}", self.paint.mark(fine)));
    }

    /// `              · name   text`
    fn detail(&mut self, name: &str, value: &str, remark: &str) {
        let indent = " ".repeat(NAMES + 2);
        let remark = self.paint.dim(remark);
        self.lines.push(format!("{indent}{:<11}{value:<28}{remark}", name).trim_end().to_owned());
    }
}

fn network(sheet: &mut Sheet, findings: &Findings) {
    let shown: Vec<_> =
        findings.interfaces.iter().filter(|one| one.kind != InterfaceKind::Loopback).collect();
    if shown.is_empty() {
        return sheet.row("Network", Some(false), "no address but loopback");
    }
    for (at, interface) in shown.iter().enumerate() {
        let way = if interface.default_route { "default route" } else { "" };
        let words: Vec<_> =
            [kind(interface.kind), way].into_iter().filter(|it| !it.is_empty() && *it != "unknown").collect();
        let text =
            format!("{:<10} {:<28}{}", interface.name, interface.address, sheet.paint.dim(words.join(", ")));
        if at == 0 {
            sheet.row("Network", Some(true), text.trim_end());
        } else {
            sheet.lines.push(format!("{}{}", " ".repeat(NAMES + 2), text.trim_end()));
        }
    }
}

fn server(sheet: &mut Sheet, findings: &Findings) {
    let Some(visit) = &findings.visit else { return };
    match (&visit.greeting, &visit.error) {
        (Some(greeting), None) => {
            let tls = greeting.secured.map_or_else(String::new, |tls| format!(", TLS in {}", ms(tls)));
            let proxy =
                greeting.proxy.as_ref().map_or_else(String::new, |proxy| format!(", through {proxy}"));
            let text = format!("{}  TCP in {}{tls}{proxy}", visit.url, ms(greeting.connected));
            sheet.row("Server", Some(true), &text);
        }
        (_, error) => sheet.row("Server", Some(false), error.as_deref().unwrap_or("no answer")),
    }
}

fn udp(sheet: &mut Sheet, findings: &Findings) {
    let servers: Vec<_> = findings.nats.iter().flatten().flat_map(|nat| &nat.report.servers).collect();
    let answered = servers.iter().filter(|server| server.rtt.is_some()).count();
    let best = servers.iter().filter_map(|server| server.rtt).min();
    match findings.udp() {
        None => sheet.row("UDP", None, "no STUN server to ask"),
        Some(true) => {
            let rtt = best.map_or_else(String::new, |rtt| format!(" in {}", ms(rtt)));
            let count = if servers.len() > 1 {
                format!(", {answered} of {} servers", servers.len())
            } else {
                String::new()
            };
            sheet.row("UDP", Some(true), &format!("gets out and back{rtt}{count}"));
        }
        Some(false) => {
            let count = servers.len();
            let servers = if count == 1 { "server" } else { "servers" };
            sheet.row("UDP", Some(false), &format!("no answer from {count} STUN {servers}"));
        }
    }
}

fn behaviour(sheet: &mut Sheet, nat: &Nat, path_mtu: Option<usize>) {
    let report = &nat.report;
    let mapped = report.mapped.map_or_else(String::new, |mapped| mapped.ip().to_string());
    let text = match report.nat.mapping {
        Behaviour::None => format!("none: {} is what others see, too", nat.local),
        _ => format!("{} is seen as {mapped}", nat.local),
    };
    sheet.row("NAT", mapping_is_fine(report), &text);
    let doubt = |about| report.doubt(about).map_or_else(String::new, |why| why.to_string());
    sheet.detail(
        "mapping",
        report.nat.mapping.as_str(),
        &mapping_remark(report).unwrap_or_else(|| doubt(Aspect::Mapping)),
    );
    let filtering =
        filtering_remark(report.nat.filtering).map_or_else(|| doubt(Aspect::Filtering), str::to_owned);
    sheet.detail("filtering", report.nat.filtering.as_str(), &filtering);
    let translated = report.nat.mapping != Behaviour::None;
    if translated {
        let example = report
            .observations
            .first()
            .map_or_else(String::new, |seen| format!("{} became {}", seen.local.port(), seen.mapped.port()));
        sheet.detail("ports", word(report.nat.preserves_port, "preserved", "changed"), &example);
        let remark = match report.nat.hairpin {
            Some(true) => "two behind this NAT reach each other through it".to_owned(),
            Some(false) => "two behind this NAT must be in one network, or use a relay".to_owned(),
            None => doubt(Aspect::Hairpin),
        };
        sheet.detail("hairpin", word(report.nat.hairpin, "yes", "no"), &remark);
    }
    let mtu = path_mtu.map_or_else(String::new, |mtu| format!("packets of {mtu} bytes pass unfragmented"));
    let remark = if mtu.is_empty() { doubt(Aspect::Fragments) } else { mtu };
    sheet.detail("fragments", word(report.fragments, "pass", "are dropped"), &remark);
    if let Some(lifetime) = report.nat.lifetime {
        let text = match lifetime.gone_after {
            Some(gone) => format!("{} to {}", seconds(lifetime.alive_after), seconds(gone)),
            None => format!("more than {}", seconds(lifetime.alive_after)),
        };
        sheet.detail("idle", &text, "after so long without a packet it is forgotten");
    } else if report.doubt(Aspect::Lifetime).is_some() {
        sheet.detail("idle", "inconclusive", &doubt(Aspect::Lifetime));
    }
    if report.rewrites == Some(true) {
        sheet.detail("rewriting", "yes", "something changes addresses inside packets");
    }
}

fn relays(sheet: &mut Sheet, findings: &Findings) {
    if let Some(error) = &findings.ice_error {
        sheet.row("Relay", Some(false), error);
    }
    let mut rows: Vec<(String, Option<bool>, String)> = Vec::new();
    for server in findings.allocations() {
        let name = format!("{} over {}", without_query(&server.url), server.transport);
        let (fine, text) = match &server.outcome {
            ServerOutcome::Succeeded(relayed) => {
                let took = server.took.map_or_else(String::new, |took| format!(" in {}", ms(took)));
                (Some(true), format!("relays from {}{took}", relayed.ip()))
            }
            outcome => (Some(false), outcome.to_string()),
        };
        // Asked from each of our addresses: the best of the answers counts.
        match rows.iter_mut().find(|row| row.0 == name) {
            Some(row) if row.1 == Some(true) || fine == Some(false) => {}
            Some(row) => (row.1, row.2) = (fine, text),
            None => rows.push((name, fine, text)),
        }
    }
    for (at, (name, fine, text)) in rows.iter().enumerate() {
        sheet.row(if at == 0 { "Relay" } else { "" }, *fine, &format!("{name:<34} {text}"));
    }
    if let Some(echo) = &findings.echo {
        let (fine, text) = match (echo.received, echo.returned) {
            (1.., _) => (Some(true), "what others send to its relay ports arrives"),
            (0, 1..) => (Some(false), "what others send to its relay ports does not arrive"),
            (0, 0) => (None, "nothing passes between this machine and its relay ports, either way"),
        };
        sheet.row("", fine, text);
    }
    let Some(found) = &findings.discovered else { return };
    if found.is_empty() {
        sheet.row("Offered", None, "this network offers no relay (DNS, multicast DNS, anycast)");
    }
    for (at, relay) in found.iter().enumerate() {
        let trust =
            if relay.is_secured() { "" } else { ", not in TLS: only for those who trust this network" };
        let text = format!("{} by {}{trust}", without_query(&relay.url()), relay.found.as_str());
        sheet.row(if at == 0 { "Offered" } else { "" }, Some(true), &text);
    }
}

fn machine(sheet: &mut Sheet, findings: &Findings) {
    if let Some(router) = &findings.port_mappers {
        let spoken = [("PCP", router.pcp), ("NAT-PMP", router.nat_pmp), ("UPnP", router.upnp)];
        let spoken: Vec<&str> = spoken.iter().filter(|(_, it)| *it).map(|(name, _)| *name).collect();
        match spoken.is_empty() {
            true => sheet.row("Router", None, "maps no ports: it answers neither PCP nor NAT-PMP nor UPnP"),
            false => sheet.row("Router", Some(true), &format!("maps ports by {}", spoken.join(", "))),
        }
    }
    if let Some(ahead) = findings.clock_ahead() {
        let text = match ahead {
            -1..=1 => "agrees with the server's".to_owned(),
            2.. => format!("{ahead} s ahead of the server's"),
            _ => format!("{} s behind the server's", -ahead),
        };
        sheet.row("Clock", Some(ahead.abs() <= 30), &text);
    }
    if let Some(portal) = findings.portal() {
        sheet.row("Portal", Some(false), &format!("{portal} wants a login before it lets anything through"));
    }
    if let Some(proxy) = &findings.proxy {
        sheet.row("Proxy", None, &format!("{proxy} (from the environment)"));
    }
    match findings.mdns {
        Some(true) => sheet.row("mDNS", Some(true), "multicast DNS works on this machine"),
        Some(false) => sheet.row("mDNS", None, ".local names cannot be looked up on this machine"),
        None => {}
    }
}

fn verdicts(sheet: &mut Sheet, findings: &Findings) {
    let paint = sheet.paint;
    if findings.verdicts.is_empty() {
        let text = if findings.can_connect() { outlook(findings) } else { "Nothing could be asked." };
        let mark = if findings.can_connect() { paint.good() } else { paint.unknown() };
        return sheet.lines.push(format!("{mark} {}", paint.bold(text)));
    }
    for verdict in &findings.verdicts {
        sheet.lines.push(format!("{}  {}", paint.warn(verdict.code.as_str()), paint.bold(verdict.message())));
        sheet.lines.extend(verdict.evidence.iter().flat_map(|shown| wrapped("· ", shown)));
        sheet.lines.extend(wrapped("→ ", &verdict.advice));
    }
    let way = if !findings.can_connect() {
        format!("{} {}", paint.bad(), paint.bold("As it is, this machine connects to nobody."))
    } else if findings.udp() == Some(false) {
        format!("{} {}", paint.good(), paint.bold("Connections work all the same, through the relay."))
    } else if findings.has_relay() {
        format!(
            "{} {}",
            paint.good(),
            paint.bold("Connections work all the same: where none is direct, through the relay.")
        )
    } else {
        return;
    };
    sheet.lines.push(way);
}

/// What to expect when nothing is wrong.
fn outlook(findings: &Findings) -> &'static str {
    if findings.nat().is_some_and(|nat| nat.local.is_loopback()) {
        return "Nothing is in the way inside this machine. Ask a server outside: --server, --stun.";
    }
    let report = findings.nat().map(|nat| &nat.report);
    match report.map(|report| (report.nat.mapping, report.nat.filtering)) {
        Some((Behaviour::None, Behaviour::None)) => {
            "Nothing is in the way: anybody can connect to this machine directly."
        }
        Some((Behaviour::None | Behaviour::EndpointIndependent, _)) => {
            "Nothing is in the way: direct connections work with nearly everybody."
        }
        _ => "Nothing is in the way, as far as can be told.",
    }
}

fn mapping_is_fine(report: &NatReport) -> Option<bool> {
    match report.nat.mapping {
        Behaviour::None | Behaviour::EndpointIndependent => Some(true),
        Behaviour::Inconclusive if report.mapping_varies != Some(true) => None,
        _ => Some(false),
    }
}

fn mapping_remark(report: &NatReport) -> Option<String> {
    Some(match report.nat.mapping {
        Behaviour::None => "no translation".to_owned(),
        Behaviour::EndpointIndependent => "the same address for all destinations".to_owned(),
        Behaviour::AddressDependent => "another port for each destination".to_owned(),
        Behaviour::AddressAndPortDependent => "another port for each destination (“symmetric”)".to_owned(),
        Behaviour::Inconclusive => return None,
    })
}

fn filtering_remark(filtering: Behaviour) -> Option<&'static str> {
    Some(match filtering {
        Behaviour::None => "everything gets in",
        Behaviour::EndpointIndependent => "everybody gets in",
        Behaviour::AddressDependent => "in get those whose address was sent to",
        Behaviour::AddressAndPortDependent => "in get those whose address and port were sent to",
        Behaviour::Inconclusive => return None,
    })
}

fn word(fact: Option<bool>, yes: &'static str, no: &'static str) -> &'static str {
    match fact {
        Some(true) => yes,
        Some(false) => no,
        None => "inconclusive",
    }
}

fn without_query(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 10.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64().round())
}

/// Lines of at most [`WIDTH`], the first with a mark in front.
fn wrapped(mark: &str, text: &str) -> Vec<String> {
    let (first, rest) = (format!("  {mark}"), " ".repeat(2 + mark.chars().count()));
    let mut lines = vec![first];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is a first line");
        let fresh = line.ends_with(' ');
        if !fresh && line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{rest}{word}"));
        } else {
            if !fresh {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_at_words() {
        let lines = wrapped("→ ", &"word ".repeat(40));
        assert!(lines.len() > 2 && lines.iter().all(|line| line.chars().count() <= WIDTH));
        assert!(lines[0].starts_with("  → word") && lines[1].starts_with("    word"));
    }

    #[test]
    fn nothing_known_is_drawn_as_such() {
        let text = draw(&Findings::default(), Paint::plain());
        assert!(
            text.contains("no address but loopback") && text.contains("Nothing could be asked."),
            "{text}"
        );
        assert!(!text.contains('\x1b'));
    }
}

//! All that one machine found out, and its JSON (docs/json.md).

use std::time::Duration;

use doctor::{Evidence, Verdict};
use ice::{InterfaceKind, ServerOutcome, ServerReport, ServerRequest};
use serde_json::{Value, json};
use stun::discovery::{self, NatReport};

use super::nat::Nat;
use super::server::Visit;
use crate::output::{round, verdict_json};

#[derive(Clone, Debug, Default)]
pub(super) struct Findings {
    pub(super) took: Duration,
    pub(super) visit: Option<Visit>,
    pub(super) interfaces: Vec<ice::Interface>,
    /// IPv4, IPv6.
    pub(super) nats: [Option<Nat>; 2],
    pub(super) path_mtu: Option<usize>,
    /// Packets between us and our own relayed address.
    pub(super) echo: Option<doctor::Echo>,
    pub(super) port_mappers: Option<driver::PortMappers>,
    /// Relays that the network offers, if they were looked for.
    pub(super) discovered: Option<Vec<driver::Relay>>,
    pub(super) ice: ice::Report,
    /// Why nothing was gathered.
    pub(super) ice_error: Option<String>,
    pub(super) proxy: Option<String>,
    pub(super) mdns: Option<bool>,
    pub(super) verdicts: Vec<Verdict>,
}

impl Findings {
    /// The NAT that matters: that of IPv4, unless nothing is known of it.
    pub(super) fn nat(&self) -> Option<&Nat> {
        let known = |nat: &&Nat| nat.report.nat.udp == Some(true);
        self.nats.iter().flatten().find(known).or_else(|| self.nats.iter().flatten().next())
    }

    /// Whether UDP gets out and back. `None`: nobody was asked.
    pub(super) fn udp(&self) -> Option<bool> {
        let mut told = self.nats.iter().flatten().filter_map(|nat| nat.report.nat.udp);
        let first = told.next()?;
        Some(first || told.any(|udp| udp))
    }

    /// What TURN servers answered.
    pub(super) fn allocations(&self) -> impl Iterator<Item = &ServerReport> {
        self.ice.servers.iter().filter(|server| server.request == ServerRequest::Allocate)
    }

    pub(super) fn has_relay(&self) -> bool {
        self.allocations().any(|server| matches!(server.outcome, ServerOutcome::Succeeded(_)))
    }

    /// Whether connections can come about: directly, or through a relay.
    pub(super) fn can_connect(&self) -> bool {
        self.udp() == Some(true) || self.has_relay()
    }

    pub(super) fn portal(&self) -> Option<&str> {
        self.visit.as_ref()?.portal.as_deref()
    }

    /// By how many seconds our clock is ahead of the server's.
    pub(super) fn clock_ahead(&self) -> Option<i64> {
        let (ours, servers) = self.visit.as_ref()?.clocks?;
        Some(ours.as_secs() as i64 - servers.as_secs() as i64)
    }

    /// What decides about the path to another machine.
    pub(super) fn place(&self) -> doctor::Place {
        let asked = self.allocations().next().is_some();
        let own = self.interfaces.iter().filter(|one| one.kind != InterfaceKind::Loopback);
        doctor::Place {
            nat: self.nat().map(|nat| nat.report.nat.clone()).unwrap_or_default(),
            relay: asked.then(|| self.has_relay()),
            addresses: own.map(|one| one.address).collect(),
        }
    }

    /// The same as evidence.
    pub(super) fn evidence(&self) -> Evidence {
        let clocks = self.visit.as_ref().and_then(|visit| visit.clocks);
        let ours = clocks.map(|(ours, _)| ours).or_else(super::server::unix_time);
        Evidence {
            ice: self.ice.clone(),
            path_mtu: self.path_mtu,
            nat: self.nat().map(|nat| nat.report.nat.clone()),
            interfaces: self.interfaces.clone(),
            clock: doctor::Clock { ours, servers: clocks.map(|(_, theirs)| theirs) },
            proxy: self.proxy.clone(),
            captive_portal: self.portal().map(str::to_owned),
            relay_echo: self.echo,
            ..Evidence::default()
        }
    }

    /// As docs/json.md describes it.
    pub(super) fn json(&self) -> Value {
        let empty = NatReport::default();
        let nat = self.nat();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "took_ms": millis(self.took),
            "ok": self.verdicts.is_empty(),
            "can_connect": self.can_connect(),
            "server": self.visit.as_ref().map(server_json),
            "interfaces": self.interfaces.iter().map(interface_json).collect::<Vec<_>>(),
            "ipv4": self.nats[0].as_ref().map(family_json),
            "ipv6": self.nats[1].as_ref().map(family_json),
            "udp": self.udp(),
            "nat": nat_json(nat.map_or(&empty, |nat| &nat.report)),
            "stun": self.nats.iter().flatten().flat_map(|nat| &nat.report.servers).map(stun_json).collect::<Vec<_>>(),
            "relays": self.allocations().map(relay_json).collect::<Vec<_>>(),
            "relay_echo": self.echo.map(|echo| json!({
                "sent": echo.sent, "received": echo.received, "returned": echo.returned,
            })),
            "discovered": self.discovered.as_ref().map(|found| found.iter().map(discovered_json).collect::<Vec<_>>()),
            "port_mapping": self.port_mappers.map(|router| json!({
                "gateway": router.gateway.map(|gateway| gateway.to_string()),
                "pcp": router.pcp, "nat_pmp": router.nat_pmp, "upnp": router.upnp,
            })),
            "path_mtu": self.path_mtu,
            "clock_ahead_s": self.clock_ahead(),
            "proxy": self.proxy,
            "captive_portal": self.portal(),
            "mdns": self.mdns,
            "verdicts": self.verdicts.iter().map(verdict_json).collect::<Vec<_>>(),
        })
    }
}

fn millis(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1000.0)
}

fn server_json(visit: &Visit) -> Value {
    let greeting = visit.greeting.as_ref();
    json!({
        "url": visit.url,
        "address": greeting.map(|greeting| greeting.remote.to_string()),
        "tcp_ms": greeting.map(|greeting| millis(greeting.connected)),
        "tls_ms": greeting.and_then(|greeting| greeting.secured).map(millis),
        "http_ms": greeting.map(|greeting| millis(greeting.answered)),
        "error": visit.error,
    })
}

fn interface_json(interface: &ice::Interface) -> Value {
    json!({
        "name": interface.name,
        "kind": kind(interface.kind),
        "address": interface.address.to_string(),
        "default_route": interface.default_route,
    })
}

pub(super) fn kind(kind: InterfaceKind) -> &'static str {
    match kind {
        InterfaceKind::Wired => "wired",
        InterfaceKind::Wireless => "wireless",
        InterfaceKind::Cellular => "cellular",
        InterfaceKind::Vpn => "vpn",
        InterfaceKind::Virtual => "virtual",
        InterfaceKind::Loopback => "loopback",
        _ => "unknown",
    }
}

fn family_json(nat: &Nat) -> Value {
    json!({
        "local": nat.local.to_string(),
        "mapped": nat.report.mapped.map(|mapped| mapped.to_string()),
        "udp": nat.report.nat.udp,
        "mapping": nat.report.nat.mapping.as_str(),
        "filtering": nat.report.nat.filtering.as_str(),
    })
}

fn nat_json(report: &NatReport) -> Value {
    json!({
        "mapping": report.nat.mapping.as_str(),
        "filtering": report.nat.filtering.as_str(),
        "preserves_port": report.nat.preserves_port,
        "hairpin": report.nat.hairpin,
        "mapping_varies": report.mapping_varies,
        "mapped": report.mapped.map(|mapped| mapped.to_string()),
        "server": report.server.map(|server| server.to_string()),
        "fragments": report.fragments,
        "rewrites": report.rewrites,
        "lifetime": report.nat.lifetime.map(|lifetime| json!({
            "alive_after_s": lifetime.alive_after.as_secs_f64(),
            "gone_after_s": lifetime.gone_after.map(|gone| gone.as_secs_f64()),
        })),
        "doubts": report.doubts.iter().map(|doubt| json!({
            "about": doubt.about.as_str(), "why": doubt.why.to_string(),
        })).collect::<Vec<_>>(),
        "observations": report.observations.iter().map(|seen| json!({
            "local": seen.local.to_string(), "server": seen.server.to_string(), "mapped": seen.mapped.to_string(),
        })).collect::<Vec<_>>(),
    })
}

fn stun_json(server: &discovery::ServerReport) -> Value {
    use discovery::ServerOutcome::*;
    let (outcome, mapped, code) = match server.outcome {
        Mapped(mapped) => ("answered", Some(mapped.to_string()), None),
        Refused(code) => ("refused", None, Some(code)),
        Pending | Silent => ("silent", None, None),
    };
    json!({
        "address": server.address.to_string(), "outcome": outcome, "mapped": mapped, "code": code,
        "rtt_ms": server.rtt.map(millis), "other_address": server.other.map(|other| other.to_string()),
        "software": server.software,
    })
}

fn relay_json(server: &ServerReport) -> Value {
    let (outcome, relayed, code) = match &server.outcome {
        ServerOutcome::Succeeded(relayed) => ("allocated", Some(relayed.to_string()), None),
        ServerOutcome::Refused { code, .. } => ("refused", None, Some(*code)),
        ServerOutcome::NotResolved(_) => ("not-resolved", None, None),
        ServerOutcome::NotConnected(_) => ("not-connected", None, None),
        ServerOutcome::NotAsked(_) => ("not-asked", None, None),
        ServerOutcome::TimedOut | ServerOutcome::Pending => ("silent", None, None),
    };
    json!({
        "url": server.url, "transport": server.transport.to_string(), "outcome": outcome,
        "local": server.local.map(|local| local.to_string()),
        "address": server.address.map(|address| address.to_string()),
        "relayed": relayed, "code": code, "took_ms": server.took.map(millis), "text": server.outcome.to_string(),
    })
}

fn discovered_json(relay: &driver::Relay) -> Value {
    json!({ "url": relay.url(), "by": relay.found.as_str(), "certificate_name": relay.is_secured().then_some(&relay.identity) })
}

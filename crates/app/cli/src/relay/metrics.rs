//! What a relay counts, as Prometheus reads it. Labels have few values, all known beforehand: nothing that a client says
//! becomes one.

use std::fmt::Write as _;
use std::time::Duration;

use relay::Status;

/// The text format of Prometheus.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is counted beside the relay itself.
#[derive(Default)]
pub(crate) struct Beside {
    pub(crate) ready: bool,
    pub(crate) running: Duration,
    pub(crate) inquiries: Vec<(&'static str, u64)>,
    pub(crate) renewals: Vec<(&'static str, u64)>,
    /// Unix time.
    pub(crate) certificate_until: Option<u64>,
}

/// All of it.
pub(crate) fn text(status: &Status, beside: &Beside) -> String {
    let Beside { ready, running, inquiries, renewals, certificate_until } = beside;
    let mut page = Page::default();
    page.gauge("sterna_ready", "Whether new clients are welcome.", f64::from(u8::from(*ready)));
    page.gauge("sterna_uptime_seconds", "Since the start.", running.as_secs_f64());
    page.family("sterna_build_info", "gauge", "The version.");
    page.sample("sterna_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1.0);

    page.gauge("sterna_relay_allocations", "Relayed addresses at this moment.", status.allocations as f64);
    page.gauge(
        "sterna_relay_connections",
        "TCP and TLS connections and DTLS sessions at this moment.",
        status.connections as f64,
    );
    page.counter(
        "sterna_relay_allocations_total",
        "Relayed addresses given out.",
        status.counters.allocations,
    );
    let ways = |page: &mut Page, name, help, to_peers, to_clients| {
        page.family(name, "counter", help);
        page.sample(name, &[("direction", "to_peers")], to_peers);
        page.sample(name, &[("direction", "to_clients")], to_clients);
    };
    ways(
        &mut page,
        "sterna_relay_packets_total",
        "Datagrams relayed.",
        status.counters.packets_to_peers as f64,
        status.counters.packets_to_clients as f64,
    );
    ways(
        &mut page,
        "sterna_relay_bytes_total",
        "Bytes of application data relayed.",
        status.counters.bytes_to_peers as f64,
        status.counters.bytes_to_clients as f64,
    );
    page.counter(
        "sterna_relay_forbidden_total",
        "Requests for peers that the policy denies.",
        status.counters.forbidden,
    );
    let name = "sterna_relay_lost_total";
    page.family(name, "counter", "Datagrams lost that were let through, or never looked at, by reason.");
    for reason in relay::Loss::ALL {
        page.sample(name, &[("reason", reason.code())], status.lost.of(reason) as f64);
    }
    let name = "sterna_relay_refused_total";
    page.family(
        name,
        "counter",
        "Connections, and handshakes, that were too many: in all, or of one source.",
    );
    page.sample(name, &[("limit", "connections")], status.connections_refused as f64);
    page.sample(name, &[("limit", "handshakes")], status.handshakes_refused as f64);
    let name = "sterna_relay_dropped_total";
    page.family(name, "counter", "Datagrams dropped, by reason.");
    for reason in turn::Drop::ALL {
        page.sample(name, &[("reason", reason.code())], status.counters.dropped(reason) as f64);
    }
    let name = "sterna_relay_login_failures_total";
    page.family(
        name,
        "counter",
        "Requests without good credentials, by cause; each client begins with `unsigned`.",
    );
    for cause in turn::LoginFailure::ALL {
        page.sample(name, &[("cause", cause.code())], status.counters.login_failures(cause) as f64);
    }
    let name = "sterna_relay_inquiries_total";
    page.family(name, "counter", "Users that the web service of auth-url was asked for, by what came of it.");
    for (outcome, count) in inquiries {
        page.sample(name, &[("outcome", outcome)], *count as f64);
    }
    let name = "sterna_certificate_renewals_total";
    page.family(name, "counter", "Attempts to have a certificate made by ACME, by what came of it.");
    for (outcome, count) in renewals {
        page.sample(name, &[("outcome", outcome)], *count as f64);
    }
    if let Some(until) = certificate_until {
        let help = "Until when the certificate is good, Unix time.";
        page.gauge("sterna_certificate_expiry_timestamp_seconds", help, *until as f64);
    }
    handshakes(&mut page, &status.handshakes);
    page.text
}

fn handshakes(page: &mut Page, handshakes: &relay::HandshakesSoFar) {
    let name = "sterna_relay_tls_handshake_seconds";
    page.family(name, "histogram", "How long handshakes of TLS and DTLS took.");
    for (end, count) in &handshakes.within {
        let end = end.as_secs_f64().to_string();
        page.sample(&format!("{name}_bucket"), &[("le", &end)], *count as f64);
    }
    page.sample(&format!("{name}_bucket"), &[("le", "+Inf")], handshakes.done as f64);
    page.sample(&format!("{name}_sum"), &[], handshakes.took.as_secs_f64());
    page.sample(&format!("{name}_count"), &[], handshakes.done as f64);
    let name = "sterna_relay_tls_handshake_failures_total";
    page.family(name, "counter", "Handshakes of TLS and DTLS that came to nothing.");
    page.sample(name, &[("cause", "failed")], handshakes.failed as f64);
    page.sample(name, &[("cause", "timeout")], handshakes.late as f64);
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Values are written in full: `f64` holds every count below 2^53 exactly.
    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        let _ = writeln!(self.text, "{name}{labels} {value}");
    }

    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::acme::Renewals;
    use crate::relay::inquiry::Outcomes;

    #[test]
    fn every_line_is_one_that_prometheus_reads() {
        let beside = Beside {
            ready: true,
            running: Duration::from_millis(1500),
            inquiries: Outcomes::default().so_far().into(),
            renewals: Renewals::default().so_far().into(),
            certificate_until: Some(1_800_000_000),
        };
        let text = text(&Status::default(), &beside);
        let mut families = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["gauge", "counter", "histogram"].contains(&kind), "{line}");
                assert!(kind != "counter" || name.ends_with("_total"), "{line}");
                assert!(!families.contains(&name), "twice: {line}");
                families.push(name);
            } else if !line.starts_with("# HELP ") {
                let (series, value) = line.rsplit_once(' ').unwrap();
                value.parse::<f64>().unwrap();
                let name = series.split('{').next().unwrap();
                assert!(families.iter().any(|family| name.starts_with(family)), "no family: {line}");
            }
        }
        assert!(text.contains("sterna_uptime_seconds 1.5\n") && text.contains("sterna_ready 1\n"), "{text}");
        assert!(text.contains("sterna_relay_dropped_total{reason=\"malformed\"} 0\n"), "{text}");
        assert!(text.contains("sterna_relay_lost_total{reason=\"slow_reader\"} 0\n"), "{text}");
    }
}

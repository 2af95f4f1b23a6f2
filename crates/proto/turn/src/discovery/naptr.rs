//! S-NAPTR (RFC 3958) for the service `RELAY` (RFC 5928 §3).

use sansio::Transport;

use super::relay::{self, Found, Relay};
use super::{Look, MAX_STEPS, Question, Record, RecordKind};

/// How often one domain may send us to the next: in circles, if it likes.
const MAX_DEPTH: usize = 5;

/// A record that counts.
struct Rule<'a> {
    rank: (u16, u16),
    flags: &'a str,
    protocols: Vec<Transport>,
    replacement: &'a str,
}

impl Look<'_> {
    /// The relays of a domain (RFC 5928 §3, steps 4 and 5, without the last resort: a domain that has no record for relays
    /// has none, RFC 8155 §4.2).
    pub(super) fn resolved(&self, domain: &str) -> Vec<Relay> {
        // Asked for at once, lest they take another round trip.
        let services = self.services(domain);
        let Some(rules) = self.rules(domain) else { return Vec::new() };
        if rules.is_empty() {
            return services;
        }
        // "The order to try the application protocol tags is provided by the ranking of the first set of NAPTR records. If
        // multiple application protocol tags have the same ranking, the preferred order set by the application is used."
        let mut protocols: Vec<_> = self
            .config
            .transports
            .iter()
            .filter_map(|transport| {
                let ranks =
                    rules.iter().filter(|rule| rule.protocols.contains(transport)).map(|rule| rule.rank);
                Some((ranks.min()?, *transport))
            })
            .collect();
        protocols.sort_by_key(|(rank, _)| *rank);
        protocols.into_iter().flat_map(|(_, transport)| self.followed(domain, domain, transport, 0)).collect()
    }

    /// The relays for one transport that the rules of `name` lead to.
    fn followed(&self, name: &str, domain: &str, transport: Transport, depth: usize) -> Vec<Relay> {
        self.steps.set(self.steps.get() + 1);
        if depth == MAX_DEPTH || self.steps.get() > MAX_STEPS {
            return Vec::new();
        }
        let mut rules = self.rules(name).unwrap_or_default();
        rules.retain(|rule| rule.protocols.contains(&transport));
        let mut relays = Vec::new();
        for rule in rules {
            match rule.flags {
                "" => relays.extend(self.followed(rule.replacement, domain, transport, depth + 1)),
                flag if flag.eq_ignore_ascii_case("s") => {
                    relays.extend(self.servers(rule.replacement.to_owned(), transport, domain, Found::Dns));
                }
                flag if flag.eq_ignore_ascii_case("a") => {
                    let port = relay::default_port(transport);
                    relays.extend(Relay::new(rule.replacement, port, transport, domain, Found::Dns));
                }
                _ => {}
            }
        }
        relays
    }

    /// The rules at a name, in their order. `None`: not known yet.
    fn rules(&self, name: &str) -> Option<Vec<Rule<'_>>> {
        let records = self.ask(Question::dns(name, RecordKind::Naptr))?;
        let mut rules: Vec<Rule<'_>> = records.iter().filter_map(Rule::of).collect();
        rules.sort_by_key(|rule| rule.rank);
        Some(rules)
    }
}

impl<'a> Rule<'a> {
    fn of(record: &'a Record) -> Option<Self> {
        let Record::Naptr { order, preference, flags, services, regexp, replacement } = record else {
            return None;
        };
        let mut tags = services.split(':');
        // RFC 3958 §2.2.1: "the REGEXP field … is empty".
        if !tags.next()?.eq_ignore_ascii_case("RELAY") || !regexp.is_empty() {
            return None;
        }
        let protocol = |tag: &str| match tag.to_ascii_lowercase().as_str() {
            "turn.udp" => Some(Transport::Udp),
            "turn.tcp" => Some(Transport::Tcp),
            "turn.tls" => Some(Transport::Tls),
            _ => None,
        };
        let protocols: Vec<Transport> = tags.filter_map(protocol).collect();
        let replacement = replacement.trim_end_matches('.');
        (!protocols.is_empty() && !replacement.is_empty()).then_some(Self {
            rank: (*order, *preference),
            flags,
            protocols,
            replacement,
        })
    }
}

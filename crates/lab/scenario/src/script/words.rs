use std::time::Duration;

use super::plan::{Claim, Plan, Spotted, Target};
use super::quantity::seconds;

/// Says what a plan says.
pub(crate) struct Words<'p>(pub(crate) &'p Plan);

impl Words<'_> {
    pub(crate) fn claim(&self, claim: &Claim) -> String {
        let host = |host: usize| self.0.hosts[host].name.as_str();
        let before =
            |time: &Option<Duration>| time.map_or(String::new(), |time| format!(" before {}", seconds(time)));
        match claim {
            Claim::Connected { hosts: [a, b], within, at, path } => {
                let mut text = format!("{} and {} are connected", host(*a), host(*b));
                if let Some(way) = path {
                    text += &format!(" ({})", way.name());
                }
                if let Some(within) = within {
                    text += &format!(" within {}", seconds(*within));
                }
                if let Some(at) = at {
                    text += &format!(" at {}", seconds(*at));
                }
                text
            }
            Claim::Received { text, by, within } => {
                format!("{} receives “{text}”{}", host(*by), before(within))
            }
            Claim::Lost { text, at, because } => {
                let at = at.map_or(String::new(), |spotted| format!(" at {}", self.spotted(spotted)));
                let because = because.map_or(String::new(), |word| format!(" ({word})"));
                format!("“{text}” is lost{at}{because}")
            }
            Claim::Translated { text, to } => format!("“{text}” gets the source {}", self.target(*to)),
            Claim::Mapped { host: it, to } => {
                format!("STUN tells {} that it is {}", host(*it), self.target(*to))
            }
            Claim::Failed { host: it, because, within } => {
                let because = because.as_ref().map_or(String::new(), |code| format!(" ({code})"));
                format!("{} fails{}{because}", host(*it), before(within))
            }
        }
    }

    fn spotted(&self, spotted: Spotted) -> &str {
        match spotted {
            Spotted::Network(network) => &self.0.networks[network].name,
            Spotted::Host(host) => &self.0.hosts[host].name,
        }
    }

    fn target(&self, target: Target) -> String {
        match target {
            Target::Host(host) => self.0.hosts[host].name.clone(),
            Target::Mapped(host) => format!("{}.mapped", self.0.hosts[host].name),
            Target::Seen(host) => format!("{}.seen", self.0.hosts[host].name),
            Target::OneToOne(host) => format!("{}.outer", self.0.hosts[host].name),
            Target::Outer(network, port) => format!("{}:{port}", self.0.networks[network].name),
            Target::Literal(address) => address.to_string(),
        }
    }
}

//! The names that a file gives to networks and hosts, and what may be said with them.

use super::mistake::{Mistake, Source, either, nearest};
use super::plan::{Target, Wire};
use super::tree::Spot;

/// The network that is always there.
pub(crate) const INTERNET: &str = "internet";

/// All names of a file, in its order.
pub(crate) struct Names<'t> {
    pub(crate) source: &'t Source<'t>,
    pub(crate) networks: Vec<Spot<String>>,
    pub(crate) hosts: Vec<Spot<String>>,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    Network(usize),
    Host(usize),
}

impl<'t> Names<'t> {
    /// Complains about names that cannot be, or that stand for two things.
    pub(crate) fn check(&self) -> Result<(), Mistake> {
        let all: Vec<_> = self.networks.iter().chain(&self.hosts).collect();
        for (at, name) in all.iter().enumerate() {
            let letters = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            if name.value.is_empty() || !name.value.chars().all(letters) {
                let what = format!("`{}` cannot be a name", name.value);
                return Err(self.source.mistake(&name.span, what, "letters, digits, `-` and `_`"));
            }
            if name.value == INTERNET {
                let what = format!("`{INTERNET}` is there already");
                return Err(self.source.mistake(&name.span, what, "another name"));
            }
            if all[..at].iter().any(|other| other.value == name.value) {
                let what = format!("`{}` is a network already", name.value);
                return Err(self.source.mistake(
                    &name.span,
                    what,
                    "a name of its own for each network and each host",
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn network(&self, name: &Spot<String>) -> Result<Option<usize>, Mistake> {
        if name.value == INTERNET {
            return Ok(None);
        }
        let found = self.networks.iter().position(|network| network.value == name.value);
        found.map(Some).ok_or_else(|| {
            let known: Vec<&str> =
                std::iter::once(INTERNET).chain(self.networks.iter().map(|it| &*it.value)).collect();
            self.missing("network", name, &known)
        })
    }

    /// A network that has a box.
    pub(crate) fn boxed(&self, name: &Spot<String>) -> Result<usize, Mistake> {
        self.network(name)?.ok_or_else(|| {
            self.source.mistake(&name.span, "the internet is behind no box", "the name of a network")
        })
    }

    pub(crate) fn host(&self, name: &Spot<String>) -> Result<usize, Mistake> {
        let found = self.hosts.iter().position(|host| host.value == name.value);
        found.ok_or_else(|| {
            let known: Vec<&str> = self.hosts.iter().map(|it| &*it.value).collect();
            self.missing("host", name, &known)
        })
    }

    pub(crate) fn named(&self, name: &Spot<String>) -> Result<Named, Mistake> {
        if let Some(network) = self.networks.iter().position(|network| network.value == name.value) {
            return Ok(Named::Network(network));
        }
        if let Some(host) = self.hosts.iter().position(|host| host.value == name.value) {
            return Ok(Named::Host(host));
        }
        let known: Vec<&str> = self.networks.iter().chain(&self.hosts).map(|it| &*it.value).collect();
        Err(self.missing("network or host", name, &known))
    }

    fn missing(&self, kind: &str, name: &Spot<String>, known: &[&str]) -> Mistake {
        let expected = match (nearest(&name.value, known.iter().copied()), known) {
            (Some(best), _) => format!("`{best}`"),
            (None, []) => format!("a {kind} that the file describes; it describes none"),
            (None, _) => format!("{}, or a section that describes it", either(known.iter().copied())),
        };
        self.source.mistake(&name.span, format!("there is no {kind} `{}`", name.value), expected)
    }

    /// `home` (a network's uplink), `alice` (a host's link), `alice@wifi` (one of its links).
    pub(crate) fn wire(
        &self,
        name: &Spot<String>,
        networks_of: impl Fn(usize) -> Vec<Option<usize>>,
    ) -> Result<Wire, Mistake> {
        let Some((host, network)) = name.value.split_once('@') else {
            return match self.named(name)? {
                Named::Network(network) => Ok(Wire::Uplink(network)),
                Named::Host(host) => match *networks_of(host) {
                    [network] => Ok(Wire::Access(host, network)),
                    _ => {
                        let what = format!("`{}` has several links", name.value);
                        let expected = format!("`{}@NETWORK`", name.value);
                        Err(self.source.mistake(&name.span, what, expected))
                    }
                },
            };
        };
        let part = |text: &str| Spot { value: text.to_owned(), span: name.span.clone() };
        Ok(Wire::Access(self.host(&part(host))?, self.network(&part(network))?))
    }

    /// `guest`, `console.mapped`, `guest.seen`, `web.outer`, `home:80` or `5.0.0.7:80`.
    pub(crate) fn target(&self, name: &Spot<String>) -> Result<Target, Mistake> {
        let part = |text: &str| Spot { value: text.to_owned(), span: name.span.clone() };
        if let Some(socket) = super::tree::Item::is_socket(&name.value) {
            return Ok(Target::Literal(socket));
        }
        if let Some((network, port)) = name.value.split_once(':') {
            let port = port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
                self.source.mistake(
                    &name.span,
                    format!("`{port}` is no port"),
                    "a port from 1 to 65535 behind the colon",
                )
            })?;
            return Ok(Target::Outer(self.boxed(&part(network))?, port));
        }
        if let Some((host, word)) = name.value.split_once('.') {
            let host = self.host(&part(host))?;
            return match word {
                "mapped" => Ok(Target::Mapped(host)),
                "seen" => Ok(Target::Seen(host)),
                "outer" => Ok(Target::OneToOne(host)),
                _ => {
                    let what = format!("a host has no `{word}`");
                    let expected = "`mapped` (what STUN told it), `seen` (where it was last heard from) or `outer` (its address one to one)";
                    Err(self.source.mistake(&name.span, what, expected))
                }
            };
        }
        Ok(Target::Host(self.host(name)?))
    }
}

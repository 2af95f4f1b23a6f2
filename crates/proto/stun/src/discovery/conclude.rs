//! What the answers, and the silence, mean.

use std::net::SocketAddr;

use super::probe::{Probe, Purpose, Silence};
use super::report::{Aspect, Behaviour, Doubt, Lifetime, NatReport, ServerOutcome, ServerReport, Why};
use super::{Discovery, SILENT, SLEEPERS};

impl Discovery {
    /// Whether a server sees another address than we have.
    pub(super) fn is_translated(&self, server: SocketAddr) -> Option<bool> {
        let index = self.config.servers.iter().position(|known| *known == server)?;
        let answer = self.find(Purpose::Ask(index))?.answer.as_ref()?;
        Some(answer.mapped.ok()? != answer.from.local)
    }

    pub(super) fn mapped_by(&self, server: SocketAddr) -> Option<SocketAddr> {
        let index = self.config.servers.iter().position(|known| *known == server)?;
        self.mapped(Purpose::Ask(index))
    }

    /// What is known by now.
    pub(super) fn conclude(&self) -> NatReport {
        let mut report = self.report.clone();
        report.servers = self.server_reports();
        report.server = self.pair.map(|(server, _)| server);
        report.mapped = self.contact.and_then(|contact| self.mapped_by(contact));
        let answered = self.probes.iter().any(|probe| probe.answer.is_some());
        report.nat.udp = (!self.probes.is_empty()).then_some(answered);
        self.conclude_mapping(&mut report);
        self.conclude_filtering(&mut report);
        self.conclude_preservation(&mut report);
        self.conclude_hairpin(&mut report);
        self.conclude_fragments(&mut report);
        self.conclude_lifetime(&mut report);
        let mut agreements = self.probes.iter().filter_map(|probe| probe.answer.as_ref()?.agree).peekable();
        report.rewrites = agreements.peek().is_some().then(|| agreements.any(|agree| !agree));
        report.nat.mapped = report.observations.iter().map(|seen| seen.mapped).collect();
        report.nat.mapped.sort();
        report.nat.mapped.dedup();
        report
    }

    fn server_reports(&self) -> Vec<ServerReport> {
        let servers = self.config.servers.iter().enumerate();
        servers
            .map(|(index, &address)| {
                let probe = self.find(Purpose::Ask(index));
                let answer = probe.and_then(|probe| probe.answer.as_ref());
                ServerReport {
                    address,
                    outcome: match (answer, probe) {
                        (Some(answer), _) => {
                            answer.mapped.map_or_else(ServerOutcome::Refused, ServerOutcome::Mapped)
                        }
                        (None, Some(probe)) if probe.ended() => ServerOutcome::Silent,
                        _ => ServerOutcome::Pending,
                    },
                    rtt: probe.and_then(|probe| probe.rtt),
                    other: answer.and_then(|answer| answer.other),
                    software: answer.and_then(|answer| answer.software.clone()),
                }
            })
            .collect()
    }

    /// What the one socket looked like from different places.
    fn conclude_mapping(&self, report: &mut NatReport) {
        let places: Vec<(SocketAddr, SocketAddr)> = self
            .probes
            .iter()
            .filter(|probe| match probe.purpose {
                Purpose::Ask(_) => true,
                purpose => {
                    matches!(purpose, Purpose::OtherAddress | Purpose::OtherBoth | Purpose::OtherPort)
                }
            })
            .filter_map(|probe| Some((probe.path.remote, probe.answer.as_ref()?.mapped.ok()?)))
            .collect();
        let local = self.probes.iter().find_map(|probe| match probe.purpose {
            Purpose::Ask(_) => Some(probe.answer.as_ref()?.from.local),
            _ => None,
        });
        report.mapping_varies = varies(&places);
        let why = match local {
            None => Why::NoAnswer,
            Some(local) => match mapping(local, &places) {
                Ok(mapping) => {
                    report.nat.mapping = mapping;
                    return;
                }
                Err(Why::OneAddress) => match self.pair {
                    Some((_, other)) => Why::OtherAddressSilent(other),
                    None => Why::OneAddress,
                },
                Err(why) => why,
            },
        };
        report.doubts.push(Doubt { about: Aspect::Mapping, why });
    }

    fn conclude_filtering(&self, report: &mut NatReport) {
        match self.filtering(report.nat.mapping) {
            Ok(filtering) => report.nat.filtering = filtering,
            Err(why) => report.doubts.push(Doubt { about: Aspect::Filtering, why }),
        }
    }

    fn filtering(&self, mapping: Behaviour) -> Result<Behaviour, Why> {
        let contact = self.contact.ok_or(Why::NoAnswer)?;
        if mapping == Behaviour::None && self.is_open() {
            return Ok(Behaviour::None);
        }
        let (_, other) = self.pair.ok_or(Why::NoSecondAddress)?;
        let other_port = SocketAddr::new(self.pair.map_or(contact, |(server, _)| server).ip(), other.port());
        if self.came_from(Purpose::ChangeBoth, other)? {
            return Ok(Behaviour::EndpointIndependent);
        }
        let both = self.silence(Purpose::ChangeBoth, Purpose::OtherBoth).unwrap_or(Silence::Open);
        if both != Silence::Certain {
            return Err(self.unheard(Purpose::OtherBoth, other));
        }
        if self.came_from(Purpose::ChangePort, other_port)? {
            return Ok(Behaviour::AddressDependent);
        }
        match self.silence(Purpose::ChangePort, Purpose::OtherPort) {
            Some(Silence::Certain) => Ok(Behaviour::AddressAndPortDependent),
            _ => Err(self.unheard(Purpose::OtherPort, other_port)),
        }
    }

    /// Whether a socket that never sent anything has received something.
    fn is_open(&self) -> bool {
        let answer = self.find(Purpose::Unsolicited).and_then(|probe| probe.answer.as_ref());
        let silent = self.sockets.get(SILENT).copied().flatten();
        answer.is_some_and(|answer| {
            answer.mapped.is_ok() && Some(answer.from.local.port()) == silent.map(|local| local.port())
        })
    }

    /// Whether an answer came from where it was asked to come from.
    fn came_from(&self, purpose: Purpose, expected: SocketAddr) -> Result<bool, Why> {
        match self.find(purpose).and_then(|probe| probe.answer.as_ref()) {
            None => Ok(false),
            Some(answer) => match answer.mapped {
                Err(code) => Err(Why::Refused(code)),
                Ok(_) if answer.from.remote == expected => Ok(true),
                Ok(_) => Err(Why::WrongOrigin),
            },
        }
    }

    /// Why the silence of a test says nothing.
    fn unheard(&self, control: Purpose, place: SocketAddr) -> Why {
        if self.heard(control) { Why::Loss } else { Why::OtherAddressSilent(place) }
    }

    /// The ports of the two sockets that asked the same server first of all.
    fn conclude_preservation(&self, report: &mut NatReport) {
        let first = |probe: &&Probe| matches!(probe.purpose, Purpose::Ask(_) | Purpose::Introduce);
        let ports: Vec<bool> = self
            .probes
            .iter()
            .filter(first)
            .filter_map(|probe| {
                let answer = probe.answer.as_ref()?;
                Some(answer.mapped.ok()?.port() == answer.from.local.port())
            })
            .collect();
        // A port that is taken is not preserved by those who preserve ports; one that is kept is no chance.
        report.nat.preserves_port = (!ports.is_empty()).then(|| ports.contains(&true));
        if ports.is_empty() {
            report.doubts.push(Doubt { about: Aspect::PortPreservation, why: Why::NoAnswer });
        }
    }

    fn conclude_hairpin(&self, report: &mut NatReport) {
        if !self.config.hairpin {
            return;
        }
        let tests = [Purpose::Hairpin(0), Purpose::Hairpin(1)];
        let why = if tests.iter().any(|test| self.heard(*test)) {
            report.nat.hairpin = Some(true);
            return;
        } else if report.nat.mapping == Behaviour::None {
            Why::NoNat
        } else if self.contact.is_none() {
            Why::NoAnswer
        } else if tests
            .iter()
            .any(|test| self.silence(*test, Purpose::Introduce).is_none_or(|it| it != Silence::Certain))
        {
            Why::Loss
        } else if report.nat.mapping == Behaviour::EndpointIndependent
            || report.nat.filtering == Behaviour::EndpointIndependent
        {
            report.nat.hairpin = Some(false);
            return;
        } else {
            // The outer address towards the other socket is another one, which nobody tells us and none may send to.
            Why::Hidden
        };
        report.doubts.push(Doubt { about: Aspect::Hairpin, why });
    }

    fn conclude_fragments(&self, report: &mut NatReport) {
        let Some(bytes) = self.config.fragments else { return };
        let probe = self.find(Purpose::Fragments);
        let why = match probe.and_then(|probe| probe.answer.as_ref()) {
            Some(answer) => match answer.mapped {
                Err(code) => Why::Refused(code),
                // A short answer shows that one way works.
                Ok(_) if answer.length < bytes => Why::ShortAnswer,
                Ok(_) => {
                    report.fragments = Some(true);
                    return;
                }
            },
            None if probe.is_none() => Why::NoAnswer,
            None => match self.silence(Purpose::Fragments, Purpose::Introduce) {
                Some(Silence::Certain) => {
                    report.fragments = Some(false);
                    return;
                }
                _ => Why::Loss,
            },
        };
        report.doubts.push(Doubt { about: Aspect::Fragments, why });
    }

    fn conclude_lifetime(&self, report: &mut NatReport) {
        if self.config.lifetime.is_none() {
            return;
        }
        match self.lifetime() {
            Ok(lifetime) => report.nat.lifetime = Some(lifetime),
            Err(why) => report.doubts.push(Doubt { about: Aspect::Lifetime, why }),
        }
    }

    fn lifetime(&self) -> Result<Lifetime, Why> {
        self.contact.ok_or(Why::NoAnswer)?;
        let partner = self.mapped(Purpose::Introduce).ok_or(Why::Loss)?;
        let mut lifetime: Option<Lifetime> = None;
        for (index, sleeper) in self.sleepers.iter().enumerate() {
            let slept = self.mapped(Purpose::Sleep(index)).ok_or(Why::Loss)?;
            if slept.ip() != partner.ip() {
                // The answer goes to the address of who asks for it; the mapping is on another.
                return Err(Why::Hidden);
            }
            let probe = self.find(Purpose::Rouse(index)).ok_or(Why::Loss)?;
            let bed = self.sockets.get(SLEEPERS + index).copied().flatten().map(|local| local.port());
            let roused = match &probe.answer {
                Some(answer) => {
                    answer.mapped.map_err(Why::Refused)?;
                    Some(answer.from.local.port()) == bed
                }
                None => false,
            };
            let arrived_elsewhere = probe.answer.is_some() && !roused;
            match (&mut lifetime, roused) {
                (None, true) => lifetime = Some(Lifetime { alive_after: sleeper.rest, gone_after: None }),
                // Not even without a rest.
                (None, false) if arrived_elsewhere => return Err(Why::WrongOrigin),
                (None, false) => return Err(Why::Hidden),
                (Some(lifetime), true) if lifetime.gone_after.is_none() => {
                    lifetime.alive_after = sleeper.rest
                }
                (Some(_), true) => return Err(Why::Contradiction),
                (Some(lifetime), false) => {
                    let certain = self.silence(Purpose::Rouse(index), Purpose::Rouse(0));
                    if !arrived_elsewhere && certain != Some(Silence::Certain) {
                        return Err(Why::Loss);
                    }
                    lifetime.gone_after.get_or_insert(sleeper.rest);
                }
            }
        }
        lifetime.ok_or(Why::NoAnswer)
    }
}

/// Whether a socket looks different from different places; `None` if there is only one.
fn varies(places: &[(SocketAddr, SocketAddr)]) -> Option<bool> {
    let (first, rest) = places.split_first()?;
    (!rest.is_empty()).then(|| rest.iter().any(|place| place.1 != first.1))
}

/// What follows from how a socket looks from different places (RFC 5780 §4.3).
fn mapping(local: SocketAddr, places: &[(SocketAddr, SocketAddr)]) -> Result<Behaviour, Why> {
    if places.iter().all(|(_, mapped)| *mapped == local) {
        return if places.is_empty() { Err(Why::NoAnswer) } else { Ok(Behaviour::None) };
    }
    let pairs = || {
        places.iter().enumerate().flat_map(|(index, one)| places[..index].iter().map(move |two| (one, two)))
    };
    let of_one_address = || pairs().filter(|(one, two)| one.0.ip() == two.0.ip());
    let mut of_two_addresses = pairs().filter(|(one, two)| one.0.ip() != two.0.ip()).peekable();
    if of_one_address().any(|(one, two)| one.1 != two.1) {
        return Ok(Behaviour::AddressAndPortDependent);
    }
    if of_two_addresses.peek().is_none() {
        return Err(Why::OneAddress);
    }
    if of_two_addresses.all(|(one, two)| one.1 == two.1) {
        return Ok(Behaviour::EndpointIndependent);
    }
    if of_one_address().next().is_some() {
        return Ok(Behaviour::AddressDependent);
    }
    Err(Why::NoSecondPort)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn judge(places: &[(&str, &str)]) -> Result<Behaviour, Why> {
        let places: Vec<_> = places.iter().map(|(server, mapped)| (at(server), at(mapped))).collect();
        mapping(at("10.0.0.2:4000"), &places)
    }

    #[test]
    fn what_each_set_of_places_tells() {
        use Behaviour::*;
        let (a, b) = ("198.51.100.1:3478", "198.51.100.2:3478");
        assert_eq!(judge(&[]), Err(Why::NoAnswer));
        assert_eq!(judge(&[(a, "10.0.0.2:4000"), (b, "10.0.0.2:4000")]), Ok(None));
        assert_eq!(judge(&[(a, "192.0.2.1:5")]), Err(Why::OneAddress));
        assert_eq!(judge(&[(a, "192.0.2.1:5"), ("198.51.100.1:9", "192.0.2.1:5")]), Err(Why::OneAddress));
        assert_eq!(judge(&[(a, "192.0.2.1:5"), (b, "192.0.2.1:5")]), Ok(EndpointIndependent));
        assert_eq!(judge(&[(a, "192.0.2.1:5"), (b, "192.0.2.1:6")]), Err(Why::NoSecondPort));
        // The port is preserved by chance, the address is not.
        assert_eq!(judge(&[(a, "10.0.0.2:4000"), (b, "192.0.2.1:6")]), Err(Why::NoSecondPort));
        let second_port = ("198.51.100.2:9", "192.0.2.1:6");
        assert_eq!(judge(&[(a, "192.0.2.1:5"), (b, "192.0.2.1:6"), second_port]), Ok(AddressDependent));
        let second_port = ("198.51.100.2:9", "192.0.2.1:7");
        assert_eq!(
            judge(&[(a, "192.0.2.1:5"), (b, "192.0.2.1:6"), second_port]),
            Ok(AddressAndPortDependent)
        );
    }
}

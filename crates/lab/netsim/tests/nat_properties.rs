//! The translator against a model that is too simple to be wrong: a list that is searched from end to end.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use sansio::{Path, Time};
use sterna_netsim::{Content, Dependence, Nat, NatBehaviour, Pooling, PortAssignment, Refusal, Translator};

use Dependence::{AddressAndPortDependent, AddressDependent, EndpointIndependent};

struct Mapping {
    local: SocketAddr,
    /// For whom it was made.
    remote: SocketAddr,
    outer: SocketAddr,
    expires: u64,
    answered: bool,
    /// To whom something was sent, and until when that counts.
    sent: Vec<(SocketAddr, u64)>,
}

struct Model {
    behaviour: NatBehaviour,
    mappings: Vec<Mapping>,
}

fn same(dependence: Dependence, a: SocketAddr, b: SocketAddr) -> bool {
    match dependence {
        EndpointIndependent => true,
        AddressDependent => a.ip() == b.ip(),
        AddressAndPortDependent => a == b,
    }
}

impl Model {
    fn timeout(&self, answered: bool) -> u64 {
        let of = |duration: Duration| duration.as_secs();
        if answered { of(self.behaviour.udp_timeout) } else { of(self.behaviour.udp_unanswered_timeout) }
    }

    /// Checks where a packet left from, and remembers it.
    fn outbound(&mut self, now: u64, path: Path, outer: SocketAddr) -> Result<(), TestCaseError> {
        let mapping = self.behaviour.mapping.unwrap();
        let live: Vec<_> = self.mappings.iter().filter(|it| it.expires > now).collect();
        let known = live.iter().find(|it| it.local == path.local && same(mapping, it.remote, path.remote));
        match known {
            Some(known) => prop_assert_eq!(known.outer, outer, "a live mapping is used again"),
            None => {
                let overloads = self.behaviour.ports == PortAssignment::Overloading;
                let clash = live.iter().find(|it| {
                    it.outer == outer
                        && (!overloads
                            || mapping != EndpointIndependent && same(mapping, it.remote, path.remote))
                });
                prop_assert!(clash.is_none(), "an outer port has one user");
                let keeps = matches!(self.behaviour.ports, PortAssignment::Preserving);
                if keeps && !live.iter().any(|it| it.outer.port() == path.local.port()) {
                    prop_assert_eq!(outer.port(), path.local.port());
                }
                let (local, remote, sent) = (path.local, path.remote, Vec::new());
                self.mappings.push(Mapping { local, remote, outer, expires: now, answered: false, sent });
            }
        }
        let timeouts = [false, true].map(|answered| self.timeout(answered));
        let used =
            self.mappings.iter_mut().rev().find(|it| {
                it.outer == outer && it.local == path.local && same(mapping, it.remote, path.remote)
            });
        let used = used.expect("it is there or was just added");
        let until = now + timeouts[usize::from(used.answered)];
        used.expires = used.expires.max(until);
        used.sent.retain(|(remote, _)| *remote != path.remote);
        used.sent.push((path.remote, until));
        Ok(())
    }

    /// Where a packet from outside must end up. Overloaded ports are left out: several may be right.
    fn inbound(&mut self, now: u64, outer: SocketAddr, remote: SocketAddr) -> Result<SocketAddr, Refusal> {
        let (behaviour, long) = (self.behaviour, self.timeout(true));
        let live = self.mappings.iter_mut().find(|it| it.outer == outer && it.expires > now);
        let mapping = live.ok_or(Refusal::NoMapping)?;
        let filtering = behaviour.filtering.unwrap();
        let counts = |it: &(SocketAddr, u64)| it.1 > now && same(filtering, it.0, remote);
        if filtering != EndpointIndependent && !mapping.sent.iter().any(counts) {
            return Err(Refusal::Filtered);
        }
        mapping.answered = true;
        if behaviour.refreshed_by_inbound {
            mapping.expires = mapping.expires.max(now + long);
            // The very remote end if something was sent there, otherwise the first of that address that lets it in.
            let exact = mapping.sent.iter().position(|it| it.0 == remote && it.1 > now);
            let mut others: Vec<_> = (0..mapping.sent.len())
                .filter(|&n| filtering == AddressDependent && counts(&mapping.sent[n]))
                .collect();
            others.sort_by_key(|&n| mapping.sent[n].0);
            if let Some(n) = exact.or(others.first().copied()) {
                mapping.sent[n].1 = now + long;
            }
        }
        Ok(mapping.local)
    }
}

#[derive(Clone, Debug)]
enum Step {
    Out { local: (u8, u8), remote: (u8, u8) },
    In { of: prop::sample::Index, remote: (u8, u8) },
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let ends = || (0..4_u8, 0..3_u8);
    prop_oneof![
        4 => (ends(), ends()).prop_map(|(local, remote)| Step::Out { local, remote }),
        4 => (any::<prop::sample::Index>(), ends()).prop_map(|(of, remote)| Step::In { of, remote }),
        1 => (1..80_u64).prop_map(Step::Wait),
    ]
}

fn behaviour() -> impl Strategy<Value = NatBehaviour> {
    let dependence =
        || prop::sample::select(vec![EndpointIndependent, AddressDependent, AddressAndPortDependent]);
    let ports = prop::sample::select(vec![
        PortAssignment::Preserving,
        PortAssignment::Overloading,
        PortAssignment::Sequential,
        PortAssignment::Random,
        PortAssignment::Parity,
        PortAssignment::Contiguous,
    ]);
    let pooling = prop::sample::select(vec![Pooling::Paired, Pooling::Arbitrary]);
    (dependence(), dependence(), ports, pooling, any::<bool>(), 10..100_u64).prop_map(
        |(mapping, filtering, ports, pooling, refreshed_by_inbound, unanswered)| NatBehaviour {
            mapping: Some(mapping),
            filtering: Some(filtering),
            ports,
            pooling,
            refreshed_by_inbound,
            udp_timeout: Duration::from_secs(100),
            udp_unanswered_timeout: Duration::from_secs(unanswered),
            ..NatBehaviour::port_restricted()
        },
    )
}

fn socket(network: u8, (host, port): (u8, u8)) -> SocketAddr {
    ([network, 0, 0, host], 5000 + u16::from(port)).into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_translator_does_what_the_model_does(
        behaviour in behaviour(),
        pool in 1..4_usize,
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let external = &[[5, 0, 0, 1].into(), [5, 0, 0, 2].into(), [5, 0, 0, 3].into()][..pool];
        let mut nat = Translator::new(behaviour, external, 1.into());
        let mut model = Model { behaviour, mappings: Vec::new() };
        let mut outers = vec![SocketAddr::new(external[0], 5000)];
        let mut now = 0;
        for step in steps {
            let time = Time::ZERO + Duration::from_secs(now);
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Out { local, remote } => {
                    let path = Path::udp(socket(10, local), socket(6, remote));
                    let outer = nat.outbound(time, path, Content::Datagram).expect("there are ports enough");
                    prop_assert_eq!(outer.remote, path.remote);
                    prop_assert!(external.contains(&outer.local.ip()));
                    model.outbound(now, path, outer.local)?;
                    outers.push(outer.local);
                }
                Step::In { of, remote } if behaviour.ports != PortAssignment::Overloading => {
                    let path = Path::udp(*of.get(&outers), socket(6, remote));
                    let got = nat.inbound(time, path, Content::Datagram).map(|path| path.local);
                    prop_assert_eq!(got, model.inbound(now, path.local, path.remote));
                }
                Step::In { .. } => {}
            }
            let live = model.mappings.iter().filter(|it| it.expires > now).count();
            prop_assert_eq!(nat.bindings(Time::ZERO + Duration::from_secs(now)).len(), live);
        }
    }
}

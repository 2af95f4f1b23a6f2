use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;
use std::net::{IpAddr, SocketAddr};

use sansio::Time;

use super::Dependence;
use crate::content::Traffic;
use crate::digest::Fnv;

/// Fast, and the same on every machine. Nothing depends on the order of what is in it.
type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fnv>>;

/// What makes a packet from inside use one mapping and not another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct InsideKey {
    pub(crate) traffic: Traffic,
    pub(crate) local: SocketAddr,
    pub(crate) remote: Remote,
}

/// The part of a remote address that matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Remote {
    Any,
    Address(IpAddr),
    Socket(SocketAddr),
}

impl Remote {
    pub(crate) fn new(dependence: Dependence, remote: SocketAddr) -> Self {
        match dependence {
            Dependence::EndpointIndependent => Self::Any,
            Dependence::AddressDependent => Self::Address(remote.ip()),
            Dependence::AddressAndPortDependent => Self::Socket(remote),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Mapping {
    pub(crate) key: InsideKey,
    pub(crate) outer: SocketAddr,
    pub(crate) expires: Time,
    /// Whether anything has come in.
    pub(crate) answered: bool,
    /// Whether its stream is ending.
    pub(crate) closing: bool,
    pub(crate) used: Time,
    /// Whom packets were sent to, and until when that counts.
    sessions: BTreeMap<SocketAddr, Time>,
}

impl Mapping {
    /// Remembers that something was sent there; says whether that is new.
    pub(crate) fn sent_to(&mut self, remote: SocketAddr, until: Time) -> bool {
        self.sessions.insert(remote, until).is_none()
    }

    /// The remote end whose session lets a packet from `remote` in; `Ok(None)`: it needs none.
    pub(crate) fn admits(
        &self,
        now: Time,
        filtering: Dependence,
        remote: SocketAddr,
    ) -> Option<Option<SocketAddr>> {
        if self.sessions.get(&remote).is_some_and(|until| *until > now) {
            return Some(Some(remote));
        }
        match filtering {
            Dependence::EndpointIndependent => Some(None),
            Dependence::AddressDependent => {
                let [first, last] = [0, u16::MAX].map(|port| SocketAddr::new(remote.ip(), port));
                let mut same = self.sessions.range(first..=last);
                same.find(|(_, until)| **until > now).map(|(remote, _)| Some(*remote))
            }
            Dependence::AddressAndPortDependent => None,
        }
    }
}

/// The mappings of a box, found from both sides.
#[derive(Debug, Default)]
pub(crate) struct Table {
    mappings: Vec<Option<Mapping>>,
    free: Vec<u32>,
    inside: Map<InsideKey, u32>,
    /// Several only where ports are overloaded.
    outside: Map<(Traffic, SocketAddr), Vec<u32>>,
}

impl Table {
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The mapping that a packet from inside uses, if it is alive.
    pub(crate) fn find(&mut self, now: Time, key: &InsideKey) -> Option<u32> {
        let id = *self.inside.get(key)?;
        if self.get(id).expires > now {
            return Some(id);
        }
        self.forget(id);
        None
    }

    pub(crate) fn peek(&self, now: Time, key: &InsideKey) -> Option<&Mapping> {
        self.inside.get(key).map(|&id| self.get(id)).filter(|mapping| mapping.expires > now)
    }

    /// The live mappings at an outer address.
    pub(crate) fn at(
        &self,
        now: Time,
        traffic: Traffic,
        outer: SocketAddr,
    ) -> impl Iterator<Item = u32> + '_ {
        let ids = self.outside.get(&(traffic, outer)).into_iter().flatten().copied();
        ids.filter(move |&id| self.get(id).expires > now)
    }

    /// Adds a mapping that is not in use yet; dead ones at its place go.
    pub(crate) fn add(&mut self, now: Time, key: InsideKey, outer: SocketAddr) -> u32 {
        let dead: Vec<u32> = self.outside.get(&(key.traffic, outer)).map_or(Vec::new(), |ids| {
            ids.iter().copied().filter(|&id| self.get(id).expires <= now).collect()
        });
        for id in dead {
            self.forget(id);
        }
        let mapping = Mapping {
            key,
            outer,
            expires: now,
            answered: false,
            closing: false,
            used: now,
            sessions: BTreeMap::new(),
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.mappings[id as usize] = Some(mapping);
                id
            }
            None => {
                self.mappings.push(Some(mapping));
                u32::try_from(self.mappings.len() - 1).expect("a box has fewer than 2^32 mappings")
            }
        };
        self.inside.insert(key, id);
        self.outside.entry((key.traffic, outer)).or_default().push(id);
        id
    }

    pub(crate) fn get(&self, id: u32) -> &Mapping {
        self.mappings[id as usize].as_ref().expect("an id is of a mapping that is there")
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> &mut Mapping {
        self.mappings[id as usize].as_mut().expect("an id is of a mapping that is there")
    }

    fn forget(&mut self, id: u32) {
        let Some(mapping) = self.mappings[id as usize].take() else { return };
        self.free.push(id);
        self.inside.remove(&mapping.key);
        let place = (mapping.key.traffic, mapping.outer);
        if let Some(ids) = self.outside.get_mut(&place) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.outside.remove(&place);
            }
        }
    }

    /// Forgets all that is dead.
    pub(crate) fn sweep(&mut self, now: Time) {
        for id in 0..self.mappings.len() {
            match &mut self.mappings[id] {
                Some(mapping) if mapping.expires <= now => self.forget(id as u32),
                Some(mapping) => mapping.sessions.retain(|_, until| *until > now),
                None => {}
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter().flatten()
    }
}

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

use sansio::{KeyedHash, Path, Rng};
use turn::Permit;

use crate::mail::Room;

/// Whom the machine knows, as far as one aide is told: what they send is not drowned by what others do.
pub(crate) struct Guests {
    /// Who has an allocation, whichever shard he sends to.
    clients: HashSet<Path, KeyedHash>,
    /// The relayed addresses that this aide receives at.
    relayed: HashSet<SocketAddr, KeyedHash>,
    /// Who may send there, and by how many permissions: at a port that allocations share there may be several.
    peers: HashMap<(SocketAddr, IpAddr), u32, KeyedHash>,
}

impl Guests {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let hash = KeyedHash::new(rng);
        Self {
            clients: HashSet::with_hasher(hash.clone()),
            relayed: HashSet::with_hasher(hash.clone()),
            peers: HashMap::with_hasher(hash),
        }
    }

    /// Where in the mail what came by `path` has room. `None`: nowhere, for the machine lets in nothing that he sends.
    pub(crate) fn room(&self, path: &Path) -> Option<Room> {
        if self.relayed.contains(&path.local) {
            return self.peers.contains_key(&(path.local, path.remote.ip())).then_some(Room::Peers);
        }
        Some(if self.clients.contains(path) { Room::Clients } else { Room::Strangers })
    }

    /// Who sends from there has an allocation, or has one no longer.
    pub(crate) fn client(&mut self, path: Path, has: bool) {
        if has {
            self.clients.insert(path);
        } else {
            self.clients.remove(&path);
        }
    }

    /// This aide receives what comes to a relayed address, or does no longer.
    pub(crate) fn relayed(&mut self, local: SocketAddr, receives: bool) {
        if receives {
            self.relayed.insert(local);
        } else {
            self.relayed.remove(&local);
        }
    }

    /// A permission came or went.
    pub(crate) fn permit(&mut self, Permit { local, peer, given }: Permit) {
        // All aides are told, and one receives there.
        if given && self.relayed.contains(&local) {
            *self.peers.entry((local, peer)).or_default() += 1;
        }
        if !given && let Some(permissions) = self.peers.get_mut(&(local, peer)) {
            *permissions -= 1;
            if *permissions == 0 {
                self.peers.remove(&(local, peer));
            }
        }
    }

    /// How much stands in each of its tables.
    #[cfg(test)]
    pub(crate) fn tables(&self) -> Vec<(&'static str, usize)> {
        vec![
            ("clients", self.clients.len()),
            ("relayed addresses", self.relayed.len()),
            ("peers with a permission", self.peers.len()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use sansio::Seed;

    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn guests() -> Guests {
        Guests::new(&mut Rng::new(Seed::from(1)))
    }

    #[test]
    fn a_peer_comes_in_where_somebody_wants_him_from_any_port_until_nobody_does() {
        let mut guests = guests();
        let (local, elsewhere) = (at("192.0.2.1:50000"), at("192.0.2.1:50001"));
        let permit = |local, given| Permit { local, peer: [203, 0, 113, 9].into(), given };
        let room = |guests: &Guests, local| guests.room(&Path::udp(local, at("203.0.113.9:1234")));
        guests.permit(permit(local, true));
        assert_eq!(room(&guests, local), Some(Room::Strangers), "what is received there is no peer's");
        assert!(guests.peers.is_empty(), "that is for the aide who receives there");
        guests.relayed(local, true);
        guests.relayed(elsewhere, true);
        assert_eq!(room(&guests, local), None);
        guests.permit(permit(local, true));
        guests.permit(permit(local, true));
        guests.permit(permit(local, false));
        assert_eq!((room(&guests, local), room(&guests, elsewhere)), (Some(Room::Peers), None));
        assert_eq!(guests.room(&Path::udp(local, at("203.0.113.10:1234"))), None);
        guests.permit(permit(local, false));
        assert_eq!(room(&guests, local), None);
        guests.permit(permit(local, false));
        assert!(guests.peers.is_empty());
    }

    #[test]
    fn an_address_that_is_taken_again_has_the_peers_of_its_last_owner_alone() {
        let mut guests = guests();
        let local = at("192.0.2.1:50000");
        let permit = |last, given| Permit { local, peer: [203, 0, 113, last].into(), given };
        let room = |guests: &Guests, last| guests.room(&Path::udp(local, ([203, 0, 113, last], 9).into()));
        guests.relayed(local, true);
        guests.permit(permit(1, true));
        // Its socket is closed and opened before the end of the permission is told.
        guests.relayed(local, false);
        guests.relayed(local, true);
        guests.permit(permit(1, false));
        guests.permit(permit(2, true));
        assert_eq!((room(&guests, 1), room(&guests, 2)), (None, Some(Room::Peers)));
    }
}

use std::collections::HashMap;

use ice::Proof;
use sansio::{KeyedHash, Path, Rng};

/// Paths of one connection. Of more, the one that was heard of least recently gives way.
const MAX_PATHS: usize = 8;

/// Whose the paths are.
pub(super) struct Claims {
    by_path: HashMap<Path, Claim, KeyedHash>,
    /// The paths of each connection, the latest last.
    of: Vec<Vec<Path>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Claim {
    owner: u32,
    /// The other side has answered from there. Otherwise it may have written a foreign sender on its check.
    answered: bool,
}

impl Claims {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self { by_path: HashMap::with_hasher(KeyedHash::new(rng)), of: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.by_path.len()
    }

    /// Whose the path is.
    pub(super) fn owner(&self, path: &Path) -> Option<u32> {
        self.by_path.get(path).map(|claim| claim.owner)
    }

    /// Whether all that comes by this path is this connection's.
    pub(super) fn is_home(&self, number: u32, path: &Path) -> bool {
        self.by_path.get(path) == Some(&Claim { owner: number, answered: true })
    }

    /// A packet for this connection has shown something of its path.
    pub(super) fn prove(&mut self, number: u32, proof: Proof) {
        let (path, answered) = match proof {
            Proof::Authenticated(path) => (path, false),
            Proof::Answered(path) => (path, true),
        };
        match self.by_path.get(&path) {
            Some(claim) if claim.owner == number && (claim.answered || !answered) => {
                return self.renew(number, path);
            }
            // Somebody else has shown that he is there; he has not.
            Some(claim) if claim.owner != number && claim.answered && !answered => return,
            Some(claim) if claim.owner != number => {
                let owner = claim.owner as usize;
                self.of[owner].retain(|other| *other != path);
            }
            _ => {}
        }
        self.by_path.insert(path, Claim { owner: number, answered });
        self.renew(number, path);
    }

    /// Makes a path the latest of its owner.
    fn renew(&mut self, number: u32, path: Path) {
        if self.of.len() <= number as usize {
            self.of.resize_with(number as usize + 1, Vec::new);
        }
        let paths = &mut self.of[number as usize];
        if paths.last() == Some(&path) {
            return;
        }
        paths.retain(|other| *other != path);
        if paths.len() >= MAX_PATHS {
            self.by_path.remove(&paths.remove(0));
        }
        paths.reserve_exact(1);
        paths.push(path);
    }

    /// A connection is gone.
    pub(super) fn release(&mut self, number: u32) {
        let Some(paths) = self.of.get_mut(number as usize) else { return };
        for path in std::mem::take(paths) {
            self.by_path.remove(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use sansio::Seed;

    use super::*;

    fn path(port: u16) -> Path {
        Path::udp("192.0.2.1:3478".parse().unwrap(), ([198, 51, 100, 7], port).into())
    }

    fn claims() -> Claims {
        Claims::new(&mut Rng::new(Seed::from(1)))
    }

    #[test]
    fn only_an_answer_takes_a_path_away_from_who_has_answered() {
        let mut claims = claims();
        claims.prove(1, Proof::Authenticated(path(1)));
        assert_eq!((claims.owner(&path(1)), claims.is_home(1, &path(1))), (Some(1), false));
        claims.prove(2, Proof::Authenticated(path(1)));
        assert_eq!(claims.owner(&path(1)), Some(2), "neither has answered");
        claims.prove(1, Proof::Answered(path(1)));
        claims.prove(2, Proof::Authenticated(path(1)));
        assert!(claims.is_home(1, &path(1)), "a signed check with a foreign sender");
        claims.prove(2, Proof::Answered(path(1)));
        assert!(claims.is_home(2, &path(1)), "the port is somebody else's now");
        claims.release(1);
        assert!(claims.is_home(2, &path(1)), "not his any more");
        claims.release(2);
        assert_eq!(claims.len(), 0);
    }

    #[test]
    fn paths_of_one_connection_are_bounded_and_the_oldest_give_way() {
        let mut claims = claims();
        for port in 1..=100 {
            claims.prove(1, Proof::Answered(path(7777)));
            claims.prove(1, Proof::Authenticated(path(port)));
        }
        assert_eq!((claims.len(), claims.of[1].len()), (MAX_PATHS, MAX_PATHS));
        assert!(claims.is_home(1, &path(7777)), "which it is heard on all the time");
        assert_eq!((claims.owner(&path(100)), claims.owner(&path(1))), (Some(1), None));
    }
}

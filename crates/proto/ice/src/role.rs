use sansio::Rng;

/// Which side of the session this agent is, and what decides if both think they are the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Role {
    pub(crate) controlling: bool,
    pub(crate) tiebreaker: u64,
}

/// What a check tells about its sender's role (RFC 8445 §7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) controlling: bool,
    pub(crate) tiebreaker: u64,
}

/// What to do about a check, as far as roles go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is no conflict.
    Fine,
    /// Answer 487: the sender has to change its role.
    Refuse,
    /// Change our role.
    Switch,
}

impl Role {
    /// A role with a fresh tie-breaker.
    pub(crate) fn new(controlling: bool, rng: &mut Rng) -> Self {
        Self { controlling, tiebreaker: rng.next_u64() }
    }

    /// RFC 8445 §7.3.1.1.
    pub(crate) fn judge(&self, claim: Claim) -> Verdict {
        if claim.controlling != self.controlling {
            return Verdict::Fine;
        }
        match (self.controlling, self.tiebreaker >= claim.tiebreaker) {
            (true, true) | (false, false) => Verdict::Refuse,
            (true, false) | (false, true) => Verdict::Switch,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_in_conflict_exactly_one_changes_its_role() {
        for controlling in [true, false] {
            for (mine, theirs) in [(1, 2), (2, 1)] {
                let a = Role { controlling, tiebreaker: mine };
                let b = Role { controlling, tiebreaker: theirs };
                let claim = |role: Role| Claim { controlling: role.controlling, tiebreaker: role.tiebreaker };
                let verdicts = [a.judge(claim(b)), b.judge(claim(a))];
                // The greater tie-breaker controls: it refuses or switches to get there.
                let expected = match (controlling, mine > theirs) {
                    (true, true) | (false, false) => [Verdict::Refuse, Verdict::Switch],
                    (true, false) | (false, true) => [Verdict::Switch, Verdict::Refuse],
                };
                assert_eq!(verdicts, expected);
            }
        }
        let a = Role { controlling: true, tiebreaker: 1 };
        assert_eq!(a.judge(Claim { controlling: false, tiebreaker: 1 }), Verdict::Fine);
    }
}

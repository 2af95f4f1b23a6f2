use std::fmt;

use crate::{Code, Evidence, Outcome, Verdict, examine};

/// The evidence, and what it says: what a failed connection hands over, as a value, and by
/// [`Display`](fmt::Display) as text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What is known.
    pub evidence: Evidence,
    /// What it says, by weight. Empty if nothing is in the way.
    pub verdicts: Vec<Verdict>,
}

impl Report {
    /// The verdicts on this evidence.
    pub fn new(evidence: Evidence) -> Self {
        let verdicts = examine(&evidence);
        Self { evidence, verdicts }
    }

    /// The code of the verdict that weighs most.
    pub fn code(&self) -> Option<Code> {
        self.verdicts.first().map(|verdict| verdict.code)
    }
}

impl From<Evidence> for Report {
    fn from(evidence: Evidence) -> Self {
        Self::new(evidence)
    }
}

impl fmt::Display for Report {
    /// The verdicts one after another; a line if there is none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.verdicts.is_empty() {
            return f.write_str(match self.evidence.outcome {
                Outcome::Untried => "nothing is in the way, as far as this machine can tell",
                Outcome::Connecting => "the attempt is under way",
                Outcome::Direct => "connected directly: nothing is in the way",
                Outcome::Relayed => "connected through a relay, as wanted",
                Outcome::Failed | Outcome::Lost => "nothing is known",
            });
        }
        for (at, verdict) in self.verdicts.iter().enumerate() {
            write!(f, "{}{verdict}", if at > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

/// Why data goes through a TURN server: half a sentence, in the words of the verdict that weighs most.
pub fn because(evidence: &Evidence) -> String {
    if evidence.relay_only {
        return "only relayed paths are allowed here".into();
    }
    let relayed = Evidence { outcome: Outcome::Relayed, ..evidence.clone() };
    match examine(&relayed).into_iter().next() {
        Some(Verdict { code: Code::Inconclusive, mut evidence, .. }) if !evidence.is_empty() => {
            evidence.swap_remove(0)
        }
        Some(verdict)
            if verdict.code == Code::MappingDependsOnDestination && evidence.ice.punched.is_none() =>
        {
            format!("{}; --punch on both sides may find a direct path", verdict.message())
        }
        Some(verdict) => verdict.message().into(),
        None => "a direct path is not known".into(),
    }
}

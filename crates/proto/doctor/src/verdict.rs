use std::fmt;

use serde::Serialize;

use crate::Code;

/// One cause, what shows it, and what to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// What is in the way.
    pub code: Code,
    /// What shows it, in numbers; each a sentence without a full stop.
    pub evidence: Vec<String>,
    /// The exact thing to change, in a sentence or two without the last full stop.
    pub advice: String,
}

impl Verdict {
    /// A verdict without evidence so far.
    pub(crate) fn new(code: Code, advice: impl Into<String>) -> Self {
        Self { code, evidence: Vec::new(), advice: advice.into() }
    }

    /// The same, with one more piece of evidence.
    pub(crate) fn shown(mut self, evidence: impl Into<String>) -> Self {
        self.evidence.push(evidence.into());
        self
    }

    /// What it means, in half a sentence.
    pub fn message(&self) -> &'static str {
        self.code.message()
    }
}

impl fmt::Display for Verdict {
    /// Three sorts of lines: the code with its meaning, the evidence, and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message())?;
        for evidence in &self.evidence {
            write!(f, "\n  · {evidence}")?;
        }
        write!(f, "\n  → {}", self.advice)
    }
}

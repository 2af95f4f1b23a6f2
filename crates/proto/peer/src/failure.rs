use std::fmt;

/// Why the connection did not come about, or broke; what can be done about it; and the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// What failed.
    pub cause: FailureCause,
    /// The evidence, and the doctor's verdicts on it.
    pub report: doctor::Report,
}

/// The layer that failed, with its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureCause {
    /// No path, or no longer one.
    Ice(ice::FailureCause),
    /// A path, but no secure connection on it: the other side is not who it said, or does not speak DTLS.
    Dtls(dtls::DtlsError),
    /// A secure connection, but no data channels on it.
    Sctp(sctp::SctpError),
}

impl Failure {
    /// A word for programs, which never changes: `ice-…`, `dtls-…` or `sctp-…`.
    pub fn code(&self) -> &'static str {
        match &self.cause {
            FailureCause::Ice(cause) => cause.code(),
            FailureCause::Dtls(error) => error.code(),
            FailureCause::Sctp(error) => error.code(),
        }
    }

    /// What happened, in a sentence.
    pub fn message(&self) -> String {
        match &self.cause {
            FailureCause::Ice(cause) => cause.message().into(),
            FailureCause::Dtls(error) => error.to_string(),
            FailureCause::Sctp(error) => error.to_string(),
        }
    }

    /// What a person can do about it.
    pub fn advice(&self) -> &'static str {
        match &self.cause {
            FailureCause::Ice(cause) => cause.advice(),
            FailureCause::Dtls(error) => error.advice(),
            FailureCause::Sctp(_) => {
                "connect again; if it happens again, the other side's software may not support data channels"
            }
        }
    }
}

impl Failure {
    /// What is in the way, with what has to be mended first in front: never empty.
    pub fn verdicts(&self) -> &[doctor::Verdict] {
        &self.report.verdicts
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message(), self.advice())
    }
}

impl std::error::Error for Failure {}

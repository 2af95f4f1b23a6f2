/// A `candidate` attribute that could not be read.
///
/// RFC 8839 §5.1 wants candidates that are not understood to be ignored; [`ParseCandidateErrorKind::is_foreign`]
/// tells those from broken ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} at byte {offset} of the candidate")]
pub struct ParseCandidateError {
    /// What is wrong.
    pub kind: ParseCandidateErrorKind,
    /// Where the word that is wrong starts, in bytes.
    pub offset: usize,
}

/// What is wrong with a `candidate` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseCandidateErrorKind {
    /// The foundation is missing, too long or has other characters than `A-Z a-z 0-9 + /`.
    #[error("bad foundation")]
    Foundation,
    /// The component is not a number from 1 to 256.
    #[error("bad component")]
    Component,
    /// The transport is missing.
    #[error("bad transport")]
    Transport,
    /// The priority is not a number from 1 to 2³¹ - 1.
    #[error("bad priority")]
    Priority,
    /// The address is neither an IP address nor a name.
    #[error("bad address")]
    Address,
    /// The address is a host name that does not end in `.local`.
    #[error("a host name where an address should be")]
    NotAnAddress,
    /// The port is not a number from 0 to 65535.
    #[error("bad port")]
    Port,
    /// The candidate type is missing or unknown.
    #[error("unknown candidate type")]
    CandidateKind,
    /// An extension that matters has a value that means nothing.
    #[error("bad extension")]
    Extension,
}

impl ParseCandidateErrorKind {
    /// Whether the candidate may be well-formed by some extension that we do not know, and is to be ignored.
    pub fn is_foreign(self) -> bool {
        matches!(self, Self::NotAnAddress | Self::CandidateKind | Self::Extension)
    }
}

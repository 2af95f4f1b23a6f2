/// Why bytes are not what they should be, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind}, at byte {offset}")]
pub struct ParseError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where.
    pub offset: usize,
}

/// What is wrong with bytes that are not RTP, RTCP or a payload.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// They end before what they announce.
    #[error("it is cut off")]
    Truncated,
    /// Another version than 2.
    #[error("its version is not 2")]
    Version,
    /// More padding than there are bytes, or a count of none.
    #[error("it claims padding that it has not")]
    Padding,
    /// A field has a value that the specification rules out.
    #[error("a field has an impossible value")]
    Value,
}

impl ParseErrorKind {
    /// This, at a byte.
    pub(crate) fn at(self, offset: usize) -> ParseError {
        ParseError { kind: self, offset }
    }
}

/// Why a packet was not written: the caller's fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The buffer is too small.
    #[error("the buffer is too small")]
    NoRoom,
    /// A header extension does not fit the form, or its identifier is none (RFC 8285 §4.2, §4.3).
    #[error("a header extension has an impossible identifier or length")]
    Extension,
    /// More of something than its count can say: 15 contributing sources, 31 reports, 65,535 words.
    #[error("there is more than a packet can count")]
    TooMany,
}

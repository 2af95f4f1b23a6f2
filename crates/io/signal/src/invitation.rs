//! What one person gives another: a code or a link.

use crate::code::{Code, ParseCodeError};
use crate::link::{Link, ParseLinkError};

/// A [`Code`] or a [`Link`], told apart by their looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invitation {
    /// A number and two words; which server is meant must be known.
    Code(Code),
    /// A link, which names its server.
    Link(Link),
}

/// What is wrong with an invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseInvitationError {
    /// It looks like a code, but is none.
    #[error(transparent)]
    Code(#[from] ParseCodeError),
    /// It looks like a link, but is none.
    #[error(transparent)]
    Link(#[from] ParseLinkError),
}

impl Invitation {
    /// Reads a code or a link.
    ///
    /// ```
    /// use sterna_signal::Invitation;
    /// assert!(matches!(Invitation::parse("7-river-candle")?, Invitation::Code(_)));
    /// assert!(matches!(Invitation::parse("http://h:8080/#MDEyMzQ1Njc4OWFiY2RlZg")?, Invitation::Link(_)));
    /// # Ok::<(), sterna_signal::ParseInvitationError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ParseInvitationError> {
        if text.contains("://") || text.contains('#') {
            return Ok(Self::Link(text.parse()?));
        }
        Ok(Self::Code(text.parse()?))
    }
}

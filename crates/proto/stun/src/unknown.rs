use std::fmt;
use std::ops::Deref;

use crate::AttributeKind;

/// How many unknown attributes an answer lists at most: an answer stays small, whatever was asked.
pub const MAX_UNKNOWN: usize = 8;

/// The attributes of a message that had to be comprehended and were not: the first [`MAX_UNKNOWN`] kinds of
/// them.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct UnknownAttributes {
    kinds: [u16; MAX_UNKNOWN],
    length: usize,
}

impl UnknownAttributes {
    /// Adds a kind, unless it is listed already or the list is full.
    pub(crate) fn add(&mut self, kind: AttributeKind) {
        if self.length < MAX_UNKNOWN && !self.iter().any(|listed| listed == kind) {
            self.kinds[self.length] = kind.0;
            self.length += 1;
        }
    }

    /// The kinds, in the order of the message.
    pub fn iter(&self) -> impl Iterator<Item = AttributeKind> + '_ {
        self.deref().iter().copied().map(AttributeKind)
    }
}

impl Deref for UnknownAttributes {
    type Target = [u16];
    fn deref(&self) -> &[u16] {
        &self.kinds[..self.length]
    }
}

impl fmt::Debug for UnknownAttributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

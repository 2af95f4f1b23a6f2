use std::fmt;

use crate::{Direction, MediaError};

/// A number for a header extension (`a=extmap`, RFC 8285 §5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extmap {
    /// Its number in packets, 1 to 255 without 15; or 4096 to 4351, a wish that the answer is to give a number to.
    pub id: u16,
    /// In which direction it is used; both unless told.
    pub direction: Direction,
    /// What it is.
    pub uri: String,
    /// What the URI's definition adds.
    pub attributes: String,
}

impl Extmap {
    /// One for both directions.
    pub fn new(id: u16, uri: &str) -> Self {
        Self { id, direction: Direction::Sendrecv, uri: uri.into(), attributes: String::new() }
    }

    /// The number that it has in packets, if it can have that.
    pub fn number(&self) -> Option<u8> {
        u8::try_from(self.id).ok()
    }

    pub(crate) fn read(value: &str) -> Result<Self, MediaError> {
        let read = || {
            let mut fields = value.trim().splitn(3, ' ');
            let (number, uri) = (fields.next()?, fields.next()?);
            let (id, direction) = match number.split_once('/') {
                Some((id, told)) => (id, Direction::ALL.into_iter().find(|it| it.as_str() == told)?),
                None => (number, Direction::Sendrecv),
            };
            let id = id.parse().ok().filter(|id| matches!(id, 1..=14 | 16..=255 | 4096..=4351))?;
            let attributes = fields.next().unwrap_or_default().into();
            (!uri.is_empty()).then(|| Self { id, direction, uri: uri.into(), attributes })
        };
        read().ok_or(MediaError::Attribute("extmap"))
    }
}

impl fmt::Display for Extmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if self.direction != Direction::Sendrecv {
            write!(f, "/{}", self.direction)?;
        }
        write!(f, " {}", self.uri)?;
        if !self.attributes.is_empty() {
            write!(f, " {}", self.attributes)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_printed_again() {
        for text in ["1 urn:x", "2/recvonly urn:y", "4096 urn:z a=b c"] {
            assert_eq!(Extmap::read(text).unwrap().to_string(), text);
        }
        for bad in ["", "1", "0 urn:x", "15 urn:x", "256 urn:x", "1/both urn:x", "x urn:x", "1 "] {
            assert_eq!(Extmap::read(bad), Err(MediaError::Attribute("extmap")), "{bad}");
        }
    }
}

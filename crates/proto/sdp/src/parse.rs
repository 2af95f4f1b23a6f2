use std::str::FromStr;

use crate::attribute::{flaw, is_single};
use crate::{Line, Lines, Media, Origin, Session};

/// The longest description that is read, in bytes: far more than a browser with a hundred sections writes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// The longest line that is read, in bytes. Identity assertions are the longest that exist.
pub const MAX_LINE_BYTES: usize = 16 * 1024;
/// The most media sections that are read.
pub const MAX_SECTIONS: usize = 256;

/// Why a text is not a description, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the session description: {kind}")]
pub struct ParseError {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong with it.
    pub kind: ParseErrorKind,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The whole description is longer than [`MAX_BYTES`].
    #[error("the description is too long")]
    TooLong,
    /// The line is longer than [`MAX_LINE_BYTES`].
    #[error("the line is too long")]
    LineTooLong,
    /// There are more than [`MAX_SECTIONS`] sections.
    #[error("too many media sections")]
    TooManySections,
    /// The line is not `letter=value`.
    #[error("not of the form letter=value")]
    NotALine,
    /// RFC 8866 §5: a description with a letter that is not understood is to be rejected.
    #[error("unknown line type '{0}'")]
    UnknownLetter(char),
    /// A description starts with these three, in this order.
    #[error("expected a {0}= line")]
    Expected(char),
    /// The letter does not belong at this place.
    #[error("a {0}= line does not belong here")]
    Misplaced(char),
    /// A `v=` line other than `v=0`.
    #[error("unknown version")]
    Version,
    /// The `o=` line is not `username id version nettype addrtype address`.
    #[error("malformed o= line")]
    Origin,
    /// The `m=` line is not `media port protocol format…`.
    #[error("malformed m= line")]
    Media,
    /// An attribute that JSEP reads is malformed.
    #[error("a={name}: {expected} expected")]
    Attribute {
        /// Its name.
        name: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// An attribute that may stand once stands twice, so that it is unclear which counts.
    #[error("a second a={0}")]
    Duplicate(String),
    /// Two sections have the same `a=mid`.
    #[error("a second section with this mid")]
    DuplicateMid,
}

impl Session {
    /// Reads a description. Lines end with CRLF or LF; empty lines at the end do no harm.
    ///
    /// # Errors
    /// The first line that is wrong, and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        if text.len() > MAX_BYTES {
            return Err(ParseError { line: 1, kind: ParseErrorKind::TooLong });
        }
        let mut lines = text.trim_end_matches(['\r', '\n']).split('\n').enumerate().map(|(index, line)| {
            let line = line.strip_suffix('\r').unwrap_or(line);
            (index + 1, split(line).map_err(|kind| ParseError { line: index + 1, kind }))
        });
        let mut expect = |letter| match lines.next() {
            Some((line, Ok((found, value)))) if found == letter => Ok((line, value)),
            Some((line, Ok(_))) => Err(ParseError { line, kind: ParseErrorKind::Expected(letter) }),
            Some((_, Err(error))) => Err(error),
            None => Err(ParseError { line: 1, kind: ParseErrorKind::Expected(letter) }),
        };
        let (line, version) = expect('v')?;
        if version != "0" {
            return Err(ParseError { line, kind: ParseErrorKind::Version });
        }
        let (line, origin) = expect('o')?;
        let origin = Origin::parse(origin).ok_or(ParseError { line, kind: ParseErrorKind::Origin })?;
        let (_, name) = expect('s')?;
        let mut session =
            Self { origin, lines: [Line::new('s', name)].into_iter().collect(), media: Vec::new() };
        for (line, parts) in lines {
            let (letter, value) = parts?;
            session.take(letter, value).map_err(|kind| ParseError { line, kind })?;
        }
        Ok(session)
    }

    /// Takes the next line after `s=`.
    fn take(&mut self, letter: char, value: &str) -> Result<(), ParseErrorKind> {
        let session_level = self.media.is_empty();
        match letter {
            'm' if self.media.len() == MAX_SECTIONS => return Err(ParseErrorKind::TooManySections),
            'm' => {
                self.media.push(Media::parse(value).ok_or(ParseErrorKind::Media)?);
                return Ok(());
            }
            'a' => self.check(value)?,
            'i' | 'c' | 'b' | 'k' => {}
            'u' | 'e' | 'p' | 't' | 'r' | 'z' if session_level => {}
            'v' | 'o' | 's' | 'u' | 'e' | 'p' | 't' | 'r' | 'z' => {
                return Err(ParseErrorKind::Misplaced(letter));
            }
            _ => return Err(ParseErrorKind::UnknownLetter(letter)),
        }
        self.level_mut().push(Line::new(letter, value));
        Ok(())
    }

    fn check(&self, attribute: &str) -> Result<(), ParseErrorKind> {
        let (name, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        if let Some(expected) = flaw(name, value) {
            return Err(ParseErrorKind::Attribute { name: name.into(), expected });
        }
        let level = self.media.last().map_or(&self.lines, |media| &media.lines);
        if is_single(name) && level.has(name) {
            return Err(ParseErrorKind::Duplicate(name.into()));
        }
        if name == "mid" && self.index_of(value).is_some() {
            return Err(ParseErrorKind::DuplicateMid);
        }
        Ok(())
    }

    /// The level to which the next line belongs.
    fn level_mut(&mut self) -> &mut Lines {
        match self.media.last_mut() {
            Some(media) => &mut media.lines,
            None => &mut self.lines,
        }
    }
}

impl FromStr for Session {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

/// The letter and the value of a line.
fn split(line: &str) -> Result<(char, &str), ParseErrorKind> {
    if line.len() > MAX_LINE_BYTES {
        return Err(ParseErrorKind::LineTooLong);
    }
    let (letter, value) = line.split_once('=').ok_or(ParseErrorKind::NotALine)?;
    let mut letters = letter.chars();
    match (letters.next(), letters.next()) {
        (Some(letter), None) if !value.contains(['\0', '\r']) => Ok((letter, value)),
        _ => Err(ParseErrorKind::NotALine),
    }
}

//! Codes: a number and two words that one person can tell another, `7-river-candle`.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The words that codes are made of, one a line: short, easily spoken, no two a single typo apart.
pub const WORDS: &str = include_str!("../data/words.txt");

/// [`WORDS`] as a slice, in order.
pub fn words() -> &'static [&'static str] {
    static WORD_LIST: OnceLock<Vec<&'static str>> = OnceLock::new();
    WORD_LIST.get_or_init(|| WORDS.split_whitespace().collect())
}

/// A number and two words, `7-river-candle`.
///
/// The number, the *nameplate*, says in which room the other waits; the server knows it. The words are the
/// secret and never leave the machine: with them both ends run a PAKE (see [`crate::seal`]), which gives a
/// stranger exactly one guess.
///
/// Parsing forgives case, spaces and other dashes; a word that is not in the list comes back with the
/// nearest one that is.
///
/// ```
/// use sterna_signal::Code;
/// let code: Code = " 7 River  CANDLE".parse()?;
/// assert_eq!(code.to_string(), "7-river-candle");
/// let typo = "7-rivr-candle".parse::<Code>().unwrap_err();
/// assert!(typo.to_string().contains("“river”"));
/// # Ok::<(), sterna_signal::ParseCodeError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Code {
    nameplate: String,
    words: [&'static str; 2],
}

impl Code {
    /// A code for this nameplate with words from the operating system's random generator.
    pub fn generate(nameplate: &str) -> Self {
        let seed = crypto::seed();
        let (first, second) = (pick(&seed[..8]), pick(&seed[8..16]));
        Self { nameplate: nameplate.to_string(), words: [first, second] }
    }

    /// The number: the room's name on the server.
    pub fn nameplate(&self) -> &str {
        &self.nameplate
    }

    /// The secret: both words, joined by a dash.
    pub fn secret(&self) -> String {
        self.words.join("-")
    }
}

/// 64 random bits make the bias towards any word less than 2⁻⁵⁵.
fn pick(random: &[u8]) -> &'static str {
    let number = u64::from_le_bytes(std::array::from_fn(|i| random[i]));
    words()[(number % words().len() as u64) as usize]
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.nameplate, self.secret())
    }
}

/// Shows the nameplate only, so that a log does not tell the secret.
impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Code({}-…)", self.nameplate)
    }
}

/// What is wrong with a code, in words for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCodeError {
    /// Not a number and two words.
    #[error("“{0}” is not a code: a code is a number and two words, such as 7-river-candle")]
    Shape(String),
    /// A word that codes do not use.
    #[error("“{word}” is not a word that codes use{}", suggestion.map(|s| format!("; did you mean “{s}”?")).unwrap_or_default())]
    UnknownWord {
        /// As typed, in lower case.
        word: String,
        /// The nearest word of the list, if one is near.
        suggestion: Option<&'static str>,
    },
}

impl FromStr for Code {
    type Err = ParseCodeError;

    fn from_str(text: &str) -> Result<Self, ParseCodeError> {
        let shape = || ParseCodeError::Shape(text.trim().chars().take(60).collect());
        let lower = text.to_lowercase();
        let mut parts = lower.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
        let (Some(number), Some(first), Some(second), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(shape());
        };
        if number.len() > 18 || !number.bytes().all(|b| b.is_ascii_digit()) {
            return Err(shape());
        }
        let number = number.trim_start_matches('0');
        if number.is_empty() {
            return Err(shape());
        }
        Ok(Self { nameplate: number.to_string(), words: [find(first)?, find(second)?] })
    }
}

fn find(word: &str) -> Result<&'static str, ParseCodeError> {
    if let Some(known) = words().iter().find(|known| **known == word) {
        return Ok(known);
    }
    let typed: Vec<char> = word.chars().take(24).collect();
    let suggestion = words()
        .iter()
        .map(|known| (distance(&typed, &known.chars().collect::<Vec<_>>()), *known))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, known)| *distance <= (known.len() / 2).max(2))
        .map(|(_, known)| known);
    Err(ParseCodeError::UnknownWord { word: typed.into_iter().collect(), suggestion })
}

/// How many letters must be added, left out, changed or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let changed = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut best = changed.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    best = best.min(rows[i - 2][j - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_long_and_its_words_are_apart() {
        assert!(words().len() >= 256, "{}", words().len());
        for (i, a) in words().iter().enumerate() {
            assert!((4..=8).contains(&a.len()) && a.bytes().all(|b| b.is_ascii_lowercase()), "{a}");
            for b in &words()[..i] {
                let (a, b): (Vec<_>, Vec<_>) = (a.chars().collect(), b.chars().collect());
                assert!(distance(&a, &b) >= 2, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn a_code_is_forgiving_in_form() {
        for text in
            ["7-river-candle", "7 river candle", " 07–River—CANDLE ", "7.river.candle\n", "7  river-candle"]
        {
            assert_eq!(text.parse::<Code>().unwrap().to_string(), "7-river-candle", "{text:?}");
        }
    }

    #[test]
    fn what_is_no_code_says_what_one_is() {
        for text in
            ["", "7", "river-candle", "7-river", "x-river-candle", "7-river-candle-zebra", "0-river-candle"]
        {
            let error = text.parse::<Code>().unwrap_err();
            assert!(matches!(error, ParseCodeError::Shape(_)), "{text:?}: {error:?}");
        }
    }

    #[test]
    fn a_typo_is_answered_with_the_nearest_word() {
        let suggestion = |text: &str| match text.parse::<Code>() {
            Err(ParseCodeError::UnknownWord { suggestion, .. }) => suggestion,
            other => panic!("{other:?}"),
        };
        assert_eq!(suggestion("7-rvier-candle"), Some("river"));
        assert_eq!(suggestion("7-river-candel"), Some("candle"));
        assert_eq!(suggestion("7-river-qqqqqqqqqqqqqqqqqqqqqqqqqqq"), None);
    }

    #[test]
    fn generated_codes_parse_and_differ() {
        let codes: std::collections::BTreeSet<_> =
            (0..20).map(|_| Code::generate("12").to_string()).collect();
        assert!(codes.len() > 15);
        for code in codes {
            assert_eq!(code.parse::<Code>().unwrap().to_string(), code);
        }
    }

    #[test]
    fn debug_does_not_tell_the_words() {
        let code: Code = "7-river-candle".parse().unwrap();
        assert_eq!(format!("{code:?}"), "Code(7-…)");
    }
}

use std::fmt;
use std::ops::Range;

/// What is wrong with a scenario file: where, what, and what was expected there instead.
///
/// [`Display`](fmt::Display) is what a person reads: `file:line:column: what; expected …`, and the line itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mistake {
    /// The file, as its reader named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub what: String,
    /// What would be right there.
    pub expected: String,
    excerpt: String,
    width: usize,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, what, expected, excerpt, width } = self;
        let number = line.to_string();
        let margin = " ".repeat(number.len());
        let (indent, carets) = (" ".repeat(column - 1), "^".repeat(*width));
        writeln!(f, "{file}:{line}:{column}: {what}; expected {expected}")?;
        write!(f, " {number} | {excerpt}\n {margin} | {indent}{carets}")
    }
}

impl std::error::Error for Mistake {}

/// A file's name and text, to tell of mistakes in it.
pub(crate) struct Source<'t> {
    pub(crate) file: &'t str,
    pub(crate) text: &'t str,
}

impl Source<'_> {
    pub(crate) fn mistake(
        &self,
        span: &Range<usize>,
        what: impl Into<String>,
        expected: impl Into<String>,
    ) -> Mistake {
        let text = self.text;
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let begin = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let stop = span.end.clamp(start, end.max(start));
        let marked = text.get(start..stop).map_or(1, |marked| marked.chars().count());
        Mistake {
            file: self.file.to_owned(),
            line: text[..begin].matches('\n').count() + 1,
            column: text[begin..start].chars().count() + 1,
            what: what.into(),
            expected: expected.into(),
            excerpt: text[begin..end].trim_end().replace('\t', " "),
            width: marked.max(1),
        }
    }
}

/// The one of `known` that somebody who wrote `word` most probably meant.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let lower = word.to_lowercase();
    let measured = known.into_iter().map(|candidate| (distance(&lower, candidate), candidate));
    let (far, best) = measured.min()?;
    let bound = best.chars().count().max(lower.chars().count()).div_ceil(3).max(1);
    (far <= bound).then_some(best)
}

/// How many letters have to be changed, added, left out or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

/// `a`, `b` or `c`.
pub(crate) fn either<'k>(known: impl IntoIterator<Item = &'k str>) -> String {
    let quoted: Vec<String> = known.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// What is expected in place of `word`: the nearest, with the others after it, or all of them.
pub(crate) fn instead(word: &str, known: &[&str]) -> String {
    match nearest(word, known.iter().copied()) {
        Some(best) if known.len() > 1 => {
            let others = known.iter().copied().filter(|other| *other != best);
            format!("`{best}` (or {})", either(others).replace(" or ", ", "))
        }
        _ => either(known.iter().copied()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_near() {
        let known = ["delay", "jitter", "loss", "rate"];
        for (written, meant) in
            [("dealy", Some("delay")), ("los", Some("loss")), ("RATE", Some("rate")), ("colour", None)]
        {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
        assert_eq!(instead("dealy", &known), "`delay` (or `jitter`, `loss`, `rate`)");
        assert_eq!(instead("colour", &known), "`delay`, `jitter`, `loss` or `rate`");
    }

    #[test]
    fn a_mistake_points_at_its_place() {
        let source = Source { file: "x.toml", text: "a = 1\n  bcd = 2\n" };
        let mistake = source.mistake(&(8..11), "unknown key `bcd`", "`abc`");
        assert_eq!(
            mistake.to_string(),
            "x.toml:2:3: unknown key `bcd`; expected `abc`\n 2 |   bcd = 2\n   |   ^^^"
        );
        let at_the_end = source.mistake(&(99..120), "it ends", "more");
        assert_eq!((at_the_end.line, at_the_end.column), (3, 1));
    }
}

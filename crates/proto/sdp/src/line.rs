/// One line of a description: a letter and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    letter: char,
    value: String,
}

impl Line {
    /// The line `letter=value`. The value ends at its first NUL, CR or LF: nothing can smuggle a second line in.
    pub fn new(letter: char, value: impl Into<String>) -> Self {
        let mut value = value.into();
        if let Some(end) = value.find(['\0', '\r', '\n']) {
            value.truncate(end);
        }
        Self { letter, value }
    }

    /// The attribute line `a=name:value`.
    pub fn attribute(name: &str, value: &str) -> Self {
        Self::new('a', format!("{name}:{value}"))
    }

    /// The attribute line `a=name`.
    pub fn flag(name: &str) -> Self {
        Self::new('a', name)
    }

    /// The letter before the equals sign.
    pub fn letter(&self) -> char {
        self.letter
    }

    /// All that follows the equals sign.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// For an attribute line, its name and its value; a flag's value is empty.
    pub fn as_attribute(&self) -> Option<(&str, &str)> {
        (self.letter == 'a').then(|| self.value.split_once(':').unwrap_or((&self.value, "")))
    }

    fn is_attribute(&self, name: &str) -> bool {
        self.as_attribute().is_some_and(|(own, _)| own == name)
    }
}

/// The lines of one level of a description, in the order in which they are printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines(Vec<Line>);

impl Lines {
    /// All lines, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Line> {
        self.0.iter()
    }

    /// Adds a line at the end.
    pub fn push(&mut self, line: Line) {
        self.0.push(line);
    }

    /// The value of the first line with this letter.
    pub fn value(&self, letter: char) -> Option<&str> {
        self.0.iter().find(|line| line.letter == letter).map(Line::value)
    }

    /// Gives the first line with this letter another value, or puts a new one at `position` (at the end, if there
    /// are fewer lines).
    pub fn set_value(&mut self, letter: char, value: &str, position: usize) {
        let line = Line::new(letter, value);
        match self.0.iter_mut().find(|line| line.letter == letter) {
            Some(old) => *old = line,
            None => self.0.insert(position.min(self.0.len()), line),
        }
    }

    /// The value of the first attribute of this name; empty for a flag.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.0.iter().filter_map(Line::as_attribute).find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// The values of all attributes of this name, in order.
    pub fn attributes<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter_map(Line::as_attribute)
            .filter(move |(own, _)| *own == name)
            .map(|(_, value)| value)
    }

    /// Whether there is an attribute of this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|line| line.is_attribute(name))
    }

    /// Adds `a=name:value` at the end.
    pub fn push_attribute(&mut self, name: &str, value: &str) {
        self.push(Line::attribute(name, value));
    }

    /// Adds `a=name` at the end.
    pub fn push_flag(&mut self, name: &str) {
        self.push(Line::flag(name));
    }

    /// Removes all attributes of this name.
    pub fn remove_attribute(&mut self, name: &str) {
        self.0.retain(|line| !line.is_attribute(name));
    }
}

impl FromIterator<Line> for Lines {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Self {
        Self(lines.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_cannot_hold_a_second_line() {
        assert_eq!(Line::attribute("candidate", "1 1 udp\r\na=ice-lite").value(), "candidate:1 1 udp");
    }

    #[test]
    fn attributes_are_found_by_their_whole_name() {
        let mut lines = Lines::default();
        lines.push_attribute("rtcp-fb", "96 nack");
        lines.push_flag("rtcp-mux");
        lines.push_attribute("rtcp-fb", "97 nack");
        assert!(lines.has("rtcp-mux") && !lines.has("rtcp"));
        assert_eq!(lines.attribute("rtcp-mux"), Some(""));
        assert_eq!(lines.attributes("rtcp-fb").collect::<Vec<_>>(), ["96 nack", "97 nack"]);
        lines.remove_attribute("rtcp-fb");
        assert_eq!(lines.iter().count(), 1);
    }

    #[test]
    fn set_value_replaces_or_inserts() {
        let mut lines = Lines::default();
        lines.push_flag("rtcp-mux");
        lines.set_value('c', "IN IP4 0.0.0.0", 0);
        lines.set_value('c', "IN IP4 192.0.2.1", 0);
        let letters: String = lines.iter().map(Line::letter).collect();
        assert_eq!((letters.as_str(), lines.value('c')), ("ca", Some("IN IP4 192.0.2.1")));
    }
}

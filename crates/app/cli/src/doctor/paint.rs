//! Colours, for those who want them.

use std::fmt::Display;
use std::io::IsTerminal;

#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    on: bool,
}

impl Paint {
    /// Colours if standard output is a terminal and nobody said `NO_COLOR`.
    pub(super) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { on: std::io::stdout().is_terminal() && !refused }
    }

    /// None.
    pub(super) fn plain() -> Self {
        Self { on: false }
    }

    fn wrap(self, code: &str, text: impl Display) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    pub(super) fn bold(self, text: impl Display) -> String {
        self.wrap("1", text)
    }

    pub(super) fn dim(self, text: impl Display) -> String {
        self.wrap("2", text)
    }

    pub(super) fn title(self, text: impl Display) -> String {
        self.wrap("1;36", text)
    }

    /// What is fine.
    pub(super) fn good(self) -> String {
        self.wrap("32", "✓")
    }

    /// What is in the way.
    pub(super) fn bad(self) -> String {
        self.wrap("31", "✗")
    }

    /// What is not known, or of no great matter.
    pub(super) fn unknown(self) -> String {
        self.wrap("33", "?")
    }

    pub(super) fn warn(self, text: impl Display) -> String {
        self.wrap("1;33", text)
    }

    /// A mark for a thing that is so, is not so, or is not known.
    pub(super) fn mark(self, fine: Option<bool>) -> String {
        match fine {
            Some(true) => self.good(),
            Some(false) => self.bad(),
            None => self.unknown(),
        }
    }
}

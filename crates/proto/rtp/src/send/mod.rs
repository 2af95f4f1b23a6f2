//! The sender's side of a source: numbers and timestamps for what leaves ([`Source`]), what was sent for those who
//! missed it ([`History`]), and the reports that say which moment a timestamp means.

mod history;
mod source;

pub use history::{History, HistoryConfig};
pub use source::{Source, SourceConfig};

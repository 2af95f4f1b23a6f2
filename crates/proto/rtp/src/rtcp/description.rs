use crate::error::WriteError;
use crate::fields::Fields;
use crate::rtcp::writer::{Sink, count};
use crate::rtcp::{Body, kind};

/// Who the sources are (RFC 3550 §6.5). Of all that could be said, WebRTC says the canonical name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SourceDescription {
    /// One for each source: at most 31.
    pub sources: Vec<Description>,
}

/// What is said of one source.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Description {
    /// The source.
    pub ssrc: u32,
    /// Kinds, from 1 to 255, and texts, of up to 255 bytes.
    pub items: Vec<(u8, Vec<u8>)>,
}

/// The kind of the canonical name, which all sources of one participant have in common.
const CNAME: u8 = 1;

impl SourceDescription {
    /// The canonical name of a source.
    pub fn canonical_name(ssrc: u32, name: &str) -> Self {
        let name = name.as_bytes()[..name.len().min(255)].to_vec();
        Self { sources: vec![Description { ssrc, items: vec![(CNAME, name)] }] }
    }
}

impl Description {
    /// The canonical name, if it is said.
    pub fn name(&self) -> Option<&str> {
        let (_, name) = self.items.iter().find(|(kind, _)| *kind == CNAME)?;
        std::str::from_utf8(name).ok()
    }

    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let whole = fields.0.len();
        let mut description = Self { ssrc: fields.u32()?, items: Vec::new() };
        loop {
            let kind = fields.u8()?;
            if kind == 0 {
                break;
            }
            let length = fields.u8()?;
            description.items.push((kind, fields.bytes(length.into())?.to_vec()));
        }
        // RFC 3550 §6.5: a list ends with one or more zeros, up to the next word.
        let read = whole - fields.0.len();
        fields.bytes(read.next_multiple_of(4) - read)?;
        Some(description)
    }
}

impl Body for SourceDescription {
    const TYPE: u8 = kind::SOURCE_DESCRIPTION;

    fn read(count: u8, body: &[u8]) -> Option<Self> {
        let mut fields = Fields(body);
        let sources = (0..count).map(|_| Description::read(&mut fields)).collect::<Option<_>>()?;
        Some(Self { sources })
    }

    fn write(&self, sink: &mut Sink<'_>) -> Result<u8, WriteError> {
        for source in &self.sources {
            sink.u32(source.ssrc)?;
            for (kind, text) in source.items.iter().filter(|(kind, _)| *kind != 0) {
                sink.u8(*kind)?;
                sink.u8(u8::try_from(text.len()).map_err(|_| WriteError::TooMany)?)?;
                sink.bytes(text)?;
            }
            sink.u8(0)?;
            sink.align()?;
        }
        count(self.sources.len())
    }
}

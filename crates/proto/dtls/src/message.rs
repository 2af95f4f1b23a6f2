//! Handshake messages and their fragments (RFC 6347 §4.2.2, RFC 9147 §5.2).

use crate::codec::Reader;

/// Bytes of a fragment's header.
pub(crate) const MESSAGE_HEADER: usize = 12;

pub(crate) const CLIENT_HELLO: u8 = 1;
pub(crate) const SERVER_HELLO: u8 = 2;
pub(crate) const HELLO_VERIFY_REQUEST: u8 = 3;
pub(crate) const NEW_SESSION_TICKET: u8 = 4;
pub(crate) const ENCRYPTED_EXTENSIONS: u8 = 8;
pub(crate) const CERTIFICATE: u8 = 11;
pub(crate) const SERVER_KEY_EXCHANGE: u8 = 12;
pub(crate) const CERTIFICATE_REQUEST: u8 = 13;
pub(crate) const SERVER_HELLO_DONE: u8 = 14;
pub(crate) const CERTIFICATE_VERIFY: u8 = 15;
pub(crate) const CLIENT_KEY_EXCHANGE: u8 = 16;
pub(crate) const FINISHED: u8 = 20;
pub(crate) const CERTIFICATE_STATUS: u8 = 22;
pub(crate) const KEY_UPDATE: u8 = 24;
/// Stands for a first hello that was answered with a wish (RFC 8446 §4.4.1).
pub(crate) const MESSAGE_HASH: u8 = 254;

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) kind: u8,
    /// Its number.
    pub(crate) number: u16,
    /// The epoch of the records that it came in.
    pub(crate) epoch: u64,
    pub(crate) body: Vec<u8>,
}

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fragment<'a> {
    pub(crate) kind: u8,
    /// The message's number and length.
    pub(crate) number: u16,
    pub(crate) length: usize,
    /// Where in the message its bytes belong.
    pub(crate) from: usize,
    pub(crate) bytes: &'a [u8],
}

impl<'a> Fragment<'a> {
    fn parse(reader: &mut Reader<'a>) -> Option<Self> {
        let kind = reader.u8()?;
        let length = reader.number(3)?;
        let number = reader.u16()?;
        let from = reader.number(3)?;
        let bytes = reader.vector(3)?;
        (from + bytes.len() <= length).then_some(Self { kind, number, length, from, bytes })
    }

    /// The fragments in a record. `None`: it does not consist of whole ones.
    pub(crate) fn all(record: &'a [u8]) -> Option<Vec<Self>> {
        let mut reader = Reader::new(record);
        let mut all = Vec::new();
        while !reader.is_empty() {
            all.push(Self::parse(&mut reader)?);
        }
        (!all.is_empty()).then_some(all)
    }

    /// The header of a fragment.
    pub(crate) fn header(
        kind: u8,
        length: usize,
        number: u16,
        from: usize,
        bytes: usize,
    ) -> [u8; MESSAGE_HEADER] {
        let mut header = [0; MESSAGE_HEADER];
        header[0] = kind;
        header[1..4].copy_from_slice(&(length as u32).to_be_bytes()[1..]);
        header[4..6].copy_from_slice(&number.to_be_bytes());
        header[6..9].copy_from_slice(&(from as u32).to_be_bytes()[1..]);
        header[9..].copy_from_slice(&(bytes as u32).to_be_bytes()[1..]);
        header
    }
}

/// What both sides have said, as both sign it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transcript {
    bytes: Vec<u8>,
    /// Whether messages' numbers are a part of it: in DTLS 1.2.
    numbered: bool,
}

impl Transcript {
    pub(crate) fn new(numbered: bool) -> Self {
        Self { bytes: Vec::new(), numbered }
    }

    /// Appends a message.
    pub(crate) fn add(&mut self, kind: u8, number: u16, body: &[u8]) {
        let header = Fragment::header(kind, body.len(), number, 0, body.len());
        let header = if self.numbered { &header[..] } else { &header[..4] };
        self.bytes.extend_from_slice(header);
        self.bytes.extend_from_slice(body);
    }

    pub(crate) fn add_message(&mut self, message: &Message) {
        self.add(message.kind, message.number, &message.body);
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn hash(&self, hash: crypto::Hash) -> Vec<u8> {
        hash.of(&[&self.bytes])
    }
}

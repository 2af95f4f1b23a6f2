//! What a packet is, in the words of its protocol.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use netsim::Content;
use stun::{Class, Message, Method, Packet, TransactionId, kind};

/// What a message belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Layer {
    /// Offers, answers and candidates, beside the net.
    Signalling,
    /// A question to a STUN server, and its answer.
    Stun,
    /// A connectivity check of ICE, and its answer.
    Check,
    /// Talk with a TURN server.
    Turn,
    /// DTLS's handshake.
    Dtls,
    /// SCTP, inside DTLS.
    Sctp,
    /// A stream is set up or taken down.
    Stream,
    /// Something else.
    Other,
}

impl Layer {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Signalling,
        Self::Stun,
        Self::Check,
        Self::Turn,
        Self::Dtls,
        Self::Sctp,
        Self::Stream,
        Self::Other,
    ];

    /// A word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signalling => "signalling",
            Self::Stun => "stun",
            Self::Check => "check",
            Self::Turn => "turn",
            Self::Dtls => "dtls",
            Self::Sctp => "sctp",
            Self::Stream => "stream",
            Self::Other => "other",
        }
    }
}

/// A packet's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Named {
    pub(crate) layer: Layer,
    /// `Binding request`, `ClientHello`, `DATA`, …
    pub(crate) title: String,
    /// What it says, if that can be said in a few words.
    pub(crate) detail: String,
}

impl Named {
    fn new(layer: Layer, title: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { layer, title: title.into(), detail: detail.into() }
    }
}

/// Names packets one after another, and remembers what tells later ones.
#[derive(Default)]
pub(crate) struct Namer {
    /// Transactions that are checks of ICE.
    checks: BTreeSet<TransactionId>,
    /// Transactions whose request asked to use the pair.
    nominations: BTreeSet<TransactionId>,
    /// What DTLS datagrams were called when their sender sent them, by their last bytes, which no two have in common:
    /// a relay that passes them on has no idea.
    sealed: BTreeMap<Vec<u8>, Named>,
}

impl Namer {
    /// Names a packet. `sealed` has the SCTP packets that its sender has sent, in order, as they were before DTLS: each is taken
    /// when the record that it became comes along.
    pub(crate) fn name(&mut self, content: Content, bytes: &[u8], sealed: &mut VecDeque<Vec<u8>>) -> Named {
        match content {
            Content::Message => match line_to_proxy(bytes) {
                Some(line) => Named::new(Layer::Stream, line, ""),
                None => self.message(bytes, sealed),
            },
            Content::Datagram => self.message(bytes, sealed),
            other => Named::new(Layer::Stream, other.name(), ""),
        }
    }

    fn message(&mut self, bytes: &[u8], sealed: &mut VecDeque<Vec<u8>>) -> Named {
        match stun::classify(bytes) {
            Packet::Stun => match Message::parse(bytes) {
                Ok(message) => self.stun(&message, sealed),
                Err(_) => Named::new(Layer::Other, "noise", ""),
            },
            Packet::ChannelData => match turn::parse_channel_data(bytes) {
                Some((channel, data)) => {
                    let inner = self.message(&bytes[data], sealed);
                    Named {
                        title: format!("ChannelData: {}", inner.title),
                        detail: join(format!("channel {channel}"), inner.detail),
                        ..inner
                    }
                }
                // Anybody's own packets may begin with any byte.
                None => own_words(bytes),
            },
            Packet::Dtls => {
                let end = bytes[bytes.len().saturating_sub(TAG)..].to_vec();
                self.sealed.entry(end).or_insert_with(|| dtls(bytes, sealed)).clone()
            }
            _ => own_words(bytes),
        }
    }

    fn stun(&mut self, message: &Message<'_>, sealed: &mut VecDeque<Vec<u8>>) -> Named {
        let (class, method, id) = (message.class(), message.method(), message.transaction_id());
        let word = match class {
            Class::Request => "request",
            Class::Indication => "indication",
            Class::Success => "response",
            Class::Error => "error",
        };
        let title = format!("{method} {word}");
        if let Some(error) = message.error_code() {
            let layer = if self.checks.contains(&id) { Layer::Check } else { layer(method) };
            return Named::new(layer, format!("{title} {}", error.code), error.reason);
        }
        let peer =
            || message.xor_address(kind::XOR_PEER_ADDRESS).map(|peer| peer.to_string()).unwrap_or_default();
        match (method, class) {
            (Method::BINDING, Class::Request) if message.username().is_some() => {
                self.checks.insert(id);
                let what = match message.use_candidate() {
                    true => {
                        self.nominations.insert(id);
                        "USE-CANDIDATE: let us take this pair"
                    }
                    false => "connectivity check",
                };
                Named::new(Layer::Check, title, join(what.to_owned(), carried(message)))
            }
            (Method::BINDING, Class::Success) => {
                let seen = message
                    .xor_mapped_address()
                    .map(|seen| format!("I see you at {seen}"))
                    .unwrap_or_default();
                let agreed = if self.nominations.contains(&id) { "agreed" } else { "" };
                let layer = if self.checks.contains(&id) { Layer::Check } else { Layer::Stun };
                Named::new(layer, title, join(join(agreed.to_owned(), seen), carried(message)))
            }
            (Method::BINDING, Class::Request) => Named::new(Layer::Stun, title, "where do you see me?"),
            (Method::ALLOCATE, Class::Success) => {
                let relayed = message.xor_address(kind::XOR_RELAYED_ADDRESS);
                let relayed =
                    relayed.map(|relayed| format!("you can be reached at {relayed}")).unwrap_or_default();
                Named::new(Layer::Turn, title, relayed)
            }
            (Method::ALLOCATE, Class::Request) => Named::new(
                Layer::Turn,
                title,
                message.username().map(|_| "with credentials").unwrap_or_default(),
            ),
            (Method::REFRESH, Class::Request) => {
                let given_back = message.u32(kind::LIFETIME) == Some(0);
                Named::new(Layer::Turn, title, if given_back { "gives the relayed address back" } else { "" })
            }
            (Method::CREATE_PERMISSION, Class::Request) => {
                let peers: Vec<_> = message
                    .xor_addresses(kind::XOR_PEER_ADDRESS)
                    .flatten()
                    .map(|it| it.ip().to_string())
                    .collect();
                Named::new(Layer::Turn, title, format!("let {} in", peers.join(", ")))
            }
            (Method::CHANNEL_BIND, Class::Request) => {
                let channel = message.u32(kind::CHANNEL_NUMBER).unwrap_or_default() >> 16;
                Named::new(Layer::Turn, title, format!("{channel:#06x} means {}", peer()))
            }
            (Method::SEND | Method::DATA, Class::Indication) => {
                let inner = self.message(message.raw(kind::DATA).unwrap_or_default(), sealed);
                let (word, towards) = if method == Method::SEND { ("Send", "to") } else { ("Data", "from") };
                let detail = join(format!("{towards} {}", peer()), inner.detail);
                Named { title: format!("{word} indication: {}", inner.title), detail, ..inner }
            }
            _ => Named::new(layer(method), title, ""),
        }
    }
}

/// What rides in a check or its answer (draft-hancke-webrtc-sped-00).
fn carried(message: &Message<'_>) -> String {
    let packet = message.raw(kind::META_DTLS_IN_STUN).filter(|packet| !packet.is_empty());
    packet.map(|packet| format!("carries {}", dtls(packet, &mut VecDeque::new()).title)).unwrap_or_default()
}

/// What is said to an HTTP proxy, or by it: the first line.
fn line_to_proxy(bytes: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(bytes).ok()?.lines().next()?;
    let line = line.strip_suffix(" HTTP/1.1").or(Some(line).filter(|line| line.starts_with("HTTP/1.1 ")))?;
    Some(shortened(line))
}

/// What is in no protocol of ours.
fn own_words(bytes: &[u8]) -> Named {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.is_empty() && text.chars().all(|c| !c.is_control()) => {
            Named::new(Layer::Other, format!("“{}”", shortened(text)), "")
        }
        _ => Named::new(Layer::Other, format!("{} bytes", bytes.len()), ""),
    }
}

fn layer(method: Method) -> Layer {
    if method == Method::BINDING { Layer::Stun } else { Layer::Turn }
}

fn join(one: String, other: String) -> String {
    if one.is_empty() || other.is_empty() { one + &other } else { format!("{one}; {other}") }
}

fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    if text.chars().count() <= MOST {
        text.to_owned()
    } else {
        text.chars().take(MOST - 1).chain(['…']).collect()
    }
}

// DTLS.

const HEADER: usize = 13;
const TAG: usize = 16;
const EXPLICIT_NONCE: usize = 8;

/// A record, as far as it can be read without keys (RFC 6347 §4.1, RFC 9147 §4).
enum Record<'a> {
    Alert,
    ChangeCipherSpec,
    Handshake(&'a [u8]),
    SealedHandshake,
    /// Something sealed with the keys for data: this many bytes of it.
    Data(usize),
    Other,
}

/// Cuts a datagram into records.
fn records(mut bytes: &[u8]) -> Vec<Record<'_>> {
    let mut records = Vec::new();
    while let Some((&first, _)) = bytes.split_first() {
        let (record, length) = if first & 0xe0 == 0x20 { unified(bytes) } else { plain(bytes) };
        records.push(record);
        let Some(rest) = length.and_then(|length| bytes.get(length..)) else { break };
        bytes = rest;
    }
    records
}

fn unified(bytes: &[u8]) -> (Record<'_>, Option<usize>) {
    let first = bytes[0];
    let sequence = if first & 0x08 == 0 { 1 } else { 2 };
    let (header, length) = if first & 0x04 == 0 {
        (1 + sequence, bytes.len().saturating_sub(1 + sequence))
    } else {
        let at = 1 + sequence;
        let length =
            bytes.get(at..at + 2).map_or(0, |length| usize::from(u16::from_be_bytes([length[0], length[1]])));
        (at + 2, length)
    };
    // The lowest bits of the epoch: 2 is the handshake, 3 is data, and later ones are data with newer keys.
    let record = match first & 0x03 {
        2 => Record::SealedHandshake,
        // One byte behind the plaintext says what it is.
        _ => Record::Data(length.saturating_sub(TAG + 1)),
    };
    (record, Some(header + length))
}

fn plain(bytes: &[u8]) -> (Record<'_>, Option<usize>) {
    let Some(header) = bytes.first_chunk::<HEADER>() else { return (Record::Other, None) };
    let length = usize::from(u16::from_be_bytes([header[11], header[12]]));
    let sealed = header[3..5] != [0, 0];
    let body = bytes.get(HEADER..HEADER + length).unwrap_or_default();
    let record = match (header[0], sealed) {
        (20, _) => Record::ChangeCipherSpec,
        (21, _) => Record::Alert,
        (22, false) => Record::Handshake(body),
        (22, true) => Record::SealedHandshake,
        (23, _) => Record::Data(length.saturating_sub(TAG + EXPLICIT_NONCE)),
        _ => Record::Other,
    };
    (record, Some(HEADER + length))
}

fn dtls(bytes: &[u8], sealed: &mut VecDeque<Vec<u8>>) -> Named {
    let mut titles: Vec<String> = Vec::new();
    let mut details = Vec::new();
    let mut layer = Layer::Dtls;
    for record in records(bytes) {
        let title = match record {
            Record::Alert => "Alert".to_owned(),
            Record::ChangeCipherSpec => "ChangeCipherSpec".to_owned(),
            Record::Handshake(body) => handshake(body).to_owned(),
            Record::SealedHandshake => "rest of the handshake, sealed".to_owned(),
            Record::Data(length) => match sealed.pop_front_if(|packet| packet.len() == length) {
                Some(packet) => {
                    layer = Layer::Sctp;
                    let (title, detail) = sctp(&packet);
                    details.push(detail);
                    title
                }
                None => "sealed".to_owned(),
            },
            Record::Other => "noise".to_owned(),
        };
        if titles.last() != Some(&title) {
            titles.push(title);
        }
    }
    details.retain(|detail| !detail.is_empty());
    Named::new(layer, titles.join(", "), details.join("; "))
}

fn handshake(body: &[u8]) -> &'static str {
    match body.first() {
        Some(1) => "ClientHello",
        Some(2) => "ServerHello",
        Some(3) => "HelloVerifyRequest",
        Some(11) => "Certificate",
        Some(12) => "ServerKeyExchange",
        Some(13) => "CertificateRequest",
        Some(14) => "ServerHelloDone",
        Some(15) => "CertificateVerify",
        Some(16) => "ClientKeyExchange",
        Some(20) => "Finished",
        _ => "handshake",
    }
}

// SCTP.

const COMMON_HEADER: usize = 12;
const CHUNK_HEADER: usize = 4;
const DATA_HEADER: usize = 16;
const I_DATA_HEADER: usize = 20;
/// The flag of the first fragment of a message.
const BEGIN: u8 = 2;
/// What a DATA chunk carries (RFC 8831 §8, RFC 8832 §8.1).
const PPID_DCEP: u32 = 50;
const PPID_TEXT: u32 = 51;

/// The chunks of an SCTP packet (RFC 9260 §3, RFC 8260 §2).
fn sctp(packet: &[u8]) -> (String, String) {
    let mut titles: Vec<&str> = Vec::new();
    let mut detail = String::new();
    let mut rest = packet.get(COMMON_HEADER..).unwrap_or_default();
    while let Some(header) = rest.first_chunk::<CHUNK_HEADER>() {
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let Some(chunk) = rest.get(..length).filter(|chunk| chunk.len() >= CHUNK_HEADER) else { break };
        titles.push(match header[0] {
            0 => {
                data(chunk, DATA_HEADER, &mut detail);
                "DATA"
            }
            1 => "INIT",
            2 => "INIT ACK",
            3 => "SACK",
            4 => "HEARTBEAT",
            5 => "HEARTBEAT ACK",
            6 => "ABORT",
            7 => "SHUTDOWN",
            8 => "SHUTDOWN ACK",
            9 => "ERROR",
            10 => "COOKIE ECHO",
            11 => "COOKIE ACK",
            14 => "SHUTDOWN COMPLETE",
            64 => {
                data(chunk, I_DATA_HEADER, &mut detail);
                "I-DATA"
            }
            130 => "RE-CONFIG",
            132 => "PAD",
            192 => "FORWARD TSN",
            194 => "I-FORWARD TSN",
            _ => "chunk",
        });
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    titles.dedup();
    (titles.join(" + "), detail)
}

/// What a chunk with a header of this length carries. The header ends with the protocol, or with the fragment's number in
/// the later ones of I-DATA.
fn data(chunk: &[u8], header: usize, detail: &mut String) {
    let Some((header, payload)) = chunk.split_at_checked(header) else { return };
    let protocol = match header.last_chunk() {
        Some(bytes) if header.len() == DATA_HEADER || header[1] & BEGIN != 0 => u32::from_be_bytes(*bytes),
        _ => 0,
    };
    if !detail.is_empty() {
        detail.push_str("; ");
    }
    let told = match (protocol, payload.first()) {
        (PPID_DCEP, Some(3)) => write!(detail, "opens a channel"),
        (PPID_DCEP, Some(2)) => write!(detail, "the channel is open"),
        (PPID_TEXT, _) => write!(detail, "“{}”", shortened(&String::from_utf8_lossy(payload))),
        _ => write!(detail, "{} bytes", payload.len()),
    };
    told.expect("a string takes everything");
}

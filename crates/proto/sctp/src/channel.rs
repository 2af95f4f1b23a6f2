use std::fmt;
use std::time::Duration;

/// A data channel within its association: the number of the two SCTP streams, one per direction, that it is made
/// of (RFC 8831 §6.4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u16);

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({})", self.0)
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a channel promises. The same in both directions for channels that are opened in band.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelConfig {
    /// A name for people and programs; need not be unique. At most 65,535 bytes.
    pub label: String,
    /// A subprotocol, or nothing. At most 65,535 bytes.
    pub protocol: String,
    /// Whether messages are delivered in the order in which they were sent.
    pub ordered: bool,
    /// How hard the sender tries.
    pub reliability: Reliability,
    /// `Some`: the two applications agreed on this number by other means, and no message announces the channel
    /// (W3C `negotiated: true`). `None`: announced in band (RFC 8832), and numbered by the association.
    pub negotiated: Option<ChannelId>,
    /// RFC 8831 §6.4: 128 below normal, 256 normal, 512 high, 1024 extra high. Channels that have something to send share
    /// the path in this proportion. Told to the peer.
    pub priority: u16,
}

impl Default for ChannelConfig {
    /// Ordered, reliable, announced in band, without a label, of normal priority.
    fn default() -> Self {
        Self {
            label: String::new(),
            protocol: String::new(),
            ordered: true,
            reliability: Reliability::Reliable,
            negotiated: None,
            priority: 256,
        }
    }
}

/// How hard a channel tries to deliver a message before it gives it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Reliability {
    /// Until it is delivered or the association ends.
    #[default]
    Reliable,
    /// At most so many retransmissions (RFC 7496 §3.1). W3C `maxRetransmits`.
    MaxRetransmits(u16),
    /// For so long, from when it was handed over; whole milliseconds count (RFC 3758 §4.1). W3C `maxPacketLifeTime`.
    MaxLifetime(Duration),
}

/// The two kinds of messages (RFC 8831 §6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8.
    Text,
    /// Any bytes.
    Binary,
}

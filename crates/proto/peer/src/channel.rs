use std::fmt;

/// A data channel of one [`Connection`](crate::Connection).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub(crate) u32);

impl fmt::Debug for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChannelId({})", self.0)
    }
}

/// The two kinds of messages (RFC 8831 §6.6).
pub use sctp::MessageKind;

/// How a channel is to be (`RTCDataChannelInit`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataChannelInit {
    /// Whether messages arrive in the order in which they were sent.
    pub ordered: bool,
    /// Milliseconds after which a message is given up.
    pub max_packet_life_time: Option<u16>,
    /// Repetitions after which a message is given up. Not together with `max_packet_life_time`.
    pub max_retransmits: Option<u16>,
    /// A subprotocol, or nothing.
    pub protocol: String,
    /// Whether both applications make the channel, with the same `id`, and none is announced.
    pub negotiated: bool,
    /// The number of the channel, for negotiated ones; others get theirs from the connection.
    pub id: Option<u16>,
}

impl Default for DataChannelInit {
    /// Ordered and reliable.
    fn default() -> Self {
        Self {
            ordered: true,
            max_packet_life_time: None,
            max_retransmits: None,
            protocol: String::new(),
            negotiated: false,
            id: None,
        }
    }
}

/// Where a channel stands (`RTCDataChannelState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelState {
    /// The connection is not there yet.
    Connecting,
    /// Messages can be sent.
    Open,
    /// No more messages are taken; those that were are still delivered.
    Closing,
}

impl ChannelState {
    /// As W3C spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Open => "open",
            Self::Closing => "closing",
        }
    }
}

/// A data channel, as its owner may look at it (`RTCDataChannel`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its name for people and programs.
    pub label: String,
    /// How it is.
    pub init: DataChannelInit,
    /// Where it stands.
    pub state: ChannelState,
    /// Messages that were taken for sending.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages that came.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// What `bufferedamountlow` is measured by.
    pub(crate) low_threshold: usize,
}

/// Why a channel could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The connection is closed (`InvalidStateError`).
    #[error("the connection is closed")]
    Closed,
    /// Label or protocol have more than 65,535 bytes (`TypeError`).
    #[error("the label or the protocol is too long")]
    TooLong,
    /// `max_packet_life_time` and `max_retransmits` exclude each other (`TypeError`).
    #[error("max_packet_life_time and max_retransmits exclude each other")]
    TwoLimits,
    /// A negotiated channel needs an `id` from 0 to 65534 (`TypeError`).
    #[error("a negotiated channel needs an id from 0 to 65534")]
    InvalidId,
    /// The `id` belongs to another channel (`OperationError`).
    #[error("a channel with this id exists")]
    InUse,
    /// There are as many channels as can be (`OperationError`).
    #[error("there are too many channels")]
    TooMany,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The channel is not open yet (`InvalidStateError`).
    #[error("the channel is not open yet")]
    NotOpen,
    /// There is no such channel, or no longer (`InvalidStateError`).
    #[error("the channel is closed")]
    Closed,
    /// The buffer is full: wait for [`Event::Writable`](crate::Event::Writable) (`OperationError`).
    #[error("the send buffer is full")]
    Full,
    /// The message is larger than the other side takes (`TypeError`).
    #[error("the message is larger than the {limit} bytes that the other side takes")]
    TooLarge {
        /// Bytes.
        limit: u32,
    },
    /// The bytes of a text message are not UTF-8.
    #[error("the text is not valid UTF-8")]
    NotText,
}

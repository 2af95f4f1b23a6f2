use bytes::Bytes;

use crate::{ChannelConfig, ChannelId, MessageKind};

/// What an [`Association`](crate::Association) tells its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer answered: the association is up. Channels could be opened and written before.
    Connected,
    /// A channel is open in the sense of W3C `readyState`: of ours once the association is up, without waiting
    /// for the peer to acknowledge it; of the peer's when its announcement comes.
    ChannelOpened {
        /// Which.
        id: ChannelId,
        /// What it promises.
        config: ChannelConfig,
        /// Whether the peer opened it.
        incoming: bool,
    },
    /// A message came.
    MessageReceived {
        /// On which channel.
        id: ChannelId,
        /// Of which kind.
        kind: MessageKind,
        /// Its bytes. Always valid UTF-8 if the kind is text.
        data: Bytes,
    },
    /// What is buffered on the channel fell to the threshold, or below
    /// ([`Association::set_buffered_amount_low_threshold`](crate::Association::set_buffered_amount_low_threshold)).
    BufferedAmountLow(ChannelId),
    /// After a [`SendError::Full`](crate::SendError::Full): half of the channel's buffer is free again.
    Writable(ChannelId),
    /// The channel is closed, by either side, and its number can be used again. All that the peer had sent on it
    /// was reported before; what we had sent was delivered, unless the association ended.
    ChannelClosed(ChannelId),
    /// The association ended for a reason other than an orderly close. Nothing comes after it.
    Failed(SctpError),
    /// The association ended because one side closed it. Nothing comes after it.
    Closed,
}

/// Why an association failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SctpError {
    /// The peer never answered.
    #[error("the peer does not answer SCTP: it may not support data channels on this connection")]
    NoAnswer,
    /// The peer ended the association and told why.
    #[error("the peer ended the data channels: {0}")]
    Aborted(String),
    /// The peer broke the rules of the protocol, or sent a message larger than was agreed.
    #[error("the peer broke the SCTP protocol: {0}")]
    Protocol(String),
}

impl SctpError {
    /// A stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoAnswer => "sctp-no-answer",
            Self::Aborted(_) => "sctp-aborted",
            Self::Protocol(_) => "sctp-protocol",
        }
    }
}

/// What was said to be the peer's INIT is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no INIT chunk of SCTP")]
pub struct InitError;

/// Why a channel could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The number is taken by another channel.
    #[error("a channel with this id exists")]
    InUse,
    /// 65,535 is not a stream number (RFC 8832 §6), and the peer may allow fewer.
    #[error("there is no such channel id on this association")]
    InvalidId,
    /// No number of our parity is left, or [`Config::max_channels`](crate::Config::max_channels) are open.
    #[error("there are too many channels")]
    Exhausted,
    /// The label or the protocol is longer than 65,535 bytes.
    #[error("the label or the protocol is too long")]
    TooLong,
    /// The association has ended.
    #[error("the association has ended")]
    Closed,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The channel's send buffer is full: wait for [`Event::Writable`].
    #[error("the send buffer is full")]
    Full,
    /// The message is larger than the peer accepts.
    #[error("the message is larger than the {limit} bytes that the peer accepts")]
    TooLarge {
        /// The peer's `a=max-message-size`.
        limit: u32,
    },
    /// A text message must be valid UTF-8.
    #[error("the text is not valid UTF-8")]
    NotText,
    /// There is no such channel, or it is closing or closed.
    #[error("the channel is closed")]
    Closed,
}

use peer::Failure;

/// Why a wish of a [`PeerConnection`](crate::PeerConnection)'s holder was not granted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no tokio runtime here to run the connection.
    #[error("there is no tokio runtime here: call this inside one, for instance under #[tokio::main]")]
    NoRuntime,
    /// A port cannot be had.
    #[error("{address} cannot be bound: {error}")]
    Bind {
        /// The address that was wanted.
        address: std::net::SocketAddr,
        /// What is wrong with it.
        error: sansio::SocketError,
    },
    /// The endpoint has as many connections as it may have.
    #[error("there are too many connections on this endpoint")]
    TooMany,
    /// No certificate could be made.
    #[error("no certificate could be made: {0}")]
    Certificate(String),
    /// The URL of a server cannot be used.
    #[error("the server {url:?} cannot be used: {error}")]
    Server {
        /// The URL.
        url: String,
        /// What is wrong with it.
        error: ice::ServerUrlError,
    },
    /// A TURN server without a user or a password.
    #[error("the TURN server {url:?} needs a username and a credential")]
    NoCredential {
        /// The URL.
        url: String,
    },
    /// An offer, an answer or a candidate cannot be made or used.
    #[error(transparent)]
    Negotiation(#[from] peer::Error),
    /// A channel cannot be made.
    #[error(transparent)]
    Channel(#[from] peer::ChannelError),
    /// A transceiver cannot be made, or not be as was wished.
    #[error(transparent)]
    Media(#[from] peer::TransceiverError),
    /// The connection is closed, by this side or the other.
    #[error("the connection is closed")]
    Closed,
    /// The connection did not come about, or broke.
    #[error("{0}")]
    Failed(Box<Failure>),
}

impl Error {
    /// A stable word for programs: `ice-…`, `dtls-…`, `sctp-…` for a failed connection, and a few of its own.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoRuntime => "no-runtime",
            Self::Bind { .. } => "bind",
            Self::TooMany => "too-many-connections",
            Self::Certificate(_) => "certificate",
            Self::Server { .. } => "server-url",
            Self::NoCredential { .. } => "server-credential",
            Self::Negotiation(_) => "negotiation",
            Self::Channel(_) => "channel",
            Self::Media(_) => "media",
            Self::Closed => "closed",
            Self::Failed(failure) => failure.code(),
        }
    }

    /// The evidence, if the connection failed.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) => Some(failure),
            _ => None,
        }
    }
}

/// Why a message was not sent, or a channel does not work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The buffer is full. Only the forms that do not wait say so.
    #[error("the send buffer is full: wait, or use the form of send that does")]
    Full,
    /// The connection is not there yet. Only the forms that do not wait say so.
    #[error("the channel is not open yet: wait for it with opened(), or use the form of send that does")]
    NotOpen,
    /// The message is larger than the other side takes.
    #[error("the message is larger than the {limit} bytes that the other side takes: send it in pieces")]
    TooLarge {
        /// Bytes.
        limit: u32,
    },
    /// The channel is closed, by this side or the other.
    #[error("the channel is closed")]
    Closed,
    /// The connection did not come about, or broke.
    #[error("{0}")]
    Failed(Box<Failure>),
}

impl From<SendError> for std::io::Error {
    fn from(error: SendError) -> Self {
        use std::io::ErrorKind as Kind;
        let kind = match &error {
            SendError::Full | SendError::NotOpen => Kind::WouldBlock,
            SendError::TooLarge { .. } => Kind::InvalidInput,
            SendError::Closed => Kind::BrokenPipe,
            SendError::Failed(_) => Kind::ConnectionAborted,
        };
        Self::new(kind, error)
    }
}

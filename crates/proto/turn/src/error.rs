use std::fmt;

/// Which step of an allocation's life something happened in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Asking for a relayed address.
    Allocate,
    /// Keeping the relayed address.
    Refresh,
    /// Asking for permission to exchange packets with a peer.
    CreatePermission,
    /// Asking for a channel to a peer.
    ChannelBind,
    /// Asking for a TCP connection with a peer.
    Connect,
    /// The connection to the server.
    Connection,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allocate => "asking the TURN server for a relayed address",
            Self::Refresh => "keeping the relayed address",
            Self::CreatePermission => "asking the TURN server for a permission",
            Self::ChannelBind => "asking the TURN server for a channel",
            Self::Connect => "asking the TURN server to connect to a peer",
            Self::Connection => "talking to the TURN server",
        })
    }
}

/// How an allocation ended that should have lived: what the server said, and what a person can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnError {
    /// The STUN error code of the server's answer; `None` if there was no answer, or none that could be trusted.
    pub code: Option<u16>,
    /// The server's words, or ours where it had none.
    pub reason: String,
    /// What was being done.
    pub stage: Stage,
    /// What to do about it, in a sentence or two.
    pub hint: String,
}

impl fmt::Display for TurnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: ", self.stage)?;
        if let Some(code) = self.code {
            write!(f, "{code} ")?;
        }
        write!(f, "{}. {}", self.reason, self.hint)
    }
}

impl std::error::Error for TurnError {}

use std::time::Duration;

use crate::{Nat, Summary};

/// All that is known of an attempt to connect, or of a machine that has not tried yet. What is not known is left at
/// its default; [`examine`](crate::examine) never takes that for a fact.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// How the attempt stands.
    pub outcome: Outcome,
    /// What ICE has done and what came of it.
    pub ice: ice::Report,
    /// Whether only relayed paths were wanted.
    pub relay_only: bool,
    /// How far the secure connection on the path is.
    pub secure: Secure,
    /// Why there are no data channels on a secure connection that stands, if there are none.
    pub channels: Option<String>,
    /// What went over the path, ICE's own packets not counted.
    pub traffic: Traffic,
    /// The largest IP packet that we send, in bytes; 0 if unknown.
    pub mtu: usize,
    /// The largest IP packet that was measured to pass, in bytes, on the way to a server or to the other side.
    pub path_mtu: Option<usize>,
    /// What discovery found.
    pub nat: Option<Nat>,
    /// The addresses of this machine.
    pub interfaces: Vec<ice::Interface>,
    /// What the clocks say.
    pub clock: Clock,
    /// The realm that our TURN credentials are for, if that is known beforehand.
    pub expected_realm: Option<String>,
    /// The HTTP proxy that this machine is told to use, as `host:port`.
    pub proxy: Option<String>,
    /// The address of a captive portal that answers in place of others.
    pub captive_portal: Option<String>,
    /// What became of packets between us and our own relayed address.
    pub relay_echo: Option<Echo>,
    /// What the other side told of its own evidence.
    pub theirs: Option<Box<Summary>>,
}

/// How an attempt to connect stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nobody has tried: only the machine and its servers were looked at.
    #[default]
    Untried,
    /// It is under way.
    Connecting,
    /// There is a direct path.
    Direct,
    /// There is a path, through a TURN server.
    Relayed,
    /// There was never a connection.
    Failed,
    /// There was one, and it is gone.
    Lost,
}

/// How far the secure connection is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Secure {
    /// Not begun: there is no path.
    #[default]
    Idle,
    /// The handshake is under way.
    Handshaking,
    /// It stands.
    Connected,
    /// It failed.
    Failed(dtls::DtlsError),
}

/// What went over the path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets that were sent.
    pub packets_sent: u64,
    /// Packets that came.
    pub packets_received: u64,
    /// The largest that was sent, in bytes of UDP payload.
    pub largest_sent: usize,
    /// The largest that came.
    pub largest_received: usize,
}

/// What clocks say, in Unix time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock {
    /// Ours.
    pub ours: Option<Duration>,
    /// The servers', at the same moment.
    pub servers: Option<Duration>,
}

/// Packets between a socket of ours and our own relayed address, past the server and through it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Echo {
    /// Sent to the relayed address.
    pub sent: u32,
    /// Of these, came to us through the relay.
    pub received: u32,
    /// Came the other way: sent through the relay to the socket.
    pub returned: u32,
}

impl Clock {
    /// By how much our clock is ahead of the servers', in seconds.
    pub fn ahead(&self) -> Option<i64> {
        let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Some(seconds(self.ours?) - seconds(self.servers?))
    }
}

use std::fmt;

use sansio::{Path, Transport};

/// What a packet carries.
///
/// Streams travel as messages: there are no acknowledgements, and TLS is a message each way, with names and no keys.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Content {
    /// A UDP datagram.
    Datagram,
    /// The first packet of a stream.
    Syn,
    /// The answer to it.
    SynAck,
    /// The TLS client's first flight.
    TlsHello,
    /// The TLS server's answer.
    TlsAnswer,
    /// TLS goes no further.
    TlsAlert,
    /// A message of a stream.
    Message,
    /// The sender has no more to say.
    Fin,
    /// The stream is refused, or broken off.
    Reset,
    /// An error about a packet of which the path is the reverse; only there with [`Net::set_icmp`](crate::Net::set_icmp).
    Icmp(Icmp),
    /// A question by ICMP, "are you there?" (RFC 792). In its path the asker's port is the identifier, as in RFC 5508;
    /// the other port is 0. Sent by [`Net::ping`](crate::Net::ping).
    Echo {
        /// Which question of the asker's it is.
        sequence: u16,
    },
    /// The answer to it.
    EchoReply {
        /// That of the question.
        sequence: u16,
    },
    /// As [`Content::Icmp`], about an [`Content::Echo`].
    EchoError {
        /// What is wrong.
        error: Icmp,
        /// That of the question.
        sequence: u16,
    },
}

/// What a NAT has mappings of: those of one kind do not touch those of another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Traffic {
    /// Datagrams of UDP.
    Udp,
    /// Streams: TCP, with TLS or without.
    Stream,
    /// Questions by ICMP. The asker's identifier stands for a port (RFC 5508 §3.1).
    Query,
}

impl Traffic {
    /// What a packet belongs to; an error, to what the packet in it belonged to.
    pub const fn of(path: &Path, content: Content) -> Self {
        match content {
            Content::Echo { .. } | Content::EchoReply { .. } | Content::EchoError { .. } => Self::Query,
            _ => Self::over(path.transport),
        }
    }

    /// What goes over this transport.
    pub const fn over(transport: Transport) -> Self {
        if matches!(transport, Transport::Udp) { Self::Udp } else { Self::Stream }
    }
}

/// An error that ICMP or ICMPv6 tells (RFC 792, RFC 4443).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Icmp {
    /// Nobody listens to this port.
    PortUnreachable,
    /// There is no such host, or no way to it.
    HostUnreachable,
    /// A box does not want it to pass, and says so.
    Prohibited,
    /// It is larger than the next link takes.
    TooBig {
        /// What that takes, in bytes with headers.
        mtu: u16,
    },
}

impl Content {
    /// Whether it belongs to a stream.
    pub const fn is_stream(self) -> bool {
        use Content::{Datagram, Echo, EchoError, EchoReply, Icmp};
        !matches!(self, Datagram | Icmp(_) | Echo { .. } | EchoReply { .. } | EchoError { .. })
    }

    /// The error that it tells of, if it does.
    pub const fn error(self) -> Option<Icmp> {
        match self {
            Self::Icmp(error) | Self::EchoError { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Whether it ends a stream, as a NAT sees it (RFC 5382 §5).
    pub const fn closes(self) -> bool {
        matches!(self, Self::Fin | Self::Reset)
    }

    /// Its short name: `datagram`, `SYN`, `TLS hello`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Datagram => "datagram",
            Self::Syn => "SYN",
            Self::SynAck => "SYN-ACK",
            Self::TlsHello => "TLS hello",
            Self::TlsAnswer => "TLS answer",
            Self::TlsAlert => "TLS alert",
            Self::Message => "message",
            Self::Fin => "FIN",
            Self::Reset => "RST",
            Self::Icmp(error) | Self::EchoError { error, .. } => match error {
                Icmp::PortUnreachable => "ICMP port unreachable",
                Icmp::HostUnreachable => "ICMP host unreachable",
                Icmp::Prohibited => "ICMP administratively prohibited",
                Icmp::TooBig { .. } => "ICMP too big",
            },
            Self::Echo { .. } => "ICMP echo",
            Self::EchoReply { .. } => "ICMP echo reply",
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

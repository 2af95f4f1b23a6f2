use std::fmt;

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
        !matches!(self, Self::Datagram | Self::Icmp(_))
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
            Self::Icmp(Icmp::PortUnreachable) => "ICMP port unreachable",
            Self::Icmp(Icmp::HostUnreachable) => "ICMP host unreachable",
            Self::Icmp(Icmp::Prohibited) => "ICMP administratively prohibited",
            Self::Icmp(Icmp::TooBig { .. }) => "ICMP too big",
        }
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

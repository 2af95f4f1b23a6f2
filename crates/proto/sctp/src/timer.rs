/// What an association waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Nothing arrives: all is lost (RFC 9260 §6.3, T3-rtx).
    Retransmission,
    /// Nothing is heard: something is sent again (RFC 8985 §7).
    Probe,
    /// What was overtaken has not come after all (RFC 8985 §6).
    Reordering,
    /// The next packet may leave.
    Pace,
    /// A SACK has been delayed for long enough (RFC 9260 §6.2).
    Acknowledgement,
    /// A stream reset was not answered (RFC 6525 §5.1.1).
    Reset,
    /// A packet that probes for the path's MTU was not answered, or the next is due (RFC 8899).
    Size,
    /// A packet that tries whether what may be marked arrives was not answered.
    Marks,
    /// A channel that is being closed is forgotten, whatever the peer does.
    Closing(u16),
}

use crate::{Outbox, Path, SocketOp, SocketReply, Time};

/// One received datagram; mutable, so that it is decrypted where it lies.
#[derive(Debug)]
pub struct Datagram<'a, A = Path> {
    /// Which path it came by.
    pub from: A,
    /// Its bytes. What a machine leaves in them is unspecified.
    pub payload: &'a mut [u8],
}

/// A protocol state machine. See the [crate's front page](crate) for how it is driven.
pub trait Machine {
    /// What its datagrams are addressed by: a [`Path`], or `()` for a machine that rides on another.
    type Addr;
    /// What it tells its owner. Names are past tense.
    type Event;

    /// Takes a received datagram. Noise is counted and dropped: packets cannot fail.
    ///
    /// What the machine would otherwise have to copy and keep (a STUN answer, a relayed packet) it may write
    /// into `out` at once. All else leaves in [`Machine::poll_transmit`].
    fn handle_datagram(
        &mut self,
        now: Time,
        datagram: Datagram<'_, Self::Addr>,
        out: &mut dyn Outbox<Self::Addr>,
    );

    /// The datagram that is handed over next was marked on its way: a router had more to send than it could (CE, RFC 3168 §5).
    /// Machines that do not control congestion need not know.
    fn handle_mark(&mut self, _now: Time) {}

    /// Does what is due at `now`. Called early it does nothing; afterwards [`Machine::poll_timeout`] is later
    /// than `now` or `None`.
    fn handle_timeout(&mut self, now: Time);

    /// Writes what is ready to be sent, as far as there is room.
    fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox<Self::Addr>);

    /// The next thing the owner should know.
    fn poll_event(&mut self) -> Option<Self::Event>;

    /// When [`Machine::handle_timeout`] wants to be called next.
    fn poll_timeout(&self) -> Option<Time>;

    /// The next wish for a socket or a name. Only machines that open sockets have any.
    fn poll_socket(&mut self) -> Option<SocketOp> {
        None
    }

    /// Takes the answer to a [`SocketOp`].
    fn handle_socket(&mut self, _now: Time, _reply: SocketReply) {}
}

use std::net::SocketAddr;
use std::time::Instant;

/// One end of a connection, of whatever make, without I/O.
pub trait Contender: Send {
    /// Takes the other side's answer; only who has offered is given one.
    fn accept(&mut self, answer: &str);
    /// Takes a datagram from the other end.
    fn handle(&mut self, now: Instant, datagram: &mut [u8]);
    /// Does what is due, takes in what was received, and sends what wants to be sent.
    fn poll(&mut self, now: Instant, send: &mut dyn FnMut(&[u8]));
    /// When it wants to be polled next if nothing arrives.
    fn timeout(&mut self) -> Option<Instant>;
    /// Whether the channel can be written to.
    fn is_open(&self) -> bool;
    /// Writes a message; `false`: there is no room.
    fn write(&mut self, now: Instant, message: &[u8]) -> bool;
    /// Messages and bytes received so far.
    fn received(&self) -> Received;
}

/// What arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    pub messages: u64,
    pub bytes: u64,
}

impl Received {
    pub fn count(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}

/// What an end is told before it begins.
#[derive(Clone, Copy)]
pub struct Terms {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub channel: Channel,
}

/// What the channel promises.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// All messages, in their order.
    Reliable,
    /// Nothing: unordered, without retransmission.
    Fleeting,
}

/// An end and its description.
pub type Begun = (Box<dyn Contender>, String);

/// A make of WebRTC stack.
#[derive(Clone, Copy)]
pub struct Make {
    pub name: &'static str,
    /// The end that opens a channel, in band, and its offer.
    pub offer: fn(Terms) -> Begun,
    /// The end that takes the offer, and its answer.
    pub answer: fn(Terms, &str) -> Begun,
    /// What it leaves out.
    pub note: &'static str,
}

/// Bytes that may wait to be sent, for all makes.
pub const BUFFER: usize = 1 << 20;

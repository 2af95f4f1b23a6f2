//! Two servers with one address each that help out one another (RFC 5780 §6 needs two addresses).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{Outbox, Path, Rng, Seed, Time, Transport, unmapped};

use super::AMPLIFICATION;
use super::alternate::{Alternate, Order};
use crate::credential::{SharedSecret, WeakSecret};
use crate::{AttributeKind, Class, HEADER_BYTES, Key, Message, MessageWriter, Method, kind};

/// What one node asks the other to send: of the range that whoever comes first may use, and not understood by others.
const ORDER: AttributeKind = AttributeKind(0xFFB0);
/// An [`ORDER`] is as long as this, always.
const ORDER_BYTES: usize = 32;
/// A whole request to the other node: header, order, the client's address and the signature.
const MAX_BYTES: usize = 20 + 4 + ORDER_BYTES + 24 + 36;

/// Requests a second that one node may make of the other. Somebody who looks at a NAT makes a dozen.
const PER_SECOND: u32 = 200;
/// Lives of the other node (a process each) whose numbers are remembered.
const MAX_LIVES: usize = 16;

/// What two nodes share, so that nobody else can make one of them send anything.
#[derive(Clone)]
pub struct PartnerSecret(Key);

impl PartnerSecret {
    /// A secret.
    ///
    /// # Errors
    /// If it is short, or stands in manuals.
    pub fn new(secret: &str) -> Result<Self, WeakSecret> {
        SharedSecret::new(secret)?;
        Ok(Self(Key::from_bytes(&crypto::sha256(&[b"sterna-stun-partner\0", secret.trim().as_bytes()]))))
    }
}

impl fmt::Debug for PartnerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PartnerSecret(..)")
    }
}

/// The other node, as this one knows it.
///
/// [`Alternate`] has two addresses. Here the second one is another machine's: where an answer has to come from there,
/// that machine is asked to send it. It is told whose request it is (transaction and address) and which of the two
/// ports to use, and makes the answer itself: whoever has the secret can have Binding answers sent, and nothing else.
/// What strangers can do with it is what they can do with [`Alternate`], and less:
///
/// * a node is asked by a signed message from the other's address only, and answers no message twice;
/// * 200 times a second at most, whatever comes;
/// * the answer goes to where the client's request came from, and is no longer than from a server with two addresses;
/// * a client in a private network is answered only if the other node is in one, too: a forged sender must not
///   make a node reach into its own network.
#[derive(Debug)]
pub struct Partner {
    alternate: Alternate,
    key: Key,
    /// This process: its numbers begin anew.
    life: u64,
    sent: u64,
    outgoing: Budget,
    incoming: Budget,
    /// The other's lives, and which of their numbers have come; the last one that was heard of comes last.
    lives: Vec<(u64, Window)>,
}

impl Partner {
    /// `alternate.sockets()` begin with our two; the other two are the other node's. Both nodes use the same two ports.
    pub fn new(alternate: Alternate, secret: PartnerSecret, seed: Seed) -> Self {
        let life = Rng::new(seed).next_u64();
        let (outgoing, incoming) = (Budget::default(), Budget::default());
        Self { alternate, key: secret.0, life, sent: 0, outgoing, incoming, lives: Vec::new() }
    }

    /// Answers a Binding request that came by `from`, or has it answered; `false` if there was no room.
    pub fn answer(
        &mut self,
        now: Time,
        request: &Message<'_>,
        from: Path,
        software: Option<&str>,
        out: &mut dyn Outbox,
    ) -> bool {
        match self.alternate.order(request, from, software) {
            Ok(order) if self.is_theirs(&order) => self.forward(now, &order, out),
            _ => self.alternate.answer(request, from, software, out),
        }
    }

    /// The same for a request of RFC 3489. `None`: it is none.
    pub fn answer_classic(
        &mut self,
        now: Time,
        bytes: &[u8],
        from: Path,
        out: &mut dyn Outbox,
    ) -> Option<bool> {
        let order = self.alternate.classic_order(bytes, from)?;
        Some(match self.is_theirs(&order) {
            true => self.forward(now, &order, out),
            false => self.alternate.carry_out(&order, None, out),
        })
    }

    /// Does what the other node asks for. `false`: this message is not the other node's.
    pub fn handle(
        &mut self,
        now: Time,
        message: &Message<'_>,
        from: Path,
        software: Option<&str>,
        out: &mut dyn Outbox,
    ) -> bool {
        let asks = message.class() == Class::Indication && message.method() == Method::BINDING;
        let Some(value) = message.raw(ORDER).filter(|_| asks && from.transport == Transport::Udp) else {
            return false;
        };
        // Cheap tests first: strangers shall not make us compute.
        if from.remote.ip() == self.alternate.as_seen(self.alternate.sockets()[2]).ip()
            && self.alternate.is_first(from.local)
            && let Some((life, number, order)) = self.parse(value, message)
            && self.incoming.take(now)
            && message.check_integrity(&self.key).is_ok()
            && self.is_new(life, number)
            && self.may_be_answered(order.client)
        {
            self.alternate.carry_out(&order, software, out);
        }
        true
    }

    /// Whether the answer leaves from the other node.
    fn is_theirs(&self, order: &Order) -> bool {
        !self.alternate.is_first(order.local)
    }

    fn forward(&mut self, now: Time, order: &Order, out: &mut dyn Outbox) -> bool {
        if !self.outgoing.take(now) {
            return true; // as if the network had lost it
        }
        let [ours, _, theirs, _] = self.alternate.sockets();
        let path = Path::udp(ours, theirs);
        let mut value = [0; ORDER_BYTES];
        value[..8].copy_from_slice(&self.life.to_be_bytes());
        value[8..16].copy_from_slice(&self.sent.to_be_bytes());
        value[16] = u8::from(order.local.port() == self.alternate.sockets()[1].port());
        value[17] = order.asked.1 as u8;
        value[18] = u8::from(order.fingerprint);
        value[20..22].copy_from_slice(&order.port.to_be_bytes());
        value[22..24].copy_from_slice(&order.padding.map_or(0, |bytes| 1 + bytes as u16).to_be_bytes());
        value[24..28].copy_from_slice(&order.cookie);
        self.sent += 1;
        let key = &self.key;
        out.send(path, MAX_BYTES, &mut |buffer| {
            let mut writer = MessageWriter::new(buffer, Class::Indication, Method::BINDING, order.id);
            writer.raw(ORDER, &value).xor_address(kind::XOR_PEER_ADDRESS, order.client).integrity_sha256(key);
            writer.finish().unwrap_or(0)
        })
    }

    fn parse(&self, value: &[u8], message: &Message<'_>) -> Option<(u64, u64, Order)> {
        let value: &[u8; ORDER_BYTES] = value.try_into().ok()?;
        let eight = |at: usize| u64::from_be_bytes(std::array::from_fn(|byte| value[at + byte]));
        let two = |at: usize| u16::from_be_bytes([value[at], value[at + 1]]);
        let client = unmapped(message.xor_address(kind::XOR_PEER_ADDRESS)?);
        let sockets = self.alternate.sockets();
        let order = Order {
            id: message.transaction_id(),
            cookie: std::array::from_fn(|byte| value[24 + byte]),
            client,
            port: two(20),
            local: sockets[usize::from(value[16] & 1)],
            // The request came to the other node.
            asked: (1, usize::from(value[17] & 1)),
            padding: two(22).checked_sub(1).map(usize::from),
            // It came with a CHANGE-REQUEST at least, or it would not have come here.
            most: AMPLIFICATION * (HEADER_BYTES + 8),
            fingerprint: value[18] & 1 == 1,
        };
        (client.is_ipv4() == sockets[0].is_ipv4()).then_some((eight(0), eight(8), order))
    }

    /// Whether this number of this life has not come before.
    fn is_new(&mut self, life: u64, number: u64) -> bool {
        let mut window = match self.lives.iter().position(|(known, _)| *known == life) {
            Some(at) => self.lives.remove(at).1,
            None => Window::default(),
        };
        let new = window.take(number);
        if self.lives.len() == MAX_LIVES {
            self.lives.remove(0);
        }
        self.lives.push((life, window));
        new
    }

    fn may_be_answered(&self, client: SocketAddr) -> bool {
        let theirs = self.alternate.sockets()[2].ip();
        let nowhere = client.ip().is_unspecified() || client.ip().is_multicast() || client.port() == 0;
        !nowhere && (!is_private(client.ip()) || is_private(theirs))
    }
}

/// Whether an address belongs to some network of its own: private, shared, of the link or the machine.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let shared = a == 100 && b & 0xc0 == 64;
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_broadcast() || shared || a == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.segments()[0] & 0xfe00 == 0xfc00 || v6.is_unicast_link_local()
        }
    }
}

/// So many a second, and a second's worth at once.
#[derive(Debug, Default)]
struct Budget {
    /// When it will be full again.
    full_at: Time,
}

impl Budget {
    fn take(&mut self, now: Time) -> bool {
        let full_at = self.full_at.max(now) + Duration::from_secs(1) / PER_SECOND;
        let fits = full_at.since(now) <= Duration::from_secs(1);
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

/// The numbers that have come: the highest, and which of the 63 before it.
#[derive(Debug, Default)]
struct Window {
    next: u64,
    seen: u64,
}

impl Window {
    fn take(&mut self, number: u64) -> bool {
        if number >= self.next {
            let shift = number - self.next + 1;
            self.seen = if shift < 64 { self.seen << shift | 1 } else { 1 };
            self.next = number.saturating_add(1);
            return number < u64::MAX;
        }
        let back = self.next - 1 - number;
        let new = back < 64 && self.seen & 1 << back == 0;
        if new {
            self.seen |= 1 << back;
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_taken_once_in_whatever_order_they_come() {
        let mut window = Window::default();
        for (number, new) in [
            (0, true),
            (0, false),
            (5, true),
            (3, true),
            (3, false),
            (5, false),
            (70, true),
            (6, false),
            (7, true),
            (69, true),
        ] {
            assert_eq!(window.take(number), new, "{number}");
        }
        assert!(!window.take(u64::MAX) && !window.take(0));
    }

    #[test]
    fn the_budget_comes_back_with_time() {
        let mut budget = Budget::default();
        let taken = (0..1000).filter(|_| budget.take(Time::ZERO)).count();
        assert_eq!(taken, PER_SECOND as usize);
        assert!(budget.take(Time::ZERO + Duration::from_millis(10)));
    }
}

use std::collections::{BTreeMap, VecDeque};

use stun::{Message, MessageWriter, kind};

use crate::pair::PairId;

/// The largest packet that rides in a check: the check with it still fits everywhere, TURN's header included. (Chromium
/// has the same limit.)
pub(crate) const MAX_PARCEL: usize = 900;
/// The largest that is taken. Nobody has a reason to send as much.
const MAX_TAKEN: usize = 1200;
/// Packets that wait for an acknowledgement. Of more, the oldest give way: a later flight has replaced them.
const MAX_WAITING: usize = 8;
/// Ways that are told apart. There are no more pairs in a check list.
const MAX_WAYS: usize = 100;
/// Packets that one message acknowledges ("up to four CRC-32 values").
const MAX_ACKNOWLEDGED: usize = 4;
/// Packets that are recognised when they come again, as they do by each pair.
const MAX_SEEN: usize = 32;

/// Packets of the DTLS handshake that ride in checks and their answers (draft-hancke-webrtc-sped-00).
///
/// The handshake need not wait until a path is found: its packets go wherever checks go, again and again, until the other
/// side has said that it has them. They are told apart by their CRC-32.
#[derive(Debug, Default)]
pub(crate) struct Parcels {
    stage: Stage,
    waiting: Vec<Parcel>,
    /// The CRCs of those that came, the latest last.
    seen: VecDeque<u32>,
    /// Those that came and were not handed out yet, by whom: before the answer we do not know whose it will be.
    arrived: VecDeque<Arrival>,
}

#[derive(Debug)]
struct Arrival {
    ufrag: String,
    crc: u32,
    packet: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Not agreed on, or over.
    #[default]
    Off,
    /// Offered: what comes already is kept until the answer comes.
    Offered,
    /// The handshake is under way.
    Open,
    /// The handshake is complete here; perhaps not there.
    Closing,
}

#[derive(Debug)]
struct Parcel {
    crc: u32,
    packet: Vec<u8>,
    /// How often it was sent.
    sent: u32,
    /// How often on each way.
    ways: BTreeMap<Option<PairId>, u32>,
}

impl Parcel {
    fn sent_on(&self, way: Option<PairId>) -> u32 {
        self.ways.get(&way).copied().unwrap_or_default()
    }

    fn count(&mut self, way: Option<PairId>) {
        self.sent += 1;
        if self.ways.len() < MAX_WAYS || self.ways.contains_key(&way) {
            *self.ways.entry(way).or_default() += 1;
        }
    }
}

/// What one message carries: nothing, an acknowledgement, or that and a packet (an empty one says that there is none).
#[derive(Debug, Default)]
pub(crate) struct Load<'a> {
    acknowledged: Option<Vec<u8>>,
    packet: Option<&'a [u8]>,
}

impl Load<'_> {
    /// Bytes that it takes.
    pub(crate) fn length(&self) -> usize {
        let attribute = |length: usize| 4 + length.next_multiple_of(4);
        self.acknowledged.as_ref().map_or(0, |it| attribute(it.len()))
            + self.packet.map_or(0, |packet| attribute(packet.len()))
    }

    /// Adds it to a message. What is not signed does not count, so this comes before the signature.
    pub(crate) fn write(&self, writer: &mut MessageWriter<'_>) {
        if let Some(acknowledged) = &self.acknowledged {
            writer.raw(kind::META_DTLS_IN_STUN_ACKNOWLEDGEMENT, acknowledged);
        }
        if let Some(packet) = self.packet {
            writer.raw(kind::META_DTLS_IN_STUN, packet);
        }
    }
}

impl Parcels {
    /// We want it; whether the other side does is not known yet.
    pub(crate) fn offer(&mut self) {
        if self.stage == Stage::Off {
            self.stage = Stage::Offered;
        }
    }

    /// Both sides want it: packets are carried from now on. What this user sent before is taken.
    pub(crate) fn open(&mut self, ufrag: &str) {
        let early = std::mem::take(self);
        self.stage = Stage::Open;
        if early.stage == Stage::Offered {
            self.arrived = early.arrived.into_iter().filter(|arrival| arrival.ufrag == ufrag).collect();
            self.seen = self.arrived.iter().map(|arrival| arrival.crc).collect();
        }
    }

    /// Whether there may be packets, ours or theirs.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Closing)
    }

    /// Takes a packet along. `sent`: it has left by itself already, and rides along in case that it is lost.
    pub(crate) fn put(&mut self, packet: &[u8], sent: bool) {
        if !self.is_open() || packet.is_empty() || packet.len() > MAX_PARCEL {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.waiting.remove(0);
        }
        let crc = crypto::crc32(&[packet]);
        self.waiting.push(Parcel {
            crc,
            packet: packet.to_vec(),
            sent: u32::from(sent),
            ways: BTreeMap::new(),
        });
    }

    /// The handshake is complete on this side. `answered`: with what the other side has said, so that it lacks nothing.
    pub(crate) fn close(&mut self, answered: bool) {
        if self.stage == Stage::Open {
            self.stage = Stage::Closing;
        }
        if answered {
            self.waiting.clear();
        }
    }

    /// Nothing is carried any more.
    pub(crate) fn end(&mut self) {
        *self = Self::default();
    }

    /// How many copies are to be sent before all packets have been sent twice: one that is lost costs more than one too many.
    pub(crate) fn scarce(&self) -> usize {
        self.waiting.iter().map(|parcel| 2_usize.saturating_sub(parcel.sent as usize)).sum()
    }

    /// How many packets wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// What a message carries that had better be small: the path may not take large ones.
    pub(crate) fn light(&self) -> Load<'_> {
        match self.stage {
            Stage::Off => Load::default(),
            Stage::Closing if self.waiting.is_empty() => Load { packet: None, ..self.acknowledgement() },
            Stage::Offered | Stage::Open | Stage::Closing => self.acknowledgement(),
        }
    }

    fn acknowledgement(&self) -> Load<'static> {
        let latest = self.seen.iter().rev().take(MAX_ACKNOWLEDGED);
        let acknowledged = Some(latest.flat_map(|crc| crc.to_be_bytes()).collect());
        Load { acknowledged, packet: Some(&[]) }
    }

    /// What the next message on a way carries: of the packets that wait the one that was sent there least often.
    pub(crate) fn next(&mut self, way: Option<PairId>) -> Load<'_> {
        let light = self.light();
        let (acknowledged, empty) = (light.acknowledged, light.packet.map(|_| &[][..]));
        let next = self.waiting.iter_mut().min_by_key(|parcel| (parcel.sent_on(way), parcel.sent));
        let packet = next.map(|parcel| {
            parcel.count(way);
            &parcel.packet[..]
        });
        Load { acknowledged, packet: packet.or(empty) }
    }

    /// Whether a message has anything for us.
    pub(crate) fn are_in(&self, message: &Message<'_>) -> bool {
        self.stage != Stage::Off
            && (message.raw(kind::META_DTLS_IN_STUN).is_some()
                || message.raw(kind::META_DTLS_IN_STUN_ACKNOWLEDGEMENT).is_some())
    }

    /// The next packet that came.
    pub(crate) fn poll(&mut self) -> Option<Vec<u8>> {
        if !self.is_open() {
            return None;
        }
        self.arrived.pop_front().map(|arrival| arrival.packet)
    }

    /// Takes what a message carries, that this user of the other side has signed.
    pub(crate) fn receive(&mut self, message: &Message<'_>, ufrag: &str) {
        let packet = message.raw(kind::META_DTLS_IN_STUN);
        let acknowledged = message.raw(kind::META_DTLS_IN_STUN_ACKNOWLEDGEMENT);
        match (packet, acknowledged) {
            _ if self.stage == Stage::Off => return,
            _ if self.stage == Stage::Offered => {}
            // "determines that the peer does not support the protocol", or has ended it.
            (None, None) => return self.end(),
            (None, Some(_)) if self.stage == Stage::Closing && self.waiting.is_empty() => return self.end(),
            _ => {}
        }
        let acknowledged = acknowledged.filter(|it| it.len() % 4 == 0 && it.len() <= 4 * MAX_ACKNOWLEDGED);
        for crc in acknowledged.unwrap_or_default().chunks_exact(4) {
            self.waiting.retain(|parcel| parcel.crc.to_be_bytes() != *crc);
        }
        // RFC 9443 §3: what is DTLS.
        let is_dtls = |packet: &&[u8]| matches!(packet.first(), Some(20..=63));
        let Some(packet) = packet.filter(|packet| packet.len() <= MAX_TAKEN).filter(is_dtls) else { return };
        let crc = crypto::crc32(&[packet]);
        if let Some(at) = self.seen.iter().position(|seen| *seen == crc) {
            // It came again, so the acknowledgement was lost: it is among the next ones.
            self.seen.remove(at);
            return self.seen.push_back(crc);
        }
        if self.arrived.len() >= MAX_WAITING {
            return;
        }
        if self.seen.len() >= MAX_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(crc);
        self.arrived.push_back(Arrival { ufrag: ufrag.to_owned(), crc, packet: packet.to_vec() });
    }
}

#[cfg(test)]
mod tests {
    use stun::{Class, Method, TransactionId};

    use super::*;

    /// A packet that looks like a handshake record, of this content.
    fn packet(content: u8) -> Vec<u8> {
        vec![22, content, content]
    }

    fn message(load: &Load<'_>) -> Vec<u8> {
        let mut buffer = vec![0; 2000];
        let mut writer =
            MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([1; 12]));
        load.write(&mut writer);
        let length = writer.fingerprint().finish().unwrap();
        assert_eq!(length, 20 + load.length() + 8);
        buffer.truncate(length);
        buffer
    }

    /// One message from the first to the second. Returns the packet that the second is given.
    fn tell(from: &mut Parcels, to: &mut Parcels) -> Option<Vec<u8>> {
        let bytes = message(&from.next(None));
        to.receive(&Message::parse(&bytes).unwrap(), "them");
        to.poll()
    }

    fn pair() -> [Parcels; 2] {
        [(), ()].map(|()| {
            let mut parcels = Parcels::default();
            parcels.open("them");
            parcels
        })
    }

    #[test]
    fn packets_go_in_turns_until_they_are_acknowledged_and_come_once() {
        let [mut one, mut other] = pair();
        one.put(&packet(1), false);
        one.put(&packet(2), false);
        assert_eq!(one.scarce(), 4);
        assert_eq!(tell(&mut one, &mut other), Some(packet(1)));
        assert_eq!(tell(&mut one, &mut other), Some(packet(2)));
        assert_eq!((one.scarce(), tell(&mut one, &mut other)), (2, None), "the first again");
        assert_eq!(tell(&mut other, &mut one), None);
        assert_eq!(one.waiting(), 0, "both are acknowledged");
    }

    #[test]
    fn what_comes_before_the_answer_is_handed_out_if_it_is_the_answerers() {
        let [mut client, _] = pair();
        client.put(&packet(1), false);
        let mut server = Parcels::default();
        server.offer();
        assert_eq!(tell(&mut client, &mut server), None);
        let plain = message(&Load::default());
        server.receive(&Message::parse(&plain).unwrap(), "one who does not know it");
        tell(&mut server, &mut client);
        assert_eq!(client.waiting(), 0, "it is acknowledged");
        let strange = message(&Load { acknowledged: None, packet: Some(&packet(9)) });
        server.receive(&Message::parse(&strange).unwrap(), "somebody else");
        server.open("them");
        assert_eq!((server.poll(), server.poll()), (Some(packet(1)), None));
    }

    #[test]
    fn it_ends_when_both_handshakes_are_complete() {
        let [mut client, mut server] = pair();
        server.put(&packet(1), false);
        assert_eq!(tell(&mut server, &mut client), Some(packet(1)));
        client.put(&packet(2), true);
        client.close(false);
        assert_eq!(tell(&mut client, &mut server), Some(packet(2)), "in case that it was lost");
        server.close(true);
        assert_eq!(tell(&mut server, &mut client), None);
        assert!(client.is_open() && client.waiting() == 0, "the acknowledgement has come");
        tell(&mut client, &mut server);
        tell(&mut server, &mut client);
        assert!(!client.is_open() || !server.is_open());
    }

    #[test]
    fn who_does_not_know_it_is_not_told_any_more() {
        let [mut one, _] = pair();
        one.put(&packet(1), false);
        let bytes = message(&Load::default());
        one.receive(&Message::parse(&bytes).unwrap(), "them");
        assert!(!one.is_open());
        assert_eq!(one.next(None).length(), 0);
        one.put(&packet(2), false);
        assert_eq!(one.waiting(), 0);
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let [_, mut other] = pair();
        let (large, strange, odd) = (vec![22; MAX_TAKEN + 1], [1, 2, 3], vec![0; 5]);
        for (packet, acknowledged) in
            [(&large[..], vec![]), (&strange[..], vec![]), (&[], odd), (&[], vec![9; 20])]
        {
            let bytes = message(&Load { acknowledged: Some(acknowledged), packet: Some(packet) });
            other.receive(&Message::parse(&bytes).unwrap(), "them");
            assert!(other.is_open() && other.poll().is_none());
        }
        assert!(other.seen.is_empty());
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let [mut one, mut other] = pair();
        for content in 0..100 {
            one.put(&packet(content), false);
            tell(&mut one, &mut other);
        }
        assert_eq!((one.waiting(), other.seen.len()), (MAX_WAITING, MAX_SEEN));
        one.put(&vec![22; MAX_PARCEL + 1], false);
        one.put(&[], false);
        assert_eq!(one.waiting.last().unwrap().packet, packet(99));
    }
}

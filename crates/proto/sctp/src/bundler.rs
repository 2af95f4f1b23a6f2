//! Between the engine and the wire: packets that are too small are merged, and those that are too large are split,
//! so that what leaves is as few packets of at most the MTU as possible (RFC 9260 §6.10).

use std::collections::VecDeque;

use bytes::Bytes;
use sansio::Outbox;

use crate::packet::{self, Chunk, HEADER, Header, Writer, kind, u16_at, u32_at};
use crate::repair::immediate;
use crate::reset::Answers;

/// Bytes of a SACK chunk before its gap blocks, and of one gap block (RFC 9260 §3.3.4).
const SACK: usize = 16;
const GAP: usize = 4;
/// Bytes of a FORWARD-TSN chunk before its streams, and of one stream (RFC 3758 §3.2).
const FORWARD: usize = 8;
const SKIPPED: usize = 4;

/// What the last SACK that was sent said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acknowledged {
    /// The cumulative TSN.
    pub(crate) tsn: u32,
    /// The receive window.
    pub(crate) window: u32,
}

/// Packets of the engine on their way out.
#[derive(Debug)]
pub(crate) struct Bundler {
    header: Header,
    mtu: usize,
    /// Bytes of the engine's receive window that the peer is not told of.
    hidden: u32,
    packets: VecDeque<Bytes>,
    acknowledged: Option<Acknowledged>,
    /// What we say to the peer's stream resets.
    answers: Answers,
}

impl Bundler {
    pub(crate) fn new(header: Header, mtu: usize, hidden: u32) -> Self {
        let (packets, answers) = (VecDeque::new(), Answers::default());
        Self { header, mtu, hidden, packets, acknowledged: None, answers }
    }

    pub(crate) fn acknowledged(&self) -> Option<Acknowledged> {
        self.acknowledged
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Takes a packet of the engine.
    pub(crate) fn push(&mut self, packet: Bytes) {
        // The engine sends these two alone.
        match packet.get(HEADER) {
            Some(&kind::SACK) => {
                let packet = self.acknowledgement(&packet).unwrap_or(packet);
                self.packets.push_back(packet);
            }
            Some(&kind::FORWARD_TSN) => self.packets.push_back(self.sorted(packet)),
            _ => self.packets.push_back(packet),
        }
    }

    /// Asks for an immediate acknowledgement of the last DATA chunk that waits here: nothing follows it that would make
    /// the peer hurry.
    pub(crate) fn hurry(&mut self) {
        let Some(packet) = self.packets.iter_mut().rev().find(|p| chunks(p).any(|c| c[0] == kind::DATA))
        else {
            return;
        };
        let mut all: Vec<Bytes> = chunks(packet).collect();
        if let Some(last) = all.iter_mut().rev().find(|chunk| chunk[0] == kind::DATA) {
            *last = immediate(last).into();
        }
        *packet = packet::assemble(self.header, all.iter().map(|chunk| &chunk[..])).into();
    }

    /// All that the engine has to say now was pushed.
    pub(crate) fn complete(&mut self) {
        let resets = |packet: &Bytes| packet.get(HEADER) == Some(&kind::RE_CONFIG);
        for packet in self.packets.iter().filter(|packet| resets(packet)) {
            chunks(packet).for_each(|chunk| self.answers.learn(&chunk));
        }
        for packet in self.packets.iter_mut().filter(|packet| resets(packet)) {
            let corrected: Vec<_> = chunks(packet).map(|chunk| self.answers.correct(&chunk)).collect();
            *packet = packet::assemble(self.header, corrected.iter().map(|chunk| &chunk[..])).into();
        }
    }

    /// Writes the next packet. `lead`, if any, is a whole chunk to put in front of it. Returns whether it was taken.
    pub(crate) fn write(&mut self, lead: Option<&[u8]>, out: &mut dyn Outbox<()>) -> bool {
        if lead.is_none() && self.front_is_ready() {
            let Some(packet) = self.packets.front() else { return true };
            let written = out.send_bytes((), packet);
            if written {
                self.packets.pop_front();
            }
            return written;
        }
        let room = self.mtu - HEADER - lead.map_or(0, |chunk| packet::padded(chunk.len()));
        let taken = self.select(room);
        let header = self.header;
        let length =
            self.mtu.max(HEADER + taken.iter().map(|chunk| packet::padded(chunk.len())).sum::<usize>());
        let written = out.send((), length, &mut |buffer| {
            let mut writer = Writer::new(buffer, header);
            lead.into_iter().for_each(|chunk| writer.copy(chunk));
            // Control chunks come before DATA (RFC 9260 §6.10).
            let (control, data): (Vec<_>, Vec<_>) = taken.iter().partition(|chunk| chunk[0] != kind::DATA);
            control.into_iter().chain(data).for_each(|chunk| writer.copy(chunk));
            writer.finish()
        });
        if !written && !taken.is_empty() {
            let packet = packet::assemble(self.header, taken.iter().map(|chunk| &chunk[..]));
            self.packets.push_front(packet.into());
        }
        written
    }

    /// Whether the first packet can go out as it is: it fits, and the next one does not fit in as well.
    fn front_is_ready(&self) -> bool {
        let length = |at: usize| self.packets.get(at).map(Bytes::len);
        match (length(0), length(1)) {
            (Some(first), Some(second)) => first <= self.mtu && first + second - HEADER > self.mtu,
            (Some(first), None) => first <= self.mtu,
            (None, _) => true,
        }
    }

    /// Takes chunks from the front as long as they fit in `room` bytes, and always one if there is no lead.
    fn select(&mut self, room: usize) -> Vec<Bytes> {
        let whole = self.mtu - HEADER;
        let mut taken = Vec::new();
        let mut used = 0;
        while let Some(packet) = self.packets.pop_front() {
            let mut left = Vec::new();
            for chunk in chunks(&packet) {
                let wire = packet::padded(chunk.len());
                let fits = used + wire <= room || (used == 0 && room == whole);
                if left.is_empty() && fits {
                    used += wire;
                    taken.push(chunk);
                } else {
                    left.push(chunk);
                }
            }
            if !left.is_empty() {
                let rest = packet::assemble(self.header, left.iter().map(|chunk| &chunk[..]));
                self.packets.push_front(rest.into());
                break;
            }
        }
        taken
    }

    /// A SACK packet as the peer shall see it: without the hidden part of the window, and cut down to the MTU. Gap
    /// blocks are advice; the first ones matter most, and duplicates least.
    fn acknowledgement(&mut self, packet: &Bytes) -> Option<Bytes> {
        let sack = chunks(packet).next()?;
        let tsn = u32_at(&sack, 4)?;
        let window = u32_at(&sack, 8)?.saturating_sub(self.hidden);
        let gaps = usize::from(u16_at(&sack, 12)?);
        self.acknowledged = Some(Acknowledged { tsn, window });
        let mut chunk = sack.to_vec();
        chunk[8..12].copy_from_slice(&window.to_be_bytes());
        if HEADER + chunk.len() > self.mtu {
            let kept = gaps.min((self.mtu - HEADER - SACK) / GAP);
            chunk.truncate(SACK + kept * GAP);
            let length = chunk.len() as u16;
            chunk[2..4].copy_from_slice(&length.to_be_bytes());
            chunk[12..14].copy_from_slice(&(kept as u16).to_be_bytes());
            chunk[14..16].copy_from_slice(&[0, 0]);
        }
        Some(packet::assemble(self.header, std::iter::once(&chunk[..])).into())
    }

    /// A FORWARD-TSN packet with its streams in order: the engine takes them from a hash map, and equal seeds must
    /// give equal packets.
    fn sorted(&self, packet: Bytes) -> Bytes {
        let Some(chunk) = chunks(&packet).next() else { return packet };
        if chunk.len() < FORWARD + 2 * SKIPPED {
            return packet;
        }
        let mut skipped: Vec<&[u8]> = chunk[FORWARD..].chunks(SKIPPED).collect();
        skipped.sort_unstable();
        let chunk = [&chunk[..FORWARD], &skipped.concat()].concat();
        packet::assemble(self.header, std::iter::once(&chunk[..])).into()
    }
}

/// The chunks of one of the engine's packets, without copies.
pub(crate) fn chunks(packet: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let start = packet.as_ptr() as usize;
    packet::parse(packet).into_iter().flat_map(|(_, chunks)| chunks).map(move |Chunk { bytes }| {
        let at = bytes.as_ptr() as usize - start;
        packet.slice(at..at + bytes.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: Header = Header { source: 5000, destination: 5000, tag: 7 };

    /// Remembers what is written to it.
    #[derive(Default)]
    struct Sink {
        packets: Vec<Vec<u8>>,
        full: bool,
    }

    impl Outbox<()> for Sink {
        fn room(&self) -> usize {
            if self.full { 0 } else { 1 << 20 }
        }
        fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
            if self.full {
                return false;
            }
            let mut buffer = vec![0; max];
            let used = fill(&mut buffer);
            buffer.truncate(used);
            if used > 0 {
                self.packets.push(buffer);
            }
            true
        }
    }

    fn packet(chunks: &[(u8, usize)]) -> Bytes {
        let mut buffer = vec![0; 5000];
        let mut writer = Writer::new(&mut buffer, HEAD);
        for (number, &(kind, value)) in chunks.iter().enumerate() {
            writer.chunk(kind, number as u8, &[&vec![kind; value]]);
        }
        let used = writer.finish();
        buffer.truncate(used);
        buffer.into()
    }

    fn drain(bundler: &mut Bundler) -> Vec<Vec<(u8, usize)>> {
        let mut sink = Sink::default();
        while !bundler.is_empty() {
            assert!(bundler.write(None, &mut sink));
        }
        for packet in &sink.packets {
            assert!(packet::intact(packet));
        }
        sink.packets
            .iter()
            .map(|packet| {
                let (header, chunks) = packet::parse(packet).unwrap();
                assert_eq!(header, HEAD);
                chunks.map(|chunk| (chunk.kind(), chunk.value().len())).collect()
            })
            .collect()
    }

    #[test]
    fn full_packets_pass_untouched() {
        let mut bundler = Bundler::new(HEAD, 1000, 0);
        for _ in 0..3 {
            bundler.push(packet(&[(kind::DATA, 900)]));
        }
        assert_eq!(drain(&mut bundler), vec![vec![(kind::DATA, 900)]; 3]);
    }

    #[test]
    fn small_packets_share_one_with_control_in_front() {
        let mut bundler = Bundler::new(HEAD, 1000, 0);
        bundler.push(packet(&[(kind::DATA, 100), (kind::DATA, 50)]));
        bundler.push(packet(&[(kind::SACK, 12)]));
        bundler.push(packet(&[(kind::DATA, 900)]));
        let wanted = [vec![(kind::SACK, 12), (kind::DATA, 100), (kind::DATA, 50)], vec![(kind::DATA, 900)]];
        assert_eq!(drain(&mut bundler), wanted);
    }

    #[test]
    fn a_packet_over_the_mtu_is_split() {
        let mut bundler = Bundler::new(HEAD, 100, 0);
        bundler.push(packet(&[(kind::DATA, 13); 12]));
        let packets = drain(&mut bundler);
        assert_eq!(packets.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4]);
    }

    #[test]
    fn a_long_sack_loses_its_last_gaps_and_the_hidden_window() {
        let mut bundler = Bundler::new(HEAD, 100, 300);
        let mut value = Vec::new();
        value.extend(77u32.to_be_bytes());
        value.extend(1000u32.to_be_bytes());
        value.extend([0, 50, 0, 1]);
        (0..51u32).for_each(|gap| value.extend(gap.to_be_bytes()));
        let mut buffer = [0; 400];
        let mut writer = Writer::new(&mut buffer, HEAD);
        writer.chunk(kind::SACK, 0, &[&value]);
        let used = writer.finish();
        bundler.push(Bytes::copy_from_slice(&buffer[..used]));
        assert_eq!(bundler.acknowledged(), Some(Acknowledged { tsn: 77, window: 700 }));
        let mut sink = Sink::default();
        assert!(bundler.write(None, &mut sink));
        let (_, mut chunks) = packet::parse(&sink.packets[0]).unwrap();
        let sack = chunks.next().unwrap();
        assert_eq!(sink.packets[0].len(), 100);
        assert_eq!(&sack.value()[4..8], [0, 0, 2, 188]);
        assert_eq!(&sack.value()[8..12], [0, 18, 0, 0]);
        assert_eq!(&sack.value()[12..16], [0, 0, 0, 0]);
        assert_eq!(&sack.value()[12 + 17 * 4..], [0, 0, 0, 17]);
    }

    #[test]
    fn the_streams_of_forward_tsn_are_in_order() {
        let mut bundler = Bundler::new(HEAD, 100, 0);
        let mut buffer = [0; 100];
        let mut writer = Writer::new(&mut buffer, HEAD);
        writer.chunk(kind::FORWARD_TSN, 0, &[&[0, 0, 0, 9], &[0, 5, 0, 1], &[0, 2, 0, 3]]);
        let used = writer.finish();
        bundler.push(Bytes::copy_from_slice(&buffer[..used]));
        let mut sink = Sink::default();
        assert!(bundler.write(None, &mut sink));
        assert!(packet::intact(&sink.packets[0]));
        assert_eq!(&sink.packets[0][HEADER + 8..], [0, 2, 0, 3, 0, 5, 0, 1]);
    }

    #[test]
    fn a_lead_goes_first_and_takes_along_what_fits() {
        let mut bundler = Bundler::new(HEAD, 100, 0);
        bundler.push(packet(&[(kind::DATA, 20), (kind::DATA, 60)]));
        let mut sink = Sink::default();
        let lead = [kind::COOKIE_ECHO, 0, 0, 8, 1, 2, 3, 4];
        assert!(bundler.write(Some(&lead), &mut sink));
        let kinds = |packet: &[u8]| packet::parse(packet).unwrap().1.map(|c| c.kind()).collect::<Vec<_>>();
        assert_eq!(kinds(&sink.packets[0]), [kind::COOKIE_ECHO, kind::DATA]);
        assert_eq!(drain(&mut bundler), [[(kind::DATA, 60)]]);
        assert!(bundler.write(Some(&lead), &mut sink));
        assert_eq!(kinds(&sink.packets[1]), [kind::COOKIE_ECHO]);
    }

    #[test]
    fn nothing_is_lost_when_the_outbox_is_full() {
        let mut bundler = Bundler::new(HEAD, 100, 0);
        bundler.push(packet(&[(kind::DATA, 20)]));
        bundler.push(packet(&[(kind::DATA, 24)]));
        let mut sink = Sink { full: true, ..Default::default() };
        assert!(!bundler.write(None, &mut sink));
        assert!(!bundler.write(Some(&[kind::COOKIE_ACK, 0, 0, 4]), &mut sink));
        assert_eq!(drain(&mut bundler), [[(kind::DATA, 20), (kind::DATA, 24)]]);
    }
}

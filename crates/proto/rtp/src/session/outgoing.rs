use std::sync::Arc;
use std::time::Duration;

use sansio::{Rng, Time};

use crate::codecs::{Codec, Packetizer};
use crate::extension::{Form, Name};
use crate::packet::{Header, Packet};
use crate::rtcp::ReportBlock;
use crate::send::{History, HistoryConfig, Source, SourceConfig};
use crate::session::frame::{OutgoingFrame, OutgoingPacket, SendError};
use crate::session::section::Section;
use crate::session::terms::{Encoding, Format, Kind};
use crate::writer::PacketWriter;

/// An encoding that we send.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) encoding: Encoding,
    pub(super) mid: Arc<str>,
    pub(super) rid: Option<Arc<str>>,
    pub(super) kind: Kind,
    pub(super) source: Source,
    pub(super) clock_rate: u32,
    packetizer: Option<Packetizer>,
    pub(super) payload_type: Option<u8>,
    /// The source of retransmissions, with their payload type.
    pub(super) rtx: Option<Source>,
    pub(super) rtx_payload_type: Option<u8>,
    /// Packets that wait for their turn, and those that left, for those who miss them.
    pub(super) history: History,
    /// Whether the receiver has reported about it: then he knows where it belongs.
    pub(super) acknowledged: bool,
    pub(super) needs_key_frame: bool,
    pub(super) paused: bool,
    /// What may be sent, in bits per second, and what of it the application was told.
    pub(super) share: f64,
    pub(super) told: u64,
    pub(super) report: Option<(Time, ReportBlock)>,
    /// When the application was asked for a key frame, and the number of the last request.
    pub(super) key_frame_asked: Option<Time>,
    pub(super) request: Option<u8>,
    pub(super) tally: Tally,
}

/// What is counted of it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Tally {
    pub(super) packets: u64,
    pub(super) header_bytes: u64,
    pub(super) bytes: u64,
    pub(super) retransmitted: u64,
    pub(super) retransmitted_bytes: u64,
    pub(super) frames: u64,
    pub(super) delay: Duration,
    pub(super) nacks: u64,
    pub(super) plis: u64,
    pub(super) firs: u64,
}

impl Tally {
    /// A packet of a probe left, with so many bytes, which carried nothing new.
    pub(super) fn pad(&mut self, bytes: usize) {
        self.packets += 1;
        self.header_bytes += bytes as u64;
    }
}

fn clock_rate(kind: Kind) -> u32 {
    if kind == Kind::Audio { 48_000 } else { 90_000 }
}

fn source(kind: Kind, ssrc: u32, rng: &mut Rng) -> Source {
    Source::new(SourceConfig { ssrc, payload_type: 0, clock_rate: clock_rate(kind) }, rng)
}

fn history(kind: Kind) -> History {
    let packets = if kind == Kind::Audio { 256 } else { 2048 };
    History::new(HistoryConfig { packets, ..HistoryConfig::default() })
}

impl Outgoing {
    pub(super) fn new(section: &Section, encoding: Encoding, rng: &mut Rng) -> Self {
        let kind = section.terms.kind;
        Self {
            mid: section.mid.clone(),
            rid: encoding.rid.as_deref().map(Arc::from),
            kind,
            source: source(kind, encoding.ssrc, rng),
            clock_rate: clock_rate(kind),
            packetizer: None,
            payload_type: None,
            rtx: encoding.rtx_ssrc.map(|ssrc| source(kind, ssrc, rng)),
            rtx_payload_type: None,
            history: history(kind),
            acknowledged: false,
            needs_key_frame: kind == Kind::Video,
            paused: false,
            share: 0.0,
            told: 0,
            report: None,
            key_frame_asked: None,
            request: None,
            tally: Tally::default(),
            encoding,
        }
    }

    /// Nothing is sent of it for a while: nothing has to be kept for those who miss it.
    pub(super) fn rest(&mut self) {
        self.history = history(self.kind);
        self.needs_key_frame = self.kind == Kind::Video;
    }

    /// Cuts a frame into packets that wait in the history; `push` is told the number and length of each.
    pub(super) fn write_frame(
        &mut self,
        now: Time,
        section: &Section,
        format: &Format,
        max: usize,
        frame: &OutgoingFrame<'_>,
        push: &mut dyn FnMut(u16, usize) -> bool,
    ) -> Result<(), SendError> {
        self.set_format(format);
        let is_audio = format.codec.is_audio();
        let packetizer = self.packetizer.get_or_insert_with(|| Packetizer::new(format.codec));
        if self.needs_key_frame && !is_audio {
            if !has_key(*packetizer, frame.data, max)? {
                return Err(SendError::KeyFrameNeeded);
            }
            self.needs_key_frame = false;
        }
        let (source, history) = (&mut self.source, &mut self.history);
        let captured = frame.captured.unwrap_or(now);
        let first = source.packets() == 0;
        let (mut all, mut start) = (true, true);
        packetizer.packetize(frame.data, max, &mut |parts, last| {
            let bytes = parts.iter().map(|part| part.len()).sum();
            // RFC 3551 §4.1: with sound, the marker is on the first packet after a silence.
            let header = source.header(captured, frame.time, if is_audio { first } else { last }, bytes);
            let mut length = 0;
            history.write(now, header.sequence_number, bytes + HEADER, &mut |place| {
                let mut writer = PacketWriter::new(place, &header);
                writer.form(section.form);
                if let (Some(level), Some(id)) = (frame.audio_level, section.id(Name::AudioLevel)) {
                    writer.extension(id, &level);
                }
                // 3GPP TS 26.114 §7.4.5: at least with the last packet; who has the first one has it sooner.
                if let (Some(orientation), Some(id)) =
                    (frame.orientation.filter(|_| start || last), section.id(Name::VideoOrientation))
                {
                    writer.extension(id, &orientation);
                }
                if let (Some(time), Some(id)) =
                    (frame.capture_time.filter(|_| start), section.id(Name::AbsoluteCaptureTime))
                {
                    writer.extension(id, &time);
                }
                length = writer.payload_in_place(bytes, &mut |place| join(parts, place)).unwrap_or(0);
                length
            });
            start = false;
            all &= length > 0 && push(header.sequence_number, length);
        })?;
        self.tally.frames += 1;
        if !all {
            self.needs_key_frame = !is_audio;
            return Err(SendError::Full);
        }
        Ok(())
    }

    /// Takes a packet that somebody else has made, which waits in the history; `push` is told its number and length.
    pub(super) fn write_packet(
        &mut self,
        now: Time,
        section: &Section,
        format: &Format,
        packet: &OutgoingPacket<'_>,
        push: &mut dyn FnMut(u16, usize) -> bool,
    ) -> Result<(), SendError> {
        self.set_format(format);
        if self.needs_key_frame && !format.codec.is_audio() {
            if !format.codec.inspect(packet.payload).is_ok_and(|info| info.key_frame) {
                return Err(SendError::KeyFrameNeeded);
            }
            self.needs_key_frame = false;
        }
        let header = Header {
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence_number: packet.sequence_number,
            timestamp: packet.timestamp,
            ssrc: self.encoding.ssrc,
        };
        let mut length = 0;
        self.history.write(now, header.sequence_number, packet.payload.len() + HEADER, &mut |place| {
            let mut writer = PacketWriter::new(place, &header);
            writer.form(section.form);
            if let (Some(level), Some(id)) = (packet.audio_level, section.id(Name::AudioLevel)) {
                writer.extension(id, &level);
            }
            if let (Some(orientation), Some(id)) = (packet.orientation, section.id(Name::VideoOrientation)) {
                writer.extension(id, &orientation);
            }
            length = writer.payload(packet.payload).unwrap_or(0);
            length
        });
        // What is kept already was sent already.
        if length == 0 {
            return Ok(());
        }
        self.source.forward(now, packet.timestamp, packet.payload.len());
        if push(header.sequence_number, length) { Ok(()) } else { Err(SendError::Full) }
    }

    fn set_format(&mut self, format: &Format) {
        if self.payload_type == Some(format.payload_type) && self.clock_rate == format.clock_rate {
            return;
        }
        self.payload_type = Some(format.payload_type);
        self.rtx_payload_type = format.rtx;
        self.clock_rate = format.clock_rate;
        self.source.set_format(format.payload_type, format.clock_rate);
        if let (Some(rtx), Some(payload_type)) = (&mut self.rtx, format.rtx) {
            rtx.set_format(payload_type, format.clock_rate);
        }
        if self.packetizer.is_none_or(|packetizer| packetizer.codec() != format.codec) {
            self.packetizer = Some(Packetizer::new(format.codec));
            self.needs_key_frame = !format.codec.is_audio();
        }
    }

    /// Other terms: formats and sources may be others, and the receiver has to be told again where it belongs.
    pub(super) fn set_encoding(&mut self, section: &Section, encoding: Encoding, rng: &mut Rng) {
        if encoding.active && !self.encoding.active {
            self.needs_key_frame = self.kind == Kind::Video;
        }
        if encoding.rtx_ssrc != self.encoding.rtx_ssrc {
            self.rtx = encoding.rtx_ssrc.map(|ssrc| source(self.kind, ssrc, rng));
        }
        if *self.mid != *section.mid {
            self.mid = section.mid.clone();
        }
        if self.rid.as_deref() != encoding.rid.as_deref() {
            self.rid = encoding.rid.as_deref().map(Arc::from);
        }
        self.encoding = encoding;
        self.acknowledged = false;
        self.payload_type = None;
    }

    /// Whether probes can be made of its retransmissions.
    pub(super) fn can_pad(&self) -> bool {
        self.rtx.is_some() && self.rtx_payload_type.is_some() && self.tally.packets > 0
    }
}

/// What a kept packet has beside its payload, at most: header and the extensions that belong to the frame.
const HEADER: usize = 12 + 4 + 24;

/// Whether a frame is one from which a decoder can begin, as far as its payloads show it.
fn has_key(mut packetizer: Packetizer, frame: &[u8], max: usize) -> Result<bool, SendError> {
    let codec: Codec = packetizer.codec();
    let mut key = false;
    packetizer.packetize(frame, max, &mut |parts, _| {
        key = key || codec.inspect(&parts.concat()).is_ok_and(|info| info.key_frame);
    })?;
    Ok(key)
}

/// Parts one after another; returns their length.
fn join(parts: &[&[u8]], place: &mut [u8]) -> usize {
    let mut used = 0;
    for part in parts {
        place[used..used + part.len()].copy_from_slice(part);
        used += part.len();
    }
    used
}

/// What is added to a kept packet when it leaves.
pub(super) struct Dress<'a> {
    pub(super) section: &'a Section,
    /// Where it belongs, as long as the receiver may not know.
    pub(super) mid: bool,
    pub(super) rid: Option<&'a str>,
    pub(super) now: Time,
    pub(super) number: Option<u16>,
    /// The header of a retransmission, which is another source's.
    pub(super) repair: Option<Header>,
}

impl Dress<'_> {
    /// Bytes that it adds at most.
    pub(super) fn bytes(&self) -> usize {
        self.section.extension_bytes() + 2
    }

    /// Bytes that it adds.
    pub(super) fn added(&self) -> usize {
        let element = |name, bytes| self.section.id(name).map_or(0, |_| bytes + self.head());
        let mut bytes = element(Name::AbsoluteSendTime, 3);
        bytes += self.number.map_or(0, |_| element(Name::TransportSequenceNumber, 2));
        bytes += if self.mid { element(Name::Mid, self.section.mid.len()) } else { 0 };
        let rid = if self.repair.is_some() { Name::RepairedRid } else { Name::Rid };
        bytes += self.rid.map_or(0, |value| element(rid, value.len()));
        if bytes == 0 { 0 } else { 4 + bytes.next_multiple_of(4) }
    }

    /// Bytes in front of an extension's value.
    fn head(&self) -> usize {
        if self.section.form == Form::OneByte { 1 } else { 2 }
    }

    /// Writes a kept packet as it leaves, with so many bytes of padding; returns its length.
    pub(super) fn write(&self, packet: &Packet<'_>, padding: u8, buffer: &mut [u8]) -> usize {
        let original = packet.header();
        let header = self.repair.map_or(original, |own| Header {
            // RFC 4588 §4: marker and timestamp are the original's.
            marker: original.marker,
            timestamp: original.timestamp,
            ..own
        });
        let mut writer = PacketWriter::new(buffer, &header);
        self.extensions(&mut writer);
        for (id, value) in packet.extensions() {
            writer.extension_bytes(id, value);
        }
        let payload = packet.payload();
        let number = original.sequence_number.to_be_bytes();
        let osn = if self.repair.is_some() { &number[..] } else { &[] };
        let length = osn.len() + payload.len();
        let fill = &mut |place: &mut [u8]| join(&[osn, payload], place);
        writer.padded_in_place(length, padding, fill).unwrap_or(0)
    }

    /// Writes a packet of padding; returns its length.
    pub(super) fn pad(&self, header: &Header, bytes: u8, buffer: &mut [u8]) -> usize {
        let mut writer = PacketWriter::new(buffer, header);
        self.extensions(&mut writer);
        writer.padding(bytes).unwrap_or(0)
    }

    fn extensions(&self, writer: &mut PacketWriter<'_>) {
        use crate::extension::{AbsoluteSendTime, TransportSequenceNumber};
        let section = self.section;
        writer.form(section.form);
        if let Some(id) = section.id(Name::Mid).filter(|_| self.mid) {
            writer.extension_bytes(id, section.mid.as_bytes());
        }
        let rid = if self.repair.is_some() { Name::RepairedRid } else { Name::Rid };
        if let (Some(rid), Some(id)) = (self.rid, section.id(rid)) {
            writer.extension_bytes(id, rid.as_bytes());
        }
        if let Some(id) = section.id(Name::AbsoluteSendTime) {
            writer.extension(id, &AbsoluteSendTime::new(self.now));
        }
        if let (Some(number), Some(id)) = (self.number, section.id(Name::TransportSequenceNumber)) {
            writer.extension(id, &TransportSequenceNumber(number));
        }
    }
}

use sansio::Outbox;

use crate::extension::{Form, form};
use crate::layout::{FIXED, Layout, u16_at, u32_at};
use crate::srtp::clear::{Clear, ENCRYPTED_ONE_BYTE, ENCRYPTED_TWO_BYTE};
use crate::srtp::sources::{MAX_INDEX, Sources};
use crate::srtp::transform::{INDEX, Transform};
use crate::srtp::{Lane, MasterKey};

/// The sender's side: makes SRTP of RTP and SRTCP of RTCP.
///
/// The first sequence number of a source should lie below 32,768, so that a receiver who misses the first packets
/// does not miss a rollover with them.
#[derive(Debug)]
pub struct Protect {
    rtp: Transform,
    rtcp: Transform,
    sources: Sources<16>,
    /// The next SRTCP packet's number. All sources have it in common: none of them sees one twice.
    next_rtcp: u32,
    cryptex: bool,
    /// Packets that a lane did not let through.
    pub(super) refused: u64,
}

/// Why a packet was not protected: the caller's fault. It must not be sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProtectError {
    /// It is not RTP, or not RTCP.
    #[error("the packet has no whole header")]
    Malformed,
    /// The buffer ends before the tag.
    #[error("the buffer has no room for the tag")]
    NoRoom,
    /// A packet with this number was protected before, or is too old to know: to encrypt it would give the key away.
    #[error("the sequence number was used before")]
    Repeated,
    /// More than [`MAX_SOURCES`](super::MAX_SOURCES).
    #[error("there are too many sources")]
    TooManySources,
    /// The key has protected all the packets it may (RFC 3711 §9.2).
    #[error("the key is used up")]
    KeyExhausted,
}

impl Protect {
    /// Under our key.
    pub fn new(key: &MasterKey) -> Self {
        Self {
            rtp: key.rtp(),
            rtcp: key.rtcp(),
            sources: Sources::default(),
            next_rtcp: 0,
            cryptex: false,
            refused: 0,
        }
    }

    /// Whether contributing sources and header extensions are encrypted too: if the peer has said that it takes it
    /// (`a=cryptex`, RFC 9335 §4).
    pub fn set_cryptex(&mut self, cryptex: bool) {
        self.cryptex = cryptex;
    }

    /// An outbox that protects what is written through it, RTP and RTCP, for the one below.
    pub fn lane<'a>(&'a mut self, out: &'a mut dyn Outbox<()>) -> Lane<'a> {
        Lane::new(self, out)
    }

    /// How many packets a lane did not let through, since they could not be protected: a mistake of who wrote them.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Bytes that [`Protect::protect`] adds to a packet at most.
    pub fn overhead(&self) -> usize {
        self.rtp.tag_bytes() + if self.cryptex { 4 } else { 0 }
    }

    /// Bytes that [`Protect::protect_rtcp`] adds to a packet.
    pub fn rtcp_overhead(&self) -> usize {
        self.rtcp.tag_bytes() + INDEX
    }

    /// Protects the RTP packet that the first `length` bytes of the buffer are. Returns how many it has then, at most
    /// [`Protect::overhead`] more.
    ///
    /// # Errors
    /// The packet must not be sent. The buffer is as it was.
    pub fn protect(&mut self, buffer: &mut [u8], mut length: usize) -> Result<usize, ProtectError> {
        let packet = buffer.get(..length).ok_or(ProtectError::NoRoom)?;
        let mut layout = Layout::parse(packet).map_err(|_| ProtectError::Malformed)?;
        let (sequence_number, ssrc) = (u16_at(packet, 2), u32_at(packet, 8));
        let slot = self.sources.slot(ssrc);
        if self.sources.is_full(slot) {
            return Err(ProtectError::TooManySources);
        }
        let index = self.sources.index(slot, sequence_number).ok_or(ProtectError::Repeated)?;
        if index > MAX_INDEX {
            return Err(ProtectError::KeyExhausted);
        }
        if !self.sources.is_new(slot, index) {
            return Err(ProtectError::Repeated);
        }
        let mut clear = Clear::header(&layout);
        if buffer.len() < length + self.overhead() {
            return Err(ProtectError::NoRoom);
        }
        if self.cryptex && encrypt_header(buffer, &mut length, &mut layout) {
            clear = Clear::cryptex(&layout);
        }
        length += self.rtp.tag_bytes();
        self.rtp.seal(&mut buffer[..length], clear, ssrc, index);
        self.sources.accept(slot, ssrc, index);
        Ok(length)
    }

    /// Protects the RTCP packet, compound or not, that the first `length` bytes of the buffer are. Returns how many
    /// it has then, [`Protect::rtcp_overhead`] more.
    ///
    /// # Errors
    /// The packet must not be sent. The buffer is as it was.
    pub fn protect_rtcp(&mut self, buffer: &mut [u8], length: usize) -> Result<usize, ProtectError> {
        let packet = buffer.get(..length).ok_or(ProtectError::NoRoom)?;
        if length < 8 || packet[0] >> 6 != 2 {
            return Err(ProtectError::Malformed);
        }
        if self.next_rtcp >> 31 != 0 {
            return Err(ProtectError::KeyExhausted);
        }
        let sealed = buffer.get_mut(..length + self.rtcp_overhead()).ok_or(ProtectError::NoRoom)?;
        self.rtcp.seal_rtcp(sealed, self.next_rtcp);
        self.next_rtcp += 1;
        Ok(sealed.len())
    }
}

/// Marks the header extension as one that is encrypted; adds an empty one, if there is none, to contributing sources.
/// `false` if there is nothing of RFC 8285 to encrypt (RFC 9335 §5.1).
fn encrypt_header(buffer: &mut [u8], length: &mut usize, layout: &mut Layout) -> bool {
    let at = layout.sources_end;
    let mark = match layout.profile(buffer).map(form) {
        Some(Some(Form::OneByte)) => ENCRYPTED_ONE_BYTE,
        Some(Some(Form::TwoByte)) => ENCRYPTED_TWO_BYTE,
        None if at > FIXED => {
            buffer.copy_within(at..*length, at + 4);
            buffer[at + 2..at + 4].fill(0);
            buffer[0] |= 0x10;
            *length += 4;
            layout.header_end += 4;
            layout.extended = true;
            ENCRYPTED_ONE_BYTE
        }
        _ => return false,
    };
    buffer[at..at + 2].copy_from_slice(&mark.to_be_bytes());
    true
}

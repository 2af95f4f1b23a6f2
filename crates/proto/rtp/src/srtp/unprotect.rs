use crate::extension::{ONE_BYTE, TWO_BYTE};
use crate::layout::{Layout, u16_at, u32_at};
use crate::srtp::MasterKey;
use crate::srtp::clear::{Clear, ENCRYPTED_ONE_BYTE, ENCRYPTED_TWO_BYTE};
use crate::srtp::sources::{MAX_INDEX, Sources};
use crate::srtp::transform::{INDEX, Transform};

/// The receiver's side: makes RTP of SRTP and RTCP of SRTCP.
#[derive(Debug)]
pub struct Unprotect {
    rtp: Transform,
    rtcp: Transform,
    sources: Sources<16>,
    rtcp_sources: Sources<2>,
    mki_bytes: usize,
    refusals: Refusals,
}

/// Why a packet was not taken. None of these may end anything: anybody can send such packets.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is cut off, or not RTP or RTCP.
    #[error("it is no whole packet")]
    Malformed,
    /// There was one with its number, or it is so old that nobody knows.
    #[error("it was had before, or is too old to know")]
    Repeated,
    /// Its tag is wrong.
    #[error("its tag is wrong")]
    Forged,
    /// It is of a new source, and there are [`MAX_SOURCES`](super::MAX_SOURCES) already.
    #[error("there are too many sources")]
    TooManySources,
}

/// How many packets were not taken, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Refusals {
    /// [`Refusal::Malformed`].
    pub malformed: u64,
    /// [`Refusal::Repeated`].
    pub repeated: u64,
    /// [`Refusal::Forged`].
    pub forged: u64,
    /// [`Refusal::TooManySources`].
    pub too_many_sources: u64,
}

impl Unprotect {
    /// Under the peer's key.
    pub fn new(key: &MasterKey) -> Self {
        Self::with_mki(key, 0)
    }

    /// The same for a peer whose packets name the master key by so many bytes (`srtp_mki` of RFC 5764 §4.1.3). Since
    /// there is but one, they are passed over.
    pub fn with_mki(key: &MasterKey, mki_bytes: u8) -> Self {
        Self {
            rtp: key.rtp(),
            rtcp: key.rtcp(),
            sources: Sources::default(),
            rtcp_sources: Sources::default(),
            mki_bytes: mki_bytes.into(),
            refusals: Refusals::default(),
        }
    }

    /// What was not taken so far.
    pub fn refusals(&self) -> Refusals {
        self.refusals
    }

    /// Verifies and decrypts an SRTP packet where it lies, and returns the RTP packet. If it was encrypted as a
    /// whole (cryptex), its header extensions are afterwards what they were before.
    ///
    /// # Errors
    /// If it is not to be taken. What the bytes are then is unspecified.
    pub fn unprotect<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a mut [u8], Refusal> {
        self.open(packet).inspect_err(|refusal| self.refusals.count(*refusal))
    }

    /// Verifies and decrypts an SRTCP packet where it lies, and returns the RTCP packet, compound or not.
    ///
    /// # Errors
    /// As [`Unprotect::unprotect`].
    pub fn unprotect_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a mut [u8], Refusal> {
        self.open_rtcp(packet).inspect_err(|refusal| self.refusals.count(*refusal))
    }

    fn open<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a mut [u8], Refusal> {
        let layout = Layout::parse(packet).map_err(|_| Refusal::Malformed)?;
        let packet = without_mki(&self.rtp, packet, self.mki_bytes)?;
        let plain = packet.len().checked_sub(self.rtp.tag_bytes()).ok_or(Refusal::Malformed)?;
        if plain < layout.header_end {
            return Err(Refusal::Malformed);
        }
        let (sequence_number, ssrc) = (u16_at(packet, 2), u32_at(packet, 8));
        let slot = self.sources.slot(ssrc);
        if self.sources.is_full(slot) {
            return Err(Refusal::TooManySources);
        }
        let index = self.sources.index(slot, sequence_number).ok_or(Refusal::Repeated)?;
        if index > MAX_INDEX || !self.sources.is_new(slot, index) {
            return Err(Refusal::Repeated);
        }
        let revealed = match layout.profile(packet) {
            Some(ENCRYPTED_ONE_BYTE) => Some(ONE_BYTE),
            Some(ENCRYPTED_TWO_BYTE) => Some(TWO_BYTE),
            _ => None,
        };
        let clear = if revealed.is_some() { Clear::cryptex(&layout) } else { Clear::header(&layout) };
        self.rtp.open(packet, clear, ssrc, index).map_err(|_| Refusal::Forged)?;
        self.sources.accept(slot, ssrc, index);
        if let Some(profile) = revealed {
            packet[layout.sources_end..layout.sources_end + 2].copy_from_slice(&profile.to_be_bytes());
        }
        Ok(&mut packet[..plain])
    }

    fn open_rtcp<'a>(&mut self, packet: &'a mut [u8]) -> Result<&'a mut [u8], Refusal> {
        let packet = without_mki(&self.rtcp, packet, self.mki_bytes)?;
        let plain = packet.len().checked_sub(self.rtcp.tag_bytes() + INDEX).ok_or(Refusal::Malformed)?;
        if plain < 8 || packet[0] >> 6 != 2 {
            return Err(Refusal::Malformed);
        }
        let ssrc = u32_at(packet, 4);
        let slot = self.rtcp_sources.slot(ssrc);
        if self.rtcp_sources.is_full(slot) {
            return Err(Refusal::TooManySources);
        }
        let index = u64::from(self.rtcp.rtcp_index(packet));
        if !self.rtcp_sources.is_new(slot, index) {
            return Err(Refusal::Repeated);
        }
        self.rtcp.open_rtcp(packet).map_err(|_| Refusal::Forged)?;
        self.rtcp_sources.accept(slot, ssrc, index);
        Ok(&mut packet[..plain])
    }
}

impl Refusals {
    fn count(&mut self, refusal: Refusal) {
        let counter = match refusal {
            Refusal::Malformed => &mut self.malformed,
            Refusal::Repeated => &mut self.repeated,
            Refusal::Forged => &mut self.forged,
            Refusal::TooManySources => &mut self.too_many_sources,
        };
        *counter += 1;
    }
}

/// The packet without the master key's name, which stands before a MAC (RFC 3711 §3.1), and after the tag of an AEAD
/// (RFC 7714 §8.2).
fn without_mki<'a>(transform: &Transform, packet: &'a mut [u8], mki: usize) -> Result<&'a mut [u8], Refusal> {
    let tag = transform.tag_bytes();
    let end = packet.len().checked_sub(mki).filter(|end| *end >= tag).ok_or(Refusal::Malformed)?;
    if mki > 0 && matches!(transform, Transform::CounterAndMac(_)) {
        packet.copy_within(end + mki - tag.., end - tag);
    }
    Ok(&mut packet[..end])
}

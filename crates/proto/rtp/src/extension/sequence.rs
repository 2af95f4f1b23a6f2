use super::Extension;

/// Counts all packets of a transport, whichever their source: what transport-wide feedback names them by
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TransportSequenceNumber(pub u16);

impl Extension<'_> for TransportSequenceNumber {
    const URI: &'static str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

    fn read(value: &[u8]) -> Option<Self> {
        Some(Self(u16::from_be_bytes(value.try_into().ok()?)))
    }

    fn write(&self, place: &mut [u8; 255]) -> usize {
        place[..2].copy_from_slice(&self.0.to_be_bytes());
        2
    }
}

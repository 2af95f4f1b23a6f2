use crate::packet::{Header, Packet};

/// The packet that a retransmission brings again (RFC 4588 §4): its header, under the source and payload type that
/// the retransmission stands for, and its payload. `None` if there is none in it, as in a probe of padding.
pub fn retransmitted<'a>(packet: &Packet<'a>, ssrc: u32, payload_type: u8) -> Option<(Header, &'a [u8])> {
    let (number, payload) = packet.payload().split_first_chunk()?;
    let header =
        Header { ssrc, payload_type, sequence_number: u16::from_be_bytes(*number), ..packet.header() };
    Some((header, payload))
}

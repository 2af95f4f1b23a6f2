use std::fmt;

use sansio::Transport;

/// A channel number: a short name for one peer within one allocation, `0x4000..=0x4FFF` (RFC 8656 §12).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelNumber(u16);

impl ChannelNumber {
    /// The lowest channel number.
    pub const MIN: Self = Self(0x4000);
    /// The highest channel number. RFC 5766 allowed up to 0x7FFE, RFC 8656 no longer does.
    pub const MAX: Self = Self(0x4FFF);
    /// How many channel numbers there are.
    pub const COUNT: u16 = 0x1000;

    /// The channel `number`, if it is in range.
    pub const fn new(number: u16) -> Option<Self> {
        if number >= Self::MIN.0 && number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// The number itself.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The next number; after the highest comes the lowest.
    pub(crate) const fn next(self) -> Self {
        if self.0 == Self::MAX.0 { Self::MIN } else { Self(self.0 + 1) }
    }
}

impl fmt::Debug for ChannelNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#06x}", self.0)
    }
}

impl fmt::Display for ChannelNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Bytes that a ChannelData message puts in front of the application data (RFC 8656 §12.4).
pub const CHANNEL_DATA_HEADER: usize = 4;

/// Takes a ChannelData message apart: its channel, and where in `message` its data lies.
///
/// `None` if it is not one: the first byte is not 0x40..=0x4F, or the data is shorter than it claims. What
/// follows the data is padding, which streams need and datagrams may have (RFC 8656 §12.5, §12.6).
#[inline]
pub fn parse_channel_data(message: &[u8]) -> Option<(ChannelNumber, std::ops::Range<usize>)> {
    let header = message.first_chunk::<CHANNEL_DATA_HEADER>()?;
    let channel = ChannelNumber::new(u16::from_be_bytes([header[0], header[1]]))?;
    let end = CHANNEL_DATA_HEADER + usize::from(u16::from_be_bytes([header[2], header[3]]));
    (end <= message.len()).then_some((channel, CHANNEL_DATA_HEADER..end))
}

/// Bytes that a buffer needs for a ChannelData message with up to `data` bytes of data.
pub(crate) fn channel_data_room(data: usize, transport: Transport) -> usize {
    CHANNEL_DATA_HEADER + if transport.is_stream() { data.next_multiple_of(4) } else { data }
}

/// Writes a ChannelData message around what `fill` writes, and returns its length.
///
/// `buffer` has [`channel_data_room`] bytes for `max` bytes of data. `fill` returning 0 sends nothing, unless
/// `max` is 0: no data is a message too.
pub(crate) fn write_channel_data(
    buffer: &mut [u8],
    channel: ChannelNumber,
    max: usize,
    transport: Transport,
    fill: &mut dyn FnMut(&mut [u8]) -> usize,
) -> usize {
    let (header, data) = buffer.split_at_mut(CHANNEL_DATA_HEADER);
    let length = fill(&mut data[..max]).min(max);
    let Ok(claimed) = u16::try_from(length) else { return 0 };
    if length == 0 && max > 0 {
        return 0;
    }
    header[..2].copy_from_slice(&channel.0.to_be_bytes());
    header[2..].copy_from_slice(&claimed.to_be_bytes());
    if !transport.is_stream() {
        return CHANNEL_DATA_HEADER + length;
    }
    // "Over TCP and TLS-over-TCP, the ChannelData message MUST be padded to a multiple of four bytes."
    let padded = length.next_multiple_of(4);
    data[length..padded].fill(0);
    CHANNEL_DATA_HEADER + padded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(data: &[u8], transport: Transport) -> Vec<u8> {
        let mut buffer = vec![0xaa; channel_data_room(data.len(), transport)];
        let length = write_channel_data(&mut buffer, ChannelNumber::MIN, data.len(), transport, &mut |to| {
            to.copy_from_slice(data);
            data.len()
        });
        buffer.truncate(length);
        buffer
    }

    #[test]
    fn channel_data_costs_four_bytes_and_padding_only_on_streams() {
        assert_eq!(write(b"hello", Transport::Udp), *b"\x40\x00\x00\x05hello");
        assert_eq!(write(b"hello", Transport::Dtls), *b"\x40\x00\x00\x05hello");
        assert_eq!(write(b"hello", Transport::Tcp), *b"\x40\x00\x00\x05hello\0\0\0");
        assert_eq!(write(b"full", Transport::Tls), *b"\x40\x00\x00\x04full");
    }

    #[test]
    fn numbers_outside_the_range_of_rfc_8656_are_not_channels() {
        assert_eq!(ChannelNumber::new(0x3fff), None);
        assert_eq!(ChannelNumber::new(0x5000), None);
        assert_eq!(ChannelNumber::MAX.next(), ChannelNumber::MIN);
        assert_eq!(parse_channel_data(b"\x50\x00\x00\x00"), None);
        assert_eq!(parse_channel_data(b"\x3f\xff\x00\x00"), None);
    }

    #[test]
    fn data_shorter_than_claimed_is_refused_and_padding_ignored() {
        let channel = ChannelNumber::new(0x4001).unwrap();
        assert_eq!(parse_channel_data(b"\x40\x01\x00\x02ab"), Some((channel, 4..6)));
        assert_eq!(parse_channel_data(b"\x40\x01\x00\x02ab\0\0"), Some((channel, 4..6)));
        assert_eq!(parse_channel_data(b"\x40\x01\x00\x03ab"), None);
        assert_eq!(parse_channel_data(b"\x40\x01\xff\xffab"), None);
        assert_eq!(parse_channel_data(b"\x40\x01\x00"), None);
        assert_eq!(parse_channel_data(b"\x40\x01\x00\x00"), Some((channel, 4..4)));
    }
}

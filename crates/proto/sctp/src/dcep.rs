//! The Data Channel Establishment Protocol (RFC 8832 §5): one message that announces a channel, one that answers.

use std::time::Duration;

use crate::{ChannelConfig, Reliability};

const ACK: u8 = 0x02;
const OPEN: u8 = 0x03;
const UNORDERED: u8 = 0x80;
/// Bytes of DATA_CHANNEL_OPEN before its label.
const OPEN_HEADER: usize = 12;

/// A DCEP message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Open(ChannelConfig),
    Ack,
}

impl Message {
    /// `None` if it is not one, or malformed.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        match *bytes.first()? {
            ACK => Some(Self::Ack),
            OPEN => parse_open(bytes).map(Self::Open),
            _ => None,
        }
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        match self {
            Self::Ack => vec![ACK],
            Self::Open(config) => write_open(config),
        }
    }
}

fn parse_open(bytes: &[u8]) -> Option<ChannelConfig> {
    let header: [u8; OPEN_HEADER] = *bytes.first_chunk()?;
    let [_, kind, p1, p2, r1, r2, r3, r4, l1, l2, n1, n2] = header;
    let parameter = u32::from_be_bytes([r1, r2, r3, r4]);
    let reliability = match kind & !UNORDERED {
        0x00 => Reliability::Reliable,
        // More retransmissions than the API knows (RFC 8832 has 32 bits for them) are as good as that many.
        0x01 => Reliability::MaxRetransmits(u16::try_from(parameter).unwrap_or(u16::MAX)),
        0x02 => Reliability::MaxLifetime(Duration::from_millis(parameter.into())),
        _ => return None,
    };
    let label = usize::from(u16::from_be_bytes([l1, l2]));
    let protocol = usize::from(u16::from_be_bytes([n1, n2]));
    let texts = &bytes[OPEN_HEADER..];
    if texts.len() != label + protocol {
        return None;
    }
    let (label, protocol) = texts.split_at(label);
    Some(ChannelConfig {
        label: std::str::from_utf8(label).ok()?.to_owned(),
        protocol: std::str::from_utf8(protocol).ok()?.to_owned(),
        ordered: kind & UNORDERED == 0,
        reliability,
        negotiated: None,
        priority: u16::from_be_bytes([p1, p2]),
    })
}

fn write_open(config: &ChannelConfig) -> Vec<u8> {
    let (kind, parameter) = match config.reliability {
        Reliability::Reliable => (0x00, 0),
        Reliability::MaxRetransmits(count) => (0x01, count.into()),
        Reliability::MaxLifetime(time) => (0x02, u32::try_from(time.as_millis()).unwrap_or(u32::MAX)),
    };
    let kind = if config.ordered { kind } else { kind | UNORDERED };
    let length = |text: &str| u16::try_from(text.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(OPEN_HEADER + config.label.len() + config.protocol.len());
    bytes.extend([OPEN, kind]);
    bytes.extend(config.priority.to_be_bytes());
    bytes.extend(parameter.to_be_bytes());
    bytes.extend(length(&config.label).to_be_bytes());
    bytes.extend(length(&config.protocol).to_be_bytes());
    bytes.extend(config.label.as_bytes());
    bytes.extend(config.protocol.as_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_open_message_has_the_bytes_of_the_rfc() {
        let config = ChannelConfig {
            label: "ab".into(),
            protocol: "c".into(),
            ordered: false,
            reliability: Reliability::MaxRetransmits(3),
            ..Default::default()
        };
        let bytes = Message::Open(config.clone()).write();
        assert_eq!(bytes, [3, 0x81, 1, 0, 0, 0, 0, 3, 0, 2, 0, 1, b'a', b'b', b'c']);
        assert_eq!(Message::parse(&bytes), Some(Message::Open(config)));
    }

    #[test]
    fn malformed_messages_are_refused() {
        let good = Message::Open(ChannelConfig { label: "ä".into(), ..Default::default() }).write();
        for cut in 0..good.len() {
            assert_eq!(Message::parse(&good[..cut]), None);
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Message::parse(&bytes)
        };
        assert_eq!(with(0, 1), None);
        assert_eq!(with(1, 3), None, "an unknown channel type");
        assert_eq!(with(9, 3), None, "a label longer than the message");
        assert_eq!(with(12, 0xff), None, "a label that is not UTF-8");
        assert_eq!(Message::parse(&[2]), Some(Message::Ack));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            Message::parse(&bytes);
        }

        #[test]
        fn announcements_survive(label in ".{0,40}", protocol in ".{0,40}", ordered: bool, priority: u16,
            kind in 0..3u8, parameter: u16)
        {
            let reliability = match kind {
                0 => Reliability::Reliable,
                1 => Reliability::MaxRetransmits(parameter),
                _ => Reliability::MaxLifetime(Duration::from_millis(parameter.into())),
            };
            let config = ChannelConfig { label, protocol, ordered, reliability, negotiated: None, priority };
            let message = Message::Open(config);
            prop_assert_eq!(Message::parse(&message.write()), Some(message));
        }
    }
}

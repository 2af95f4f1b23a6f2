//! A channel as its association keeps it.

use crate::DCEP;
use crate::{ChannelConfig, ChannelId, MessageKind};

/// A channel.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) config: ChannelConfig,
    /// Whether [`Event::ChannelOpened`](crate::Event::ChannelOpened) was reported.
    pub(super) open: bool,
    pub(super) incoming: bool,
    /// Whether the peer is known to know the channel: only then may messages go out of order (RFC 8832 §6).
    pub(super) known: bool,
    pub(super) closing: Closing,
    /// Whether the peer has reset its half. What comes then is of the next channel with this number.
    pub(super) finished: bool,
    /// The threshold of [`Event::BufferedAmountLow`](crate::Event::BufferedAmountLow), and whether it is exceeded.
    pub(super) low: usize,
    pub(super) above_low: bool,
    /// Whether a message was refused since there was room.
    pub(super) wants_room: bool,
    pub(super) paused: bool,
}

/// How far a channel is on its way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    No,
    /// Waits for what is buffered.
    Draining,
    /// Our half is being reset.
    Resetting,
    /// Our half is reset.
    Reset,
}

impl Slot {
    /// One that we open.
    pub(super) fn new(config: ChannelConfig) -> Self {
        Self {
            known: config.negotiated.is_some(),
            config,
            open: false,
            incoming: false,
            closing: Closing::No,
            finished: false,
            low: 0,
            above_low: false,
            wants_room: false,
            paused: false,
        }
    }

    /// One that the peer opened.
    pub(super) fn accepted(config: ChannelConfig) -> Self {
        Self { incoming: true, known: true, ..Self::new(config) }
    }
}

/// What a message is, as its payload protocol identifier says (RFC 8831 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Dcep,
    Text,
    Binary,
    TextEmpty,
    BinaryEmpty,
    Unknown,
}

impl Protocol {
    pub(super) fn of(kind: MessageKind, empty: bool) -> Self {
        match (kind, empty) {
            (MessageKind::Text, false) => Self::Text,
            (MessageKind::Binary, false) => Self::Binary,
            (MessageKind::Text, true) => Self::TextEmpty,
            (MessageKind::Binary, true) => Self::BinaryEmpty,
        }
    }

    pub(super) fn number(self) -> u32 {
        match self {
            Self::Dcep => DCEP,
            Self::Text => 51,
            Self::Binary => 53,
            Self::TextEmpty => 56,
            Self::BinaryEmpty => 57,
            Self::Unknown => 0,
        }
    }
}

impl From<u32> for Protocol {
    fn from(number: u32) -> Self {
        // 52 and 54 were fragments of messages, and are deprecated.
        let known = [Self::Dcep, Self::Text, Self::Binary, Self::TextEmpty, Self::BinaryEmpty];
        known.into_iter().find(|protocol| protocol.number() == number).unwrap_or(Self::Unknown)
    }
}

/// The channels of `slots` as their owner sees them.
pub(super) fn listed<'a>(
    slots: impl Iterator<Item = (&'a u16, &'a Box<Slot>)>,
) -> impl Iterator<Item = (ChannelId, &'a ChannelConfig)> {
    slots.map(|(&id, slot)| (ChannelId(id), &slot.config))
}

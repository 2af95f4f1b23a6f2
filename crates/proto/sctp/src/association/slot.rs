//! A channel as its association keeps it.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::engine::Protocol;
use crate::{ChannelConfig, Reliability};

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
    /// What the engine has not got yet, and how many bytes that is.
    pub(super) queue: VecDeque<(Protocol, Bytes)>,
    pub(super) queued: usize,
    /// Bytes that may still be sent in this turn; negative after a message that was larger.
    pub(super) credit: i64,
    /// Bytes given to the engine, and how many of them were DCEP's, which came first.
    pub(super) written: u64,
    pub(super) control: u64,
    /// What the engine was told last: whether unordered, and how reliable.
    pub(super) reliability: Option<(bool, Reliability)>,
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
            queue: VecDeque::new(),
            queued: 0,
            credit: 0,
            written: 0,
            control: 0,
            reliability: None,
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

    /// Whether its messages are given up at some time.
    pub(super) fn is_hasty(&self) -> bool {
        self.config.reliability != Reliability::Reliable
    }
}

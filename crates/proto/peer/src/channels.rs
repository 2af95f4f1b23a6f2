use std::collections::BTreeMap;

use crate::{Channel, ChannelError, ChannelId, ChannelState, DataChannelInit};

/// The most channels that may wait for the connection, or be open.
pub(crate) const MAX_CHANNELS: usize = 4096;

/// All channels of a connection, before and after there is an association to carry them.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    /// Boxed, as most connections have few: a node of the map has room for eleven.
    known: BTreeMap<ChannelId, Box<Channel>>,
    by_stream: BTreeMap<sctp::ChannelId, ChannelId>,
    next: u32,
    pub(crate) opened: u32,
    pub(crate) closed: u32,
    /// Whether there ever was one of ours: then offers have a data section.
    pub(crate) wanted: bool,
}

impl Channels {
    /// A new channel of ours.
    pub(crate) fn create(
        &mut self,
        label: &str,
        mut init: DataChannelInit,
    ) -> Result<ChannelId, ChannelError> {
        if label.len() > 65_535 || init.protocol.len() > 65_535 {
            return Err(ChannelError::TooLong);
        }
        if init.max_packet_life_time.is_some() && init.max_retransmits.is_some() {
            return Err(ChannelError::TwoLimits);
        }
        if !init.negotiated {
            init.id = None;
        } else if init.id.is_none_or(|id| id == u16::MAX) {
            return Err(ChannelError::InvalidId);
        }
        if init.id.is_some() && self.known.values().any(|channel| channel.init.id == init.id) {
            return Err(ChannelError::InUse);
        }
        if self.known.len() >= MAX_CHANNELS {
            return Err(ChannelError::TooMany);
        }
        self.wanted = true;
        Ok(self.insert(label.into(), init, ChannelState::Connecting))
    }

    /// A channel that the other side made.
    pub(crate) fn receive(&mut self, stream: sctp::ChannelId, config: &sctp::ChannelConfig) -> ChannelId {
        let (max_retransmits, max_packet_life_time) = match config.reliability {
            sctp::Reliability::Reliable => (None, None),
            sctp::Reliability::MaxRetransmits(times) => (Some(times), None),
            sctp::Reliability::MaxLifetime(time) => {
                (None, Some(u16::try_from(time.as_millis()).unwrap_or(u16::MAX)))
            }
        };
        let init = DataChannelInit {
            ordered: config.ordered,
            max_packet_life_time,
            max_retransmits,
            protocol: config.protocol.clone(),
            negotiated: false,
            id: Some(stream.0),
        };
        let id = self.insert(config.label.clone(), init, ChannelState::Open);
        self.by_stream.insert(stream, id);
        self.opened += 1;
        id
    }

    fn insert(&mut self, label: String, init: DataChannelInit, state: ChannelState) -> ChannelId {
        let id = ChannelId(self.next);
        self.next = self.next.wrapping_add(1);
        let channel = Channel {
            label,
            init,
            state,
            messages_sent: 0,
            bytes_sent: 0,
            messages_received: 0,
            bytes_received: 0,
            low_threshold: 0,
        };
        self.known.insert(id, Box::new(channel));
        id
    }

    /// Remembers which stream carries the channel.
    pub(crate) fn bind(&mut self, id: ChannelId, stream: sctp::ChannelId) {
        if let Some(channel) = self.known.get_mut(&id) {
            channel.init.id = Some(stream.0);
            self.by_stream.insert(stream, id);
        }
    }

    pub(crate) fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.known.get(&id).map(Box::as_ref)
    }

    pub(crate) fn channel_mut(&mut self, id: ChannelId) -> Option<&mut Channel> {
        self.known.get_mut(&id).map(Box::as_mut)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ChannelId, &Channel)> {
        self.known.iter().map(|(id, channel)| (*id, &**channel))
    }

    /// The channel that a stream carries.
    pub(crate) fn on(&self, stream: sctp::ChannelId) -> Option<ChannelId> {
        self.by_stream.get(&stream).copied()
    }

    /// The stream that carries a channel.
    pub(crate) fn stream(&self, id: ChannelId) -> Option<sctp::ChannelId> {
        let stream = sctp::ChannelId(self.known.get(&id)?.init.id?);
        (self.by_stream.get(&stream) == Some(&id)).then_some(stream)
    }

    /// Channels that no stream carries yet, the oldest first.
    pub(crate) fn unbound(&self) -> Vec<ChannelId> {
        self.known.keys().copied().filter(|id| self.stream(*id).is_none()).collect()
    }

    /// What the association has to know of a channel.
    pub(crate) fn config(&self, id: ChannelId) -> Option<sctp::ChannelConfig> {
        let channel = self.known.get(&id)?;
        let reliability = match (channel.init.max_retransmits, channel.init.max_packet_life_time) {
            (Some(times), _) => sctp::Reliability::MaxRetransmits(times),
            (None, Some(ms)) => sctp::Reliability::MaxLifetime(std::time::Duration::from_millis(ms.into())),
            (None, None) => sctp::Reliability::Reliable,
        };
        Some(sctp::ChannelConfig {
            label: channel.label.clone(),
            protocol: channel.init.protocol.clone(),
            ordered: channel.init.ordered,
            reliability,
            negotiated: channel.init.id.filter(|_| channel.init.negotiated).map(sctp::ChannelId),
            ..sctp::ChannelConfig::default()
        })
    }

    /// One of ours is open now.
    pub(crate) fn open(&mut self, id: ChannelId) -> bool {
        match self.known.get_mut(&id) {
            Some(channel) if channel.state == ChannelState::Connecting => {
                channel.state = ChannelState::Open;
                self.opened += 1;
                true
            }
            _ => false,
        }
    }

    /// Forgets a channel; `false` if it was not known.
    pub(crate) fn remove(&mut self, id: ChannelId) -> bool {
        let stream = self.stream(id);
        let Some(channel) = self.known.remove(&id) else { return false };
        if let Some(stream) = stream {
            self.by_stream.remove(&stream);
        }
        self.closed += u32::from(channel.state != ChannelState::Connecting);
        true
    }

    /// Forgets all channels.
    pub(crate) fn remove_all(&mut self) -> Vec<ChannelId> {
        let all: Vec<ChannelId> = self.known.keys().copied().collect();
        all.iter().for_each(|id| {
            self.remove(*id);
        });
        all
    }
}

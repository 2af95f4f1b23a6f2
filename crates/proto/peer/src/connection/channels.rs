//! The channels' half of a [`Connection`].

use bytes::Bytes;
use sansio::Time;

use super::Connection;
use crate::{
    Channel, ChannelError, ChannelId, ChannelState, DataChannelInit, Event, FailureCause, MessageKind,
    SendError,
};

impl Connection {
    /// Makes a data channel (`createDataChannel`). It opens when the connection is there.
    ///
    /// # Errors
    /// If the parameters contradict each other, or after closing.
    pub fn create_data_channel(
        &mut self,
        now: Time,
        label: &str,
        init: DataChannelInit,
    ) -> Result<ChannelId, ChannelError> {
        if self.is_closed() || self.peer_closed {
            return Err(ChannelError::Closed);
        }
        let id = self.channels.create(label, init)?;
        if let Err(error) = self.bind_channel(now, id) {
            self.channels.remove(id);
            return Err(error);
        }
        self.settle(now);
        Ok(id)
    }

    /// Looks at a channel; `None` once it is closed.
    pub fn channel(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.channel(id)
    }

    /// All channels, the oldest first.
    pub fn channels(&self) -> impl Iterator<Item = (ChannelId, &Channel)> {
        self.channels.iter()
    }

    /// Sends a message (`send`). It is taken as soon as the other side is known, before the channel is open, so that
    /// it travels with the handshake.
    ///
    /// # Errors
    /// If it is too large, or the channel is not there yet, not there any more, or full.
    pub fn send(
        &mut self,
        now: Time,
        id: ChannelId,
        kind: MessageKind,
        data: &[u8],
    ) -> Result<(), SendError> {
        self.send_with(id, data.len(), |association, stream| association.send(now, stream, kind, data))
    }

    /// Sends a message without copying it: takes what is in `data`, unless there is an error.
    ///
    /// # Errors
    /// As [`Connection::send`].
    pub fn send_bytes(
        &mut self,
        now: Time,
        id: ChannelId,
        kind: MessageKind,
        data: &mut Bytes,
    ) -> Result<(), SendError> {
        let length = data.len();
        self.send_with(id, length, |association, stream| association.send_bytes(now, stream, kind, data))
    }

    fn send_with(
        &mut self,
        id: ChannelId,
        length: usize,
        send: impl FnOnce(&mut sctp::Association, sctp::ChannelId) -> Result<(), sctp::SendError>,
    ) -> Result<(), SendError> {
        let channel = self.channels.channel(id).ok_or(SendError::Closed)?;
        if channel.state == ChannelState::Closing {
            return Err(SendError::Closed);
        }
        let stream = self.channels.stream(id).ok_or(SendError::NotOpen)?;
        let association = self.transport.association().ok_or(SendError::NotOpen)?;
        send(association, stream).map_err(|error| match error {
            sctp::SendError::Full => SendError::Full,
            sctp::SendError::TooLarge { limit } => SendError::TooLarge { limit },
            sctp::SendError::NotText => SendError::NotText,
            sctp::SendError::Closed => SendError::Closed,
        })?;
        if let Some(channel) = self.channels.channel_mut(id) {
            channel.messages_sent += 1;
            channel.bytes_sent += length as u64;
        }
        Ok(())
    }

    /// Bytes of the channel's messages that wait to be sent or acknowledged (`bufferedAmount`).
    pub fn buffered_amount(&mut self, id: ChannelId) -> usize {
        let Some(stream) = self.channels.stream(id) else { return 0 };
        self.transport.association().map_or(0, |association| association.buffered_amount(stream))
    }

    /// Sets what [`Event::BufferedAmountLow`] is measured by (`bufferedAmountLowThreshold`); 0 at first.
    pub fn set_buffered_amount_low_threshold(&mut self, id: ChannelId, bytes: usize) {
        let Some(channel) = self.channels.channel_mut(id) else { return };
        channel.low_threshold = bytes;
        if let (Some(stream), Some(association)) = (self.channels.stream(id), self.transport.association()) {
            association.set_buffered_amount_low_threshold(stream, bytes);
        }
    }

    /// Stops or resumes the reading of a channel: what comes on a stopped one counts against the receive window, so
    /// that in the end the other side waits.
    pub fn set_reading(&mut self, now: Time, id: ChannelId, reading: bool) {
        if let (Some(stream), Some(association)) = (self.channels.stream(id), self.transport.association()) {
            association.set_reading(now, stream, reading);
        }
    }

    /// Closes a channel once all that was sent on it is delivered; [`Event::ChannelClosed`] follows.
    pub fn close_channel(&mut self, now: Time, id: ChannelId) {
        let Some(channel) = self.channels.channel_mut(id) else { return };
        channel.state = ChannelState::Closing;
        match (self.channels.stream(id), self.transport.association()) {
            (Some(stream), Some(association)) => association.close_channel(now, stream),
            _ => self.forget_channel(id),
        }
    }

    /// Brings a channel to the association, if there is one.
    pub(super) fn bind_channel(&mut self, now: Time, id: ChannelId) -> Result<(), ChannelError> {
        let (Some(config), Some(association)) = (self.channels.config(id), self.transport.association())
        else {
            return Ok(());
        };
        let stream = association.open_channel(now, config).map_err(|error| match error {
            sctp::OpenError::InUse => ChannelError::InUse,
            sctp::OpenError::InvalidId => ChannelError::InvalidId,
            sctp::OpenError::Exhausted => ChannelError::TooMany,
            sctp::OpenError::TooLong => ChannelError::TooLong,
            sctp::OpenError::Closed => ChannelError::Closed,
        })?;
        if let Some(channel) = self.channels.channel(id) {
            association.set_buffered_amount_low_threshold(stream, channel.low_threshold);
        }
        self.channels.bind(id, stream);
        Ok(())
    }

    pub(super) fn forget_channel(&mut self, id: ChannelId) {
        if self.channels.remove(id) {
            self.events.push_back(Event::ChannelClosed(id));
        }
    }

    pub(super) fn close_channels(&mut self) {
        self.events.extend(self.channels.remove_all().into_iter().map(Event::ChannelClosed));
    }

    pub(super) fn handle_sctp(&mut self, event: sctp::Event) {
        match event {
            sctp::Event::Connected => {}
            sctp::Event::ChannelOpened { id: stream, config, incoming } => {
                let id = match self.channels.on(stream) {
                    Some(id) if self.channels.open(id) => id,
                    None if incoming => self.channels.receive(stream, &config),
                    _ => return,
                };
                self.events.push_back(Event::ChannelOpened { id, incoming });
            }
            sctp::Event::MessageReceived { id: stream, kind, data } => {
                let Some(id) = self.channels.on(stream) else { return };
                if let Some(channel) = self.channels.channel_mut(id) {
                    channel.messages_received += 1;
                    channel.bytes_received += data.len() as u64;
                }
                self.events.push_back(Event::MessageReceived { id, kind, data });
            }
            sctp::Event::BufferedAmountLow(stream) => {
                self.events.extend(self.channels.on(stream).map(Event::BufferedAmountLow));
            }
            sctp::Event::Writable(stream) => {
                self.events.extend(self.channels.on(stream).map(Event::Writable));
            }
            sctp::Event::ChannelClosed(stream) => {
                if let Some(id) = self.channels.on(stream) {
                    self.forget_channel(id);
                }
            }
            sctp::Event::Closed => self.close_channels(),
            sctp::Event::Failed(error) => {
                self.close_channels();
                self.fail(self.latest, FailureCause::Sctp(error), None);
                self.tell_states();
            }
        }
    }

    /// Reads all that SCTP has to say.
    pub(super) fn drain_channels(&mut self) {
        while let Some(event) = self.transport.poll_sctp() {
            self.handle_sctp(event);
        }
    }
}

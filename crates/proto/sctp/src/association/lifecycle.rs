//! How channels and the association begin and end.

use std::time::Duration;

use super::slot::Closing;
use super::{Association, PROTOCOL_VIOLATION, Stage, USER_INITIATED};
use crate::dcep;
use crate::engine::{Engine, Notice, Protocol};
use crate::{ChannelId, Event, Role};

/// A channel that is being closed is forgotten after so long if the peer never resets its half.
const CLOSING: Duration = Duration::from_secs(30);

impl Association {
    /// Streams that the peer lets us use.
    pub(super) fn streams(&self) -> u16 {
        self.handshake.peer().map_or(u16::MAX, |peer| peer.inbound.min(peer.outbound))
    }

    /// The lowest free number of our parity (RFC 8832 §6).
    pub(super) fn free_id(&self) -> Option<u16> {
        let first = match self.config.role {
            Role::Client => 0,
            Role::Server => 1,
        };
        (first..self.streams())
            .step_by(2)
            .find(|id| !self.channels.contains_key(id) && !self.early.contains_key(id))
    }

    /// Brings a new channel to the engine, as soon as there is one, and what was written to it before.
    pub(super) fn start(&mut self, id: u16) {
        let streams = self.streams();
        let (Some(engine), Some(channel)) = (&mut self.engine, self.channels.get_mut(&id)) else { return };
        if id >= streams {
            self.forget(id);
            return;
        }
        if !engine.open(id) {
            self.unstarted.insert(id);
            return;
        }
        self.unstarted.remove(&id);
        self.turns.begin(id, channel.is_hasty());
        if channel.config.negotiated.is_none() && !channel.incoming {
            let open = dcep::Message::Open(channel.config.clone()).write();
            self.give(id, Protocol::Dcep, open.into());
        }
        self.offer(id);
        self.announce(id);
    }

    /// Reports a channel as open if it is, and what came for it early.
    pub(super) fn announce(&mut self, id: u16) {
        let up = self.handshake.is_established();
        let Some(channel) = self.channels.get_mut(&id) else { return };
        if !up || channel.open {
            return;
        }
        channel.open = true;
        self.events.push_back(Event::ChannelOpened {
            id: ChannelId(id),
            config: channel.config.clone(),
            incoming: channel.incoming,
        });
        for (protocol, data) in self.early.remove(&id).unwrap_or_default() {
            self.deliver(id, protocol, data);
        }
    }

    /// Takes what the engine has to say.
    pub(super) fn pump(&mut self) {
        while let Some(notice) = self.engine.as_mut().and_then(Engine::poll) {
            match notice {
                Notice::Readable(id) => {
                    if !self.readable.contains(&id) {
                        self.readable.push_back(id);
                    }
                }
                // Of the former use of a number that is in use again.
                Notice::Finished(id) | Notice::Reset(id) if self.unstarted.contains(&id) => {}
                // The peer's half is closed. The engine closes ours in answer.
                Notice::Finished(id) => {
                    if let Some(channel) = self.channels.get_mut(&id) {
                        channel.closing = Closing::Resetting;
                        self.timers.set(id, self.now + CLOSING);
                    }
                    self.early.remove(&id);
                }
                Notice::Reset(id) => self.forget(id),
                Notice::Lost(error) => {
                    self.end(Event::Failed(error), Some(PROTOCOL_VIOLATION));
                    return;
                }
            }
        }
        for id in std::mem::take(&mut self.unstarted) {
            self.start(id);
        }
        if self.engine.as_ref().is_some_and(Engine::is_closing)
            && !matches!(self.stage, Stage::Aborting { .. } | Stage::Over)
        {
            // The peer shuts down. It has all that it will take (RFC 9260 §9.2), and RFC 8831 §6.2 closes channels.
            self.end(Event::Closed, Some(USER_INITIATED));
        }
    }

    /// Looks after the channels whose buffers have emptied.
    pub(super) fn settle(&mut self) {
        if !std::mem::take(&mut self.acknowledged) {
            return;
        }
        for id in std::mem::take(&mut self.watched) {
            let buffered = self.buffered_amount(ChannelId(id));
            let all = self.engine.as_mut().map_or(0, |engine| engine.buffered(id));
            let connected = self.handshake.is_established();
            let space = self.config.send_buffer;
            let Some(channel) = self.channels.get_mut(&id) else { continue };
            if buffered > channel.low {
                channel.above_low = true;
            } else if std::mem::take(&mut channel.above_low) {
                self.events.push_back(Event::BufferedAmountLow(ChannelId(id)));
            }
            if channel.wants_room && buffered <= space / 2 {
                channel.wants_room = false;
                self.events.push_back(Event::Writable(ChannelId(id)));
            }
            let done = buffered == 0 && all == 0 && channel.queue.is_empty();
            if channel.closing == Closing::Draining && done {
                if connected {
                    self.reset(id);
                } else if self.engine.is_none() {
                    self.forget(id);
                } else {
                    self.watched.insert(id);
                }
                continue;
            }
            if channel.above_low || channel.wants_room || channel.closing == Closing::Draining {
                self.watched.insert(id);
            }
        }
        if self.stage == Stage::Draining && self.is_drained() {
            self.end(Event::Closed, Some(USER_INITIATED));
        }
    }

    /// Whether nothing is left to be delivered.
    pub(super) fn is_drained(&mut self) -> bool {
        let ids: Vec<u16> = self.channels.keys().copied().collect();
        self.handshake.is_established()
            && self.channels.values().all(|channel| channel.queue.is_empty())
            && ids.into_iter().all(|id| self.engine.as_mut().is_none_or(|engine| engine.buffered(id) == 0))
    }

    /// Resets our half of a stream. The engine then forgets what was not read, so it is read first.
    pub(super) fn reset(&mut self, id: u16) {
        while self.read_from(id) {}
        if let Some(channel) = self.channels.get_mut(&id) {
            channel.closing = Closing::Resetting;
            self.timers.set(id, self.now + CLOSING);
        }
        if let Some(engine) = &mut self.engine {
            engine.reset(id);
        }
    }

    /// The end of a channel.
    pub(super) fn forget(&mut self, id: u16) {
        self.timers.stop(id);
        self.watched.remove(&id);
        self.unstarted.remove(&id);
        if self.channels.remove(&id).is_some() {
            self.events.push_back(Event::ChannelClosed(ChannelId(id)));
        }
    }

    /// The end of the association: what can be read is read, all channels are closed, and that is all.
    pub(super) fn end(&mut self, event: Event, cause: Option<u16>) {
        if matches!(self.stage, Stage::Aborting { .. } | Stage::Over) {
            return;
        }
        while let Some(notice) = self.engine.as_mut().and_then(Engine::poll) {
            if let Notice::Readable(id) = notice {
                self.readable.push_back(id);
            }
        }
        while let Some(id) = self.readable.pop_front() {
            while self.read_from(id) {}
        }
        self.stage = match cause {
            Some(cause) if self.handshake.peer().is_some() => Stage::Aborting { cause },
            _ => Stage::Over,
        };
        self.timers.clear();
        while let Some((&id, _)) = self.channels.first_key_value() {
            self.forget(id);
        }
        self.events.push_back(event);
        self.engine = None;
    }
}

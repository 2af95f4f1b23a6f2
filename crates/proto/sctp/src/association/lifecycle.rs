//! How channels and the association begin and end.

use std::time::Duration;

use super::slot::{Closing, Protocol};
use super::{Association, Link, PROTOCOL_VIOLATION, Stage, USER_INITIATED};
use crate::dcep;
use crate::handshake::Progress;
use crate::init::Init;
use crate::receiver::{Receiver, Terms};
use crate::resets::{Reset, Resets};
use crate::sender::Sender;
use crate::timer::Timer;
use crate::{ChannelId, Event, Role, SctpError};

/// A channel that is being closed is forgotten after so long if the peer never resets its half.
const CLOSING: Duration = Duration::from_secs(30);

impl Association {
    /// Takes note of how far the handshake is.
    pub(super) fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::None => {}
            Progress::Agreed(peer) => self.agree(peer),
            Progress::Established(peer) => {
                self.agree(peer);
                self.establish();
            }
        }
    }

    /// The peer's terms are known.
    pub(super) fn agree(&mut self, peer: Init) {
        if self.link.is_some() {
            return;
        }
        let interleaved = self.local.interleaving && peer.interleaving;
        self.marks.agree(self.local.marks && peer.marks);
        self.sender.agree(peer.window, interleaved, peer.partial);
        let terms = Terms {
            first: peer.tsn,
            interleaved,
            window: self.local.window as usize,
            largest_window: self.config.largest_receive_window as usize,
            longest: self.config.local_max_message_size as usize,
        };
        let resets = Resets::new(self.local.tsn, peer.tsn);
        self.link = Some(Link { peer, receiver: Receiver::new(terms), resets });
        let refused: Vec<u16> = self.channels.range(self.streams()..).map(|(id, _)| *id).collect();
        for id in refused {
            self.sender.backlog.reset(id);
            self.forget(id);
        }
    }

    /// The association is up.
    pub(super) fn establish(&mut self) {
        if self.stage == Stage::Connecting {
            self.stage = Stage::Up;
        }
        self.events.push_back(Event::Connected);
        let ids: Vec<u16> = self.channels.keys().copied().collect();
        ids.into_iter().for_each(|id| self.announce(id));
        self.sender.arm(self.now, &mut self.timers);
        self.probe.begin(&mut self.timers);
        self.stirred.extend(self.channels.keys());
    }

    /// Streams that the peer lets us use.
    pub(super) fn streams(&self) -> u16 {
        self.handshake.peer().map_or(u16::MAX, |peer| peer.inbound.min(peer.outbound))
    }

    /// Whether a number cannot be used: by another channel, or because the last one with it is not quite over.
    pub(super) fn is_taken(&self, id: u16) -> bool {
        self.channels.contains_key(&id) || self.link.as_ref().is_some_and(|link| link.resets.is_pending(id))
    }

    /// The lowest free number of our parity (RFC 8832 §6).
    pub(super) fn free_id(&self) -> Option<u16> {
        let first = match self.config.role {
            Role::Client => 0,
            Role::Server => 1,
        };
        (first..self.streams()).step_by(2).find(|id| !self.is_taken(*id) && !self.early.contains_key(id))
    }

    /// Announces a channel to the peer, and reports it, if that can be done already.
    pub(super) fn start(&mut self, id: u16) {
        let Some(channel) = self.channels.get(&id) else { return };
        if channel.config.negotiated.is_none() && !channel.incoming {
            let open = dcep::Message::Open(channel.config.clone()).write();
            self.write(id, Protocol::Dcep, open.into());
        }
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
        for message in self.early.remove(&id).unwrap_or_default() {
            self.deliver(id, message);
        }
    }

    /// Looks after the channels whose buffers have emptied.
    pub(super) fn settle(&mut self) {
        while let Some(id) = self.stirred.pop().or_else(|| self.sender.backlog.pop_relieved()) {
            self.settle_channel(id);
        }
        if self.stage == Stage::Draining
            && self.handshake.is_established()
            && self.sender.backlog.is_all_drained()
        {
            self.end(Event::Closed, Some(USER_INITIATED));
        }
    }

    fn settle_channel(&mut self, id: u16) {
        let buffered = self.sender.backlog.buffered(id);
        let (_, low) = self.send_buffer();
        let Some(channel) = self.channels.get_mut(&id) else { return };
        if buffered <= channel.low && std::mem::take(&mut channel.above_low) {
            self.events.push_back(Event::BufferedAmountLow(ChannelId(id)));
        }
        if channel.wants_room && buffered <= low {
            channel.wants_room = false;
            self.events.push_back(Event::Writable(ChannelId(id)));
        }
        let closing = channel.closing == Closing::Draining;
        if closing && self.link.is_none() && buffered == 0 {
            // Nobody has heard of it.
            self.sender.backlog.reset(id);
            self.forget(id);
        } else if closing && self.handshake.is_established() && self.sender.backlog.is_drained(id) {
            self.reset(id);
        }
    }

    /// Resets our half of a stream.
    fn reset(&mut self, id: u16) {
        if let (Some(link), Some(channel)) = (&mut self.link, self.channels.get_mut(&id)) {
            channel.closing = Closing::Resetting;
            self.timers.set(Timer::Closing(id), self.now + CLOSING);
            link.resets.want(id);
        }
    }

    /// Streams were reset, by us or by the peer.
    pub(super) fn handle_reset(&mut self, reset: Reset) {
        match reset {
            Reset::Ours(streams) => streams.into_iter().for_each(|id| self.reset_ours(id)),
            Reset::Theirs(streams) if streams.is_empty() => {
                let all = self.link.as_ref().map(|link| link.receiver.streams()).unwrap_or_default();
                all.into_iter().for_each(|id| self.reset_theirs(id));
            }
            Reset::Theirs(streams) => streams.into_iter().for_each(|id| self.reset_theirs(id)),
        }
    }

    fn reset_ours(&mut self, id: u16) {
        self.sender.backlog.reset(id);
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.closing = Closing::Reset;
        if channel.finished {
            self.forget(id);
        }
    }

    /// The peer's half of a channel is closed: all that came on it is reported first, and our half follows (RFC 8831 §6.7).
    fn reset_theirs(&mut self, id: u16) {
        let finished = self.channels.get(&id).is_some_and(|channel| channel.finished);
        let Some(link) = &mut self.link else { return };
        let messages = link.receiver.read_all(self.now, id);
        link.receiver.reset(id);
        if finished {
            return;
        }
        messages.into_iter().for_each(|message| self.dispatch(id, message));
        self.early.remove(&id);
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.finished = true;
        self.timers.set_earlier(Timer::Closing(id), self.now + CLOSING);
        match channel.closing {
            Closing::Reset => self.forget(id),
            Closing::Draining | Closing::Resetting => {}
            Closing::No => {
                channel.closing = Closing::Draining;
                self.stirred.push(id);
            }
        }
    }

    /// The end of a channel.
    pub(super) fn forget(&mut self, id: u16) {
        self.timers.stop(Timer::Closing(id));
        if self.channels.remove(&id).is_some() {
            self.events.push_back(Event::ChannelClosed(ChannelId(id)));
        }
    }

    /// Something that was waited for is due.
    pub(super) fn expire(&mut self, timer: Timer) {
        let now = self.now;
        match timer {
            Timer::Retransmission => {
                self.sender.timed_out(now);
                self.marks.doubt();
                self.sender.arm(now, &mut self.timers);
            }
            Timer::Probe => self.sender.probe(),
            Timer::Reordering => self.sender.reordered(now, &mut self.timers),
            Timer::Pace => {}
            Timer::Acknowledgement => {
                if let Some(link) = &mut self.link {
                    link.receiver.hurry();
                }
            }
            Timer::Reset => {
                if let Some(link) = &mut self.link {
                    link.resets.repeat();
                }
            }
            Timer::Size => self.probe.timed_out(now, &mut self.timers),
            Timer::Marks => self.marks.timed_out(),
            Timer::Closing(id) => self.forget(id),
        }
    }

    /// Packets may have another size now.
    pub(super) fn set_mtu(&mut self, mtu: usize) {
        self.sender.set_mtu(mtu);
    }

    /// The peer broke the rules.
    pub(super) fn violated(&mut self, what: &str) {
        self.end(Event::Failed(SctpError::Protocol(what.into())), Some(PROTOCOL_VIOLATION));
    }

    /// The end of the association: what can be read is read, all channels are closed, and that is all.
    pub(super) fn end(&mut self, event: Event, cause: Option<u16>) {
        if self.is_over() {
            return;
        }
        let readable = self.link.as_ref().map(|link| link.receiver.streams_to_read()).unwrap_or_default();
        for id in readable {
            if self.channels.get(&id).is_some_and(|channel| channel.finished) {
                continue;
            }
            let Some(link) = &mut self.link else { break };
            let messages = link.receiver.read_all(self.now, id);
            messages.into_iter().for_each(|message| self.dispatch(id, message));
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
        self.link = None;
        self.early.clear();
        self.sender = Sender::new(self.now, self.config.congestion, self.config.mtu, self.local.tsn);
    }
}

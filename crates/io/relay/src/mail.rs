use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::crew::Letter;

/// Letters that may wait: of those who have an allocation, and of all others. What comes beyond is lost, as on a network; a
/// flood of strangers leaves the former their room.
const ROOM: [usize; 2] = [4096, 4096];

/// Where the aides leave their letters for the chief.
#[derive(Clone)]
pub(crate) struct Slots {
    guests: SyncSender<Letter>,
    strangers: SyncSender<Letter>,
}

/// Where the chief finds them.
pub(crate) struct Mailbox {
    guests: Receiver<Letter>,
    strangers: Receiver<Letter>,
}

/// Both ends of the aides' way to the chief.
pub(crate) fn mail() -> (Slots, Mailbox) {
    mail_with_room(ROOM)
}

pub(crate) fn mail_with_room(room: [usize; 2]) -> (Slots, Mailbox) {
    let [(guests, from_guests), (strangers, from_strangers)] = room.map(sync_channel);
    (Slots { guests, strangers }, Mailbox { guests: from_guests, strangers: from_strangers })
}

impl Slots {
    /// Leaves a letter; what is about those who have an allocation where there is room for that alone. Returns whether there was
    /// any.
    pub(crate) fn post(&self, letter: Letter, of_guest: bool) -> bool {
        let slot = if of_guest { &self.guests } else { &self.strangers };
        slot.try_send(letter).is_ok()
    }

    /// Leaves a letter, and waits until there is room.
    pub(crate) fn insist(&self, letter: Letter) {
        let _ = self.strangers.send(letter);
    }
}

impl Mailbox {
    /// The next letter; those of guests come first.
    pub(crate) fn next(&self) -> Option<Letter> {
        self.guests.try_recv().ok().or_else(|| self.strangers.try_recv().ok())
    }

    /// The next letter, waited for, while there is anybody who may write one.
    pub(crate) fn wait(&self, patience: Duration) -> Option<Letter> {
        if let Ok(letter) = self.guests.try_recv() {
            return Some(letter);
        }
        match self.strangers.recv_timeout(patience) {
            Ok(letter) => Some(letter),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => self.guests.try_recv().ok(),
        }
    }
}

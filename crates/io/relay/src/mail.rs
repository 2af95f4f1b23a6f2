use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::crew::Letter;

/// Letters that may wait in each [`Room`]. What comes beyond is lost, as on a network; a flood of strangers leaves the others
/// theirs.
const ROOM: [usize; 3] = [4096; 3];

/// Whom a letter is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Room {
    /// Those who have an allocation.
    Clients,
    /// Those whom they have given a permission.
    Peers,
    /// Anybody.
    Strangers,
}

/// Where the aides leave their letters for the chief.
#[derive(Clone)]
pub(crate) struct Slots([SyncSender<Letter>; 3]);

/// Where the chief finds them.
pub(crate) struct Mailbox {
    rooms: [Receiver<Letter>; 3],
    /// Whose turn it is of those who take turns.
    next: Room,
}

/// Both ends of the aides' way to the chief.
pub(crate) fn mail() -> (Slots, Mailbox) {
    mail_with_room(ROOM)
}

pub(crate) fn mail_with_room(room: [usize; 3]) -> (Slots, Mailbox) {
    let [(clients, from_clients), (peers, from_peers), (strangers, from_strangers)] = room.map(sync_channel);
    let mailbox = Mailbox { rooms: [from_clients, from_peers, from_strangers], next: Room::Peers };
    (Slots([clients, peers, strangers]), mailbox)
}

impl Slots {
    /// Leaves a letter where there is room for its kind alone. Returns whether there was any.
    pub(crate) fn post(&self, letter: Letter, room: Room) -> bool {
        self.0[room as usize].try_send(letter).is_ok()
    }

    /// Leaves a letter, and waits until there is room.
    pub(crate) fn insist(&self, letter: Letter) {
        let _ = self.0[Room::Strangers as usize].send(letter);
    }
}

impl Mailbox {
    /// The next letter. Those about clients come first. Peers and strangers take turns: who has a permission may send what
    /// no flow carries, and as much of it as he likes, but he shall not keep new clients out.
    pub(crate) fn next(&mut self) -> Option<Letter> {
        let other = if self.next == Room::Peers { Room::Strangers } else { Room::Peers };
        let (room, letter) = [Room::Clients, self.next, other]
            .into_iter()
            .find_map(|room| Some((room, self.rooms[room as usize].try_recv().ok()?)))?;
        if room == self.next {
            self.next = other;
        }
        Some(letter)
    }

    /// The next letter, waited for, while there is anybody who may write one.
    pub(crate) fn wait(&mut self, patience: Duration) -> Option<Letter> {
        if let Some(letter) = self.next() {
            return Some(letter);
        }
        match self.rooms[Room::Strangers as usize].recv_timeout(patience) {
            Ok(letter) => Some(letter),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => self.next(),
        }
    }
}

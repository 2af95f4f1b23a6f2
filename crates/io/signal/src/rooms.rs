//! Who is in which room. No sockets, no clock: connections are numbers, answers go into a list.

use crate::limits::Limits;
use crate::message::{ErrorCode, FromServer, LeaveReason};
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

/// A connection to the server, never used twice.
pub(crate) type ConnectionId = u64;

/// What is to be sent to whom, in order.
pub(crate) type Answers = Vec<(ConnectionId, FromServer)>;

/// A wish that was not granted.
pub(crate) type Refusal = (ErrorCode, String);

/// All rooms of a server.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    rooms: BTreeMap<String, Room>,
    places: BTreeMap<ConnectionId, Place>,
    /// Nameplates whose host is gone, oldest first, with the time from which they may be given again.
    resting: VecDeque<(Instant, String)>,
}

#[derive(Debug)]
struct Room {
    /// Who opened it.
    opener: ConnectionId,
    limit: usize,
    /// Oldest first.
    members: Vec<(u32, ConnectionId)>,
    last_number: u32,
}

#[derive(Debug)]
struct Place {
    room: String,
    number: u32,
}

/// Digits only: a room that lives exactly as long as its host.
pub(crate) fn is_nameplate(room: &str) -> bool {
    !room.is_empty() && room.bytes().all(|b| b.is_ascii_digit())
}

const LONGEST_NAME: usize = 128;

impl Rooms {
    /// Opens a room under a free nameplate and enters it. `dice` gives random numbers.
    pub(crate) fn allocate(
        &mut self,
        who: ConnectionId,
        wish: Option<&str>,
        ice_servers: Value,
        limits: &Limits,
        now: Instant,
        dice: &mut dyn FnMut() -> u64,
    ) -> Result<Answers, Refusal> {
        self.check_free(who)?;
        self.check_space(limits)?;
        while self.resting.front().is_some_and(|(until, _)| *until <= now) {
            self.resting.pop_front();
        }
        let nameplate = match wish {
            // A wish is a host that comes back: its nameplate may rest, but must not be somebody else's.
            Some(wish) if is_nameplate(wish) && wish.len() <= 6 && !self.rooms.contains_key(wish) => {
                self.resting.retain(|(_, name)| name != wish);
                wish.to_string()
            }
            _ => self.free_nameplate(dice),
        };
        let mut answers = vec![(who, FromServer::Allocated { nameplate: nameplate.clone() })];
        self.open(&nameplate, who, 2);
        self.enter(&nameplate, who, ice_servers, &mut answers);
        Ok(answers)
    }

    /// Enters a room, opening it unless it is a nameplate's.
    pub(crate) fn join(
        &mut self,
        who: ConnectionId,
        room: &str,
        limit: Option<usize>,
        ice_servers: Value,
        limits: &Limits,
    ) -> Result<Answers, Refusal> {
        self.check_free(who)?;
        if room.is_empty() || room.len() > LONGEST_NAME || room.chars().any(char::is_control) {
            let message = format!("a room's name has 1 to {LONGEST_NAME} bytes and no control characters");
            return Err((ErrorCode::BadRoom, message));
        }
        match self.rooms.get(room) {
            Some(open) if open.members.len() >= open.limit => {
                let message = match open.limit {
                    2 => {
                        "two are in this room already: ask the other side for a new code or link".to_string()
                    }
                    limit => format!("the room is full: {limit} are in it already"),
                };
                return Err((ErrorCode::RoomFull, message));
            }
            Some(_) => {}
            None if is_nameplate(room) => {
                let message = format!(
                    "nobody is waiting under the code {room}-…: check the number with the other side, and that \
                     its program is still running; a code works once and only while it runs"
                );
                return Err((ErrorCode::NoSuchCode, message));
            }
            None => {
                self.check_space(limits)?;
                self.open(room, who, limit.unwrap_or(limits.members).clamp(2, limits.members.max(2)));
            }
        }
        let mut answers = Answers::new();
        self.enter(room, who, ice_servers, &mut answers);
        Ok(answers)
    }

    /// How many are in a room and how many it takes.
    pub(crate) fn look(&self, room: &str) -> (usize, usize) {
        self.rooms.get(room).map_or((0, 0), |room| (room.members.len(), room.limit))
    }

    /// Hands data to another member.
    pub(crate) fn send(&self, who: ConnectionId, to: &str, data: String) -> Result<Answers, Refusal> {
        let (place, room) = self.place(who)?;
        let other = to.parse().ok().and_then(|number: u32| {
            room.members.iter().find(|(n, connection)| *n == number && *connection != who)
        });
        match other {
            Some((_, other)) => {
                Ok(vec![(*other, FromServer::Message { from: place.number.to_string(), data })])
            }
            None => Err((ErrorCode::NoSuchPeer, format!("nobody here has the id {to:.32} (any more)"))),
        }
    }

    /// Leaves the room, if in one. A nameplate's room ends with its host.
    pub(crate) fn leave(
        &mut self,
        who: ConnectionId,
        reason: LeaveReason,
        limits: &Limits,
        now: Instant,
    ) -> Answers {
        let mut answers = Answers::new();
        let Some(place) = self.places.remove(&who) else { return answers };
        let Some(room) = self.rooms.get_mut(&place.room) else { return answers };
        room.members.retain(|(_, connection)| *connection != who);
        for (_, other) in &room.members {
            let silent = reason == LeaveReason::Silent;
            let reason = if silent { LeaveReason::Lost } else { reason };
            answers.push((*other, FromServer::PeerLeft { peer: place.number.to_string(), reason, silent }));
        }
        let ends = room.members.is_empty() || (room.opener == who && is_nameplate(&place.room));
        if ends {
            self.end(&place.room, limits, now, &mut answers);
        }
        answers
    }

    /// Ends the room for everybody in it.
    pub(crate) fn close(
        &mut self,
        who: ConnectionId,
        limits: &Limits,
        now: Instant,
    ) -> Result<Answers, Refusal> {
        let (place, room) = self.place(who)?;
        if room.opener != who {
            return Err((ErrorCode::NotHost, "only who opened the room may close it".into()));
        }
        let name = place.room.clone();
        let mut answers = Answers::new();
        self.end(&name, limits, now, &mut answers);
        Ok(answers)
    }

    /// Whether there is neither a room nor a member.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.rooms.is_empty() && self.places.is_empty()
    }

    fn check_free(&self, who: ConnectionId) -> Result<(), Refusal> {
        match self.places.get(&who) {
            Some(_) => Err((ErrorCode::AlreadyJoined, "already in a room: leave it first".into())),
            None => Ok(()),
        }
    }

    fn check_space(&self, limits: &Limits) -> Result<(), Refusal> {
        if self.rooms.len() >= limits.rooms {
            return Err((
                ErrorCode::ServerFull,
                "this server has no room for more at the moment: try again later".into(),
            ));
        }
        Ok(())
    }

    fn place(&self, who: ConnectionId) -> Result<(&Place, &Room), Refusal> {
        self.places
            .get(&who)
            .and_then(|place| Some((place, self.rooms.get(&place.room)?)))
            .ok_or_else(|| (ErrorCode::NotJoined, "in no room: join one first".into()))
    }

    fn open(&mut self, name: &str, opener: ConnectionId, limit: usize) {
        let room = Room { opener, limit, members: Vec::new(), last_number: 0 };
        self.rooms.insert(name.to_string(), room);
    }

    fn enter(&mut self, name: &str, who: ConnectionId, ice_servers: Value, answers: &mut Answers) {
        let room = self.rooms.get_mut(name).expect("the caller opened or found it");
        room.last_number += 1;
        let number = room.last_number;
        let peers = room.members.iter().map(|(n, _)| n.to_string()).collect();
        answers.push((
            who,
            FromServer::Joined {
                room: name.to_string(),
                you: number.to_string(),
                peers,
                limit: room.limit,
                ice_servers,
            },
        ));
        for (_, other) in &room.members {
            answers.push((*other, FromServer::PeerJoined { peer: number.to_string() }));
        }
        room.members.push((number, who));
        self.places.insert(who, Place { room: name.to_string(), number });
    }

    fn end(&mut self, name: &str, limits: &Limits, now: Instant, answers: &mut Answers) {
        let Some(room) = self.rooms.remove(name) else { return };
        for (_, member) in room.members {
            self.places.remove(&member);
            answers.push((member, FromServer::RoomClosed));
        }
        if is_nameplate(name) {
            self.resting.push_back((now + limits.nameplate_rest, name.to_string()));
            // Who fills the list only shortens everybody's rest; the words still protect them.
            if self.resting.len() > limits.rooms {
                self.resting.pop_front();
            }
        }
    }

    /// A number that nobody has or had lately, as short as can be while half of its length is free.
    fn free_nameplate(&self, dice: &mut dyn FnMut() -> u64) -> String {
        let taken = |name: &str| self.rooms.contains_key(name) || self.resting.iter().any(|(_, n)| n == name);
        for digits in 1..=18 {
            let first = if digits == 1 { 1 } else { 10u64.pow(digits - 1) };
            let count = 10u64.pow(digits) - first;
            // With at least half of them free, sixteen throws miss them all once in 65,536 times, and then
            // the number is a digit longer.
            for _ in 0..16 {
                let name = (first + dice() % count).to_string();
                if !taken(&name) {
                    return name;
                }
            }
        }
        unreachable!("there are more numbers of 18 digits than rooms")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    struct Table {
        rooms: Rooms,
        limits: Limits,
        now: Instant,
        dice: u64,
    }

    impl Table {
        fn new() -> Self {
            Self { rooms: Rooms::default(), limits: Limits::default(), now: Instant::now(), dice: 0 }
        }

        fn join(&mut self, who: ConnectionId, room: &str) -> Result<Answers, Refusal> {
            self.rooms.join(who, room, None, json!([]), &self.limits)
        }

        fn allocate(&mut self, who: ConnectionId, wish: Option<&str>) -> String {
            let dice = &mut self.dice;
            let mut throw = || {
                *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *dice >> 33
            };
            let answers =
                self.rooms.allocate(who, wish, json!([]), &self.limits, self.now, &mut throw).unwrap();
            match &answers[0] {
                (to, FromServer::Allocated { nameplate }) if *to == who => nameplate.clone(),
                other => panic!("{other:?}"),
            }
        }

        fn leave(&mut self, who: ConnectionId) -> Answers {
            self.rooms.leave(who, LeaveReason::Left, &self.limits, self.now)
        }
    }

    #[test]
    fn the_newcomer_learns_who_is_there_and_they_learn_of_it() {
        let mut table = Table::new();
        table.join(10, "garden").unwrap();
        let answers = table.join(11, "garden").unwrap();
        assert_eq!(answers.len(), 2);
        let (11, FromServer::Joined { you, peers, limit: 6, .. }) = &answers[0] else { panic!() };
        assert_eq!((you.as_str(), peers.as_slice()), ("2", &["1".to_string()][..]));
        assert_eq!(answers[1], (10, FromServer::PeerJoined { peer: "2".into() }));

        let answers = table.rooms.send(11, "1", "hello".into()).unwrap();
        assert_eq!(answers, [(10, FromServer::Message { from: "2".into(), data: "hello".into() })]);

        let answers = table.leave(11);
        assert_eq!(
            answers,
            [(10, FromServer::PeerLeft { peer: "2".into(), reason: LeaveReason::Left, silent: false })]
        );
        // An id is not used again: a late message for who left must not reach who came.
        let answers = table.join(12, "garden").unwrap();
        let (12, FromServer::Joined { you, .. }) = &answers[0] else { panic!() };
        assert_eq!(you, "3");
        table.leave(10);
        table.leave(12);
        assert!(table.rooms.is_empty());
    }

    #[test]
    fn nobody_reaches_another_room() {
        let mut table = Table::new();
        table.join(1, "a").unwrap();
        table.join(2, "a").unwrap();
        table.join(3, "b").unwrap();
        assert_eq!(table.rooms.send(3, "1", "x".into()).unwrap_err().0, ErrorCode::NoSuchPeer, "itself");
        assert_eq!(table.rooms.send(3, "2", "x".into()).unwrap_err().0, ErrorCode::NoSuchPeer);
        assert_eq!(table.rooms.send(4, "1", "x".into()).unwrap_err().0, ErrorCode::NotJoined);
    }

    #[test]
    fn a_nameplate_lives_as_long_as_its_host_and_takes_two() {
        let mut table = Table::new();
        assert_eq!(table.join(9, "7").unwrap_err().0, ErrorCode::NoSuchCode);
        let nameplate = table.allocate(1, None);
        assert_eq!(nameplate.len(), 1, "{nameplate}");
        table.join(2, &nameplate).unwrap();
        assert_eq!(table.join(3, &nameplate).unwrap_err().0, ErrorCode::RoomFull);
        let answers = table.leave(1);
        assert_eq!(answers.last(), Some(&(2, FromServer::RoomClosed)));
        assert_eq!(table.join(3, &nameplate).unwrap_err().0, ErrorCode::NoSuchCode);
        assert_eq!(table.rooms.send(2, "1", "x".into()).unwrap_err().0, ErrorCode::NotJoined);
    }

    #[test]
    fn only_the_host_lets_the_code_die() {
        let mut table = Table::new();
        let nameplate = table.allocate(1, None);
        table.join(2, &nameplate).unwrap();
        let refused = table.rooms.close(2, &table.limits, table.now).unwrap_err();
        assert_eq!(refused.0, ErrorCode::NotHost);
        let answers = table.rooms.close(1, &table.limits, table.now).unwrap();
        assert_eq!(answers, [(1, FromServer::RoomClosed), (2, FromServer::RoomClosed)]);
        assert!(table.rooms.is_empty());
        // Both are free to go elsewhere.
        table.join(2, "elsewhere").unwrap();
    }

    #[test]
    fn a_nameplate_rests_before_it_goes_to_somebody_else() {
        let mut table = Table::new();
        let mut given = std::collections::BTreeSet::new();
        for who in 0..40 {
            let nameplate = table.allocate(who, None);
            table.leave(who);
            assert!(given.insert(nameplate), "given twice within the rest");
        }
        assert!(given.iter().all(|n| n.len() <= 2), "{given:?}");
        // Its own host may have it back at once, unless somebody else has it.
        let mine = given.first().unwrap().clone();
        assert_eq!(table.allocate(100, Some(&mine)), mine);
        assert_ne!(table.allocate(101, Some(&mine)), mine);
        assert!(is_nameplate(&table.allocate(102, Some("a room"))));
        // After the rest all is as before.
        table.now += table.limits.nameplate_rest;
        for who in [100, 101, 102] {
            table.leave(who);
        }
        table.now += table.limits.nameplate_rest;
        assert_eq!(table.allocate(200, None).len(), 1);
    }

    #[test]
    fn rooms_are_bounded_and_named_decently() {
        let mut table = Table::new();
        table.limits.rooms = 2;
        table.join(1, "a").unwrap();
        table.join(2, "b").unwrap();
        assert_eq!(table.join(3, "c").unwrap_err().0, ErrorCode::ServerFull);
        table.join(3, "a").unwrap();
        assert_eq!(table.join(3, "b").unwrap_err().0, ErrorCode::AlreadyJoined);
        for bad in ["", "a\nb", &"x".repeat(129)] {
            assert_eq!(table.join(4, bad).unwrap_err().0, ErrorCode::BadRoom);
        }
    }
}

use std::collections::BTreeSet;
use std::time::Duration;

use sansio::{Time, Timers};

use crate::packet::{Chunk, Writer};
use crate::reconfig::{
    Outcome, Parameter, REQUEST_HEADER, RESPONSE_CHUNK, parameters, write_reset, write_response,
};
use crate::serial::unroll32;
use crate::timer::Timer;

/// Stream resets (RFC 6525), which is how channels are closed: ours, one request at a time, and the peer's.
#[derive(Debug)]
pub(crate) struct Resets {
    /// The number of our next request.
    next: u32,
    /// Streams on which we want to begin anew.
    wanted: BTreeSet<u16>,
    request: Option<Request>,
    /// Whether the request is to be sent.
    due: bool,
    /// The number of the peer's next request.
    expected: u32,
    /// The peer's last request that is settled, and how it ended.
    settled: Option<(u32, Outcome)>,
    /// What is to be told.
    answer: Option<(u32, Outcome)>,
    deferred: Option<Deferred>,
}

/// A request of ours that is not answered.
#[derive(Debug)]
struct Request {
    number: u32,
    last: u32,
    streams: Vec<u16>,
}

/// A request of the peer's that waits for data which was sent before it.
#[derive(Debug)]
struct Deferred {
    number: u32,
    last: u64,
    streams: Vec<u16>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    /// We begin anew on these.
    Ours(Vec<u16>),
    /// The peer begins anew on these; none: on all.
    Theirs(Vec<u16>),
}

impl Resets {
    /// Requests are numbered from the first TSNs of both sides on (RFC 6525 §4.1).
    pub(crate) fn new(ours: u32, theirs: u32) -> Self {
        Self {
            next: ours,
            wanted: BTreeSet::new(),
            request: None,
            due: false,
            expected: theirs,
            settled: None,
            answer: None,
            deferred: None,
        }
    }

    /// Asks for a stream to begin anew. All that was sent on it must have been acknowledged.
    pub(crate) fn want(&mut self, stream: u16) {
        if !self.is_pending(stream) {
            self.wanted.insert(stream);
        }
    }

    /// Whether that was asked for and has not happened yet.
    pub(crate) fn is_pending(&self, stream: u16) -> bool {
        let asked = self.request.as_ref().is_some_and(|request| request.streams.contains(&stream));
        asked || self.wanted.contains(&stream)
    }

    pub(crate) fn has_work(&self) -> bool {
        self.answer.is_some() || self.due || self.request.is_none() && !self.wanted.is_empty()
    }

    /// The request was not answered in time, or there is a path again.
    pub(crate) fn repeat(&mut self) {
        self.due = self.request.is_some();
    }

    /// Takes a RE-CONFIG chunk. Everything up to `cumulative` has come.
    pub(crate) fn handle(
        &mut self,
        chunk: Chunk<'_>,
        cumulative: u64,
        timers: &mut Timers<Timer>,
    ) -> Vec<Reset> {
        let mut happened = Vec::new();
        for parameter in parameters(chunk) {
            match parameter {
                Parameter::Reset { number, last, streams } if self.is_new(number) => {
                    let last = unroll32(cumulative, last);
                    self.defer(Deferred { number, last, streams: streams.iter().collect() });
                    happened.extend(self.progressed(cumulative));
                }
                Parameter::Other { number } if self.is_new(number) => self.settle(number, Outcome::DENIED),
                Parameter::Reset { .. } | Parameter::Other { .. } => {}
                Parameter::Response { number, outcome } => {
                    happened.extend(self.answered(number, outcome, timers))
                }
            }
        }
        happened
    }

    /// Whether a request of the peer's is the next; another one is answered.
    fn is_new(&mut self, number: u32) -> bool {
        let deferred = self.deferred.as_ref().map(|deferred| deferred.number);
        let outcome = match (deferred, self.settled) {
            (None, _) if number == self.expected => return true,
            (Some(deferred), _) if deferred == number => Outcome::IN_PROGRESS,
            (_, Some((settled, outcome))) if settled == number => outcome,
            (Some(_), _) => Outcome::BUSY,
            (None, _) => Outcome::BAD_NUMBER,
        };
        self.answer = Some((number, outcome));
        false
    }

    fn defer(&mut self, request: Deferred) {
        self.answer = Some((request.number, Outcome::IN_PROGRESS));
        self.deferred = Some(request);
    }

    fn settle(&mut self, number: u32, outcome: Outcome) {
        self.expected = number.wrapping_add(1);
        self.settled = Some((number, outcome));
        self.answer = self.settled;
    }

    /// Everything up to `cumulative` has come: what waited for that may happen.
    pub(crate) fn progressed(&mut self, cumulative: u64) -> Option<Reset> {
        let Deferred { number, streams, .. } =
            self.deferred.take_if(|deferred| deferred.last <= cumulative)?;
        self.settle(number, Outcome::PERFORMED);
        Some(Reset::Theirs(streams))
    }

    fn answered(&mut self, number: u32, outcome: Outcome, timers: &mut Timers<Timer>) -> Option<Reset> {
        if matches!(outcome, Outcome::IN_PROGRESS | Outcome::BUSY) {
            return None; // it will be repeated
        }
        // What is refused would be refused again.
        let request = self.request.take_if(|request| request.number == number)?;
        timers.stop(Timer::Reset);
        self.due = false;
        Some(Reset::Ours(request.streams))
    }

    /// Writes what is to be said. `last` is our last TSN.
    pub(crate) fn write(
        &mut self,
        now: Time,
        last: u32,
        timeout: Duration,
        writer: &mut Writer<'_>,
        timers: &mut Timers<Timer>,
    ) {
        if let Some((number, outcome)) = self.answer.take_if(|_| writer.room() >= RESPONSE_CHUNK) {
            write_response(number, outcome, writer);
        }
        let room = writer.room().saturating_sub(REQUEST_HEADER) / 2;
        if self.request.is_none() && !self.wanted.is_empty() && room > 0 {
            let streams: Vec<u16> = self.wanted.iter().copied().take(room.min(1000)).collect();
            self.wanted.retain(|stream| !streams.contains(stream));
            self.request = Some(Request { number: self.next, last, streams });
            self.next = self.next.wrapping_add(1);
            self.due = true;
        }
        if let Some(request) =
            self.request.as_ref().filter(|request| self.due && request.streams.len() <= room)
        {
            // A request that is deferred is not named as seen: some take that for an answer to it.
            let seen = self.expected.wrapping_sub(1);
            write_reset(request.number, seen, request.last, &request.streams, writer);
            timers.set(Timer::Reset, now + timeout);
            self.due = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{HEADER, Header, parse};

    struct Side {
        resets: Resets,
        timers: Timers<Timer>,
    }

    impl Side {
        fn new(ours: u32, theirs: u32) -> Self {
            Self { resets: Resets::new(ours, theirs), timers: Timers::default() }
        }

        fn write(&mut self) -> Vec<u8> {
            let mut buffer = vec![0; 1000];
            let mut writer = Writer::new(&mut buffer, Header { source: 1, destination: 2, tag: 3 });
            self.resets.write(Time::ZERO, 50, Duration::from_secs(1), &mut writer, &mut self.timers);
            let used = writer.finish(true);
            buffer.truncate(used);
            buffer
        }

        fn handle(&mut self, packet: &[u8], cumulative: u64) -> Vec<Reset> {
            let chunks = parse(packet).unwrap().1;
            chunks.flat_map(|chunk| self.resets.handle(chunk, cumulative, &mut self.timers)).collect()
        }
    }

    #[test]
    fn a_reset_waits_for_the_data_before_it_and_happens_once() {
        let base = crate::serial::START;
        let (mut a, mut b) = (Side::new(10, 20), Side::new(20, 10));
        a.resets.want(4);
        a.resets.want(6);
        let request = a.write();
        a.resets.want(8);
        assert_eq!(a.write().len(), HEADER, "one at a time");
        assert_eq!(b.handle(&request, base + 49), []);
        let progress = b.write();
        assert_eq!(a.handle(&progress, base), []);
        assert!(a.resets.is_pending(4) && a.timers.get(Timer::Reset).is_some());
        assert_eq!(b.resets.progressed(base + 50), Some(Reset::Theirs(vec![4, 6])));
        let answer = b.write();
        assert_eq!(a.handle(&answer, base), [Reset::Ours(vec![4, 6])]);
        assert_eq!(a.handle(&answer, base), []);
        assert_eq!(b.handle(&request, base + 50), [], "a repetition is answered, and does nothing");
        assert_eq!(b.write(), answer);
        assert!(!a.resets.is_pending(4) && a.resets.is_pending(8));
        let second = a.write();
        assert_eq!(b.handle(&second, base + 50), [Reset::Theirs(vec![8])]);
    }

    #[test]
    fn requests_out_of_order_are_refused() {
        let (mut a, mut b) = (Side::new(10, 20), Side::new(99, 10));
        a.resets.next = 12;
        a.resets.want(4);
        let request = a.write();
        assert_eq!(b.handle(&request, crate::serial::START + 100), []);
        assert_eq!(b.resets.answer, Some((12, Outcome::BAD_NUMBER)));
    }
}

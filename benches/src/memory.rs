//! Both ends on one thread, without sockets: what the stacks themselves cost.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::contender::{Channel, Contender, Make, Terms};
use crate::flow::{Flow, Processor};

/// Datagrams handed over before an end is polled: about what one system call receives.
const LOT: usize = 64;

/// Two ends and the datagrams between them.
struct Table {
    ends: [Box<dyn Contender>; 2],
    /// What is on its way to each end.
    wire: [Vec<Vec<u8>>; 2],
    spare: Vec<Vec<u8>>,
}

impl Table {
    fn new(make: Make, channel: Channel) -> Self {
        let [local, remote]: [SocketAddr; 2] =
            [([127, 0, 0, 1], 40_001).into(), ([127, 0, 0, 1], 40_002).into()];
        let (mut ours, offer) = (make.offer)(Terms { local, remote, channel });
        let (theirs, answer) = (make.answer)(Terms { local: remote, remote: local, channel }, &offer);
        ours.accept(&answer);
        Self { ends: [ours, theirs], wire: Default::default(), spare: Vec::new() }
    }

    fn poll(&mut self, end: usize) {
        let Self { ends, wire, spare } = self;
        ends[end].poll(Instant::now(), &mut |datagram| {
            let mut copy = spare.pop().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(datagram);
            wire[1 - end].push(copy);
        });
    }

    /// Carries what is on its way, and polls. Waits for a timer if nothing is.
    fn turn(&mut self) {
        self.poll(0);
        self.poll(1);
        if self.wire.iter().all(Vec::is_empty) {
            let next = self.ends.iter_mut().filter_map(|end| end.timeout()).min();
            let wait =
                next.map_or(Duration::from_millis(1), |at| at.saturating_duration_since(Instant::now()));
            std::thread::sleep(wait.min(Duration::from_millis(50)));
        }
        for end in [1, 0] {
            let mut under_way = std::mem::take(&mut self.wire[end]);
            for lot in under_way.chunks_mut(LOT) {
                let now = Instant::now();
                lot.iter_mut().for_each(|datagram| self.ends[end].handle(now, datagram));
                self.poll(end);
            }
            self.spare.append(&mut under_way);
        }
    }

    fn connect(&mut self) {
        let begin = Instant::now();
        let mut said = false;
        while self.ends[1].received().messages == 0 {
            self.turn();
            if !said && self.ends[0].is_open() {
                said = self.ends[0].write(Instant::now(), b"first");
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "the channel does not open");
        }
    }
}

/// Milliseconds until the answerer has the offerer's first message, from when both know the other's description.
pub fn open(make: Make) -> f64 {
    let mut table = Table::new(make, Channel::Reliable);
    let begin = Instant::now();
    table.connect();
    begin.elapsed().as_secs_f64() * 1e3
}

/// Messages of `size` bytes from the offerer to the answerer, for as long as `duration`.
pub fn flood(make: Make, channel: Channel, size: usize, duration: Duration) -> Flow {
    let mut table = Table::new(make, channel);
    table.connect();
    let message = vec![0x5a; size];
    let already = table.ends[1].received();
    let (begin, processor) = (Instant::now(), Processor::now());
    while begin.elapsed() < duration {
        while table.ends[0].write(Instant::now(), &message) {}
        table.turn();
    }
    let received = table.ends[1].received();
    Flow {
        messages: received.messages - already.messages,
        bytes: received.bytes - already.bytes,
        time: begin.elapsed(),
        processor: processor.elapsed(),
    }
}

use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Outbox, Path, Rng, Time, Timers, Transport};
use stun::{Class, HEADER_BYTES, Message, MessageWriter, Method, TransactionId};

use crate::Timings;
use crate::report::{ServerOutcome, ServerReport, ServerRequest};
use crate::route::plain;

/// So often the pause between questions doubles that a server is asked again: by default to 4 s, and then stays so.
const MAX_DOUBLINGS: u32 = 3;
/// So often a server is asked again that does not answer: by default for 30 s, as long as consent lasts.
const MAX_ATTEMPTS: u32 = 10;

/// Binding requests to STUN and TURN servers: how do you see me? (RFC 8445 §5.1.1.2)
#[derive(Debug, Default)]
pub(crate) struct Probes {
    list: Vec<Probe>,
    timers: Timers<usize>,
}

/// One question from one socket to one server.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The place of the server in the configuration.
    pub(crate) server: usize,
    pub(crate) url: String,
    pub(crate) path: Path,
    pub(crate) outcome: ServerOutcome,
    id: Option<TransactionId>,
    due: bool,
    /// It has answered before, and is asked whether it still sees us there.
    again: bool,
    attempts: u32,
    sent: u32,
    started: Time,
    took: Option<Duration>,
    /// The first address that it gave, if it gives another one now.
    earlier: Option<SocketAddr>,
}

/// What an answer to a probe brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeAnswer {
    /// How the server sees the socket; `at` is the place of the probe.
    Mapped { at: usize, mapped: SocketAddr },
    /// The server refused.
    Refused { at: usize },
}

impl Probe {
    /// For people. `hide` keeps our own address back.
    pub(crate) fn report(&self, hide: bool) -> ServerReport {
        ServerReport {
            url: self.url.clone(),
            request: ServerRequest::Binding,
            transport: Transport::Udp,
            local: Some(self.path.local).filter(|_| !hide),
            address: Some(self.path.remote),
            outcome: self.outcome.clone(),
            sent: self.sent,
            took: self.took,
            earlier: self.earlier,
            realm: None,
            expires: None,
        }
    }

    /// Whether it has not had its answer yet.
    pub(crate) fn is_pending(&self) -> bool {
        self.outcome == ServerOutcome::Pending
    }
}

impl Probes {
    /// Notes a question, unless it is there already. Returns its place if it is new.
    pub(crate) fn add(&mut self, now: Time, server: usize, url: String, path: Path) -> Option<usize> {
        if self.list.iter().any(|probe| probe.server == server && probe.path == path) {
            return None;
        }
        self.list.push(Probe {
            server,
            url,
            path,
            outcome: ServerOutcome::Pending,
            id: None,
            due: false,
            again: false,
            attempts: 0,
            sent: 0,
            started: now,
            took: None,
            earlier: None,
        });
        Some(self.list.len() - 1)
    }

    /// All of them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Probe> {
        self.list.iter()
    }

    /// The probe at this place.
    pub(crate) fn get(&self, at: usize) -> Option<&Probe> {
        self.list.get(at)
    }

    /// Asks.
    pub(crate) fn start(&mut self, rng: &mut Rng, at: usize) {
        if let Some(probe) = self.list.get_mut(at) {
            probe.id = Some(TransactionId::random(rng));
            probe.attempts = 0;
            probe.due = true;
        }
    }

    /// Asks those once more that have answered: do they still see us where they did? Until they answer, as the network may be
    /// away for a while.
    pub(crate) fn ask_again(&mut self, rng: &mut Rng) {
        for probe in self.list.iter_mut().filter(|probe| matches!(probe.outcome, ServerOutcome::Succeeded(_)))
        {
            probe.id = Some(TransactionId::random(rng));
            probe.attempts = 0;
            probe.again = true;
            probe.due = true;
        }
    }

    /// Forgets all of them: they are asked anew, or not at all.
    pub(crate) fn clear(&mut self) {
        self.list.clear();
        self.timers.clear();
    }

    /// Stops asking. What was learnt is kept for the report.
    pub(crate) fn stop(&mut self) {
        self.timers.clear();
        for probe in &mut self.list {
            probe.due = false;
            probe.again = false;
            probe.id = None;
        }
    }

    /// Takes an answer. `None` if it is to none of them.
    pub(crate) fn handle(
        &mut self,
        now: Time,
        path: Path,
        message: &Message<'_>,
        keepalive: Duration,
    ) -> Option<ProbeAnswer> {
        let ours = |probe: &Probe| probe.path == path && probe.id == Some(message.transaction_id());
        let at = self.list.iter().position(ours)?;
        let probe = &mut self.list[at];
        // RFC 8445 §5.1.1.2 wants the backwards compatibility mode of RFC 5389: a server without XOR-MAPPED-ADDRESS.
        let mapped = message.xor_mapped_address().or_else(|| message.mapped_address()).map(plain);
        let again = !probe.is_pending();
        probe.id = None;
        probe.due = false;
        probe.again = false;
        probe.took.get_or_insert(now - probe.started);
        // RFC 8445 §5.1.1.4: "the bindings MUST be kept alive by additional Binding requests".
        self.timers.set(at, now + keepalive);
        match (message.class(), mapped) {
            (Class::Success, Some(mapped)) => {
                if let ServerOutcome::Succeeded(before) = probe.outcome
                    && before != mapped
                {
                    probe.earlier.get_or_insert(before);
                }
                probe.outcome = ServerOutcome::Succeeded(mapped);
                Some(ProbeAnswer::Mapped { at, mapped })
            }
            _ if again => None,
            _ => {
                let error = message.error_code();
                let code = error.as_ref().map_or(0, |error| error.code);
                let text =
                    error.map_or("answer without a mapped address".to_owned(), |e| e.reason.to_owned());
                probe.outcome = ServerOutcome::Refused { code, text };
                self.timers.stop(at);
                Some(ProbeAnswer::Refused { at })
            }
        }
    }

    /// Does what is due; `alive` tells whether reflexive candidates are still to be kept alive. Returns the
    /// places of those that have failed.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Time,
        rng: &mut Rng,
        timings: &Timings,
        alive: bool,
    ) -> Vec<usize> {
        let mut failed = Vec::new();
        while let Some(at) = self.timers.expired(now) {
            let Some(probe) = self.list.get_mut(at) else { continue };
            match (probe.is_pending(), probe.attempts < timings.rc) {
                (true, true) => probe.due = true,
                (false, _) if probe.again && probe.attempts < MAX_ATTEMPTS => probe.due = true,
                (true, false) => {
                    probe.outcome = ServerOutcome::TimedOut;
                    probe.took = Some(now - probe.started);
                    probe.id = None;
                    failed.push(at);
                }
                // A keep-alive: nobody waits for its answer, and the next comes anyway.
                (false, _) => {
                    probe.again = false;
                    if alive {
                        probe.id = Some(TransactionId::random(rng));
                        probe.due = true;
                    }
                }
            }
        }
        failed
    }

    /// When [`Probes::handle_timeout`] wants to be called next.
    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Writes the requests that are due.
    pub(crate) fn poll_transmit(&mut self, now: Time, out: &mut dyn Outbox, timings: &Timings) {
        for (at, probe) in self.list.iter_mut().enumerate().filter(|(_, probe)| probe.due) {
            let Some(id) = probe.id else { continue };
            let mut fill = |buffer: &mut [u8]| {
                MessageWriter::new(buffer, Class::Request, Method::BINDING, id).finish().unwrap_or(0)
            };
            if !out.send(probe.path, HEADER_BYTES, &mut fill) {
                return;
            }
            probe.due = false;
            probe.sent += 1;
            probe.attempts += 1;
            let wait = match probe.outcome {
                ServerOutcome::Pending if probe.attempts < timings.rc => {
                    timings.rto * (1 << (probe.attempts - 1).min(16))
                }
                ServerOutcome::Pending => timings.rto * timings.rm,
                _ if probe.again => timings.rto * (1 << (probe.attempts - 1).min(MAX_DOUBLINGS)),
                _ => timings.keepalive,
            };
            self.timers.set(at, now + wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use sansio::{Batches, Seed};
    use stun::kind;

    use super::*;

    /// Probes with one of them, its place and its path.
    fn one_probe() -> (Probes, usize, Path) {
        let mut probes = Probes::default();
        let path = Path::udp("10.0.0.1:5".parse().unwrap(), "192.0.2.1:3478".parse().unwrap());
        let at = probes.add(Time::ZERO, 0, "stun:x".to_owned(), path).unwrap();
        (probes, at, path)
    }

    #[test]
    fn a_probe_is_repeated_until_answered_and_then_kept_alive() {
        let (timings, mut rng) = (Timings::default(), Rng::new(Seed::from(1)));
        let (mut probes, at, path) = one_probe();
        assert_eq!(probes.add(Time::ZERO, 0, "stun:x".to_owned(), path), None);
        probes.start(&mut rng, at);
        let mut out = Batches::new(1000);
        probes.poll_transmit(Time::ZERO, &mut out, &timings);
        let now = probes.poll_timeout().unwrap();
        assert_eq!(now.elapsed(), timings.rto);
        assert_eq!(probes.handle_timeout(now, &mut rng, &timings, true), []);
        probes.poll_transmit(now, &mut out, &timings);
        let (first, second) = (out.pop().unwrap(), out.pop());
        assert_eq!(first.bytes.len(), 2 * HEADER_BYTES, "{second:?}");
        assert_eq!(first.bytes[..HEADER_BYTES], first.bytes[HEADER_BYTES..]);

        let request = Message::parse(&first.bytes[..HEADER_BYTES]).unwrap();
        let mut bytes = [0; 64];
        let mapped = "198.51.100.7:99".parse().unwrap();
        let mut writer = MessageWriter::answer(&mut bytes, Class::Success, &request);
        let length = writer.xor_address(kind::XOR_MAPPED_ADDRESS, mapped).finish().unwrap();
        let answer = Message::parse(&bytes[..length]).unwrap();
        assert_eq!(probes.handle(now, path.reversed(), &answer, timings.keepalive), None, "from elsewhere");
        let expected = Some(ProbeAnswer::Mapped { at, mapped });
        assert_eq!(probes.handle(now, path, &answer, timings.keepalive), expected);
        assert_eq!(probes.handle(now, path, &answer, timings.keepalive), None, "once");

        let now = probes.poll_timeout().unwrap();
        assert_eq!(probes.handle_timeout(now, &mut rng, &timings, true), []);
        probes.poll_transmit(now, &mut out, &timings);
        assert_eq!(out.pop().unwrap().bytes.len(), HEADER_BYTES);
        let now = probes.poll_timeout().unwrap();
        probes.handle_timeout(now, &mut rng, &timings, false);
        probes.poll_transmit(now, &mut out, &timings);
        assert!(out.is_empty() && probes.poll_timeout().is_none());
    }

    #[test]
    fn who_has_answered_is_asked_again_until_the_network_is_back() {
        let (timings, mut rng) = (Timings::default(), Rng::new(Seed::from(1)));
        let (mut probes, at, _) = one_probe();
        let answered = ServerOutcome::Succeeded("198.51.100.7:99".parse().unwrap());
        probes.list[at].outcome = answered.clone();
        probes.ask_again(&mut rng);
        let mut out = Batches::new(1000);
        let mut asked = Vec::new();
        let mut now = Time::ZERO;
        loop {
            let sent = probes.list[at].sent;
            probes.poll_transmit(now, &mut out, &timings);
            if probes.list[at].sent > sent {
                asked.push(now.elapsed().as_millis());
            }
            let Some(next) = probes.poll_timeout() else { break };
            now = next;
            probes.handle_timeout(now, &mut rng, &timings, false);
        }
        assert_eq!(asked, [0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500]);
        assert_eq!(
            probes.list[at].outcome, answered,
            "its silence says nothing about what it has seen before"
        );
    }

    #[test]
    fn a_dead_server_is_given_up() {
        let (timings, mut rng) = (Timings::default(), Rng::new(Seed::from(1)));
        let (mut probes, at, _) = one_probe();
        probes.start(&mut rng, at);
        let mut now = Time::ZERO;
        let mut out = Batches::new(1000);
        loop {
            probes.poll_transmit(now, &mut out, &timings);
            let Some(next) = probes.poll_timeout() else { break };
            now = next;
            probes.handle_timeout(now, &mut rng, &timings, true);
        }
        assert_eq!((now.elapsed().as_millis(), probes.get(at).unwrap().sent), (39_500, 7));
        assert_eq!(probes.get(at).unwrap().outcome, ServerOutcome::TimedOut);
    }
}

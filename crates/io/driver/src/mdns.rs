//! Names that end in `.local`: looked up and answered for by multicast (RFC 6762).
//!
//! Browsers hide the addresses of the local network behind random names like `6f1c….local`. A name is asked for at most
//! three times within five seconds. Our own names are answered for while the engine lives.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sansio::SocketError;
use simple_dns::rdata::{A, AAAA, RData};
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, ResourceRecord, TYPE};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::multicast::{Multicast, PORT, Scope};

/// When a name is asked for, counted from the first time (RFC 6762 §5.2: a second apart, then ever rarer).
const ASK_AT: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3)];
/// When a lookup is given up.
const GIVE_UP: Duration = Duration::from_secs(5);
/// Names looked up at one time.
const MAX_LOOKUPS: usize = 64;
/// Names answered for.
const MAX_PUBLISHED: usize = 64;
/// How long others may remember our answer, in seconds (RFC 6762 §10).
const TTL: u32 = 120;
/// The same for one who does not really speak mDNS (RFC 6762 §6.7).
const LEGACY_TTL: u32 = 10;
/// A record is multicast no more often (RFC 6762 §6).
const ANSWER_INTERVAL: Duration = Duration::from_secs(1);
/// Questions and records of one message, together, that are looked at.
const MAX_RECORDS: usize = 256;

/// The mDNS of one engine. Its sockets and its task are there once it is needed, and end with its last clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mdns {
    commands: Arc<Mutex<Option<mpsc::UnboundedSender<Command>>>>,
    scope: Scope,
}

enum Command {
    Resolve { name: String, reply: oneshot::Sender<Vec<IpAddr>> },
    Publish { name: String, address: IpAddr },
}

impl Mdns {
    /// Looks `name` up.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, SocketError> {
        let (reply, found) = oneshot::channel();
        self.command(Command::Resolve { name: normalised(name), reply });
        // The service drops the sender when it gives up.
        found.await.map_err(|_| SocketError::NameNotFound)
    }

    /// Answers for `name` from now on.
    pub(crate) fn publish(&self, name: String, address: IpAddr) {
        self.command(Command::Publish { name: normalised(&name), address });
    }

    fn command(&self, command: Command) {
        let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = commands.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            let scope = self.scope;
            tokio::spawn(async move {
                match Multicast::open(scope) {
                    Ok(multicast) => Service::new(multicast).run(receiver).await,
                    Err(error) => tracing::debug!(%error, "no mDNS on this machine"),
                }
            });
            sender
        });
        // If the task is gone there is no mDNS here, and the lookup fails at once.
        let _ = sender.send(command);
    }
}

/// Whether multicast DNS works on this machine: one of us answers for a random name, and another looks it up.
///
/// That shows that the multicast sockets can be had and that what is sent is heard here. Whether others in the network
/// hear it, nobody can tell without them. Takes a second and a half at most.
pub async fn hears_itself(address: IpAddr) -> bool {
    let (ours, theirs) = (Mdns::default(), Mdns::default());
    let mut name: String = crypto::seed()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    name.push_str(".local");
    ours.publish(name.clone(), address);
    let lookup = tokio::time::timeout(Duration::from_millis(1500), theirs.resolve(&name));
    lookup.await.is_ok_and(|found| found.is_ok_and(|found| found.contains(&address)))
}

/// Lower case, without the dot at the end.
fn normalised(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// The task: asks, hears and answers.
struct Service {
    multicast: Multicast,
    lookups: Vec<Lookup>,
    published: Vec<Published>,
}

struct Lookup {
    name: String,
    reply: Vec<oneshot::Sender<Vec<IpAddr>>>,
    started: Instant,
    asked: usize,
}

struct Published {
    name: String,
    address: IpAddr,
    answered: Option<Instant>,
}

impl Service {
    fn new(multicast: Multicast) -> Self {
        Self { multicast, lookups: Vec::new(), published: Vec::new() }
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        loop {
            let due = self.lookups.iter().map(Lookup::due).min();
            let sleep = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => return,
                },
                (from, message) = self.multicast.receive() => self.hear(from, &message),
                () = sleep => self.ask(),
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Resolve { name, reply } => {
                if let Some(own) = self.published.iter().find(|published| published.name == name) {
                    let _ = reply.send(vec![own.address]);
                } else if let Some(lookup) = self.lookups.iter_mut().find(|lookup| lookup.name == name) {
                    lookup.reply.push(reply);
                } else if self.lookups.len() < MAX_LOOKUPS {
                    let started = Instant::now();
                    self.lookups.push(Lookup { name, reply: vec![reply], started, asked: 0 });
                    self.ask();
                }
            }
            Command::Publish { name, address } => {
                if self.published.len() < MAX_PUBLISHED && Name::new(&name).is_ok() {
                    self.published.push(Published { name, address, answered: None });
                    // RFC 6762 §8.3: an announcement. Names are random, so nobody is probed for (§8.1).
                    self.answer(self.published.len() - 1);
                }
            }
        }
    }

    /// Sends the questions that are due, and gives up on those that were asked long enough.
    fn ask(&mut self) {
        let now = Instant::now();
        self.lookups
            .retain(|lookup| now < lookup.started + GIVE_UP && lookup.reply.iter().any(|r| !r.is_closed()));
        for lookup in self.lookups.iter_mut().filter(|lookup| lookup.due() <= now) {
            lookup.asked += 1;
            if let Some(message) = question(&lookup.name) {
                self.multicast.send(&message);
            }
        }
    }

    fn hear(&mut self, from: SocketAddr, message: &[u8]) {
        if !is_reasonable(message) {
            return;
        }
        let Ok(packet) = Packet::parse(message) else { return };
        if !packet.has_flags(PacketFlag::RESPONSE) {
            self.hear_questions(from, &packet);
        } else if from.port() == PORT {
            // RFC 6762 §6: answers from elsewhere must be ignored.
            self.hear_answers(&packet);
        }
    }

    fn hear_answers(&mut self, packet: &Packet<'_>) {
        let mut at = 0;
        while at < self.lookups.len() {
            let Ok(name) = Name::new(&self.lookups[at].name) else { return };
            let records = packet.answers.iter().chain(&packet.additional_records);
            let mut addresses: Vec<IpAddr> = Vec::new();
            for record in records.filter(|record| record.ttl > 0 && record.name == name) {
                let address = match &record.rdata {
                    RData::A(a) => IpAddr::from(a.address.to_be_bytes()),
                    RData::AAAA(aaaa) => IpAddr::from(aaaa.address.to_be_bytes()),
                    _ => continue,
                };
                if !addresses.contains(&address) {
                    addresses.push(address);
                }
            }
            if addresses.is_empty() {
                at += 1;
                continue;
            }
            for reply in self.lookups.swap_remove(at).reply {
                let _ = reply.send(addresses.clone());
            }
        }
    }

    fn hear_questions(&mut self, from: SocketAddr, packet: &Packet<'_>) {
        for question in &packet.questions {
            let asked = self.published.iter().position(|published| published.is_asked_by(question));
            let Some(at) = asked else { continue };
            if from.port() == PORT {
                self.answer(at);
            } else if let Some(message) = self.published[at].legacy_answer(packet.id(), question) {
                self.multicast.send_to(&message, from);
            }
        }
    }

    /// Multicasts what we know of one of our names, if that was not just done.
    fn answer(&mut self, at: usize) {
        let published = &mut self.published[at];
        let now = Instant::now();
        if published.answered.is_some_and(|last| now < last + ANSWER_INTERVAL) {
            return; // whoever asks now has just heard it
        }
        published.answered = Some(now);
        if let Some(message) = published.answer() {
            self.multicast.send(&message);
        }
    }
}

impl Lookup {
    /// When to ask again, or to give up.
    fn due(&self) -> Instant {
        self.started + ASK_AT.get(self.asked).copied().unwrap_or(GIVE_UP)
    }
}

impl Published {
    fn is_asked_by(&self, question: &Question<'_>) -> bool {
        let kind = if self.address.is_ipv4() { TYPE::A } else { TYPE::AAAA };
        matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY)
            && (question.qtype == QTYPE::ANY || question.qtype == QTYPE::TYPE(kind))
            && Name::new(&self.name).is_ok_and(|name| name == question.qname)
    }

    fn record(&self, ttl: u32) -> Option<ResourceRecord<'_>> {
        let data = match self.address {
            IpAddr::V4(address) => RData::A(A { address: address.into() }),
            IpAddr::V6(address) => RData::AAAA(AAAA { address: address.into() }),
        };
        Some(ResourceRecord::new(Name::new(&self.name).ok()?, CLASS::IN, ttl, data))
    }

    fn answer(&self) -> Option<Vec<u8>> {
        let mut packet = Packet::new_reply(0);
        packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        packet.answers.push(self.record(TTL)?.with_cache_flush(true));
        packet.build_bytes_vec().ok()
    }

    /// RFC 6762 §6.7: with the question and its id, and without the cache-flush bit.
    fn legacy_answer(&self, id: u16, question: &Question<'_>) -> Option<Vec<u8>> {
        let mut packet = Packet::new_reply(id);
        packet.set_flags(PacketFlag::AUTHORITATIVE_ANSWER);
        packet.questions.push(question.clone());
        packet.answers.push(self.record(LEGACY_TTL)?);
        packet.build_bytes_vec().ok()
    }
}

/// Asks for both families.
fn question(name: &str) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(0);
    for kind in [TYPE::A, TYPE::AAAA] {
        packet.questions.push(Question::new(Name::new(name).ok()?, kind.into(), CLASS::IN.into(), false));
    }
    packet.build_bytes_vec().ok()
}

/// Whether the header promises no more than a parser should make room for.
pub(crate) fn is_reasonable(message: &[u8]) -> bool {
    message.len() >= 12
        && message[4..12]
            .chunks(2)
            .map(|count| usize::from(count[0]) << 8 | usize::from(count[1]))
            .sum::<usize>()
            <= MAX_RECORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests do not bother the network.
    fn mdns() -> Mdns {
        Mdns { scope: Scope::Loopback, ..Mdns::default() }
    }

    #[tokio::test]
    async fn a_published_name_is_resolved_by_another() {
        let (here, there) = (mdns(), mdns());
        let name = "5b2e7d0a-8b7e-4d38-9c3c-000000000001.local";
        here.publish(name.to_ascii_uppercase(), "192.0.2.7".parse().unwrap());
        assert_eq!(there.resolve(&format!("{name}.")).await, Ok(vec!["192.0.2.7".parse().unwrap()]));
        assert_eq!(here.resolve(name).await, Ok(vec!["192.0.2.7".parse().unwrap()]), "its own, too");
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_is_given_up() {
        let started = Instant::now();
        let nobody = mdns().resolve("5b2e7d0a-0000-4d38-9c3c-000000000002.local").await;
        assert_eq!(nobody, Err(SocketError::NameNotFound));
        assert!(started.elapsed() < GIVE_UP * 2);
    }

    #[test]
    fn a_message_that_promises_too_much_is_not_parsed() {
        let mut message = question("a.local").unwrap();
        assert!(is_reasonable(&message));
        message[6] = 0xff;
        assert!(!is_reasonable(&message));
        assert!(!is_reasonable(&message[..11]));
    }
}

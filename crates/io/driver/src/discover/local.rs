//! Questions to the local network (RFC 6762, RFC 6763).

use simple_dns::{Packet, PacketFlag};
use tokio::time::{Duration, Instant};
use turn::discovery::{Question, Record, RecordKind};

use super::dns;
use crate::mdns::is_reasonable;
use crate::multicast::{Multicast, PORT, Scope};

/// "The interval between the first two queries MUST be at least one second" (RFC 6762 §5.2).
const AGAIN: Duration = Duration::from_secs(1);
/// Records that are remembered.
const MAX_HEARD: usize = 256;

/// Asks everybody, and hears what they say.
pub(super) struct Local {
    multicast: Multicast,
    asked: Vec<Question>,
    /// What was said, asked for or not: an instance comes with its host and port.
    heard: Vec<(String, RecordKind, Record)>,
    again: Option<Instant>,
}

impl Local {
    /// `None`: there is no multicast here.
    pub(super) fn open(scope: Scope) -> Option<Self> {
        let multicast = Multicast::open(scope).ok()?;
        Some(Self { multicast, asked: Vec::new(), heard: Vec::new(), again: Some(Instant::now() + AGAIN) })
    }

    /// What was said of this before. If nothing was, everybody is asked.
    pub(super) fn ask(&mut self, question: &Question) -> Vec<Record> {
        let Question::Dns { name, kind } = question else { return Vec::new() };
        let known = self.heard.iter().filter(|(owner, of, _)| of == kind && owner.eq_ignore_ascii_case(name));
        let known: Vec<Record> = known.map(|(.., record)| record.clone()).collect();
        self.asked.push(question.clone());
        if known.is_empty() {
            self.send(std::slice::from_ref(question));
        }
        known
    }

    /// What is said next of what was asked. Cancel-safe.
    pub(super) async fn hear(&mut self) -> Vec<(Question, Vec<Record>)> {
        loop {
            let again = async {
                match self.again {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (from, message) = self.multicast.receive() => {
                    // RFC 6762 §6: answers from elsewhere must be ignored.
                    if from.port() == PORT && let Some(said) = self.learn(&message) {
                        return said;
                    }
                }
                () = again => {
                    self.again = None;
                    let open = |question: &&Question| self.heard.iter().all(|(owner, of, _)| !matches!(
                        question, Question::Dns { name, kind } if of == kind && owner.eq_ignore_ascii_case(name)));
                    let open: Vec<Question> = self.asked.iter().filter(open).cloned().collect();
                    self.send(&open);
                }
            }
        }
    }

    /// `None`: nothing that was asked for.
    fn learn(&mut self, message: &[u8]) -> Option<Vec<(Question, Vec<Record>)>> {
        let packet = is_reasonable(message).then(|| Packet::parse(message).ok())??;
        if !packet.has_flags(PacketFlag::RESPONSE) {
            return None;
        }
        let mut said: Vec<(Question, Vec<Record>)> = Vec::new();
        let records = packet.answers.iter().chain(&packet.additional_records);
        for record in records.filter(|record| record.ttl > 0) {
            let Some((kind, found)) = dns::record(record) else { continue };
            let owner = record.name.to_string();
            let asked = self.asked.iter().find(|question| {
                matches!(question, Question::Dns { name, kind: of } if *of == kind && owner.eq_ignore_ascii_case(name))
            });
            if let Some(question) = asked {
                said.push((question.clone(), vec![found.clone()]));
            }
            let news = (owner, kind, found);
            if self.heard.len() < MAX_HEARD && !self.heard.contains(&news) {
                self.heard.push(news);
            }
        }
        (!said.is_empty()).then_some(said)
    }

    fn send(&self, questions: &[Question]) {
        let mut packet = Packet::new_query(0);
        for question in questions {
            if let Question::Dns { name, kind } = question {
                packet.questions.extend(dns::question(name, *kind));
            }
        }
        if let Some(message) = packet.build_bytes_vec().ok().filter(|_| !packet.questions.is_empty()) {
            self.multicast.send(&message);
        }
    }
}

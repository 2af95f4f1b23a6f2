use std::collections::BTreeMap;
use std::time::Duration;

use netsim::{HostId, Net};
use peer::{IceCandidateInit, SdpType, SessionDescription};
use sansio::Time;

use crate::Peer;

/// What travels by signalling.
#[derive(Clone, Debug, PartialEq)]
pub enum Mail {
    /// An offer or an answer.
    Description(SessionDescription),
    /// A candidate, or that no more follow.
    Candidate(IceCandidateInit),
}

impl Mail {
    /// What it is, in a few words: `offer`, `candidate srflx 5.0.0.10:40001`, …
    pub fn title(&self) -> String {
        match self {
            Self::Description(description) => match description.kind {
                SdpType::Offer => "offer".into(),
                SdpType::Answer => "answer".into(),
                SdpType::Pranswer => "provisional answer".into(),
                SdpType::Rollback => "rollback".into(),
            },
            Self::Candidate(candidate) => match candidate.candidate.parse::<ice::Candidate>() {
                Ok(candidate) => format!("candidate {} {}", candidate.kind, candidate.address),
                Err(_) => "no more candidates".into(),
            },
        }
    }
}

/// How the two sides of a connection tell each other what they must know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signalling {
    /// How long a description takes.
    pub delay: Duration,
    /// How long a candidate takes: they may overtake descriptions.
    pub candidate_delay: Duration,
    /// Whether candidates are told one by one, as they are found.
    pub trickle: bool,
}

impl Signalling {
    /// With this delay for everything.
    pub fn delayed(delay: Duration) -> Self {
        Self { delay, candidate_delay: delay, trickle: true }
    }
}

impl Default for Signalling {
    /// 20 ms, with trickle.
    fn default() -> Self {
        Self::delayed(Duration::from_millis(20))
    }
}

/// Something that was signalled.
#[derive(Clone, Debug)]
pub struct Letter {
    /// When it was sent.
    pub sent: Time,
    /// When it arrives.
    pub due: Time,
    /// From whom.
    pub from: HostId,
    /// To whom.
    pub to: HostId,
    /// What it says.
    pub mail: Mail,
}

/// The way by which peers signal. It is not part of the net: nothing gets lost.
#[derive(Default)]
pub(crate) struct Office {
    pub(crate) signalling: Signalling,
    /// Who writes to whom.
    partners: BTreeMap<HostId, HostId>,
    under_way: BTreeMap<(Time, u64), Letter>,
    written: u64,
    /// The letters that were written, if somebody wants to know.
    pub(crate) archive: Option<Vec<Letter>>,
}

impl Office {
    pub(crate) fn introduce(&mut self, one: HostId, other: HostId) {
        self.partners.insert(one, other);
        self.partners.insert(other, one);
    }

    /// Forgets a host: its process has ended, and nobody reads what is under way to it.
    pub(crate) fn forget(&mut self, host: HostId) {
        self.partners.remove(&host);
        self.under_way.retain(|_, letter| letter.to != host);
    }

    pub(crate) fn partner(&self, host: HostId) -> Option<HostId> {
        self.partners.get(&host).copied()
    }

    /// Collects letters and delivers those that are due.
    pub(crate) fn work(&mut self, net: &mut Net) {
        loop {
            let mut due = self.under_way.range(..=(net.now(), u64::MAX));
            // Whoever sleeps reads it when he wakes up.
            let Some(key) = due.find(|(_, letter)| !net.is_asleep(letter.to)).map(|(key, _)| *key) else {
                break;
            };
            let Some(letter) = self.under_way.remove(&key) else { break };
            if self.partners.contains_key(&letter.to) {
                net.with(letter.to, |peer: &mut Peer, now| peer.receive(now, letter.mail));
            }
        }
        for (&from, &to) in &self.partners {
            if !net.machine::<Peer>(from).has_mail() {
                continue;
            }
            let mails = net.with(from, |peer: &mut Peer, _| peer.take_mail());
            for mail in mails {
                let delay = match mail {
                    Mail::Description(_) => self.signalling.delay,
                    Mail::Candidate(_) => self.signalling.candidate_delay,
                };
                let (sent, due) = (net.now(), net.now() + delay);
                let letter = Letter { sent, due, from, to, mail };
                if let Some(archive) = &mut self.archive {
                    archive.push(letter.clone());
                }
                self.written += 1;
                self.under_way.insert((due, self.written), letter);
                // So that time does not pass it by.
                net.at(due, |_| {});
            }
        }
    }
}

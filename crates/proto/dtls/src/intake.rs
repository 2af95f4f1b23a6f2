//! What becomes of a datagram: records, fragments, messages.

use std::time::Duration;

use sansio::Time;

use crate::assembly::Assembly;
use crate::codec::Reader;
use crate::endpoint::{Endpoint, Stage, Suspicion, Timer};
use crate::handshake::{Agreed, Refusal, State, Step, alert};
use crate::message::{Fragment, KEY_UPDATE, Message, NEW_SESSION_TICKET};
use crate::protection::Opened;
use crate::record::{
    self, ACK, ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, FATAL, HANDSHAKE, HEADER, Record, WARNING,
};
use crate::suite::Suite;
use crate::{Connected, DtlsError, Event, Role, Version};

/// What a handshake may receive in all. An honest one receives a few thousand bytes.
const MOST_RECEIVED: usize = 256 * 1024;
/// How long a handshake goes on after something that should have ended it, but that nobody vouches for.
const GRACE: Duration = Duration::from_secs(3);
/// How long a server bears with hellos that it cannot accept before it takes them for the peer's.
const PATIENCE: Duration = Duration::from_secs(5);

type Deliver<'a> = dyn FnMut(&mut [u8]) + 'a;

impl Endpoint {
    pub(crate) fn take_datagram(&mut self, now: Time, datagram: &mut [u8], deliver: &mut Deliver<'_>) {
        let is_over = matches!(self.stage, Stage::Over | Stage::New);
        if is_over || !record::may_be_dtls(datagram) {
            self.drops.datagrams += 1;
            return;
        }
        if matches!(self.stage, Stage::Handshake(_)) {
            self.received += datagram.len();
            if self.received > MOST_RECEIVED {
                self.drops.datagrams += 1;
                return;
            }
        }
        self.take_records(now, datagram, deliver);
        // What came before its keys is looked at again when there are new ones.
        loop {
            let held = self.incoming.release();
            if held.is_empty() {
                return;
            }
            held.into_iter().for_each(|mut record| self.take_records(now, &mut record, deliver));
        }
    }

    fn take_records(&mut self, now: Time, datagram: &mut [u8], deliver: &mut Deliver<'_>) {
        let mut rest = datagram;
        while !rest.is_empty() && !matches!(self.stage, Stage::Over) {
            let Some((record, others)) = record::split(rest) else {
                self.drops.records += 1;
                return;
            };
            rest = others;
            match record {
                Record::Long { kind, epoch: 0, sequence, bytes } => {
                    self.take_plain(now, kind, sequence, &bytes[HEADER..]);
                }
                record => self.take_sealed(now, record, deliver),
            }
        }
    }

    /// A record that nobody protected, and that anybody may have sent.
    fn take_plain(&mut self, now: Time, kind: u8, number: u64, body: &[u8]) {
        let is_handshake = matches!(self.stage, Stage::Handshake(_));
        match kind {
            HANDSHAKE if is_handshake => self.take_fragments(now, 0, number, body),
            CHANGE_CIPHER_SPEC => {}
            _ => {
                self.drops.records += 1;
                if let (ALERT, &[FATAL, alert]) = (kind, body)
                    && is_handshake
                {
                    self.suspect(now, None, DtlsError::PeerAlert(alert), Some(GRACE));
                }
            }
        }
    }

    fn take_sealed(&mut self, now: Time, record: Record<'_>, deliver: &mut Deliver<'_>) {
        if !self.incoming.knows(&record) {
            let bytes = match &record {
                Record::Long { bytes, .. } | Record::Unified { bytes, .. } => bytes,
            };
            let is_early = matches!(self.stage, Stage::Handshake(_));
            if !(is_early && self.incoming.hold(bytes)) {
                self.drops.records += 1;
            }
            return;
        }
        let Some((epoch, opened)) = self.incoming.open(record) else {
            self.drops.records += 1;
            if self.incoming.is_besieged() {
                let why = "somebody has forged too many records".to_owned();
                self.finish(Event::Failed(DtlsError::Broken(why)));
            }
            return;
        };
        let Opened { kind, number, plain } = opened;
        match (kind, &self.stage) {
            (APPLICATION_DATA, Stage::Connected(suite)) if carries_data(*suite, epoch) => deliver(plain),
            (HANDSHAKE, _) => self.take_fragments(now, epoch, number, plain),
            (ALERT, _) => self.take_alert(plain),
            (ACK, _) => self.take_ack(now, plain),
            _ => self.drops.records += 1,
        }
    }

    /// An alert of the peer (RFC 8446 §6).
    fn take_alert(&mut self, body: &[u8]) {
        let &[level, description] = body else {
            self.drops.records += 1;
            return;
        };
        let is_13 = self.speaks(Version::Dtls13);
        match description {
            alert::CLOSE_NOTIFY => {
                if self.is_connected() {
                    self.outgoing.alert(WARNING, alert::CLOSE_NOTIFY);
                }
                self.finish(Event::Closed);
            }
            alert::USER_CANCELED => {}
            _ if is_13 || level == FATAL => {
                self.outgoing.withdraw();
                self.finish(Event::Failed(DtlsError::PeerAlert(description)));
            }
            _ => {}
        }
    }

    fn speaks(&self, version: Version) -> bool {
        match &self.stage {
            Stage::Handshake(state) => state.version() == Some(version),
            Stage::Connected(suite) => suite.version == version,
            Stage::New | Stage::Over => false,
        }
    }

    /// The peer tells which records it has received (RFC 9147 §7).
    fn take_ack(&mut self, now: Time, body: &[u8]) {
        let mut reader = Reader::new(body);
        let (Some(list), true, true) = (reader.vector(2), reader.is_empty(), self.speaks(Version::Dtls13))
        else {
            self.drops.records += 1;
            return;
        };
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        let records: Vec<_> =
            list.chunks_exact(16).map(|record| (number(&record[..8]), number(&record[8..]))).collect();
        if !self.outgoing.acknowledge(&records) {
            let unless = self.outgoing.flight.patience() / 4;
            self.outgoing.flight.resend(now, unless);
        }
    }

    /// Parts of handshake messages.
    fn take_fragments(&mut self, now: Time, epoch: u64, number: u64, body: &[u8]) {
        let Some(fragments) = Fragment::all(body) else {
            self.drops.records += 1;
            return;
        };
        let (mut is_kept, mut is_old) = (false, false);
        for fragment in &fragments {
            let mut next = self.next_message;
            let is_welcome = match &self.stage {
                Stage::Handshake(state) => {
                    if state.is_open() {
                        next = fragment.number;
                    }
                    state.welcomes(fragment.kind, epoch)
                }
                Stage::Connected(suite) => suite.version == Version::Dtls13 && epoch == self.incoming.epoch(),
                Stage::New | Stage::Over => false,
            };
            if fragment.number < next {
                is_old = true;
            } else if is_welcome {
                is_kept |= self.assembly.add(fragment, epoch, next);
            }
        }
        if !is_kept && !is_old {
            self.drops.records += 1;
            return;
        }
        if is_kept {
            self.outgoing.note_received((epoch, number));
        }
        if self.is_connected() {
            self.answer_late(now, is_old, (epoch, number));
        } else if is_old && !is_kept {
            // The peer has not heard what we said.
            let unless = self.outgoing.flight.patience() / 2;
            self.outgoing.flight.resend(now, unless);
        }
        self.take_messages(now);
    }

    /// What comes after the handshake is acknowledged; if the peer says its last words again, so do we.
    fn answer_late(&mut self, now: Time, is_old: bool, record: (u64, u64)) {
        if is_old && !self.outgoing.flight.is_empty() {
            let unless = self.outgoing.flight.patience() / 2;
            self.outgoing.flight.resend(now, unless);
        } else if self.speaks(Version::Dtls13) {
            self.outgoing.note_received(record);
            self.outgoing.acknowledge_received();
        }
    }

    /// Messages that are whole, in their order.
    fn take_messages(&mut self, now: Time) {
        loop {
            let number = match &self.stage {
                Stage::Handshake(state) if state.is_open() => None,
                Stage::New | Stage::Over => return,
                _ => Some(self.next_message),
            };
            let Some(message) = self.assembly.take(number) else { return };
            match self.stage {
                Stage::Connected(suite) => self.take_late(suite, &message),
                _ => self.take_message(now, &message),
            }
        }
    }

    fn take_message(&mut self, now: Time, message: &Message) {
        let Stage::Handshake(mut state) = std::mem::replace(&mut self.stage, Stage::New) else { return };
        if state.is_open() {
            // A client may have been asked for its cookie by somebody who has kept nothing of it.
            self.outgoing.next_message = message.number;
        }
        let said = self.outgoing.next_message;
        let outcome = state.take(&mut self.scene(), message);
        self.stage = Stage::Handshake(state);
        let step = match outcome {
            Ok(step) => step,
            Err(refusal) => return self.refuse(now, refusal, message.epoch > 0),
        };
        self.next_message = message.number.wrapping_add(1);
        self.assembly.forget_before(self.next_message);
        self.suspicion = None;
        self.timers.stop(Timer::Suspicion);
        self.hurry(now);
        if self.outgoing.next_message == said {
            // That the peer goes on shows that it has heard all.
            self.outgoing.flight.begin(false);
        }
        match step {
            Step::Stays => {}
            Step::Becomes(state) => {
                if state.version() == Some(Version::Dtls13) {
                    self.assembly.forget_epoch(0);
                }
                self.stage = Stage::Handshake(state);
            }
            Step::Completes(agreed) => self.complete(agreed),
        }
    }

    fn complete(&mut self, agreed: Agreed) {
        let Agreed { suite, certificate, chain, srtp } = agreed;
        self.stage = Stage::Connected(suite);
        self.outgoing.connected(suite);
        if suite.version == Version::Dtls13 && self.role == Role::Server {
            self.outgoing.acknowledge_received();
        }
        self.timers.clear();
        self.assembly = Assembly::default();
        self.events.push_back(Event::Connected(Connected {
            version: suite.version,
            cipher: suite.id,
            peer_certificate: certificate,
            peer_chain: chain,
            srtp,
        }));
    }

    /// A message made no sense. As long as nobody is recognised, anybody may have sent it, and the true peer's are perhaps
    /// still to come.
    fn refuse(&mut self, now: Time, refusal: Refusal, is_protected: bool) {
        self.drops.refused += 1;
        let Refusal { alert, error } = refusal;
        tracing::debug!(%error, "a message of the DTLS handshake was refused");
        if is_protected || matches!(error, DtlsError::FingerprintMismatch { .. }) {
            // Nothing of the handshake that is under way may leave; an alert may.
            self.outgoing.withdraw();
            return self.fail(alert, error);
        }
        let is_open = matches!(&self.stage, Stage::Handshake(state) if state.is_open());
        if !is_open {
            return self.suspect(now, Some(alert), error, Some(GRACE));
        }
        let since = self.suspicion.as_ref().map_or(now, |suspicion| suspicion.since);
        if now.since(since) >= PATIENCE {
            return self.fail(alert, error);
        }
        self.suspect(now, Some(alert), error, None);
    }

    /// Notes what should end the handshake. It does after `grace`, if one is given, unless the peer goes on.
    fn suspect(&mut self, now: Time, alert: Option<u8>, error: DtlsError, grace: Option<Duration>) {
        let since = self.suspicion.as_ref().map_or(now, |suspicion| suspicion.since);
        self.suspicion = Some(Suspicion { error, alert, since });
        if let Some(grace) = grace {
            self.timers.set_earlier(Timer::Suspicion, now + grace);
        }
    }

    /// A message after the handshake (RFC 8446 §4.6).
    fn take_late(&mut self, suite: Suite, message: &Message) {
        self.next_message = message.number.wrapping_add(1);
        self.assembly.forget_before(self.next_message);
        match (message.kind, &message.body[..]) {
            (KEY_UPDATE, &[asked @ (0 | 1)]) => {
                self.incoming.renew(suite);
                if asked == 1 {
                    self.outgoing.renew();
                }
            }
            // Nothing is ever resumed.
            (NEW_SESSION_TICKET, _) => {}
            _ => {
                let why = "the peer sent a message that has no place after the handshake".to_owned();
                self.fail(alert::UNEXPECTED_MESSAGE, DtlsError::Broken(why));
            }
        }
    }

    /// Whether a hello was answered.
    pub(crate) fn has_answered(&self) -> bool {
        matches!(&self.stage, Stage::Handshake(state) if !matches!(**state, State::Awaiting(_)))
    }
}

/// Whether application data may come in an epoch.
fn carries_data(suite: Suite, epoch: u64) -> bool {
    epoch >= if suite.version == Version::Dtls13 { 3 } else { 1 }
}

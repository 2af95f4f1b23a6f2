use crypto::exchange::{self, Group};

use super::{Agreed, Refusal, Scene, Step, alert, malformed, proof, refused, srtp_keys, unexpected};
use crate::codec::{Reader, numbers, vector};
use crate::extension::{self, SRTP_LABEL};
use crate::hello::{RANDOM, ServerHello};
use crate::message::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_STATUS, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, FINISHED,
    Message, SERVER_HELLO_DONE, SERVER_KEY_EXCHANGE, Transcript,
};
use crate::protection::{Opener, Sealer};
use crate::schedule::Master;
use crate::suite::Suite;
use crate::{SrtpProfile, Version};

/// The curve is named, in a key exchange (RFC 8422 §5.4).
pub(super) const NAMED_CURVE: u8 = 3;
pub(super) const CLIENT_FINISHED: &[u8] = b"client finished";
pub(super) const SERVER_FINISHED: &[u8] = b"server finished";

/// A client of DTLS 1.2 (RFC 6347) that has heard the server's hello.
#[derive(Debug)]
pub(crate) struct Client12 {
    suite: Suite,
    ours: [u8; RANDOM],
    theirs: [u8; RANDOM],
    transcript: Transcript,
    awaited: Awaited,
    srtp: Option<SrtpProfile>,
    certificate: Vec<u8>,
    chain: Vec<Vec<u8>>,
    /// The group that the server chose, and its share of the key.
    share: Option<(Group, Vec<u8>)>,
    is_asked: bool,
    master: Option<Master>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Certificate,
    KeyExchange,
    RequestOrDone,
    Done,
    Finished,
}

impl Client12 {
    pub(super) fn new(
        suite: Suite,
        ours: [u8; RANDOM],
        hello: &ServerHello<'_>,
        transcript: Transcript,
    ) -> Result<Self, Refusal> {
        // Without it a secret is not bound to who made it (RFC 7627 §1); everybody has it.
        if !hello.extensions.has(extension::EXTENDED_MASTER_SECRET) {
            return Err(refused(alert::HANDSHAKE_FAILURE, "the server has no extended master secret"));
        }
        let renegotiation = hello.extensions.find(extension::RENEGOTIATION_INFO);
        if renegotiation.is_some_and(|info| info != [0]) {
            return Err(refused(alert::HANDSHAKE_FAILURE, "the server renegotiates what there never was"));
        }
        Ok(Self {
            suite,
            ours,
            theirs: *hello.random,
            transcript,
            awaited: Awaited::Certificate,
            srtp: hello.extensions.srtp(),
            certificate: Vec::new(),
            chain: Vec::new(),
            share: None,
            is_asked: false,
            master: None,
        })
    }

    pub(super) fn take(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        let body = &message.body[..];
        match (self.awaited, message.kind, message.epoch) {
            (Awaited::Certificate, CERTIFICATE, 0) => {
                let shown = proof::shown(Version::Dtls12, body)?;
                let shown =
                    shown.ok_or_else(|| refused(alert::DECODE_ERROR, "the server shows no certificate"))?;
                scene.recognise(shown.own)?;
                self.certificate = shown.own.to_vec();
                self.chain = shown.keep_chain();
                self.awaited = Awaited::KeyExchange;
            }
            (Awaited::KeyExchange, CERTIFICATE_STATUS, 0) => {}
            (Awaited::KeyExchange, SERVER_KEY_EXCHANGE, 0) => {
                self.share = Some(self.key_exchange(body)?);
                self.awaited = Awaited::RequestOrDone;
            }
            (Awaited::RequestOrDone, CERTIFICATE_REQUEST, 0) => {
                check_request(scene, body)?;
                self.is_asked = true;
                self.awaited = Awaited::Done;
            }
            (Awaited::RequestOrDone | Awaited::Done, SERVER_HELLO_DONE, 0) => {
                return self.answer(scene, message);
            }
            (Awaited::Finished, FINISHED, 1) => return self.finish(message),
            _ => return Err(unexpected()),
        }
        self.transcript.add_message(message);
        Ok(Step::Stays)
    }

    /// The server's share, which it has signed (RFC 8422 §5.4).
    fn key_exchange(&self, body: &[u8]) -> Result<(Group, Vec<u8>), Refusal> {
        let mut reader = Reader::new(body);
        let kind = reader.u8().ok_or_else(malformed)?;
        let group = reader.u16().ok_or_else(malformed)?;
        let point = reader.vector(1).ok_or_else(malformed)?;
        let group = Group::from_id(group)
            .filter(|&group| kind == NAMED_CURVE && group != Group::X25519MlKem768)
            .ok_or_else(|| {
                refused(alert::ILLEGAL_PARAMETER, "the server chose a group that was not offered")
            })?;
        let params = &body[..4 + point.len()];
        proof::verify(
            Version::Dtls12,
            reader,
            &self.certificate,
            &[&self.ours, &self.theirs, params].concat(),
        )?;
        Ok((group, point.to_vec()))
    }

    /// The server has said all: the client's flight, up to what is already protected.
    fn answer(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        let (group, theirs) = self.share.as_ref().ok_or_else(unexpected)?;
        let (public, shared) = exchange::answer(*group, theirs)?;
        self.transcript.add_message(message);
        scene.outgoing.begin(true);
        if self.is_asked {
            let own = proof::certificate(Version::Dtls12, &[], Some(&scene.identity.certificate));
            self.say(scene, CERTIFICATE, 0, own);
        }
        let mut body = Vec::new();
        vector(&mut body, 1, |out| out.extend(public));
        self.say(scene, CLIENT_KEY_EXCHANGE, 0, body);
        let hash = self.suite.hash;
        let master = Master::new(self.suite, &shared, &self.transcript.hash(hash));
        if self.is_asked {
            let key = &scene.identity.key;
            let signed = proof::signature(key.scheme(), &key.sign(self.transcript.bytes())?);
            self.say(scene, CERTIFICATE_VERIFY, 0, signed);
        }
        let [ours, theirs] = master.keys(&self.ours, &self.theirs);
        scene.outgoing.add_sealer(Sealer::new(1, ours, None));
        scene.incoming.add(Opener::new(1, theirs, None));
        scene.outgoing.flight.add_change_cipher_spec();
        let finished = master.finished(CLIENT_FINISHED, &self.transcript.hash(hash));
        self.say(scene, FINISHED, 1, finished.to_vec());
        self.master = Some(master);
        self.awaited = Awaited::Finished;
        Ok(Step::Stays)
    }

    fn say(&mut self, scene: &mut Scene<'_>, kind: u8, epoch: u64, body: Vec<u8>) {
        let number = scene.outgoing.add(kind, epoch, body.clone());
        self.transcript.add(kind, number, &body);
    }

    fn finish(&mut self, message: &Message) -> Result<Step, Refusal> {
        let master = self.master.as_ref().ok_or_else(unexpected)?;
        let expected = master.finished(SERVER_FINISHED, &self.transcript.hash(self.suite.hash));
        if !crypto::equal(&expected, &message.body) {
            return Err(refused(alert::DECRYPT_ERROR, "the server's Finished is wrong"));
        }
        let export = |out: &mut [u8]| master.export(SRTP_LABEL, &self.ours, &self.theirs, out);
        Ok(Step::Completes(Agreed {
            suite: self.suite,
            certificate: Some(std::mem::take(&mut self.certificate)),
            chain: std::mem::take(&mut self.chain),
            srtp: srtp_keys(self.srtp, export),
        }))
    }
}

/// Whether the server can verify what we sign (RFC 5246 §7.4.4).
fn check_request(scene: &Scene<'_>, body: &[u8]) -> Result<(), Refusal> {
    let mut reader = Reader::new(body);
    reader.vector(1).ok_or_else(malformed)?;
    let schemes = reader.vector(2).ok_or_else(malformed)?;
    let _authorities = reader.vector(2).filter(|_| reader.is_empty()).ok_or_else(malformed)?;
    if numbers(schemes).any(|scheme| scheme == scene.identity.key.scheme().0) {
        return Ok(());
    }
    Err(refused(alert::HANDSHAKE_FAILURE, "the server cannot verify our kind of signature"))
}

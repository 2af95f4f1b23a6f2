use crypto::exchange::{Group, KeyShare};

use super::client12::{CLIENT_FINISHED, NAMED_CURVE, SERVER_FINISHED};
use super::{Agreed, Refusal, Scene, Step, alert, malformed, proof, refused, srtp_keys, unexpected};
use crate::codec::{Reader, vector};
use crate::extension::{self, SRTP_LABEL, add_srtp};
use crate::hello::{ClientHello, DOWNGRADED, RANDOM, ServerHello};
use crate::message::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, CLIENT_KEY_EXCHANGE, FINISHED, Message,
    SERVER_HELLO, SERVER_HELLO_DONE, SERVER_KEY_EXCHANGE, Transcript,
};
use crate::protection::{Opener, Sealer};
use crate::schedule::Master;
use crate::suite::Suite;
use crate::{SrtpProfile, Trust, Version};

/// A server of DTLS 1.2 (RFC 6347) that has answered a hello.
#[derive(Debug)]
pub(crate) struct Server12 {
    suite: Suite,
    ours: [u8; RANDOM],
    theirs: [u8; RANDOM],
    transcript: Transcript,
    share: KeyShare,
    awaited: Awaited,
    srtp: Option<SrtpProfile>,
    certificate: Option<Vec<u8>>,
    master: Option<Master>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Certificate,
    KeyExchange,
    Verify,
    Finished,
}

impl Server12 {
    pub(super) fn new(
        scene: &mut Scene<'_>,
        suite: Suite,
        message: &Message,
        hello: &ClientHello<'_>,
    ) -> Result<Self, Refusal> {
        let failure = |why| refused(alert::HANDSHAKE_FAILURE, why);
        if !hello.extensions.has(extension::EXTENDED_MASTER_SECRET) {
            return Err(failure("the client has no extended master secret"));
        }
        let group = [Group::X25519, Group::P256].into_iter().find(|&group| hello.supports(group));
        let share = KeyShare::generate(group.ok_or_else(|| failure("there is no group that both have"))?)?;
        let mut ours: [u8; RANDOM] = scene.rng.bytes();
        if scene.versions.include(Version::Dtls13) {
            ours[RANDOM - DOWNGRADED.len()..].copy_from_slice(&DOWNGRADED);
        }
        let srtp = hello.extensions.srtp();
        let mut transcript = Transcript::new(true);
        transcript.add_message(message);
        let mut server = Self {
            suite,
            ours,
            theirs: *hello.random,
            transcript,
            share,
            awaited: if scene.asks { Awaited::Certificate } else { Awaited::KeyExchange },
            srtp,
            certificate: None,
            master: None,
        };
        server.greet(scene, hello)?;
        Ok(server)
    }

    fn greet(&mut self, scene: &mut Scene<'_>, hello: &ClientHello<'_>) -> Result<(), Refusal> {
        let body = ServerHello::body(&self.ours, self.suite, |out| {
            extension::add(out, extension::EXTENDED_MASTER_SECRET, |_| {});
            if hello.knows_of_renegotiation() {
                extension::add(out, extension::RENEGOTIATION_INFO, |out| out.push(0));
            }
            if hello.extensions.has(extension::EC_POINT_FORMATS) {
                extension::add(out, extension::EC_POINT_FORMATS, |out| out.extend([1, 0]));
            }
            if let Some(profile) = self.srtp {
                add_srtp(out, &[profile]);
            }
        });
        scene.outgoing.begin(true);
        self.say(scene, SERVER_HELLO, 0, body);
        let own = proof::certificate(Version::Dtls12, &[], Some(&scene.identity.certificate));
        self.say(scene, CERTIFICATE, 0, own);
        let mut exchange = vec![NAMED_CURVE];
        exchange.extend(self.share.group().id().to_be_bytes());
        vector(&mut exchange, 1, |out| out.extend(self.share.public()));
        let key = &scene.identity.key;
        let signed = key.sign(&[&self.theirs[..], &self.ours, &exchange].concat())?;
        exchange.extend(proof::signature(key.scheme(), &signed));
        self.say(scene, SERVER_KEY_EXCHANGE, 0, exchange);
        if scene.asks {
            self.say(scene, CERTIFICATE_REQUEST, 0, proof::request(Version::Dtls12));
        }
        self.say(scene, SERVER_HELLO_DONE, 0, Vec::new());
        Ok(())
    }

    fn say(&mut self, scene: &mut Scene<'_>, kind: u8, epoch: u64, body: Vec<u8>) {
        let number = scene.outgoing.add(kind, epoch, body.clone());
        self.transcript.add(kind, number, &body);
    }

    pub(super) fn take(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        let body = &message.body[..];
        match (self.awaited, message.kind, message.epoch) {
            (Awaited::Certificate, CERTIFICATE, 0) => {
                match proof::shown(Version::Dtls12, body)? {
                    Some(shown) => {
                        scene.recognise(shown.own)?;
                        self.certificate = Some(shown.own.to_vec());
                    }
                    None if *scene.trust != Trust::Owner => {
                        return Err(refused(alert::HANDSHAKE_FAILURE, "the peer showed no certificate"));
                    }
                    None => {}
                }
                self.awaited = Awaited::KeyExchange;
            }
            (Awaited::KeyExchange, CLIENT_KEY_EXCHANGE, 0) => {
                let mut reader = Reader::new(body);
                let point = reader.vector(1).filter(|_| reader.is_empty()).ok_or_else(malformed)?;
                let shared = self.share.agree(point)?;
                self.transcript.add_message(message);
                let master = Master::new(self.suite, &shared, &self.transcript.hash(self.suite.hash));
                let [theirs, ours] = master.keys(&self.theirs, &self.ours);
                scene.outgoing.add_sealer(Sealer::new(1, ours, None));
                scene.incoming.add(Opener::new(1, theirs, None));
                self.master = Some(master);
                let proves = self.certificate.is_some();
                self.awaited = if proves { Awaited::Verify } else { Awaited::Finished };
                return Ok(Step::Stays);
            }
            (Awaited::Verify, CERTIFICATE_VERIFY, 0) => {
                let certificate = self.certificate.as_ref().ok_or_else(unexpected)?;
                proof::verify(Version::Dtls12, Reader::new(body), certificate, self.transcript.bytes())?;
                self.awaited = Awaited::Finished;
            }
            (Awaited::Finished, FINISHED, 1) => return self.finish(scene, message),
            _ => return Err(unexpected()),
        }
        self.transcript.add_message(message);
        Ok(Step::Stays)
    }

    fn finish(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        let hash = self.suite.hash;
        let master = self.master.as_ref().ok_or_else(unexpected)?;
        let expected = master.finished(CLIENT_FINISHED, &self.transcript.hash(hash));
        if !crypto::equal(&expected, &message.body) {
            return Err(refused(alert::DECRYPT_ERROR, "the client's Finished is wrong"));
        }
        self.transcript.add_message(message);
        let finished = master.finished(SERVER_FINISHED, &self.transcript.hash(hash));
        let export = |out: &mut [u8]| master.export(SRTP_LABEL, &self.theirs, &self.ours, out);
        let srtp = srtp_keys(self.srtp, export);
        // Nobody answers it; it is sent again when the client says its last words again.
        scene.outgoing.begin(false);
        scene.outgoing.flight.add_change_cipher_spec();
        scene.outgoing.add(FINISHED, 1, finished.to_vec());
        Ok(Step::Completes(Agreed {
            suite: self.suite,
            certificate: self.certificate.take(),
            chain: Vec::new(),
            srtp,
        }))
    }
}

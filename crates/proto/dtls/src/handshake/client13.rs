use crypto::Secret;

use super::{Agreed, Refusal, Scene, Step, alert, malformed, proof, refused, srtp_keys, unexpected};
use crate::codec::Reader;
use crate::extension::{self, Extensions, SRTP_LABEL};
use crate::message::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, ENCRYPTED_EXTENSIONS, FINISHED, Message, Transcript,
};
use crate::protection::{Opener, Sealer};
use crate::schedule::{self, Schedule};
use crate::suite::Suite;
use crate::{SrtpProfile, Version};

/// A client of DTLS 1.3 that has agreed on keys with somebody, and is about to learn with whom.
#[derive(Debug)]
pub(crate) struct Client13 {
    suite: Suite,
    schedule: Schedule,
    transcript: Transcript,
    /// The traffic secrets of the handshake.
    ours: Secret,
    theirs: Secret,
    awaited: Awaited,
    srtp: Option<SrtpProfile>,
    /// The context of the server's request for a certificate.
    requested: Option<Vec<u8>>,
    certificate: Vec<u8>,
    chain: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Extensions,
    RequestOrCertificate,
    Certificate,
    Verify,
    Finished,
}

impl Client13 {
    pub(super) fn new(scene: &mut Scene<'_>, suite: Suite, shared: &Secret, transcript: Transcript) -> Self {
        let schedule = Schedule::new(suite.hash, shared);
        let hash = transcript.hash(suite.hash);
        let ours = schedule.secret(b"c hs traffic", &hash);
        let theirs = schedule.secret(b"s hs traffic", &hash);
        scene.outgoing.add_sealer(Sealer::new(2, schedule::keys(suite, &ours), None));
        scene.incoming.add(Opener::new(2, schedule::keys(suite, &theirs), None));
        Self {
            suite,
            schedule,
            transcript,
            ours,
            theirs,
            awaited: Awaited::Extensions,
            srtp: None,
            requested: None,
            certificate: Vec::new(),
            chain: Vec::new(),
        }
    }

    pub(super) fn take(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        let body = &message.body[..];
        match (self.awaited, message.kind) {
            (Awaited::Extensions, ENCRYPTED_EXTENSIONS) => {
                let list = Reader::new(body).vector(2).ok_or_else(malformed)?;
                let list = Extensions::parse(list).ok_or_else(malformed)?;
                if !list.are_among(extension::OFFERED) {
                    return Err(refused(
                        alert::UNSUPPORTED_EXTENSION,
                        "the server answers what was not asked",
                    ));
                }
                self.srtp = list.srtp();
                self.awaited = Awaited::RequestOrCertificate;
            }
            (Awaited::RequestOrCertificate, CERTIFICATE_REQUEST) => {
                self.requested = Some(requested(scene, body)?);
                self.awaited = Awaited::Certificate;
            }
            (Awaited::RequestOrCertificate | Awaited::Certificate, CERTIFICATE) => {
                let shown = proof::shown(Version::Dtls13, body)?;
                let shown =
                    shown.ok_or_else(|| refused(alert::DECODE_ERROR, "the server shows no certificate"))?;
                scene.recognise(shown.own)?;
                self.certificate = shown.own.to_vec();
                self.chain = shown.keep_chain();
                self.awaited = Awaited::Verify;
            }
            (Awaited::Verify, CERTIFICATE_VERIFY) => {
                let content = proof::content(proof::SERVER, &self.transcript.hash(self.suite.hash));
                proof::verify(Version::Dtls13, Reader::new(body), &self.certificate, &content)?;
                self.awaited = Awaited::Finished;
            }
            (Awaited::Finished, FINISHED) => return self.finish(scene, message),
            _ => return Err(unexpected()),
        }
        self.transcript.add_message(message);
        Ok(Step::Stays)
    }

    /// The server has proved who it is; so do we, and both change to the keys for data.
    fn finish(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        let hash = self.suite.hash;
        let expected = schedule::finished(hash, &self.theirs, &self.transcript.hash(hash));
        if !crypto::equal(expected.as_ref(), &message.body) {
            return Err(refused(alert::DECRYPT_ERROR, "the server's Finished is wrong"));
        }
        self.transcript.add_message(message);
        let master = self.schedule.master();
        let transcript = self.transcript.hash(hash);
        let ours = master.secret(b"c ap traffic", &transcript);
        let theirs = master.secret(b"s ap traffic", &transcript);
        let exporter = master.secret(b"exp master", &transcript);
        scene.outgoing.begin(true);
        if let Some(context) = &self.requested {
            let own = proof::certificate(Version::Dtls13, context, Some(&scene.identity.certificate));
            self.say(scene, CERTIFICATE, own);
            let content = proof::content(proof::CLIENT, &self.transcript.hash(hash));
            let key = &scene.identity.key;
            let signed = proof::signature(key.scheme(), &key.sign(&content)?);
            self.say(scene, CERTIFICATE_VERIFY, signed);
        }
        let finished = schedule::finished(hash, &self.ours, &self.transcript.hash(hash));
        self.say(scene, FINISHED, finished.as_ref().to_vec());
        scene.outgoing.add_sealer(Sealer::new(3, schedule::keys(self.suite, &ours), Some(ours)));
        scene.incoming.add(Opener::new(3, schedule::keys(self.suite, &theirs), Some(theirs)));
        Ok(Step::Completes(Agreed {
            suite: self.suite,
            certificate: Some(std::mem::take(&mut self.certificate)),
            chain: std::mem::take(&mut self.chain),
            srtp: srtp_keys(self.srtp, |out| schedule::export(hash, &exporter, SRTP_LABEL, out)),
        }))
    }

    fn say(&mut self, scene: &mut Scene<'_>, kind: u8, body: Vec<u8>) {
        self.transcript.add(kind, 0, &body);
        scene.outgoing.add(kind, 2, body);
    }
}

/// The context of a request for our certificate, if we can sign as it demands.
fn requested(scene: &Scene<'_>, body: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut reader = Reader::new(body);
    let context = reader.vector(1).ok_or_else(malformed)?;
    let list = reader.vector(2).and_then(Extensions::parse).filter(|_| reader.is_empty());
    let list = list.ok_or_else(malformed)?;
    if !list.lists(extension::SIGNATURE_ALGORITHMS, 2, scene.identity.key.scheme().0) {
        return Err(refused(alert::HANDSHAKE_FAILURE, "the server cannot verify our kind of signature"));
    }
    Ok(context.to_vec())
}

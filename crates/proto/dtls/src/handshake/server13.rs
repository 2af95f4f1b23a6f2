use crypto::Secret;

use super::{Agreed, Refusal, Scene, Step, alert, proof, refused, srtp_keys, unexpected};
use crate::codec::{Reader, vector};
use crate::extension::{SRTP_LABEL, add_srtp};
use crate::message::{
    CERTIFICATE, CERTIFICATE_REQUEST, CERTIFICATE_VERIFY, ENCRYPTED_EXTENSIONS, FINISHED, Message,
    SERVER_HELLO, Transcript,
};
use crate::protection::{Opener, Sealer};
use crate::schedule::{self, Schedule};
use crate::suite::Suite;
use crate::{SrtpProfile, Version};

/// A server of DTLS 1.3 that has said all that it has to say, and is about to learn to whom.
#[derive(Debug)]
pub(crate) struct Server13 {
    suite: Suite,
    transcript: Transcript,
    /// The client's traffic secret of the handshake, and that for data.
    theirs: Secret,
    theirs_next: Secret,
    exporter: Secret,
    srtp: Option<SrtpProfile>,
    awaited: Awaited,
    certificate: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Certificate,
    Verify,
    Finished,
}

impl Server13 {
    /// Answers a hello that is in the transcript.
    pub(super) fn new(
        scene: &mut Scene<'_>,
        suite: Suite,
        shared: &Secret,
        mut transcript: Transcript,
        hello: Vec<u8>,
        srtp: Option<SrtpProfile>,
    ) -> Result<Self, Refusal> {
        let hash = suite.hash;
        let schedule = Schedule::new(hash, shared);
        scene.outgoing.begin(true);
        transcript.add(SERVER_HELLO, 0, &hello);
        scene.outgoing.add(SERVER_HELLO, 0, hello);
        let said = transcript.hash(hash);
        let ours = schedule.secret(b"s hs traffic", &said);
        let theirs = schedule.secret(b"c hs traffic", &said);
        let mut say = |transcript: &mut Transcript, kind: u8, body: Vec<u8>| {
            transcript.add(kind, 0, &body);
            scene.outgoing.add(kind, 2, body);
        };
        let mut extensions = Vec::new();
        vector(&mut extensions, 2, |out| {
            if let Some(profile) = srtp {
                add_srtp(out, &[profile]);
            }
        });
        say(&mut transcript, ENCRYPTED_EXTENSIONS, extensions);
        if scene.asks {
            say(&mut transcript, CERTIFICATE_REQUEST, proof::request(Version::Dtls13));
        }
        let own = proof::certificate(Version::Dtls13, &[], Some(&scene.identity.certificate));
        say(&mut transcript, CERTIFICATE, own);
        let content = proof::content(proof::SERVER, &transcript.hash(hash));
        let key = &scene.identity.key;
        let signed = proof::signature(key.scheme(), &key.sign(&content)?);
        say(&mut transcript, CERTIFICATE_VERIFY, signed);
        let finished = schedule::finished(hash, &ours, &transcript.hash(hash));
        say(&mut transcript, FINISHED, finished.as_ref().to_vec());

        let master = schedule.master();
        let said = transcript.hash(hash);
        let ours_next = master.secret(b"s ap traffic", &said);
        scene.outgoing.add_sealer(Sealer::new(2, schedule::keys(suite, &ours), None));
        scene.outgoing.add_sealer(Sealer::new(3, schedule::keys(suite, &ours_next), Some(ours_next)));
        scene.incoming.add(Opener::new(2, schedule::keys(suite, &theirs), None));
        Ok(Self {
            suite,
            theirs,
            theirs_next: master.secret(b"c ap traffic", &said),
            exporter: master.secret(b"exp master", &said),
            transcript,
            srtp,
            awaited: if scene.asks { Awaited::Certificate } else { Awaited::Finished },
            certificate: None,
        })
    }

    pub(super) fn take(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        let hash = self.suite.hash;
        match (self.awaited, message.kind) {
            (Awaited::Certificate, CERTIFICATE) => {
                let shown = proof::shown(Version::Dtls13, &message.body)?;
                let shown = shown
                    .ok_or_else(|| refused(alert::CERTIFICATE_REQUIRED, "the peer showed no certificate"))?;
                scene.recognise(shown.own)?;
                self.certificate = Some(shown.own.to_vec());
                self.awaited = Awaited::Verify;
            }
            (Awaited::Verify, CERTIFICATE_VERIFY) => {
                let content = proof::content(proof::CLIENT, &self.transcript.hash(hash));
                let certificate = self.certificate.as_ref().ok_or_else(unexpected)?;
                proof::verify(Version::Dtls13, Reader::new(&message.body), certificate, &content)?;
                self.awaited = Awaited::Finished;
            }
            (Awaited::Finished, FINISHED) => return self.finish(scene, message),
            _ => return Err(unexpected()),
        }
        self.transcript.add_message(message);
        Ok(Step::Stays)
    }

    fn finish(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        let hash = self.suite.hash;
        let expected = schedule::finished(hash, &self.theirs, &self.transcript.hash(hash));
        if !crypto::equal(expected.as_ref(), &message.body) {
            return Err(refused(alert::DECRYPT_ERROR, "the client's Finished is wrong"));
        }
        let next = self.theirs_next.clone();
        scene.incoming.add(Opener::new(3, schedule::keys(self.suite, &next), Some(next)));
        Ok(Step::Completes(Agreed {
            suite: self.suite,
            certificate: self.certificate.take(),
            chain: Vec::new(),
            srtp: srtp_keys(self.srtp, |out| schedule::export(hash, &self.exporter, SRTP_LABEL, out)),
        }))
    }
}

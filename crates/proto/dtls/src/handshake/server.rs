use super::client::hello_hash;
use super::server12::Server12;
use super::server13::Server13;
use super::{Refusal, Scene, State, Step, alert, malformed, refused, unexpected};
use crate::Version;
use crate::hello::{ClientHello, ServerHello};
use crate::message::{CLIENT_HELLO, MESSAGE_HASH, Message, SERVER_HELLO, Transcript};
use crate::suite::Suite;
use crypto::exchange::Group;

/// A server that waits for a hello.
#[derive(Debug, Default)]
pub(crate) struct Awaiting {
    /// What was said so far, if a client was asked for another share, of which group, and the suite.
    retried: Option<(Transcript, Group, Suite)>,
}

impl Awaiting {
    pub(super) fn has_retried(&self) -> bool {
        self.retried.is_some()
    }

    pub(super) fn take(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        if message.kind != CLIENT_HELLO {
            return Err(unexpected());
        }
        let hello = ClientHello::parse(&message.body).ok_or_else(malformed)?;
        let both = |version| scene.versions.include(version) && hello.speaks(version);
        let (with_13, with_12) = (both(Version::Dtls13), both(Version::Dtls12) && self.retried.is_none());
        if !with_13 && !with_12 {
            Err(refused(alert::PROTOCOL_VERSION, "the client speaks another version"))
        } else if !hello.verifies(scene.identity.key.scheme()) {
            Err(refused(alert::HANDSHAKE_FAILURE, "the client cannot verify our kind of signature"))
        } else if with_13 {
            self.speak_13(scene, message, &hello)
        } else {
            let suite = hello.suite(Version::Dtls12).ok_or_else(no_suite)?;
            let state = Server12::new(scene, suite, message, &hello)?;
            Ok(Step::Becomes(Box::new(State::Server12(state))))
        }
    }

    fn speak_13(
        &mut self,
        scene: &mut Scene<'_>,
        message: &Message,
        hello: &ClientHello<'_>,
    ) -> Result<Step, Refusal> {
        let illegal = |why| refused(alert::ILLEGAL_PARAMETER, why);
        if !hello.cookie.is_empty() {
            return Err(illegal("the client brings a cookie in the manner of an older version"));
        }
        let suite = hello.suite(Version::Dtls13).ok_or_else(no_suite)?;
        let shown = |group: Group| hello.extensions.key_shares().find(|&(id, _)| id == group.id());
        let share = Group::ALL.into_iter().find_map(|group| Some((group, shown(group)?.1)));
        let wanted = self.retried.as_ref().map(|(_, group, suite)| (*group, *suite));
        let Some((group, theirs)) = share else {
            return match wanted {
                None => self.retry(scene, message, hello, suite),
                Some(_) => Err(illegal("the client does not show the share that it was asked for")),
            };
        };
        if wanted.is_some_and(|wanted| wanted != (group, suite)) {
            return Err(illegal("the client's second hello contradicts its first"));
        }
        let (public, secret) = crypto::exchange::answer(group, theirs)?;
        let mut transcript = match &self.retried {
            Some((transcript, ..)) => transcript.clone(),
            None => Transcript::new(false),
        };
        transcript.add_message(message);
        let body = ServerHello::body_13(&scene.rng.bytes(), suite, group, &public);
        let state = Server13::new(scene, suite, &secret, transcript, body, hello.extensions.srtp())?;
        Ok(Step::Becomes(Box::new(State::Server13(state))))
    }

    /// Asks for a share of a group that both have (RFC 8446 §4.1.4).
    fn retry(
        &mut self,
        scene: &mut Scene<'_>,
        message: &Message,
        hello: &ClientHello<'_>,
        suite: Suite,
    ) -> Result<Step, Refusal> {
        let group = Group::ALL.into_iter().find(|&group| hello.supports(group));
        let group =
            group.ok_or_else(|| refused(alert::HANDSHAKE_FAILURE, "there is no group that both have"))?;
        let body = ServerHello::retry(suite, group);
        let mut transcript = Transcript::new(false);
        transcript.add(MESSAGE_HASH, 0, &hello_hash(suite.hash, &message.body));
        transcript.add(SERVER_HELLO, 0, &body);
        scene.outgoing.begin(true);
        scene.outgoing.add(SERVER_HELLO, 0, body);
        self.retried = Some((transcript, group, suite));
        Ok(Step::Stays)
    }
}

fn no_suite() -> Refusal {
    refused(alert::HANDSHAKE_FAILURE, "there is no cipher suite that both have")
}

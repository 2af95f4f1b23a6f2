use crypto::Hash;
use crypto::exchange::{Group, KeyShare};

use super::client12::Client12;
use super::client13::Client13;
use super::{Refusal, Scene, State, Step, alert, malformed, refused, unexpected};
use crate::codec::Reader;
use crate::extension;
use crate::hello::{DOWNGRADED, Offer, ServerHello};
use crate::message::{CLIENT_HELLO, HELLO_VERIFY_REQUEST, MESSAGE_HASH, Message, SERVER_HELLO, Transcript};
use crate::suite::Suite;
use crate::{Trust, Version};

/// How often a server of DTLS 1.2 may ask for its cookie.
const MOST_COOKIES: u32 = 3;

/// A client that has said hello. Which version is spoken is open.
#[derive(Debug)]
pub(crate) struct Greeting {
    offer: Offer,
    /// What was said, and under which number.
    body: Vec<u8>,
    number: u16,
    /// What was said before, if the server has asked for another hello in the manner of 1.3.
    retried: Option<(Transcript, Suite)>,
    cookies: u32,
}

impl Greeting {
    /// Says hello.
    pub(crate) fn new(scene: &mut Scene<'_>) -> Result<Self, Refusal> {
        // Whoever is not known from a description may be a server that keeps nothing of strangers, and
        // therefore hears only hellos in one datagram (`crate::Server`).
        let known = *scene.trust != Trust::Owner;
        let groups: Vec<Group> =
            Group::ALL.into_iter().filter(|&group| known || group != Group::X25519MlKem768).collect();
        let mut shares = Vec::new();
        if scene.versions.include(Version::Dtls13) {
            for &group in groups.iter().filter(|&&group| group != Group::P256) {
                shares.push(KeyShare::generate(group)?);
            }
        }
        let offer = Offer {
            random: scene.rng.bytes(),
            versions: scene.versions,
            groups,
            shares,
            cookie_12: Vec::new(),
            cookie_13: Vec::new(),
        };
        let body = offer.body();
        scene.outgoing.begin(true);
        let number = scene.outgoing.add(CLIENT_HELLO, 0, body.clone());
        Ok(Self { offer, body, number, retried: None, cookies: 0 })
    }

    pub(super) fn take(&mut self, scene: &mut Scene<'_>, message: &Message) -> Result<Step, Refusal> {
        match message.kind {
            HELLO_VERIFY_REQUEST => self.bring_cookie(scene, &message.body),
            SERVER_HELLO => {
                let hello = ServerHello::parse(&message.body).ok_or_else(malformed)?;
                if !hello.extensions.are_among(extension::OFFERED) {
                    return Err(refused(
                        alert::UNSUPPORTED_EXTENSION,
                        "the server answers what was not asked",
                    ));
                }
                let offered = |version: &Version| {
                    self.offer.includes(*version) && (self.retried.is_none() || *version == Version::Dtls13)
                };
                match hello.version().filter(offered) {
                    Some(Version::Dtls13) if hello.is_retry() => self.retry(scene, message, &hello),
                    Some(Version::Dtls13) => self.speak_13(scene, message, &hello),
                    Some(Version::Dtls12) => self.speak_12(scene, message, &hello),
                    None => Err(refused(alert::PROTOCOL_VERSION, "the server speaks another version")),
                }
            }
            _ => Err(unexpected()),
        }
    }

    fn say_again(&mut self, scene: &mut Scene<'_>) {
        self.body = self.offer.body();
        scene.outgoing.begin(true);
        self.number = scene.outgoing.add(CLIENT_HELLO, 0, self.body.clone());
    }

    /// The server of DTLS 1.2 wants to see that we are where we say (RFC 6347 §4.2.1).
    fn bring_cookie(&mut self, scene: &mut Scene<'_>, body: &[u8]) -> Result<Step, Refusal> {
        let mut reader = Reader::new(body);
        let cookie = reader.array::<2>().and_then(|_| reader.vector(1)).ok_or_else(malformed)?;
        let speaks_12 = self.offer.includes(Version::Dtls12) && self.retried.is_none();
        if !speaks_12 || self.cookies >= MOST_COOKIES {
            return Err(unexpected());
        }
        self.cookies += 1;
        self.offer.cookie_12 = cookie.to_vec();
        self.say_again(scene);
        Ok(Step::Stays)
    }

    /// The server of DTLS 1.3 wants another share, or its cookie (RFC 8446 §4.1.4).
    fn retry(
        &mut self,
        scene: &mut Scene<'_>,
        message: &Message,
        hello: &ServerHello<'_>,
    ) -> Result<Step, Refusal> {
        let illegal = || refused(alert::ILLEGAL_PARAMETER, "the server asks for what was not offered");
        if self.retried.is_some() {
            return Err(refused(alert::UNEXPECTED_MESSAGE, "the server asks for another hello twice"));
        }
        let suite = Suite::find(Version::Dtls13, hello.suite).ok_or_else(illegal)?;
        let cookie = match hello.extensions.find(extension::COOKIE) {
            Some(cookie) => Some(Reader::new(cookie).vector(2).ok_or_else(malformed)?.to_vec()),
            None => None,
        };
        let share = match hello.wanted_group() {
            Some(id) => {
                let group = Group::from_id(id).filter(|group| self.offer.groups.contains(group));
                let group = group.ok_or_else(illegal)?;
                if self.offer.shares.iter().any(|share| share.group() == group) {
                    return Err(illegal());
                }
                Some(KeyShare::generate(group)?)
            }
            None if cookie.is_none() => return Err(illegal()),
            None => None,
        };
        let mut transcript = Transcript::new(false);
        transcript.add(MESSAGE_HASH, 0, &hello_hash(suite.hash, &self.body));
        transcript.add_message(message);
        self.retried = Some((transcript, suite));
        self.offer.cookie_13 = cookie.unwrap_or_default();
        if let Some(share) = share {
            self.offer.shares = vec![share];
        }
        self.say_again(scene);
        Ok(Step::Stays)
    }

    fn speak_13(
        &mut self,
        scene: &mut Scene<'_>,
        message: &Message,
        hello: &ServerHello<'_>,
    ) -> Result<Step, Refusal> {
        let illegal = |why| refused(alert::ILLEGAL_PARAMETER, why);
        let suite = Suite::find(Version::Dtls13, hello.suite)
            .filter(|suite| self.retried.as_ref().is_none_or(|(_, first)| first == suite))
            .ok_or_else(|| illegal("the server chose a cipher suite that was not offered"))?;
        let (group, theirs) =
            hello.key_share().ok_or_else(|| illegal("the server has no share of the key"))?;
        let share = self.offer.shares.iter().find(|share| share.group() == group);
        let share = share.ok_or_else(|| illegal("the server chose a group that was not offered"))?;
        let secret = share.agree(theirs)?;
        let mut transcript = match &self.retried {
            Some((transcript, _)) => transcript.clone(),
            None => Transcript::new(false),
        };
        transcript.add(CLIENT_HELLO, 0, &self.body);
        transcript.add_message(message);
        let state = Client13::new(scene, suite, &secret, transcript);
        Ok(Step::Becomes(Box::new(State::Client13(state))))
    }

    fn speak_12(
        &mut self,
        scene: &mut Scene<'_>,
        message: &Message,
        hello: &ServerHello<'_>,
    ) -> Result<Step, Refusal> {
        let illegal = |why| refused(alert::ILLEGAL_PARAMETER, why);
        // Also if it was not offered because a cookie was asked for in the manner of 1.2: one who can speak 1.3 does not
        // do that.
        if scene.versions.include(Version::Dtls13) && hello.random.ends_with(&DOWNGRADED) {
            return Err(illegal("somebody has changed our hello so that an older version is spoken"));
        }
        let suite = Suite::find(Version::Dtls12, hello.suite)
            .ok_or_else(|| illegal("the server chose a cipher suite that was not offered"))?;
        let mut transcript = Transcript::new(true);
        transcript.add(CLIENT_HELLO, self.number, &self.body);
        transcript.add_message(message);
        let state = Client12::new(suite, self.offer.random, hello, transcript)?;
        Ok(Step::Becomes(Box::new(State::Client12(state))))
    }
}

/// The hash of a hello that was answered with a wish (RFC 8446 §4.4.1).
pub(super) fn hello_hash(hash: Hash, body: &[u8]) -> Vec<u8> {
    let mut alone = Transcript::new(false);
    alone.add(CLIENT_HELLO, 0, body);
    alone.hash(hash)
}

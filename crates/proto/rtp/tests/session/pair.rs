use std::time::Duration;

use sansio::{Seed, Time};
use sterna_rtp::session::{Event, OutgoingFrame, SendError, Session, SessionConfig, Terms};
use sterna_rtp::srtp::{MasterKey, Profile};

use crate::link::Link;

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const STEP: Duration = Duration::from_micros(500);

pub(crate) fn key(byte: u8) -> MasterKey {
    MasterKey::new(Profile::AeadAes128Gcm, &[byte; 16], &[byte; 12]).unwrap()
}

/// Two sessions, the first of whom is called alice, and the way between them.
pub(crate) struct Pair {
    pub(crate) now: Time,
    pub(crate) alice: Session,
    pub(crate) bob: Session,
    pub(crate) there: Link,
    pub(crate) back: Link,
    /// What each was told.
    pub(crate) alice_heard: Vec<(Time, Event)>,
    pub(crate) bob_heard: Vec<(Time, Event)>,
}

impl Pair {
    pub(crate) fn new(seed: u64, alice: Vec<Terms>, bob: Vec<Terms>) -> Self {
        let mut pair = Self {
            now: Time::ZERO,
            alice: Session::new(SessionConfig::new(Seed::from(seed))),
            bob: Session::new(SessionConfig::new(Seed::from(seed + 1000))),
            there: Link::new(seed + 2000),
            back: Link::new(seed + 3000),
            alice_heard: Vec::new(),
            bob_heard: Vec::new(),
        };
        pair.alice.set_terms(Time::ZERO, alice);
        pair.bob.set_terms(Time::ZERO, bob);
        pair
    }

    pub(crate) fn with_keys(mut self) -> Self {
        self.alice.set_keys(self.now, &key(1), &key(2));
        self.bob.set_keys(self.now, &key(2), &key(1));
        self
    }

    /// Half a millisecond passes.
    pub(crate) fn step(&mut self) {
        self.now += STEP;
        let now = self.now;
        for (session, link) in [(&mut self.bob, &mut self.there), (&mut self.alice, &mut self.back)] {
            link.arrived(now).iter_mut().for_each(|packet| receive(session, now, packet));
        }
        for (session, link, heard) in [
            (&mut self.alice, &mut self.there, &mut self.alice_heard),
            (&mut self.bob, &mut self.back, &mut self.bob_heard),
        ] {
            if session.poll_timeout().is_some_and(|at| at <= now) {
                session.handle_timeout(now);
                assert!(session.poll_timeout().is_none_or(|next| next > now), "what was due is done");
            }
            let mut out: Vec<Vec<u8>> = Vec::new();
            session.poll_transmit(now, &mut out);
            for packet in out {
                assert!(packet.len() <= 1200, "{} bytes", packet.len());
                link.send(now, packet);
            }
            assert!(session.poll_timeout().is_none_or(|next| next > now), "a timeout moves forward");
            heard.extend(std::iter::from_fn(|| session.poll_event()).map(|event| (now, event)));
        }
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    pub(crate) fn send_video(&mut self, mid: &str, data: &[u8]) -> Result<(), SendError> {
        let frame = OutgoingFrame { data, time: self.now.elapsed(), ..OutgoingFrame::default() };
        self.alice.write_frame(self.now, mid, None, &frame)
    }
}

/// A packet comes; the owner tells RTP and RTCP apart (RFC 5761 §4).
pub(crate) fn receive(session: &mut Session, now: Time, packet: &mut [u8]) {
    match packet.get(1) {
        Some(192..=223) => session.handle_rtcp(now, packet),
        _ => session.handle_rtp(now, packet),
    }
}

/// A picture of VP8 that says its number, and whether it needs others.
pub(crate) fn picture(number: u32, key: bool, bytes: usize) -> Vec<u8> {
    let mut picture = vec![number as u8; bytes.max(10)];
    picture[0] = u8::from(!key);
    picture[1..5].copy_from_slice(&number.to_be_bytes());
    picture
}

/// The numbers of the frames that somebody was told of a section.
pub(crate) fn frames(heard: &[(Time, Event)], section: &str) -> Vec<u32> {
    let number = |data: &[u8]| u32::from_be_bytes(data[1..5].try_into().unwrap());
    heard
        .iter()
        .filter_map(|(_, event)| match event {
            Event::FrameReceived { stream, frame, .. } if *stream.mid == *section => {
                Some(number(&frame.data))
            }
            _ => None,
        })
        .collect()
}

/// How often a key frame was asked for.
pub(crate) fn requests(heard: &[(Time, Event)]) -> usize {
    heard.iter().filter(|(_, event)| matches!(event, Event::KeyFrameRequested { .. })).count()
}

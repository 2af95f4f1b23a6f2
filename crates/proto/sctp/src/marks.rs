//! Congestion marks (ECN): routers mark packets instead of dropping them, the receiver says so, the sender sends less.
//!
//! RFC 9260 reserves the numbers and leaves the rest to others; this is RFC 4960, appendix A, and RFC 3168: the receiver repeats
//! ECNE, with the lowest TSN of a marked packet, until CWR comes. Data is sent as what may be marked only once a HEARTBEAT that
//! was sent so has been answered, since there are paths on which such packets vanish.

use std::time::Duration;

use sansio::{Time, Timers};

use crate::packet::{Chunk, Writer, kind, u16_at, u32_at};
use crate::serial::unroll32;
use crate::timer::Timer;

/// HEARTBEATs that try whether such packets arrive, and how long each is waited for.
const ATTEMPTS: u32 = 3;
const TIMEOUT: Duration = Duration::from_secs(1);
/// So many marks in a row although almost nothing is on its way any more: whoever says so marks everything, or lies.
const IMPLAUSIBLE: u32 = 4;
/// The type of the parameter in a HEARTBEAT, and its length: a random number.
const INFO: u16 = 1;
const INFO_LENGTH: u16 = 4 + 8;

/// What both sides of an association know of marks.
#[derive(Debug)]
pub(crate) struct Marks {
    /// Whether both sides know them.
    agreed: bool,
    path: Path,
    /// The number in the next HEARTBEAT.
    nonce: u64,
    /// What the peer has to hear until it says that it has: the lowest number of a marked packet. And the last one.
    echo: Option<u64>,
    latest: u64,
    /// Whether there is something that the peer has not heard once.
    fresh: bool,
    /// What the peer was told that it is heeded, or is to be.
    heeded: Option<u32>,
    /// Marks in a row that came although almost nothing was on its way.
    implausible: u32,
}

/// What is known of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Path {
    /// Marks are not to be asked for.
    Unfit,
    /// It is to be tried.
    Untried { attempts: u32 },
    /// A HEARTBEAT with this number is on its way.
    Tried { nonce: u64, attempts: u32 },
    /// What may be marked arrives.
    Fit,
}

impl Marks {
    pub(crate) fn new(nonce: u64) -> Self {
        Self {
            agreed: false,
            path: Path::Unfit,
            nonce,
            echo: None,
            latest: 0,
            fresh: false,
            heeded: None,
            implausible: 0,
        }
    }

    /// Both sides have said whether they know marks.
    pub(crate) fn agree(&mut self, agreed: bool) {
        self.agreed = agreed;
    }

    /// Whether both do.
    pub(crate) fn is_agreed(&self) -> bool {
        self.agreed
    }

    /// There is a path, or another one; marks may be asked for on it, or not.
    pub(crate) fn set_path(&mut self, capable: bool, timers: &mut Timers<Timer>) {
        timers.stop(Timer::Marks);
        self.implausible = 0;
        self.path = if capable { Path::Untried { attempts: 0 } } else { Path::Unfit };
    }

    /// All that was sent got lost: perhaps for what it asked for.
    pub(crate) fn doubt(&mut self) {
        if self.path == Path::Fit {
            self.path = Path::Untried { attempts: 0 };
        }
    }

    /// Whether data is sent as what may be marked.
    pub(crate) fn is_capable(&self) -> bool {
        self.agreed && self.path == Path::Fit
    }

    /// Whether a HEARTBEAT is to try the path.
    pub(crate) fn wants_trial(&self) -> bool {
        self.agreed && matches!(self.path, Path::Untried { .. })
    }

    /// Writes it.
    pub(crate) fn write_trial(&mut self, now: Time, writer: &mut Writer<'_>, timers: &mut Timers<Timer>) {
        let Path::Untried { attempts } = self.path else { return };
        let nonce = self.nonce;
        self.nonce = nonce.wrapping_add(1);
        let mut info = [0; INFO_LENGTH as usize];
        info[..2].copy_from_slice(&INFO.to_be_bytes());
        info[2..4].copy_from_slice(&INFO_LENGTH.to_be_bytes());
        info[4..].copy_from_slice(&nonce.to_be_bytes());
        writer.chunk(kind::HEARTBEAT, 0, &[&info]);
        self.path = Path::Tried { nonce, attempts: attempts + 1 };
        timers.set(Timer::Marks, now + TIMEOUT);
    }

    /// Takes what a HEARTBEAT ACK brings back. Returns whether it is ours.
    pub(crate) fn handle_answer(&mut self, value: &[u8], timers: &mut Timers<Timer>) -> bool {
        let Path::Tried { nonce, .. } = self.path else { return false };
        let told = (u16_at(value, 2), u32_at(value, 4), u32_at(value, 8));
        let (Some(INFO_LENGTH), Some(high), Some(low)) = told else { return false };
        let ours = u64::from(high) << 32 | u64::from(low) == nonce;
        if ours {
            self.path = Path::Fit;
            timers.stop(Timer::Marks);
        }
        ours
    }

    /// No answer came.
    pub(crate) fn timed_out(&mut self) {
        if let Path::Tried { attempts, .. } = self.path {
            self.path = if attempts < ATTEMPTS { Path::Untried { attempts } } else { Path::Unfit };
        }
    }

    /// A packet that was marked brought this number, the lowest in it.
    pub(crate) fn arrived(&mut self, tsn: u64) {
        self.latest = self.latest.max(tsn);
        if self.echo.is_none() {
            (self.echo, self.fresh) = (Some(tsn), true);
        }
    }

    /// The peer has heeded what it heard of: up to this number. What was marked since is news.
    pub(crate) fn handle_reduced(&mut self, chunk: Chunk<'_>) -> bool {
        let (Some(tsn), Some(echo)) = (u32_at(chunk.bytes, 4), self.echo) else { return false };
        let tsn = unroll32(echo, tsn);
        if tsn >= echo {
            let later = self.latest > tsn;
            (self.echo, self.fresh) = (later.then_some(self.latest), later);
        }
        true
    }

    /// The number that an ECNE tells.
    pub(crate) fn told(chunk: Chunk<'_>) -> Option<u32> {
        u32_at(chunk.bytes, 4)
    }

    /// The peer was told of a mark, and is to hear that it is heeded.
    pub(crate) fn heed(&mut self, tsn: u32) {
        self.heeded = Some(tsn);
    }

    /// A window was made smaller for a mark. `least`: as small as it gets. Where marks go on all the same nothing is asked for any
    /// more, and nothing that is said of marks believed.
    pub(crate) fn reduced(&mut self, least: bool) {
        self.implausible = if least { self.implausible + 1 } else { 0 };
        if self.implausible >= IMPLAUSIBLE {
            self.path = Path::Unfit;
        }
    }

    /// Whether the peer is to hear something at once.
    pub(crate) fn has_news(&self) -> bool {
        self.fresh || self.heeded.is_some()
    }

    /// Writes what the peer has to hear.
    pub(crate) fn write(&mut self, writer: &mut Writer<'_>) {
        const LENGTH: usize = 8;
        if let Some(tsn) = self.heeded.filter(|_| writer.room() >= LENGTH) {
            writer.chunk(kind::CWR, 0, &[&tsn.to_be_bytes()]);
            self.heeded = None;
        }
        if let Some(tsn) = self.echo.filter(|_| writer.room() >= LENGTH) {
            writer.chunk(kind::ECNE, 0, &[&(tsn as u32).to_be_bytes()]);
            self.fresh = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Header, parse};

    fn marks() -> Marks {
        let mut marks = Marks::new(1);
        marks.agree(true);
        marks
    }

    /// What it writes: types and numbers.
    fn written(write: impl FnOnce(&mut Writer<'_>)) -> Vec<(u8, Vec<u8>)> {
        let mut buffer = vec![0; 100];
        let mut writer = Writer::new(&mut buffer, Header { source: 1, destination: 2, tag: 3 });
        write(&mut writer);
        let used = writer.finish(true);
        parse(&buffer[..used]).unwrap().1.map(|chunk| (chunk.kind(), chunk.value().to_vec())).collect()
    }

    fn reduced(tsn: u32) -> Vec<u8> {
        [&[kind::CWR, 0, 0, 8][..], &tsn.to_be_bytes()].concat()
    }

    #[test]
    fn nothing_may_be_marked_before_a_heartbeat_has_come_back() {
        let (mut marks, mut timers) = (marks(), Timers::default());
        assert!(!marks.is_capable() && !marks.wants_trial());
        marks.set_path(true, &mut timers);
        assert!(!marks.is_capable() && marks.wants_trial());
        let chunks = written(|writer| marks.write_trial(Time::ZERO, writer, &mut timers));
        assert!(!marks.is_capable() && !marks.wants_trial());
        assert!(!marks.handle_answer(&[0; 12], &mut timers));
        assert!(marks.handle_answer(&chunks[0].1, &mut timers));
        assert!(marks.is_capable() && timers.next().is_none());
        marks.doubt();
        assert!(!marks.is_capable() && marks.wants_trial());
    }

    #[test]
    fn a_path_that_swallows_all_trials_is_unfit() {
        let (mut marks, mut timers) = (marks(), Timers::default());
        marks.set_path(true, &mut timers);
        for _ in 0..ATTEMPTS {
            assert!(marks.wants_trial());
            written(|writer| marks.write_trial(Time::ZERO, writer, &mut timers));
            marks.timed_out();
        }
        assert!(!marks.wants_trial() && !marks.is_capable());
    }

    #[test]
    fn a_mark_is_told_until_it_is_heeded_and_a_later_one_after_it() {
        let mut marks = marks();
        marks.arrived(1 << 33);
        marks.arrived((1 << 33) + 7);
        assert!(marks.has_news());
        let told = |tsn: u32| vec![(kind::ECNE, tsn.to_be_bytes().to_vec())];
        assert_eq!(written(|writer| marks.write(writer)), told(0));
        assert!(!marks.has_news());
        assert_eq!(written(|writer| marks.write(writer)), told(0), "it may have got lost");
        let bytes = reduced(u32::MAX);
        assert!(marks.handle_reduced(Chunk { bytes: &bytes }));
        assert_eq!(written(|writer| marks.write(writer)), told(0), "that was about an earlier one");
        assert!(marks.handle_reduced(Chunk { bytes: &reduced(0) }));
        assert!(marks.has_news());
        assert_eq!(written(|writer| marks.write(writer)), told(7));
        assert!(marks.handle_reduced(Chunk { bytes: &reduced(7) }));
        assert_eq!(written(|writer| marks.write(writer)), vec![]);
        assert!(!marks.handle_reduced(Chunk { bytes: &reduced(7) }), "nothing was told");
    }
}

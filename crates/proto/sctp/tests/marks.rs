//! Congestion marks: queues that mark lose nothing and stay full, and nobody gets anywhere by lying about marks.

mod link;

use std::time::Duration;

use link::pipe::{Pipe, fill};
use link::{Capable, Link};
use sterna_sctp::{ChannelId, Congestion};

const PIPE: Pipe = Pipe { mbits: 50, rtt: 40, queue: 2.0, loss: 0.0 };

/// A path that does this to what may be marked, and whose queue marks from half a round trip on, if any.
fn lay(pipe: Pipe, congestion: Congestion, capable: Capable, knows: [bool; 2]) -> (Link, ChannelId) {
    let mut knows = knows.into_iter();
    let (mut link, id) = pipe.lay(1, |config| {
        (config.congestion, config.ecn) = (congestion, knows.next().unwrap_or(true));
    });
    link.capable = capable;
    if let Some(bottleneck) = &mut link.bottleneck {
        bottleneck.marks = Some((bottleneck.rate * pipe.rtt as f64 / 1e3 / 2.0) as usize);
    }
    let now = link.now;
    link.ends.iter_mut().for_each(|end| end.association.set_capable(now, true));
    (link, id)
}

#[test]
fn a_queue_that_marks_loses_nothing_and_stays_full() {
    for congestion in [Congestion::Cubic, Congestion::Bbr] {
        let (mut link, id) = lay(PIPE, congestion, Capable::Carried, [true; 2]);
        // The start alone may overshoot by more than the queue holds.
        fill(&mut link, id, 0.0, 5.0);
        let before = link.overflown;
        let share = fill(&mut link, id, 0.0, 20.0)[0];
        assert!(link.marked > 0, "{congestion:?}");
        assert_eq!(link.overflown, before, "{congestion:?}");
        assert!(share > 0.88, "{congestion:?}: {share}");
    }
}

#[test]
fn who_does_not_know_marks_is_not_asked_to_heed_them() {
    for knows in [[true, false], [false, true]] {
        let (mut link, id) = lay(PIPE, Congestion::Cubic, Capable::Carried, knows);
        let share = fill(&mut link, id, 5.0, 10.0)[0];
        assert_eq!(link.marked, 0, "{knows:?}");
        assert!(link.ends.iter().all(|end| !end.association.is_capable()));
        assert!(share > 0.85, "{knows:?}: {share}");
    }
}

#[test]
fn a_path_that_bleaches_or_swallows_what_may_be_marked_costs_nothing() {
    for capable in [Capable::Bleached, Capable::Swallowed] {
        let (mut link, id) = lay(PIPE, Congestion::Cubic, capable, [true; 2]);
        let share = fill(&mut link, id, 5.0, 10.0)[0];
        assert_eq!(link.marked, 0, "{capable:?}");
        assert!(share > 0.88, "{capable:?}: {share}");
        assert_eq!(link.ends[0].association.is_capable(), capable == Capable::Bleached);
    }
}

#[test]
fn a_path_that_begins_to_swallow_what_may_be_marked_stops_a_transfer_for_no_longer_than_a_timeout() {
    let (mut link, id) = lay(PIPE, Congestion::Cubic, Capable::Carried, [true; 2]);
    fill(&mut link, id, 0.0, 3.0);
    link.capable = Capable::Swallowed;
    let share = fill(&mut link, id, 5.0, 10.0)[0];
    assert!(share > 0.85, "{share}");
    assert!(!link.ends[0].association.is_capable());
}

#[test]
fn one_who_claims_that_everything_is_marked_slows_a_transfer_down_and_does_not_stop_it() {
    for congestion in [Congestion::Cubic, Congestion::Bbr] {
        let (mut link, id) = lay(PIPE, congestion, Capable::Marked, [true; 2]);
        fill(&mut link, id, 0.0, 10.0);
        assert!(!link.ends[0].association.is_capable(), "{congestion:?}");
        let marked = link.marked;
        let share = fill(&mut link, id, 10.0, 10.0)[0];
        assert_eq!(link.marked, marked, "nothing is asked for any more");
        assert!(share > 0.8, "{congestion:?}: {share}");
    }
}

#[test]
fn a_mark_of_what_was_never_sent_is_dropped_and_counted() {
    let (mut link, id) = lay(PIPE, Congestion::Cubic, Capable::Carried, [true; 2]);
    link.keeps = true;
    link.send(0, id, &[1; 1000]);
    link.rest(Duration::from_secs(1));
    assert!(link.ends[0].association.is_capable());
    // A packet of the peer's, with an ECNE in place of what it said.
    let header = link.ends[1].sent.last().unwrap().1[..8].to_vec();
    let forge = |chunk: &[u8]| [&header[..], &[0; 4], chunk].concat();
    let now = link.now;
    let before = link.ends[0].association.drops();
    for number in [0x7fff_ffff_u32, 0] {
        let last = link.ends[0].sent.iter().rev().find(|(_, it)| it.get(12) == Some(&64)).unwrap();
        let tsn = u32::from_be_bytes(last.1[16..20].try_into().unwrap());
        let bytes = [&[12, 0, 0, 8][..], &tsn.wrapping_add(1).wrapping_add(number).to_be_bytes()].concat();
        link.ends[0].association.handle_packet(now, &forge(&bytes));
    }
    link.ends[0].association.handle_packet(now, &forge(&[12, 0, 0, 4]));
    link.ends[0].association.handle_packet(now, &forge(&[13, 0, 0, 4]));
    let after = link.ends[0].association.drops();
    assert!(after.absurd > before.absurd, "{after:?}");
    assert_eq!(after.malformed, before.malformed + 1, "{after:?}");
    link.send(0, id, &[2; 1000]);
    link.run(Duration::from_secs(5), |link| link.ends[1].messages().len() == 2);
}

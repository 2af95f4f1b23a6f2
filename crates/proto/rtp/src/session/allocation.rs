//! Who gets how much of what the way can carry.

use crate::session::outgoing::Outgoing;
use crate::session::terms::Kind;

/// What of a rate is payload; the rest is headers, tags and retransmissions.
const PAYLOAD: f64 = 0.93;
/// What sound is given if nothing is said of it, in bits per second.
const SOUND: f64 = 64_000.0;
/// By how much more than its least there has to be for an encoding that was paused, so that it does not come and go.
const RESUME: f64 = 1.15;

/// Shares out a rate, in bits per second: each gets the least it needs, in the order in which they stand, first
/// encodings before second ones; then the rest by weight, until each has the most it can use.
///
/// Of several encodings of one section the later ones are paused if there is not even their least.
pub(super) fn share_out(outgoing: &mut [Outgoing], rate: f64) {
    let mut left = rate * PAYLOAD;
    let order = order(outgoing);
    for (rank, at) in &order {
        let one = &mut outgoing[*at];
        let (least, most) = limits(one);
        let needed = if one.paused { least * RESUME } else { least };
        let fits = *rank == 0 || needed <= left;
        one.paused = !fits;
        one.share = if fits { least.min(left.max(0.0)).min(most) } else { 0.0 };
        left -= one.share;
    }
    // What one cannot use goes to the others; each round at least one is done.
    let mut open: Vec<usize> = order.iter().map(|(_, at)| *at).filter(|at| !outgoing[*at].paused).collect();
    while left > 1.0 && !open.is_empty() {
        let weights: f64 = open.iter().map(|at| f64::from(outgoing[*at].encoding.weight)).sum();
        if weights <= 0.0 {
            break;
        }
        let each = left / weights;
        let count = open.len();
        open.retain(|at| {
            let one = &mut outgoing[*at];
            let (_, most) = limits(one);
            let more = (each * f64::from(one.encoding.weight)).min(most - one.share).max(0.0);
            one.share += more;
            left -= more;
            one.share < most
        });
        if open.len() == count {
            break;
        }
    }
}

/// The most that all encodings together have use for, in bits per second of what leaves.
pub(super) fn most(outgoing: &[Outgoing]) -> f64 {
    let active = outgoing.iter().filter(|one| one.encoding.active);
    // Some room for retransmissions, and for a key frame.
    1.25 / PAYLOAD * active.map(|one| limits(one).1).sum::<f64>()
}

/// The encodings that are sent, each with which one of its section it is: the first ones of all sections, sound before
/// pictures, then the second ones.
fn order(outgoing: &[Outgoing]) -> Vec<(usize, usize)> {
    let rank = |at: usize| {
        outgoing[..at].iter().filter(|other| other.encoding.active && other.mid == outgoing[at].mid).count()
    };
    let active = (0..outgoing.len()).filter(|at| outgoing[*at].encoding.active);
    let mut order: Vec<(usize, usize)> = active.map(|at| (rank(at), at)).collect();
    order.sort_by_key(|(rank, at)| (*rank, outgoing[*at].kind == Kind::Video, *at));
    order
}

/// The least and the most that an encoding has use for.
fn limits(one: &Outgoing) -> (f64, f64) {
    let bits = |bits: u64| bits as f64;
    let default = if one.kind == Kind::Audio { SOUND } else { f64::INFINITY };
    let most = one.encoding.max_bitrate.map_or(default, bits);
    let least = match one.encoding.min_bitrate {
        Some(least) => bits(least),
        None if one.kind == Kind::Audio => most.min(SOUND) / 2.0,
        None if one.rid.is_some() && most.is_finite() => most / 2.0,
        None => 0.0,
    };
    (least.min(most), most)
}

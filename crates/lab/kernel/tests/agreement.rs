//! Every ordered pair of presets meets in the kernel as in the simulator: on the hosts' own addresses, on those that STUN
//! told, on one that only a check brought to light, or by the relay.
//!
//! All 225 pairs of what the kernel offers, in parts; or those of the presets that `STERNA_LAB_PRESETS` names, with commas
//! in between.

mod lab;
mod sterna;

use lab::lab;
use netsim::Preset;
use scenario::{Cell, Way};
use sterna_kernel::{Grid, Lab, Pair, Stop};

/// Attempts of the simulator for each pair.
const SEEDS: u64 = 5;
/// In so many parts the pairs meet, each well within what a test may take. Not a divisor of the 15 presets: else a part
/// would have but a few receivers, who then knock so often that the server slows them down.
const PARTS: usize = 4;
/// So many pairs at a time: most of what a pair does is to wait.
const LANES: usize = 4;

/// The pairs of one part, in both.
#[track_caller]
fn agree(part: usize) {
    let (Some(_), Some(sterna)) = (lab(), sterna::program()) else { return };
    let presets: Vec<Preset> = match std::env::var("STERNA_LAB_PRESETS") {
        Err(_) => Lab::presets().collect(),
        Ok(names) => names.split(',').map(|name| name.parse().unwrap()).collect(),
    };
    let grid = Grid { lanes: LANES, ..Grid::new(sterna, &presets) };
    let pairs: Vec<_> = grid.pairs().into_iter().skip(part).step_by(PARTS).collect();
    let cells = scenario::Grid { seeds: SEEDS, ..scenario::Grid::new(presets) }.play(&pairs, &|_| {}).cells;
    let play = |pairs: &[[Preset; 2]]| grid.play(pairs, &Stop::default(), &|_| {}).unwrap();
    let mut kernel = play(&pairs);
    assert_eq!((kernel.len(), cells.len()), (pairs.len(), pairs.len()));
    // A check can be faster than the candidate that signalling brings, which makes any direct way a peer-reflexive one;
    // but hardly twice.
    let hasty: Vec<_> = (0..pairs.len()).filter(|&n| is_hasty(&kernel[n], &cells[n])).collect();
    if !hasty.is_empty() {
        let again: Vec<_> = hasty.iter().map(|&n| pairs[n]).collect();
        println!("peer-reflexive by mere speed: {again:?}");
        for (n, pair) in hasty.into_iter().zip(play(&again)) {
            kernel[n] = pair;
        }
    }
    let mut quarrels = Vec::new();
    for ((pair, cell), both) in kernel.iter().zip(&cells).zip(&pairs) {
        assert_eq!(([pair.a, pair.b], [cell.a, cell.b]), (*both, *both));
        let same_way = pair.meetings.iter().all(|meeting| meeting.way() == cell.way());
        if !same_way || !pair.is_as(cell) || !pair.cell().agrees {
            quarrels.push(format!("{} × {}: {:?}, simulated {cell:?}", pair.a, pair.b, pair.meetings));
        }
    }
    assert!(quarrels.is_empty(), "{}", quarrels.join("\n"));
}

/// Whether a pair went by an address that only a check brought to light, where one that was known would have done.
fn is_hasty(pair: &Pair, simulated: &Cell) -> bool {
    let known = matches!(simulated.way(), Some(Way::Host | Way::Reflexive));
    known && pair.meetings.iter().any(|meeting| meeting.way() == Some(Way::PeerReflexive))
}

#[test]
fn the_kernel_agrees_with_the_simulator_pair_by_pair() {
    agree(0);
}

#[test]
fn and_about_the_next_quarter_of_the_pairs() {
    agree(1);
}

#[test]
fn and_about_the_third() {
    agree(2);
}

#[test]
fn and_about_the_last() {
    agree(3);
}

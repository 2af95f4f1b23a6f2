//! Every ordered pair of presets meets in the kernel as in the simulator: directly, or by the relay.
//!
//! Of the classic four all pairs, of the others each with itself and one more; or those that `STERNA_LAB_PRESETS` names,
//! with commas in between, or `all` (196 pairs, some minutes).

mod lab;
mod sterna;

use lab::lab;
use netsim::Preset;
use scenario::Way;
use sterna_kernel::{Grid, Lab, Meeting, Pair, Stop};

/// Attempts of the simulator for each pair.
const SEEDS: u64 = 5;

/// All pairs of these presets, in both; an empty list where no lab can be built.
#[track_caller]
fn agree(presets: &[Preset]) -> Vec<Pair> {
    let (Some(_), Some(sterna)) = (lab(), sterna::program()) else { return Vec::new() };
    let simulated = scenario::Grid { seeds: SEEDS, ..scenario::Grid::new(presets.to_vec()) }.run(&|_| {});
    let kernel = Grid::new(sterna, presets).run(&Stop::default(), &|_| {}).unwrap();
    assert_eq!(kernel.len(), presets.len() * presets.len());
    let mut quarrels = Vec::new();
    for (pair, cell) in kernel.iter().zip(&simulated.cells) {
        assert_eq!((pair.a, pair.b), (cell.a, cell.b));
        if !pair.is_as(cell) || !pair.cell().agrees {
            quarrels.push(format!("{} × {}: {:?}, simulated {cell:?}", pair.a, pair.b, pair.meetings));
        }
    }
    assert!(quarrels.is_empty(), "{}", quarrels.join("\n"));
    kernel
}

#[test]
fn the_kernel_agrees_with_the_simulator_pair_by_pair() {
    let presets = match std::env::var("STERNA_LAB_PRESETS") {
        Err(_) => Preset::CLASSIC.to_vec(),
        Ok(all) if all == "all" => Lab::presets().collect(),
        Ok(names) => names.split(',').map(|name| name.parse().unwrap()).collect(),
    };
    let kernel = agree(&presets);
    // What most texts get wrong: the symmetric side's new port is learned as a peer-reflexive candidate.
    let prflx = |meeting: &Meeting| meeting.way() == Some(Way::PeerReflexive);
    let pair = kernel.iter().find(|pair| (pair.a, pair.b) == (Preset::Symmetric, Preset::AddressRestricted));
    assert!(pair.is_none_or(|pair| pair.meetings.iter().all(prflx)), "{pair:?}");
}

#[test]
fn and_about_boxes_as_one_meets_them() {
    let others: Vec<Preset> = Lab::presets().filter(|preset| !Preset::CLASSIC.contains(preset)).collect();
    for couple in others.chunks(2) {
        agree(couple);
    }
}

//! Every ordered pair of presets meets in the kernel as in the simulator: directly, or by the relay.
//!
//! The classic four, unless `STERNA_LAB_PRESETS` says otherwise: names with commas in between, or `all`.

mod lab;
mod sterna;

use lab::lab;
use netsim::Preset;
use scenario::Way;
use sterna_kernel::{Grid, Lab, Meeting, Stop};

/// Attempts of the simulator for each pair.
const SEEDS: u64 = 5;

fn presets() -> Vec<Preset> {
    match std::env::var("STERNA_LAB_PRESETS") {
        Err(_) => Preset::CLASSIC.to_vec(),
        Ok(all) if all == "all" => Lab::presets().collect(),
        Ok(names) => names.split(',').map(|name| name.parse().unwrap()).collect(),
    }
}

#[test]
fn the_kernel_agrees_with_the_simulator_pair_by_pair() {
    if lab().is_none() {
        return;
    }
    let Some(sterna) = sterna::program() else { return };
    let presets = presets();
    let simulated = scenario::Grid { seeds: SEEDS, ..scenario::Grid::new(presets.clone()) }.run(&|_| {});
    let kernel = Grid::new(sterna, &presets).run(&Stop::default(), &|_| {}).unwrap();
    assert_eq!(kernel.len(), presets.len() * presets.len());
    let mut quarrels = Vec::new();
    for (pair, cell) in kernel.iter().zip(&simulated.cells) {
        assert_eq!((pair.a, pair.b), (cell.a, cell.b));
        if !pair.is_as(cell) || !pair.cell().agrees {
            quarrels.push(format!("{} × {}: {:?}, simulated {cell:?}", pair.a, pair.b, pair.meetings));
        }
    }
    assert!(quarrels.is_empty(), "{}", quarrels.join("\n"));
    // What most texts get wrong: the symmetric side's new port is learned as a peer-reflexive candidate.
    let prflx = |meeting: &Meeting| meeting.way() == Some(Way::PeerReflexive);
    let pair = kernel.iter().find(|pair| (pair.a, pair.b) == (Preset::Symmetric, Preset::AddressRestricted));
    assert!(pair.is_none_or(|pair| pair.meetings.iter().all(prflx)), "{pair:?}");
}

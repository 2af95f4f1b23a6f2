//! The whole grid agrees with the theory.

use netsim::{Laws, Preset};
use sterna_scenario::{Cast, Grid, Way};

/// Each fourth of the ordered pairs of all presets. `STERNA_GRID_SEEDS` asks for more than the 100 seeds each.
fn a_fourth_of_all_pairs(which: usize) {
    let seeds = std::env::var("STERNA_GRID_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(100);
    // Tests run beside each other; one thread each is enough.
    let grid = Grid { seeds, laws: Laws::NONE, threads: 1, ..Grid::new(Preset::ALL) };
    let pairs: Vec<_> = grid.pairs().into_iter().skip(which).step_by(4).collect();
    let report = grid.play(&pairs, &|_| {});
    println!("{} runs in {:?}, {} packets", report.runs, report.took, report.packets);
    let surprises: Vec<_> = report.cells.iter().filter(|cell| !cell.agrees).collect();
    assert!(surprises.is_empty(), "{surprises:#?}");
    assert!(report.cells.len() >= 64 && report.cells.iter().all(|cell| cell.seeds == seeds));
    // A relay on port 443 is within everybody's reach, if only through a proxy.
    for cell in report.cells {
        assert_eq!(cell.connected, seeds, "{} × {}", cell.a, cell.b);
    }
}

#[test]
fn every_pair_of_presets_meets_as_theory_says_1() {
    a_fourth_of_all_pairs(0);
}

#[test]
fn every_pair_of_presets_meets_as_theory_says_2() {
    a_fourth_of_all_pairs(1);
}

#[test]
fn every_pair_of_presets_meets_as_theory_says_3() {
    a_fourth_of_all_pairs(2);
}

#[test]
fn every_pair_of_presets_meets_as_theory_says_4() {
    a_fourth_of_all_pairs(3);
}

/// With all laws of the simulator in force after each step.
#[test]
fn nobody_breaks_a_law_on_the_way() {
    let grid = Grid { seeds: 3, first_seed: 1000, ..Grid::new(Preset::ALL) };
    let report = grid.run(&|_| {});
    assert!(report.agrees());
}

#[test]
fn the_same_seed_gives_the_same_result() {
    for seed in 0..10 {
        let play = |laws| {
            let cast = Cast { laws, ..Cast::new(Preset::Symmetric, Preset::HomeRouter, seed) };
            let outcome = cast.run();
            (outcome.way, outcome.took, outcome.settled, outcome.packets)
        };
        assert_eq!(play(Laws::NONE), play(Laws::NONE));
        assert_eq!(play(Laws::NONE), play(Laws::default()), "watching changes nothing");
    }
}

#[test]
fn lost_packets_delay_but_do_not_prevent() {
    let grid = Grid { seeds: 20, loss: 0.1, laws: Laws::NONE, ..Grid::new(Preset::CLASSIC) };
    let report = grid.run(&|_| {});
    assert!(report.cells.iter().all(|cell| cell.connected == 20), "{:#?}", report.cells);
}

#[test]
fn two_behind_one_box_meet_inside_and_otherwise_only_by_hairpin() {
    for seed in 0..20 {
        let cast = |preset, withheld: &[ice::CandidateKind]| Cast {
            together: true,
            withheld: withheld.to_vec(),
            ..Cast::new(preset, preset, seed)
        };
        for preset in Preset::CLASSIC {
            assert_eq!(cast(preset, &[]).run().way, Some(Way::Host), "{preset}");
        }
        let host = [ice::CandidateKind::Host];
        assert_eq!(cast(Preset::PortRestricted, &host).run().way, Some(Way::Relayed));
        let hairpin = cast(Preset::HairpinExternal, &host).run().way;
        assert!(hairpin.is_some_and(Way::is_direct), "{hairpin:?}");
    }
}

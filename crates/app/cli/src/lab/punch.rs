//! `sterna lab punch`: how often hard NATs are punched through.

use scenario::Punching;

use super::args;
use super::grid::bar;
use crate::failure::{Failure, Kind};
use crate::output::Output;

pub(crate) fn run(args: args::Punch, output: Output) -> Result<(), Failure> {
    if !(0.0..=50.0).contains(&args.loss) {
        return Err(Failure::new(Kind::Usage, format!("--loss {} is not between 0 and 50", args.loss)));
    }
    let punching = Punching {
        seeds: args.seeds,
        first_seed: args.seed,
        busy: args.busy,
        loss: args.loss / 100.0,
        ..Punching::new()
    };
    let bar = bar(output, Punching::meetings().len() as u64 * args.seeds);
    let meetings = punching.run(&|done| bar.set_position(done));
    bar.finish_and_clear();
    if output.is_json() {
        for meeting in &meetings {
            output.object(meeting);
        }
    } else {
        output.say(scenario::punching_table(&meetings).trim_end());
    }
    Ok(())
}

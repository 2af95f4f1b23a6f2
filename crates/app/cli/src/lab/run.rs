//! `sterna lab run`: scenarios out of files.

use std::path::Path;

use scenario::script::{Picture, Run, Script};
use serde::Serialize;

use super::args;
use crate::failure::{Failure, Kind};
use crate::output::Output;

/// One scenario that has been played, for programs (docs/json.md).
#[derive(Serialize)]
struct Played<'a> {
    event: &'static str,
    file: String,
    title: &'a str,
    seed: u64,
    passed: bool,
    /// Of virtual time.
    seconds: f64,
    packets: u64,
    expectations: Vec<Expectation<'a>>,
    /// With `--ladder`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ladder: Option<String>,
}

#[derive(Serialize)]
struct Expectation<'a> {
    line: usize,
    claim: &'a str,
    held: bool,
    because: &'a str,
}

pub(crate) fn run(args: args::Run, output: Output) -> Result<(), Failure> {
    // All of them are read before the first one is played.
    let scripts = args
        .scenarios
        .iter()
        .map(|file| Ok((file, read(file, output)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let mut broken = 0;
    for (file, script) in &scripts {
        let run = script.run(args.seed.unwrap_or(script.seed()));
        broken += usize::from(!run.passed());
        let ladder = args.ladder.then(|| Picture::default().draw(&run.ladder()));
        tell(file, script, &run, ladder, output);
        if let Some(folder) = &args.pcap {
            let folder = if scripts.len() == 1 {
                folder.clone()
            } else {
                folder.join(file.file_stem().unwrap_or_default())
            };
            capture(&run, &folder)?;
            output.note(&format!("What each host and box saw is in {}.", folder.display()));
        }
    }
    match broken {
        0 => Ok(()),
        _ => {
            let message = format!("{broken} of {} scenarios did not come out as expected", scripts.len());
            Err(Failure::new(Kind::Other, message))
        }
    }
}

fn read(file: &Path, output: Output) -> Result<Script, Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    Script::read(&file.display().to_string(), &bytes).map_err(|mistake| {
        // People see the line as well; programs get one line, as always.
        let told = mistake.to_string();
        let told = if output.is_json() { told.lines().next().unwrap_or_default() } else { &told };
        Failure::new(Kind::Usage, told)
    })
}

fn tell(file: &Path, script: &Script, run: &Run, ladder: Option<String>, output: Output) {
    if !output.is_json() {
        output.say(run.to_string().trim_end());
        if let Some(ladder) = ladder {
            output.say(&ladder);
        }
        return;
    }
    let expectations = run.findings().iter().map(|finding| Expectation {
        line: finding.line,
        claim: &finding.claim,
        held: finding.held,
        because: &finding.because,
    });
    output.object(&Played {
        event: "scenario",
        file: file.display().to_string(),
        title: script.title(),
        seed: run.seed(),
        passed: run.passed(),
        seconds: run.took().as_secs_f64(),
        packets: run.packets(),
        expectations: expectations.collect(),
        ladder,
    });
}

fn capture(run: &Run, folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::file("write", folder, &error))?;
    for (name, bytes) in run.captures() {
        let file = folder.join(format!("{name}.pcapng"));
        std::fs::write(&file, bytes).map_err(|error| Failure::file("write", &file, &error))?;
    }
    Ok(())
}

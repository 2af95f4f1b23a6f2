//! `sterna receive`.

use std::io::Write;

use serde_json::json;

use crate::args::Receive;
use crate::failure::{Failure, Kind};
use crate::output::{Output, human_bytes, round};
use crate::session::{self, Purpose};
use crate::transfer::receive::{Offer, offered, receive, refuse};
use crate::transfer::store::Existing;
use crate::transfer::{protocol, send};

pub(crate) async fn run(args: Receive, output: Output) -> Result<(), Failure> {
    let existing = match (args.overwrite, args.rename) {
        (true, _) => Existing::Overwrite,
        (_, true) => Existing::Rename,
        _ => Existing::Refuse,
    };
    if !args.yes && !output.can_ask() {
        let message = "nobody can be asked whether to accept the files; add --yes to accept without asking";
        return Err(Failure::new(Kind::Usage, message));
    }
    std::fs::create_dir_all(&args.out).map_err(|error| Failure::file("create", &args.out, &error))?;
    let code = match args.code.code {
        Some(code) => code,
        None => ask_for_code(output).await?,
    };
    let purpose = Purpose { app: "transfer", channel: protocol::CHANNEL };
    let session = session::join(&code, purpose, &args.reach, output).await?;
    let mut meter = output.meter("receiving");
    let result = session
        .guard(async {
            let offer = offered(&session.channel).await?;
            let fields = json!({ "name": offer.name, "files": offer.files.len(), "bytes": offer.bytes });
            output.event("offer", fields);
            output.say(&describe(&offer));
            if !args.yes && !accepted().await? {
                refuse(&session.channel, &offer, "").await;
                return Err(Failure::new(Kind::Peer, "you refused the files"));
            }
            let name = offer.name.clone();
            let summary = receive(&session.channel, offer, &args.out, existing, &mut meter).await?;
            Ok((name, summary))
        })
        .await;
    meter.end();
    if result.as_ref().is_err_and(|failure| failure.kind == Kind::Interrupted) {
        send::cancel(&session.channel).await;
    }
    let via = session.via();
    session.close().await;
    let (name, summary) = result?;
    let seconds = meter.seconds();
    let path = if args.overwrite || !args.rename { args.out.join(&name) } else { args.out.clone() };
    let fields = json!({
        "bytes": summary.bytes, "resumed": summary.resumed, "seconds": round(seconds),
        summary.hash.name(): summary.digest,
        "path": path, "via": via,
    });
    output.event("done", fields);
    output.say(&summary.line("received", seconds));
    Ok(())
}

fn describe(offer: &Offer) -> String {
    // What comes from the other side could be an escape sequence; a name needs none.
    let name: String = offer.name.chars().filter(|c| !c.is_control()).take(200).collect();
    match offer.files.len() {
        1 => format!("{name}: {}", human_bytes(offer.bytes)),
        count => format!("{name}: {count} files, {}", human_bytes(offer.bytes)),
    }
}

/// Asks for the code at the terminal.
async fn ask_for_code(output: Output) -> Result<String, Failure> {
    if !output.can_ask() {
        let message = "which code? give it as an argument or in STERNA_CODE";
        return Err(Failure::new(Kind::Usage, message));
    }
    let code = ask("code or link: ").await?;
    if code.is_empty() {
        return Err(Failure::new(Kind::Usage, "no code was given"));
    }
    Ok(code)
}

async fn accepted() -> Result<bool, Failure> {
    let answer = ask("receive it? [Y/n] ").await?;
    Ok(matches!(answer.to_lowercase().as_str(), "" | "y" | "yes"))
}

/// Asks a person. The answer is awaited on a thread, so that Ctrl-C and a vanished peer are still noticed.
async fn ask(question: &'static str) -> Result<String, Failure> {
    let answer = tokio::task::spawn_blocking(move || {
        eprint!("{question}");
        let _ = std::io::stderr().flush();
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line.trim().to_owned())
    });
    let answer = answer
        .await
        .map_err(|error| error.to_string())
        .and_then(|read| read.map_err(|error| error.to_string()));
    answer.map_err(|error| Failure::new(Kind::File, format!("cannot read the answer: {error}")))
}

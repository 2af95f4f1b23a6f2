//! `sterna send`.

use serde_json::json;

use crate::args::Send;
use crate::failure::{Failure, Kind};
use crate::output::{Output, human_bytes, round};
use crate::session::{self, Purpose};
use crate::transfer::manifest::Manifest;
use crate::transfer::{protocol, send};

pub(crate) async fn run(args: Send, output: Output) -> Result<(), Failure> {
    let manifest = Manifest::gather(&args.files)?;
    for skipped in &manifest.skipped {
        output.note(&format!("left out: {skipped}"));
    }
    output.note(&format!("{}: {}", manifest.name, human_bytes(manifest.bytes())));
    let purpose = Purpose { app: "transfer", channel: protocol::CHANNEL };
    let session = session::host(purpose, &args.reach, "sterna receive", output).await?;
    let mut meter = output.meter("sending");
    let result = session.guard(send::send(&session.channel, &manifest, &mut meter)).await;
    meter.end();
    if result.as_ref().is_err_and(|failure| failure.kind == Kind::Interrupted) {
        send::cancel(&session.channel).await;
    }
    let via = session.via();
    session.close().await;
    let summary = result?;
    let seconds = meter.seconds();
    let fields = json!({
        "bytes": summary.bytes, "resumed": summary.resumed, "seconds": round(seconds),
        summary.hash.name(): summary.digest, "via": via,
    });
    output.event("done", fields);
    output.say(&summary.line("sent", seconds));
    Ok(())
}

//! `sterna doctor` on two machines: what each found out about itself, which path that promises, a real attempt, and
//! whether the promise was kept.

use std::time::{Duration, Instant};

use doctor::{Expected, Place, Prediction};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use signal::{Door, Hello, Host, Invitation, Payload};
use sterna::{PathInfo, PathKind};

use crate::args::Reach;
use crate::failure::{Failure, Kind};
use crate::negotiation::path_json;
use crate::output::{Output, verdict_json};
use crate::reunion::Reunion;
use crate::session::{self, Purpose};

const PURPOSE: Purpose = Purpose { app: "doctor", channel: "doctor" };
/// How long the other side may take to examine its machine.
const EXAMINATION: Duration = Duration::from_secs(60);
/// How long a relayed path may take to become a direct one.
const BETTER: Duration = Duration::from_secs(4);
/// How long a packet may take to come back on a connection that stands.
const ECHO: Duration = Duration::from_secs(5);

/// What one machine tells the other about itself: `{"doctor":{"examined":{…}}}`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Examined {
    /// What decides about the path.
    pub(crate) place: Place,
    /// All that it found, as `docs/json.md` describes it.
    pub(crate) report: Value,
}

/// Two machines that have met.
pub(crate) struct Meeting {
    session: signal::Session,
    place: session::Place,
    /// Whether this side made the code.
    host: bool,
}

/// A meeting to come: the other side may arrive while this machine is examined.
pub(crate) type Date = tokio::task::JoinHandle<Result<Meeting, Failure>>;

/// Makes a code, shows it, and waits for whoever has it.
pub(crate) async fn invite(reach: &Reach, output: Output) -> Result<Date, Failure> {
    let options = session::options(reach)?;
    let mut host = Host::open(&reach.server, &reach.server, &options).await.map_err(session::not_met)?;
    session::announce(&host, "sterna doctor", reach, output);
    Ok(tokio::spawn(async move {
        let session = host.meet(&Hello::new(PURPOSE.app, "")).await.map_err(session::not_met)?;
        let session = session::same_purpose(session, PURPOSE).await?;
        Ok(Meeting { session, place: Box::new(host), host: true })
    }))
}

/// Goes to whoever made the code.
pub(crate) async fn join(code: &str, reach: &Reach) -> Result<Date, Failure> {
    let invitation = Invitation::parse(code).map_err(|error| Failure::new(Kind::Code, error.to_string()))?;
    let options = session::options(reach)?;
    let mut door = Door::knock(&invitation, &reach.server, &options).await.map_err(session::not_met)?;
    Ok(tokio::spawn(async move {
        let session = door.meet(&Hello::new(PURPOSE.app, "")).await.map_err(session::not_met)?;
        let session = session::same_purpose(session, PURPOSE).await?;
        Ok(Meeting { session, place: Box::new(door), host: false })
    }))
}

impl Meeting {
    /// Exchanges what both found, predicts, connects, and compares.
    pub(crate) async fn compare(self, ours: Examined, reach: &Reach, output: Output) -> Result<(), Failure> {
        let Self { mut session, place, host } = self;
        let theirs = exchange(&mut session, &ours).await?;
        output.event("theirs", json!({ "report": theirs.report }));
        // In one order on both machines, so that both say the same.
        let prediction = match host {
            true => doctor::predict(&ours.place, &theirs.place),
            false => doctor::predict(&theirs.place, &ours.place),
        };
        output.say("");
        output.say(&summary("this machine", &ours.place));
        output.say(&summary("the other machine", &theirs.place));
        output.say(&format!("expected: {prediction}"));
        let started = Instant::now();
        let attempt = attempt(place, session, reach, output).await;
        told(&prediction, attempt, started.elapsed(), output)
    }
}

/// Each side tells, and listens.
async fn exchange(session: &mut signal::Session, ours: &Examined) -> Result<Examined, Failure> {
    let gone =
        |error: &dyn std::fmt::Display| Failure::new(Kind::Peer, format!("the other side left: {error}"));
    session.send(&Payload::Doctor(json!({ "examined": ours }))).map_err(|error| gone(&error))?;
    let theirs = async {
        loop {
            if let Payload::Doctor(mut value) = session.next().await.map_err(|error| gone(&error))?
                && let Some(examined) = value.get_mut("examined").map(Value::take)
            {
                return serde_json::from_value(examined).map_err(|error| {
                    Failure::new(Kind::Peer, format!("the other side's report makes no sense: {error}"))
                });
            }
        }
    };
    tokio::time::timeout(EXAMINATION, theirs).await.unwrap_or_else(|_| {
        let message = "the other side is there, but sent no report; use the same version on both machines";
        Err(Failure::new(Kind::Peer, message))
    })
}

/// A real connection, and a message there and back.
async fn attempt(
    place: session::Place,
    session: signal::Session,
    reach: &Reach,
    output: Output,
) -> Result<PathInfo, Failure> {
    let hello = Hello::new(PURPOSE.app, "");
    let reunion = Reunion::new(&reach.server, session::options(reach)?, hello, session.offers());
    let session = session::connect(place, session, reunion, PURPOSE, reach, output).await?;
    let began = Instant::now();
    let mut path = session.connection.path();
    while path.as_ref().is_none_or(|path| path.kind == PathKind::Relayed) && began.elapsed() < BETTER {
        tokio::time::sleep(Duration::from_millis(100)).await;
        path = session.connection.path();
    }
    let broken = || Failure::new(Kind::Connection, "the connection stood, but no message came through it");
    let echo = async {
        session.channel.send_text("there?").await.ok()?;
        session.channel.recv().await
    };
    let echoed = tokio::time::timeout(ECHO + BETTER, echo).await.ok().flatten().is_some();
    // Who is done first waits until the other one is, too: leaving at once would end its attempt.
    if echoed {
        let _ = session.channel.send_text("yes").await;
        let _ = tokio::time::timeout(ECHO + BETTER, session.channel.recv()).await;
    }
    session.close().await;
    path.filter(|_| echoed).ok_or_else(broken)
}

/// Says what came of it.
fn told(
    prediction: &Prediction,
    attempt: Result<PathInfo, Failure>,
    took: Duration,
    output: Output,
) -> Result<(), Failure> {
    let found = match &attempt {
        Ok(path) if path.kind == PathKind::Direct => Expected::Direct,
        Ok(_) => Expected::Relayed,
        Err(failure) if failure.kind == Kind::Connection => Expected::Nothing,
        Err(_) => return attempt.map(drop),
    };
    let held = match prediction.path {
        Expected::Inconclusive => None,
        expected => Some(expected == found),
    };
    let verdicts = attempt.as_ref().err().map(|failure| failure.verdicts.as_slice()).unwrap_or_default();
    output.event(
        "attempt",
        json!({
            "expected": prediction.path.as_str(),
            "because": prediction.because,
            "found": found.as_str(),
            "held": held,
            "path": attempt.as_ref().ok().map(path_json),
            "took_ms": crate::output::round(took.as_secs_f64() * 1000.0),
            "verdicts": verdicts.iter().map(verdict_json).collect::<Vec<_>>(),
        }),
    );
    let words = match held {
        Some(true) => "as expected",
        Some(false) => "not as expected: one of the two reports was wrong, or something changed meanwhile",
        None => "nothing was expected",
    };
    match &attempt {
        Ok(path) => output.say(&format!("found: {path} ({words})")),
        Err(_) => output.say(&format!("found: no connection ({words})")),
    }
    attempt.map(drop)
}

/// One machine, in a line.
fn summary(who: &str, place: &Place) -> String {
    let word = |known: Option<bool>, yes: &'static str, no: &'static str| match known {
        Some(true) => yes,
        Some(false) => no,
        None => "?",
    };
    format!(
        "{who}: UDP {}, mapping {}, filtering {}, relay {}",
        word(place.nat.udp, "works", "blocked"),
        place.nat.mapping,
        place.nat.filtering,
        word(place.relay, "works", "none"),
    )
}

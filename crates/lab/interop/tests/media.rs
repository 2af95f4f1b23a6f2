//! Calls with Chromium, aiortc and GStreamer: the pictures and sounds that they make come to us and go back, and are looked at
//! there.

mod call;

use std::path::PathBuf;
use std::time::Duration;

use call::{Call, Library, Offers, Rig, Way};
use sterna::{Direction, MediaKind, PathKind};
use sterna_interop::{FOLDER, Foreign};
use tokio::process::Command;

use MediaKind::{Audio, Video};

/// So long each part of a call may take.
const PATIENCE: Duration = Duration::from_secs(30);

async fn within<T>(what: &str, part: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, part).await.unwrap_or_else(|_| panic!("{what}: in time"))
}

/// A call from its beginning until both sides have seen and heard.
async fn both_ways(rig: Rig) -> Option<Call> {
    let mut call = within("a call", Call::start(rig)).await?;
    within("frames", call.echo.has_come(Video, 40)).await;
    within("sound", call.echo.has_come(Audio, 50)).await;
    within("a picture", call.shows_the_bars()).await;
    within("a beep", call.hears()).await;
    Some(call)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_and_pictures_go_to_chromium_and_back() {
    let Some(mut call) = both_ways(Rig::default()).await else { return };
    assert_eq!(call.path(), PathKind::Direct);
    let (before, seen) = (call.echo.frames(Video), call.look().await);
    let came = seen.outbound("video", None)["framesSent"].as_u64().unwrap();
    assert!(call.echo.dropped() == 0 && before + 5 >= came, "of {came} pictures {before} came");
    assert_eq!(seen.inbound("video")["freezeCount"], 0);
    // A second picture comes in mid-call, and the first goes on.
    within("another picture", call.adds_a_screen()).await;
    assert_eq!(call.transceivers().len(), 3);
    within("pictures go on", call.goes_on()).await;
    // Sound rests, and comes again.
    within("a pause", call.turns_sound(Direction::Inactive)).await;
    within("pictures go on", call.goes_on()).await;
    within("sound again", call.turns_sound(Direction::Sendrecv)).await;
    within("sound", call.echo.has_come(Audio, 50)).await;
    within("an ICE restart", call.restarts_ice()).await;
    within("pictures go on", call.goes_on()).await;
    within("the end", call.ends()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relayed_call_with_chromium_is_as_good() {
    let Some(mut call) = both_ways(Rig { way: Way::Relayed, ..Rig::default() }).await else { return };
    assert_eq!(call.path(), PathKind::Relayed);
    within("an ICE restart", call.restarts_ice()).await;
    within("pictures go on", call.goes_on()).await;
    within("the end", call.ends()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_chromium_one_in_twenty_packets_may_be_lost() {
    let Some(mut call) = both_ways(Rig { way: Way::Lossy(0.05), ..Rig::default() }).await else { return };
    within("frames", call.echo.has_come(Video, 150)).await;
    let seen = call.look().await;
    // What we missed was asked for, and came again; and so it was with what Chromium missed.
    let sent = seen.outbound("video", None)["framesSent"].as_u64().unwrap();
    let came = call.echo.frames(Video);
    assert!(came * 100 >= sent * 90, "of {sent} pictures {came} came");
    assert!(seen.outbound("video", None)["retransmittedPacketsSent"].as_u64().unwrap() > 0);
    let inbound = seen.inbound("video");
    assert!(inbound["retransmittedPacketsReceived"].as_u64().unwrap() > 0, "{inbound}");
    assert!(inbound["framesDecoded"].as_u64().unwrap() * 100 >= came * 80, "of {came} frames: {inbound}");
    within("the bars", call.shows_the_bars()).await;
    within("the end", call.ends()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_layer_of_chromiums_simulcast_is_chosen_and_changed() {
    let Some(mut call) = within("a call", Call::start(Rig { simulcast: true, ..Rig::default() })).await
    else {
        return;
    };
    within("three layers", call.echo.layers(&["q", "h", "f"])).await;
    for (rid, width) in [("q", 320), ("f", 1280), ("h", 640)] {
        call.echo.sends_back(rid);
        within(&format!("layer {rid}"), call.shows_width(width)).await;
        within("the bars", call.shows_the_bars()).await;
    }
    within("the end", call.ends()).await;
}

/// A script in Python that calls, and who offers.
fn python(interpreter: Option<PathBuf>, package: &str, script: &str, offers: Offers) -> Option<Foreign> {
    let Some(python) = interpreter else {
        sterna_interop::missing(package);
        return None;
    };
    let mut command = Command::new(python);
    command.arg(format!("{FOLDER}/python/{script}")).args((offers == Offers::They).then_some("offer"));
    Some(Foreign::start(command))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aiortc_sees_and_hears_itself_through_us_whoever_offers() {
    for offers in [Offers::They, Offers::We] {
        let Some(aiortc) = python(sterna_interop::python(), "aiortc", "aiortc_call.py", offers) else {
            return;
        };
        converse(aiortc, offers).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gstreamer_sees_and_hears_itself_through_us_whoever_offers() {
    for offers in [Offers::They, Offers::We] {
        let python3 = sterna_interop::gstreamer();
        let Some(gstreamer) = python(python3, "GStreamer", "gstreamer_call.py", offers) else { return };
        converse(gstreamer, offers).await;
    }
}

async fn converse(foreign: Foreign, offers: Offers) {
    let mut call = within("a call", Library::call(foreign, offers)).await;
    within("a picture and a tone", call.sees_and_hears(60)).await;
    assert_eq!(call.echo.dropped(), 0);
    within("the end", call.ends()).await;
}

//! Data channels with other libraries: aiortc, each side offering once, and Chromium when it wants media as well.

use std::time::Duration;

use serde_json::{Value, json};
use sterna::{Configuration, DataChannel, Message, PeerConnection, PeerEvent};
use sterna_interop::{FOLDER, Foreign};
use tokio::process::Command;

/// Everything here takes well under a second; whatever takes so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

fn aiortc(arguments: &[&str]) -> Option<Foreign> {
    let Some(python) = sterna_interop::python() else {
        sterna_interop::missing("aiortc");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(format!("{FOLDER}/python/aiortc_peer.py")).args(arguments);
    Some(Foreign::start(command))
}

/// Chromium that offers camera, microphone and a channel, with this `bundlePolicy`, and what it is to try out.
fn chromium(policy: &str, trials: &str) -> Option<Foreign> {
    let Some(chromium) = sterna_interop::chromium() else {
        sterna_interop::missing("chromium");
        return None;
    };
    if !sterna_interop::packages() {
        sterna_interop::missing("playwright-core (npm)");
        return None;
    }
    let mut command = Command::new("node");
    command.args(["browser/peer.mjs", policy]).current_dir(FOLDER);
    command.env("CHROMIUM", chromium).env("TRIALS", trials);
    Some(Foreign::start(command))
}

fn connection() -> PeerConnection {
    PeerConnection::new(Configuration { include_loopback: true, ..Configuration::default() }).unwrap()
}

/// Our description with all candidates in it: aiortc does not trickle.
async fn description(connection: &PeerConnection) -> Value {
    connection.set_local_description(None).await.unwrap();
    connection.gathering_complete().await.unwrap();
    serde_json::to_value(connection.local_description().unwrap()).unwrap()
}

fn read(event: &Value) -> sterna::SessionDescription {
    serde_json::from_value(json!({ "type": event["type"], "sdp": event["sdp"] })).unwrap()
}

/// The channel that the other side opens.
async fn channel_of(connection: &PeerConnection) -> DataChannel {
    loop {
        match connection.next_event().await.expect("a channel comes") {
            PeerEvent::DataChannel(channel) => return channel,
            PeerEvent::Failed(failure) => panic!("{failure}"),
            _ => {}
        }
    }
}

/// Text and binary there and back; a message larger than any packet among them.
async fn converse(channel: &DataChannel, foreign: &mut Foreign) {
    channel.send_text("grüße").await.unwrap();
    assert_eq!(foreign.event("text").await["text"], "grüße");
    assert_eq!(channel.recv().await, Some(Message::Text("echo:grüße".into())));
    let big: Vec<u8> = (0..60_000u32).map(|i| (i * 7 % 251) as u8).collect();
    channel.send(big.clone()).await.unwrap();
    let sum: u32 = big.iter().map(|&byte| u32::from(byte)).sum();
    let heard = foreign.event("binary").await;
    assert_eq!(
        (heard["bytes"].as_u64(), heard["sum"].as_u64()),
        (Some(60_000), Some(u64::from(sum % 65536)))
    );
    let reversed: Vec<u8> = big.into_iter().rev().collect();
    assert_eq!(channel.recv().await, Some(Message::Binary(reversed.into())));
}

#[tokio::test]
async fn we_offer_and_aiortc_answers() {
    let Some(mut aiortc) = aiortc(&[]) else { return };
    tokio::time::timeout(PATIENCE, async {
        let connection = connection();
        let channel = connection.create_data_channel("from-sterna", Default::default()).unwrap();
        aiortc.tell(&description(&connection).await).await;
        let answer = aiortc.event("description").await;
        connection.set_remote_description(read(&answer)).await.unwrap();
        channel.opened().await.unwrap();
        assert_eq!(aiortc.event("channel").await["label"], "from-sterna");
        converse(&channel, &mut aiortc).await;
        let _ = channel.close().await;
        assert_eq!(aiortc.event("channel-closed").await["label"], "from-sterna");
        aiortc.quit().await;
        aiortc.event("closed").await;
        connection.close().await;
    })
    .await
    .expect("in time");
}

async fn answer_aiortc(arguments: &[&str]) {
    let Some(mut aiortc) = aiortc(arguments) else { return };
    tokio::time::timeout(PATIENCE, async {
        let connection = connection();
        let offer = aiortc.event("description").await;
        connection.set_remote_description(read(&offer)).await.unwrap();
        aiortc.tell(&description(&connection).await).await;
        let channel = channel_of(&connection).await;
        assert_eq!((channel.label(), channel.protocol()), ("from-aiortc", "test"));
        assert_eq!(channel.recv().await, Some(Message::Text("hello from aiortc".into())));
        assert_eq!(aiortc.event("open").await["label"], "from-aiortc");
        converse(&channel, &mut aiortc).await;
        aiortc.quit().await;
        assert_eq!(channel.recv().await, None, "a peer that closes ends its channels");
    })
    .await
    .expect("in time");
}

#[tokio::test]
async fn aiortc_offers_and_we_answer() {
    answer_aiortc(&["offer"]).await;
}

#[tokio::test]
async fn aiortc_offers_media_and_data_and_we_take_the_data() {
    answer_aiortc(&["offer", "media"]).await;
}

/// It offers media that we do not take before the data that we do, and with "max-bundle" on one transport with it; then
/// once more, and we offer as well.
#[tokio::test]
async fn chromium_offers_media_and_data_in_every_bundle() {
    for policy in ["balanced", "max-compat", "max-bundle"] {
        let Some(mut chromium) = chromium(policy, "") else { return };
        tokio::time::timeout(PATIENCE, async {
            let connection = connection();
            let offer = chromium.event("description").await;
            connection.set_remote_description(read(&offer)).await.unwrap();
            chromium.tell(&description(&connection).await).await;
            let channel = channel_of(&connection).await;
            assert_eq!(channel.recv().await, Some(Message::Text("hello from chromium".into())));
            assert_eq!(chromium.event("state").await["state"], "connected", "{policy}");
            converse(&channel, &mut chromium).await;
            chromium.tell(&json!({ "offer": true })).await;
            connection.set_remote_description(read(&chromium.event("description").await)).await.unwrap();
            chromium.tell(&description(&connection).await).await;
            chromium.event("stable").await;
            chromium.tell(&description(&connection).await).await;
            let answer = chromium.event("description").await;
            connection.set_remote_description(read(&answer)).await.unwrap();
            converse(&channel, &mut chromium).await;
            chromium.quit().await;
            assert_eq!(channel.recv().await, None, "{policy}");
        })
        .await
        .unwrap_or_else(|_| panic!("{policy}: in time"));
    }
}

/// One connection with Chromium, which is told to try something out. `folds`: whether that is SPED, and SNAP. Returns whether
/// it survived the answer.
async fn fold(mut chromium: Foreign, folds: [bool; 2]) -> bool {
    let connection = connection();
    let offer = chromium.event("description").await;
    connection.set_remote_description(read(&offer)).await.unwrap();
    let answer = description(&connection).await;
    let says = |description: &Value| {
        ["sped", "a=sctp-init:"].map(|it| description["sdp"].as_str().unwrap().contains(it))
    };
    assert_eq!([says(&offer), says(&answer)], [folds; 2]);
    chromium.tell(&answer).await;
    if chromium.one_of(&["stable", "crashed"]).await["event"] == "crashed" {
        return false;
    }
    let channel = channel_of(&connection).await;
    assert_eq!(channel.recv().await, Some(Message::Text("hello from chromium".into())));
    converse(&channel, &mut chromium).await;
    chromium.quit().await;
    assert_eq!(channel.recv().await, None);
    true
}

/// Its trials of SPED and SNAP: what is offered is taken up, what is not is not mentioned.
#[tokio::test]
async fn chromium_folds_handshakes_if_it_is_told_to() {
    let (sped, snap) = ("WebRTC-IceHandshakeDtls/Enabled/", "WebRTC-Sctp-Snap/Enabled/");
    for (trials, folds) in [
        ("", [false; 2]),
        (sped, [true, false]),
        (snap, [false, true]),
        (&format!("{sped}{snap}"), [true; 2]),
    ] {
        // Chromium 156's page crashes in one of four connections with SNAP, between two Chromiums as well.
        for attempt in 1.. {
            let Some(chromium) = chromium("balanced", trials) else { return };
            let survived = tokio::time::timeout(PATIENCE, fold(chromium, folds));
            if survived.await.unwrap_or_else(|_| panic!("{trials}: in time")) {
                break;
            }
            assert!(folds[1] && attempt < 10, "{trials}: Chromium has crashed");
        }
    }
}

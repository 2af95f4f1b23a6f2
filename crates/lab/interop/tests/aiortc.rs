//! Data channels with aiortc, both ways, each side offering once.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use sterna::{Configuration, DataChannel, Message, PeerConnection, PeerEvent};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Everything here takes well under a second; whatever takes so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

struct Aiortc {
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Aiortc {
    fn start(arguments: &[&str]) -> Option<Self> {
        let Some(python) = sterna_interop::python() else {
            sterna_interop::missing("aiortc");
            return None;
        };
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/aiortc_peer.py");
        let mut command = Command::new(python);
        command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Some(Self { _process: process, input, output })
    }

    async fn tell(&mut self, message: &Value) {
        self.input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    /// The next event called `name`; others are passed over.
    async fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.output.next_line().await.unwrap().expect("aiortc ended early");
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["event"] == name {
                return event;
            }
        }
    }
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

/// Text and binary there and back; a message larger than any packet among them.
async fn converse(channel: &DataChannel, aiortc: &mut Aiortc) {
    channel.send_text("grüße").await.unwrap();
    assert_eq!(aiortc.event("text").await["text"], "grüße");
    assert_eq!(channel.recv().await, Some(Message::Text("echo:grüße".into())));
    let big: Vec<u8> = (0..60_000u32).map(|i| (i * 7 % 251) as u8).collect();
    channel.send(big.clone()).await.unwrap();
    let sum: u32 = big.iter().map(|&byte| u32::from(byte)).sum();
    let heard = aiortc.event("binary").await;
    assert_eq!(
        (heard["bytes"].as_u64(), heard["sum"].as_u64()),
        (Some(60_000), Some(u64::from(sum % 65536)))
    );
    let reversed: Vec<u8> = big.into_iter().rev().collect();
    assert_eq!(channel.recv().await, Some(Message::Binary(reversed.into())));
}

#[tokio::test]
async fn we_offer_and_aiortc_answers() {
    let Some(mut aiortc) = Aiortc::start(&[]) else { return };
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
        aiortc.tell(&json!({ "quit": true })).await;
        aiortc.event("closed").await;
        connection.close().await;
    })
    .await
    .expect("in time");
}

#[tokio::test]
async fn aiortc_offers_and_we_answer() {
    let Some(mut aiortc) = Aiortc::start(&["offer"]) else { return };
    tokio::time::timeout(PATIENCE, async {
        let connection = connection();
        let offer = aiortc.event("description").await;
        connection.set_remote_description(read(&offer)).await.unwrap();
        aiortc.tell(&description(&connection).await).await;
        let channel = loop {
            match connection.next_event().await.expect("a channel comes") {
                PeerEvent::DataChannel(channel) => break channel,
                PeerEvent::Failed(failure) => panic!("{failure}"),
                _ => {}
            }
        };
        assert_eq!((channel.label(), channel.protocol()), ("from-aiortc", "test"));
        assert_eq!(channel.recv().await, Some(Message::Text("hello from aiortc".into())));
        assert_eq!(aiortc.event("open").await["label"], "from-aiortc");
        converse(&channel, &mut aiortc).await;
        aiortc.tell(&json!({ "quit": true })).await;
        assert_eq!(channel.recv().await, None, "a peer that closes ends its channels");
    })
    .await
    .expect("in time");
}

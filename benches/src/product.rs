//! Sterna as its users hold it: `PeerConnection` on tokio, with its own sockets. One end of a duel.

use std::collections::VecDeque;
use std::time::Instant;

use driver::{
    Configuration, DataChannel, DataChannelInit, Message, PeerConnection, PeerEvent, SessionDescription,
};

use crate::contender::{Channel, Received};
use crate::duel::Task;
use crate::end::{Count, Wire};
use crate::flow::{Processor, monotonic};

/// Messages that are sent and received at once.
const BATCH: usize = 64;

fn connection() -> PeerConnection {
    let configuration = Configuration { include_loopback: true, trickle: false, ..Configuration::default() };
    PeerConnection::new(configuration).expect("a connection")
}

fn say(description: &SessionDescription) -> String {
    serde_json::to_string(description).expect("it can be written")
}

fn heard(line: &str) -> SessionDescription {
    serde_json::from_str(line).expect("a description")
}

/// The end that offers, and sends.
pub async fn offer(task: Task) {
    let wire = Wire::open();
    wire.tell("address", "");
    wire.hear("remote");
    let connection = connection();
    let init = match task.channel {
        Channel::Reliable => DataChannelInit::default(),
        Channel::Fleeting => {
            DataChannelInit { ordered: false, max_retransmits: Some(0), ..Default::default() }
        }
    };
    let channel = connection.create_data_channel("bench", init).expect("a channel");
    wire.tell("offer", &say(&connection.set_local_description(None).await.expect("an offer")));
    let answer = heard(&wire.hear("answer"));
    let ready = monotonic();
    connection.set_remote_description(answer).await.expect("it is taken");
    wire.tell_numbers("ready", [ready.as_nanos()]);
    channel.opened().await.expect("it opens");
    channel.send(b"first".to_vec()).await.expect("it is sent");
    wire.hear("flood");
    let payload = bytes::Bytes::from(vec![0x5a; task.size]);
    let (begin, processor) = (Instant::now(), Processor::now());
    let mut messages = VecDeque::new();
    while !wire.is_said("stop") {
        messages.extend(std::iter::repeat_n(Message::from(payload.clone()), BATCH));
        channel.send_all(&mut messages).await.expect("they are sent");
    }
    wire.tell_numbers("sent", [begin.elapsed().as_nanos(), processor.elapsed().as_nanos()]);
}

async fn channel_of(connection: &PeerConnection) -> DataChannel {
    loop {
        if let PeerEvent::DataChannel(channel) = connection.next_event().await.expect("an event") {
            return channel;
        }
    }
}

/// The end that answers, and counts.
pub async fn answer(task: Task) {
    let wire = Wire::open();
    wire.tell("address", "");
    wire.hear("remote");
    let connection = connection();
    connection.set_remote_description(heard(&wire.hear("offer"))).await.expect("it is taken");
    wire.tell("answer", &say(&connection.set_local_description(None).await.expect("an answer")));
    let channel = channel_of(&connection).await;
    let (mut received, mut count, mut told) = (Received::default(), Count::new(), false);
    let mut messages = Vec::new();
    loop {
        assert!(channel.recv_many(&mut messages, BATCH).await > 0, "messages come");
        if received.messages == 0 {
            wire.tell_numbers("first", [monotonic().as_nanos()]);
        }
        messages.drain(..).for_each(|message| received.count(message.as_bytes().len()));
        told = told || count.look(received, task.duration, &wire);
    }
}

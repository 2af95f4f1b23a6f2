//! Two connections in one process, over the addresses of this machine.

use std::collections::VecDeque;
use std::time::Duration;

use sterna::{
    Configuration, ConnectionState, DataChannel, DataChannelInit, Error, Message, PathKind, PeerConnection,
    PeerEvent, SendError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Long for a machine that is busy with other tests; never reached otherwise.
const LONG: Duration = Duration::from_secs(60);

/// Only loopback: tests bother no network.
fn configuration() -> Configuration {
    Configuration { include_loopback: true, ..Configuration::default() }
}

fn connection() -> PeerConnection {
    PeerConnection::new(configuration()).unwrap()
}

/// Exchanges descriptions, and candidates one by one in the background.
async fn connect(here: &PeerConnection, there: &PeerConnection) {
    let offer = here.set_local_description(None).await.unwrap();
    there.set_remote_description(offer).await.unwrap();
    let answer = there.set_local_description(None).await.unwrap();
    here.set_remote_description(answer).await.unwrap();
    for (from, to) in [(here, there), (there, here)] {
        loop {
            match timeout(LONG, from.next_event()).await.unwrap() {
                Some(PeerEvent::IceCandidate(candidate)) => {
                    let last = candidate.is_none();
                    to.add_ice_candidate(candidate).await.unwrap();
                    if last {
                        break;
                    }
                }
                Some(_) => {}
                None => panic!("closed while connecting"),
            }
        }
    }
    for one in [here, there] {
        let path = timeout(LONG, one.connected()).await.unwrap().unwrap();
        assert_eq!(path.kind, PathKind::Direct);
    }
}

/// The next channel that the other side makes.
async fn accepted(connection: &PeerConnection) -> DataChannel {
    let wait = async {
        loop {
            match connection.next_event().await {
                Some(PeerEvent::DataChannel(channel)) => return channel,
                Some(_) => {}
                None => panic!("closed before a channel came"),
            }
        }
    };
    timeout(LONG, wait).await.unwrap()
}

/// Two connected peers and a channel between them.
async fn pair(init: DataChannelInit) -> (PeerConnection, PeerConnection, DataChannel, DataChannel) {
    let (here, there) = (connection(), connection());
    let ours = here.create_data_channel("test", init).unwrap();
    connect(&here, &there).await;
    let theirs = accepted(&there).await;
    (here, there, ours, theirs)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_travel_both_ways_with_their_kinds_and_borders() {
    let (here, _there, ours, theirs) = pair(DataChannelInit::default()).await;
    assert_eq!((theirs.label(), theirs.ordered(), theirs.id()), ("test", true, ours.id()));
    ours.opened().await.unwrap();
    for message in
        [Message::from("text"), Message::from(vec![1, 2, 3]), Message::from(""), Message::from(vec![])]
    {
        ours.send(message.clone()).await.unwrap();
        assert_eq!(theirs.recv().await, Some(message.clone()));
        theirs.send(message.clone()).await.unwrap();
        assert_eq!(ours.recv().await, Some(message));
    }
    let path = here.path().unwrap();
    assert_eq!(path.kind, PathKind::Direct, "{path}");
    assert!(!here.report().evidence.ice.pairs.is_empty() && !here.stats().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_sent_before_the_connection_is_there_arrives() {
    let (here, there) = (connection(), connection());
    let ours = here.create_data_channel("early", DataChannelInit::default()).unwrap();
    assert_eq!(ours.try_send("too early"), Err(SendError::NotOpen));
    let sender = tokio::spawn(async move {
        ours.send("early").await.unwrap();
        ours
    });
    connect(&here, &there).await;
    let theirs = accepted(&there).await;
    assert_eq!(timeout(LONG, theirs.recv()).await.unwrap(), Some("early".into()));
    drop(sender.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_mebibytes_arrive_intact_and_in_order() {
    let (_here, _there, ours, theirs) = pair(DataChannelInit::default()).await;
    const SIZE: usize = 16 * 1024;
    const COUNT: usize = 4096;
    let message = |n: usize| -> Vec<u8> {
        let mut bytes = vec![(n * 7) as u8; SIZE - n % 100];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        bytes
    };
    let sender = tokio::spawn(async move {
        for n in 0..COUNT {
            ours.send(message(n)).await.unwrap();
        }
        ours.close().await.unwrap();
    });
    for n in 0..COUNT {
        let received = timeout(LONG, theirs.recv()).await.unwrap();
        assert!(received == Some(message(n).into()), "message {n}");
    }
    assert_eq!(timeout(LONG, theirs.recv()).await.unwrap(), None);
    assert_eq!(theirs.closed().await, Ok(()));
    sender.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unordered_messages_without_repetition_arrive_on_a_good_link() {
    let init = DataChannelInit { ordered: false, max_retransmits: Some(0), ..DataChannelInit::default() };
    let (_here, _there, ours, theirs) = pair(init).await;
    assert!(!theirs.ordered());
    for n in 0..100u32 {
        ours.send(&n.to_le_bytes()).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 90 {
        let message = timeout(LONG, theirs.recv()).await.expect("nearly all arrive").unwrap();
        seen.push(u32::from_le_bytes(message.as_bytes().try_into().unwrap()));
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() >= 90);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sender_waits_for_a_receiver_that_does_not_receive() {
    let (_here, _there, ours, theirs) = pair(DataChannelInit::default()).await;
    let message = vec![7; 16 * 1024];
    let mut sent = 0;
    // Until nothing was taken for a while.
    while timeout(Duration::from_millis(500), ours.send(message.clone())).await.is_ok() {
        sent += 1;
        assert!(sent < 4096, "64 MiB are nobody's buffer");
    }
    assert!(matches!(ours.try_send(message.clone()), Err(SendError::Full)));
    // Another channel is not held up by the one that nobody reads. (The window of the connection is not full yet.)
    for _ in 0..sent {
        assert_eq!(timeout(LONG, theirs.recv()).await.unwrap().map(|message| message.len()), Some(16 * 1024));
    }
    ours.send("more").await.unwrap();
    assert_eq!(timeout(LONG, theirs.recv()).await.unwrap(), Some("more".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_a_connection_delivers_what_was_sent() {
    let (here, there, ours, theirs) = pair(DataChannelInit::default()).await;
    let mut sent = 0;
    while ours.try_send(vec![1; 10_000]).is_ok() {
        sent += 1;
    }
    assert!(sent > 50);
    // More may be under way than the other side takes in before somebody reads it.
    let read = async {
        let mut received = 0;
        while timeout(LONG, theirs.recv()).await.unwrap().is_some() {
            received += 1;
        }
        received
    };
    let (closed, received) = tokio::join!(timeout(LONG, here.close()), read);
    closed.unwrap();
    assert_eq!(here.connection_state(), ConnectionState::Closed);
    assert_eq!(received, sent);
    assert_eq!(theirs.closed().await, Ok(()));
    let last = async { while there.next_event().await.is_some() {} };
    timeout(LONG, last).await.expect("the other side ends as well");
    assert_eq!(ours.send("late").await, Err(SendError::Closed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_all_handles_closes_and_delivers() {
    let (here, there, ours, theirs) = pair(DataChannelInit::default()).await;
    for n in 0..50 {
        ours.send(vec![n; 10_000]).await.unwrap();
    }
    drop(here);
    ours.send("the channel keeps the connection").await.unwrap();
    drop(ours);
    let mut received = 0;
    while timeout(LONG, theirs.recv()).await.unwrap().is_some() {
        received += 1;
    }
    assert_eq!(received, 51);
    let end = async {
        loop {
            match there.next_event().await {
                Some(PeerEvent::PeerClosed) => return,
                Some(_) => {}
                None => panic!("the end was not told"),
            }
        }
    };
    timeout(LONG, end).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_channel_leaves_the_others_alone() {
    let (here, there, ours, theirs) = pair(DataChannelInit::default()).await;
    let second = here.create_data_channel("second", DataChannelInit::default()).unwrap();
    let theirs_second = accepted(&there).await;
    drop(theirs);
    timeout(LONG, ours.closed()).await.unwrap().unwrap();
    assert_eq!(ours.recv().await, None);
    second.send("still here").await.unwrap();
    assert_eq!(timeout(LONG, theirs_second.recv()).await.unwrap(), Some("still here".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn negotiated_channels_need_no_announcement() {
    let init = || DataChannelInit { negotiated: true, id: Some(5), ..DataChannelInit::default() };
    let (here, there) = (connection(), connection());
    let ours = here.create_data_channel("a", init()).unwrap();
    let theirs = there.create_data_channel("b", init()).unwrap();
    connect(&here, &there).await;
    theirs.send("hello").await.unwrap();
    assert_eq!(timeout(LONG, ours.recv()).await.unwrap(), Some("hello".into()));
    assert_eq!((ours.id(), ours.label(), theirs.label()), (Some(5), "a", "b"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_description_each_way_is_enough_without_trickling() {
    let (here, there) = (
        PeerConnection::new(Configuration { trickle: false, ..configuration() }).unwrap(),
        PeerConnection::new(Configuration { trickle: false, ..configuration() }).unwrap(),
    );
    let ours = here.create_data_channel("whole", DataChannelInit::default()).unwrap();
    // As JSON, the way it travels to browsers.
    let travel = |description| {
        let json = serde_json::to_string(&description).unwrap();
        assert!(json.contains("a=candidate:") && json.contains("a=end-of-candidates"), "{json}");
        serde_json::from_str(&json).unwrap()
    };
    let offer = travel(here.set_local_description(None).await.unwrap());
    there.set_remote_description(offer).await.unwrap();
    let answer = travel(there.set_local_description(None).await.unwrap());
    here.set_remote_description(answer).await.unwrap();
    timeout(LONG, here.connected()).await.unwrap().unwrap();
    let theirs = accepted(&there).await;
    ours.send("hello").await.unwrap();
    assert_eq!(timeout(LONG, theirs.recv()).await.unwrap(), Some("hello".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_is_a_stream_of_bytes() {
    let (_here, _there, ours, theirs) = pair(DataChannelInit::default()).await;
    let sent: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    let expected = sent.clone();
    let sender = tokio::spawn(async move {
        let mut stream = ours.into_stream();
        stream.write_all(&sent).await.unwrap();
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"done");
        stream.shutdown().await.unwrap();
    });
    let mut stream = theirs.into_stream();
    let mut received = vec![0; expected.len()];
    timeout(LONG, stream.read_exact(&mut received)).await.unwrap().unwrap();
    assert!(received == expected);
    stream.write_all(b"done").await.unwrap();
    let mut rest = Vec::new();
    timeout(LONG, stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    assert!(rest.is_empty());
    sender.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_larger_than_agreed_is_refused_and_nothing_breaks() {
    let (_here, _there, ours, theirs) = pair(DataChannelInit::default()).await;
    assert_eq!(ours.send(vec![0; 300_000]).await, Err(SendError::TooLarge { limit: 262_144 }));
    ours.send(vec![0; 262_144]).await.unwrap();
    assert_eq!(timeout(LONG, theirs.recv()).await.unwrap().map(|message| message.len()), Some(262_144));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_while_connecting_ends_at_once_and_tells_those_who_wait() {
    let here = connection();
    let channel = here.create_data_channel("x", DataChannelInit::default()).unwrap();
    here.set_local_description(None).await.unwrap();
    let waiting = tokio::spawn({
        let here = here.clone();
        async move { here.connected().await }
    });
    let sending =
        tokio::spawn(async move { (channel.send("x").await, channel.recv().await, channel.closed().await) });
    tokio::task::yield_now().await;
    timeout(Duration::from_secs(5), here.close()).await.expect("there is nothing to deliver");
    assert!(matches!(waiting.await.unwrap(), Err(Error::Closed)));
    let (sent, received, closed) = sending.await.unwrap();
    assert_eq!((sent, received), (Err(SendError::Closed), None));
    assert_eq!(closed, Ok(()), "nothing was sent that could be lost");
    assert!(matches!(here.create_data_channel("y", DataChannelInit::default()), Err(Error::Channel(_))));
    assert!(here.create_offer().await.is_err());
}

#[test]
fn outside_a_runtime_there_is_an_error() {
    let error = PeerConnection::new(configuration()).unwrap_err();
    assert!(matches!(error, Error::NoRuntime), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_messages_are_sent_and_received_at_once() {
    let (_here, _there, ours, theirs) = pair(DataChannelInit::default()).await;
    ours.opened().await.unwrap();
    const COUNT: u32 = 200_000;
    let sender = tokio::spawn(async move {
        let numbers = |number: u32| Message::from(number.to_be_bytes().to_vec());
        let mut messages: VecDeque<Message> = (0..COUNT).map(numbers).collect();
        // More than a buffer holds; and whoever gives up in between has what is left.
        while !messages.is_empty() {
            let before = messages.len();
            if timeout(Duration::from_millis(1), ours.send_all(&mut messages)).await.is_err() {
                assert!(messages.len() <= before);
            }
        }
        ours
    });
    let (mut messages, mut next) = (Vec::new(), 0);
    while next < COUNT {
        let count = timeout(LONG, theirs.recv_many(&mut messages, 100)).await.unwrap();
        assert!((1..=100).contains(&count) && count == messages.len());
        for message in messages.drain(..) {
            assert_eq!(message.as_bytes(), next.to_be_bytes());
            next += 1;
        }
    }
    assert_eq!(theirs.recv_many(&mut messages, 0).await, 0);
    let ours = sender.await.unwrap();
    ours.close().await.unwrap();
    assert_eq!(timeout(LONG, theirs.recv_many(&mut messages, 100)).await.unwrap(), 0, "it has ended");
}

//! Many connections on one port of this machine.

use std::collections::BTreeSet;
use std::time::Duration;

use sterna::{Configuration, DataChannel, DataChannelInit, Endpoint, Error, PeerConnection, PeerEvent};
use tokio::time::timeout;

/// Long for a machine that is busy with other tests; never reached otherwise.
const LONG: Duration = Duration::from_secs(60);

/// Only loopback: tests bother no network.
fn configuration() -> Configuration {
    Configuration { trickle: false, include_loopback: true, ..Configuration::default() }
}

async fn endpoint() -> Endpoint {
    Endpoint::bind(["127.0.0.1:0".parse().unwrap()]).await.unwrap()
}

/// The next channel that the other side makes.
async fn accepted(connection: &PeerConnection) -> DataChannel {
    loop {
        let event = timeout(LONG, connection.next_event()).await.unwrap();
        if let PeerEvent::DataChannel(channel) = event.expect("closed before a channel came") {
            return channel;
        }
    }
}

/// A guest, its channel, and the endpoint's end.
async fn invite(endpoint: &Endpoint) -> (PeerConnection, DataChannel, PeerConnection) {
    let guest = PeerConnection::new(configuration()).unwrap();
    let channel = guest.create_data_channel("chat", DataChannelInit::default()).unwrap();
    let here = endpoint.connection(configuration()).unwrap();
    here.set_remote_description(guest.set_local_description(None).await.unwrap()).await.unwrap();
    guest.set_remote_description(here.set_local_description(None).await.unwrap()).await.unwrap();
    (guest, channel, here)
}

#[tokio::test]
async fn fifty_share_a_port_and_nobody_hears_another() {
    let endpoint = endpoint().await;
    let port = endpoint.local_addresses()[0].port();
    let mut guests = Vec::new();
    for _ in 0..50 {
        guests.push(invite(&endpoint).await);
    }
    assert_eq!(endpoint.connections(), 50);
    let mut paths = BTreeSet::new();
    for (number, (guest, channel, here)) in guests.iter().enumerate() {
        let told = timeout(LONG, guest.connected()).await.unwrap().unwrap();
        assert_eq!(told.remote_address.unwrap().port(), port);
        paths.insert(told.local_address);
        let other = accepted(here).await;
        // More than a window, both ways at once: the endpoint's task serves all.
        let bytes = vec![number as u8; 200_000];
        for _ in 0..4 {
            channel.send(bytes.clone()).await.unwrap();
            other.send(bytes.clone()).await.unwrap();
        }
        for _ in 0..4 {
            for one in [channel, &other] {
                assert_eq!(timeout(LONG, one.recv()).await.unwrap().unwrap().as_bytes(), bytes);
            }
        }
        other.close().await.unwrap();
    }
    assert_eq!(paths.len(), 50);
    // Whoever closes, the endpoint keeps nothing.
    for (number, (guest, channel, here)) in guests.into_iter().enumerate() {
        drop(channel);
        match number % 3 {
            0 => guest.close().await,
            1 => here.close().await,
            _ => drop((guest, here)),
        }
    }
    let empty = async {
        while endpoint.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, empty).await.expect("connections are left");
}

#[tokio::test]
async fn the_port_is_given_back_after_the_last_connection() {
    let first = endpoint().await;
    let address = first.local_addresses()[0];
    match Endpoint::bind([address]).await {
        Err(error @ Error::Bind { .. }) => assert!(error.to_string().contains("in use"), "{error}"),
        other => panic!("{other:?}"),
    }
    let (guest, channel, here) = invite(&first).await;
    drop(first);
    channel.send("still there?").await.unwrap();
    assert_eq!(accepted(&here).await.recv().await.unwrap().as_text(), Some("still there?"));
    here.close().await;
    drop((guest, channel, here));
    let bound = async {
        loop {
            match Endpoint::bind([address]).await {
                Ok(endpoint) => return endpoint,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    };
    timeout(LONG, bound).await.expect("the port is still taken");
}

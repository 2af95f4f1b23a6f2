use sterna::Congestion;
use sterna::prelude::*;

use crate::Failure;
use crate::contestant::{Count, Terms, rest, tell};

const MESSAGE: usize = 16 * 1024;

fn connection(congestion: &str) -> Result<(PeerConnection, DataChannel), Failure> {
    let congestion = if congestion == "bbr" { Congestion::Bbr } else { Congestion::Cubic };
    let configuration = Configuration { trickle: false, congestion, ..Configuration::default() };
    let connection = PeerConnection::new(configuration)?;
    let init = DataChannelInit { negotiated: true, id: Some(0), ..DataChannelInit::default() };
    let channel = connection.create_data_channel("bulk", init)?;
    Ok((connection, channel))
}

#[tokio::main]
pub(crate) async fn give(
    congestion: &str,
    said: impl Fn() -> std::io::Result<String>,
) -> Result<(), Failure> {
    let (connection, channel) = connection(congestion)?;
    tell(&serde_json::to_string(&connection.set_local_description(None).await?)?)?;
    connection.set_remote_description(serde_json::from_str(&said()?)?).await?;
    channel.opened().await?;
    let message = Message::from(vec![7; MESSAGE]);
    loop {
        channel.send(message.clone()).await?;
    }
}

#[tokio::main]
pub(crate) async fn take(congestion: &str, offer: &str, terms: Terms) -> Result<(), Failure> {
    let (connection, channel) = connection(congestion)?;
    connection.set_remote_description(serde_json::from_str(offer)?).await?;
    tell(&serde_json::to_string(&connection.set_local_description(None).await?)?)?;
    let mut count = Count::new(terms);
    while let Some(message) = channel.recv().await {
        if let Some(bits) = count.add(message.len()) {
            tell(&bits.to_string())?;
            return rest();
        }
    }
    Err("it ended early".into())
}

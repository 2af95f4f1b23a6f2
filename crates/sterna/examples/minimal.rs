//! A channel between two processes with no server at all. In one terminal, and then in another, in the same directory:
//! `cargo run -p sterna --example minimal offer`, `cargo run -p sterna --example minimal answer`.
//! The two descriptions travel as files; a chat or an e-mail would do.

use std::{error::Error, fs, time::Duration};

use sterna::prelude::*;

/// Puts our description into one file and waits for the other side's in another.
async fn write(name: &str, description: SessionDescription) -> Result<(), Box<dyn Error>> {
    fs::write("writing.json", serde_json::to_string(&description)?)?;
    Ok(fs::rename("writing.json", name)?)
}

async fn read(name: &str) -> Result<SessionDescription, Box<dyn Error>> {
    while !fs::exists(name)? {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let text = fs::read_to_string(name)?;
    fs::remove_file(name)?;
    Ok(serde_json::from_str(&text)?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let peer = PeerConnection::new(Configuration { trickle: false, ..Configuration::default() })?;
    let init = DataChannelInit { negotiated: true, id: Some(0), ..DataChannelInit::default() };
    let channel = peer.create_data_channel("greetings", init)?;
    if std::env::args().nth(1).as_deref() == Some("offer") {
        write("offer.json", peer.set_local_description(None).await?).await?;
        peer.set_remote_description(read("answer.json").await?).await?;
    } else {
        peer.set_remote_description(read("offer.json").await?).await?;
        write("answer.json", peer.set_local_description(None).await?).await?;
    }
    println!("{}", peer.connected().await?);
    channel.send(format!("Hello from process {}!", std::process::id())).await?;
    println!("{:?}", channel.recv().await.ok_or("the other side is gone")?);
    peer.close().await;
    Ok(())
}

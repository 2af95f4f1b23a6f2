//! How fast a channel is on this machine: two connections in one process, over loopback, messages one way.
//! `cargo run --release -p sterna --example throughput [MiB] [bytes per message]`

use std::error::Error;
use std::time::Instant;

use sterna::prelude::*;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|number| number.parse::<usize>());
    let total = numbers.next().transpose()?.unwrap_or(1024) << 20;
    let size = numbers.next().transpose()?.unwrap_or(16 * 1024);

    let configuration = Configuration { trickle: false, ..Configuration::default() };
    let (here, there) = (PeerConnection::new(configuration.clone())?, PeerConnection::new(configuration)?);
    let init = DataChannelInit { negotiated: true, id: Some(0), ..DataChannelInit::default() };
    let (ours, theirs) =
        (here.create_data_channel("bulk", init.clone())?, there.create_data_channel("bulk", init)?);

    let started = Instant::now();
    there.set_remote_description(here.set_local_description(None).await?).await?;
    here.set_remote_description(there.set_local_description(None).await?).await?;
    ours.opened().await?;
    println!("open after {:.1} ms: {}", started.elapsed().as_secs_f64() * 1e3, here.connected().await?);

    let started = Instant::now();
    let sender = tokio::spawn(async move {
        let message = Message::from(vec![7; size]);
        for _ in 0..total.div_ceil(size) {
            ours.send(message.clone()).await?;
        }
        ours.close().await
    });
    let (mut received, mut mark, mut since) = (0, 0, started);
    while let Some(message) = theirs.recv().await {
        received += message.len();
        if received - mark >= total / 8 {
            println!(
                "{:5} MiB  {:6.1} MB/s",
                received >> 20,
                (received - mark) as f64 / 1e6 / since.elapsed().as_secs_f64()
            );
            (mark, since) = (received, Instant::now());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{received} bytes in {seconds:.2} s: {:.1} MB/s", received as f64 / 1e6 / seconds);
    sender.await??;
    println!("all acknowledged and closed after {:.2} s", started.elapsed().as_secs_f64());
    Ok(())
}

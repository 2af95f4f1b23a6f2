//! What ten thousand idle connections cost a server: memory, and the processor's time. They share one port; their other
//! ends are in processes of their own. `cargo run --release -p sterna --example idle [how many]` (Linux)

#[path = "../tests/cycle/mod.rs"]
#[allow(dead_code, reason = "half of it is for cycles")]
mod cycle;

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use cycle::Holdings;
use sterna::Endpoint;
use sterna::prelude::*;

/// Guests of one process: each has a socket or two, of which a process may have so many.
const GUESTS: usize = 2500;
/// What has to be over before memory is looked at: nomination, and spare memory that is given back.
const SETTLED: Duration = Duration::from_secs(6);
const IDLE: Duration = Duration::from_secs(30);

type Outcome<T> = Result<T, Box<dyn Error>>;

fn configuration() -> Configuration {
    Configuration { trickle: false, include_loopback: true, ..Configuration::default() }
}

fn say(out: &mut impl Write, description: &SessionDescription) -> Outcome<()> {
    writeln!(out, "{}", serde_json::to_string(description)?)?;
    Ok(out.flush()?)
}

fn hear(from: &mut impl BufRead) -> Outcome<SessionDescription> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// The other ends: each offers, takes its answer, and then does nothing until this process is ended.
async fn guests(count: usize) -> Outcome<()> {
    let (mut answers, mut offers, mut all) = (std::io::stdin().lock(), std::io::stdout(), Vec::new());
    for _ in 0..count {
        let guest = PeerConnection::new(configuration())?;
        let channel = guest.create_data_channel("idle", DataChannelInit::default())?;
        say(&mut offers, &guest.set_local_description(None).await?)?;
        guest.set_remote_description(hear(&mut answers)?).await?;
        channel.opened().await?;
        all.push((guest, channel));
    }
    answers.read_line(&mut String::new())?;
    Ok(())
}

/// A process of guests. They are spoken to in turns, so that nobody minds waiting.
struct House {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl House {
    fn start(count: usize) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["guests", &count.to_string()]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = process.stdin.take().ok_or("it is piped")?;
        let output = BufReader::new(process.stdout.take().ok_or("it is piped")?);
        Ok(Self { process, input, output })
    }

    /// Lets its next guest in.
    async fn admit(&mut self, endpoint: &Endpoint) -> Outcome<(PeerConnection, DataChannel)> {
        let offer = hear(&mut self.output)?;
        let here = endpoint.connection(configuration())?;
        here.set_remote_description(offer).await?;
        say(&mut self.input, &here.set_local_description(None).await?)?;
        loop {
            if let PeerEvent::DataChannel(channel) = here.next_event().await.ok_or("it ended")? {
                return Ok((here, channel));
            }
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Seconds of the processor's time that this process has had.
fn processor() -> Outcome<f64> {
    let mut nanoseconds = 0;
    for thread in std::fs::read_dir("/proc/self/task")? {
        let times = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += times.split(' ').next().ok_or("no time")?.parse::<u64>()?;
    }
    Ok(nanoseconds as f64 / 1e9)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, count] = &arguments[..]
        && role == "guests"
    {
        return guests(count.parse()?).await;
    }
    let count: usize = arguments.first().map_or(Ok(10_000), |count| count.parse())?;
    let endpoint = Endpoint::bind(["127.0.0.1:0".parse()?]).await?;
    let mut all = Vec::new();
    // The first ones find out what is needed once.
    let mut first = House::start(10)?;
    for _ in 0..10 {
        all.push(first.admit(&endpoint).await?);
    }
    tokio::time::sleep(SETTLED).await;
    let (before, used, started) = (Holdings::now().memory, processor()?, Instant::now());
    let mut houses = Vec::new();
    for begin in (0..count).step_by(GUESTS) {
        let guests = GUESTS.min(count - begin);
        let mut house = House::start(guests)?;
        for _ in 0..guests {
            all.push(house.admit(&endpoint).await?);
        }
        houses.push(house);
    }
    let (took, used) = (started.elapsed().as_secs_f64(), processor()? - used);
    println!(
        "{count} connections after {took:.1} s; {:.2} ms of the processor's time each",
        used * 1e3 / count as f64
    );
    tokio::time::sleep(SETTLED).await;
    let memory = Holdings::now().memory.saturating_sub(before);
    println!("memory: {:.1} KB each", memory as f64 / 1e3 / count as f64);
    let used = processor()?;
    tokio::time::sleep(IDLE).await;
    let used = (processor()? - used) / IDLE.as_secs_f64();
    println!("idle: {:.1} % of one core for all", used * 100.0);
    println!("connections: {}", endpoint.connections());
    Ok(())
}

//! A call between a connection of ours and somebody else's, in which all that comes to us goes back.

mod echo;
mod library;
mod lossy;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use relay::{Relay, RelayConfig};
use serde_json::{Value, json};
use sterna::{
    Configuration, Direction, IceCandidateInit, IceServer, IceTransportPolicy, MediaKind, PathKind,
    SessionDescription, Transceiver,
};
use sterna_interop::{FOLDER, Foreign};
use tokio::process::Command;
use tokio::task::JoinHandle;
use turn::{Auth, ServerConfig};

use echo::Echo;
pub(crate) use library::{Library, Offers};
use lossy::Lossy;

/// How the two meet.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(crate) enum Way {
    #[default]
    Direct,
    /// By a relay of ours alone.
    Relayed,
    /// Such a part of the packets of media is lost, both ways.
    Lossy(f64),
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rig {
    pub(crate) way: Way,
    /// Chromium sends its pictures in three sizes.
    pub(crate) simulcast: bool,
}

pub(crate) struct Call {
    pub(crate) echo: Echo,
    chromium: Foreign,
    lossy: Option<Lossy>,
    path: PathKind,
    tasks: Vec<JoinHandle<()>>,
}

/// What Chromium tells of its side.
pub(crate) struct Seen(Value);

impl Call {
    /// Chromium offers and we answer; all that comes goes back. `None` if it is missing.
    pub(crate) async fn start(rig: Rig) -> Option<Self> {
        let chromium = start_chromium(rig.simulcast)?;
        let mut configuration = Configuration::default();
        let mut tasks = Vec::new();
        if rig.way == Way::Relayed {
            let (server, task) = relay();
            tasks.push(task);
            configuration.ice_transport_policy = IceTransportPolicy::Relay;
            configuration.ice_servers =
                vec![IceServer::new(format!("turn:{server}")).with_credential("user", "secret")];
            configuration.include_loopback = true;
        }
        let echo = Echo::new(configuration);
        let lossy = match rig.way {
            Way::Lossy(part) => Some(Lossy::new(part).await),
            _ => None,
        };
        let path = PathKind::Direct;
        let mut call = Self { echo, chromium, lossy, path, tasks };
        let offer = call.chromium.event("description").await;
        call.answers(&offer).await;
        call.path = call.echo.connection.connected().await.unwrap().kind;
        Some(call)
    }

    /// Chromium has offered.
    async fn answers(&mut self, offer: &Value) {
        self.echo.connection.set_remote_description(self.without_addresses(read(offer))).await.unwrap();
        // What comes goes back the same way.
        for transceiver in self.echo.connection.transceivers() {
            if transceiver.direction() == Direction::Recvonly {
                transceiver.set_direction(Direction::Sendrecv).unwrap();
            }
        }
        let answer = self.echo.connection.set_local_description(None).await.unwrap();
        let answer = self.without_addresses(answer);
        self.chromium.tell(&serde_json::to_value(answer).unwrap()).await;
        self.exchanges_candidates().await;
    }

    /// Who is to go by what loses packets must not find a way around it.
    fn without_addresses(&self, mut description: SessionDescription) -> SessionDescription {
        if self.lossy.is_some() {
            let kept = description.sdp.split_inclusive('\n').filter(|line| !line.starts_with("a=candidate:"));
            description.sdp = kept.collect();
        }
        description
    }

    /// Until each side has told all of its own, and Chromium has taken our answer.
    async fn exchanges_candidates(&mut self) {
        self.echo.connection.gathering_complete().await.unwrap();
        while let Ok(candidate) = self.echo.candidates.try_recv() {
            let Some(candidate) = candidate else { continue };
            let told = match &self.lossy {
                Some(lossy) => lossy.ours(&candidate),
                None => Some(candidate),
            };
            if let Some(told) = told {
                self.chromium.tell(&json!({ "candidate": told })).await;
            }
        }
        let mut left = 2;
        while left > 0 {
            let told = self.chromium.one_of(&["candidate", "stable"]).await;
            if told["candidate"].is_null() {
                left -= 1;
                continue;
            }
            let candidate: IceCandidateInit = serde_json::from_value(told["candidate"].clone()).unwrap();
            let told = match &self.lossy {
                Some(lossy) => lossy.theirs(&candidate),
                None => Some(candidate),
            };
            if told.is_some() {
                self.echo.connection.add_ice_candidate(told).await.unwrap();
            }
        }
    }

    pub(crate) fn path(&self) -> PathKind {
        self.path
    }

    pub(crate) fn transceivers(&self) -> Vec<Transceiver> {
        self.echo.connection.transceivers()
    }

    pub(crate) async fn look(&mut self) -> Seen {
        self.chromium.tell(&json!({ "look": true })).await;
        Seen(self.chromium.event("seen").await)
    }

    /// Waits until Chromium shows what its camera shows.
    pub(crate) async fn shows_the_bars(&mut self) {
        while !self.look().await.is_bars() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until Chromium hears its own beep.
    pub(crate) async fn hears(&mut self) {
        while self.look().await.inbound("audio")["totalAudioEnergy"].as_f64().is_none_or(|it| it < 1e-4) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Pictures come and are shown, more than before.
    pub(crate) async fn goes_on(&mut self) {
        let decoded = |seen: &Seen| seen.inbound("video")["framesDecoded"].as_u64().unwrap();
        let before = decoded(&self.look().await);
        self.echo.has_come(MediaKind::Video, 20).await;
        while decoded(&self.look().await) < before + 20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) async fn adds_a_screen(&mut self) {
        self.chromium.tell(&json!({ "screen": true })).await;
        let offer = self.chromium.event("description").await;
        self.renegotiates(&offer).await;
    }

    pub(crate) async fn restarts_ice(&mut self) {
        self.chromium.tell(&json!({ "offer": true, "restart": true })).await;
        let offer = self.chromium.event("description").await;
        self.answers(&offer).await;
    }

    /// Without new candidates.
    async fn renegotiates(&mut self, offer: &Value) {
        self.echo.connection.set_remote_description(read(offer)).await.unwrap();
        let answer = self.echo.connection.set_local_description(None).await.unwrap();
        self.chromium.tell(&serde_json::to_value(answer).unwrap()).await;
        self.chromium.event("stable").await;
    }

    /// We offer another direction for sound.
    pub(crate) async fn turns_sound(&mut self, direction: Direction) {
        let sound = self.echo.connection.transceivers().into_iter().find(|it| it.kind() == MediaKind::Audio);
        let sound = sound.expect("there is sound");
        sound.set_direction(direction).unwrap();
        let offer = self.echo.connection.set_local_description(None).await.unwrap();
        self.chromium.tell(&serde_json::to_value(offer).unwrap()).await;
        let answer = self.chromium.event("description").await;
        self.echo.connection.set_remote_description(read(&answer)).await.unwrap();
        assert_eq!(sound.current_direction(), Some(direction));
    }

    /// Waits until Chromium shows a picture of this width.
    pub(crate) async fn shows_width(&mut self, width: u64) {
        while self.look().await.0["shown"][0]["width"] != width {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Chromium hangs up.
    pub(crate) async fn ends(mut self) {
        self.chromium.quit().await;
        self.echo.connection.close().await;
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Seen {
    pub(crate) fn inbound(&self, kind: &str) -> &Value {
        let all = self.0["inbound"].as_array().expect("a list");
        all.iter().find(|it| it["kind"] == kind).unwrap_or(&Value::Null)
    }

    pub(crate) fn outbound(&self, kind: &str, rid: Option<&str>) -> &Value {
        let all = self.0["outbound"].as_array().expect("a list");
        let is = |it: &&Value| it["kind"] == kind && rid.is_none_or(|rid| it["rid"] == rid);
        all.iter().find(is).unwrap_or(&Value::Null)
    }

    /// Whether the first picture shows the eight bars, each in about its colour.
    fn is_bars(&self) -> bool {
        const BARS: [[i64; 3]; 8] = [
            [235, 235, 235],
            [235, 235, 16],
            [16, 235, 235],
            [16, 235, 16],
            [235, 16, 235],
            [235, 16, 16],
            [16, 16, 235],
            [128, 128, 128],
        ];
        let Some(colours) = self.0["shown"][0]["colours"].as_array() else { return false };
        colours.len() == BARS.len()
            && colours.iter().zip(BARS).all(|(seen, bar)| {
                (0..3).all(|at| seen[at].as_i64().is_some_and(|seen| (seen - bar[at]).abs() < 48))
            })
    }
}

fn start_chromium(simulcast: bool) -> Option<Foreign> {
    let Some(chromium) = sterna_interop::chromium() else {
        sterna_interop::missing("chromium");
        return None;
    };
    if !sterna_interop::packages() {
        sterna_interop::missing("playwright-core (npm)");
        return None;
    }
    let mut command = Command::new("node");
    command.arg("browser/media.mjs").args(simulcast.then_some("simulcast"));
    command.current_dir(FOLDER).env("CHROMIUM", chromium);
    Some(Foreign::start(command))
}

/// A TURN server of ours that relays to this machine.
fn relay() -> (SocketAddr, JoinHandle<()>) {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let seed = sansio::Seed(crypto::seed());
    let mut server = ServerConfig::new("test", loopback, Auth::user("user", "secret"), seed);
    for network in ["0.0.0.0/0", "::/0"] {
        server.policy = server.policy.allow(network.parse().unwrap());
    }
    let any = SocketAddr::new(loopback, 0);
    let relay = Relay::bind(RelayConfig { udp: vec![any], ..RelayConfig::new(server) }).unwrap();
    let (_, address) = relay.addresses()[0];
    (address, tokio::spawn(async move { relay.run(std::future::pending::<()>()).await }))
}

fn read(event: &Value) -> SessionDescription {
    serde_json::from_value(json!({ "type": event["type"], "sdp": event["sdp"] })).unwrap()
}

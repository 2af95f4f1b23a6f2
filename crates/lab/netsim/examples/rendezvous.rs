//! A game without a server: two players who know a meeting point try to reach each other through every pair of NATs.
//! Prints who gets through to whom, and with a folder as argument writes a capture of every pair's first player
//! there, for Wireshark.
//!
//! ```text
//! cargo run -p sterna-netsim --example rendezvous -- /tmp/captures
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Datagram, Machine, Outbox, Path, Time};
use sterna_netsim::{HostId, Net, Preset};

const PORT: u16 = 7777;
const EVERY: Duration = Duration::from_millis(200);

/// Tells each of two players where the other one is, as far as it can see.
struct MeetingPoint {
    players: Vec<Path>,
}

impl Machine for MeetingPoint {
    type Addr = Path;
    type Event = ();

    fn handle_datagram(&mut self, _: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        if !self.players.contains(&datagram.from) {
            self.players.push(datagram.from);
        }
        let other = self.players.iter().find(|player| **player != datagram.from);
        if let Some(other) = other {
            out.send_bytes(datagram.from, format!("other {}", other.remote).as_bytes());
        }
    }

    fn handle_timeout(&mut self, _: Time) {}

    fn poll_transmit(&mut self, _: Time, _: &mut dyn Outbox) {}

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<Time> {
        None
    }
}

/// Asks the meeting point where the other one is, knocks there, and answers to wherever a knock comes from.
struct Player {
    meeting_point: Path,
    other: Option<SocketAddr>,
    next: Time,
    due: bool,
    /// A knock came in, and an answer to one of ours.
    reached: bool,
    told: bool,
}

impl Machine for Player {
    type Addr = Path;
    /// The other one hears us, and we hear him.
    type Event = ();

    fn handle_datagram(&mut self, _: Time, datagram: Datagram<'_>, out: &mut dyn Outbox) {
        let text = String::from_utf8_lossy(datagram.payload);
        if let Some(other) = text.strip_prefix("other ") {
            self.other = self.other.or(other.parse().ok());
        } else if text == "knock" {
            // This may be another address than the meeting point saw: the NAT has a mapping for each remote end.
            self.other = Some(datagram.from.remote);
            out.send_bytes(datagram.from, b"come in");
        } else if text == "come in" {
            self.reached = true;
        }
    }

    fn handle_timeout(&mut self, now: Time) {
        if self.next <= now {
            self.next = now + EVERY;
            self.due = true;
        }
    }

    fn poll_transmit(&mut self, _: Time, out: &mut dyn Outbox) {
        if self.due {
            self.due = match self.other {
                Some(other) => {
                    let path = Path { remote: other, ..self.meeting_point };
                    !out.send_bytes(path, b"knock")
                }
                None => !out.send_bytes(self.meeting_point, b"where is everybody?"),
            };
        }
    }

    fn poll_event(&mut self) -> Option<()> {
        let news = self.reached && !std::mem::replace(&mut self.told, self.reached);
        news.then_some(())
    }

    fn poll_timeout(&self) -> Option<Time> {
        Some(self.next)
    }
}

fn add_player(net: &mut Net, name: &str, preset: Preset, server: SocketAddr) -> HostId {
    let home = net.add_preset(Net::INTERNET, &format!("{name}'s {preset}"), preset);
    let host = net.add_host(name, &[home]);
    let meeting_point = Path::udp(net.socket(host, PORT), server);
    net.bind(host, meeting_point.local).expect("nobody has the port");
    let (other, next) = (None, Time::ZERO);
    net.start(host, Player { meeting_point, other, next, due: false, reached: false, told: false });
    host
}

/// How long it takes two players to hear each other; `None`: longer than ten seconds.
fn play(presets: [Preset; 2], captures: Option<&str>) -> Option<Duration> {
    let mut net = Net::new(1);
    if captures.is_some() {
        net.trace_mut().keep_payloads();
    }
    let meeting_point = net.add_host("meeting-point", &[Net::INTERNET]);
    let server = net.socket(meeting_point, PORT);
    net.bind(meeting_point, server).expect("nobody has the port");
    net.start(meeting_point, MeetingPoint { players: Vec::new() });
    let players =
        [("alice", presets[0]), ("bob", presets[1])].map(|(name, it)| add_player(&mut net, name, it, server));
    let mut happy = [false; 2];
    let met = net.run_until(Duration::from_secs(10), |net| {
        for (happy, player) in happy.iter_mut().zip(players) {
            *happy |= !net.events::<Player>(player).is_empty();
        }
        happy == [true; 2]
    });
    if let Some(folder) = captures {
        let file = format!("{folder}/{}-{}.pcapng", presets[0], presets[1]);
        std::fs::write(&file, net.trace().pcapng(net.place(players[0])))
            .expect("the folder can be written to");
    }
    met.then(|| net.now().elapsed())
}

fn main() {
    let captures = std::env::args().nth(1);
    let presets: Vec<Preset> = Preset::ALL.into_iter().filter(|it| *it != Preset::Nat64).collect();
    for preset in &presets {
        println!("{preset:>18}  {}", preset.describe());
    }
    println!();
    for left in &presets {
        print!("{left:>18}  ");
        for right in &presets {
            match play([*left, *right], captures.as_deref()) {
                Some(took) => print!("{:>5}", took.as_millis()),
                None => print!("    –"),
            }
        }
        println!("  ms");
    }
}

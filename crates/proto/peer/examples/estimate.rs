//! Draws what a call in the simulated internet believes its way can carry, beside what it can: `docs/estimate.svg`.
//!
//! `cargo run --release -p sterna-peer --example estimate > docs/estimate.svg`

#[path = "../tests/world/mod.rs"]
mod world;

use std::fmt::Write as _;
use std::time::Duration;

use netsim::{Direction, Link, NatBehaviour, Net};
use sterna_peer::{Event, MediaKind, OutgoingFrame, TransceiverId, WriteError};
use world::{A, B, Places, Signalling, World};

/// How long each call lasts.
const SECONDS: u32 = 40;
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// A picture 30 times a second.
const PICTURE: Duration = Duration::from_nanos(1_000_000_000 / 30);

/// A way that changes.
struct Course {
    name: &'static str,
    /// From which second on it carries so many bits a second, and loses so many of its packets.
    legs: &'static [(f64, u64, f64)],
}

const COURSES: [Course; 3] = [
    Course {
        name: "a way that widens and narrows",
        legs: &[(0.0, 1_000_000, 0.0), (10.0, 3_000_000, 0.0), (20.0, 1_500_000, 0.0), (30.0, 800_000, 0.0)],
    },
    Course {
        name: "the same, and one in twenty packets is lost",
        legs: &[
            (0.0, 1_000_000, 0.05),
            (10.0, 3_000_000, 0.05),
            (20.0, 1_500_000, 0.05),
            (30.0, 800_000, 0.05),
        ],
    },
    Course {
        name: "from narrow to wide, by steps of more than two",
        legs: &[(0.0, 300_000, 0.0), (10.0, 1_000_000, 0.0), (20.0, 4_000_000, 0.0), (30.0, 12_000_000, 0.0)],
    },
];

/// What was seen at a moment.
struct Sample {
    at: f64,
    capacity: f64,
    estimate: f64,
    wait: Duration,
}

impl Course {
    fn leg(&self, at: f64) -> (u64, f64) {
        let leg =
            self.legs.iter().rev().find(|(from, ..)| *from <= at).expect("the first begins with the call");
        (leg.1, leg.2)
    }

    fn link(&self, at: f64) -> Link {
        let (rate, loss) = self.leg(at);
        // Half a second's worth: what waits is seen, not dropped.
        Link { rate: Some(rate), queue: rate as usize / 16, ..Link::delay_ms(12).with_loss(loss) }
    }

    /// One side sends pictures, as many bits as it is told to, and the other looks at them.
    fn sail(&self) -> Vec<Sample> {
        let places = |net: &mut Net| {
            let nets = ["one", "two"].map(|name| {
                let network = net.add_network(Net::INTERNET, name, NatBehaviour::none());
                net.set_link(net.uplink(network), Link::delay_ms(12));
                network
            });
            Places { nets, turn: None }
        };
        let mut world = World::build_with(1, Signalling::default(), places, |_, _, configuration| {
            configuration.media = Some(Box::default());
        });
        let uplink = world.net.uplink(world.nets[A]);
        let track =
            world.with(A, |it, now| it.add_track(now, MediaKind::Video, Vec::new())).expect("it is new");
        let mut sender = Sender::new(track);
        let (mut begun, mut seen) = (None, 0);
        let mut samples = Vec::new();
        while samples.len() < (SECONDS * 100) as usize {
            world.run_for(LOOK);
            let now = world.net.now().elapsed();
            {
                let sides = world.sides.read().expect("nobody panicked");
                sides[A].events[seen..].iter().for_each(|event| sender.hear(event));
                seen = sides[A].events.len();
            }
            sender.send(&mut world, now);
            if sender.sent == 0 {
                continue;
            }
            let at = (now - *begun.get_or_insert(now)).as_secs_f64();
            let link = self.link(at);
            if world.net.link(uplink, Direction::Up) != &link {
                world.net.set_link_towards(uplink, Direction::Up, link);
            }
            let statistics = world.connection(A).media_statistics().expect("there is media");
            samples.push(Sample {
                at,
                capacity: self.leg(at).0 as f64,
                estimate: statistics.available_outgoing_bitrate,
                wait: world.net.wait(uplink, Direction::Up),
            });
        }
        assert!(
            world.sides.read().expect("nobody panicked")[B]
                .count(|it| matches!(it, Event::FrameReceived { .. }))
                > 900
        );
        samples
    }
}

/// An encoder that keeps to what it is told.
struct Sender {
    track: TransceiverId,
    bits_per_second: u64,
    key_frame: bool,
    sent: u32,
    next: Duration,
}

impl Sender {
    fn new(track: TransceiverId) -> Self {
        Self { track, bits_per_second: 0, key_frame: true, sent: 0, next: Duration::ZERO }
    }

    fn hear(&mut self, event: &Event) {
        match event {
            Event::BitrateChanged { bits_per_second, .. } => self.bits_per_second = *bits_per_second,
            Event::KeyFrameRequested { .. } => self.key_frame = true,
            _ => {}
        }
    }

    fn send(&mut self, world: &mut World, now: Duration) {
        if now < self.next {
            return;
        }
        self.next = if self.next.is_zero() { now } else { self.next } + PICTURE;
        // Pictures differ: from seven to thirteen tenths of the mean, and more for one that needs no others.
        let part = 0.7 + 0.6 * f64::from(self.sent * 7919 % 101) / 100.0;
        let bytes = self.bits_per_second as f64 / 8.0
            * PICTURE.as_secs_f64()
            * if self.key_frame { 1.5 } else { part };
        let head = if self.key_frame { [0x10, 0, 0, 0x9d, 0x01, 0x2a] } else { [0x11, 0, 0, 1, 2, 3] };
        let data = [&head[..], &vec![0x55; (bytes as usize).max(100)]].concat();
        let frame = OutgoingFrame { data: &data, time: now, ..OutgoingFrame::default() };
        match world.with(A, |it, at| it.write_frame(at, self.track, None, &frame)) {
            Ok(()) => (self.sent, self.key_frame) = (self.sent + 1, false),
            Err(WriteError::KeyFrameNeeded | WriteError::Paused) => self.key_frame = true,
            Err(_) => {}
        }
    }
}

/// Pixels: of a picture of one call, and around its parts.
const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 56.0;
const RATES: [f64; 2] = [34.0, 176.0];
const WAITS: [f64; 2] = [196.0, 232.0];
/// The most that the lower part shows.
const LONGEST: f64 = 250.0;

fn main() {
    let mut svg = String::new();
    let height = HEIGHT * COURSES.len() as f64 + 8.0;
    let style = "svg{background:#fff;color:#1b2733;font:12px system-ui,sans-serif}text{fill:currentColor}\
        .truth{fill:#c9d6df}.estimate{fill:none;stroke:#0b66c3;stroke-width:1.6}.wait{fill:none;stroke:#c2410c;stroke-width:1.2}\
        .grid{stroke:currentColor;stroke-opacity:.18}\
        @media(prefers-color-scheme:dark){svg{background:#10171e;color:#dbe5ec}.truth{fill:#33434f}.estimate{stroke:#6db3ff}.wait{stroke:#ff9a62}}";
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"Estimate beside capacity\"><style>{style}</style>"
    );
    for (number, course) in COURSES.iter().enumerate() {
        let samples = course.sail();
        tell(course, &samples);
        let _ = writeln!(svg, "<g transform=\"translate(0 {})\">", HEIGHT * number as f64);
        draw(&mut svg, course, &samples);
        svg.push_str("</g>\n");
    }
    svg.push_str("</svg>");
    println!("{svg}");
}

/// The same in words, on standard error.
fn tell(course: &Course, samples: &[Sample]) {
    eprintln!("{}:", course.name);
    for (number, (from, rate, _)) in course.legs.iter().enumerate() {
        let until = course.legs.get(number + 1).map_or(f64::INFINITY, |leg| leg.0);
        let leg = || samples.iter().filter(|it| (*from..until).contains(&it.at));
        let found = leg().find(|it| it.estimate >= 0.9 * it.capacity && it.estimate <= 1.1 * it.capacity);
        let longest =
            |after: f64| leg().filter(|it| it.at >= from + after).map(|it| it.wait).max().unwrap_or_default();
        let late: Vec<f64> =
            leg().filter(|it| it.at >= from + 4.0).map(|it| it.estimate / it.capacity).collect();
        eprintln!(
            "  {:>5.1} Mbit/s: within a tenth of it after {:.2} s; waits {:.0?} at most, {:.0?} after two seconds; then {:.2} of it",
            *rate as f64 / 1e6,
            found.map_or(f64::NAN, |it| it.at - from),
            longest(0.0),
            longest(2.0),
            late.iter().sum::<f64>() / late.len() as f64,
        );
    }
}

fn draw(svg: &mut String, course: &Course, samples: &[Sample]) {
    let most = course.legs.iter().map(|leg| leg.1 as f64).fold(0.0, f64::max) * 1.15;
    let x = |at: f64| LEFT + at / f64::from(SECONDS) * (WIDTH - LEFT - 12.0);
    let rate = |bits: f64| RATES[1] - (bits / most).min(1.0) * (RATES[1] - RATES[0]);
    let wait =
        |wait: Duration| WAITS[1] - (wait.as_secs_f64() * 1000.0 / LONGEST).min(1.0) * (WAITS[1] - WAITS[0]);
    let _ = write!(svg, "<text x=\"{LEFT}\" y=\"20\" font-weight=\"600\">{}</text>", course.name);
    let _ = write!(
        svg,
        "<text x=\"{}\" y=\"20\" text-anchor=\"end\">grey: what the way carries; blue: the estimate; red: how long packets wait</text>",
        WIDTH - 12.0
    );
    let mut truth = format!("M{:.1} {:.1}", x(0.0), RATES[1]);
    for (number, leg) in course.legs.iter().enumerate() {
        let until = course.legs.get(number + 1).map_or(f64::from(SECONDS), |leg| leg.0);
        let _ = write!(truth, "L{:.1} {:.1}H{:.1}", x(leg.0), rate(leg.1 as f64), x(until));
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{:.1} Mbit/s</text>",
            x(until) - 6.0,
            rate(leg.1 as f64) - 5.0,
            leg.1 as f64 / 1e6
        );
    }
    let _ = write!(truth, "V{:.1}Z", RATES[1]);
    svg.insert_str(
        svg.rfind("<text x=\"56\"").unwrap_or(svg.len()),
        &format!("<path class=\"truth\" d=\"{truth}\"/>"),
    );
    for (class, y) in [
        ("estimate", &(|it: &Sample| rate(it.estimate)) as &dyn Fn(&Sample) -> f64),
        ("wait", &|it: &Sample| wait(it.wait)),
    ] {
        let points: String =
            samples.iter().step_by(5).map(|it| format!("{:.1},{:.1} ", x(it.at), y(it))).collect();
        let _ = write!(svg, "<polyline class=\"{class}\" points=\"{}\"/>", points.trim_end());
    }
    for (y, text) in [
        (rate(0.0), "0".to_owned()),
        (wait(Duration::ZERO), "0 ms".to_owned()),
        (wait(Duration::from_millis(100)), "100 ms".to_owned()),
    ] {
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            WIDTH - 12.0,
            LEFT - 6.0,
            y + 4.0
        );
    }
    for second in (0..=SECONDS).step_by(5) {
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{second} s</text>",
            x(f64::from(second)),
            WAITS[1] + 18.0
        );
    }
    svg.push('\n');
}

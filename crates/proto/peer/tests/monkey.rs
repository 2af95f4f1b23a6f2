//! Everything that may happen, at any time: whatever was done, a connection that nobody closed works in the end.

mod world;

use std::time::Duration;

use netsim::Hostile;
use sansio::{Machine, Path, Rng, Seed};
use sterna_peer::{
    ChannelState, ConnectionState, DataChannelInit, IceCandidateInit, MessageKind, SendError,
    SessionDescription,
};
use world::{A, B, Signalling, World, seeds};

struct Monkey {
    world: World,
    rng: Rng,
    hostile: Hostile,
    restarts: u32,
}

impl Monkey {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(Seed::from(seed));
        let signalling = Signalling {
            delay: Duration::from_millis(rng.below(60)),
            candidate_delay: Duration::from_millis(rng.below(60)),
            trickle: rng.below(2) == 0,
            ..Signalling::default()
        };
        let mut world = World::lan(seed, signalling);
        world.create_channel(A, "first");
        Self { world, rng, hostile: Hostile::new(seed), restarts: 0 }
    }

    fn any_channel(&mut self, side: usize) -> Option<sterna_peer::ChannelId> {
        let all: Vec<_> = self.world.connection(side).channels().map(|(id, _)| id).collect();
        (!all.is_empty()).then(|| all[self.rng.below(all.len() as u64) as usize])
    }

    fn act(&mut self) {
        let side = self.rng.below(2) as usize;
        match self.rng.below(14) {
            0 => drop(self.world.create_channel(side, "more")),
            1..=4 => {
                let Some(id) = self.any_channel(side) else { return };
                let bytes = vec![side as u8; self.rng.below(20_000) as usize];
                let sent = self.world.with(side, |it, now| it.send(now, id, MessageKind::Binary, &bytes));
                assert!(!matches!(sent, Err(SendError::TooLarge { .. } | SendError::NotText)));
            }
            5 => {
                if let Some(id) = self.any_channel(side) {
                    self.world.with(side, |it, now| it.close_channel(now, id));
                }
            }
            6 if self.restarts < 6 => {
                self.restarts += 1;
                self.world.with(side, |it, now| it.restart_ice(now));
            }
            7 => {
                let interfaces = world::interfaces(&self.world.net, self.world.hosts[side]);
                self.world.with(side, |it, now| it.set_interfaces(now, interfaces));
            }
            8 => {
                let link = self.world.net.access(self.world.hosts[side], self.world.nets[side]);
                self.world.net.set_link_up(link, false);
                self.world.net.after(Duration::from_millis(self.rng.below(3000)), move |net| {
                    net.set_link_up(link, true);
                });
            }
            9 => {
                let sdp = String::from_utf8_lossy(&self.hostile.bytes()).into_owned();
                let garbage = if self.rng.below(2) == 0 {
                    SessionDescription::offer(sdp)
                } else {
                    SessionDescription::answer(sdp)
                };
                let refused = self.world.with(side, |it, now| it.set_remote_description(now, garbage));
                assert!(refused.is_err());
            }
            10 => {
                let candidate = IceCandidateInit {
                    candidate: format!(
                        "candidate:1 1 udp 99 203.0.113.9 {} typ host",
                        1 + self.rng.below(60_000)
                    ),
                    sdp_mid: Some(["0", "9"][self.rng.below(2) as usize].into()),
                    ..Default::default()
                };
                self.world.with(side, |it, now| it.add_ice_candidate(now, Some(candidate)).unwrap());
            }
            11 => self.stranger(side),
            12 => {
                let now = self.world.net.now();
                let stats = self.world.connection(side).stats(now);
                assert!(!stats.is_empty());
                let _ = self.world.connection(side).path().map(|path| path.to_string());
            }
            _ => self.world.run_for(Duration::from_millis(self.rng.below(500))),
        }
    }

    fn stranger(&mut self, side: usize) {
        let host = self.world.hosts[side];
        let place = self.world.net.place(host);
        let sent = self.world.net.trace().records().iter().rev().find(|record| record.place == place);
        let Some(path) = sent.map(|record| record.path) else { return };
        let from = if self.rng.below(2) == 0 {
            path
        } else {
            Path::udp(path.local, "203.0.113.66:6666".parse().unwrap())
        };
        let (now, mut bytes) = (self.world.net.now(), self.hostile.bytes());
        let connection = &mut self.world.net.machine_mut::<world::Peer>(host).connection;
        let datagram = sansio::Datagram { from, payload: &mut bytes };
        connection.handle_datagram(now, datagram, &mut sansio::Batches::new(1 << 16));
    }
}

#[test]
fn whatever_happens_a_connection_works_in_the_end() {
    for seed in seeds(60) {
        let mut monkey = Monkey::new(seed);
        for _ in 0..60 {
            monkey.act();
            let pause = Duration::from_millis(monkey.rng.below(120));
            monkey.world.run_for(pause);
        }
        let mut world = monkey.world;
        world.run_for(Duration::from_secs(40));
        let states = [A, B].map(|side| world.connection(side).connection_state());
        assert_eq!(states, [ConnectionState::Connected; 2], "seed {seed}: {}", world.describe());
        for side in [A, B] {
            let id = world.with(side, |it, now| {
                it.create_data_channel(now, "last", DataChannelInit::default()).unwrap()
            });
            let before = world.sides.read().unwrap()[1 - side].messages().len();
            let host = world.hosts[side];
            let open = world.run_until(Duration::from_secs(20), |net, _| {
                let connection = &net.machine::<world::Peer>(host).connection;
                connection.channel(id).is_some_and(|channel| channel.state == ChannelState::Open)
            });
            assert!(open, "seed {seed}: {}", world.describe());
            world.send(side, id, b"the last word");
            let heard = world.run_until(Duration::from_secs(20), |_, sides| {
                sides[1 - side].messages()[before..].iter().any(|message| message == b"the last word")
            });
            assert!(heard, "seed {seed}: {}", world.describe());
        }
    }
}

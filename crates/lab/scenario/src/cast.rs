use std::net::SocketAddr;
use std::time::Duration;

use netsim::{HostId, Laws, Link, NatBehaviour, Net, Place, PlaceKind, Preset, SegmentId};
use peer::Configuration;
use sansio::{Rng, Time};

use crate::crowd::Crowd;
use crate::{Ladder, Outcome, Peer, ServerSetup, Signalling, Way, World};

/// The name of the standard play's server.
const SERVER: &str = "server.example";
/// After both have heard from each other: how long ICE may still look for a better path.
const SETTLING: Duration = Duration::from_secs(15);

/// The standard play: two hosts, each behind a preset, and a server for STUN and TURN on the internet.
///
/// The seed decides on everything that is left open, also how far away everybody is: 2 to 40 ms from each box to the
/// internet, with up to 2 ms of jitter, and 10 to 80 ms for whatever is signalled.
#[derive(Clone, Debug)]
pub struct Cast {
    /// What stands between each host and the internet. The first host calls.
    pub presets: [Preset; 2],
    /// A box of one's own making, in place of the preset's.
    pub boxes: [Option<NatBehaviour>; 2],
    /// Where all dice start from.
    pub seed: u64,
    /// Whether both hosts are behind the first preset, on one network.
    pub together: bool,
    /// Kinds of candidates that the two do not tell each other.
    pub withheld: Vec<ice::CandidateKind>,
    /// Which servers the hosts are configured with.
    pub servers: Servers,
    /// The share of packets that each box's uplink loses, 0.0 to 1.0.
    pub loss: f64,
    /// By how much packets come late on each uplink, at most.
    pub jitter: Duration,
    /// What both sides are ready to spend on punching.
    pub punch: Option<ice::Punch>,
    /// How many connections a second others open through each box, in the mean.
    pub busy: u32,
    /// Whether candidates are told one by one.
    pub trickle: bool,
    /// How long the two may try.
    pub limit: Duration,
    /// Which laws the machines are held to.
    pub laws: Laws,
}

/// Which servers the hosts of a [`Cast`] are configured with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Servers {
    /// None.
    None,
    /// STUN only.
    Stun,
    /// STUN, and TURN over UDP.
    Udp,
    /// STUN, and TURN over UDP and over TLS.
    #[default]
    All,
}

/// A [`Cast`] on its stage, before or after the call.
pub struct Stage {
    /// The world they live in.
    pub world: World,
    /// The host that calls and the one that is called: `a` and `b`.
    pub hosts: [HostId; 2],
    /// The network of each.
    pub networks: [SegmentId; 2],
    /// The server: `server.example`.
    pub server: HostId,
    presets: [Preset; 2],
    called: Time,
    limit: Duration,
}

impl Cast {
    /// Two hosts behind these presets, who may take a minute.
    pub fn new(a: Preset, b: Preset, seed: u64) -> Self {
        Self {
            presets: [a, b],
            boxes: [None; 2],
            seed,
            together: false,
            withheld: Vec::new(),
            servers: Servers::default(),
            loss: 0.0,
            jitter: Duration::from_millis(2),
            punch: None,
            busy: 0,
            trickle: true,
            limit: Duration::from_secs(60),
            laws: Laws::default(),
        }
    }

    /// Plays it.
    ///
    /// # Panics
    /// If a machine breaks one of [`Cast::laws`].
    pub fn run(&self) -> Outcome {
        let mut stage = self.stage();
        stage.world.net.trace_mut().off();
        stage.call();
        stage.finish()
    }

    /// Plays it, and tells all that happened. The outcome is that of [`Cast::run`].
    ///
    /// # Panics
    /// If a machine breaks one of [`Cast::laws`].
    pub fn tell(&self) -> (Outcome, Ladder) {
        let mut stage = self.stage_with(|_, configuration| configuration.capture = true, |_| {});
        stage.world.net.trace_mut().keep_payloads();
        stage.world.keep_letters();
        stage.call();
        let outcome = stage.finish();
        let ladder = stage.ladder();
        (outcome, ladder)
    }

    /// Sets it up: everybody is there, nobody has called.
    pub fn stage(&self) -> Stage {
        self.stage_with(|_, _| {}, |_| {})
    }

    /// Like [`Cast::stage`], with other settings for the connections (0 calls, 1 is called) and for the server.
    ///
    /// # Panics
    /// If no server can be made of the settings.
    pub fn stage_with(
        &self,
        mut connection: impl FnMut(usize, &mut Configuration),
        server: impl FnOnce(&mut turn::ServerConfig),
    ) -> Stage {
        let mut world = World::new(Net::new(self.seed));
        world.net.set_laws(self.laws);
        let mut dice = Rng::new(world.net.draw_seed());
        let mut between = |low: u64, high: u64| Duration::from_millis(low + dice.below(high - low + 1));
        world.set_signalling(Signalling { trickle: self.trickle, ..Signalling::delayed(between(10, 80)) });
        let setup = ServerSetup::new(SERVER);
        let server = world.add_server_with(Net::INTERNET, &setup, server);
        let mut network = |side: usize| {
            let name = ["nat-a", "nat-b"][side];
            let network = match self.boxes[side] {
                Some(behaviour) => world.net.add_network(Net::INTERNET, name, behaviour),
                None => world.net.add_preset(Net::INTERNET, name, self.presets[side]),
            };
            let link =
                Link { delay: between(2, 40), jitter: self.jitter, loss: self.loss, ..Link::default() };
            world.net.set_link(world.net.uplink(network), link);
            network
        };
        let first = network(0);
        let networks = [first, if self.together { first } else { network(1) }];
        let hosts = [world.net.add_host("a", &[networks[0]]), world.net.add_host("b", &[networks[1]])];
        for side in [0, 1] {
            let mut configuration = world.configuration(hosts[side], &self.servers.urls(&setup));
            configuration.punch = self.punch;
            connection(side, &mut configuration);
            let greeting = ["hello from a", "hello from b"][side];
            let dress = |peer: Peer| peer.with_greeting(greeting).withholding(self.withheld.clone());
            world.start_peer(hosts[side], configuration, dress);
        }
        if self.busy > 0 {
            for network in networks {
                Crowd::settle(&mut world.net, network, server, self.busy);
            }
        }
        world.introduce(hosts[0], hosts[1]);
        let presets = if self.together { [self.presets[0]; 2] } else { self.presets };
        Stage { called: world.net.now(), world, hosts, networks, server, presets, limit: self.limit }
    }
}

impl Servers {
    /// What a peer is configured with.
    pub fn urls(self, setup: &ServerSetup) -> Vec<String> {
        let mut urls = setup.urls();
        urls.truncate(self as usize);
        urls
    }
}

impl Stage {
    /// The first host calls the second.
    pub fn call(&mut self) {
        self.called = self.world.net.now();
        self.world.call(self.hosts[0]);
    }

    /// Lets time go on until a message has passed each way and ICE is content with the path, or both have failed, or
    /// the cast's limit is reached.
    ///
    /// # Panics
    /// If a machine breaks one of the net's laws.
    pub fn finish(&mut self) -> Outcome {
        let hosts = self.hosts;
        let heard = |net: &Net| hosts.iter().all(|host| !net.machine::<Peer>(*host).messages().is_empty());
        let failed = |net: &Net| hosts.iter().all(|host| !net.machine::<Peer>(*host).failures().is_empty());
        self.world.run_until(self.limit, |net| heard(net) || failed(net));
        let connected = heard(&self.world.net);
        let took = self.world.net.now() - self.called;
        if connected {
            self.world
                .run_until(SETTLING, |net| hosts.iter().all(|host| net.machine::<Peer>(*host).is_settled()));
        }
        let peers = hosts.map(|host| self.world.peer(host));
        let paths = peers.map(Peer::path);
        let way =
            if connected { Way::of(&paths.iter().flatten().cloned().collect::<Vec<_>>()) } else { None };
        Outcome {
            connected,
            way,
            paths,
            took,
            settled: self.world.net.now() - self.called,
            packets: self.world.net.packets(),
            failures: peers.map(|peer| peer.failures().last().map(|(_, failure)| failure.clone())),
            steps: self.world.net.steps(),
            punched: peers.map(|peer| peer.connection().ice_report().and_then(|report| report.punched)),
        }
    }

    /// All that happened so far, as far as it was kept, with the columns in the order of the way from one host to the
    /// other: host, boxes, server, boxes, host.
    pub fn ladder(&self) -> Ladder {
        let net = &self.world.net;
        let host = |side: usize| (net.place(self.hosts[side]), net.address(self.hosts[side]).to_string());
        let server = (net.place(self.server), net.address(self.server).to_string());
        let mut order = vec![host(0)];
        order.extend(self.boxes(0));
        order.push(server);
        // Where packets end that have no route: those to private addresses, mostly.
        let core = net.trace().places().find(|&place| net.trace().kind(place) == PlaceKind::Internet);
        order.extend(core.map(|core| (core, String::new())));
        if self.networks[0] != self.networks[1] {
            order.extend(self.boxes(1).into_iter().rev());
        }
        order.push(host(1));
        Ladder::of(&self.world, &order, &self.hosts, net.now())
    }

    /// A side's boxes, from inside.
    fn boxes(&self, side: usize) -> Vec<(Place, String)> {
        let net = &self.world.net;
        let mut boxes = Vec::new();
        let mut segment = self.networks[side];
        while let Some(outside) = net.outside(segment) {
            boxes.push((net.gateway_place(segment), self.presets[side].to_string()));
            segment = outside;
        }
        boxes
    }

    /// Where a host's box is, as the internet sees it.
    pub fn external(&self, side: usize, port: u16) -> SocketAddr {
        (self.world.net.external_address(self.networks[side]), port).into()
    }
}

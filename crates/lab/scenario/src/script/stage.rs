use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use netsim::{Forward, HostId, LinkId, Nat, Net, PresetBox, SegmentId, Translator};
use sansio::Transport;

use super::numbered::Numbered;
use super::plain::Plain;
use super::plan::{Host, Network, Peer, Plan, Role, Server, Service, Wire};
use crate::{ServerSetup, Signalling, World};

/// Where STUN and TURN servers listen.
pub(crate) const SERVER_PORT: u16 = 3478;

/// A plan's networks and hosts, built.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) segments: Vec<SegmentId>,
    pub(crate) hosts: Vec<HostId>,
    /// The outer addresses of hosts that have one of their own.
    pub(crate) outers: BTreeMap<usize, IpAddr>,
}

impl Stage {
    /// Builds everything and starts what runs on the hosts.
    pub(crate) fn build(plan: &Plan, seed: u64) -> Self {
        let mut net = Net::new(seed);
        net.trace_mut().keep_payloads();
        let mut segments = vec![Net::INTERNET; plan.networks.len()];
        for &index in &plan.order {
            let network = &plan.networks[index];
            let outside = network.behind.map_or(Net::INTERNET, |outside| segments[outside]);
            segments[index] = build_network(&mut net, network, outside);
        }
        let mut world = World::new(net);
        world.keep_letters();
        let (delay, trickle) = (plan.signalling.delay, plan.signalling.trickle);
        world.set_signalling(Signalling { trickle, ..Signalling::delayed(delay) });
        let mut stage = Self { world, segments, hosts: Vec::new(), outers: BTreeMap::new() };
        // Whoever is particular about his address comes first, so that nobody else gets it.
        let (particular, others): (Vec<usize>, Vec<usize>) =
            (0..plan.hosts.len()).partition(|host| !plan.hosts[*host].addresses.is_empty());
        let built =
            particular.into_iter().chain(others).map(|host| (host, stage.build_host(&plan.hosts[host])));
        let mut built: Vec<(usize, HostId)> = built.collect();
        built.sort_unstable();
        stage.hosts = built.into_iter().map(|(_, id)| id).collect();
        for (index, network) in plan.networks.iter().enumerate() {
            for forward in &network.forwards {
                let inner = SocketAddr::new(stage.address_on(plan, forward.host, index), forward.port);
                let to = if forward.tcp { Forward::tcp } else { Forward::udp };
                stage.world.net.forward(stage.segments[index], to(forward.outer, inner));
            }
            for host in &network.one_to_one {
                let inner = stage.address_on(plan, host.value, index);
                let outer = stage.world.net.map_host(stage.segments[index], inner);
                stage.outers.insert(host.value, outer);
            }
        }
        for host in 0..plan.hosts.len() {
            stage.start(plan, host);
        }
        stage
    }

    fn build_host(&mut self, host: &Host) -> HostId {
        let segments: Vec<SegmentId> = host.networks.iter().map(|network| self.segment(*network)).collect();
        let net = &mut self.world.net;
        let addresses: Vec<IpAddr> = host.addresses.iter().map(|address| address.value).collect();
        let id = match addresses.is_empty() {
            false => net.add_host_at(&host.name, segments[0], &addresses),
            true => net.add_host(&host.name, &segments),
        };
        if matches!(host.role, Role::Relay) {
            net.set_name(&host.name, &net.addresses(id));
        }
        if let Some(link) = &host.link {
            for segment in segments {
                net.set_link(net.access(id, segment), link.clone());
            }
        }
        id
    }

    pub(crate) fn segment(&self, network: Option<usize>) -> SegmentId {
        network.map_or(Net::INTERNET, |network| self.segments[network])
    }

    /// The IPv4 address of a host on one of its networks.
    fn address_on(&self, plan: &Plan, host: usize, network: usize) -> IpAddr {
        let at = plan.hosts[host].networks.iter().position(|it| *it == Some(network));
        let addresses = self.world.net.addresses(self.hosts[host]);
        let ipv4: Vec<IpAddr> = addresses.into_iter().filter(IpAddr::is_ipv4).collect();
        ipv4[at.expect("the plan was checked").min(ipv4.len() - 1)]
    }

    /// Starts a host's program, anew if it has run before.
    pub(crate) fn start(&mut self, plan: &Plan, host: usize) {
        let id = self.hosts[host];
        match &plan.hosts[host].role {
            Role::Relay => ServerSetup::new(&plan.hosts[host].name).start(&mut self.world.net, id, |_| {}),
            Role::Plain { port, tcp } => {
                let net = &mut self.world.net;
                let local = net.socket(id, *port);
                match tcp {
                    true => net.listen(id, Transport::Tcp, local),
                    false => net.bind(id, local).map(drop),
                }
                .expect("nothing runs there yet");
                let seed = net.draw_seed();
                net.start(id, Plain::new(local, *tcp, seed));
            }
            Role::Peer(peer) => {
                let urls = urls(plan, peer);
                let mut configuration = self.world.configuration(id, &urls);
                configuration.certificate = certificate(host);
                configuration.capture = true;
                if peer.relay_only {
                    configuration.ice_transport_policy = ice::TransportPolicy::Relay;
                }
                self.world.start_peer(id, configuration, |it| it.withholding(peer.withholds.clone()));
            }
        }
    }

    pub(crate) fn link(&self, wire: Wire) -> LinkId {
        match wire {
            Wire::Uplink(network) => self.world.net.uplink(self.segments[network]),
            Wire::Access(host, network) => self.world.net.access(self.hosts[host], self.segment(network)),
        }
    }
}

fn urls(plan: &Plan, peer: &Peer) -> Vec<String> {
    let Some(servers) = &peer.servers else {
        let relays = plan.hosts.iter().filter(|host| matches!(host.role, Role::Relay));
        let plain = |host: &Host| ServerSetup { tls: false, ..ServerSetup::new(&host.name) };
        return relays.flat_map(|host| plain(host).urls()).collect();
    };
    let url = |server: &Server| {
        let name = &plan.hosts[server.host].name;
        match server.service {
            Service::Stun => format!("stun:{name}"),
            Service::Turn => format!("turn:{name}"),
            Service::TurnTcp => format!("turn:{name}?transport=tcp"),
            Service::Turns => format!("turns:{name}:443"),
        }
    };
    servers.iter().map(url).collect()
}

fn build_network(net: &mut Net, network: &Network, outside: SegmentId) -> SegmentId {
    let mut boxes = network.preset.boxes();
    let innermost = boxes.last_mut().expect("a preset has a box");
    innermost.behaviour = network.changed.unwrap_or(innermost.behaviour);
    innermost.ipv6 |= network.ipv6;
    let PresetBox { behaviour, ipv6, .. } = *innermost;
    let inside = network.inside.as_ref().map(|inside| inside.value);
    let segment = if !network.ports.is_empty() {
        let inside = inside.unwrap_or_else(|| "192.168.0.0/24".parse().expect("a constant"));
        let fixed =
            network.forwards.iter().filter(|forward| !forward.tcp).map(|forward| forward.outer).collect();
        let ports = network.ports.clone();
        let segment = net.add_network_behind(outside, &network.name, inside, |external, seed| {
            let nat: Box<dyn Nat> = Box::new(Translator::new(behaviour, &[external], seed));
            Box::new(Numbered::new(nat, external, ports, fixed))
        });
        if ipv6 {
            net.add_ipv6(segment);
        }
        segment
    } else {
        net.add_boxes(outside, &network.name, inside, &boxes)
    };
    if let Some(inside6) = &network.inside6 {
        net.add_ipv6_at(segment, inside6.value);
    }
    if let Some(link) = &network.link {
        net.set_link(net.uplink(segment), link.clone());
    }
    segment
}

/// A certificate for each number, made once: making keys takes a while, and their dice are not ours anyway.
fn certificate(number: usize) -> crypto::Certificate {
    use std::sync::{Mutex, PoisonError};
    static MADE: Mutex<Vec<crypto::Certificate>> = Mutex::new(Vec::new());
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    while made.len() <= number {
        made.push(crypto::Certificate::generate().expect("the system's random generator works"));
    }
    made[number].clone()
}

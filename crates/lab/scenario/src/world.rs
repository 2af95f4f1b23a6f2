use std::time::Duration;

use netsim::{HostId, Net, SegmentId};
use peer::{Configuration, Connection};
use sansio::Time;

use crate::office::{Letter, Office, Signalling};
use crate::server::ice_server;
use crate::{Peer, ServerSetup};

/// A net with peers on it that signal to each other: the stage for any play.
///
/// ```
/// use std::time::Duration;
/// use netsim::{Net, Preset};
/// use sterna_scenario::{Peer, ServerSetup, World};
///
/// let mut world = World::new(Net::new(7));
/// let setup = ServerSetup::new("server.example");
/// world.add_server(Net::INTERNET, &setup);
/// let home = world.net.add_preset(Net::INTERNET, "home", Preset::HomeRouter);
/// let cafe = world.net.add_preset(Net::INTERNET, "cafe", Preset::Symmetric);
/// let hosts = [world.net.add_host("alice", &[home]), world.net.add_host("bob", &[cafe])];
/// for host in hosts {
///     let configuration = world.configuration(host, &setup.urls());
///     world.start_peer(host, configuration, |peer| peer.with_greeting("hello"));
/// }
/// world.introduce(hosts[0], hosts[1]);
/// world.call(hosts[0]);
/// let greeted = world.run_until(Duration::from_secs(10), |net| {
///     hosts.iter().all(|host| !net.machine::<Peer>(*host).messages().is_empty())
/// });
/// assert!(greeted);
/// println!("{}", world.peer(hosts[0]).path().unwrap());
/// ```
pub struct World {
    /// The simulated internet.
    pub net: Net,
    office: Office,
}

impl World {
    /// A stage without players.
    pub fn new(net: Net) -> Self {
        Self { net, office: Office::default() }
    }

    /// How peers signal from now on.
    pub fn set_signalling(&mut self, signalling: Signalling) {
        self.office.signalling = signalling;
    }

    /// How peers signal.
    pub fn signalling(&self) -> Signalling {
        self.office.signalling
    }

    /// Adds a host that runs our STUN and TURN server, with a name in the DNS.
    pub fn add_server(&mut self, segment: SegmentId, setup: &ServerSetup) -> HostId {
        self.add_server_with(segment, setup, |_| {})
    }

    /// Like [`World::add_server`], with other settings.
    ///
    /// # Panics
    /// If no server can be made of them.
    pub fn add_server_with(
        &mut self,
        segment: SegmentId,
        setup: &ServerSetup,
        change: impl FnOnce(&mut turn::ServerConfig),
    ) -> HostId {
        setup.add(&mut self.net, segment, change)
    }

    /// What a peer on this host is made from: its interfaces, a seed of the net's, a new certificate, and these servers.
    ///
    /// # Panics
    /// If one of `urls` is no URL of a STUN or TURN server.
    pub fn configuration(&mut self, host: HostId, urls: &[String]) -> Configuration {
        let certificate = crypto::Certificate::generate().expect("the operating system has random numbers");
        let mut configuration = Configuration::new(self.net.draw_seed(), certificate);
        configuration.interfaces = self.interfaces(host);
        configuration.ice_servers = urls.iter().map(|url| ice_server(url)).collect();
        configuration
    }

    /// The interfaces of a host, as ICE is told of them.
    pub fn interfaces(&self, host: HostId) -> Vec<ice::Interface> {
        let addresses = self.net.addresses(host).into_iter().enumerate();
        addresses.map(|(index, address)| ice::Interface::new(&format!("eth{index}"), address)).collect()
    }

    /// Starts a peer on a host; `dress` may change it before.
    ///
    /// # Panics
    /// If something runs there already.
    pub fn start_peer(
        &mut self,
        host: HostId,
        configuration: Configuration,
        dress: impl FnOnce(Peer) -> Peer,
    ) {
        let peer = dress(Peer::new(self.net.now(), configuration));
        self.net.start(host, peer);
    }

    /// Lets two peers signal to each other. The second gives way when both call at once.
    ///
    /// # Panics
    /// If one of the hosts runs no peer.
    pub fn introduce(&mut self, one: HostId, other: HostId) {
        let trickle = self.office.signalling.trickle;
        self.net.machine_mut::<Peer>(one).set_role(false, trickle);
        self.net.machine_mut::<Peer>(other).set_role(true, trickle);
        self.office.introduce(one, other);
    }

    /// Whom a host signals to.
    pub fn partner(&self, host: HostId) -> Option<HostId> {
        self.office.partner(host)
    }

    /// Lets a host call its partner: it opens a data channel.
    ///
    /// # Panics
    /// If it runs no peer, or the peer's connection is closed.
    pub fn call(&mut self, host: HostId) {
        let opened = self.net.with(host, |peer: &mut Peer, now| peer.open_channel(now, "chat"));
        opened.expect("a connection that is not closed opens channels");
    }

    /// Ends the process on a host: its connection is gone, without a word.
    pub fn stop(&mut self, host: HostId) {
        self.office.forget(host);
        self.net.stop(host);
    }

    /// The peer on a host.
    ///
    /// # Panics
    /// If there is none.
    pub fn peer(&self, host: HostId) -> &Peer {
        self.net.machine(host)
    }

    /// Gives the connection on a host a wish.
    ///
    /// # Panics
    /// If there is none.
    pub fn with<R>(&mut self, host: HostId, wish: impl FnOnce(&mut Connection, Time) -> R) -> R {
        self.net.with(host, |peer: &mut Peer, now| wish(peer.connection_mut(), now))
    }

    /// Keeps the letters that are written from now on, for [`World::letters`].
    pub fn keep_letters(&mut self) {
        self.office.archive.get_or_insert_default();
    }

    /// What was signalled since [`World::keep_letters`].
    pub fn letters(&self) -> &[Letter] {
        self.office.archive.as_deref().unwrap_or_default()
    }

    /// Lets time go on until `done`, for `within` at most; tells whether it was done. Peers are found by
    /// `net.machine::<Peer>(host)`.
    ///
    /// # Panics
    /// If a machine breaks one of the net's laws.
    pub fn run_until(&mut self, within: Duration, mut done: impl FnMut(&Net) -> bool) -> bool {
        let Self { net, office } = self;
        net.run_until(within, |net| {
            office.work(net);
            done(net)
        })
    }

    /// Lets time go on by so much.
    ///
    /// # Panics
    /// If a machine breaks one of the net's laws.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(duration, |_| false);
    }
}

use netsim::{HostId, Net, SegmentId};
use sansio::Transport;

/// The user name that all lab servers know.
pub const USERNAME: &str = "user";
/// The password that goes with it.
pub const CREDENTIAL: &str = "a password of the lab alone";

/// The ports of STUN and TURN over UDP and TCP, and of TURN over TLS: where most firewalls let one out.
const PORT: u16 = 3478;
const TLS_PORT: u16 = 443;

/// A server for STUN and TURN that is to be added; see [`World::add_server`](crate::World::add_server).
#[derive(Clone, Debug)]
pub struct ServerSetup {
    /// Its name in the DNS.
    pub name: String,
    /// Whether it listens on TCP, port 3478, too.
    pub tcp: bool,
    /// Whether it listens on TLS, port 443, too.
    pub tls: bool,
}

impl ServerSetup {
    /// With UDP, TCP and TLS.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), tcp: true, tls: true }
    }

    /// What peers are configured with to use it, cheapest first.
    pub fn urls(&self) -> Vec<String> {
        let name = &self.name;
        let mut urls = vec![format!("stun:{name}"), format!("turn:{name}")];
        if self.tls {
            urls.push(format!("turns:{name}:{TLS_PORT}"));
        } else if self.tcp {
            urls.push(format!("turn:{name}?transport=tcp"));
        }
        urls
    }

    pub(crate) fn add(
        &self,
        net: &mut Net,
        segment: SegmentId,
        change: impl FnOnce(&mut turn::ServerConfig),
    ) -> HostId {
        let host = net.add_host(&self.name, &[segment]);
        self.start(net, host, change);
        host
    }

    /// Starts the server on a host.
    pub(crate) fn start(&self, net: &mut Net, host: HostId, change: impl FnOnce(&mut turn::ServerConfig)) {
        let addresses = net.addresses(host);
        net.set_name(&self.name, &addresses);
        let auth = turn::Auth::user(USERNAME, CREDENTIAL);
        let mut config = turn::ServerConfig::new(&self.name, addresses[0], auth, net.draw_seed());
        config.relay_addresses = addresses.iter().map(|&address| address.into()).collect();
        for &address in &addresses {
            let (plain, tls) = ((address, PORT).into(), (address, TLS_PORT).into());
            net.bind(host, plain).expect("a new host has no sockets");
            config.listening.push(plain);
            if self.tcp {
                net.listen(host, Transport::Tcp, plain).expect("a new host has no sockets");
            }
            if self.tls {
                net.listen_tls(host, tls, &self.name).expect("a new host has no sockets");
                config.listening.push(tls);
            }
        }
        change(&mut config);
        net.start(host, turn::Server::new(config).expect("the lab's settings are sound"));
    }
}

/// As a peer is configured with it.
pub(crate) fn ice_server(url: &str) -> ice::Server {
    let url = url.parse().expect("made from parts that make a URL");
    ice::Server { url, username: USERNAME.to_owned(), credential: CREDENTIAL.to_owned() }
}

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use netsim::{Egress, HttpProxy, Link, NatBehaviour, Preset, PresetBox, Translator};
use sansio::Seed;

use crate::error::LabError;
use crate::namespace::{Namespace, Owner, command_in, enter, run};
use crate::proxy::Proxy;
use crate::rules::{Place, Rules};
use crate::userspace::Userspace;
use crate::wire::Wire;

/// The internet's side of every public link.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(5, 5, 0, 1);
/// What the interfaces of a router are called.
const LAN: &str = "lan";
const WAN: &str = "wan";
/// The number of an HTTP proxy in its network.
const PROXY_NUMBER: u8 = 3;
/// What tells programs of a proxy; in small letters, too.
const PROXY_VARIABLES: [&str; 4] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"];

/// A small internet of network namespaces. See the [crate's front page](crate).
#[derive(Debug)]
pub struct Lab {
    // In the order in which they have to go: a program that holds a device of a namespace keeps that alive.
    programs: Vec<Userspace>,
    wires: Vec<Wire>,
    proxies: Vec<Proxy>,
    routers: Vec<Router>,
    hosts: Vec<Namespace>,
    /// Routes between everything that is public.
    internet: Namespace,
    owner: Owner,
    builder: Builder,
    servers: u8,
    outer_addresses: u16,
    links: u32,
}

/// Who makes the NATs of a lab.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Builder {
    /// The kernel where it can, and a program where not.
    #[default]
    Either,
    /// A program, always: `netsim`'s own tables, between two TUN devices.
    Userspace,
}

/// What a box of a lab is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Made {
    /// The kernel's routing, nftables and conntrack.
    Kernel,
    /// A program.
    Userspace,
}

/// A router of the lab, and the network behind it.
#[derive(Debug)]
struct Router {
    namespace: Namespace,
    inside: Ipv4Addr,
    taken: u8,
}

/// A network behind one or several routers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    name: String,
    /// The innermost one.
    router: usize,
    external: Vec<Ipv4Addr>,
    made: Vec<Made>,
    /// Its HTTP proxy: which one of the lab's, and where.
    proxy: Option<(usize, SocketAddr)>,
}

/// A computer in the lab: a namespace in which programs can be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    name: String,
    namespace: String,
    addresses: Vec<Ipv4Addr>,
    proxy: Option<SocketAddr>,
}

/// What a router is linked to.
#[derive(Clone, Copy, Debug)]
enum Outside {
    Internet,
    Router(usize),
}

impl Made {
    /// `kernel` or `userspace`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Userspace => "userspace",
        }
    }
}

impl Router {
    fn address(&self, number: u8) -> Ipv4Addr {
        let [a, b, c, _] = self.inside.octets();
        Ipv4Addr::new(a, b, c, number)
    }

    /// Addresses that nobody has yet, in a row.
    fn free_addresses(&mut self, count: u8) -> Vec<Ipv4Addr> {
        let first = self.taken;
        self.taken = first.checked_add(count).expect("a network of the lab has 245 addresses");
        (first..self.taken).map(|number| self.address(number)).collect()
    }
}

impl Site {
    /// The name that it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first address that the internet sees.
    pub fn external_address(&self) -> Ipv4Addr {
        self.external[0]
    }

    /// All addresses that the internet sees.
    pub fn external_addresses(&self) -> &[Ipv4Addr] {
        &self.external
    }

    /// What its boxes are made of, from the internet inwards.
    pub fn made(&self) -> &[Made] {
        &self.made
    }
}

impl Host {
    /// Its name, as it was given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its first address.
    pub fn address(&self) -> Ipv4Addr {
        self.addresses[0]
    }

    /// All its addresses, without loopback.
    pub fn addresses(&self) -> &[Ipv4Addr] {
        &self.addresses
    }

    /// A command that will run on this host. Killing the child kills the program. Where only an HTTP proxy gets out the
    /// environment says so.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = command_in(&self.namespace, program);
        for name in PROXY_VARIABLES {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        if let Some(proxy) = self.proxy {
            command.env("ALL_PROXY", format!("http://{proxy}"));
        }
        command
    }

    /// Replaces the firewall rules of this host.
    ///
    /// # Errors
    /// Whatever `nft` objects to.
    pub fn nft(&self, rules: &str) -> Result<(), LabError> {
        run(self.command("nft").args(["-f", "-"]), &format!("flush ruleset\n{rules}")).map(drop)
    }

    /// Runs `task` on this host, on a thread of its own. Sockets that it opens belong to the host for good, wherever
    /// they are used later.
    ///
    /// # Errors
    /// [`LabError::Io`], if the host is gone.
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        enter(&self.namespace, task)
    }
}

impl Lab {
    /// An empty internet. What dead processes left behind is removed first.
    ///
    /// # Errors
    /// [`LabError::NotRoot`], [`LabError::Missing`], or whatever `ip` objects to.
    pub fn new() -> Result<Self, LabError> {
        if !rustix::process::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        for (program, argument, package) in [("ip", "-V", "iproute2"), ("nft", "--version", "nftables")] {
            run(Command::new(program).arg(argument), "")
                .map_err(|_| LabError::Missing { program, package })?;
        }
        let owner = Owner::new()?;
        let internet = Namespace::new(&owner, "internet")?;
        internet.sysctls(&[("net/ipv4/ip_forward", "1")])?;
        Ok(Self {
            programs: Vec::new(),
            wires: Vec::new(),
            proxies: Vec::new(),
            routers: Vec::new(),
            hosts: Vec::new(),
            internet,
            owner,
            builder: Builder::default(),
            servers: 0,
            outer_addresses: 0,
            links: 0,
        })
    }

    /// A folder for what one likes, removed with the lab.
    pub fn folder(&self) -> &Path {
        self.owner.folder()
    }

    /// Who makes the boxes that are added from now on.
    pub fn set_builder(&mut self, builder: Builder) {
        self.builder = builder;
    }

    /// Why the lab cannot build a preset, if it cannot.
    pub fn objection(preset: Preset) -> Option<&'static str> {
        let boxes = preset.boxes();
        boxes.iter().any(|it| it.behaviour.nat64 || it.ipv6).then_some("it has IPv4 only")
    }

    /// The presets that the lab can build.
    pub fn presets() -> impl Iterator<Item = Preset> {
        Preset::ALL.into_iter().filter(|preset| Self::objection(*preset).is_none())
    }

    /// Adds a host on the public segment, with this many addresses: 5.5.5.5, 5.5.5.6, and so on.
    ///
    /// # Errors
    /// Whatever `ip` objects to.
    pub fn add_server(&mut self, name: &str, addresses: u8) -> Result<Host, LabError> {
        let first = 5 + self.servers;
        self.servers += addresses;
        let addresses: Vec<_> = (0..addresses).map(|n| Ipv4Addr::new(5, 5, 5, first + n)).collect();
        let namespace = Namespace::new(&self.owner, name)?;
        self.join(Outside::Internet, &namespace, "eth0", &addresses, true)?;
        Ok(self.host(name, namespace, addresses))
    }

    /// Adds two hosts with nothing between them but a link that delays, loses and queues as it does in the simulator:
    /// 5.7.0.1 and 5.7.0.2, the next two 5.7.1.1 and 5.7.1.2, and so on. `seed` is that of its dice. What is lost is
    /// chance of real time all the same.
    ///
    /// # Errors
    /// [`LabError::NoTun`], or whatever `ip` objects to.
    pub fn add_wire(&mut self, names: [&str; 2], link: Link, seed: Seed) -> Result<[Host; 2], LabError> {
        let number = u8::try_from(self.wires.len()).expect("a lab has 256 wires");
        let ends = [1, 2].map(|end| Ipv4Addr::new(5, 7, number, end));
        let [here, there] = names.map(|name| Namespace::new(&self.owner, name));
        let namespaces = [here?, there?];
        self.wires.push(Wire::new([&namespaces[0], &namespaces[1]], ends, link, seed)?);
        let mut hosts = namespaces.into_iter().zip(names).zip(ends);
        let mut host = || {
            let ((namespace, name), address) = hosts.next().expect("there are two");
            self.host(name, namespace, vec![address])
        };
        Ok([host(), host()])
    }

    /// Leads what anybody sends to an address to this server, which has to have it besides its own: an anycast address.
    ///
    /// # Errors
    /// Whatever `ip` objects to.
    pub fn announce(&self, address: Ipv4Addr, server: &Host) -> Result<(), LabError> {
        self.internet.ip(&format!("route add {address}/32 via {}", server.address()))
    }

    /// Adds a network behind what a preset says.
    ///
    /// # Errors
    /// [`LabError::NotOffered`], [`LabError::NoTun`], or whatever `ip` or `nft` object to.
    pub fn add_site(&mut self, name: &str, preset: Preset) -> Result<Site, LabError> {
        if let Some(why) = Self::objection(preset) {
            return Err(LabError::NotOffered { what: format!("`{preset}`"), why });
        }
        self.add_boxes(name, &preset.boxes())
    }

    /// Adds a network behind a box of one's own.
    ///
    /// # Errors
    /// As [`Lab::add_site`].
    pub fn add_site_behind(&mut self, name: &str, behaviour: NatBehaviour) -> Result<Site, LabError> {
        if behaviour.nat64 {
            return Err(LabError::NotOffered { what: "NAT64".to_owned(), why: "it has IPv4 only" });
        }
        self.add_boxes(
            name,
            &[PresetBox { suffix: "", behaviour, shared_addresses: false, proxy: false, ipv6: false }],
        )
    }

    fn add_boxes(&mut self, name: &str, boxes: &[PresetBox]) -> Result<Site, LabError> {
        let mut outside = Outside::Internet;
        let mut site =
            Site { name: name.to_owned(), router: 0, external: Vec::new(), made: Vec::new(), proxy: None };
        for it in boxes {
            let (router, external, made) = self.add_router(outside, &format!("{name}{}", it.suffix), it)?;
            if site.made.is_empty() {
                site.external = external;
            }
            site.made.push(made);
            site.router = router;
            outside = Outside::Router(router);
            if it.proxy {
                site.proxy = Some(self.add_proxy(&site)?);
            }
        }
        Ok(site)
    }

    /// Puts an HTTP proxy into a site, at the number that the simulator's has.
    fn add_proxy(&mut self, site: &Site) -> Result<(usize, SocketAddr), LabError> {
        let address = self.routers[site.router].address(PROXY_NUMBER);
        let name = format!("{}-proxy", site.name);
        let namespace = Namespace::new(&self.owner, &name)?;
        self.join(Outside::Router(site.router), &namespace, "eth0", &[address], true)?;
        self.proxies.push(Proxy::start(&namespace, HttpProxy::PORT)?);
        self.hosts.push(namespace);
        Ok((self.proxies.len() - 1, (address, HttpProxy::PORT).into()))
    }

    /// Whom the proxy of a site was asked to connect to so far: `host:port`, in this order. Nobody, if it has none.
    pub fn asked_of_proxy(&self, site: &Site) -> Vec<String> {
        site.proxy.map_or(Vec::new(), |(proxy, _)| self.proxies[proxy].asked())
    }

    fn add_router(
        &mut self,
        outside: Outside,
        name: &str,
        it: &PresetBox,
    ) -> Result<(usize, Vec<Ipv4Addr>, Made), LabError> {
        let number = u8::try_from(self.routers.len() + 1).expect("a lab has fewer than 256 routers");
        let inside = match (it.behaviour.translates(), it.shared_addresses) {
            (false, _) => Ipv4Addr::new(5, 6, number, 0),
            (true, false) => Ipv4Addr::new(10, number, 0, 0),
            (true, true) => Ipv4Addr::new(100, 64, number, 0),
        };
        let external = match outside {
            Outside::Internet => self.public_addresses(it.behaviour.pool),
            Outside::Router(outer) => self.routers[outer].free_addresses(it.behaviour.pool),
        };
        let namespace = Namespace::new(&self.owner, &format!("{name}-router"))?;
        let [a, b, c, _] = inside.octets();
        let proxy = Ipv4Addr::new(a, b, c, PROXY_NUMBER);
        let egress = if it.proxy { Egress::OnlyFrom(proxy.into()) } else { it.behaviour.egress };
        let behaviour = &NatBehaviour { egress, ..it.behaviour };
        let rules = Rules::new(behaviour, &Place { inside, external: external.clone() });
        // A plain router needs no program.
        let plain = behaviour.mapping.is_none() && behaviour.filtering.is_none();
        let rules = rules.filter(|_| self.builder == Builder::Either || plain);
        // A program answers for the addresses that the router translates to; the router must not have them itself.
        let owns = rules.is_some() || !behaviour.translates();
        self.join(outside, &namespace, WAN, &external, owns)?;
        let router = Router { namespace, inside, taken: 10 };
        let lan = router.address(1);
        router
            .namespace
            .ip(&format!("link add {LAN} type bridge\n addr add {lan}/24 dev {LAN}\n link set {LAN} up"))?;
        router.namespace.sysctls(&[("net/ipv4/ip_forward", "1")])?;
        // Packets between the hosts of the site are the bridge's business; this file exists only where the kernel
        // could make it otherwise.
        let _ = router.namespace.sysctls(&[("net/bridge/bridge-nf-call-iptables", "0")]);
        let made = match rules {
            Some(rules) => {
                router.namespace.nft(&rules.nft)?;
                for (path, value) in &rules.sysctls {
                    router.namespace.sysctls(&[(path, value)])?;
                }
                Made::Kernel
            }
            None => {
                let seed = Seed::from(u64::from(number));
                let pool: Vec<IpAddr> = external.iter().map(|it| (*it).into()).collect();
                let nat = Translator::new(*behaviour, &pool, seed);
                self.programs.push(Userspace::new(&router.namespace, nat, external.clone())?);
                Made::Userspace
            }
        };
        if !behaviour.translates() {
            self.route(outside, inside, external[0])?;
        }
        self.routers.push(router);
        Ok((self.routers.len() - 1, external, made))
    }

    /// Adds a host to a site.
    ///
    /// # Errors
    /// Whatever `ip` objects to.
    pub fn add_host(&mut self, site: &mut Site, name: &str) -> Result<Host, LabError> {
        let addresses = self.routers[site.router].free_addresses(1);
        let namespace = Namespace::new(&self.owner, name)?;
        self.join(Outside::Router(site.router), &namespace, "eth0", &addresses, true)?;
        let proxy = site.proxy.map(|(_, proxy)| proxy);
        Ok(Host { proxy, ..self.host(name, namespace, addresses) })
    }

    /// The innermost router of a site, to run programs on. Its interfaces are `lan` and `wan`.
    pub fn router(&self, site: &Site) -> Host {
        let router = &self.routers[site.router];
        Host {
            name: format!("{}-router", site.name),
            namespace: router.namespace.name().to_owned(),
            addresses: vec![router.address(1)],
            proxy: None,
        }
    }

    fn host(&mut self, name: &str, namespace: Namespace, addresses: Vec<Ipv4Addr>) -> Host {
        let host =
            Host { name: name.to_owned(), namespace: namespace.name().to_owned(), addresses, proxy: None };
        self.hosts.push(namespace);
        host
    }

    fn public_addresses(&mut self, count: u8) -> Vec<Ipv4Addr> {
        let first = self.outer_addresses;
        self.outer_addresses += u16::from(count);
        let address = |n: u16| Ipv4Addr::new(5, 5, 6 + (n / 200) as u8, 1 + (n % 200) as u8);
        (first..self.outer_addresses).map(address).collect()
    }

    /// Makes the network with this first address reachable from outside.
    fn route(&self, outside: Outside, inside: Ipv4Addr, via: Ipv4Addr) -> Result<(), LabError> {
        let namespace = match outside {
            Outside::Internet => &self.internet,
            Outside::Router(outer) => &self.routers[outer].namespace,
        };
        namespace.ip(&format!("route add {inside}/24 via {via}"))
    }

    /// Links a namespace to what is outside of it. `owns`: whether it has the addresses, or only answers when
    /// somebody asks on the wire who does.
    fn join(
        &mut self,
        outside: Outside,
        namespace: &Namespace,
        device: &str,
        addresses: &[Ipv4Addr],
        owns: bool,
    ) -> Result<(), LabError> {
        self.links += 1;
        let port = format!("link{}", self.links);
        let name = namespace.name();
        let mut outer = format!("link add {port} type veth peer name {device} netns {name}\n");
        let mut inner = format!("link set {device} up\n");
        let (gateway, length) = match outside {
            // Each has a link of its own to the internet, which routes to its addresses one by one.
            Outside::Internet => {
                outer += &format!("addr add {GATEWAY}/32 dev {port}\n link set {port} up\n");
                for address in addresses {
                    outer += &format!("route add {address}/32 dev {port}\n");
                }
                inner += &format!("route add {GATEWAY} dev {device}\n");
                (GATEWAY, 32)
            }
            Outside::Router(router) => {
                outer += &format!("link set {port} master {LAN} up\n");
                let router = &self.routers[router];
                if !owns {
                    inner += &format!("route add {}/24 dev {device}\n", router.inside);
                }
                (router.address(1), 24)
            }
        };
        for address in addresses {
            inner += &match owns {
                true => format!("addr add {address}/{length} dev {device}\n"),
                false => format!("neigh add proxy {address} dev {device}\n"),
            };
        }
        inner += &format!("route add default via {gateway}\n");
        let above = match outside {
            Outside::Internet => &self.internet,
            Outside::Router(router) => &self.routers[router].namespace,
        };
        above.ip(&outer)?;
        namespace.ip(&inner)?;
        if !owns {
            // Otherwise it thinks for up to 0.8 s before it answers for somebody else.
            let delay = format!("net/ipv4/neigh/{device}/proxy_delay");
            namespace.sysctls(&[(&delay, "0")])?;
        }
        Ok(())
    }
}

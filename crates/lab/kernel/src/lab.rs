use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::process::Command;

use crate::error::LabError;
use crate::namespace::{Namespace, Owner, command_in, run};
use crate::preset::Preset;

/// The internet's side of every public link.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(5, 5, 0, 1);

/// A small internet of network namespaces. See the [crate's front page](crate).
#[derive(Debug)]
pub struct Lab {
    owner: Owner,
    /// Routes between everything that is public.
    internet: Namespace,
    namespaces: Vec<Namespace>,
    servers: u8,
    sites: u8,
    links: u32,
}

/// A network behind a router.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    router: usize,
    number: u8,
    preset: Preset,
    external: Ipv4Addr,
    hosts: u8,
}

/// A computer in the lab: a namespace in which programs can be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    name: String,
    namespace: String,
    addresses: Vec<Ipv4Addr>,
}

impl Site {
    /// The router's public address.
    pub fn external_address(&self) -> Ipv4Addr {
        self.external
    }

    /// How the router treats packets.
    pub fn preset(&self) -> Preset {
        self.preset
    }

    /// The first three numbers of the addresses inside.
    fn prefix(&self) -> [u8; 3] {
        if self.preset.translates() { [10, self.number, 0] } else { [5, 6, self.number] }
    }

    fn address(&self, number: u8) -> Ipv4Addr {
        let [a, b, c] = self.prefix();
        Ipv4Addr::new(a, b, c, number)
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

    /// A command that will run on this host. Killing the child kills the program.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        command_in(&self.namespace, program)
    }
}

impl Lab {
    /// An empty internet. What dead processes left behind is removed first.
    ///
    /// # Errors
    /// [`LabError::NotRoot`], [`LabError::Missing`], or whatever `ip` objects to.
    pub fn new() -> Result<Self, LabError> {
        for (program, argument, package) in [("ip", "-V", "iproute2"), ("nft", "--version", "nftables")] {
            run(Command::new(program).arg(argument), "")
                .map_err(|_| LabError::Missing { program, package })?;
        }
        let id = run(Command::new("id").arg("-u"), "")?;
        if id.stdout.trim_ascii() != b"0" {
            return Err(LabError::NotRoot);
        }
        let owner = Owner::new()?;
        let internet = Namespace::new(&owner, "internet")?;
        internet.sysctl("net/ipv4/ip_forward", "1")?;
        Ok(Self { owner, internet, namespaces: Vec::new(), servers: 0, sites: 0, links: 0 })
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
        self.join_internet(&namespace, "eth0", &addresses)?;
        Ok(self.host(name, namespace, addresses))
    }

    /// Adds a network behind a router: 10.N.0.0/24, or 5.6.N.0/24 if the router does not translate.
    ///
    /// # Errors
    /// Whatever `ip` or `nft` object to.
    pub fn add_site(&mut self, name: &str, preset: Preset) -> Result<Site, LabError> {
        self.sites += 1;
        let number = self.sites;
        let external = Ipv4Addr::new(5, 5, 6, number);
        let router = Namespace::new(&self.owner, &format!("{name}-router"))?;
        self.join_internet(&router, "wan", &[external])?;
        let site = Site { router: self.namespaces.len(), number, preset, external, hosts: 0 };
        router.ip(&format!(
            "link add lan type bridge\n addr add {}/24 dev lan\n link set lan up",
            site.address(1)
        ))?;
        router.sysctl("net/ipv4/ip_forward", "1")?;
        // Packets between the hosts of the site are the bridge's business; this file exists only where the kernel
        // could make it otherwise.
        let _ = router.sysctl("net/bridge/bridge-nf-call-iptables", "0");
        router.nft(&preset.rules())?;
        if !preset.translates() {
            self.internet.ip(&format!("route add {}/24 via {external}", site.address(0)))?;
        }
        self.namespaces.push(router);
        Ok(site)
    }

    /// Adds a host to a site.
    ///
    /// # Errors
    /// Whatever `ip` objects to.
    pub fn add_host(&mut self, site: &mut Site, name: &str) -> Result<Host, LabError> {
        site.hosts += 1;
        let address = site.address(9 + site.hosts);
        let namespace = Namespace::new(&self.owner, name)?;
        let port = format!("host{}", site.hosts);
        let router = &self.namespaces[site.router];
        router.ip(&format!(
            "link add {port} type veth peer name eth0 netns {}\n link set {port} master lan up",
            namespace.name()
        ))?;
        namespace.ip(&format!(
            "addr add {address}/24 dev eth0\n link set eth0 up\n route add default via {}",
            site.address(1)
        ))?;
        Ok(self.host(name, namespace, vec![address]))
    }

    fn host(&mut self, name: &str, namespace: Namespace, addresses: Vec<Ipv4Addr>) -> Host {
        let host = Host { name: name.to_owned(), namespace: namespace.name().to_owned(), addresses };
        self.namespaces.push(namespace);
        host
    }

    /// Links a namespace to the internet, which routes to its addresses one by one.
    fn join_internet(
        &mut self,
        namespace: &Namespace,
        device: &str,
        addresses: &[Ipv4Addr],
    ) -> Result<(), LabError> {
        self.links += 1;
        let port = format!("link{}", self.links);
        let mut outer = format!(
            "link add {port} type veth peer name {device} netns {}\n\
             addr add {GATEWAY}/32 dev {port}\n link set {port} up\n",
            namespace.name()
        );
        let mut inner = format!("link set {device} up\n");
        for address in addresses {
            outer += &format!("route add {address}/32 dev {port}\n");
            inner += &format!("addr add {address}/32 dev {device}\n");
        }
        inner += &format!("route add {GATEWAY} dev {device}\n route add default via {GATEWAY}\n");
        self.internet.ip(&outer)?;
        namespace.ip(&inner)
    }
}

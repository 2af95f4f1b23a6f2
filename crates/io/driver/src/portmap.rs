//! Asks the router to map a port to each of our sockets: by PCP (RFC 6887), NAT-PMP (RFC 6886) or UPnP-IGD, whichever it
//! understands. Nobody waits for it; what the router grants becomes a candidate, is renewed, and given back at the end.

mod probe;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Weak;
use std::time::Duration;

use crab_nat::{
    InternetProtocol, MappingFailure, PortMapping, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp,
};
use igd_next::aio::{self, tokio::Tokio};
use igd_next::{PortMappingProtocol, SearchOptions};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use crate::Shared;
use crate::state::State;
pub use probe::{PortMappers, port_mappers};

/// For how long a port is asked for. It is renewed at half time, and ends by itself if we cannot give it back.
const LEASE: u32 = 3600;
/// After the last news of a socket: how long another one may take to come.
const SETTLING: Duration = Duration::from_millis(30);
/// After an attempt that failed: a router may have rebooted, and not be up yet.
const AGAIN: Duration = Duration::from_secs(60);
/// How long a router may take to say that it knows UPnP.
const SEARCH: Duration = Duration::from_millis(2500);
/// What a router of the local network that speaks PCP or NAT-PMP needs is milliseconds.
const PATIENCE: TimeoutConfig = TimeoutConfig {
    initial_timeout: Duration::from_millis(250),
    max_retries: 2,
    max_retry_timeout: Some(Duration::from_millis(500)),
};
/// How the mapping is called in the router's table.
const NAME: &str = "sterna";

/// Maps the sockets that `sockets` lists, until its sender is gone.
pub(crate) async fn run(shared: Weak<Shared<State>>, mut sockets: watch::Receiver<Vec<SocketAddr>>) {
    // What each socket's task waits for: to be told that the socket is gone.
    let mut running: BTreeMap<SocketAddr, watch::Sender<()>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    // First attempts that have not come to anything yet.
    let mut attempts = JoinSet::new();
    let mut told = true;
    loop {
        let all = sockets.borrow_and_update().clone();
        told &= all.is_empty();
        let wanted: Vec<SocketAddr> = all.into_iter().filter(|socket| may_be_mapped(*socket)).collect();
        running.retain(|socket, _| wanted.contains(socket));
        for socket in wanted {
            running.entry(socket).or_insert_with(|| {
                let (stop, stopped) = watch::channel(());
                let (tried, attempt) = oneshot::channel::<()>();
                attempts.spawn(async move { drop(attempt.await) });
                tasks.spawn(keep(shared.clone(), socket, stopped, tried));
                stop
            });
        }
        let changed = loop {
            tokio::select! {
                changed = sockets.changed() => break changed,
                Some(_) = attempts.join_next() => {}
                // Sockets come one by one.
                () = tokio::time::sleep(SETTLING), if attempts.is_empty() && !told => {
                    tell(&shared, |state, now| state.connection.end_of_mappings(now));
                    told = true;
                }
            }
        };
        while tasks.try_join_next().is_some() {}
        if changed.is_err() {
            break;
        }
    }
    // What was granted is given back.
    drop(running);
    while tasks.join_next().await.is_some() {}
}

/// Only private addresses are behind a router that can be asked.
fn may_be_mapped(socket: SocketAddr) -> bool {
    matches!(socket.ip(), IpAddr::V4(address) if address.is_private())
}

/// Keeps a port mapped to `local` until `stopped`. `tried` is dropped once it is known whether that works.
async fn keep(
    shared: Weak<Shared<State>>,
    local: SocketAddr,
    mut stopped: watch::Receiver<()>,
    tried: oneshot::Sender<()>,
) {
    let mut tried = Some(tried);
    loop {
        let granted = tokio::select! {
            granted = map(local) => granted,
            // A request on its way may be granted yet; it is short-lived, and nobody uses it.
            _ = stopped.changed() => return,
        };
        if let Some((mut mapping, mapped)) = granted {
            tracing::debug!(%local, %mapped, by = mapping.name(), "the router maps a port");
            tell(&shared, |state, now| state.connection.add_mapping(now, local, mapped, mapping.name()));
            tried.take();
            let mut granted = true;
            while granted {
                tokio::select! {
                    () = tokio::time::sleep(mapping.half_time()) => {
                        granted = mapping.renew(local).await == Some(mapped);
                    }
                    _ = stopped.changed() => return mapping.release().await,
                }
            }
            tracing::debug!(%local, %mapped, "the router maps it no more");
            tell(&shared, |state, _| state.connection.remove_mapping(local, mapped));
        }
        tried.take();
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = stopped.changed() => return,
        }
    }
}

fn tell(shared: &Weak<Shared<State>>, what: impl FnOnce(&mut State, sansio::Time)) {
    if let Some(shared) = shared.upgrade() {
        let now = shared.now();
        what(&mut shared.lock(), now);
        shared.wake();
    }
}

/// What a router has granted.
enum Mapping {
    /// PCP or NAT-PMP.
    Port(Box<PortMapping>),
    Upnp {
        gateway: Box<aio::Gateway<Tokio>>,
        external: SocketAddr,
    },
}

/// Asks for a port, in all languages at once; the shorter ones are preferred.
async fn map(local: SocketAddr) -> Option<(Mapping, SocketAddr)> {
    let options = {
        let mut options = SearchOptions::default();
        options.bind_addr = SocketAddr::new(local.ip(), 0);
        options.timeout = Some(SEARCH);
        options
    };
    // The search changes nothing at the router, so that it need not wait for the outcome of the other.
    let search = tokio::spawn(aio::tokio::search_gateway(options));
    if let Some(found) = port(local).await {
        search.abort();
        return Some(found);
    }
    match search.await {
        Ok(Ok(gateway)) => upnp(gateway, local).await,
        Ok(Err(error)) => {
            tracing::debug!(%local, %error, "no router that maps ports");
            None
        }
        Err(_) => None,
    }
}

/// By PCP, or by NAT-PMP if the router is older.
async fn port(local: SocketAddr) -> Option<(Mapping, SocketAddr)> {
    let gateway = gateway_of(local.ip())?;
    let options = PortMappingOptions {
        external_port: NonZeroU16::new(local.port()),
        lifetime_seconds: Some(LEASE),
        timeout_config: Some(PATIENCE),
    };
    let internal = NonZeroU16::new(local.port())?;
    let (gateway_address, udp) = (gateway.into(), InternetProtocol::Udp);
    let mut asked = PortMapping::new(gateway_address, local.ip(), udp, internal, options).await;
    // A router of the time before PCP says so in its own language (RFC 6887 §9); or it is silent about what it does not know.
    if let Err(MappingFailure::Pcp(_)) = asked {
        asked = natpmp::port_mapping(gateway_address, udp, internal, options).await.map_err(Into::into);
    }
    let mapping = match asked {
        Ok(mapping) => mapping,
        Err(error) => {
            tracing::debug!(%gateway, %error, "neither PCP nor NAT-PMP");
            return None;
        }
    };
    let external = external(&mapping).await?;
    Some((Mapping::Port(Box::new(mapping)), external))
}

/// The address that a mapping is reached at.
async fn external(mapping: &PortMapping) -> Option<SocketAddr> {
    let address = match mapping.mapping_type() {
        PortMappingType::Pcp { external_ip, .. } => external_ip,
        PortMappingType::NatPmp => {
            natpmp::external_address(mapping.gateway(), Some(PATIENCE)).await.ok()?.into()
        }
    };
    usable(SocketAddr::new(address.to_canonical(), mapping.external_port().get()))
}

async fn upnp(gateway: aio::Gateway<Tokio>, local: SocketAddr) -> Option<(Mapping, SocketAddr)> {
    let address = gateway.get_external_ip().await.ok()?;
    let udp = PortMappingProtocol::UDP;
    // Its own number, if that is free: then its STUN address is the same, and needs no checks of its own.
    let port = match gateway.add_port(udp, local.port(), local, LEASE, NAME).await {
        Ok(()) => local.port(),
        Err(_) => gateway.add_any_port(udp, local, LEASE, NAME).await.ok()?,
    };
    let external = usable(SocketAddr::new(address, port))?;
    Some((Mapping::Upnp { gateway: Box::new(gateway), external }, external))
}

/// A router without an uplink tells nonsense.
fn usable(external: SocketAddr) -> Option<SocketAddr> {
    let ip = external.ip();
    (!ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast() && external.port() != 0)
        .then_some(external)
}

impl Mapping {
    /// How it came about, for people.
    fn name(&self) -> &'static str {
        match self {
            Self::Upnp { .. } => "upnp",
            Self::Port(mapping) => match mapping.mapping_type() {
                PortMappingType::NatPmp => "nat-pmp",
                PortMappingType::Pcp { .. } => "pcp",
            },
        }
    }

    /// When it is to be renewed.
    fn half_time(&self) -> Duration {
        let seconds = match self {
            Self::Port(mapping) => mapping.lifetime().clamp(2, LEASE),
            Self::Upnp { .. } => LEASE,
        };
        Duration::from_secs(u64::from(seconds / 2))
    }

    /// Asks for it again. Returns where it is reached now.
    async fn renew(&mut self, local: SocketAddr) -> Option<SocketAddr> {
        match self {
            Self::Port(mapping) => {
                mapping.renew().await.ok()?;
                external(mapping).await
            }
            Self::Upnp { gateway, external } => {
                let udp = PortMappingProtocol::UDP;
                gateway.add_port(udp, external.port(), local, LEASE, NAME).await.ok()?;
                Some(SocketAddr::new(gateway.get_external_ip().await.ok()?, external.port()))
            }
        }
    }

    /// Gives it back.
    async fn release(self) {
        match self {
            Self::Port(mapping) => {
                if let Err((error, _)) = mapping.try_drop().await {
                    tracing::debug!(%error, "a mapping could not be given back");
                }
            }
            Self::Upnp { gateway, external } => {
                let given = gateway.remove_port(PortMappingProtocol::UDP, external.port()).await;
                if let Err(error) = given {
                    tracing::debug!(%error, "a mapping could not be given back");
                }
            }
        }
    }
}

/// The router that packets from `local` take. Known on Linux only; elsewhere UPnP, which finds its router by itself, has
/// to do.
fn gateway_of(local: IpAddr) -> Option<Ipv4Addr> {
    let interface = if_addrs::get_if_addrs().ok()?.into_iter().find(|one| one.ip() == local)?.name;
    parse_routes(&std::fs::read_to_string("/proc/net/route").ok()?, &interface)
}

/// Lines of `interface destination gateway flags …`, addresses in hexadecimal and in the machine's byte order.
fn parse_routes(table: &str, interface: &str) -> Option<Ipv4Addr> {
    table.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let of_interface = fields.next()? == interface;
        let default = fields.next()? == "00000000";
        let gateway = u32::from_str_radix(fields.next()?, 16).ok()?;
        (of_interface && default && gateway != 0).then(|| Ipv4Addr::from(gateway.to_ne_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routes_of_linux_are_read() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                     eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
                     eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\n";
        if cfg!(target_endian = "little") {
            assert_eq!(parse_routes(table, "eth0"), Some(Ipv4Addr::new(192, 168, 0, 1)));
        }
        assert_eq!(parse_routes(table, "eth1"), None);
        assert_eq!(parse_routes("", "eth0"), None);
    }

    #[test]
    fn only_private_addresses_are_mapped() {
        let may = |text: &str| may_be_mapped(text.parse().unwrap());
        assert!(may("192.168.1.2:5") && may("10.0.0.1:5"));
        assert!(!may("127.0.0.1:5") && !may("5.5.5.5:5") && !may("[fd00::1]:5") && !may("169.254.1.1:5"));
    }
}

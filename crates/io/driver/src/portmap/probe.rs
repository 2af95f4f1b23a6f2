//! Which port-mapping protocols the router speaks. Nothing is mapped to find that out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crab_nat::natpmp;
use igd_next::{SearchOptions, aio};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{PATIENCE, gateway_of, may_be_mapped};

/// The port of PCP and NAT-PMP (RFC 6887 §19.1).
const PORT: u16 = 5351;
/// How long a router may take to say that it knows UPnP.
const SEARCH: Duration = Duration::from_millis(1500);
/// How often PCP is asked, and how far apart.
const TRIES: usize = 3;
const GAP: Duration = Duration::from_millis(300);

/// Which of the protocols that map ports a router answers to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortMappers {
    /// The router that was asked for PCP and NAT-PMP, if it is known.
    pub gateway: Option<Ipv4Addr>,
    /// PCP (RFC 6887).
    pub pcp: bool,
    /// NAT-PMP (RFC 6886).
    pub nat_pmp: bool,
    /// UPnP-IGD.
    pub upnp: bool,
}

/// Asks the router in front of `local`, in all languages at once. `None`: that is no address that a router would map to.
pub async fn port_mappers(local: IpAddr) -> Option<PortMappers> {
    if !may_be_mapped(SocketAddr::new(local, PORT)) {
        return None;
    }
    let gateway = gateway_of(local);
    let pcp = async {
        match gateway {
            Some(gateway) => speaks_pcp(local, (gateway, PORT).into()).await.unwrap_or(false),
            None => false,
        }
    };
    let nat_pmp = async {
        match gateway {
            Some(gateway) => natpmp::external_address(gateway.into(), Some(PATIENCE)).await.is_ok(),
            None => false,
        }
    };
    let upnp = async {
        let mut options = SearchOptions::default();
        options.bind_addr = SocketAddr::new(local, 0);
        options.timeout = Some(SEARCH);
        aio::tokio::search_gateway(options).await.is_ok()
    };
    let (pcp, nat_pmp, upnp) = tokio::join!(pcp, nat_pmp, upnp);
    Some(PortMappers { gateway, pcp, nat_pmp, upnp })
}

/// ANNOUNCE "is used by clients to validate … that PCP servers are reachable" (RFC 6887 §14.1).
async fn speaks_pcp(local: IpAddr, gateway: SocketAddr) -> Option<bool> {
    let IpAddr::V4(own) = local else { return None };
    let socket = UdpSocket::bind((local, 0)).await.ok()?;
    socket.connect(gateway).await.ok()?;
    let mut request = [0; 24];
    request[0] = 2;
    request[8..].copy_from_slice(&own.to_ipv6_mapped().octets());
    let mut answer = [0; 1100];
    for _ in 0..TRIES {
        socket.send(&request).await.ok()?;
        if let Ok(received) = timeout(GAP, socket.recv(&mut answer)).await {
            // A router that knows NAT-PMP alone answers with that one's version (RFC 6887 §9).
            let length = received.ok()?;
            return Some(length >= 24 && answer[0] == 2 && answer[1] & 0x80 != 0);
        }
    }
    Some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pcp_is_told_from_nat_pmp() {
        for (version, expected) in [(2, true), (0, false)] {
            let router = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            let at = router.local_addr().unwrap();
            let asked = tokio::spawn(speaks_pcp(Ipv4Addr::LOCALHOST.into(), at));
            let mut request = [0; 100];
            let (length, from) = router.recv_from(&mut request).await.unwrap();
            assert_eq!((length, request[0], request[1]), (24, 2, 0));
            let mut answer = [0; 24];
            (answer[0], answer[1]) = (version, 0x80);
            router.send_to(&answer, from).await.unwrap();
            assert_eq!(asked.await.unwrap(), Some(expected));
        }
        let silent = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = silent.local_addr().unwrap();
        assert_eq!(speaks_pcp(Ipv4Addr::LOCALHOST.into(), at).await, Some(false));
        assert_eq!(port_mappers("198.51.100.1".parse().unwrap()).await, None, "no router maps to it");
    }
}

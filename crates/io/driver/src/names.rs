//! Names, and the services in them: literals at once, `.local` by multicast, all else by the system's resolver and, where
//! SRV records may say more, its DNS servers.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ice::ServerUrl;
use sansio::{Seed, SocketError, Transport};
use tokio::task::JoinSet;
use tokio::time::timeout;
use turn::discovery::{Config, Discovery, Relay, Wanted};

use crate::connect;
use crate::discover::{answer_by_dns, system_nameservers};
use crate::mdns::Mdns;

/// How much longer than the addresses of a name the records of its services may take: there are none of most names, and
/// some networks do not answer that.
const PATIENCE: Duration = Duration::from_millis(500);
/// Servers of one service that are looked up.
const MAX_TARGETS: usize = 4;

/// Looks names up.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    mdns: Mdns,
    /// Asked for records in place of the system's.
    nameservers: Option<Vec<SocketAddr>>,
}

impl Names {
    /// Answers for `name` from now on.
    pub(crate) fn publish(&self, name: String, address: IpAddr) {
        self.mdns.publish(name, address);
    }

    /// The addresses of a name: at least one.
    pub(crate) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, SocketError> {
        let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        if let Ok(address) = literal.parse() {
            return Ok(vec![address]);
        }
        if is_local(name) {
            return self.mdns.resolve(name).await;
        }
        let lookup = tokio::net::lookup_host((name, 0));
        let found = timeout(connect::DEADLINE, lookup).await.map_err(|_| SocketError::TimedOut)?;
        // The system's resolvers give no usable kind for "there is no such name".
        let found = found.map_err(|error| {
            tracing::debug!(name, %error, "not resolved");
            SocketError::NameNotFound
        })?;
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in found.map(|found: SocketAddr| found.ip()) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() { Err(SocketError::NameNotFound) } else { Ok(addresses) }
    }

    /// The servers of a service, the preferred first: where records say (RFC 8489 §8, RFC 5928 §3), otherwise at `port` of the
    /// name itself. Both are asked for at once.
    pub(crate) async fn locate(
        &self,
        service: &str,
        name: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, SocketError> {
        let records = self.services(service, name);
        let plain = self.resolve(name);
        tokio::pin!(records, plain);
        let (targets, known) = tokio::select! {
            targets = &mut records => (targets, None),
            known = &mut plain => (timeout(PATIENCE, records).await.unwrap_or_default(), Some(known)),
        };
        let found = self.addresses(&targets).await;
        if !found.is_empty() {
            tracing::debug!(service, name, ?found, "found by records");
            return Ok(found);
        }
        let addresses = match known {
            Some(known) => known?,
            None => plain.await?,
        };
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    /// What records say of a service.
    async fn services(&self, service: &str, name: &str) -> Vec<Relay> {
        let (wanted, transport) = match service {
            "_stun._udp" => (Wanted::Stun, Transport::Udp),
            "_stuns._tcp" => (Wanted::Stun, Transport::Tls),
            "_turn._udp" => (Wanted::Turn, Transport::Udp),
            "_turn._tcp" => (Wanted::Turn, Transport::Tcp),
            "_turns._udp" => (Wanted::Turn, Transport::Dtls),
            "_turns._tcp" => (Wanted::Turn, Transport::Tls),
            _ => return Vec::new(),
        };
        let nameservers = self.nameservers.clone().unwrap_or_else(system_nameservers);
        let mut machine = Discovery::new(Config {
            wanted,
            domains: vec![name.to_owned()],
            mdns: false,
            anycast: [false; 2],
            transports: vec![transport],
            seed: Seed(crypto::seed()),
        });
        let mut tasks = JoinSet::new();
        loop {
            while let Some(question) = machine.poll_question() {
                answer_by_dns(&mut tasks, &nameservers, question);
            }
            match tasks.join_next().await {
                Some(Ok((question, records))) => machine.handle_answer(&question, records),
                Some(Err(_)) => {}
                None => return machine.relays(),
            }
        }
    }

    /// The addresses of the servers that records name, in their order.
    async fn addresses(&self, servers: &[Relay]) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for server in servers.iter().take(MAX_TARGETS) {
            let found = self.resolve(&server.host).await.unwrap_or_default();
            addresses.extend(found.into_iter().map(|address| SocketAddr::new(address, server.port)));
        }
        addresses
    }
}

/// Whether `name` is resolved by multicast (RFC 6762 §3).
fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    name.len() > 6 && name[name.len() - 6..].eq_ignore_ascii_case(b".local")
}

/// The addresses of a STUN or TURN server, the preferred first. Without a port in its URL, the records of its domain may say
/// where it is (RFC 8489 §8, RFC 5928 §3).
///
/// # Errors
/// If there is no such name.
pub async fn locate(url: &ServerUrl) -> Result<Vec<SocketAddr>, SocketError> {
    let (names, port) = (Names::default(), url.usual_port());
    match url.service() {
        Some(service) => names.locate(service, &url.host, port).await,
        None => Ok(names.resolve(&url.host).await?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UdpSocket;

    use super::*;
    use crate::discover::tests::{nameserver, srv};

    async fn lookup(name: &str) -> Result<Vec<IpAddr>, SocketError> {
        Names::default().resolve(name).await
    }

    #[tokio::test]
    async fn literals_need_no_resolver() {
        assert_eq!(lookup("192.0.2.1").await, Ok(vec!["192.0.2.1".parse().unwrap()]));
        assert_eq!(lookup("[2001:db8::1]").await, Ok(vec!["2001:db8::1".parse().unwrap()]));
        assert_eq!(lookup("2001:db8::1").await, Ok(vec!["2001:db8::1".parse().unwrap()]));
    }

    #[tokio::test]
    async fn localhost_resolves_and_nonsense_does_not() {
        assert!(lookup("localhost").await.unwrap().iter().all(|address| address.is_loopback()));
        // Too long for a query, so that none is made.
        assert_eq!(lookup(&"x".repeat(300)).await, Err(SocketError::NameNotFound));
    }

    #[test]
    fn names_that_end_in_local_are_multicast() {
        assert!(is_local("a.local") && is_local("6f1c.LOCAL."));
        assert!(!is_local(".local") && !is_local("local") && !is_local("a.local.example"));
    }

    fn asking(nameservers: Vec<SocketAddr>) -> Names {
        Names { nameservers: Some(nameservers), ..Names::default() }
    }

    // RFC 8489 §8, RFC 5928 §3.
    #[tokio::test]
    async fn srv_records_say_where_a_service_is() {
        let zone = vec![
            srv("_stun._udp.office.example", 8000, "127.0.0.2"),
            srv("_turns._tcp.office.example", 443, "localhost"),
        ];
        let names = asking(vec![nameserver(zone, Vec::new()).await]);
        // The name itself has no address: the records are all there is.
        let found = names.locate("_stun._udp", "office.example", 3478).await;
        assert_eq!(found, Ok(vec!["127.0.0.2:8000".parse().unwrap()]));
        let found = names.locate("_turns._tcp", "office.example", 5349).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 443), "{found:?}");
        assert_eq!(names.locate("_turn._udp", "office.example", 3478).await, Err(SocketError::NameNotFound));
    }

    #[tokio::test]
    async fn without_records_it_is_the_name_and_its_usual_port() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let silent = silent.local_addr().map(|address| (silent, address)).unwrap();
        for nameservers in [vec![nameserver(Vec::new(), Vec::new()).await], vec![silent.1], Vec::new()] {
            let found = asking(nameservers).locate("_turn._udp", "localhost", 3478).await.unwrap();
            assert!(
                found.iter().all(|address| address.ip().is_loopback() && address.port() == 3478),
                "{found:?}"
            );
        }
    }
}

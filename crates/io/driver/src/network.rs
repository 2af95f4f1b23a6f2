//! What takes the network's time: connecting, looking names up, answering for them.

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use sansio::{Path, SocketError, SocketOp, SocketReply, Ticket};
use tokio::task::JoinSet;

use crate::connect::{self, Connector, Io};
use crate::mdns::Mdns;

/// How an engine opens streams and looks names up.
///
/// Each task that it needs on the way belongs to the engine and ends with it.
#[derive(Debug, Default)]
pub struct Network {
    connector: Connector,
    mdns: Mdns,
    tasks: JoinSet<Outcome>,
}

/// What a task came back with.
pub(crate) enum Outcome {
    /// The answer for the machine.
    Reply(SocketReply),
    /// A stream is open.
    Connected { ticket: Ticket, path: Path, io: Io },
}

impl Network {
    /// A network that opens streams by `connector`.
    pub fn new(connector: Connector) -> Self {
        Self { connector, ..Self::default() }
    }

    /// Starts what `op` asks for; its outcome comes from [`Network::poll`].
    pub(crate) fn start(&mut self, op: SocketOp) {
        match op {
            SocketOp::Connect { ticket, transport, local, remote, server_name } => {
                let connector = self.connector.clone();
                self.tasks.spawn(async move {
                    match connector.connect(transport, local, remote, &server_name).await {
                        Ok((path, io)) => Outcome::Connected { ticket, path, io },
                        Err(error) => Outcome::Reply(SocketReply::Failed { ticket, error }),
                    }
                });
            }
            SocketOp::Resolve { ticket, name } => {
                let mdns = self.mdns.clone();
                self.tasks.spawn(async move {
                    Outcome::Reply(match resolve(&mdns, &name).await {
                        Ok(addresses) => SocketReply::Resolved { ticket, addresses },
                        Err(error) => SocketReply::Failed { ticket, error },
                    })
                });
            }
            SocketOp::Publish { name, address } => self.mdns.publish(name, address),
            SocketOp::Bind { .. } | SocketOp::Unbind { .. } | SocketOp::Disconnect { .. } => {}
        }
    }

    /// The next outcome.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        loop {
            match self.tasks.poll_join_next(cx) {
                Poll::Ready(Some(Ok(outcome))) => return Poll::Ready(outcome),
                Poll::Ready(Some(Err(error))) => tracing::error!(%error, "a network task failed"),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Looks `name` up: literals at once, `.local` by multicast, all else by the system's resolver.
async fn resolve(mdns: &Mdns, name: &str) -> Result<Vec<IpAddr>, SocketError> {
    let literal = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = literal.parse() {
        return Ok(vec![address]);
    }
    if is_local(name) {
        return mdns.resolve(name).await;
    }
    let lookup = tokio::net::lookup_host((name, 0));
    let found = tokio::time::timeout(connect::DEADLINE, lookup).await.map_err(|_| SocketError::TimedOut)?;
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

/// Whether `name` is resolved by multicast (RFC 6762 §3).
fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).as_bytes();
    name.len() > 6 && name[name.len() - 6..].eq_ignore_ascii_case(b".local")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lookup(name: &str) -> Result<Vec<IpAddr>, SocketError> {
        resolve(&Mdns::default(), name).await
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
}

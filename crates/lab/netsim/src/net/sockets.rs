use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sansio::{SocketError, SocketOp, SocketReply, Ticket, Transport};

use super::{HostId, Net};
use crate::host::Listener;
use crate::nat::synthesize;

/// Sockets that are there without the machine asking, as a driver opens them before it starts a machine.
impl Net {
    /// Opens a UDP socket on a host; port 0 becomes an ephemeral one, the unspecified address stands for all.
    ///
    /// # Errors
    /// As a real host: [`SocketError::InUse`], or [`SocketError::Unreachable`] if the address is not the host's.
    pub fn bind(&mut self, host: HostId, local: SocketAddr) -> Result<SocketAddr, SocketError> {
        self.hosts[host.0].bind(local)
    }

    /// Accepts streams at an address of a host, or with the unspecified address at all of them. The machine
    /// learns of a stream by its first message. A TLS listener's certificate carries every name; whoever speaks
    /// something else there is hung up on.
    ///
    /// # Errors
    /// [`SocketError::InUse`], or [`SocketError::Unreachable`] if the address is not the host's.
    ///
    /// # Panics
    /// If `transport` is UDP.
    pub fn listen(
        &mut self,
        host: HostId,
        transport: Transport,
        local: SocketAddr,
    ) -> Result<(), SocketError> {
        assert!(transport != Transport::Udp, "UDP sockets do not listen");
        self.add_listener(host, local, Listener { transport, name: None })
    }

    /// Accepts TLS streams with a certificate that carries only `name`.
    ///
    /// # Errors
    /// As [`Net::listen`].
    pub fn listen_tls(&mut self, host: HostId, local: SocketAddr, name: &str) -> Result<(), SocketError> {
        let listener = Listener { transport: Transport::Tls, name: Some(name.to_ascii_lowercase()) };
        self.add_listener(host, local, listener)
    }

    fn add_listener(
        &mut self,
        host: HostId,
        local: SocketAddr,
        listener: Listener,
    ) -> Result<(), SocketError> {
        let host = &mut self.hosts[host.0];
        if !local.ip().is_unspecified() && !host.owns(local.ip()) {
            return Err(SocketError::Unreachable);
        }
        if host.listener_for(local).is_some() {
            return Err(SocketError::InUse);
        }
        host.listeners.insert(local, listener);
        Ok(())
    }

    pub(super) fn do_socket_op(&mut self, host: HostId, op: SocketOp) {
        match op {
            SocketOp::Bind { ticket, local } => {
                let reply = match self.hosts[host.0].bind(local) {
                    Ok(local) => SocketReply::Bound { ticket, local },
                    Err(error) => SocketReply::Failed { ticket, error },
                };
                self.reply(host, Duration::ZERO, reply);
            }
            SocketOp::Connect { ticket, transport, local, remote, server_name } => {
                if let Err(error) = self.connect(host, ticket, transport, local, remote, server_name) {
                    let reply = SocketReply::Failed { ticket, error };
                    self.reply(host, Duration::ZERO, reply);
                }
            }
            SocketOp::Resolve { ticket, name } => {
                let (addresses, delay) = self.look_up(host, &name);
                let reply = if addresses.is_empty() {
                    SocketReply::Failed { ticket, error: SocketError::NameNotFound }
                } else {
                    SocketReply::Resolved { ticket, addresses }
                };
                self.reply(host, delay, reply);
            }
            SocketOp::Locate { ticket, service, name, port } => {
                self.locate(host, ticket, service, name, port)
            }
            SocketOp::Publish { name, address } => {
                for interface in &self.hosts[host.0].interfaces {
                    self.names.publish(host, interface.segment, &name, address);
                }
            }
            SocketOp::Unbind { local } => self.hosts[host.0].unbind(local),
            SocketOp::Disconnect { path } => self.disconnect(host, path),
        }
    }

    /// By SRV records, or where there are none by the name and its usual port.
    fn locate(&mut self, host: HostId, ticket: Ticket, service: &str, name: String, port: u16) {
        let mut servers = self.names.services(&format!("{service}.{name}"));
        if servers.is_empty() {
            servers.push((name, port));
        }
        let mut addresses = Vec::new();
        let mut slowest = Duration::ZERO;
        for (target, port) in servers {
            let (found, delay) = self.look_up(host, &target);
            slowest = slowest.max(delay);
            addresses.extend(found.into_iter().map(|address| SocketAddr::new(address, port)));
        }
        let reply = if addresses.is_empty() {
            SocketReply::Failed { ticket, error: SocketError::NameNotFound }
        } else {
            SocketReply::Located { ticket, addresses }
        };
        self.reply(host, slowest, reply);
    }

    /// The addresses of a name, and how long it takes to learn them.
    fn look_up(&self, host: HostId, name: &str) -> (Vec<IpAddr>, Duration) {
        let name = name.trim_end_matches('.');
        let timing = self.timing;
        let linked = self.hosts[host.0].interfaces.iter().filter(|interface| self.wires[interface.wire].up);
        let segments: Vec<_> = linked.map(|interface| interface.segment).collect();
        if let Ok(address) = name.parse::<IpAddr>() {
            (vec![address], Duration::ZERO)
        } else if name.to_ascii_lowercase().ends_with(".local") {
            let awake = |host: HostId| self.hosts[host.0].asleep.is_none();
            let found = segments.iter().flat_map(|&segment| self.names.mdns(segment, name));
            let found: Vec<_> = found.filter(|(host, _)| awake(*host)).map(|(_, address)| address).collect();
            let delay = if found.is_empty() { timing.mdns_timeout } else { timing.mdns };
            (found, delay)
        } else if segments.is_empty() {
            (Vec::new(), timing.dns)
        } else {
            let mut found = self.names.dns(name);
            if segments.iter().any(|&segment| self.segments[segment.0].dns64)
                && !found.iter().any(IpAddr::is_ipv6)
            {
                // RFC 6147 §5.1.7: the synthesized addresses, and no others that this network could not use.
                for address in &mut found {
                    if let IpAddr::V4(v4) = *address {
                        *address = synthesize(v4).into();
                    }
                }
            }
            (found, timing.dns)
        }
    }
}

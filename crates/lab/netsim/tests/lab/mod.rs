//! What the tests share: puppets on hosts, and what they heard.
#![allow(dead_code)]

pub(crate) mod probe;

use std::net::SocketAddr;
use std::time::Duration;

use sansio::{Path, SocketReply, Time};
use sterna_netsim::{Content, HostId, Nat, NatBehaviour, Net, Puppet, Refusal, Seen, SegmentId, Translator};

pub(crate) const PORT: u16 = 5000;

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A host with a puppet whose UDP socket is bound to [`PORT`].
pub(crate) fn puppet(net: &mut Net, name: &str, segment: SegmentId) -> HostId {
    let host = net.add_host(name, &[segment]);
    for address in net.addresses(host) {
        net.bind(host, SocketAddr::new(address, PORT)).unwrap();
    }
    net.start(host, Puppet::default());
    host
}

/// Sends from a host's [`PORT`], and lets it arrive.
pub(crate) fn send(net: &mut Net, from: HostId, to: SocketAddr, what: &str) {
    let local =
        net.addresses(from).into_iter().find(|own| own.is_ipv4() == to.is_ipv4()).expect("the same family");
    let path = Path::udp(SocketAddr::new(local, PORT), to);
    net.machine_mut::<Puppet>(from).send(path, what.as_bytes());
    net.run_for(ms(200));
}

/// What a host has received since it was last asked: from where, and what.
pub(crate) fn received(net: &mut Net, host: HostId) -> Vec<(SocketAddr, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let events = net.events::<Puppet>(host).into_iter();
    let messages = events.filter_map(|event| match event {
        Seen::Received { path, bytes, .. } => Some((path.remote, text(bytes))),
        Seen::Socket { .. } => None,
    });
    messages.collect()
}

/// The answers to what a host asked its driver for.
pub(crate) fn replies(net: &mut Net, host: HostId) -> Vec<SocketReply> {
    let events = net.events::<Puppet>(host).into_iter();
    let replies = events.filter_map(|event| match event {
        Seen::Socket { reply, .. } => Some(reply),
        Seen::Received { .. } => None,
    });
    replies.collect()
}

/// A box of one outer address, 5.0.0.1.
pub(crate) fn translator(behaviour: NatBehaviour) -> Translator {
    Translator::new(behaviour, &[[5, 0, 0, 1].into()], 7.into())
}

pub(crate) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Where a datagram to an outer socket ends up inside.
pub(crate) fn into(
    nat: &mut Translator,
    now: Time,
    outer: SocketAddr,
    remote: &str,
) -> Result<SocketAddr, Refusal> {
    nat.inbound(now, Path::udp(outer, socket(remote)), Content::Datagram).map(|path| path.local)
}

pub(crate) fn after(seconds: u64) -> Time {
    Time::ZERO + Duration::from_secs(seconds)
}

use std::net::SocketAddr;

use sansio::{Path, SocketError, SocketReply, Transport};

use super::{HostId, Net, SegmentId};
use crate::stream::{End, Opening, StreamId};
use crate::tls;

/// What two systems say to each other before their machines may: to a proxy, and to begin TLS.
impl Net {
    /// Lets whoever opens a stream out of a network ask this HTTP proxy for it, as a system does that is set up so
    /// (`HTTPS_PROXY`): the machine notices nothing. Streams within the network need no proxy. The preset `http-proxy`
    /// has one.
    pub fn set_proxy(&mut self, segment: SegmentId, proxy: Option<SocketAddr>) {
        self.segments[segment.0].proxy = proxy;
    }

    /// The proxy for a stream of a host that is to have this path.
    pub(super) fn proxy_for(&self, host: HostId, path: Path) -> Option<SocketAddr> {
        let host = &self.hosts[host.0];
        let interface = &host.interfaces[host.interface_of(path.local.ip())?];
        let segment = &self.segments[interface.segment.0];
        let inside = host.owns(path.remote.ip()) || segment.contains(path.remote.ip());
        segment.proxy.filter(|proxy| path.transport.is_stream() && !inside && !host.owns(proxy.ip()))
    }

    /// The client's next step: a word to the proxy, then one to the TLS server, and then its machine may speak.
    pub(super) fn open(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.client.open) else { return };
        let words = if stream.opening < Opening::Proxy && stream.proxy().is_some() {
            stream.opening = Opening::Proxy;
            format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", stream.target()).into_bytes()
        } else if stream.opening < Opening::Tls && stream.is_tls() {
            stream.opening = Opening::Tls;
            tls::hello(&stream.server_name)
        } else {
            stream.opening = Opening::Done;
            let (End { host, path, .. }, ticket) = (stream.client, stream.ticket);
            return self.tell(host, SocketReply::Connected { ticket, path });
        };
        self.send_words(id, true, words);
    }

    /// What a client hears while it is still opening.
    pub(super) fn hear_answer(&mut self, id: StreamId, words: &[u8]) {
        let stream = &self.streams[&id];
        let refusal = match stream.proxy() {
            Some(proxy) if stream.opening == Opening::Proxy => refused_by(proxy, &stream.target(), words),
            _ => mistrusted(&stream.server_name, words),
        };
        match refusal {
            None => self.open(id),
            Some(error) => {
                self.finish(id, true);
                self.break_end(id, true, error);
            }
        }
    }

    /// What a server hears first where TLS is spoken.
    pub(super) fn hear_hello(&mut self, id: StreamId, words: &[u8]) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        stream.waits_for_hello = false;
        let server =
            stream.server.and_then(|server| self.hosts[server.host.0].listener_for(server.wire.local));
        let is_tls = server.is_some_and(|listener| listener.transport == Transport::Tls);
        if tls::asked(words).is_some() && is_tls {
            let name = server.and_then(|listener| listener.name.as_deref()).unwrap_or_default();
            let answer = tls::answer(name);
            return self.send_words(id, false, answer);
        }
        self.send_words(id, false, tls::alert());
        self.finish(id, false);
        self.break_end(id, false, SocketError::Closed);
    }
}

/// What is wrong with a proxy's answer (RFC 9110 §9.3.6), if anything.
fn refused_by(proxy: SocketAddr, target: &str, words: &[u8]) -> Option<SocketError> {
    let words = String::from_utf8_lossy(words);
    let status = words.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or_default();
    let because = match status.as_bytes() {
        [b'2', ..] => return None,
        [] => "does not speak HTTP".to_owned(),
        _ => format!("refuses to connect to {target}: HTTP {status}"),
    };
    Some(SocketError::Other(format!("the proxy {proxy} {because}")))
}

/// What is wrong with a TLS server's answer, if anything: its certificate has to name whom we asked for.
fn mistrusted(asked: &str, words: &[u8]) -> Option<SocketError> {
    let asked = asked.to_ascii_lowercase();
    match tls::certified(words) {
        Some(name) if name.is_empty() || *name == asked => None,
        Some(name) => Some(SocketError::Tls(format!("the certificate is for {name}, not for {asked}"))),
        None => Some(SocketError::Tls("the server does not speak TLS".to_owned())),
    }
}

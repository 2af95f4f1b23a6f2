//! The `iceServers` that clients get: addresses of this server, with credentials that expire.

use sansio::Transport;
use serde_json::{Value, json};
use signal::ClientInfo;

use super::addresses::Addresses;
use super::settings::{Settings, Tls};

/// How long credentials are good for, seconds. A connection that runs longer goes on.
const LIFETIME: u64 = 4 * 3600;

pub(crate) struct IceServers {
    secret: String,
    /// TURN URLs of other relays that share the secret.
    others: Vec<String>,
    /// The address that clients are told; `None`: whatever they reached the page by.
    host: Option<String>,
    /// For people: the first address.
    primary: String,
    stun: u16,
    /// Only where the certificate is one that clients trust.
    turns: Option<u16>,
}

impl IceServers {
    pub(crate) fn new(
        settings: &Settings,
        addresses: &Addresses,
        relay: &relay::Relay,
        secret: String,
    ) -> Self {
        let primary = literal(addresses.names[0]);
        let told = settings.public_ip.is_some() || !settings.listen.is_unspecified();
        let port = |wanted| {
            relay.addresses().iter().find(|(transport, _)| *transport == wanted).map(|(_, at)| at.port())
        };
        let trusted = matches!(settings.tls, Some(Tls::Files { .. }));
        Self {
            secret,
            others: settings.relays.clone(),
            host: told.then(|| primary.clone()),
            primary,
            stun: port(Transport::Udp).unwrap_or(settings.stun),
            turns: port(Transport::Tls).filter(|_| trusted),
        }
    }

    /// The STUN URL, for people.
    pub(crate) fn stun(&self) -> String {
        format!("stun:{}:{}", self.primary, self.stun)
    }

    /// The TURN URLs, for people.
    pub(crate) fn turn(&self) -> Vec<String> {
        self.turn_on(&self.primary)
    }

    /// Other relays first: who names them wants them used, and this server's own stands by.
    fn turn_on(&self, host: &str) -> Vec<String> {
        let mut urls = self.others.clone();
        urls.extend(
            ["udp", "tcp"].map(|transport| format!("turn:{host}:{}?transport={transport}", self.stun)),
        );
        urls.extend(self.turns.map(|port| format!("turns:{host}:{port}?transport=tcp")));
        urls
    }

    /// As `RTCPeerConnection` takes them.
    pub(crate) fn for_client(&self, client: &ClientInfo, now_unix: u64) -> Value {
        let reached = client.host.as_deref().and_then(host_name);
        let host = self.host.as_deref().or(reached).unwrap_or(&self.primary);
        let user = client.connection.to_string();
        let stun = json!({ "urls": [format!("stun:{host}:{}", self.stun)] });
        match stun::credential::rest_credentials(&self.secret, &user, now_unix + LIFETIME) {
            Ok((username, credential)) => {
                json!([stun, { "urls": self.turn_on(host), "username": username, "credential": credential }])
            }
            Err(error) => {
                tracing::error!(%error, "no TURN credentials");
                json!([stun])
            }
        }
    }
}

/// An address as it stands in a URL.
fn literal(address: std::net::IpAddr) -> String {
    if address.is_ipv6() { format!("[{address}]") } else { address.to_string() }
}

/// The name in a `Host` header, without its port.
fn host_name(header: &str) -> Option<&str> {
    let end = match header.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => header.find(':').unwrap_or(header.len()),
    };
    let name = &header[..end];
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '[' | ']' | ':' | '_');
    (!name.is_empty() && name.len() <= 253 && name.chars().all(fine)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_headers_lose_their_port() {
        assert_eq!(host_name("sterna.example:8080"), Some("sterna.example"));
        assert_eq!(host_name("10.0.0.1"), Some("10.0.0.1"));
        assert_eq!(host_name("[2001:db8::1]:8080"), Some("[2001:db8::1]"));
        for bad in ["", ":80", "[", "a\"b", "a b"] {
            assert_eq!(host_name(bad), None, "{bad:?}");
        }
    }
}

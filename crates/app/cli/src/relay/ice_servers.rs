//! The `iceServers` that clients get: addresses of this server, with credentials that expire.

use std::net::IpAddr;

use serde_json::{Value, json};
use stun::credential::SharedSecret;

use super::addresses::Addresses;
use super::listening::Ports;
use super::settings::{Settings, Tls};

/// How clients reach the server.
#[derive(Clone, Debug)]
pub(crate) struct IceServers {
    /// TURN URLs of other relays that share the secret.
    others: Vec<String>,
    /// What clients are told; none: whatever they reached the page by.
    hosts: Vec<String>,
    /// For people: the first address.
    primary: String,
    stun: u16,
    /// Only where the certificate is one that clients trust.
    turns: Vec<u16>,
    dtls: Option<u16>,
    /// What credentials are made with; without it there are STUN URLs alone.
    maker: Option<SharedSecret>,
    /// How long they are good for, seconds. A connection that runs longer goes on.
    lifetime: u64,
}

impl IceServers {
    pub(crate) fn new(
        settings: &Settings,
        addresses: &Addresses,
        ports: Ports,
        maker: Option<SharedSecret>,
    ) -> Self {
        let trusted = matches!(settings.tls, Some(Tls::Files { .. }));
        let told = |v4: bool| addresses.names.iter().find(|name| name.is_ipv4() == v4).copied().map(literal);
        let hosts = match &settings.host {
            Some(host) => vec![host.clone()],
            None if settings.tells_address() => [told(true), told(false)].into_iter().flatten().collect(),
            None => Vec::new(),
        };
        let mut turns: Vec<u16> = ports.tls.into_iter().chain(ports.page).filter(|_| trusted).collect();
        turns.dedup();
        Self {
            primary: settings.host.clone().unwrap_or_else(|| literal(addresses.names[0])),
            others: settings.relays.clone(),
            hosts,
            stun: ports.stun,
            turns,
            dtls: ports.dtls,
            maker,
            lifetime: settings.credential_lifetime,
        }
    }

    /// The STUN URL, for people.
    pub(crate) fn stun(&self) -> String {
        format!("stun:{}:{}", self.primary, self.stun)
    }

    /// The TURN URLs, for people.
    pub(crate) fn turn(&self) -> Vec<String> {
        let own = self.turn_on(&self.primary);
        self.others.iter().cloned().chain(own).collect()
    }

    /// The URL of TURN over DTLS, for those who know what to do with it: no browser does.
    pub(crate) fn turn_over_dtls(&self) -> Option<String> {
        self.dtls.map(|port| format!("turns:{}:{port}?transport=udp", self.primary))
    }

    fn turn_on(&self, host: &str) -> Vec<String> {
        let mut urls = vec![
            format!("turn:{host}:{}?transport=udp", self.stun),
            format!("turn:{host}:{}?transport=tcp", self.stun),
        ];
        urls.extend(self.turns.iter().map(|port| format!("turns:{host}:{port}?transport=tcp")));
        urls
    }

    /// As `RTCPeerConnection` takes them, for one user; `reached`: the `Host` that the client asked for.
    pub(crate) fn make(
        &self,
        user: &str,
        reached: Option<&str>,
        lifetime: Option<u64>,
        now_unix: u64,
    ) -> Value {
        let reached = reached.and_then(host_name);
        let hosts: Vec<&str> = match (self.hosts.is_empty(), reached) {
            (false, _) => self.hosts.iter().map(String::as_str).collect(),
            (true, Some(reached)) => vec![reached],
            (true, None) => vec![&self.primary],
        };
        let stun: Vec<String> = hosts.iter().map(|host| format!("stun:{host}:{}", self.stun)).collect();
        // Other relays first: who names them wants them used, and this server's own stands by.
        let own = hosts.iter().flat_map(|host| self.turn_on(host));
        let turn: Vec<String> = self.others.iter().cloned().chain(own).collect();
        let stun = json!({ "urls": stun });
        let Some(maker) = &self.maker else { return json!([stun]) };
        let lifetime = lifetime.unwrap_or(self.lifetime).min(self.lifetime);
        let (username, credential) = maker.credentials(user, now_unix + lifetime);
        json!([stun, { "urls": turn, "username": username, "credential": credential }])
    }

    /// Whether credentials can be made.
    pub(crate) fn makes_credentials(&self) -> bool {
        self.maker.is_some()
    }

    /// How long credentials are good for that nobody asks for less of, seconds.
    pub(crate) fn lifetime(&self) -> u64 {
        self.lifetime
    }
}

/// An address as it stands in a URL.
pub(crate) fn literal(address: IpAddr) -> String {
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

    #[test]
    fn clients_are_told_the_name_or_an_address_of_each_family() {
        use crate::command_line::tests::options;
        let addresses = Addresses {
            names: ["198.51.100.7", "10.0.0.1", "2001:db8::7"].map(|ip| ip.parse().unwrap()).into(),
            relay: Vec::new(),
        };
        let secret = SharedSecret::new("b7c1e0b1b7a94bd29ab1").unwrap();
        let make = |arguments: &[&str]| {
            let options = options(&[&["relay", "--listen", "0.0.0.0,::"], arguments].concat()).unwrap();
            let settings = Settings::gather(&options).unwrap();
            let servers = IceServers::new(
                &settings,
                &addresses,
                Ports { stun: 3478, tls: Some(5349), page: Some(443), ..Ports::default() },
                Some(secret.clone()),
            );
            servers.make("alice", Some("page.example:8080"), Some(60), 1000)
        };
        let named = make(&["--host", "turn.example.org", "--tls", "c.pem,k.pem"]);
        assert_eq!(named[1]["username"], "1060:alice");
        assert_eq!(named[1]["urls"][2], "turns:turn.example.org:5349?transport=tcp");
        assert_eq!(named[1]["urls"][3], "turns:turn.example.org:443?transport=tcp");
        let both = make(&["--public-ip", "198.51.100.7"]);
        assert_eq!(both[0]["urls"], json!(["stun:198.51.100.7:3478", "stun:[2001:db8::7]:3478"]));
        assert_eq!(both[1]["urls"].as_array().unwrap().len(), 4, "no TLS without a certificate: {both}");
        let reached = make(&[]);
        assert_eq!(reached[0]["urls"], json!(["stun:page.example:3478"]));
    }
}

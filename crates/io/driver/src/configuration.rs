use std::collections::BTreeMap;
use std::time::Duration;

use crypto::Certificate;
use ice::Punch;
use peer::{Congestion, EstimatorConfig, RtpCodec};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Deserializer, Serialize};

use crate::Error;
use crate::inbox::Limits;

/// How a [`PeerConnection`](crate::PeerConnection) is made (`RTCConfiguration`, and what browsers decide themselves).
///
/// ```
/// use sterna_driver::{Configuration, IceServer};
///
/// let configuration = Configuration {
///     ice_servers: vec![
///         IceServer::new("stun:stun.example.org"),
///         IceServer::new("turn:turn.example.org?transport=tcp").with_credential("user", "secret"),
///     ],
///     ..Configuration::default()
/// };
/// # let _ = configuration;
/// ```
#[derive(Clone, Debug)]
pub struct Configuration {
    /// STUN and TURN servers, the preferred first (`iceServers`). Without any, only machines that reach each other
    /// directly connect.
    pub ice_servers: Vec<IceServer>,
    /// Which paths may be taken (`iceTransportPolicy`).
    pub ice_transport_policy: IceTransportPolicy,
    /// Whether TURN servers are used. Without them no third party carries data, and some networks do not connect.
    pub use_relay: bool,
    /// Whether candidates are told one by one, by [`PeerEvent::IceCandidate`](crate::PeerEvent::IceCandidate).
    ///
    /// If not,
    /// [`PeerConnection::set_local_description`](crate::PeerConnection::set_local_description) returns only when
    /// all are known and stand in the description, so that one message each way is all the signalling there is.
    pub trickle: bool,
    /// Whether loopback addresses are candidates. Without this they are only on a machine that has no others.
    pub include_loopback: bool,
    /// Whether the addresses of this machine hide behind random `.local` names, as browsers do it. Others of the local
    /// network find them by multicast DNS; everybody else learns only what STUN servers see.
    pub mdns: bool,
    /// Who we are to the other side. `None` makes a new certificate, which takes less than a millisecond; give the same
    /// one to several connections to have one identity, and the same fingerprint, on all of them.
    pub certificate: Option<Certificate>,
    /// Certificate authorities, or self-signed certificates, of `turns:` servers that are trusted besides those that
    /// the system trusts.
    pub certificate_authorities: Vec<CertificateDer<'static>>,
    /// Whom the certificates of `turns:` servers have to name where that is not the host of the URL: relays that were found
    /// in the DNS of a domain are known by that domain (RFC 5928 §5).
    pub certificate_names: BTreeMap<String, String>,
    /// By how many seconds the clock of the servers is ahead of ours, if somebody knows: tells expired credentials from a
    /// clock that is wrong, when a connection has failed.
    pub servers_ahead: Option<i64>,
    /// Bytes that wait to be sent or acknowledged on one channel before `send` waits; more, up to 96 MiB, where the path holds
    /// more.
    pub send_buffer: usize,
    /// Bytes that wait on one channel for `recv` before the other side has to wait. What is on its way then comes on
    /// top: up to 2 MiB a connection, and up to 96 MiB where the path holds so much and it is received as fast as it comes.
    pub receive_buffer: usize,
    /// The largest message that is accepted, in bytes.
    pub max_message_size: u32,
    /// The largest IP packet that surely gets through, in bytes: 1280 is what IPv6 guarantees.
    pub mtu: usize,
    /// The largest IP packet that is tried out on direct paths, in bytes (RFC 8899): packets as large as the path carries are
    /// sent then. 1500 at first; 0: none is tried.
    pub largest_mtu: usize,
    /// Who decides how much may be on its way.
    pub congestion: Congestion,
    /// How long closing, by [`PeerConnection::close`](crate::PeerConnection::close) or by dropping the last handle, may
    /// take to deliver what was sent before.
    pub close_timeout: Duration,
    /// Whether the router is asked, by PCP, NAT-PMP or UPnP-IGD, to map a port to each socket with a private IPv4
    /// address: what it grants becomes a candidate, and is given back at the end. Nothing waits for it, and nothing is
    /// asked without [`Configuration::ice_servers`], which are for connections beyond the local network.
    pub port_mapping: bool,
    /// Whether a connection that was up is kept together when the network under it changes, and how long it may be
    /// without a path before it fails after all. The machine's addresses are watched; as soon as the path falls silent
    /// or its address is gone ICE restarts by itself, and
    /// [`PeerEvent::NegotiationNeeded`](crate::PeerEvent::NegotiationNeeded) asks for an offer to be sent to the other
    /// side. `None` is what browsers do: nothing, until somebody calls
    /// [`PeerConnection::restart_ice`](crate::PeerConnection::restart_ice).
    pub roam: Option<Duration>,
    /// Whether to look for a direct path by many packets where NATs that map anew for each destination leave none, and
    /// what that may cost: [`Punch::default`] is 256 sockets and 1,024 packets, 200 a second, for at most 8 seconds. Both
    /// sides have to want it. A relay is used at once meanwhile; a direct path takes its place. `None`, the default, is not
    /// to. How often it helps is in `docs/punching.md`.
    pub punch: Option<Punch>,
    /// Whether sound and pictures that the other side offers become transceivers, as W3C has it
    /// ([`PeerEvent::Track`](crate::PeerEvent::Track)), and how media is carried. Without that, and until
    /// [`PeerConnection::add_transceiver`](crate::PeerConnection::add_transceiver) or
    /// [`PeerConnection::add_track`](crate::PeerConnection::add_track) is called, they are answered, but silent: what nobody
    /// reads does not come.
    pub media: Option<MediaConfiguration>,
}

/// How sound and pictures are carried.
#[derive(Clone, Debug)]
pub struct MediaConfiguration {
    /// What is offered and taken unless a transceiver is told otherwise
    /// ([`Transceiver::set_codec_preferences`](crate::Transceiver::set_codec_preferences)), the preferred first. If there is none
    /// of a kind: all that are known, as [`RtpCodec::capabilities`] lists them.
    pub codecs: Vec<RtpCodec>,
    /// How long a missing packet is waited for. What is played live has less time, what is recorded more.
    pub patience: Duration,
    /// What the way is thought to carry before anything is known, in bits a second, of all that is sent.
    pub start_bitrate: u64,
    /// The most that is sent, in bits a second.
    pub max_bitrate: u64,
    /// Frames that wait on one track for [`RemoteTrack::recv`](crate::RemoteTrack::recv), before the oldest go. Of packets, where
    /// those are read, four times as many.
    pub receive_frames: usize,
    /// Bytes of them.
    pub receive_bytes: usize,
}

impl Default for MediaConfiguration {
    /// All formats; 400 ms; 300 kbit/s to 20 Mbit/s; 512 frames and 8 MiB.
    fn default() -> Self {
        Self {
            codecs: Vec::new(),
            patience: Duration::from_millis(400),
            start_bitrate: 300_000,
            max_bitrate: 20_000_000,
            receive_frames: 512,
            receive_bytes: 8 << 20,
        }
    }
}

impl MediaConfiguration {
    /// What may wait on a track.
    pub(crate) fn limits(&self) -> Limits {
        Limits { frames: self.receive_frames, bytes: self.receive_bytes }
    }

    /// What the machine has to know of it.
    pub(crate) fn machine(self) -> peer::MediaConfiguration {
        let usual = EstimatorConfig::default();
        let most = (self.max_bitrate as f64).max(usual.least);
        let bandwidth =
            EstimatorConfig { start: (self.start_bitrate as f64).clamp(usual.least, most), most, ..usual };
        peer::MediaConfiguration { codecs: self.codecs, patience: self.patience, bandwidth }
    }
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            ice_servers: Vec::new(),
            ice_transport_policy: IceTransportPolicy::All,
            use_relay: true,
            trickle: true,
            include_loopback: false,
            mdns: false,
            certificate: None,
            certificate_authorities: Vec::new(),
            certificate_names: BTreeMap::new(),
            servers_ahead: None,
            send_buffer: 1 << 20,
            receive_buffer: 1 << 20,
            max_message_size: 262_144,
            mtu: 1280,
            largest_mtu: 1500,
            congestion: Congestion::default(),
            close_timeout: Duration::from_secs(10),
            port_mapping: true,
            roam: Some(Duration::from_secs(30)),
            punch: None,
            media: None,
        }
    }
}

impl Configuration {
    /// The servers as ICE wants them: one for each URL.
    pub(crate) fn servers(&self) -> Result<Vec<ice::Server>, Error> {
        servers(&self.ice_servers, self.use_relay)
    }
}

/// The servers as ICE wants them.
pub(crate) fn servers(given: &[IceServer], use_relay: bool) -> Result<Vec<ice::Server>, Error> {
    let mut servers = Vec::new();
    for server in given {
        for url in &server.urls {
            let parsed: ice::ServerUrl =
                url.parse().map_err(|error| Error::Server { url: url.clone(), error })?;
            if parsed.is_turn() && (server.username.is_none() || server.credential.is_none()) {
                return Err(Error::NoCredential { url: url.clone() });
            }
            if parsed.is_turn() && !use_relay {
                continue;
            }
            servers.push(ice::Server {
                url: parsed,
                username: server.username.clone().unwrap_or_default(),
                credential: server.credential.clone().unwrap_or_default(),
            });
        }
    }
    Ok(servers)
}

/// Which paths may be taken (`RTCIceTransportPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IceTransportPolicy {
    /// All.
    #[default]
    All,
    /// Only relayed ones, so that neither side learns the other's addresses.
    Relay,
}

/// A STUN or TURN server (`RTCIceServer`); its JSON is the browser's.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IceServer {
    /// Its URLs: `stun:host:port`, `turn:host:port?transport=udp|tcp`, `turns:host:port`.
    #[serde(deserialize_with = "one_or_many")]
    pub urls: Vec<String>,
    /// For TURN: the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// For TURN: the password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

impl IceServer {
    /// A server with one URL and no credential.
    pub fn new(url: impl Into<String>) -> Self {
        Self { urls: vec![url.into()], ..Self::default() }
    }

    /// The same server, with a user and a password.
    pub fn with_credential(self, username: impl Into<String>, credential: impl Into<String>) -> Self {
        Self { username: Some(username.into()), credential: Some(credential.into()), ..self }
    }
}

impl std::fmt::Debug for IceServer {
    /// Without the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer")
            .field("urls", &self.urls)
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// `urls` may be a string or a list of them.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Urls {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Urls::deserialize(deserializer)? {
        Urls::One(url) => vec![url],
        Urls::Many(urls) => urls,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_servers_is_the_browsers() {
        let one: IceServer = serde_json::from_str(r#"{"urls":"stun:a.example"}"#).unwrap();
        assert_eq!(one, IceServer::new("stun:a.example"));
        let json = r#"{"urls":["turn:a.example","turns:a.example"],"username":"u","credential":"p"}"#;
        let many: IceServer = serde_json::from_str(json).unwrap();
        assert_eq!(many.urls.len(), 2);
        assert_eq!(serde_json::to_string(&many).unwrap(), json);
        assert!(!format!("{many:?}").contains("credential"));
    }

    #[test]
    fn servers_that_cannot_be_used_are_named() {
        let with = |server| Configuration { ice_servers: vec![server], ..Configuration::default() }.servers();
        let error = with(IceServer::new("turn.example.org")).unwrap_err();
        assert!(error.to_string().contains("turn.example.org"), "{error}");
        let error = with(IceServer::new("turn:turn.example.org")).unwrap_err();
        assert!(error.to_string().contains("credential"), "{error}");
    }

    #[test]
    fn relays_can_be_left_out() {
        let configuration = Configuration {
            ice_servers: vec![
                IceServer::new("turn:a.example").with_credential("u", "p"),
                IceServer::new("stun:a.example"),
            ],
            use_relay: false,
            ..Configuration::default()
        };
        let servers = configuration.servers().unwrap();
        assert_eq!(servers.len(), 1);
        assert!(!servers[0].url.is_turn());
    }
}

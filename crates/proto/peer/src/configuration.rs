use std::time::Duration;

use crypto::Certificate;
use rtp::bandwidth::EstimatorConfig;
use sansio::Seed;

use crate::RtpCodec;

/// What a [`Connection`](crate::Connection) is made from (`RTCConfiguration`, and what a sans-IO machine must be
/// given besides). Start from [`Configuration::new`].
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Where everything random comes from: secret and fresh in production.
    pub seed: Seed,
    /// Who we are to the other side; its fingerprint goes into our descriptions.
    pub certificate: Certificate,
    /// STUN and TURN servers, the preferred first (`iceServers`).
    pub ice_servers: Vec<ice::Server>,
    /// Which candidates may be used (`iceTransportPolicy`).
    pub ice_transport_policy: ice::TransportPolicy,
    /// What the other side may learn about our addresses (RFC 8828).
    pub address_policy: ice::AddressPolicy,
    /// The addresses of this machine. They may change: [`Connection::set_interfaces`](crate::Connection::set_interfaces).
    pub interfaces: Vec<ice::Interface>,
    /// Whether host candidates hide behind `.local` names.
    pub mdns: bool,
    /// Whether loopback addresses are candidates even on a machine that has others.
    pub include_loopback: bool,
    /// The largest IP packet that surely gets through, in bytes: 1280 is what IPv6 guarantees.
    pub mtu: usize,
    /// The largest IP packet that is tried out on direct paths, in bytes (RFC 8899): packets as large as the path carries are
    /// sent then. 1500 at first; 0: none is tried.
    pub largest_mtu: usize,
    /// Which versions of DTLS may be spoken.
    pub dtls_versions: dtls::Versions,
    /// The largest message that we take, in bytes: our `a=max-message-size`.
    pub max_message_size: u32,
    /// How many bytes may wait to be sent on each channel before sending is refused with
    /// [`SendError::Full`](crate::SendError::Full); more, up to 96 MiB, where the path holds more.
    pub send_buffer: usize,
    /// Who decides how much may be on its way.
    pub congestion: sctp::Congestion,
    /// Whether the driver tells of marks of congested routers ([`Machine::handle_mark`](sansio::Machine::handle_mark)) and has
    /// data marked as what may be ([`Outbox::send_capable`](sansio::Outbox::send_capable)). Not at first.
    pub ecn: bool,
    /// How many bytes the other side may send before they are taken away by
    /// [`Machine::poll_event`](sansio::Machine::poll_event), over all channels; more, up to 96 MiB, where the path holds more
    /// and they are taken as fast as they come.
    pub receive_window: u32,
    /// Unix time at [`Time::ZERO`](sansio::Time::ZERO), if known: says whether a refused credential has expired.
    pub unix_time_at_start: Option<Duration>,
    /// The same by the clock of the servers, if that is known.
    pub server_unix_time_at_start: Option<Duration>,
    /// The realm that the credentials of the TURN servers are for, if known; for diagnosis only.
    pub expected_realm: Option<String>,
    /// The HTTP proxy that streams go through, if any; for diagnosis only.
    pub proxy: Option<String>,
    /// How long things take in ICE.
    pub ice_timings: ice::Timings,
    /// Whether SCTP packets are kept as they are before DTLS seals them, for
    /// [`Connection::captured`](crate::Connection::captured): the first few thousand. For laboratories; they hold all
    /// that the application sends.
    pub capture: bool,
    /// Whether somebody asks the router to map ports, and says what came of it: see
    /// [`Connection::add_mapping`](crate::Connection::add_mapping).
    pub expect_mappings: bool,
    /// Whether to look for a direct path by many packets where NATs that map anew for each destination leave none, and
    /// what that may cost. It takes both sides: descriptions say so by `a=ice-options:sterna+punch`, which others ignore.
    pub punch: Option<ice::Punch>,
    /// Whether the DTLS handshake rides in ICE's checks, which saves a round trip (draft-hancke-webrtc-sped-00), if the other
    /// side wants it, too: descriptions say so by `a=ice-options:sped`.
    pub sped: bool,
    /// Whether SCTP's INIT chunks are in the descriptions, which saves two round trips (draft-hancke-tsvwg-snap-00), if the other
    /// side wants it, too: `a=sctp-init`.
    pub snap: bool,
    /// Whether sound and pictures that the other side offers become transceivers, as W3C has it, and how media is carried.
    /// Without that, and until [`Connection::add_transceiver`](crate::Connection::add_transceiver) or
    /// [`add_track`](crate::Connection::add_track) is called, they are answered, but silent: what nobody reads needs not come.
    pub media: Option<Box<MediaConfiguration>>,
    /// Whether others send and receive by the same UDP sockets, as the connections of a [`Hub`](crate::Hub) do. TURN by UDP is
    /// not used then, since there is one allocation for all that comes from one socket (RFC 8656 §3.2; by TCP and TLS it is), and
    /// there is no punching, which takes many sockets.
    pub shared_sockets: bool,
    /// Whether a connection that was up is kept together when the network under it changes, and how long it may be
    /// without a path before it fails after all. ICE then restarts by itself as soon as the path falls silent or its
    /// address is gone: [`Event::NegotiationNeeded`](crate::Event::NegotiationNeeded) asks for the offer. `None` is
    /// what W3C says: its owner decides.
    pub roam: Option<Duration>,
}

impl Configuration {
    /// What most want: no servers, no interfaces yet, messages of up to 256 KiB.
    pub fn new(seed: Seed, certificate: Certificate) -> Self {
        Self {
            seed,
            certificate,
            ice_servers: Vec::new(),
            ice_transport_policy: ice::TransportPolicy::default(),
            address_policy: ice::AddressPolicy::default(),
            interfaces: Vec::new(),
            mdns: false,
            include_loopback: false,
            mtu: 1280,
            largest_mtu: 1500,
            dtls_versions: dtls::Versions::default(),
            max_message_size: 262_144,
            send_buffer: 1 << 20,
            ecn: false,
            congestion: sctp::Congestion::default(),
            receive_window: 2 << 20,
            unix_time_at_start: None,
            server_unix_time_at_start: None,
            expected_realm: None,
            proxy: None,
            ice_timings: ice::Timings::default(),
            capture: false,
            expect_mappings: false,
            punch: None,
            sped: true,
            snap: true,
            media: None,
            shared_sockets: false,
            roam: None,
        }
    }

    /// The servers that our sockets may talk to.
    pub(crate) fn usable_servers(&self) -> Vec<ice::Server> {
        let by_udp =
            |server: &ice::Server| server.url.is_turn() && server.url.transport == sansio::Transport::Udp;
        self.ice_servers.iter().filter(|server| !(self.shared_sockets && by_udp(server))).cloned().collect()
    }

    /// ICE's part of it.
    pub(crate) fn ice(&self, seed: Seed, controlling: bool) -> ice::Config {
        ice::Config {
            controlling,
            policy: self.ice_transport_policy,
            address_policy: self.address_policy,
            mdns: self.mdns,
            include_loopback: self.include_loopback,
            servers: self.usable_servers(),
            mtu: self.mtu,
            expect_mappings: self.expect_mappings,
            punch: self.punch.filter(|_| !self.shared_sockets),
            timings: self.ice_timings,
            ..ice::Config::new(seed)
        }
    }
}

/// How sound and pictures are carried.
#[derive(Clone, Debug)]
pub struct MediaConfiguration {
    /// What is offered and taken unless a transceiver is told otherwise
    /// ([`Connection::set_codec_preferences`](crate::Connection::set_codec_preferences)), the preferred first. If there is none
    /// of a kind: all that are known, as [`RtpCodec::capabilities`] lists them.
    pub codecs: Vec<RtpCodec>,
    /// How long a missing packet is waited for: 400 ms. What is played live has less time, what is recorded more.
    pub patience: Duration,
    /// Where the estimate of what the way can carry begins, and between what it stays.
    pub bandwidth: EstimatorConfig,
}

impl Default for MediaConfiguration {
    fn default() -> Self {
        Self {
            codecs: Vec::new(),
            patience: Duration::from_millis(400),
            bandwidth: EstimatorConfig::default(),
        }
    }
}

/// What an offer is to do (`RTCOfferOptions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OfferOptions {
    /// Whether to start ICE anew, with new credentials and candidates.
    pub ice_restart: bool,
}

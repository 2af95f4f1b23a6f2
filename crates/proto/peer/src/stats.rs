use ice::{Candidate, CandidateAddress, CandidateKind, PairReport};
use sansio::{Time, Transport};
use serde::Serialize;

use crate::media_stats::{CodecStats, InboundRtpStats, OutboundRtpStats, RemoteInboundRtpStats};
use crate::{Connection, DtlsState};

/// One object of `getStats()`; names and JSON are those of webrtc-stats, as far as there is anything to tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Names the object within the report.
    pub id: String,
    /// When it was read: milliseconds since the driver started.
    pub timestamp: f64,
    /// What it is about.
    #[serde(flatten)]
    pub of: StatsOf,
}

/// What a [`Stats`] is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StatsOf {
    /// The connection (`RTCPeerConnectionStats`).
    PeerConnection(PeerConnectionStats),
    /// ICE and DTLS (`RTCTransportStats`).
    Transport(TransportStats),
    /// A pair of candidates (`RTCIceCandidatePairStats`).
    CandidatePair(CandidatePairStats),
    /// One of our candidates (`RTCIceCandidateStats`).
    LocalCandidate(CandidateStats),
    /// One of the other side's (`RTCIceCandidateStats`).
    RemoteCandidate(CandidateStats),
    /// A data channel (`RTCDataChannelStats`).
    DataChannel(DataChannelStats),
    /// Media that comes, of one source (`RTCInboundRtpStreamStats`).
    InboundRtp(Box<InboundRtpStats>),
    /// Media that goes, of one source (`RTCOutboundRtpStreamStats`).
    OutboundRtp(Box<OutboundRtpStats>),
    /// What the other side says of that (`RTCRemoteInboundRtpStreamStats`).
    RemoteInboundRtp(RemoteInboundRtpStats),
    /// A format (`RTCCodecStats`).
    Codec(CodecStats),
}

/// The connection.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerConnectionStats {
    /// Channels that were open at some time.
    pub data_channels_opened: u32,
    /// Those of them that are closed.
    pub data_channels_closed: u32,
}

/// ICE and DTLS.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TransportStats {
    /// Packets of DTLS and media that were sent.
    pub packets_sent: u64,
    /// Packets of DTLS and media that came.
    pub packets_received: u64,
    /// Bytes of them.
    pub bytes_sent: u64,
    /// Bytes of them.
    pub bytes_received: u64,
    /// `controlling` or `controlled`; `unknown` before there is an agent.
    pub ice_role: &'static str,
    /// Our ICE generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ice_local_username_fragment: Option<String>,
    /// As in W3C's `RTCIceTransportState`.
    pub ice_state: String,
    /// As in W3C's `RTCDtlsTransportState`.
    pub dtls_state: &'static str,
    /// `client`, `server` or `unknown`.
    pub dtls_role: &'static str,
    /// `FEFD` for DTLS 1.2, `FEFC` for 1.3.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_version: Option<&'static str>,
    /// The cipher suite's IANA name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtls_cipher: Option<&'static str>,
    /// The id of the pair that data takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected_candidate_pair_id: Option<String>,
}

/// A pair of candidates.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidatePairStats {
    /// The id of its transport.
    pub transport_id: &'static str,
    /// The id of our candidate.
    pub local_candidate_id: String,
    /// The id of theirs.
    pub remote_candidate_id: String,
    /// `frozen`, `waiting`, `in-progress`, `failed` or `succeeded`.
    pub state: String,
    /// Whether it is the chosen one.
    pub nominated: bool,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_round_trip_time: Option<f64>,
    /// Bits a second that the path can carry, as far as media has found out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_outgoing_bitrate: Option<f64>,
    /// Checks that were sent, repetitions included.
    pub requests_sent: u64,
    /// Their checks that came.
    pub requests_received: u64,
    /// Answers to ours.
    pub responses_received: u64,
}

/// A candidate.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStats {
    /// The id of its transport.
    pub transport_id: &'static str,
    /// Its IP address; none if it hides behind a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its port.
    pub port: u16,
    /// `udp` or `tcp`.
    pub protocol: String,
    /// `host`, `srflx`, `prflx` or `relay`.
    pub candidate_type: &'static str,
    /// Its priority.
    pub priority: u32,
    /// The server that gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How the TURN server is talked to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relay_protocol: Option<String>,
    /// Its foundation.
    pub foundation: String,
    /// Its generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username_fragment: Option<String>,
}

/// A data channel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DataChannelStats {
    /// Its label.
    pub label: String,
    /// Its subprotocol.
    pub protocol: String,
    /// Its number, once it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_channel_identifier: Option<u16>,
    /// As in W3C's `RTCDataChannelState`.
    pub state: &'static str,
    /// Messages that were taken for sending.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages that came.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
}

pub(crate) const TRANSPORT: &str = "T";

/// Everything there is to tell at `now`.
pub(crate) fn collect(connection: &Connection, now: Time) -> Vec<Stats> {
    let timestamp = now.elapsed().as_secs_f64() * 1000.0;
    let stats = |id: String, of: StatsOf| Stats { id, timestamp, of };
    let mut all = vec![stats(
        "P".into(),
        StatsOf::PeerConnection(PeerConnectionStats {
            data_channels_opened: connection.channels.opened,
            data_channels_closed: connection.channels.closed,
        }),
    )];
    for (id, channel) in connection.channels() {
        let of = StatsOf::DataChannel(DataChannelStats {
            label: channel.label.clone(),
            protocol: channel.init.protocol.clone(),
            data_channel_identifier: channel.init.id,
            state: channel.state.as_str(),
            messages_sent: channel.messages_sent,
            bytes_sent: channel.bytes_sent,
            messages_received: channel.messages_received,
            bytes_received: channel.bytes_received,
        });
        all.push(stats(format!("D{}", id.0), of));
    }
    let statistics = connection.media_statistics();
    if let Some(statistics) = &statistics {
        crate::media_stats::collect(connection, statistics, &mut all, stats);
    }
    let available = statistics.map(|it| it.available_outgoing_bitrate);
    let salt = connection.stats_salt;
    let pair_id = |pair: &PairReport| pair_id(&salt, pair);
    let candidate_id = |candidate: &Candidate, local: bool| candidate_id(&salt, candidate, local);
    let Some(agent) = connection.transport.agent() else { return all };
    let report = agent.report();
    let selected = agent.selected();
    let is_selected = |pair: &PairReport| {
        selected.as_ref().is_some_and(|it| it.local == pair.local && it.remote == pair.remote)
    };
    let secure = connection.transport.secure();
    let traffic = connection.transport.traffic;
    let of = StatsOf::Transport(TransportStats {
        packets_sent: traffic.packets_sent,
        packets_received: traffic.packets_received,
        bytes_sent: traffic.bytes_sent,
        bytes_received: traffic.bytes_received,
        ice_role: if agent.is_controlling() { "controlling" } else { "controlled" },
        ice_local_username_fragment: connection.transport.local_ufrag().map(String::from),
        ice_state: report.state.to_string(),
        dtls_state: secure.map_or(DtlsState::New, |secure| secure.state).as_str(),
        dtls_role: secure.map_or("unknown", |secure| if secure.client { "client" } else { "server" }),
        tls_version: secure.and_then(|secure| secure.connected).map(|(version, _)| version.tls_version()),
        dtls_cipher: secure.and_then(|secure| secure.connected).map(|(_, cipher)| cipher.name()),
        selected_candidate_pair_id: report.pairs.iter().find(|pair| is_selected(pair)).map(pair_id),
    });
    all.push(stats(TRANSPORT.into(), of));
    // A valid pair's local candidate may be peer-reflexive, and then it is in no other list.
    let mut local: Vec<&Candidate> = report.local.iter().collect();
    local.extend(report.pairs.iter().map(|pair| &pair.local));
    let mut remote: Vec<&Candidate> = report.remote.iter().map(|remote| &remote.candidate).collect();
    remote.extend(report.pairs.iter().map(|pair| &pair.remote));
    let mut known = std::collections::BTreeSet::new();
    for (candidates, is_local) in [(local, true), (remote, false)] {
        for candidate in candidates {
            let id = candidate_id(candidate, is_local);
            if known.insert(id.clone()) {
                let of = candidate_stats(candidate);
                let of = if is_local { StatsOf::LocalCandidate(of) } else { StatsOf::RemoteCandidate(of) };
                all.push(stats(id, of));
            }
        }
    }
    for pair in &report.pairs {
        let of = StatsOf::CandidatePair(CandidatePairStats {
            transport_id: TRANSPORT,
            local_candidate_id: candidate_id(&pair.local, true),
            remote_candidate_id: candidate_id(&pair.remote, false),
            state: pair.state.to_string(),
            nominated: pair.nominated,
            current_round_trip_time: pair.rtt.map(|rtt| rtt.as_secs_f64()),
            available_outgoing_bitrate: available.filter(|_| is_selected(pair)),
            requests_sent: u64::from(pair.checks_sent) + u64::from(pair.retransmissions),
            requests_received: pair.requests_received.into(),
            responses_received: pair.responses_received.into(),
        });
        all.push(stats(pair_id(pair), of));
    }
    all
}

fn candidate_stats(candidate: &Candidate) -> CandidateStats {
    // A peer-reflexive address of a peer that hides behind a name is not for everybody either.
    let address = match &candidate.address {
        CandidateAddress::Ip(address) if candidate.kind != CandidateKind::Prflx => {
            Some(address.ip().to_string())
        }
        _ => None,
    };
    CandidateStats {
        transport_id: TRANSPORT,
        address,
        port: candidate.address.port(),
        protocol: candidate.transport.to_string(),
        candidate_type: candidate.kind.as_str(),
        priority: candidate.priority,
        url: candidate.url.clone(),
        relay_protocol: candidate.relay_protocol.as_ref().map(Transport::to_string),
        foundation: candidate.foundation.clone(),
        username_fragment: candidate.ufrag.clone(),
    }
}

/// The same for equal candidates, and telling nothing about them: without the salt, all addresses could be tried.
fn candidate_id(salt: &[u8; 16], candidate: &Candidate, local: bool) -> String {
    let side = if local { 'L' } else { 'R' };
    let text = format!("{} {} {}", candidate.address, candidate.kind.as_str(), candidate.transport);
    let digest = crypto::sha256(&[salt, text.as_bytes()]);
    format!("{side}{}", digest[..6].iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

fn pair_id(salt: &[u8; 16], pair: &PairReport) -> String {
    format!("CP{}_{}", candidate_id(salt, &pair.local, true), candidate_id(salt, &pair.remote, false))
}

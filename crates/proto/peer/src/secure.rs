use std::time::Duration;

use rtp::srtp::{MasterKey, Profile};
use sansio::{Machine as _, Outbox, Rng, Seed, Time};

use crate::description::SCTP_PORT;
use crate::negotiate::Agreement;
use crate::{Configuration, DtlsState};

/// Bytes that a packet may lose on its way to the wire: IPv6, UDP, and a TURN Send indication.
pub(crate) const ENVELOPE: usize = 40 + 8 + 36;

/// Bytes that a packet loses on a direct path: IP and UDP.
const ENVELOPE_4: usize = 20 + 8;
const ENVELOPE_6: usize = 40 + 8;

/// The most bytes that a DTLS record adds to what it protects: 1.2 with AES-GCM.
const RECORD: usize = 13 + 8 + 16;
/// How long the first flight of the handshake waits for an answer when no round trip has been measured.
const RETRANSMISSION: Duration = Duration::from_millis(250);

/// SCTP packets that are kept for whoever wants to see them.
const CAPTURED: usize = 4096;
/// How long a handshake may take, whatever the engine thinks: one that waits for the other side's first packet would wait
/// for ever. A client gives up after 30 seconds.
const HANDSHAKE: Duration = Duration::from_secs(35);
/// A handshake that takes longer than this is slow, and is asked about so often.
const DOUBT: Duration = Duration::from_secs(3);
const DOUBTS: u32 = 5;

/// DTLS, and SCTP if there are data channels, once both sides have told who they are.
pub(crate) struct Secure {
    /// What the next DTLS endpoint is made from. It is made when there is a path: only then does its clock run, and
    /// with the round trip that ICE has measured.
    plan: Option<dtls::Config>,
    dtls: Option<dtls::Endpoint>,
    /// Data channels, if they are carried.
    pub(crate) sctp: Option<sctp::Association>,
    /// Whether both sides have known each other's INIT from the beginning.
    pub(crate) is_snapped: bool,
    pub(crate) state: DtlsState,
    /// Whether we are the DTLS client.
    pub(crate) client: bool,
    /// What the handshake agreed on.
    pub(crate) connected: Option<(dtls::Version, dtls::CipherSuite)>,
    /// The keys for media, until somebody takes them.
    srtp: Option<dtls::SrtpKeys>,
    pub(crate) failure: Option<dtls::DtlsError>,
    /// The SCTP packets that were sent, if they are to be kept.
    pub(crate) captured: Option<Vec<Vec<u8>>>,
    /// When the handshake has to be done.
    deadline: Time,
    /// When the handshake began, or when its slowness last made us doubt that large packets arrive.
    doubted: Time,
    /// How often it did.
    doubts: u32,
    /// The largest packet that is sent, in bytes of UDP payload.
    pub(crate) largest: usize,
    /// Whether there has been a path since the endpoint was made.
    has_path: bool,
    /// Set when the handshake has been completed, until somebody asks: whether the other side lacks nothing of it.
    completed: Option<bool>,
}

impl Secure {
    pub(crate) fn new(
        now: Time,
        agreement: &Agreement,
        configuration: &Configuration,
        sctp_seed: Seed,
        rng: &mut Rng,
    ) -> Self {
        let mut secure = Self {
            plan: Some(plan(agreement, configuration, rng)),
            dtls: None,
            is_snapped: false,
            sctp: None,
            srtp: None,
            state: DtlsState::New,
            client: agreement.client,
            connected: None,
            failure: None,
            captured: configuration.capture.then(Vec::new),
            deadline: now,
            doubted: now,
            doubts: 0,
            largest: configuration.mtu.saturating_sub(ENVELOPE),
            has_path: false,
            completed: None,
        };
        secure.carry(now, agreement, configuration, sctp_seed);
        secure
    }

    /// Makes the SCTP association if there is none and data channels are agreed on, and ends it if they are not. Returns
    /// whether it is new.
    fn carry(
        &mut self,
        now: Time,
        agreement: &Agreement,
        configuration: &Configuration,
        sctp_seed: Seed,
    ) -> bool {
        let Some(remote) = &agreement.remote.sctp else {
            self.sctp = None;
            return false;
        };
        if self.sctp.is_some() {
            return false;
        }
        let config = sctp::Config {
            role: if self.client { sctp::Role::Client } else { sctp::Role::Server },
            remote_port: remote.port,
            mtu: configuration.mtu.saturating_sub(ENVELOPE + RECORD),
            remote_max_message_size: u32::try_from(remote.max_message_size).unwrap_or(u32::MAX),
            send_buffer: configuration.send_buffer,
            congestion: configuration.congestion,
            ..sctp_terms(configuration, sctp_seed)
        };
        let snapped = remote.init.as_ref().filter(|_| configuration.snap);
        let snapped = snapped.and_then(|init| sctp::Association::agreed(now, config.clone(), init).ok());
        self.is_snapped = snapped.is_some();
        self.sctp = Some(snapped.unwrap_or_else(|| sctp::Association::new(now, config)));
        true
    }

    /// After a later exchange: another certificate at the other end is another DTLS association, under the same
    /// SCTP association (RFC 8841 §10.5). Returns whether there is a new one of these.
    pub(crate) fn renew(
        &mut self,
        now: Time,
        agreement: &Agreement,
        configuration: &Configuration,
        sctp_seed: Seed,
        rng: &mut Rng,
    ) -> bool {
        if agreement.new_association {
            self.plan = Some(plan(agreement, configuration, rng));
            self.dtls = None;
            self.client = agreement.client;
            self.state = DtlsState::New;
            self.srtp = None;
        }
        self.carry(now, agreement, configuration, sctp_seed)
    }

    /// Whether the DTLS endpoint is still to be made, by [`Secure::begin`].
    pub(crate) fn is_planned(&self) -> bool {
        self.plan.is_some()
    }

    /// Makes the DTLS endpoint: there is a path, or its packets ride in checks.
    pub(crate) fn begin(&mut self, now: Time, rtt: Option<Duration>) {
        let Some(mut plan) = self.plan.take() else { return };
        plan.retransmission =
            rtt.map_or(RETRANSMISSION, |rtt| (rtt * 2).clamp(RETRANSMISSION / 5, RETRANSMISSION * 8));
        self.doubts = 0;
        match dtls::Endpoint::new(now, plan) {
            Ok(endpoint) => (self.dtls, self.has_path) = (Some(endpoint), false),
            Err(error) => self.fail(dtls::DtlsError::Handshake(error.to_string())),
        }
    }

    /// Whether the handshake is so slow that it has to be asked whether its large packets arrive at all.
    pub(crate) fn is_size_in_doubt(&mut self, now: Time) -> bool {
        let due = self.next_doubt().is_some_and(|at| at <= now);
        if due {
            (self.doubted, self.doubts) = (now, self.doubts + 1);
        }
        due
    }

    /// When that has to be asked next.
    pub(crate) fn next_doubt(&self) -> Option<Time> {
        let slow = self.state == DtlsState::Connecting && self.doubts < DOUBTS;
        slow.then(|| self.doubted + DOUBT)
    }

    /// Takes a DTLS packet, which was `marked` on its way, or not. What it holds is authenticated before it gets anywhere.
    pub(crate) fn open(&mut self, now: Time, packet: &mut [u8], marked: bool) {
        self.begin(now, None);
        let Some(dtls) = &mut self.dtls else { return };
        let sctp = &mut self.sctp;
        dtls.open(now, packet, &mut |payload| {
            let Some(sctp) = sctp else { return };
            if marked {
                sctp.handle_mark(now);
            }
            sctp.handle_packet(now, payload);
        });
        self.drain();
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if let Some(dtls) = &mut self.dtls {
            dtls.handle_timeout(now);
        }
        if let Some(sctp) = self.sctp.as_mut().filter(|_| self.state == DtlsState::Connected) {
            sctp.handle_timeout(now);
        }
        self.drain();
        if self.state == DtlsState::Connecting && self.deadline <= now {
            self.dtls = None;
            self.fail(dtls::DtlsError::Timeout);
        }
    }

    /// Packets take another path, between such addresses, that carries IP packets of this size at most.
    pub(crate) fn set_path(&mut self, now: Time, v6: bool, largest: usize, direct: bool) {
        let envelope = if v6 { ENVELOPE_6 } else { ENVELOPE_4 };
        if let Some(sctp) = &mut self.sctp {
            sctp.set_path(now, largest.saturating_sub(envelope + RECORD));
            // What a TURN server sends on is not marked, and does not tell of marks.
            sctp.set_capable(now, direct);
        }
    }

    /// Writes what the handshake has to say, by whatever carries it.
    pub(crate) fn poll_handshake(&mut self, now: Time, out: &mut dyn Outbox<()>) {
        if let Some(dtls) = &mut self.dtls {
            dtls.poll_transmit(now, out);
            self.drain();
        }
    }

    /// There is a path. By when the handshake has to be done counts from the first time that this is told.
    pub(crate) fn on_path(&mut self, now: Time) {
        if self.dtls.is_none() || std::mem::replace(&mut self.has_path, true) {
            return;
        }
        (self.doubted, self.deadline) = (now, now + HANDSHAKE);
        if self.state == DtlsState::New {
            self.state = DtlsState::Connecting;
        }
    }

    /// The keys for media: ours, and the other side's. Once: who has them makes packets of them, each with another number.
    pub(crate) fn take_keys(&mut self) -> Option<(MasterKey, MasterKey)> {
        let keys = self.srtp.take()?;
        let profile = match keys.profile {
            dtls::SrtpProfile::Aes128Gcm => Profile::AeadAes128Gcm,
            dtls::SrtpProfile::Aes256Gcm => Profile::AeadAes256Gcm,
            dtls::SrtpProfile::Aes128CmSha1_80 => Profile::Aes128CmSha1_80,
        };
        MasterKey::pair(profile, &keys.material, self.client)
    }

    /// Whether there has been a path for this handshake.
    pub(crate) fn has_had_path(&self) -> bool {
        self.has_path
    }

    /// Since the last call: the handshake is complete, and whether the other side lacks nothing of it.
    pub(crate) fn poll_completed(&mut self) -> Option<bool> {
        self.completed.take()
    }

    /// Writes what DTLS and SCTP have to say; `last`: goodbye too.
    pub(crate) fn poll_transmit(&mut self, now: Time, lane: &mut dyn Outbox<()>, last: bool) {
        let Some(dtls) = &mut self.dtls else { return };
        dtls.poll_transmit(now, lane);
        if let Some(sctp) = self.sctp.as_mut().filter(|_| self.state == DtlsState::Connected) {
            let mut lane = dtls.lane(lane);
            match &mut self.captured {
                Some(packets) => sctp.poll_transmit(now, &mut Capture { lane: &mut lane, packets }),
                None => sctp.poll_transmit(now, &mut lane),
            }
        }
        if last {
            dtls.close(now);
            dtls.poll_transmit(now, lane);
        }
        self.drain();
    }

    pub(crate) fn poll_timeout(&self) -> Option<Time> {
        let dtls = self.dtls.as_ref().and_then(dtls::Endpoint::poll_timeout);
        let sctp = self.sctp.as_ref().filter(|_| self.state == DtlsState::Connected);
        let sctp = sctp.and_then(sctp::Association::poll_timeout);
        let deadline = Some(self.deadline).filter(|_| self.state == DtlsState::Connecting);
        [dtls, sctp, self.next_doubt(), deadline].into_iter().flatten().min()
    }

    fn drain(&mut self) {
        while let Some(event) = self.dtls.as_mut().and_then(dtls::Endpoint::poll_event) {
            match event {
                dtls::Event::Connected(connected) => {
                    self.state = DtlsState::Connected;
                    // Who has received the last flight knows that all the others have arrived.
                    self.completed = Some(self.client == (connected.version == dtls::Version::Dtls12));
                    self.connected = Some((connected.version, connected.cipher));
                    self.srtp = connected.srtp;
                }
                dtls::Event::Closed => self.state = DtlsState::Closed,
                dtls::Event::Failed(error) => self.fail(error),
            }
        }
    }

    fn fail(&mut self, error: dtls::DtlsError) {
        self.state = DtlsState::Failed;
        self.failure = Some(error);
    }
}

/// Keeps a copy of what is written through it.
pub(crate) struct Capture<'a> {
    pub(crate) lane: &'a mut dyn Outbox<()>,
    pub(crate) packets: &'a mut Vec<Vec<u8>>,
}

impl Outbox<()> for Capture<'_> {
    fn room(&self) -> usize {
        self.lane.room()
    }

    fn send(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        let packets = &mut *self.packets;
        self.lane.send((), max, &mut |buffer| {
            let used = fill(buffer);
            if used > 0 && packets.len() < CAPTURED {
                packets.push(buffer[..used].to_vec());
            }
            used
        })
    }

    /// What goes so is probes for the path's MTU, which say nothing.
    fn send_whole(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.lane.send_whole((), max, fill)
    }

    /// So goes data, and no handshake.
    fn send_capable(&mut self, (): (), max: usize, fill: &mut dyn FnMut(&mut [u8]) -> usize) -> bool {
        self.lane.send_capable((), max, fill)
    }
}

/// What the other side is told of our SCTP, whoever it turns out to be.
pub(crate) fn sctp_terms(configuration: &Configuration, seed: Seed) -> sctp::Config {
    sctp::Config {
        local_port: SCTP_PORT,
        local_max_message_size: configuration.max_message_size,
        receive_window: configuration.receive_window,
        ecn: configuration.ecn,
        ..sctp::Config::new(sctp::Role::Client, seed)
    }
}

/// What the handshake is made from. One that rides in checks has packets that fit there, and is as patient as they are.
fn plan(agreement: &Agreement, configuration: &Configuration, rng: &mut Rng) -> dtls::Config {
    let role = if agreement.client { dtls::Role::Client } else { dtls::Role::Server };
    let (certificate, fingerprints) =
        (configuration.certificate.clone(), agreement.remote.fingerprints.clone());
    let mtu = configuration.mtu.saturating_sub(ENVELOPE);
    let config = dtls::Config {
        mtu,
        versions: configuration.dtls_versions,
        ..dtls::Config::new(role, certificate, fingerprints, rng.fork())
    };
    if !agreement.embeds(configuration) {
        return config;
    }
    let patience = Duration::from_secs(3600);
    dtls::Config { mtu: mtu.min(ice::Agent::MAX_EMBEDDED), handshake_timeout: patience, ..config }
}

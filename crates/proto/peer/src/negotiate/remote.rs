use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::{Fingerprint, FingerprintAlgorithm};
use sdp::{Section, Session, Setup};

use super::media::is_rtp;
use crate::DescriptionError;
use crate::description::{PUNCH, SCTP_INIT, SPED};

/// A peer that wants longer pauses does not want to be connected to.
const MAX_PACING_MS: u64 = 1000;

/// The other end of the transport, as a description tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Which section.
    pub(crate) index: usize,
    pub(crate) mid: Option<String>,
    pub(crate) credentials: ice::Credentials,
    pub(crate) lite: bool,
    /// The pause between checks that it wishes for.
    pub(crate) pacing: Option<Duration>,
    /// Whether it agrees to punching.
    pub(crate) punches: bool,
    /// Whether the DTLS handshake may ride in checks.
    pub(crate) embeds: bool,
    /// Those with a hash function that proves something.
    pub(crate) fingerprints: Vec<Fingerprint>,
    tls_id: Option<String>,
    pub(crate) setup: Setup,
    /// What it says of data channels, if they are carried.
    pub(crate) sctp: Option<RemoteSctp>,
    pub(crate) candidates: Vec<String>,
    pub(crate) end_of_candidates: bool,
}

/// The other end of SCTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteSctp {
    pub(crate) port: u16,
    /// In bytes; 0 is any.
    pub(crate) max_message_size: u64,
    /// Its SCTP INIT chunk.
    pub(crate) init: Option<Vec<u8>>,
}

impl Remote {
    /// What `session` says about its first data section that is not rejected, or else, if `media` is of interest, about its
    /// first one of sound or pictures; `None` if it has none.
    pub(crate) fn of(session: &Session, media: bool) -> Result<Option<Self>, DescriptionError> {
        let Some(index) = anchor(session, media) else { return Ok(None) };
        let Some(data) = session.section(index) else { return Ok(None) };
        // A section inside a BUNDLE group may leave to the group's tagged section what concerns the transport
        // (RFC 9143 §7.1.3).
        let tagged = bundle_tag(session, data).unwrap_or(data);
        let pick = |name: &'static str| data.attribute(name).or_else(|| tagged.attribute(name));
        let (Some(ufrag), Some(pwd)) = (pick("ice-ufrag"), pick("ice-pwd")) else {
            return Err(DescriptionError::NoIceCredentials);
        };
        let fingerprints = match usable_fingerprints(data) {
            own if own.is_empty() => usable_fingerprints(tagged),
            own => own,
        };
        if fingerprints.is_empty() {
            return Err(DescriptionError::NoFingerprint);
        }
        Ok(Some(Self {
            index,
            mid: data.mid().map(String::from),
            credentials: ice::Credentials::new(ufrag, pwd).map_err(|_| DescriptionError::NoIceCredentials)?,
            lite: session.is_ice_lite(),
            punches: data.ice_options().any(|option| option == PUNCH),
            embeds: data.ice_options().any(|option| SPED.contains(&option)),
            pacing: session.ice_pacing().map(|ms| Duration::from_millis(ms.min(MAX_PACING_MS))),
            fingerprints,
            tls_id: pick("tls-id").map(String::from),
            setup: data.setup().or_else(|| tagged.setup()).ok_or(DescriptionError::Setup)?,
            sctp: data.is_data().then(|| RemoteSctp::of(data)).transpose()?,
            candidates: candidates(session, ufrag),
            end_of_candidates: data.has_end_of_candidates() || tagged.has_end_of_candidates(),
        }))
    }

    /// Whether the credentials differ, which is an ICE restart (RFC 8839 §4.4.1.1.1).
    pub(crate) fn restarts(&self, earlier: &Self) -> bool {
        self.credentials != earlier.credentials
    }

    /// Whether this is another DTLS endpoint (RFC 8842 §4): another `tls-id`, or no fingerprint in common.
    pub(crate) fn is_another_endpoint(&self, earlier: &Self) -> bool {
        let ids_differ = matches!((&self.tls_id, &earlier.tls_id), (Some(own), Some(other)) if own != other);
        ids_differ || !self.fingerprints.iter().any(|own| earlier.fingerprints.contains(own))
    }

    /// Whether what it says of its SCTP fits the association that is there ("attempting to add an sctp-init attribute to an
    /// existing SCTP association results in an error").
    pub(crate) fn check_init(&self, earlier: &Self) -> Result<(), DescriptionError> {
        let (Some(own), Some(before)) = (&self.sctp, &earlier.sctp) else { return Ok(()) };
        let changed = own.init.is_some() && own.init != before.init;
        if changed && !self.is_another_endpoint(earlier) {
            return Err(DescriptionError::SctpInitChanged);
        }
        Ok(())
    }
}

impl RemoteSctp {
    fn of(data: Section<'_>) -> Result<Self, DescriptionError> {
        Ok(Self {
            port: data.sctp_port().filter(|port| *port != 0).ok_or(DescriptionError::NoSctpPort)?,
            max_message_size: data.max_message_size(),
            init: data.attribute(SCTP_INIT).map(sctp_init).transpose()?,
        })
    }
}

/// The section whose transport is the connection's: that of data channels, or else the first of media, if that is of
/// interest. One that is for use within its BUNDLE group alone cannot be it.
pub(super) fn anchor(session: &Session, media: bool) -> Option<usize> {
    let usable = |section: Section<'_>| !section.is_rejected();
    let data = session.sections().position(|it| usable(it) && it.is_data());
    let carries = |it: Section<'_>| usable(it) && is_rtp(it) && !it.is_bundle_only();
    data.or_else(|| session.sections().position(carries).filter(|_| media))
}

/// An INIT chunk out of its attribute.
fn sctp_init(text: &str) -> Result<Vec<u8>, DescriptionError> {
    let init = STANDARD.decode(text.trim()).map_err(|_| DescriptionError::SctpInit)?;
    sctp::Association::check_init(&init).map_err(|_| DescriptionError::SctpInit)?;
    Ok(init)
}

/// The section that carries the transport's attributes for the whole BUNDLE group of `section`: its first.
pub(super) fn bundle_tag<'a>(session: &'a Session, section: Section<'a>) -> Option<Section<'a>> {
    let mid = section.bundle()?.mids().next()?;
    session.section(session.index_of(mid)?)
}

/// The user name fragment that candidates of `section` belong to.
pub(super) fn ufrag_of<'a>(session: &'a Session, section: Section<'a>) -> Option<&'a str> {
    section.ice_ufrag().or_else(|| bundle_tag(session, section)?.ice_ufrag())
}

/// Candidates of all sections with these credentials, each once: in a BUNDLE group they may stand in any of them.
fn candidates(session: &Session, ufrag: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for section in session.sections().filter(|section| ufrag_of(session, *section) == Some(ufrag)) {
        for candidate in section.candidates() {
            if !all.iter().any(|known| known == candidate) {
                all.push(candidate.into());
            }
        }
    }
    all
}

/// A peer may tell several; those with hash functions that are unknown or broken prove nothing (RFC 8122 §5).
fn usable_fingerprints(section: Section<'_>) -> Vec<Fingerprint> {
    let parsed = section.fingerprints().filter_map(|text| text.parse::<Fingerprint>().ok());
    parsed.filter(|fingerprint| fingerprint.algorithm != FingerprintAlgorithm::Sha1).collect()
}

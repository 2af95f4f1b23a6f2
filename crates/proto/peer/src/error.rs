use crate::{SdpType, SignalingState};

/// Why a wish could not be granted. The connection is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection is closed (`InvalidStateError`).
    #[error("the connection is closed")]
    Closed,
    /// The description does not fit the signaling state (`InvalidStateError`).
    #[error("a {side} {kind} cannot be applied while the signaling state is {state}")]
    WrongState {
        /// `local` or `remote`.
        side: &'static str,
        /// What was to be applied or created.
        kind: SdpType,
        /// The state it met.
        state: SignalingState,
    },
    /// A local description is not the one that was created last (`InvalidModificationError`, RFC 9429 §5.4).
    #[error("the local description is not the one that was created last, or was changed")]
    Modified,
    /// The text is not SDP (`OperationError`).
    #[error(transparent)]
    Sdp(#[from] sdp::ParseError),
    /// The description lacks something, or contradicts the offer or an earlier description.
    #[error("the session description cannot be used: {0}")]
    Description(DescriptionError),
    /// The candidate is malformed, or belongs to no section (`TypeError`, `OperationError`).
    #[error("the candidate cannot be used: {0}")]
    Candidate(&'static str),
}

/// What is wrong with a description that is otherwise SDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptionError {
    /// The data section has no `a=ice-ufrag` or `a=ice-pwd`, or unusable ones.
    #[error("it has no usable ICE credentials")]
    NoIceCredentials,
    /// No `a=fingerprint` with a hash function that is supported and safe.
    #[error("it has no usable DTLS fingerprint")]
    NoFingerprint,
    /// The data section has no `a=setup`, or one that does not fit.
    #[error("its DTLS role (a=setup) is missing or does not fit")]
    Setup,
    /// The data section has no `a=sctp-port`.
    #[error("it has no SCTP port")]
    NoSctpPort,
    /// `a=sctp-init` is not an INIT chunk of SCTP in base64 (draft-hancke-tsvwg-snap-00).
    #[error("its SCTP INIT chunk (a=sctp-init) makes no sense")]
    SctpInit,
    /// `a=sctp-init` came to an association that began without, or says something else than at its beginning.
    #[error("it changes the SCTP INIT chunk (a=sctp-init) of an association that is in use")]
    SctpInitChanged,
    /// The SCTP port of an association that is in use changed.
    #[error("it changes the SCTP port")]
    SctpPortChanged,
    /// An answer must have the sections of the offer, in their order.
    #[error("its sections are not those of the offer")]
    Sections,
    /// A later description must have all sections of the earlier ones.
    #[error("sections of an earlier description are missing")]
    SectionsMissing,
    /// An answer changed the ICE credentials although the offer did not.
    #[error("it changes the ICE credentials although no restart was offered")]
    UnofferedRestart,
    /// An answer kept the ICE credentials although the offer changed them.
    #[error("it keeps the ICE credentials although a restart was offered")]
    RestartIgnored,
    /// A section of sound or pictures contradicts itself.
    #[error("in its section {section}, {error}")]
    Media {
        /// Which, counted from 0.
        section: usize,
        /// What is wrong with it.
        error: sdp::MediaError,
    },
    /// Sections that share a transport give one payload type two formats (RFC 9143 §9.1).
    #[error("its sections give payload type {0} more than one format")]
    PayloadTypeCollision(u8),
    /// Sections that share a transport give one number to two header extensions (RFC 9143 §9.2).
    #[error("its sections give the number {0} to more than one header extension")]
    ExtensionCollision(u16),
    /// Another certificate needs new ICE credentials (RFC 9429 §5.11).
    #[error("it changes the DTLS fingerprint without an ICE restart")]
    FingerprintChanged,
}

impl From<DescriptionError> for Error {
    fn from(error: DescriptionError) -> Self {
        Self::Description(error)
    }
}

/// What is wrong with what a section says about its media. Where a peer is only untidy, nothing is: what cannot be
/// used is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// A format of the `m=` line is not a payload type from 0 to 127 (RFC 3551 §6).
    #[error("a format of its m= line is not a payload type from 0 to 127")]
    PayloadType,
    /// A payload type stands twice in the `m=` line, or has two formats (RFC 8866 §6.6).
    #[error("payload type {0} is given twice")]
    DuplicatePayloadType(u8),
    /// An `a=rtpmap` of a payload type that is in use makes no sense (RFC 8866 §6.6).
    #[error("the a=rtpmap of payload type {0} makes no sense")]
    Rtpmap(u8),
    /// Retransmissions of retransmissions (RFC 4588 §8.1: `apt` names what is repeated).
    #[error("payload type {0} retransmits retransmissions (a=fmtp, apt)")]
    RtxLoop(u8),
    /// Two header extensions have one number (RFC 8285 §5).
    #[error("the header extension {0} (a=extmap) is given twice")]
    DuplicateExtension(u16),
    /// An attribute that is in use makes no sense: which.
    #[error("its a={0} makes no sense")]
    Attribute(&'static str),
    /// An attribute that may stand once stands twice.
    #[error("it has two a={0}, which differ")]
    Twice(&'static str),
    /// A source is in one group twice, or repeats what repeats itself (RFC 5576 §4.2, RFC 4588 §8.3).
    #[error("the sources in its a=ssrc-group go in circles ({0})")]
    SourceLoop(u32),
}

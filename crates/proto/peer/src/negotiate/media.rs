//! What descriptions say of sound and pictures that concerns the transport as a whole.

use sdp::{Section, Session};

use crate::DescriptionError;

/// Whether a section's packets are RTP, by one of the names that offers use for that (RFC 9429 §5.1.2).
pub(crate) fn is_rtp(section: Section<'_>) -> bool {
    let names = ["RTP/SAVPF", "RTP/SAVP", "RTP/AVPF", "RTP/AVP"];
    let protocol = section.media().protocol();
    let protocol =
        protocol.strip_prefix("UDP/TLS/").or_else(|| protocol.strip_prefix("TCP/DTLS/")).unwrap_or(protocol);
    matches!(section.media().kind(), "audio" | "video") && names.contains(&protocol)
}

/// Sections that are in use make sense, each by itself and all together: on one transport, payload types and extensions have
/// one meaning.
pub(super) fn check(session: &Session) -> Result<(), DescriptionError> {
    let (mut formats, mut extensions) = (Vec::new(), Vec::new());
    for (index, section) in session.sections().enumerate() {
        if section.is_rejected() || !is_rtp(section) {
            continue;
        }
        let rtp = section.rtp().map_err(|error| DescriptionError::Media { section: index, error })?;
        if section.bundle().is_none() {
            continue;
        }
        for format in rtp.formats {
            // Parameters may differ in what does not make another format of it.
            let meaning =
                (format.name.to_ascii_lowercase(), format.clock_rate, format.channels, format.repeats());
            if formats.iter().any(|(known, other)| *known == format.payload_type && *other != meaning) {
                return Err(DescriptionError::PayloadTypeCollision(format.payload_type));
            }
            formats.push((format.payload_type, meaning));
        }
        for extmap in rtp.extensions.into_iter().filter(|it| it.number().is_some()) {
            if extensions.iter().any(|(known, uri)| *known == extmap.id && *uri != extmap.uri) {
                return Err(DescriptionError::ExtensionCollision(extmap.id));
            }
            extensions.push((extmap.id, extmap.uri));
        }
    }
    Ok(())
}

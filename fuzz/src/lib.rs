//! Fuzz targets: each a plain function of bytes that must neither panic nor hang, whatever the bytes.
//!
//! Fuzz one with `STERNA_FUZZ=stun cargo fuzz run --features libfuzzer any corpus/stun`. What a fuzzer finds goes into
//! `corpus/NAME/`; `cargo test` replays all of it.

mod datagrams;
mod machines;
mod media;
mod parsers;
mod relay;
mod relay_rules;
mod relay_session;
mod scenario;
mod session;

/// A fuzz target.
pub type Target = fn(&[u8]);

/// All targets, each with the name of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("candidate", parsers::candidate),
    ("description", machines::description),
    ("discovery", machines::discovery),
    ("dtls", machines::dtls),
    ("dtls-client", machines::dtls_client),
    ("dtls-door", machines::dtls_door),
    ("dtls-records", machines::dtls_records),
    ("framing", parsers::framing),
    ("payload-av1", media::av1),
    ("payload-h264", media::h264),
    ("payload-h265", media::h265),
    ("payload-vp8", media::vp8),
    ("payload-vp9", media::vp9),
    ("relay-session", relay_session::relay_session),
    ("rtcp", media::rtcp),
    ("rtp", media::rtp),
    ("rtp-session", session::session),
    ("scenario", scenario::association),
    ("script", parsers::script),
    ("sctp", machines::sctp),
    ("sctp-chunks", machines::sctp_chunks),
    ("sdp", parsers::sdp),
    ("sdp-media", parsers::sdp_media),
    ("server-url", parsers::server_url),
    ("srtp", media::srtp),
    ("stun", parsers::stun),
    ("turn-client", relay::turn_client),
    ("turn-peer", relay::turn_peer),
    ("turn-server", relay::turn_server),
];

/// The target called `name`.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, target)| *target)
}

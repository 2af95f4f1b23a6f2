//! SDP (RFC 8866, RFC 8839): sessions parsed and printed.

//! SCTP and data channels for Sterna: a thin lane over a borrowed SCTP engine (RFC 8831, RFC 8832).

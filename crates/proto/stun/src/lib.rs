//! STUN (RFC 8489): messages, attributes, integrity, credentials, transactions and stream framing, sans-IO.

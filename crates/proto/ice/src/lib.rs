//! ICE (RFC 8445): gathering, check lists, nomination, consent and trickle, sans-IO.

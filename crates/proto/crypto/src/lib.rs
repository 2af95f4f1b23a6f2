//! The only door to crypto libraries: hashes, HMAC, AEAD, PAKE and certificates.

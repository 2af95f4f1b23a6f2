//! One UDP socket done well: batches by GSO and sendmmsg, bundles by GRO and recvmmsg, with a portable fallback.

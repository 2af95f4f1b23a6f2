//! Files over a data channel, as `docs/transfer.md` describes: offered, accepted, resumed, verified.

mod checksum;
pub(crate) mod manifest;
pub(crate) mod protocol;
pub(crate) mod receive;
#[cfg(test)]
pub(crate) mod scratch;
pub(crate) mod send;
mod source;
pub(crate) mod store;
pub(crate) mod wire;

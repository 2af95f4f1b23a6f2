//! Connects any two machines: WebRTC data channels through any NAT, with a tokio API in W3C names.

pub use driver::*;

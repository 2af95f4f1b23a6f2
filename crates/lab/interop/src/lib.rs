//! Interop tests against third-party peers: browsers, coturn, aiortc.

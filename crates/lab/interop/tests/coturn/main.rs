//! coturn: our client through its server, and its tools against ours. Everything stays on loopback.

mod connections;
mod discovery;
mod options;
mod our_client;
mod our_server;
mod rig;
mod trial;

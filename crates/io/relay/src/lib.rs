//! The data path of the STUN and TURN server: listeners and relay sockets around turn::Server.

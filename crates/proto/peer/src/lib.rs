//! The sans-IO PeerConnection: ICE, DTLS, SCTP and SDP in one machine, with W3C names.

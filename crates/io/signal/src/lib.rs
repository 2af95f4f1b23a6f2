//! Signalling: rooms over WebSocket, codes, and end-to-end sealed messages.

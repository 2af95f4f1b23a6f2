//! DTLS for Sterna: a thin lane over a borrowed DTLS library.

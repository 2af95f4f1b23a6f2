use std::io;
use std::net::SocketAddr;

use sansio::Transport;
use turn::ConfigError;

/// Why a relay could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address could not be listened on.
    #[error("cannot listen on {transport} {address}: {}", advice(source, *transport, *address))]
    Bind {
        /// The kind of socket.
        transport: Transport,
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// There was no address to listen on.
    #[error("the relay has no address to listen on: give at least one for UDP, TCP or TLS")]
    Nowhere,
    /// The system has no more of something that every thread needs.
    #[error(
        "the system does not let the relay wait for its sockets: {0}; `ulimit -n` tells how many files it may open"
    )]
    System(#[source] io::Error),
    /// What DTLS clients were to be shown cannot be used.
    #[error("DTLS cannot be spoken with this certificate: {0}")]
    Dtls(#[from] dtls::ConfigError),
    /// The machine cannot be made of its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

fn advice(error: &io::Error, transport: Transport, address: SocketAddr) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "port {port} is in use by another program (perhaps another STUN or TURN server); stop that one, or choose \
             another port ({} tells which one it is)",
            match transport {
                Transport::Udp | Transport::Dtls => format!("`ss -lunp sport = {port}`"),
                Transport::Tcp | Transport::Tls => format!("`ss -ltnp sport = {port}`"),
            }
        ),
        io::ErrorKind::PermissionDenied => {
            format!(
                "this user may not open port {port}; choose one above 1023, or grant CAP_NET_BIND_SERVICE"
            )
        }
        io::ErrorKind::AddrNotAvailable => {
            format!(
                "this machine does not have the address {}; `ip address` tells which it has",
                address.ip()
            )
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_which_port_and_what_to_do() {
        let address = "192.0.2.1:3478".parse().unwrap();
        for (kind, transport, words) in [
            (
                io::ErrorKind::AddrInUse,
                Transport::Udp,
                ["udp 192.0.2.1:3478", "port 3478 is in use", "ss -lunp"],
            ),
            (
                io::ErrorKind::AddrInUse,
                Transport::Tls,
                ["tls 192.0.2.1:3478", "choose another port", "ss -ltnp"],
            ),
            (
                io::ErrorKind::PermissionDenied,
                Transport::Tcp,
                ["tcp 192.0.2.1:3478", "above 1023", "port 3478"],
            ),
            (
                io::ErrorKind::AddrNotAvailable,
                Transport::Udp,
                ["udp", "does not have the address 192.0.2.1", "ip address"],
            ),
        ] {
            let text = Error::Bind { transport, address, source: kind.into() }.to_string();
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}

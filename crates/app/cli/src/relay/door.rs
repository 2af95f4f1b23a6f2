//! The ports of TCP that this process has besides the relay's: the page's and the operator's.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use relay::Port;
use tokio::net::TcpListener;

use crate::failure::{Failure, Kind};

/// A port that is taken, and at which nobody is let in yet: what cannot be had is known before anything listens.
pub(crate) struct Door {
    port: Port,
    keys: Keys,
}

/// What the address and the port of a door are called on the command line.
#[derive(Clone, Copy)]
struct Keys {
    address: &'static str,
    port: &'static str,
}

impl Door {
    /// The operator's.
    pub(crate) fn admin(address: SocketAddr) -> Result<Self, Failure> {
        Self::take(address, Keys { address: "--admin", port: "--admin" })
    }

    /// The page's, one at each address.
    pub(crate) fn pages(listen: &[IpAddr], port: u16) -> Result<Vec<Self>, Failure> {
        let mut doors: Vec<Self> = Vec::new();
        for ip in listen {
            // The system chooses one port, and all have it.
            let port = doors.first().map_or(port, |first| first.address().port());
            let keys = Keys { address: "--listen", port: "--http" };
            doors.push(Self::take(SocketAddr::new(*ip, port), keys)?);
        }
        Ok(doors)
    }

    fn take(address: SocketAddr, keys: Keys) -> Result<Self, Failure> {
        let port = Port::take(address).map_err(|error| keys.unusable(address, &error))?;
        Ok(Self { port, keys })
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.port.local()
    }

    /// Lets people in.
    pub(crate) fn open(self) -> Result<TcpListener, Failure> {
        let address = self.address();
        self.port.open().map_err(|error| self.keys.unusable(address, &error))
    }
}

impl Keys {
    /// Why an address cannot be listened on, and what to do.
    fn unusable(self, address: SocketAddr, error: &std::io::Error) -> Failure {
        let advice = match error.kind() {
            ErrorKind::AddrInUse => {
                format!("is in use; stop what uses it or choose another port with {}", self.port)
            }
            ErrorKind::PermissionDenied => {
                format!(
                    "needs privileges, as all ports below 1024 do; choose another port with {}",
                    self.port
                )
            }
            ErrorKind::AddrNotAvailable => {
                format!("is not an address of this machine; check {}", self.address)
            }
            _ => format!("cannot be used: {error}"),
        };
        Failure::new(Kind::Server, format!("cannot listen: {address} {advice}"))
    }
}

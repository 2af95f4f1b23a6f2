//! Opens streams to TURN servers: TCP, TLS, and either through a proxy.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName};
use sansio::{Path, SocketError, Transport};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

use crate::proxy::Proxy;
use crate::sockets::socket_error;
use crate::tls;

/// The longest that connecting, with TLS, or looking a name up may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// An open stream.
pub(crate) type Io = Box<dyn Stream>;

/// Bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// How streams are opened.
///
/// A server's certificate must lead to a root that the system trusts, or to one of the extra authorities. An HTTP
/// proxy that the environment names (`HTTPS_PROXY` or `ALL_PROXY`, with the exceptions of `NO_PROXY`) is used.
#[derive(Clone, Debug, Default)]
pub struct Connector {
    authorities: Arc<[CertificateDer<'static>]>,
    /// What the certificates of these hosts have to name in place of the host.
    names: Arc<BTreeMap<String, String>>,
}

impl Connector {
    /// A connector that trusts `authorities` besides the system's roots. A self-signed certificate of a server is its
    /// own authority.
    pub fn new(authorities: Vec<CertificateDer<'static>>) -> Self {
        Self { authorities: authorities.into(), ..Self::default() }
    }

    /// The same, where the certificates of these hosts have to name somebody else than the host.
    pub fn with_names(self, names: BTreeMap<String, String>) -> Self {
        Self { names: names.into(), ..self }
    }

    /// Opens a stream to `remote`, whose certificate, if it is TLS, must name `server_name`.
    pub(crate) async fn connect(
        &self,
        transport: Transport,
        local: Option<IpAddr>,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<(Path, Io), SocketError> {
        let connect = self.connect_unbounded(transport, local, remote, server_name);
        tokio::time::timeout(DEADLINE, connect).await.map_err(|_| SocketError::TimedOut)?
    }

    async fn connect_unbounded(
        &self,
        transport: Transport,
        local: Option<IpAddr>,
        remote: SocketAddr,
        server_name: &str,
    ) -> Result<(Path, Io), SocketError> {
        let host = if server_name.is_empty() { remote.ip().to_string() } else { server_name.to_owned() };
        let tcp = match Proxy::for_host(&host, remote) {
            Some(proxy) => proxy.connect(&host, remote.port()).await?,
            None => open(local, remote).await.map_err(socket_error)?,
        };
        // Small messages both ways: nothing waits for company.
        tcp.set_nodelay(true).map_err(socket_error)?;
        let path = Path::new(transport, tcp.local_addr().map_err(socket_error)?, remote);
        if transport != Transport::Tls {
            return Ok((path, Box::new(tcp)));
        }
        let host = self.names.get(&host).cloned().unwrap_or(host);
        let name = ServerName::try_from(host.clone())
            .map_err(|_| SocketError::Tls(format!("{host} is not a name that a certificate can carry")))?;
        let config = tls::client_config(&self.authorities).await;
        let stream = tokio_rustls::TlsConnector::from(config)
            .connect(name, tcp)
            .await
            .map_err(|error| tls_error(error, &host))?;
        Ok((path, Box::new(stream)))
    }
}

async fn open(local: Option<IpAddr>, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(local) = local {
        socket.bind(SocketAddr::new(local, 0))?;
    }
    socket.connect(remote).await
}

fn tls_error(error: io::Error, host: &str) -> SocketError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(why)) => SocketError::Tls(format!(
            "the certificate of {host} is not trusted ({why}); add its authority to the configuration or to the system"
        )),
        Some(other) => SocketError::Tls(other.to_string()),
        None => socket_error(error),
    }
}

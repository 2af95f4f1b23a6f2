//! Reaching a server: address, proxy, TLS, WebSocket. Each step fails with words of its own.

use crate::SUBPROTOCOL;
use crate::date::parse_date;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderValue, header};
use tokio_tungstenite::tungstenite::{self, protocol::WebSocketConfig};

/// How to reach a server.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Certificates of authorities (or of the server itself) to trust besides the system's.
    pub extra_certificates: Vec<CertificateDer<'static>>,
    /// Takes any certificate. Only for a self-signed one, and only when the person asked for it.
    pub insecure: bool,
    /// An HTTP proxy (`http://user:password@host:port`) to reach the server through. `None` reads `HTTPS_PROXY` (for
    /// `http:` servers `HTTP_PROXY`), `ALL_PROXY` and `NO_PROXY`; an empty string uses none. Loopback is never reached
    /// through a proxy.
    pub proxy: Option<String>,
    /// How long all of it may take.
    pub timeout: Duration,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            extra_certificates: Vec::new(),
            insecure: false,
            proxy: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// Why the server could not be reached, in words for the person who named it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address is no address.
    #[error("“{0}” is not a server's address: give one such as http://127.0.0.1:8080 or https://example.org")]
    BadUrl(String),
    /// The name does not resolve.
    #[error(
        "the name {host} does not resolve ({detail}): check its spelling and that this machine is online"
    )]
    UnknownName {
        /// The name.
        host: String,
        /// What the resolver said.
        detail: String,
    },
    /// Nothing listens there.
    #[error("no server at {address}: start one there with `sterna serve`, or name another with --server")]
    Refused {
        /// `host:port`.
        address: String,
    },
    /// Nothing came back.
    #[error("{address} does not answer: check the address, and that a firewall lets its TCP port through")]
    Timeout {
        /// `host:port`.
        address: String,
    },
    /// The network says no.
    #[error("{address} cannot be reached: {source}")]
    Unreachable {
        /// `host:port`.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// It speaks another protocol.
    #[error("{address} is no web service: it answers “{detail}”")]
    NoAnswer {
        /// `host:port`.
        address: String,
        /// How its answer begins.
        detail: String,
    },
    /// The proxy does not let us through.
    #[error("the proxy {proxy} does not connect us to {address}: {detail}")]
    Proxy {
        /// The proxy's `host:port`.
        proxy: String,
        /// The server's `host:port`.
        address: String,
        /// What it said.
        detail: String,
    },
    /// The certificate is not trusted.
    #[error(
        "the certificate of {host} is not trusted ({detail}): for a server of your own give its certificate \
         with --ca, or --insecure to take any"
    )]
    Certificate {
        /// The server's name.
        host: String,
        /// What is wrong with it.
        detail: String,
    },
    /// TLS failed otherwise.
    #[error(
        "{address} does not complete a TLS handshake ({detail}): does it want http:// in place of https://?"
    )]
    Tls {
        /// `host:port`.
        address: String,
        /// What went wrong.
        detail: String,
    },
    /// Something else answers.
    #[error("{address} answers, but is no Sterna server ({detail})")]
    NotSterna {
        /// `host:port`.
        address: String,
        /// What it said.
        detail: String,
        /// Where it sends us instead, if it does: a captive portal does.
        redirect: Option<String>,
    },
}

/// How a server was reached, for a diagnosis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The other end of the connection: the server, or the proxy.
    pub remote: SocketAddr,
    /// The HTTP proxy in between, `host:port`.
    pub proxy: Option<String>,
    /// From the start until there was a connection, the name's lookup included.
    pub connected: Duration,
    /// From the start until TLS was done, if there is any.
    pub secured: Option<Duration>,
    /// From the start until the server had answered.
    pub answered: Duration,
    /// Our clock and the server's at that moment (RFC 9110 §6.6.1), in Unix time.
    pub clocks: Option<(Duration, Duration)>,
}

impl Greeting {
    /// By how many seconds the server's clock is ahead of ours, if it tells.
    pub fn server_ahead(&self) -> Option<i64> {
        let (ours, server) = self.clocks?;
        Some(server.as_secs() as i64 - ours.as_secs() as i64)
    }
}

/// A stream to the server, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) type Socket = WebSocketStream<Box<dyn Stream>>;

/// Connects to the signalling of `server` (`http://`, `https://`, `ws://` or `wss://`).
pub(crate) async fn connect(
    server: &str,
    options: &ConnectOptions,
) -> Result<(Socket, Greeting), ConnectError> {
    let target =
        Target::parse(server).ok_or_else(|| ConnectError::BadUrl(server.chars().take(80).collect()))?;
    let address = target.address();
    let timeout = ConnectError::Timeout { address };
    tokio::time::timeout(options.timeout, reach(&target, options)).await.map_err(|_| timeout)?
}

async fn reach(target: &Target, options: &ConnectOptions) -> Result<(Socket, Greeting), ConnectError> {
    let started = Instant::now();
    let address = target.address();
    let proxy = target.proxy(options.proxy.as_deref());
    let tcp = match &proxy {
        Some(proxy) => through_proxy(proxy, &address).await?,
        None => tcp(&target.host, target.port).await?,
    };
    let _ = tcp.set_nodelay(true);
    let unreachable = |source| ConnectError::Unreachable { address: address.clone(), source };
    let remote = tcp.peer_addr().map_err(unreachable)?;
    let connected = started.elapsed();
    let stream: Box<dyn Stream> = if target.tls {
        let connector = TlsConnector::from(Arc::new(tls_config(options)));
        Box::new(tls(tcp, target, &connector).await?)
    } else {
        Box::new(tcp)
    };

    let secured = target.tls.then(|| started.elapsed());

    let mut request = target
        .websocket_url()
        .into_client_request()
        .map_err(|_| ConnectError::BadUrl(target.websocket_url()))?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default().max_message_size(Some(1 << 20)).max_frame_size(Some(1 << 20));
    let answer = tokio_tungstenite::client_async_with_config(request, stream, Some(config)).await;
    let not_sterna =
        |detail: String| ConnectError::NotSterna { address: address.clone(), detail, redirect: None };
    match answer {
        Ok((socket, response)) => {
            let protocol = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
            if protocol.is_none_or(|p| p != SUBPROTOCOL) {
                return Err(not_sterna(format!("its WebSocket does not speak {SUBPROTOCOL}")));
            }
            let date = response.headers().get(header::DATE).and_then(|date| date.to_str().ok());
            let ours = SystemTime::now().duration_since(UNIX_EPOCH).ok();
            let greeting = Greeting {
                remote,
                proxy: proxy.map(|proxy| proxy.address()),
                connected,
                secured,
                answered: started.elapsed(),
                clocks: ours.zip(date.and_then(parse_date)),
            };
            Ok((socket, greeting))
        }
        Err(tungstenite::Error::Http(response)) => {
            let redirect = response.headers().get(header::LOCATION).and_then(|url| url.to_str().ok());
            Err(ConnectError::NotSterna {
                address: address.clone(),
                detail: format!("HTTP {} for {}", response.status(), target.path),
                redirect: redirect.map(str::to_owned),
            })
        }
        Err(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::SecWebSocketSubProtocolError(_),
        )) => Err(not_sterna(format!("its WebSocket does not speak {SUBPROTOCOL}"))),
        Err(tungstenite::Error::Io(error)) if target.tls => {
            Err(ConnectError::Tls { address: address.clone(), detail: error.to_string() })
        }
        Err(error) => Err(not_sterna(error.to_string())),
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, ConnectError> {
    let address = join(host, port);
    let addresses: Vec<_> = match tokio::net::lookup_host((host, port)).await {
        Ok(addresses) => addresses.collect(),
        Err(error) => {
            return Err(ConnectError::UnknownName { host: host.into(), detail: error.to_string() });
        }
    };
    let mut last = None;
    for candidate in addresses {
        match TcpStream::connect(candidate).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        None => ConnectError::UnknownName { host: host.into(), detail: "it has no address".into() },
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => ConnectError::Refused { address },
        Some(error) if error.kind() == io::ErrorKind::TimedOut => ConnectError::Timeout { address },
        Some(source) => ConnectError::Unreachable { address, source },
    })
}

/// HTTP CONNECT, RFC 9110 §9.3.6.
async fn through_proxy(proxy: &Target, address: &str) -> Result<TcpStream, ConnectError> {
    let failed =
        |detail: String| ConnectError::Proxy { proxy: proxy.address(), address: address.to_string(), detail };
    let mut stream = tcp(&proxy.host, proxy.port).await.map_err(|e| failed(e.to_string()))?;
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n");
    if let Some(user) = &proxy.user {
        request += &format!("Proxy-Authorization: Basic {}\r\n", BASE64_STANDARD.encode(unescaped(user)));
    }
    request += "\r\n";
    stream.write_all(request.as_bytes()).await.map_err(|e| failed(e.to_string()))?;
    // Byte by byte up to the empty line: what follows it belongs to the server.
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 8192 {
            return Err(failed("its answer has no end".into()));
        }
        head.push(stream.read_u8().await.map_err(|_| failed("it hung up".into()))?);
    }
    let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_string();
    match line.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(stream),
        Some("407") => Err(failed("it wants a user and a password: put them into the proxy's URL".into())),
        _ => Err(failed(line)),
    }
}

/// A connection to a web server, perhaps through a proxy, with TLS if its address says so.
pub(crate) async fn stream(
    target: &Target,
    proxy: Option<&Target>,
    connector: &TlsConnector,
) -> Result<Box<dyn Stream>, ConnectError> {
    let tcp = match proxy {
        Some(proxy) => through_proxy(proxy, &target.address()).await?,
        None => tcp(&target.host, target.port).await?,
    };
    let _ = tcp.set_nodelay(true);
    Ok(match target.tls {
        true => Box::new(tls(tcp, target, connector).await?),
        false => Box::new(tcp),
    })
}

async fn tls(
    tcp: TcpStream,
    target: &Target,
    connector: &TlsConnector,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, ConnectError> {
    let name = ServerName::try_from(target.host.clone())
        .map_err(|_| ConnectError::BadUrl(format!("https://{}", target.host)))?;
    connector.connect(name, tcp).await.map_err(|error| {
        let cause = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidCertificate(why)) => {
                ConnectError::Certificate { host: target.host.clone(), detail: explain(why) }
            }
            _ => ConnectError::Tls { address: target.address(), detail: error.to_string() },
        }
    })
}

fn explain(why: &rustls::CertificateError) -> String {
    use rustls::CertificateError::*;
    match why {
        Expired | ExpiredContext { .. } => "it has expired".into(),
        NotValidYet | NotValidYetContext { .. } => {
            "it is not valid yet: is this machine's clock right?".into()
        }
        NotValidForName | NotValidForNameContext { .. } => "it is for another name".into(),
        UnknownIssuer => "nobody this machine trusts has signed it".into(),
        other => format!("{other}"),
    }
}

pub(crate) fn tls_config(options: &ConnectOptions) -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has the suites of the default versions");
    let mut config = if options.insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth()
    } else {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        roots.add_parsable_certificates(options.extra_certificates.iter().cloned());
        builder.with_root_certificates(roots).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// Takes any certificate, but still checks that the server has its key.
#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The parts of a server's address.
#[derive(Debug, PartialEq)]
pub(crate) struct Target {
    pub(crate) tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The page, or where the WebSocket is.
    pub(crate) path: String,
    /// `user:password`, as it stands in the address.
    user: Option<String>,
}

impl Target {
    /// Of the WebSocket of a server at `url`.
    fn parse(url: &str) -> Option<Self> {
        let target = Self::parse_page(url.split('?').next()?)?;
        let path = format!("{}/ws", target.path.trim_end_matches('/'));
        Some(Self { path, ..target })
    }

    /// Of the page at `url`.
    pub(crate) fn parse_page(url: &str) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, authority) = match authority.rsplit_once('@') {
            Some((user, authority)) => (Some(user.to_owned()), authority),
            None => (None, authority),
        };
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']')?;
                host.parse::<std::net::Ipv6Addr>().ok()?;
                (host, port.strip_prefix(':'))
            }
            None => match authority.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port.parse().ok()?,
            None if tls => 443,
            None => 80,
        };
        let bad = |c: char| c.is_whitespace() || c.is_control();
        if host.is_empty() || host.contains(bad) || path.contains(bad) {
            return None;
        }
        let path = if path.starts_with('/') { path.to_string() } else { format!("/{path}") };
        Some(Self { tls, host: host.to_string(), port, path, user })
    }

    pub(crate) fn address(&self) -> String {
        join(&self.host, self.port)
    }

    fn websocket_url(&self) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.address(), self.path)
    }

    /// The proxy to go through, by option or environment.
    pub(crate) fn proxy(&self, option: Option<&str>) -> Option<Target> {
        let address: Result<std::net::IpAddr, _> = self.host.parse();
        if self.host == "localhost" || address.is_ok_and(|a| a.is_loopback()) {
            return None;
        }
        let variable = |name: &str| {
            let lower = std::env::var(name.to_ascii_lowercase()).ok();
            lower.or_else(|| std::env::var(name).ok()).filter(|value| !value.is_empty())
        };
        let proxy = match option {
            Some(proxy) => proxy.to_string(),
            None if variable("NO_PROXY").is_some_and(|list| self.is_in(&list)) => return None,
            None => {
                let own = if self.tls { "HTTPS_PROXY" } else { "HTTP_PROXY" };
                variable(own).or_else(|| variable("ALL_PROXY"))?
            }
        };
        let proxy = if proxy.contains("://") { proxy } else { format!("http://{proxy}") };
        Target::parse(&proxy).filter(|proxy| !proxy.tls)
    }

    /// Whether a `NO_PROXY` list names this host.
    fn is_in(&self, list: &str) -> bool {
        list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
            let entry = entry.trim_start_matches('.');
            let host = self.host.to_ascii_lowercase();
            let entry = entry.to_ascii_lowercase();
            entry == "*" || host == entry || host.ends_with(&format!(".{entry}"))
        })
    }
}

/// Undoes `%40` and the like; what is no escape stays.
fn unescaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = tail.get(..2).filter(|_| first == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let byte = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    out
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let parse = |url: &str| {
            let target = Target::parse(url)?;
            Some(target.websocket_url())
        };
        assert_eq!(parse("http://127.0.0.1:8080").as_deref(), Some("ws://127.0.0.1:8080/ws"));
        assert_eq!(parse("http://h/#secret").as_deref(), Some("ws://h:80/ws"));
        assert_eq!(parse("https://h").as_deref(), Some("wss://h:443/ws"));
        assert_eq!(parse("wss://h:1/sterna/").as_deref(), Some("wss://h:1/sterna/ws"));
        assert_eq!(parse("http://[::1]:8080").as_deref(), Some("ws://[::1]:8080/ws"));
        for bad in
            ["", "h:8080", "ftp://h", "http://", "http://h:x", "http://[h]:1", "http://a b", "http://h:99999"]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_proxy_is_for_servers_elsewhere() {
        let proxy = |url: &str| Target::parse(url).unwrap().proxy(Some("proxy:3128")).map(|p| p.address());
        assert_eq!(proxy("https://example.org").as_deref(), Some("proxy:3128"));
        assert_eq!(proxy("http://example.org").as_deref(), Some("proxy:3128"));
        assert_eq!(proxy("http://localhost:8080"), None);
        assert_eq!(proxy("https://localhost:8443"), None);
        assert_eq!(proxy("https://[::1]:8443"), None);
        let target = Target::parse("https://a.example.org").unwrap();
        assert!(target.is_in("localhost, .example.org"));
        assert!(target.is_in("*"));
        assert!(!target.is_in("ample.org,other"));
        let proxy = target.proxy(Some("http://me:p%40ss@proxy:3128")).unwrap();
        assert_eq!((proxy.user.as_deref(), proxy.address().as_str()), (Some("me:p%40ss"), "proxy:3128"));
        assert_eq!(unescaped("me:p%40ss%"), b"me:p@ss%");
    }
}

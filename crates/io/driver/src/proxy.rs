//! HTTP proxies: a stream by `CONNECT` (RFC 9110 §9.3.6).

use std::net::{IpAddr, SocketAddr};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sansio::SocketError;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::sockets::socket_error;

/// The longest answer of a proxy that is read.
const MAX_ANSWER: usize = 16 * 1024;

/// An HTTP proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Proxy {
    host: String,
    port: u16,
    /// `user:password`, in base64.
    authorization: Option<String>,
}

impl Proxy {
    /// The proxy that the environment wants used for `host` at `remote`, if any.
    pub(crate) fn for_host(host: &str, remote: SocketAddr) -> Option<Self> {
        let proxy = environment()?;
        let exceptions = variable(["NO_PROXY", "no_proxy"]).unwrap_or_default();
        if remote.ip().is_loopback() || is_excepted(&exceptions, host, remote.ip()) {
            return None;
        }
        let parsed = Self::parse(&proxy);
        if parsed.is_none() {
            tracing::warn!(
                "the proxy of the environment is not of the form http://host:port; connecting directly"
            );
        }
        parsed
    }

    /// Reads `http://user:password@host:port` or `host:port`. Proxies of other kinds are `None`.
    fn parse(url: &str) -> Option<Self> {
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return None,
            None => url,
        };
        let rest = rest.split('/').next()?;
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
            _ => (address, 80),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return None;
        }
        let authorization = user.map(|user| BASE64_STANDARD.encode(percent_decoded(user)));
        Some(Self { host: host.to_owned(), port, authorization })
    }

    /// Opens a stream to `host` through the proxy.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, SocketError> {
        let failed = |why: String| SocketError::Other(format!("the proxy {}:{} {why}", self.host, self.port));
        let mut tcp = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| failed(format!("cannot be reached: {}", socket_error(error))))?;
        let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            request += &format!("Proxy-Authorization: Basic {authorization}\r\n");
        }
        request += "\r\n";
        tcp.write_all(request.as_bytes()).await.map_err(socket_error)?;
        // Byte by byte, so that nothing of the stream behind the answer is swallowed.
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let byte =
                tcp.read_u8().await.map_err(|error| failed(format!("hung up: {}", socket_error(error))))?;
            answer.push(byte);
            if answer.len() > MAX_ANSWER {
                return Err(failed("does not speak HTTP".into()));
            }
        }
        match status(&answer) {
            Some(200..=299) => Ok(tcp),
            Some(407) => Err(failed("wants a user and a password: put them into the proxy's URL".into())),
            Some(code) => Err(failed(format!("refuses to connect to {target}: HTTP {code}"))),
            None => Err(failed("does not speak HTTP".into())),
        }
    }
}

/// The proxy that the environment wants used, as `host:port`, without user and password.
pub fn configured() -> Option<String> {
    let Proxy { host, port, .. } = Proxy::parse(&environment()?)?;
    Some(format!("{host}:{port}"))
}

/// The proxy's URL.
fn environment() -> Option<String> {
    variable(["HTTPS_PROXY", "https_proxy"]).or_else(|| variable(["ALL_PROXY", "all_proxy"]))
}

/// The first of these environment variables that says something.
fn variable(names: [&str; 2]) -> Option<String> {
    names.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// The status code of an HTTP/1 answer.
fn status(answer: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(answer).ok()?.lines().next()?;
    let (version, rest) = line.split_once(' ')?;
    version.starts_with("HTTP/1.").then(|| rest.get(..3)?.parse().ok())?
}

/// Whether `exceptions` (a list with commas: `*`, names, names with a leading dot, addresses) names the host.
fn is_excepted(exceptions: &str, host: &str, address: IpAddr) -> bool {
    exceptions.split(',').map(str::trim).any(|exception| {
        let suffix = exception.trim_start_matches('.').to_ascii_lowercase();
        let host = host.to_ascii_lowercase();
        exception == "*"
            || !suffix.is_empty()
                && (host == suffix || host.strip_suffix(&suffix).is_some_and(|rest| rest.ends_with('.')))
            || exception.parse() == Ok(address)
    })
}

/// Undoes `%40` and the like; what is not an escape stays.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        out.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn urls_of_proxies_are_read() {
        let plain = Proxy { host: "proxy".into(), port: 3128, authorization: None };
        assert_eq!(Proxy::parse("http://proxy:3128/"), Some(plain.clone()));
        assert_eq!(Proxy::parse("proxy:3128"), Some(plain.clone()));
        let with_user = Proxy { authorization: Some("YTpwQHNz".into()), ..plain };
        assert_eq!(Proxy::parse("http://a:p%40ss@proxy:3128"), Some(with_user));
        assert_eq!(Proxy::parse("http://[2001:db8::1]").unwrap().host, "2001:db8::1");
        assert_eq!(Proxy::parse("socks5://proxy:1080"), None);
        assert_eq!(Proxy::parse("http://:80"), None);
    }

    #[test]
    fn exceptions_are_names_domains_and_addresses() {
        let address = "192.0.2.1".parse().unwrap();
        for (list, excepted) in [
            ("*", true),
            ("example.org", true),
            (".example.org, other", true),
            ("turn.example.org", true),
            ("192.0.2.1", true),
            ("ample.org", false),
            ("other", false),
            ("", false),
        ] {
            assert_eq!(is_excepted(list, "turn.Example.org", address), excepted, "{list}");
        }
    }

    async fn through(answer: &'static [u8]) -> (Result<Vec<u8>, SocketError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            let length = tcp.read(&mut request).await.unwrap();
            tcp.write_all(answer).await.unwrap();
            String::from_utf8(request[..length].to_vec()).unwrap()
        });
        let proxy = Proxy::parse(&format!("http://me:secret@127.0.0.1:{port}")).unwrap();
        let result = match proxy.connect("turn.example.org", 443).await {
            Ok(mut tcp) => {
                let mut rest = Vec::new();
                tcp.read_to_end(&mut rest).await.unwrap();
                Ok(rest)
            }
            Err(error) => Err(error),
        };
        (result, server.await.unwrap())
    }

    #[tokio::test]
    async fn a_tunnel_starts_right_behind_the_answer() {
        let (result, request) = through(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nhello").await;
        assert_eq!(result.unwrap(), b"hello");
        assert!(request.starts_with("CONNECT turn.example.org:443 HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_refusal_says_what_to_do() {
        let (result, _) = through(b"HTTP/1.1 407 No\r\n\r\n").await;
        assert!(result.unwrap_err().to_string().contains("put them into the proxy's URL"));
        let (result, _) = through(b"garbage\r\n\r\n").await;
        assert!(result.unwrap_err().to_string().contains("does not speak HTTP"));
    }
}

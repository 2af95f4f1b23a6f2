//! Asking a web service: addresses, certificates, proxies and words are those of the WebSocket.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::connect::{ConnectError, ConnectOptions, Target, stream, tls_config};

/// The longest answer that is read, with its head.
const LONGEST: u64 = 32 * 1024;

/// A web service that is asked again and again.
pub struct WebService {
    target: Target,
    proxy: Option<Target>,
    connector: TlsConnector,
    options: ConnectOptions,
}

/// What it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status of HTTP.
    pub status: u16,
    /// What follows the head.
    pub body: Vec<u8>,
}

impl WebService {
    /// The service at `url`, `http://` or `https://`. The system's certificates are read once, now.
    ///
    /// # Errors
    /// If it is no such address.
    pub fn new(url: &str, options: ConnectOptions) -> Result<Self, ConnectError> {
        let target = Target::parse_page(url)
            .filter(|_| url.trim_start().get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")))
            .ok_or_else(|| ConnectError::BadUrl(url.chars().take(80).collect()))?;
        let proxy = target.proxy(options.proxy.as_deref());
        let connector = TlsConnector::from(Arc::new(tls_config(&options)));
        Ok(Self { target, proxy, connector, options })
    }

    /// Whether what is sent to it can be read on the way.
    pub fn is_in_the_clear(&self) -> bool {
        let host = &self.target.host;
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        !self.target.tls && !is_here
    }

    /// Sends `json`, with a header if there is one, and waits for the answer.
    ///
    /// # Errors
    /// If the service is not reached in time, or answers nothing that makes sense.
    pub async fn post(&self, header: Option<(&str, &str)>, json: &str) -> Result<Answer, ConnectError> {
        let timeout = || ConnectError::Timeout { address: self.target.address() };
        tokio::time::timeout(self.options.timeout, self.ask(header, json)).await.map_err(|_| timeout())?
    }

    async fn ask(&self, header: Option<(&str, &str)>, json: &str) -> Result<Answer, ConnectError> {
        let address = self.target.address();
        let mut stream = stream(&self.target, self.proxy.as_ref(), &self.connector).await?;
        // HTTP/1.0, in which an answer is one piece and ends with the connection.
        let header = header.map_or_else(String::new, |(name, value)| format!("{name}: {value}\r\n"));
        let request = format!(
            "POST {} HTTP/1.0\r\nHost: {address}\r\nContent-Type: application/json\r\nAccept: application/json\r\n\
             Content-Length: {}\r\n{header}\r\n{json}",
            self.target.path,
            json.len(),
        );
        let broken = |source: io::Error| ConnectError::Unreachable { address: address.clone(), source };
        stream.write_all(request.as_bytes()).await.map_err(broken)?;
        let mut bytes = Vec::new();
        let read = stream.take(LONGEST + 1).read_to_end(&mut bytes).await;
        if bytes.len() as u64 > LONGEST {
            let detail = format!("more than {} KiB", LONGEST / 1024);
            return Err(ConnectError::NoAnswer { address, detail });
        }
        // Some end TLS without a word, when they have said all.
        if bytes.is_empty() {
            read.map_err(broken)?;
        }
        Answer::parse(&bytes).ok_or_else(|| {
            let text = String::from_utf8_lossy(&bytes);
            let start = text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control());
            ConnectError::NoAnswer { address, detail: start.take(80).collect() }
        })
    }
}

impl Answer {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|end| end == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let mut lines = head.lines();
        let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>())
        });
        let body = &bytes[end + 4..];
        let body = match length {
            Some(length) => body.get(..length.ok()?)?,
            None => body,
        };
        Some(Self { status, body: body.to_vec() })
    }
}

impl std::fmt::Debug for WebService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebService").field("target", &self.target).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_far_as_it_promises() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 2\r\n\r\n{}and more";
        assert_eq!(Answer::parse(whole), Some(Answer { status: 200, body: b"{}".to_vec() }));
        let open = b"HTTP/1.0 404 Not Found\r\n\r\nno";
        assert_eq!(Answer::parse(open), Some(Answer { status: 404, body: b"no".to_vec() }));
        for bad in [
            &b""[..],
            b"SSH-2.0\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
        ] {
            assert_eq!(Answer::parse(bad), None);
        }
    }

    #[test]
    fn only_web_addresses_are_taken_and_those_that_anybody_can_read_are_known() {
        let service = |url| WebService::new(url, ConnectOptions::default());
        for bad in ["", "ws://example.org", "example.org", "https://", "ftp://example.org/"] {
            assert!(service(bad).is_err(), "{bad}");
        }
        for (url, clear) in [
            ("http://127.0.0.1:8080/who?x=1", false),
            ("http://localhost/who", false),
            ("https://example.org/who", false),
            ("http://example.org/who", true),
        ] {
            assert_eq!(service(url).unwrap().is_in_the_clear(), clear, "{url}");
        }
        assert_eq!(service("https://example.org/a/b?c=d#e").unwrap().target.path, "/a/b?c=d");
    }
}

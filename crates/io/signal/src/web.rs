//! HTTP with any web server, one connection for each request: addresses, certificates, proxies and words are those of the
//! WebSocket.

use std::error::Error;
use std::sync::Arc;

use axum::http::uri::PathAndQuery;
use axum::http::{HeaderValue, Request, Response, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio_rustls::TlsConnector;

use crate::connect::{ConnectError, ConnectOptions, Target, stream, tls_config};

/// The longest answer that is read.
const LONGEST: usize = 1 << 20;

/// Asks web servers. Cheap to clone.
#[derive(Clone)]
pub struct WebClient {
    connector: TlsConnector,
    options: Arc<ConnectOptions>,
}

impl WebClient {
    /// The system's certificates are read once, now.
    pub fn new(options: ConnectOptions) -> Self {
        let connector = TlsConnector::from(Arc::new(tls_config(&options)));
        Self { connector, options: options.into() }
    }

    /// Sends a request to the server that its address names, and waits for the whole answer.
    ///
    /// # Errors
    /// If the server is not reached in time, or answers nothing that makes sense.
    pub async fn send<B>(&self, request: Request<B>) -> Result<Response<Bytes>, ConnectError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let url = request.uri().to_string();
        let target =
            Target::parse_page(&url).ok_or_else(|| ConnectError::BadUrl(url.chars().take(80).collect()))?;
        let timeout = || ConnectError::Timeout { address: target.address() };
        tokio::time::timeout(self.options.timeout, self.ask(&target, request)).await.map_err(|_| timeout())?
    }

    async fn ask<B>(&self, target: &Target, mut request: Request<B>) -> Result<Response<Bytes>, ConnectError>
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let no_answer = |error: &dyn Error| ConnectError::NoAnswer {
            address: target.address(),
            detail: error.to_string(),
        };
        let proxy = target.proxy(self.options.proxy.as_deref());
        let stream = stream(target, proxy.as_ref(), &self.connector).await?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| no_answer(&error))?;
        // It ends when the answer has been read, and with it the connection.
        let connection = tokio::spawn(connection);
        let host = request.uri().authority().map(|authority| authority.as_str().to_owned());
        let host = host.and_then(|host| HeaderValue::try_from(host).ok());
        host.into_iter().for_each(|host| _ = request.headers_mut().insert(header::HOST, host));
        request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = path.unwrap_or_else(|| PathAndQuery::from_static("/")).into();
        let answer = sender.send_request(request).await.map_err(|error| no_answer(&error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LONGEST).collect().await.map_err(|error| no_answer(&*error))?;
        connection.abort();
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

impl std::fmt::Debug for WebClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebClient").field("options", &self.options).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn an_answer_in_pieces_is_put_together_and_headers_are_kept() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = vec![0; 1000];
            let length = stream.read(&mut asked).await.unwrap();
            let answer = "HTTP/1.1 201 Created\r\nReplay-Nonce: abc\r\nTransfer-Encoding: chunked\r\n\r\n\
                          3\r\none\r\n4\r\n two\r\n0\r\n\r\n";
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked[..length].to_vec()).unwrap()
        });
        let client = WebClient::new(ConnectOptions::default());
        let url = format!("http://{address}/new-nonce?x=1");
        let request = Request::builder().uri(url).body(http_body_util::Empty::<Bytes>::new()).unwrap();
        let answer = client.send(request).await.unwrap();
        assert_eq!((answer.status().as_u16(), &answer.body()[..]), (201, &b"one two"[..]));
        assert_eq!(answer.headers()["replay-nonce"], "abc");
        let asked = server.await.unwrap();
        assert!(asked.starts_with("GET /new-nonce?x=1 HTTP/1.1\r\n"), "{asked}");
        assert!(asked.to_ascii_lowercase().contains(&format!("host: {address}\r\n")), "{asked}");
    }
}

//! Every way in which a server cannot be reached has words of its own.

use std::sync::Arc;
use sterna_signal::{Client, ConnectError, ConnectOptions, SignalConfig, router};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn connect(server: &str, options: &ConnectOptions) -> Result<(), ConnectError> {
    Client::connect(server, options).await.map(drop)
}

async fn failure(server: &str) -> ConnectError {
    connect(server, &ConnectOptions::default()).await.expect_err("must fail")
}

/// A listener that answers everybody with the same bytes.
async fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(answer).await;
            });
        }
    });
    address.to_string()
}

#[tokio::test]
async fn an_address_that_is_none() {
    assert!(matches!(failure("localhost:8080").await, ConnectError::BadUrl(_)));
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = failure(&format!("http://{address}")).await;
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains("sterna serve"), "{error}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve() {
    let error = failure("http://nobody.invalid:8080").await;
    assert!(matches!(error, ConnectError::UnknownName { .. }), "{error:?}");
}

#[tokio::test]
async fn something_else_answers() {
    for answer in [
        &b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"",
    ] {
        let error = failure(&format!("http://{}", answering(answer).await)).await;
        assert!(matches!(error, ConnectError::NotSterna { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn a_websocket_of_something_else() {
    let app = axum::Router::new().route(
        "/ws",
        axum::routing::get(|upgrade: axum::extract::ws::WebSocketUpgrade| async {
            upgrade.on_upgrade(|mut socket| async move { while socket.recv().await.is_some() {} })
        }),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let error = failure(&format!("http://{address}")).await;
    assert!(matches!(error, ConnectError::NotSterna { .. }), "{error:?}");
}

#[tokio::test]
async fn tls_is_expected_and_is_not_there() {
    let error = failure(&format!("https://{}", answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await)).await;
    assert!(matches!(error, ConnectError::Tls { .. }), "{error:?}");
    assert!(error.to_string().contains("http://"), "{error}");
}

#[tokio::test]
async fn a_server_that_never_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let options =
        ConnectOptions { timeout: std::time::Duration::from_millis(100), ..ConnectOptions::default() };
    let error = connect(&format!("http://{address}"), &options).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout { .. }), "{error:?}");
}

/// Sterna behind TLS with a self-signed certificate for `localhost`.
async fn behind_tls() -> (String, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();

    // The plain server, and a TLS front that copies both ways.
    let inner = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let inner_address = inner.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(inner, router(SignalConfig::default())).await });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else { return };
                let mut plain = tokio::net::TcpStream::connect(inner_address).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
            });
        }
    });
    (format!("localhost:{port}"), certificate)
}

#[tokio::test]
async fn certificates() {
    let (address, certificate) = behind_tls().await;
    let server = format!("https://{address}");
    let error = failure(&server).await;
    assert!(matches!(error, ConnectError::Certificate { .. }), "{error:?}");
    assert!(error.to_string().contains("--insecure"), "{error}");

    let trusting = ConnectOptions { extra_certificates: vec![certificate], ..ConnectOptions::default() };
    connect(&server, &trusting).await.unwrap();
    let by_address = server.replace("localhost", "127.0.0.1");
    let error = connect(&by_address, &trusting).await.unwrap_err();
    assert!(error.to_string().contains("another name"), "{error}");

    let insecure = ConnectOptions { insecure: true, ..ConnectOptions::default() };
    connect(&by_address, &insecure).await.unwrap();

    // Plain HTTP to a TLS port.
    let error = failure(&format!("http://{address}")).await;
    assert!(matches!(error, ConnectError::NotSterna { .. }), "{error:?}");
}

#[tokio::test]
async fn a_proxy_that_refuses_and_one_that_connects() {
    let proxy = answering(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
    let through =
        |proxy: String| ConnectOptions { proxy: Some(proxy), insecure: true, ..ConnectOptions::default() };
    let error = connect("https://sterna.invalid", &through(proxy)).await.unwrap_err();
    assert!(matches!(&error, ConnectError::Proxy { detail, .. } if detail.contains("403")), "{error:?}");

    // A proxy that knows where sterna.invalid is.
    let (address, _) = behind_tls().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(stream.read_u8().await.unwrap());
        }
        assert!(request.starts_with(b"CONNECT sterna.invalid:443 HTTP/1.1\r\n"));
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
        let mut server = tokio::net::TcpStream::connect(address).await.unwrap();
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
    });
    connect("https://sterna.invalid", &through(proxy)).await.unwrap();
}

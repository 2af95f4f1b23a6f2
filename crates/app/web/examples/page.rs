//! The page and its signalling alone, without STUN and TURN: for work on the page.
//!
//! `cargo run -p sterna-web --example page [PORT]`, then open the address that it prints. Files are embedded
//! at build time: run it again after a change.

use std::net::SocketAddr;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(8080);
    let app = sterna_web::router().merge(signal::router(signal::SignalConfig::default()));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    println!("http://{}", listener.local_addr()?);
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await
}

//! Whether a captive portal answers in the server's place. Nobody but the server itself is asked.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::server::host_of;

const PATIENCE: Duration = Duration::from_millis(1000);
/// The longest head of an answer that is read.
const MAX_HEAD: usize = 8192;

/// Asks the host of `url` in plain HTTP, as a browser would that looks for a login page: a portal cannot show its own in
/// TLS that is meant for somebody else. The portal's host, if there is one.
pub(super) async fn look(url: &str) -> Option<String> {
    let head = timeout(PATIENCE, ask(url)).await.ok()??;
    verdict(&head, url)
}

/// Where a redirect leads, if that is another host than the one that was asked.
pub(super) fn elsewhere(redirect: &str, url: &str) -> Option<String> {
    let (there, here) = (host_of(redirect)?, host_of(url)?);
    // From example.org to www.example.org is no other place.
    let within = |inner: &str, outer: &str| {
        let rest = inner.to_ascii_lowercase();
        rest.strip_suffix(&outer.to_ascii_lowercase())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    (!within(there, here) && !within(here, there)).then(|| there.to_owned())
}

async fn ask(url: &str) -> Option<String> {
    let host = host_of(url)?;
    let port = match url.split_once("://") {
        Some(("http" | "ws", rest)) => {
            let authority = rest.split(['/', '?', '#']).next()?;
            let port = authority.get(authority.find(host)? + host.len()..)?.strip_prefix(':');
            port.map_or(Some(80), |port| port.parse().ok())?
        }
        _ => 80,
    };
    let mut stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.ok()?;
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut head = Vec::new();
    while head.len() < MAX_HEAD && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await.ok()? == 0 {
            break;
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

fn verdict(head: &str, url: &str) -> Option<String> {
    let mut lines = head.lines();
    let status: u16 = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let location = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim())
    });
    match status {
        // Network Authentication Required (RFC 6585 §6).
        511 => Some(location.and_then(host_of).or(host_of(url))?.to_owned()),
        300..=399 => elsewhere(location?, url),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_page_elsewhere_is_a_portal_and_the_server_itself_is_none() {
        const URL: &str = "https://sterna.example.org:8443";
        let portal = |head: &str| verdict(head, URL);
        let login = "HTTP/1.1 302 Found\r\nServer: x\r\nLOCATION: http://login.cafe.example/?u\r\n\r\n";
        assert_eq!(portal(login).as_deref(), Some("login.cafe.example"));
        assert_eq!(portal("HTTP/1.1 511 No\r\n\r\n").as_deref(), Some("sterna.example.org"));
        for fine in [
            "",
            "HTTP/1.1 200 OK\r\n\r\n<html>",
            "HTTP/1.1 301 Moved\r\nLocation: https://sterna.example.org/\r\n\r\n",
            "HTTP/1.1 301 Moved\r\nLocation: https://www.sterna.example.org/\r\n\r\n",
            "HTTP/1.1 301 Moved\r\nLocation: https://EXAMPLE.org/\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: /here\r\n\r\n",
            "SSH-2.0-OpenSSH",
        ] {
            assert_eq!(portal(fine), None, "{fine}");
        }
    }
}

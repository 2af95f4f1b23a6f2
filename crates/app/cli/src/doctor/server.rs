//! The server: is it there, what does its clock say, and which STUN and TURN servers does it name?

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::portal;
use signal::{Client, ConnectError, ConnectOptions, Greeting};
use sterna::IceServer;

/// How a visit went.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) url: String,
    pub(super) greeting: Option<Greeting>,
    /// The STUN and TURN servers that it names, with credentials.
    pub(super) ice_servers: Vec<IceServer>,
    /// Our clock and the server's at the same moment, in Unix time.
    pub(super) clocks: Option<(Duration, Duration)>,
    /// Who answers in the server's place.
    pub(super) portal: Option<String>,
    /// Why there is nothing else.
    pub(super) error: Option<String>,
}

/// Connects to the signalling of the server and asks for its STUN and TURN servers.
pub(super) async fn visit(url: &str, options: &ConnectOptions) -> Visit {
    let mut visit = Visit {
        url: url.to_owned(),
        greeting: None,
        ice_servers: Vec::new(),
        clocks: None,
        portal: None,
        error: None,
    };
    let mut client = match Client::connect(url, options).await {
        Ok(client) => client,
        Err(error) => {
            if let ConnectError::NotSterna { redirect: Some(redirect), .. } = &error {
                visit.portal = portal::elsewhere(redirect, url);
            }
            if visit.portal.is_none() {
                visit.portal = portal::look(url).await;
            }
            visit.error = Some(error.to_string());
            return visit;
        }
    };
    let greeting = client.greeting().clone();
    visit.clocks = greeting.clocks;
    visit.greeting = Some(greeting);
    match tokio::time::timeout(options.timeout, client.fetch_ice_servers()).await {
        Ok(Ok(servers)) => match serde_json::from_value(servers) {
            Ok(servers) => visit.ice_servers = servers,
            Err(error) => visit.error = Some(format!("the server's iceServers make no sense: {error}")),
        },
        Ok(Err(error)) => visit.error = Some(error.to_string()),
        Err(_) => visit.error = Some("the server does not tell its STUN and TURN servers".to_owned()),
    }
    visit
}

/// Our clock.
pub(super) fn unix_time() -> Option<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok()
}

/// The host in a URL, with its brackets if it has any.
pub(super) fn host_of(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    Some(&host[..end]).filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_found_in_urls() {
        assert_eq!(host_of("http://login.cafe.example:80/x?y"), Some("login.cafe.example"));
        assert_eq!(host_of("https://user@[2001:db8::1]:8443"), Some("[2001:db8::1]"));
        assert_eq!(host_of("/relative"), None);
    }
}

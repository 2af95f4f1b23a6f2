//! The server: is it there, what does its clock say, and which STUN and TURN servers does it name?

use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
                visit.portal =
                    host_of(redirect).filter(|host| Some(*host) != host_of(url)).map(str::to_owned);
            }
            visit.error = Some(error.to_string());
            return visit;
        }
    };
    let greeting = client.greeting().clone();
    visit.clocks =
        greeting.date.as_deref().and_then(parse_date).zip(unix_time()).map(|(server, own)| (own, server));
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

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7), as Unix time.
fn parse_date(text: &str) -> Option<Duration> {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let mut words = text.split_once(", ")?.1.split(' ');
    let day: u64 = words.next()?.parse().ok()?;
    let month = words.next().filter(|month| month.len() == 3)?;
    let month = MONTHS.find(month).filter(|at| at % 3 == 0)? as u64 / 3 + 1;
    let year: u64 = words.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hours, minutes, seconds) = (time.next()??, time.next()??, time.next()??);
    if words.next()? != "GMT" || !(1..=31).contains(&day) || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    // Days since 1970, counted in years that begin in March, so that leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read() {
        let at = |text| parse_date(text).map(|time| time.as_secs());
        assert_eq!(at("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(at("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(at("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(at("Fri, 01 Mar 2024 00:00:00 GMT"), Some(1_709_251_200));
        for bad in [
            "",
            "now",
            "Sun, 06 anF 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49 GMT",
            "Sun, 06 Nov 1994 08:49:37 CET",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn hosts_are_found_in_urls() {
        assert_eq!(host_of("http://login.cafe.example:80/x?y"), Some("login.cafe.example"));
        assert_eq!(host_of("https://user@[2001:db8::1]:8443"), Some("[2001:db8::1]"));
        assert_eq!(host_of("/relative"), None);
    }
}

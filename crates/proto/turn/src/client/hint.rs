//! What a person can do about a refusal.

use std::time::Duration;

use stun::credential::Refusal;

/// What to do about an error response.
pub(super) fn for_code(code: u16) -> &'static str {
    match code {
        300 => "The server sends its clients elsewhere without saying where: ask who runs it.",
        400 => "The server does not understand our request: it may not be a TURN server, or a very old one.",
        403 => "The server forbids this to us: ask who runs it.",
        420 => "The server lacks a feature that we asked for: turn it off, or use another server.",
        437 => {
            "The server has an allocation that we do not know of, or lost the one that we had (a restart?): try \
             again from another local port."
        }
        440 => "The server has no relay address of this family: ask for the other one.",
        441 => "The allocation was made with another username: use that one, or another local port.",
        442 => "The server does not relay UDP: use another server.",
        486 => "This user has as many allocations as the server grants: close some, or wait a minute.",
        508 => "The server is full: wait a minute, or use another server.",
        500..=599 => "The server has a problem of its own: try again later, or use another server.",
        _ => "The server refuses: ask who runs it.",
    }
}

/// What to do when no answer comes.
pub(super) fn for_silence(over_udp: bool) -> &'static str {
    if over_udp {
        "Check the server's address and port, and that it runs; if a firewall blocks UDP, use \
         `turn:…?transport=tcp` or `turns:…`."
    } else {
        "The connection stands but nobody answers: check that the port is that of a TURN server, and for `turns:` \
         that it is the TLS port."
    }
}

/// What to do when answers come that are not signed with our password.
pub(super) fn for_integrity() -> &'static str {
    "Its answers are not signed with our password: somebody else answers in its place, or the server has another \
     password for this user."
}

/// What to do about refused credentials. `unix_time` is what our clock says, if it is known.
pub(super) fn for_refusal(
    refusal: Refusal,
    username: &str,
    realm: &str,
    unix_time: Option<Duration>,
) -> String {
    match refusal {
        Refusal::NoUsername => {
            format!("It is not open to everybody: give a username and a password for the realm `{realm}`.")
        }
        Refusal::WrongCredentials => for_credentials(username, realm, unix_time),
        Refusal::BidDown => {
            "The server announces protection that is missing from its answer: somebody on the way changes its \
             messages. Use `turns:`, or another network."
                .to_owned()
        }
        Refusal::NoAlgorithm => {
            "The server wants passwords hashed in a way that we do not know: allow MD5 or SHA-256 there.".to_owned()
        }
        Refusal::StaleLoop => {
            "The server calls each nonce stale that it hands out: its clock may jump, several servers with \
             different keys may share the address, or a NAT may change our port with every packet."
                .to_owned()
        }
        Refusal::Malformed => "The server asks for credentials without realm or nonce: it is broken.".to_owned(),
    }
}

fn for_credentials(username: &str, realm: &str, unix_time: Option<Duration>) -> String {
    let timestamp = username.split(':').next().and_then(|first| first.parse::<u64>().ok());
    // Shorter numbers are names, not times.
    let Some(expires) = timestamp.filter(|seconds| *seconds >= 1_000_000_000) else {
        return format!("Check username and password for the realm `{realm}`: both are case-sensitive.");
    };
    let until = utc(expires);
    match unix_time.map(|now| now.as_secs()) {
        Some(now) if now >= expires => format!(
            "The username expired {} ago ({until}): get fresh credentials. If it should still be valid, this \
             machine's clock or that of the back end is wrong.",
            span(now - expires)
        ),
        Some(now) => format!(
            "By our clock the username is valid for another {} (until {until}): so the back end that made it does \
             not use the secret of this server, or the server's clock is ahead.",
            span(expires - now)
        ),
        None => format!(
            "The username is valid until {until}: if that is over, get fresh credentials; if not, the back end that \
             made it does not use the secret of this server, or a clock is wrong.",
        ),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A Unix time as people write it (the proleptic Gregorian calendar, counted in eras of 400 years).
fn utc(unix: u64) -> String {
    let (days, second) = (unix / 86_400, unix % 86_400);
    // Days since 1 March 0000, so that the leap day is the last of its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = 400 * era + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_times_read_as_dates() {
        for (unix, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_700_000_000, "2023-11-14 22:13:20 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(unix), text);
        }
        let _ = utc(u64::MAX);
    }

    #[test]
    fn a_timestamp_username_is_held_against_the_clock() {
        let at = |seconds| Some(Duration::from_secs(seconds));
        let hint = |username, now| for_credentials(username, "example.org", now);
        assert!(
            hint("1700000000:alice", at(1_700_000_090))
                .contains("expired 90 s ago (2023-11-14 22:13:20 UTC)")
        );
        let valid = hint("1700000000:alice", at(1_699_990_000));
        assert!(
            valid.contains("another 2 h") && valid.contains("secret") && valid.contains("clock"),
            "{valid}"
        );
        assert!(hint("1700000000", None).contains("until 2023-11-14 22:13:20 UTC"));
        assert!(hint("alice", at(0)).contains("`example.org`"));
        assert!(hint("12345:alice", at(0)).contains("case-sensitive"));
    }
}

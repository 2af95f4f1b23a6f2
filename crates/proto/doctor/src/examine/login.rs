//! Who may use a TURN server, and for how long.

use std::time::Duration;

use ice::{ServerOutcome, ServerReport};

use crate::view::View;
use crate::{Code, Verdict};

/// Clocks that differ by less do not matter: no time-limited credential is that tight.
const TOLERANCE: i64 = 30;

/// The username or the password was refused. The first 401 of a login is no refusal, and is not in a report.
pub(super) fn refused(view: View<'_>) -> Option<Verdict> {
    let refused =
        |server: &&ServerReport| matches!(server.outcome, ServerOutcome::Refused { code: 401 | 441, .. });
    let server = view.allocations().find(refused)?;
    let ServerOutcome::Refused { code, text } = &server.outcome else { return None };
    let words = format!("{} answered {code} to our credentials: {text}", server.url);
    if let (Some(realm), Some(expected)) = (&server.realm, &view.evidence.expected_realm)
        && realm != expected
    {
        let advice = format!(
            "use the credentials of the realm {realm:?}, or set the TURN server's realm to {expected:?}; is it the right server?"
        );
        return Some(
            Verdict::new(Code::TurnRealmWrong, advice)
                .shown(words)
                .shown(format!("the server's realm is {realm:?}, the credentials are for {expected:?}")),
        );
    }
    let Some(expires) = server.expires else {
        let realm = server.realm.as_deref().unwrap_or_default();
        let advice = format!(
            "correct username and credential of {}: both are case-sensitive, and belong to the realm {realm:?}",
            server.url
        );
        return Some(Verdict::new(Code::TurnCredentialsWrong, advice).shown(words));
    };
    Some(time_limited(view, server, expires).shown(words))
}

/// A username that is good until a time.
fn time_limited(view: View<'_>, server: &ServerReport, expires: u64) -> Verdict {
    let clock = view.evidence.clock;
    let ours = clock.ours.map(|now| remaining(expires, now));
    let servers = clock.servers.map(|now| remaining(expires, now));
    let wrong = "make the credentials with the secret of this very server: the back end and the TURN server do not share one";
    let fresh =
        "get fresh credentials: ask the back end again before each connection, and let them live longer";
    let verdict = match (ours, servers) {
        // Both clocks agree.
        (Some(ours), Some(servers)) if ours <= 0 && servers <= 0 => {
            Verdict::new(Code::TurnCredentialsExpired, fresh)
                .shown(format!("they were good until {} ago", span(-servers)))
        }
        (_, Some(servers)) if servers > 0 => Verdict::new(Code::TurnCredentialsWrong, wrong)
            .shown(format!("by the server's clock they are good for another {}", span(servers))),
        (Some(ours), Some(servers)) => Verdict::new(
            Code::ClockSkewed,
            "set the clocks: switch on network time (NTP) on the TURN server, on the machine that makes the credentials, and here",
        )
        .shown(format!(
            "by our clock the credentials are good for another {}, by the server's they expired {} ago",
            span(ours),
            span(-servers)
        ))
        .shown(skew(clock.ahead().unwrap_or_default())),
        (None, Some(servers)) => Verdict::new(Code::TurnCredentialsExpired, fresh)
            .shown(format!("by the server's clock they were good until {} ago", span(-servers))),
        (Some(ours), None) if ours <= 0 => Verdict::new(Code::TurnCredentialsExpired, fresh)
            .shown(format!("by our clock they were good until {} ago; the server's clock is not known", span(-ours))),
        (Some(ours), None) => Verdict::new(
            Code::Inconclusive,
            "compare the clock of the TURN server with this machine's; if they agree, the back end that makes the credentials \
             does not use the secret of this server",
        )
        .shown(format!(
            "by our clock the credentials are good for another {}: either the server's clock is ahead by that much, or they \
             were made with another secret",
            span(ours)
        )),
        (None, None) => Verdict::new(
            Code::Inconclusive,
            "get fresh credentials; if those are refused too, the back end does not use the secret of this server, or a clock \
             is wrong",
        )
        .shown(format!("the credentials are good until Unix time {expires}, and no clock is known")),
    };
    verdict.shown(format!("the username of {} begins with its time of expiry, {expires}", server.url))
}

/// Clocks that are far apart, before anything was refused for it.
pub(super) fn clocks(view: View<'_>) -> Option<Verdict> {
    let ahead = view.evidence.clock.ahead().filter(|ahead| ahead.abs() > TOLERANCE)?;
    Some(
        Verdict::new(
            Code::ClockSkewed,
            "switch on network time (NTP): time-limited credentials and certificates are refused when clocks differ",
        )
        .shown(skew(ahead)),
    )
}

fn skew(ahead: i64) -> String {
    let word = if ahead >= 0 { "ahead of" } else { "behind" };
    format!("our clock is {} {word} the server's", span(ahead.abs()))
}

fn remaining(expires: u64, now: Duration) -> i64 {
    let seconds = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    seconds(expires).saturating_sub(seconds(now.as_secs()))
}

fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

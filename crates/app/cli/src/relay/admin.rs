//! The operator's own listener: metrics, health, and credentials for back ends.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;

use super::metrics;
use super::station::Desk;

/// The longest name of a user that credentials are made for.
const LONGEST_USER: usize = 128;

/// What the operator's listener serves.
pub(crate) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .with_state(desk.clone())
        .merge(credentials(desk))
}

/// `GET /ice-servers?user=NAME&lifetime=SECONDS`, for back ends that have the token.
pub(crate) fn credentials(desk: Arc<Desk>) -> Router {
    Router::new().route("/ice-servers", get(ice_servers)).with_state(desk)
}

async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    match desk.handle.status().await {
        Some(status) => {
            let text = metrics::text(&status, &desk.beside());
            ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, "the relay has ended\n").into_response(),
    }
}

/// Whether the relay lives: it answers.
async fn health(State(desk): State<Arc<Desk>>) -> Response {
    match tokio::time::timeout(Duration::from_secs(5), desk.handle.status()).await {
        Ok(Some(_)) => (StatusCode::OK, "ok\n").into_response(),
        _ => (StatusCode::SERVICE_UNAVAILABLE, "the relay does not answer\n").into_response(),
    }
}

/// Whether new clients are welcome.
async fn readiness(State(desk): State<Arc<Desk>>) -> Response {
    match desk.is_ready() {
        true => (StatusCode::OK, "ready\n").into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready: starting, or draining\n").into_response(),
    }
}

async fn ice_servers(State(desk): State<Arc<Desk>>, uri: Uri, headers: HeaderMap) -> Response {
    if !desk.has_token() {
        let text = "there is no token, so nobody gets credentials here: see --token-file\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    }
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = given.and_then(|value| value.strip_prefix("Bearer "));
    if !token.is_some_and(|token| desk.admits(token.trim())) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        let text = "Authorization: Bearer TOKEN is missing or wrong\n";
        return (StatusCode::UNAUTHORIZED, challenge, text).into_response();
    }
    let Some(Wanted { user, lifetime }) = Wanted::parse(uri.query().unwrap_or_default()) else {
        let text = format!(
            "ask with ?user=NAME&lifetime=SECONDS, both optional; a name has at most {LONGEST_USER} bytes and no colon\n"
        );
        return (StatusCode::BAD_REQUEST, text).into_response();
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let body = json!({
        "iceServers": desk.ice_servers(&user, host, lifetime), "lifetime": desk.lifetime(lifetime),
    });
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, body.to_string()).into_response()
}

/// What a back end asks for.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    user: String,
    /// Seconds.
    lifetime: Option<u64>,
}

impl Wanted {
    fn parse(query: &str) -> Option<Self> {
        let mut wanted = Self { user: "anonymous".to_owned(), lifetime: None };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=')? {
                ("user", user) => wanted.user = decoded(user)?,
                ("lifetime", seconds) => wanted.lifetime = Some(seconds.parse().ok()?),
                _ => return None,
            }
        }
        let fine = |c: char| !c.is_control() && c != ':';
        (wanted.user.len() <= LONGEST_USER && wanted.user.chars().all(fine)).then_some(wanted)
    }
}

/// `a%20b` as it was meant.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        (rest, _) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                (tail, bytes.push((digit(*high)? * 16 + digit(*low)?) as u8))
            }
            (b'%', _) => return None,
            (b'+', tail) => (tail, bytes.push(b' ')),
            (byte, tail) => (tail, bytes.push(*byte)),
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_and_nothing_else() {
        let wanted = |user: &str, lifetime| Some(Wanted { user: user.to_owned(), lifetime });
        assert_eq!(Wanted::parse(""), wanted("anonymous", None));
        assert_eq!(Wanted::parse("user=J%C3%B6rg+A&lifetime=60"), wanted("Jörg A", Some(60)));
        for bad in
            ["user", "user=a%3Ab", "user=%4", "user=%zz", "user=%ff", "lifetime=-1", "who=me", "user=a%0a"]
        {
            assert_eq!(Wanted::parse(bad), None, "{bad}");
        }
        assert_eq!(Wanted::parse(&format!("user={}", "x".repeat(200))), None);
    }
}

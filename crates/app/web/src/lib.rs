//! The page that `sterna serve` shows, embedded in the binary.
//!
//! Plain ES modules in `page/`, without a build step: what stands there is what the browser gets. The page
//! asks for nothing outside its own server, has no inline script, and is served under a content security
//! policy that says so. Its signalling is `page/sterna.js`, which other pages may use as well.
//!
//! ```no_run
//! # #[tokio::main] async fn main() -> std::io::Result<()> {
//! let app = sterna_web::router().merge(signal::router(signal::SignalConfig::default()));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app).await
//! # }
//! ```

use axum::Router;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::fmt::Write;

/// One file of the page.
struct Asset {
    path: &'static str,
    content_type: &'static str,
    body: &'static str,
}

macro_rules! assets {
    ($($path:literal $content_type:literal $file:literal),* $(,)?) => {
        &[$(Asset { path: $path, content_type: $content_type, body: include_str!(concat!("../page/", $file)) }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";

static ASSETS: &[Asset] = assets![
    "/" "text/html; charset=utf-8" "index.html",
    "/style.css" "text/css; charset=utf-8" "style.css",
    "/icon.svg" "image/svg+xml" "icon.svg",
    "/icons.svg" "image/svg+xml" "icons.svg",
    "/aead.js" "text/javascript; charset=utf-8" "aead.js",
    "/app.js" "text/javascript; charset=utf-8" "app.js",
    "/bytes.js" "text/javascript; charset=utf-8" "bytes.js",
    "/chat.js" "text/javascript; charset=utf-8" "chat.js",
    "/connection.js" "text/javascript; charset=utf-8" "connection.js",
    "/device-view.js" "text/javascript; charset=utf-8" "device-view.js",
    "/dom.js" "text/javascript; charset=utf-8" "dom.js",
    "/figures.js" "text/javascript; charset=utf-8" "figures.js",
    "/figures-view.js" "text/javascript; charset=utf-8" "figures-view.js",
    "/file-view.js" "text/javascript; charset=utf-8" "file-view.js",
    "/layout.js" "text/javascript; charset=utf-8" "layout.js",
    "/lobby.js" "text/javascript; charset=utf-8" "lobby.js",
    "/invitation.js" "text/javascript; charset=utf-8" "invitation.js",
    "/media.js" "text/javascript; charset=utf-8" "media.js",
    "/notices.js" "text/javascript; charset=utf-8" "notices.js",
    "/part.js" "text/javascript; charset=utf-8" "part.js",
    "/path.js" "text/javascript; charset=utf-8" "path.js",
    "/qr.js" "text/javascript; charset=utf-8" "qr.js",
    "/reunion.js" "text/javascript; charset=utf-8" "reunion.js",
    "/seal.js" "text/javascript; charset=utf-8" "seal.js",
    "/sections.js" "text/javascript; charset=utf-8" "sections.js",
    "/sha256.js" "text/javascript; charset=utf-8" "sha256.js",
    "/share.js" "text/javascript; charset=utf-8" "share.js",
    "/side.js" "text/javascript; charset=utf-8" "side.js",
    "/spake2.js" "text/javascript; charset=utf-8" "spake2.js",
    "/stage.js" "text/javascript; charset=utf-8" "stage.js",
    "/sterna.js" "text/javascript; charset=utf-8" "sterna.js",
    "/transfer.js" "text/javascript; charset=utf-8" "transfer.js",
    "/verdict.js" "text/javascript; charset=utf-8" "verdict.js",
    "/zip.js" "text/javascript; charset=utf-8" "zip.js",
];

/// Serves the page at `/` and its parts beside it. The signalling that it speaks must be at `/ws` of the same
/// server.
pub fn router() -> Router {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        // A strong validator over the content: a browser asks each time and gets 304 until the server changes.
        let mut etag = String::from("\"");
        for byte in &crypto::sha256(&[asset.body.as_bytes()])[..12] {
            let _ = write!(etag, "{byte:02x}");
        }
        etag.push('"');
        let etag = HeaderValue::from_str(&etag).expect("hex in quotes is a header value");
        router.route(asset.path, get(move |headers: HeaderMap| async move { serve(asset, &etag, &headers) }))
    })
}

fn serve(asset: &'static Asset, etag: &HeaderValue, request: &HeaderMap) -> Response {
    let fresh = request.get_all(header::IF_NONE_MATCH).iter().any(|given| {
        given
            .to_str()
            .is_ok_and(|list| list.split(',').any(|tag| tag.trim().trim_start_matches("W/") == etag))
    });
    let mut response =
        if fresh { StatusCode::NOT_MODIFIED.into_response() } else { asset.body.into_response() };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, etag.clone());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if !fresh {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
    }
    if asset.content_type == HTML {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy(request.get(header::HOST)));
        headers.insert(
            "permissions-policy",
            HeaderValue::from_static(
                "camera=(self), microphone=(self), display-capture=(self), speaker-selection=(self), fullscreen=(self), geolocation=()",
            ),
        );
    }
    response
}

/// Everything from the page's own server, nothing from elsewhere, nothing inline.
///
/// Older browsers do not count a WebSocket to the same host as `'self'`, so it is named.
fn policy(host: Option<&HeaderValue>) -> HeaderValue {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '-' | '[' | ']');
    let host =
        host.and_then(|host| host.to_str().ok()).filter(|host| !host.is_empty() && host.chars().all(plain));
    let sockets = host.map(|host| format!(" ws://{host} wss://{host}")).unwrap_or_default();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; \
         connect-src 'self'{sockets}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).expect("the host was checked to be plain")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_file_of_the_page_is_embedded_and_every_import_is_there() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/page");
        let on_disk: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".js") || name.ends_with(".svg") || name.ends_with(".css"))
            .collect();
        let embedded: BTreeSet<String> =
            ASSETS.iter().map(|asset| asset.path[1..].to_string()).filter(|path| !path.is_empty()).collect();
        assert_eq!(on_disk, embedded);
        for asset in ASSETS.iter().filter(|asset| asset.path.ends_with(".js")) {
            for import in asset.body.split("from \"./").skip(1) {
                let name = import.split('"').next().unwrap();
                assert!(embedded.contains(name), "{} imports {name}", asset.path);
            }
        }
    }

    #[test]
    fn the_page_has_no_inline_script_or_style_and_asks_nobody_else() {
        let page = ASSETS[0].body;
        assert!(!page.contains("<script>") && !page.contains(" style=") && !page.contains(" onclick="));
        assert!(!page.contains("http://") && !page.contains("https://"));
        for asset in ASSETS {
            let outside = asset.body.matches("https://").count();
            let named = asset.body.matches("https:// pages").count();
            assert!(outside == named, "{} names an address", asset.path);
        }
    }

    #[test]
    fn the_page_speaks_the_words_of_the_doctor() {
        let source = ASSETS.iter().find(|asset| asset.path == "/verdict.js").unwrap().body;
        let table = source.split("export const WORDS = [").nth(1).unwrap().split("];").next().unwrap();
        let words: Vec<(doctor::Code, &str)> = table
            .lines()
            .filter_map(|line| line.trim().strip_prefix("[\"")?.strip_suffix("\"],")?.split_once("\", \""))
            .map(|(code, message)| (code.parse().expect("the doctor knows the code"), message))
            .collect();
        assert!(words.len() > 10 && words.is_sorted_by_key(|(code, _)| *code), "{words:?}");
        for (code, message) in words {
            assert_eq!(message, code.message());
        }
    }

    #[test]
    fn the_page_is_fresh_or_not_modified() {
        let etag = HeaderValue::from_static("\"abc\"");
        let ask = |given: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(given));
            }
            serve(&ASSETS[0], &etag, &headers).status()
        };
        assert_eq!(ask(None), StatusCode::OK);
        assert_eq!(ask(Some("\"other\"")), StatusCode::OK);
        assert_eq!(ask(Some("\"abc\"")), StatusCode::NOT_MODIFIED);
        assert_eq!(ask(Some("\"x\", W/\"abc\"")), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn a_strange_host_does_not_get_into_the_policy() {
        let policy = |host: &'static str| policy(Some(&HeaderValue::from_static(host)));
        assert!(policy("h.example:8080").to_str().unwrap().contains("ws://h.example:8080 wss://"));
        assert!(policy("[::1]:8080").to_str().unwrap().contains("ws://[::1]:8080"));
        assert!(!policy("evil; script-src *").to_str().unwrap().contains("evil"));
    }
}

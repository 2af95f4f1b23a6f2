//! `--auth-url`: a web service of the operator's says who a user is.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use relay::Question;
use sansio::Path;
use serde_json::{Value, json};
use signal::{ConnectError, ConnectOptions, WebService};
use tokio::sync::{Semaphore, mpsc};
use tracing::warn;
use turn::{User, Verdict};

use super::settings::Inquire;
use crate::failure::{Failure, Kind};
use crate::session::trusted;

/// Questions that may wait for a place; the machine has bounded them by source before.
const WAITING: usize = 256;
/// Questions at a time.
const AT_ONCE: usize = 64;
/// Different complaints in one second.
const COMPLAINTS: usize = 16;

/// What came of the questions so far.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    known: AtomicU64,
    unknown: AtomicU64,
    failed: AtomicU64,
}

impl Outcomes {
    /// Each with its name.
    pub(crate) fn so_far(&self) -> [(&'static str, u64); 3] {
        [("known", &self.known), ("unknown", &self.unknown), ("failed", &self.failed)]
            .map(|(name, count)| (name, count.load(Ordering::Relaxed)))
    }

    fn count(&self, verdict: &Verdict) {
        let counter = match verdict {
            Verdict::Known(_) => &self.known,
            Verdict::Unknown => &self.unknown,
            Verdict::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Somebody who knows the users.
pub(crate) struct Inquiry {
    service: WebService,
    /// What the service knows us by.
    authorization: RwLock<Option<String>>,
    realm: String,
    outcomes: Arc<Outcomes>,
    complaints: Complaints,
}

impl Inquiry {
    pub(crate) fn new(inquire: &Inquire, token: Option<&str>, realm: &str) -> Result<Self, Failure> {
        let options = ConnectOptions { timeout: inquire.timeout, ..trusted(inquire.ca.as_deref())? };
        let service = WebService::new(&inquire.url, options)
            .map_err(|error| Failure::new(Kind::Usage, format!("--auth-url: {error}")))?;
        let inquiry = Self {
            service,
            authorization: RwLock::default(),
            realm: realm.to_owned(),
            outcomes: Arc::default(),
            complaints: Complaints::default(),
        };
        inquiry.show(token);
        Ok(inquiry)
    }

    /// From now on the service knows us by this.
    pub(crate) fn show(&self, token: Option<&str>) {
        let shown = token.map(|token| format!("Bearer {token}"));
        *self.authorization.write().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    pub(crate) fn outcomes(&self) -> Arc<Outcomes> {
        self.outcomes.clone()
    }

    /// What a person should know.
    pub(crate) fn warning(&self) -> Option<String> {
        self.service.is_in_the_clear().then(|| {
            "--auth-url is not https: passwords come over the network where others can read them".to_owned()
        })
    }

    /// Answers questions from now on, on this runtime.
    pub(crate) fn start(self: &Arc<Self>) -> mpsc::Sender<Question> {
        let (questions, mut asked) = mpsc::channel::<Question>(WAITING);
        let (inquiry, places) = (self.clone(), Arc::new(Semaphore::new(AT_ONCE)));
        tokio::spawn(async move {
            while let Some(question) = asked.recv().await {
                let Ok(place) = places.clone().acquire_owned().await else { return };
                let inquiry = inquiry.clone();
                tokio::spawn(async move {
                    let verdict = inquiry.verdict(question.username(), question.client()).await;
                    question.answer(verdict);
                    drop(place);
                });
            }
        });
        questions
    }

    /// Who `username` is, and counts what came of it. Where that is nothing, the operator reads why.
    async fn verdict(&self, username: &str, client: Path) -> Verdict {
        let verdict = self.ask(username, client).await.unwrap_or_else(|why| {
            self.complaints.say(&why);
            Verdict::Failed
        });
        self.outcomes.count(&verdict);
        verdict
    }

    /// `Err`: why there is no answer.
    async fn ask(&self, username: &str, client: Path) -> Result<Verdict, String> {
        let body = json!({
            "username": username, "realm": self.realm,
            "client": client.remote.to_string(), "transport": client.transport.to_string(),
        });
        let authorization = self.authorization.read().unwrap_or_else(PoisonError::into_inner).clone();
        let header = authorization.as_deref().map(|value| ("Authorization", value));
        let answer = self.service.post(header, &body.to_string()).await.map_err(|error| no_answer(&error))?;
        verdict(username, answer.status, &answer.body)
            .map_err(|what| format!("{what} (status {})", answer.status))
    }
}

/// What the operator is told, each thing once a second at most: a service that is down fails as often as somebody likes.
#[derive(Debug, Default)]
struct Complaints(Mutex<HashMap<String, Instant>>);

impl Complaints {
    fn say(&self, why: &str) {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|_, at| at.elapsed() < Duration::from_secs(1));
        if said.len() < COMPLAINTS && !said.contains_key(why) {
            said.insert(why.to_owned(), Instant::now());
            warn!("--auth-url: {why}");
        }
    }
}

/// Why the service cannot be asked, in the words of an operator's keys.
fn no_answer(error: &ConnectError) -> String {
    match error {
        ConnectError::Refused { address } => format!("nobody listens at {address}"),
        ConnectError::Certificate { host, detail } => format!(
            "the certificate of {host} is not trusted ({detail}): if an authority of your own signed it, name it with auth-ca"
        ),
        error => error.to_string(),
    }
}

/// What an answer means. `Err`: nothing that it could mean.
fn verdict(username: &str, status: u16, body: &[u8]) -> Result<Verdict, &'static str> {
    match status {
        200 => {}
        401 | 403 | 404 => return Ok(Verdict::Unknown),
        300..=399 => {
            return Err(
                "the service sends us elsewhere, where we do not go: give the address at which it answers",
            );
        }
        500..=599 => return Err("the service is out of order"),
        _ => {
            return Err(
                "this is no answer: 200 with a password or hashes, or 403 or 404 for who may not come in",
            );
        }
    }
    let answer: Value = serde_json::from_slice(body).map_err(|_| "its answer is no JSON")?;
    let text = |key: &str| answer[key].as_str().filter(|text| !text.is_empty());
    if let Some(password) = text("password") {
        return Ok(Verdict::Known(User::new(username, password)));
    }
    if let (Some(md5), Some(sha256)) = (text("md5"), text("sha256")) {
        // As `sterna credentials hash` prints them, or without what it puts before them.
        let (md5, sha256) = (md5.trim_start_matches("md5:"), sha256.trim_start_matches("sha256:"));
        let user = User::from_line(&format!("{username} md5:{md5} sha256:{sha256}"));
        return user.map(Verdict::Known).map_err(|_| "its hashes are none, or the name has a space");
    }
    Err("its answer has neither `password` nor `md5` and `sha256`")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::transfer::scratch::Scratch;

    #[test]
    fn an_answer_means_a_user_or_nobody_or_nothing() {
        let known = |body: &str| verdict("a lice", 200, body.as_bytes());
        assert_eq!(
            known(r#"{"password": "wonderland"}"#),
            Ok(Verdict::Known(User::new("a lice", "wonderland")))
        );
        let line = User::new("alice", "wonderland").line("example.org");
        let [_, md5, sha256] = line.split(' ').collect::<Vec<_>>()[..] else { unreachable!("three fields") };
        let (bare, printed) = ((&md5[4..], &sha256[7..]), (md5, sha256));
        for (md5, sha256) in [bare, printed] {
            let hashes = json!({ "md5": md5, "sha256": sha256 }).to_string();
            assert_eq!(
                verdict("alice", 200, hashes.as_bytes()),
                Ok(Verdict::Known(User::from_line(&line).unwrap()))
            );
        }
        for status in [401, 403, 404] {
            assert_eq!(verdict("alice", status, b""), Ok(Verdict::Unknown));
        }
        for (status, body) in [
            (200, ""),
            (200, "{}"),
            (200, r#"{"password": ""}"#),
            (200, r#"{"md5": "1", "sha256": "2"}"#),
            (500, "{}"),
            (302, ""),
        ] {
            assert!(verdict("alice", status, body.as_bytes()).is_err(), "{status} {body}");
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    /// What a service does that was asked.
    #[derive(Clone, Copy)]
    enum Manner {
        Says(&'static str),
        /// A head, and a body without end.
        Babbles,
        /// Nothing, for ever.
        IsSilent,
        /// It hangs up.
        HangsUp,
    }

    async fn behave<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, manner: Manner) -> std::io::Result<()> {
        let mut asked = Vec::new();
        while !asked.ends_with(b"}") && stream.read_buf(&mut asked).await? > 0 {}
        match manner {
            Manner::Says(text) => stream.write_all(text.as_bytes()).await?,
            Manner::Babbles => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                loop {
                    stream.write_all(&[b'['; 4096]).await?;
                }
            }
            Manner::IsSilent => std::future::pending().await,
            Manner::HangsUp => {}
        }
        stream.shutdown().await
    }

    /// A service on this machine with a certificate for `localhost` of an authority of its own, below its root: its port.
    async fn service(scratch: &Scratch, manner: Manner) -> u16 {
        let made = crate::relay::tls::chain::Chain::new();
        scratch.write("root.pem", made.root.pem().as_bytes());
        let chain = vec![made.leaf.der().clone(), made.middle.der().clone()];
        let key = rustls_pki_types::PrivateKeyDer::Pkcs8(made.key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move { behave(acceptor.accept(stream).await?, manner).await });
            }
        });
        port
    }

    fn inquiry(port: u16, ca: Option<PathBuf>, timeout: Duration) -> Inquiry {
        let inquire = Inquire {
            url: format!("https://localhost:{port}/users"),
            ca,
            timeout,
            ttl: Duration::from_secs(1),
        };
        Inquiry::new(&inquire, Some("token"), "example.org").unwrap()
    }

    fn client() -> Path {
        Path::udp("127.0.0.1:3478".parse().unwrap(), "127.0.0.1:4000".parse().unwrap())
    }

    #[tokio::test]
    async fn a_service_whose_authority_is_ours_is_asked_if_we_are_told_of_it() {
        let scratch = Scratch::new("auth-ca");
        let manner = Manner::Says("HTTP/1.1 200 OK\r\n\r\n{\"password\": \"wonderland\"}");
        let port = service(&scratch, manner).await;
        let trusting = inquiry(port, Some(scratch.path("root.pem")), LONG);
        let known = Verdict::Known(User::new("alice", "wonderland"));
        assert_eq!(trusting.ask("alice", client()).await, Ok(known));
        let strange = inquiry(port, None, LONG).ask("alice", client()).await.unwrap_err();
        assert!(strange.contains("certificate of localhost is not trusted"), "{strange}");
        assert!(strange.contains("auth-ca"), "{strange}");
    }

    #[tokio::test]
    async fn whatever_the_service_does_wrong_is_a_line_and_a_count_and_over_in_time() {
        let scratch = Scratch::new("auth-wrong");
        for (manner, words) in [
            (Manner::Says("HTTP/1.1 503 Service Unavailable\r\n\r\nlater"), "out of order (status 503)"),
            (Manner::Says("HTTP/1.1 302 Found\r\nLocation: https://localhost/\r\n\r\n"), "elsewhere"),
            (Manner::Says("\0\u{1}\u{2}rubbish\n\r\n\r\n"), "no web service"),
            (Manner::Says("HTTP/1.1 200 OK\r\n\r\n<html>welcome</html>"), "no JSON"),
            (Manner::Says("HTTP/1.1 200 OK\r\n\r\n[1, 2]"), "neither `password` nor"),
            (
                Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n{}"),
                "no web service",
            ),
            (Manner::Says("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}"), "no web service"),
            (Manner::Babbles, "more than 32 KiB"),
            (Manner::IsSilent, "does not answer"),
            (Manner::HangsUp, "no web service"),
        ] {
            let port = service(&scratch, manner).await;
            let patience = if matches!(manner, Manner::IsSilent) { Duration::from_millis(300) } else { LONG };
            let inquiry = inquiry(port, Some(scratch.path("root.pem")), patience);
            let why = inquiry.ask("alice", client()).await.unwrap_err();
            assert!(why.contains(words) && !why.contains(|c: char| c.is_control()), "{words}: {why:?}");
            assert_eq!(inquiry.verdict("alice", client()).await, Verdict::Failed);
            assert_eq!(inquiry.outcomes().so_far(), [("known", 0), ("unknown", 0), ("failed", 1)]);
        }
    }

    #[test]
    fn a_complaint_is_not_repeated_at_once_and_there_are_not_many() {
        let complaints = Complaints::default();
        (0..3 * COMPLAINTS).for_each(|number| complaints.say(&format!("{}", number % 20)));
        assert_eq!(complaints.0.lock().unwrap().len(), COMPLAINTS);
    }
}

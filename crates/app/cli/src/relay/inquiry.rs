//! `--auth-url`: a web service of the operator's says who a user is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use relay::Question;
use serde_json::{Value, json};
use signal::{ConnectOptions, WebService};
use tokio::sync::{Semaphore, mpsc};
use tracing::warn;
use turn::{User, Verdict};

use super::settings::Inquire;
use crate::failure::{Failure, Kind};

/// Questions that may wait for a place; the machine has bounded them by source before.
const WAITING: usize = 256;
/// Questions at a time.
const AT_ONCE: usize = 64;

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
}

impl Inquiry {
    pub(crate) fn new(inquire: &Inquire, token: Option<&str>, realm: &str) -> Result<Self, Failure> {
        let options = ConnectOptions { timeout: inquire.timeout, ..ConnectOptions::default() };
        let service = WebService::new(&inquire.url, options)
            .map_err(|error| Failure::new(Kind::Usage, format!("--auth-url: {error}")))?;
        let inquiry = Self {
            service,
            authorization: RwLock::default(),
            realm: realm.to_owned(),
            outcomes: Arc::default(),
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
                    let verdict = inquiry.ask(&question).await;
                    inquiry.outcomes.count(&verdict);
                    question.answer(verdict);
                    drop(place);
                });
            }
        });
        questions
    }

    async fn ask(&self, question: &Question) -> Verdict {
        let client = question.client();
        let body = json!({
            "username": question.username(), "realm": self.realm,
            "client": client.remote.to_string(), "transport": client.transport.to_string(),
        });
        let authorization = self.authorization.read().unwrap_or_else(PoisonError::into_inner).clone();
        let header = authorization.as_deref().map(|value| ("Authorization", value));
        match self.service.post(header, &body.to_string()).await {
            Ok(answer) => verdict(question.username(), answer.status, &answer.body).unwrap_or_else(|what| {
                warn!(status = answer.status, "--auth-url: {what}");
                Verdict::Failed
            }),
            Err(error) => {
                warn!(%error, "--auth-url cannot be asked");
                Verdict::Failed
            }
        }
    }
}

/// What an answer means. `Err`: nothing that it could mean.
fn verdict(username: &str, status: u16, body: &[u8]) -> Result<Verdict, &'static str> {
    match status {
        200 => {}
        401 | 403 | 404 => return Ok(Verdict::Unknown),
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
    use super::*;

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
}

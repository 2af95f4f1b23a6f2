use std::fmt;
use std::sync::Arc;

use mio::Waker;
use sansio::Path;
use tokio::sync::mpsc;
use turn::{LookupId, Verdict};

/// Somebody wants to be let in whom only somebody else may know: see [`turn::LookupRules`], with which
/// [`RelayConfig::questions`](crate::RelayConfig::questions) go together.
///
/// Answer it in time, or it answers itself. Dropped, it is [`Verdict::Failed`].
pub struct Question {
    username: String,
    client: Path,
    id: LookupId,
    answers: Answers,
    is_open: bool,
}

/// Where answers go to the machine's thread. There are never more than questions, which the machine bounds.
#[derive(Clone)]
pub(crate) struct Answers {
    pub(crate) sender: mpsc::UnboundedSender<(LookupId, Verdict)>,
    pub(crate) waker: Arc<Waker>,
}

/// Whom the machine asks, and how the answers come.
pub(crate) struct Inquiry {
    pub(crate) questions: Option<mpsc::Sender<Question>>,
    pub(crate) answers: Answers,
}

impl Inquiry {
    pub(crate) fn ask(&self, id: LookupId, username: String, client: Path) {
        let question = Question { username, client, id, answers: self.answers.clone(), is_open: true };
        if let Some(questions) = &self.questions {
            // Who is not asked, because too many are, fails: dropped, a question says so.
            let _ = questions.try_send(question);
        }
    }
}

impl Question {
    /// The name that he gave.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Where he comes from; remote is his address. He has shown that he receives what is sent there.
    pub fn client(&self) -> Path {
        self.client
    }

    /// Says who he is.
    pub fn answer(mut self, verdict: Verdict) {
        self.say(verdict);
    }

    fn say(&mut self, verdict: Verdict) {
        if std::mem::take(&mut self.is_open) && self.answers.sender.send((self.id, verdict)).is_ok() {
            let _ = self.answers.waker.wake();
        }
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.say(Verdict::Failed);
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("username", &self.username)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

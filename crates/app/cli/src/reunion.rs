//! How the two sides find each other again when the signalling of either has broken, as it does with every change of
//! network: each waits behind a door that only the two know of, and knocks at the other's.

use std::time::Duration;

use signal::seal::WayBack;
use signal::{ConnectOptions, Door, Hello, Session};
use tokio::task::JoinSet;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(1500);
/// How long one attempt may take. A network that has just come up may lose the first packet, and asking twice is
/// faster than waiting.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Looks for the other side.
pub(crate) struct Reunion {
    server: String,
    options: ConnectOptions,
    hello: Hello,
    way: Option<WayBack>,
    tasks: JoinSet<Session>,
    knocking: bool,
}

impl Reunion {
    /// Nobody is looked for yet.
    pub(crate) fn new(server: &str, mut options: ConnectOptions, hello: Hello) -> Self {
        options.timeout = ATTEMPT;
        let server = server.to_owned();
        Self { server, options, hello, way: None, tasks: JoinSet::new(), knocking: false }
    }

    /// From now on `way` leads back: waits there, so that the other side can come whenever it has to.
    pub(crate) fn wait(&mut self, way: WayBack) {
        self.tasks.abort_all();
        self.knocking = false;
        self.way = Some(way);
        self.start(way, false);
    }

    /// Goes and knocks, because the signalling is gone or may be.
    pub(crate) fn knock(&mut self) {
        if let Some(way) = self.way
            && !std::mem::replace(&mut self.knocking, true)
        {
            // The door that was opened before the network changed may hang in the void.
            self.tasks.abort_all();
            self.start(way, false);
            self.start(way, true);
        }
    }

    fn start(&mut self, way: WayBack, knock: bool) {
        let (server, options, hello) = (self.server.clone(), self.options.clone(), self.hello.clone());
        self.tasks.spawn(async move {
            loop {
                match Door::open_back(&server, way, knock, &options).await {
                    Ok(mut door) => match door.meet(&hello).await {
                        Ok(session) => return session,
                        Err(error) => tracing::debug!(knock, %error, "not met again"),
                    },
                    Err(error) => tracing::debug!(knock, %error, "no way back"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
    }

    /// The other side, once it is found. Cancel-safe.
    pub(crate) async fn found(&mut self) -> Session {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(session)) => return session,
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

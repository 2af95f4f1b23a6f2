//! How the two sides find each other again when the signalling of either has broken, as it does with every change of
//! network: each waits behind a door that only the two know of, and knocks at the other's.

use std::time::Duration;

use signal::seal::WayBack;
use signal::{ConnectOptions, Door, Hello, Session};
use tokio::task::{AbortHandle, JoinSet};

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(1500);
/// How long one attempt may take. A network that has just come up may lose the first packet, and asking twice is
/// faster than waiting.
const ATTEMPT: Duration = Duration::from_secs(3);
/// How long a meeting may still come about that is preferred to one that has.
const GRACE: Duration = Duration::from_secs(2);

/// Looks for the other side.
pub(crate) struct Reunion {
    server: String,
    options: ConnectOptions,
    hello: Hello,
    /// Whether this side was the host when the two met first.
    host: bool,
    way: Option<WayBack>,
    tasks: JoinSet<Met>,
    /// Whoever waits behind a door, and whether a meeting there is preferred.
    doors: Vec<(AbortHandle, bool)>,
    knocking: bool,
}

/// Both sides may knock, and meet twice. Then both end with the meeting that is preferred: the one behind the door of the
/// first host.
struct Met {
    session: Session,
    preferred: bool,
}

impl Reunion {
    /// Nobody is looked for yet. `host`: whether this side was the host when the two met.
    pub(crate) fn new(server: &str, mut options: ConnectOptions, hello: Hello, host: bool) -> Self {
        options.timeout = ATTEMPT;
        let (tasks, doors) = (JoinSet::new(), Vec::new());
        Self { server: server.to_owned(), options, hello, host, way: None, tasks, doors, knocking: false }
    }

    /// From now on `way` leads back: waits there, so that the other side can come whenever it has to.
    pub(crate) fn wait(&mut self, way: WayBack) {
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
            self.doors.clear();
            self.start(way, false);
            self.start(way, true);
        }
    }

    fn start(&mut self, way: WayBack, knock: bool) {
        let (server, options, hello) = (self.server.clone(), self.options.clone(), self.hello.clone());
        let preferred = self.host != knock;
        let door = self.tasks.spawn(async move {
            loop {
                match Door::open_back(&server, way, knock, &options).await {
                    Ok(mut door) => match door.meet(&hello).await {
                        Ok(session) => return Met { session, preferred },
                        Err(error) => tracing::debug!(knock, %error, "not met again"),
                    },
                    Err(error) => tracing::debug!(knock, %error, "no way back"),
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        self.doors.push((door, preferred));
    }

    /// Nobody is awaited any more, but whom it is better to have met.
    fn close_doors(&mut self, met: bool) {
        for (door, preferred) in self.doors.drain(..) {
            if preferred && !met {
                tokio::spawn(async move {
                    tokio::time::sleep(GRACE).await;
                    door.abort();
                });
            } else {
                door.abort();
            }
        }
    }

    /// The other side, once it is found; it may be found twice, and the last time counts. Cancel-safe.
    pub(crate) async fn found(&mut self) -> Session {
        loop {
            match self.tasks.join_next().await {
                Some(Ok(met)) => {
                    self.close_doors(met.preferred);
                    return met.session;
                }
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use signal::{Invitation, Payload};

    async fn server() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = signal::router(signal::SignalConfig::default());
        let app = app.into_make_service_with_connect_info::<std::net::SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, app).await });
        url
    }

    /// What a side is left with when the dust has settled.
    async fn settle(reunion: &mut Reunion) -> Session {
        let mut last: Option<Session> = None;
        let dust = tokio::time::sleep(Duration::from_millis(400));
        tokio::pin!(dust);
        loop {
            tokio::select! {
                session = reunion.found() => {
                    reunion.wait(session.way_back());
                    last = Some(session);
                }
                () = &mut dust, if last.is_some() => return last.expect("the guard looked"),
            }
        }
    }

    #[tokio::test]
    async fn two_that_knock_at_once_end_with_the_same_meeting() {
        let url = server().await;
        let hello = Hello::new("transfer", "");
        let options = ConnectOptions::default();
        let mut door = Door::open_code(&url, &options).await.unwrap();
        let code = Invitation::parse(&door.code().unwrap().to_string()).unwrap();
        let mut guest = Door::knock(&code, &url, &options).await.unwrap();
        let (first, second) = tokio::join!(door.meet(&hello), guest.meet(&hello));
        let mut sides = [first.unwrap(), second.unwrap()].map(|session| {
            let mut reunion = Reunion::new(&url, options.clone(), hello.clone(), session.offers());
            reunion.wait(session.way_back());
            reunion
        });
        for round in 0..5 {
            let [a, b] = &mut sides;
            a.knock();
            b.knock();
            let (mut here, mut there) = tokio::join!(settle(a), settle(b));
            here.send(&Payload::Doctor(json!(round))).unwrap();
            let heard = tokio::time::timeout(Duration::from_secs(5), there.next()).await;
            assert!(matches!(heard, Ok(Ok(Payload::Doctor(value))) if value == round), "round {round}");
        }
    }
}

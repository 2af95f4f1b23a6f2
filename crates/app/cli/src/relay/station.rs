//! The STUN and TURN server of this process, from its open sockets to its end: reload, drain, stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use relay::{Handle, Relay};
use serde_json::{Value, json};
use stun::credential::SharedSecret;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

use super::acme::{Keeper, Renewals};
use super::addresses::Addresses;
use super::args::Options;
use super::ice_servers::IceServers;
use super::inquiry::Outcomes;
use super::listening::Ports;
use super::metrics::Beside;
use super::plan::Plan;
use super::probe::Public;
use super::reload::{Reload, Start};
use super::secrets::Token;
use super::settings::Settings;
use super::signals::{Signal, Signals};
use super::tls::Identity;
use super::watch::Watch;
use crate::failure::{Failure, Kind};
use crate::output::Output;

/// How often certificates are looked at, whether they have changed.
const LOOK: Duration = Duration::from_secs(2);
/// How often a server that drains counts who is left.
const COUNT: Duration = Duration::from_millis(200);

pub(crate) struct Station {
    pub(crate) settings: Settings,
    pub(crate) addresses: Addresses,
    pub(crate) public: Vec<Public>,
    pub(crate) identity: Option<Identity>,
    pub(crate) warnings: Vec<String>,
    start: Start,
    ports: Ports,
    relay: Relay,
    /// Has the certificate made.
    keeper: Option<Keeper>,
    desk: Arc<Desk>,
    /// Heard from the beginning: whoever is told that the server listens may send one.
    signals: Signals,
}

/// What HTTP handlers and signalling ask the station for.
pub(crate) struct Desk {
    pub(crate) handle: Handle,
    pub(crate) started: Instant,
    /// Whether new clients are welcome.
    ready: AtomicBool,
    inquiries: Option<Arc<Outcomes>>,
    renewals: Option<Arc<Renewals>>,
    identity: Option<Identity>,
    pub(super) current: RwLock<Current>,
}

/// What a reload replaces.
pub(super) struct Current {
    pub(super) ice_servers: IceServers,
    pub(super) token: Option<Token>,
}

impl Desk {
    /// The `iceServers` for a user.
    pub(crate) fn ice_servers(&self, user: &str, reached: Option<&str>, lifetime: Option<u64>) -> Value {
        self.read().ice_servers.make(user, reached, lifetime, unix_time())
    }

    /// For how long they are good.
    pub(crate) fn lifetime(&self, asked: Option<u64>) -> u64 {
        let usual = self.read().ice_servers.lifetime();
        asked.map_or(usual, |asked| asked.min(usual))
    }

    /// Whether there is a token to ask for.
    pub(crate) fn has_token(&self) -> bool {
        let current = self.read();
        current.token.is_some() && current.ice_servers.makes_credentials()
    }

    /// Whether `text` is the token.
    pub(crate) fn admits(&self, text: &str) -> bool {
        self.read().token.as_ref().is_some_and(|token| token.is(text))
    }

    /// What is counted beside the relay itself.
    pub(crate) fn beside(&self) -> Beside {
        Beside {
            ready: self.is_ready(),
            running: self.started.elapsed(),
            inquiries: self.inquiries.as_deref().unwrap_or(&Outcomes::default()).so_far().into(),
            renewals: self.renewals.as_deref().unwrap_or(&Renewals::default()).so_far().into(),
            certificate_until: self.identity.as_ref().and_then(Identity::until),
        }
    }

    /// Whether new clients are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Station {
    pub(crate) fn new(
        plan: Plan,
        relay: Relay,
        keeper: Option<Keeper>,
        ice_servers: IceServers,
        ports: Ports,
    ) -> Self {
        let desk = Desk {
            handle: relay.handle(),
            started: Instant::now(),
            ready: AtomicBool::new(false),
            inquiries: plan.inquiry.as_ref().map(|inquiry| inquiry.outcomes()),
            renewals: keeper.as_ref().map(Keeper::renewals),
            identity: plan.identity.clone(),
            current: RwLock::new(Current { ice_servers, token: plan.secrets.token.clone() }),
        };
        let mut warnings = plan.warnings();
        if let Some(acme) = plan.settings.acme.as_ref().filter(|_| !ports.have_https()) {
            warnings.push(format!(
                "--acme-domain: the authority connects to port 443 of {}, which is none of this server's: have it \
                 forwarded to one that speaks TLS, or say --stun-tls 443",
                acme.domains[0]
            ));
        }
        let Plan { options, settings, addresses, public, identity, inquiry, .. } = plan;
        Self {
            start: Start { options, settings: settings.clone(), inquiry },
            settings,
            addresses,
            public,
            identity,
            warnings,
            ports,
            relay,
            keeper,
            desk: Arc::new(desk),
            signals: Signals::new(),
        }
    }

    pub(crate) fn desk(&self) -> Arc<Desk> {
        self.desk.clone()
    }

    /// How clients reach the server, as of now.
    pub(crate) fn ice_servers(&self) -> IceServers {
        self.desk.read().ice_servers.clone()
    }

    /// Where to bring clients of TURN that came to the page.
    pub(crate) fn entrance(&self) -> relay::Entrance {
        self.relay.entrance()
    }

    /// Where it listens.
    pub(crate) fn listening(&self) -> Vec<String> {
        self.relay.addresses().iter().map(|(transport, address)| format!("{transport} {address}")).collect()
    }

    /// Serves until a signal ends it, or what runs `beside` it has ended. `again` reads the options anew.
    pub(crate) async fn run(
        self,
        own: Option<SharedSecret>,
        again: impl Fn() -> Result<Options, Failure>,
        beside: impl Future<Output = Failure>,
        output: Output,
    ) -> Result<(), Failure> {
        let Self {
            mut settings, addresses, identity, start, ports, relay, keeper, desk, mut signals, ..
        } = self;
        let mut watch = Watch::new(settings.tls.as_ref());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut relaying = tokio::spawn(relay.run(async {
            let _ = stopped.await;
        }));
        desk.ready.store(true, Ordering::Relaxed);
        // Dropped, they end.
        let (again_now, mut tasks) = (Arc::new(Notify::new()), JoinSet::new());
        keeper.into_iter().for_each(|keeper| _ = tasks.spawn(keeper.run(again_now.clone())));
        let mut beside = std::pin::pin!(beside);
        let mut look = tokio::time::interval(LOOK);
        loop {
            let signal = tokio::select! {
                failure = &mut beside => return Err(failure),
                ended = &mut relaying => {
                    let why = ended.err().map_or_else(String::new, |error| format!(": {error}"));
                    return Err(Failure::new(Kind::Other, format!("the relay has ended{why}")));
                }
                signal = signals.next() => signal,
                _ = look.tick() => {
                    if watch.has_changed() {
                        renew(identity.as_ref(), &settings, &desk.handle);
                    }
                    continue;
                }
            };
            match signal {
                Signal::Reload => {
                    again_now.notify_waiters();
                    // What an authority makes may not be there yet.
                    if settings.acme.is_none() {
                        renew(identity.as_ref(), &settings, &desk.handle);
                    }
                    let (start, desk, own) = (&start, &*desk, own.as_ref());
                    let reload = Reload { start, desk, addresses: &addresses, ports, own };
                    let read = async { reload.perform(again()?).await };
                    match read.await {
                        Ok(new) => settings = new,
                        Err(failure) => error!(%failure, "settings not read again: all stays as it is"),
                    }
                }
                Signal::Drain => {
                    desk.ready.store(false, Ordering::Relaxed);
                    // Health is asked for all the while, and the page shown.
                    tokio::select! {
                        failure = &mut beside => return Err(failure),
                        () = drain(&desk.handle, &settings, &mut signals, output) => break,
                    }
                }
                Signal::End => break,
            }
        }
        desk.ready.store(false, Ordering::Relaxed);
        let _ = stop.send(());
        let _ = relaying.await;
        output.note("stopped");
        output.event("done", json!({}));
        Ok(())
    }
}

fn renew(identity: Option<&Identity>, settings: &Settings, handle: &Handle) {
    let (Some(identity), Some(tls)) = (identity, &settings.tls) else { return };
    match identity.renew(tls) {
        Ok(plain) => {
            info!("certificate read again");
            if let Some(Err(error)) = plain.map(|plain| handle.show_to_dtls_clients(plain)) {
                error!(%error, "DTLS clients are shown the old certificate: the key of the new one cannot be used there");
            }
        }
        Err(failure) => error!(%failure, "the new certificate is no good: the old one stays"),
    }
}

/// Lets those who are there finish.
async fn drain(handle: &Handle, settings: &Settings, signals: &mut Signals, output: Output) {
    handle.drain(None).await;
    let deadline = Instant::now() + settings.drain;
    let mut told = false;
    loop {
        let left = handle.status().await.map_or(0, |status| status.allocations);
        if left == 0 {
            return info!("drained: no session is left");
        }
        if Instant::now() >= deadline {
            return warn!(sessions = left, "the time to drain is over: the rest ends now");
        }
        if !told {
            told = true;
            info!(sessions = left, seconds = settings.drain.as_secs(), "draining");
            output.event("draining", json!({ "sessions": left, "seconds": settings.drain.as_secs() }));
            output.note(&format!(
                "draining: {left} sessions have {} s to end; a second signal ends them at once",
                settings.drain.as_secs()
            ));
        }
        tokio::select! {
            () = tokio::time::sleep(COUNT) => {}
            signal = signals.next() => if signal != Signal::Reload { return },
        }
    }
}

/// Seconds since 1970.
pub(crate) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

//! The STUN and TURN server of this process, from its open sockets to its end: reload, drain, stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use relay::{Handle, Relay};
use serde_json::{Value, json};
use stun::credential::SharedSecret;
use tracing::{error, info, warn};

use super::addresses::Addresses;
use super::args::Options;
use super::ice_servers::IceServers;
use super::inquiry::Outcomes;
use super::listening::Ports;
use super::plan::{Plan, read_secrets};
use super::probe::Public;
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
    ports: Ports,
    relay: Relay,
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
    current: RwLock<Current>,
}

/// What a reload replaces.
struct Current {
    ice_servers: IceServers,
    token: Option<Token>,
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

    /// What came of asking `--auth-url`.
    pub(crate) fn inquiries(&self) -> [(&'static str, u64); 3] {
        self.inquiries.as_deref().unwrap_or(&Outcomes::default()).so_far()
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
    pub(crate) fn new(plan: Plan, relay: Relay, ice_servers: IceServers, ports: Ports) -> Self {
        let desk = Desk {
            handle: relay.handle(),
            started: Instant::now(),
            ready: AtomicBool::new(false),
            inquiries: plan.inquiry.as_ref().map(|inquiry| inquiry.outcomes()),
            current: RwLock::new(Current { ice_servers, token: plan.secrets.token.clone() }),
        };
        let warnings = plan.warnings();
        let Plan { settings, addresses, public, identity, .. } = plan;
        Self {
            settings,
            addresses,
            public,
            identity,
            warnings,
            ports,
            relay,
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
        let Self { mut settings, addresses, identity, ports, relay, desk, mut signals, .. } = self;
        let mut watch = Watch::new(settings.tls.as_ref());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let mut relaying = tokio::spawn(relay.run(async {
            let _ = stopped.await;
        }));
        desk.ready.store(true, Ordering::Relaxed);
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
                    renew(identity.as_ref(), &settings, &desk.handle);
                    let reload = Reload { desk: &desk, addresses: &addresses, ports, own: own.as_ref() };
                    match reload.perform(&settings, &again).await {
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

/// What a reload needs besides the settings.
struct Reload<'a> {
    desk: &'a Desk,
    addresses: &'a Addresses,
    ports: Ports,
    own: Option<&'a SharedSecret>,
}

impl Reload<'_> {
    /// Reads the settings again and goes by those that can change.
    async fn perform(
        &self,
        old: &Settings,
        again: impl Fn() -> Result<Options, Failure>,
    ) -> Result<Settings, Failure> {
        let options = again()?;
        let new = Settings::gather(&options)?;
        let mut secrets = read_secrets(&options, self.own)?;
        if old.inquire.is_none() {
            // Nobody would answer.
            secrets.auth.lookup = None;
        }
        let rules = Plan::rules(&new, &secrets);
        self.desk.handle.apply(rules).await.map_err(|error| Failure::new(Kind::Usage, error.to_string()))?;
        for (key, changed) in [
            ("listen", new.listen != old.listen),
            ("stun", new.stun != old.stun),
            ("stun-tls", new.stun_tls != old.stun_tls),
            ("stun-alternate", new.stun_alternate != old.stun_alternate),
            ("public-ip", new.public != old.public),
            ("realm", new.realm != old.realm),
            ("no-mobility", new.mobility != old.mobility),
            ("access-token-name", new.access_token_name != old.access_token_name),
            ("auth-url", new.inquire != old.inquire),
            ("tls", new.tls != old.tls),
            ("no-dtls", new.dtls != old.dtls),
            ("relay-ports", new.relay_ports != old.relay_ports),
            ("relay-port", new.relay_port != old.relay_port),
            ("no-tcp-relay", new.tcp_relay != old.tcp_relay),
            ("max-lifetime", new.max_lifetime != old.max_lifetime),
            ("relay-threads", new.relay_threads != old.relay_threads),
            ("busy-poll", new.busy_poll != old.busy_poll),
            ("admin", new.admin != old.admin),
        ] {
            if changed {
                warn!(key, "has changed, and needs a restart");
            }
        }
        // What needs a restart stays as it is.
        let settings = Settings {
            listen: old.listen.clone(),
            public: old.public.clone(),
            tls: old.tls.clone(),
            dtls: old.dtls,
            relay_ports: old.relay_ports.clone(),
            relay_port: old.relay_port,
            realm: old.realm.clone(),
            inquire: old.inquire.clone(),
            ..new
        };
        let ice_servers = IceServers::new(&settings, self.addresses, self.ports, secrets.maker.clone());
        *self.desk.current.write().unwrap_or_else(PoisonError::into_inner) =
            Current { ice_servers, token: secrets.token.clone() };
        info!(
            secrets = secrets.auth.shared_secrets.len(),
            users = secrets.auth.users.len(),
            "settings read again"
        );
        Ok(settings)
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

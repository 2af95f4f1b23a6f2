//! `--check`: what the server would do, and what clients would be told, without serving anybody.

use serde_json::{Value, json};

use super::args::Options;
use super::door::Door;
use super::plan::Plan;
use super::settings::Settings;
use crate::failure::Failure;
use crate::output::Output;

/// How long the credentials are good for that are shown, seconds: long enough to try them.
const LIFETIME: u64 = 600;

/// Looks at everything, opens the sockets, says what was found, and closes them again. `page`: the port of the page, if there
/// is to be one.
pub(crate) async fn check(
    options: &Options,
    user: Option<&str>,
    page: Option<u16>,
    output: Output,
) -> Result<(), Failure> {
    let plan = Plan::make(options, user, None).await?;
    let (secrets, users) = (plan.secrets.auth.shared_secrets.len(), plan.secrets.auth.users.len());
    let admin = plan.settings.admin.map(Door::admin).transpose()?;
    let pages = page.map(|port| Door::pages(&plan.settings.listen, port)).transpose()?.unwrap_or_default();
    let doors: Vec<_> = pages.iter().map(Door::address).collect();
    let station = plan.open(&doors, admin.as_ref().map(Door::address))?;
    drop((admin, pages));
    let now = super::station::unix_time();
    let ice_servers = station.ice_servers().make("check", None, Some(LIFETIME), now);
    let public: Vec<Value> = station
        .public
        .iter()
        .map(|public| json!({ "ip": public.ip.to_string(), "proof": public.proof.describe().0 }))
        .collect();
    let settings = in_force(&station.settings);
    output.event(
        "checked",
        json!({
            "listening": station.listening(), "dtls": station.ice_servers().turn_over_dtls(), "public": public, "iceServers": ice_servers,
            "settings": settings, "warnings": station.warnings,
        }),
    );
    let mut lines: Vec<String> =
        station.listening().into_iter().map(|address| format!("  listens   {address}")).collect();
    lines.extend(
        station.ice_servers().turn_over_dtls().map(|url| format!("  DTLS      on all of UDP: {url}")),
    );
    for public in &station.public {
        lines.push(format!("  public    {}: {}", public.ip, public.proof.describe().1));
    }
    let ports = station.settings.relayed_ports();
    for relay in &station.addresses.relay {
        let from = match relay.bind == relay.advertised {
            true => relay.bind.to_string(),
            false => format!("{} (this machine's {})", relay.advertised, relay.bind),
        };
        lines.push(format!("  relays    from {from}, {ports}: open that in every firewall"));
    }
    let ask = station.settings.inquire.as_ref().map(|inquire| format!(", asks {}", inquire.url));
    let tokens =
        station.settings.access_token_name.as_ref().map(|name| format!(", access tokens for {name}"));
    lines.push(format!(
        "  admits    by {secrets} shared secrets and {users} users{}{}, realm {}",
        tokens.unwrap_or_default(),
        ask.unwrap_or_default(),
        station.settings.realm
    ));
    let settings: Vec<String> = settings
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    lines.push(format!("  settings  {}", settings.join(", ")));
    if let Some(fingerprint) = station.identity.as_ref().and_then(|identity| identity.fingerprint.as_ref()) {
        lines.push(format!("  TLS       self-signed, sha256 {fingerprint}: browsers will not take it"));
    }
    lines.extend(station.warnings.iter().map(|warning| format!("  WARNING   {warning}")));
    lines.push(format!(
        "\nClients will be told this (these credentials are good for {} minutes):",
        LIFETIME / 60
    ));
    lines.push(serde_json::to_string_pretty(&ice_servers).unwrap_or_default());
    output.say(&lines.join("\n"));
    Ok(())
}

/// The settings that are not shown otherwise, by their keys; those that are not set are null.
fn in_force(settings: &Settings) -> Value {
    let Settings { quotas, .. } = settings;
    json!({
        "relay-threads": settings.relay_threads, "busy-poll": settings.busy_poll, "relay-port": settings.relay_port,
        "no-mobility": !settings.mobility, "no-dtls": !settings.dtls, "no-tcp-relay": !settings.tcp_relay,
        "max-allocations": (quotas.total < usize::MAX).then_some(quotas.total), "max-per-user": quotas.per_user,
        "max-per-source": quotas.per_source, "max-bandwidth": quotas.bandwidth,
        "max-bandwidth-per-user": quotas.bandwidth_per_user, "max-lifetime": settings.max_lifetime.as_secs(),
        "max-session": quotas.session.map(|session| session.as_secs()), "drain": settings.drain.as_secs(),
        "credential-lifetime": settings.credential_lifetime,
        "acme-domain": settings.acme.as_ref().map(|acme| &acme.domains),
        "stun-alternate": settings.stun_alternate.map(|second| second.advertised),
        "stun-partner": settings.stun_partner.as_ref().map(|partner| partner.address),
        "alternate-server": (!settings.alternate_servers.is_empty()).then_some(&settings.alternate_servers),
    })
}

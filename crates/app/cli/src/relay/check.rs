//! `--check`: what the server would do, and what clients would be told, without serving anybody.

use serde_json::{Value, json};

use super::args::Options;
use super::plan::Plan;
use crate::failure::Failure;
use crate::output::Output;

/// How long the credentials are good for that are shown, seconds: long enough to try them.
const LIFETIME: u64 = 600;

/// Looks at everything, opens the sockets, says what was found, and closes them again.
pub(crate) async fn check(options: &Options, output: Output) -> Result<(), Failure> {
    let plan = Plan::make(options, None).await?;
    let (secrets, users) = (plan.secrets.auth.shared_secrets.len(), plan.secrets.auth.users.len());
    let admin = match plan.settings.admin {
        Some(address) => Some(super::admin::bind(address).await?),
        None => None,
    };
    let station = plan.open(&[])?;
    drop(admin);
    let now = super::station::unix_time();
    let ice_servers = station.ice_servers().make("check", None, Some(LIFETIME), now);
    let public: Vec<Value> = station
        .public
        .iter()
        .map(|public| json!({ "ip": public.ip.to_string(), "proof": public.proof.describe().0 }))
        .collect();
    output.event(
        "checked",
        json!({
            "listening": station.listening(), "dtls": station.ice_servers().turn_over_dtls(), "public": public, "iceServers": ice_servers,
            "warnings": station.warnings,
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
    lines.push(format!(
        "  admits    by {secrets} shared secrets and {users} users, realm {}",
        station.settings.realm
    ));
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

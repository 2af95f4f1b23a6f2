//! `sterna serve`: the page, signalling, STUN and TURN in one process.

mod http;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde_json::json;
use stun::credential::SharedSecret;

use self::http::Page;
use crate::args::{Command, Serve};
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::relay::args::Options;
use crate::relay::{self, Door, Station, Tls};
use crate::transfer::protocol::hex;

pub(crate) async fn run(args: Serve, output: Output) -> Result<(), Failure> {
    if args.check {
        return relay::check(&args.options, args.user.as_deref(), Some(args.http), output).await;
    }
    // Made anew at each start: nobody outside this process ever needs it.
    let own = SharedSecret::new(&hex(&crypto::seed())).expect("32 random bytes are not weak");
    // All that can be wrong without a socket is found out before there is one.
    let plan = relay::Plan::make(&args.options, args.user.as_deref(), Some(&own)).await?;
    // And all ports are had before the first is opened.
    let admin = plan.settings.admin.map(Door::admin).transpose()?;
    let pages = Door::pages(&plan.settings.listen, args.http)?;
    let doors: Vec<SocketAddr> = pages.iter().map(Door::address).collect();
    let http = doors[0];
    let station = relay::open(plan, &doors, admin.as_ref().map(Door::address), output)?;
    let listeners = pages.into_iter().map(Door::open).collect::<Result<Vec<_>, _>>()?;
    let admin = relay::operator(&station, admin, output)?;

    let scheme = if station.identity.is_some() { "https" } else { "http" };
    let page = |host: IpAddr| format!("{scheme}://{}/", SocketAddr::new(host, http.port()));
    announce(&station, http.port(), &page, admin.address, output);

    let desk = station.desk();
    let signalling = signal::SignalConfig {
        ice_servers: Arc::new(move |client| {
            desk.ice_servers(&client.connection.to_string(), client.host.as_deref(), None)
        }),
        ..signal::SignalConfig::default()
    };
    let app =
        signal::router(signalling).merge(web::router()).merge(relay::admin::credentials(station.desk()));
    let acceptor = station.identity.as_ref().map(|identity| identity.speaking(&http::PROTOCOLS).into());
    let page = Page::new(acceptor, station.entrance(), app).serve(listeners);
    let beside = async {
        tokio::select! {
            () = page => Failure::new(Kind::Other, "the page cannot be served any more"),
            failure = admin.serve => failure,
        }
    };
    station.run(Some(own), || again(args.http, args.user.as_deref()), beside, output).await
}

/// The options, read again. What they do not have needs a restart.
fn again(port: u16, person: Option<&str>) -> Result<Options, Failure> {
    let Command::Serve(serve) = relay::again()? else { unreachable!("the command line is the same") };
    let Serve { http, options, user, check: _ } = *serve;
    for (key, changed) in [("http", http != port), ("user", user.as_deref() != person)] {
        if changed {
            relay::needs_restart(key);
        }
    }
    Ok(options)
}

/// Says what to open, what to type next, and which addresses and ports are in use.
fn announce(
    station: &Station,
    http: u16,
    page: &dyn Fn(IpAddr) -> String,
    admin: Option<SocketAddr>,
    output: Output,
) {
    let (settings, addresses, identity) = (&station.settings, &station.addresses, station.identity.as_ref());
    let ice_servers = station.ice_servers();
    let only_here = settings.listen.iter().all(IpAddr::is_loopback);
    let primary = page(addresses.names[0]);
    let mut event = json!({
        "http": primary.trim_end_matches('/'), "stun": ice_servers.stun(), "turn": ice_servers.turn(),
    });
    if let Some(second) = settings.stun_alternate {
        event["stun_alternate"] = second.advertised.to_string().into();
    }
    if let Some(partner) = &settings.stun_partner {
        event["stun_partner"] = partner.address.to_string().into();
    }
    if let Some(url) = ice_servers.turn_over_dtls() {
        event["dtls"] = url.into();
    }
    if let Some(fingerprint) = identity.and_then(|identity| identity.fingerprint.as_ref()) {
        event["fingerprint"] = fingerprint.clone().into();
    }
    if let Some(admin) = admin {
        event["admin"] = format!("http://{admin}").into();
    }
    output.event("listening", event);
    let mut lines =
        vec![format!("Sterna is up. Open {primary} in two windows and enter the same room."), String::new()];
    for name in &addresses.names[1..] {
        lines.push(format!("  page     {}", page(*name)));
    }
    lines.extend(relay::describe(station));
    lines.extend(admin.map(|at| format!("  metrics  http://{at}/metrics")));
    lines.push(String::new());
    let server = if only_here && http == 8080 && identity.is_none() {
        String::new()
    } else {
        format!(" --server {}", primary.trim_end_matches('/'))
    };
    lines.push(format!("Next, in another terminal: sterna send FILE{server}"));
    if only_here {
        lines.push("Only this machine can reach it; --listen 0.0.0.0 lets others in.".to_owned());
    }
    if settings.tls.is_none() && !only_here {
        lines.push("Browsers give camera and microphone only to https pages: add --tls CERT,KEY or --tls self-signed.".to_owned());
    }
    lines.push("Ctrl-C ends it.".to_owned());
    output.say(&lines.join("\n"));
    if let Some(pem) = identity.and_then(|identity| identity.pem.as_ref())
        && matches!(settings.tls, Some(Tls::SelfSigned))
    {
        output.note(&format!("\nClients trust it with --ca FILE, where FILE holds this:\n{pem}"));
    }
}

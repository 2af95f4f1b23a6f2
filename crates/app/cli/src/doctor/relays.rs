//! What the STUN and TURN servers answer to a connection that is about to be made: the code that ships asks them.

use std::time::Duration;

use sterna::{CertificateDer, Configuration, DataChannelInit, IceServer, PeerConnection};
use tokio::time::{Instant, sleep};

/// Who has not answered by then is silent.
const PATIENCE: Duration = Duration::from_millis(2600);
/// How often to look.
const LOOK: Duration = Duration::from_millis(15);

/// Gathers candidates. `None`: no connection could be made of the servers, for this reason.
pub(super) async fn gather(
    servers: Vec<IceServer>,
    authorities: Vec<CertificateDer<'static>>,
    loopback: bool,
) -> Result<ice::Report, String> {
    let configuration = Configuration {
        ice_servers: servers,
        certificate_authorities: authorities,
        include_loopback: loopback,
        // The router is asked what it speaks, and nothing else.
        port_mapping: false,
        ..Configuration::default()
    };
    let connection = PeerConnection::new(configuration).map_err(|error| error.to_string())?;
    let gather = async {
        connection.create_data_channel("doctor", DataChannelInit::default())?;
        connection.set_local_description(None).await
    };
    gather.await.map_err(|error| error.to_string())?;
    let started = Instant::now();
    let mut report = loop {
        let report = connection.report().evidence.ice;
        let asked = report.gathering == ice::GatheringState::Complete || !report.servers.is_empty();
        let pending = report.servers.iter().any(|server| server.outcome == ice::ServerOutcome::Pending);
        if asked && !pending || started.elapsed() >= PATIENCE {
            break report;
        }
        sleep(LOOK).await;
    };
    let took = started.elapsed();
    for server in &mut report.servers {
        if server.outcome == ice::ServerOutcome::Pending {
            (server.outcome, server.took) = (ice::ServerOutcome::TimedOut, Some(took));
        }
    }
    // Gives the relayed addresses back.
    tokio::spawn(async move { connection.close().await });
    Ok(report)
}

//! What happened, for the log: who relayed through this server, for how long, how much, and why it ended.

use tracing::{info, warn};
use turn::ServerEvent;

pub(crate) fn record(event: &ServerEvent) {
    match event {
        ServerEvent::AllocationCreated { id, username, client, relayed } => {
            info!(?id, user = %username, %client, %relayed, "relay session started");
        }
        ServerEvent::AllocationEnded {
            id,
            username,
            client,
            relayed,
            duration,
            peers,
            bytes_to_peers,
            bytes_to_client,
            reason,
        } => {
            info!(
                ?id,
                user = %username,
                %client,
                %relayed,
                seconds = duration.as_secs_f32(),
                peers,
                bytes_to_peers,
                bytes_to_client,
                ?reason,
                "relay session ended"
            );
        }
        ServerEvent::PeerDenied { username, client, peer, denial } => {
            warn!(user = %username, %client, %peer, ?denial, "a client asked for a peer that it may not reach");
        }
    }
}

//! What happened, for the log: who relayed through this server, for how long, how much, and why it ended.

use std::net::SocketAddr;

use tracing::{debug, info, warn};
use turn::ServerEvent;

pub(crate) fn record(event: &ServerEvent) {
    match event {
        ServerEvent::AllocationCreated { id, username, client, relayed } => {
            info!(?id, user = %username, %client, relayed = %list(relayed), "relay session started");
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
                relayed = %list(relayed),
                seconds = duration.as_secs_f32(),
                peers,
                bytes_to_peers,
                bytes_to_client,
                ?reason,
                "relay session ended"
            );
        }
        ServerEvent::AllocationMoved { id, username, from, to } => {
            info!(?id, user = %username, %from, %to, "relay session moved");
        }
        ServerEvent::LoginRefused { username, client, cause } => {
            warn!(user = %username, %client, cause = cause.code(), "a client was not let in");
        }
        ServerEvent::UserAsked { username, client, .. } => {
            debug!(user = %username, %client, "somebody else is asked about a user");
        }
        ServerEvent::PeerDenied { username, client, peer, denial } => {
            warn!(user = %username, %client, %peer, ?denial, "a client asked for a peer that it may not reach");
        }
    }
}

/// One address, or two with a comma between them.
fn list(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
}

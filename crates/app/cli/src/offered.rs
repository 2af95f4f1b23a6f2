//! Relays that the network offers (RFC 8155), for those who want them.

use driver::{DiscoverOptions, Relay};
use sterna::IceServer;

use crate::args::Discover;

/// The relays that may be used: a stranger in the network can offer one, too.
pub(crate) async fn relays(which: Discover) -> Vec<Relay> {
    let mut found = driver::discover(DiscoverOptions::default()).await;
    found.retain(|relay| may_be_used(relay, which));
    found
}

/// "A TURN client in the absence of the STUN long-term credential mechanism … MUST use (D)TLS unless it trusts the network
/// infrastructure" (RFC 8155 §9).
fn may_be_used(relay: &Relay, which: Discover) -> bool {
    which == Discover::Any || relay.is_secured()
}

/// A relay that is found gets no credentials: ours are for other servers.
pub(crate) fn without_credentials(relay: &Relay) -> IceServer {
    IceServer::new(relay.url()).with_credential("", "")
}

//! Who asks, and who answers: credentials of clients and servers.
//!
//! *Short-term* credentials (RFC 8489 §9.1) are a username and a password that both sides already have, as
//! ICE agents do from their SDP: every message is simply signed. See [`check_short_term`] for the receiving
//! side; the sending side needs no more than a [`Key`](crate::Key).
//!
//! *Long-term* credentials (RFC 8489 §9.2) are a user's account. The first request goes out bare, the server
//! refuses it with a realm and a nonce, and the client asks again, signed and with the nonce in it, so that
//! an overheard request is worth nothing for long. [`LongTerm`] is the client's side of that,
//! [`Authenticator`] the server's, with nonces that need no memory ([`NonceKey`]). Where no accounts exist,
//! [`SharedSecret`] makes and checks credentials that expire.
//!
//! Where another party decides who may come in, clients bring an access token that it has made for this server
//! ([`TokenKey`], RFC 7635).
//!
//! Somebody on the path could take out what the server offers beyond RFC 5389 (better hashes, hidden
//! usernames). Therefore the nonce, which he cannot change without the server noticing, begins with a cookie
//! that tells what was offered ([`Features`], RFC 8489 §9.2.1).

mod authenticator;
mod features;
mod long_term;
mod nonce;
mod shared_secret;
mod short_term;
mod token;

pub use authenticator::{Account, Authenticated, Authenticator, AuthenticatorConfig, Identity, Rejection};
pub use features::Features;
pub use long_term::{Challenged, LongTerm, Refusal};
pub use nonce::{Nonce, NonceKey, NonceState};
pub use shared_secret::{SharedSecret, WeakSecret, rest_credentials};
pub use short_term::check_short_term;
pub use token::{AccessToken, SessionKey, TokenKey};

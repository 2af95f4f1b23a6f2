use std::sync::Arc;

use crate::credential::Rejection;
use crate::{Integrity, Key, Message};

/// Checks a request or an indication against short-term credentials (RFC 8489 §9.1.3).
///
/// `key_of` knows the keys of usernames. The integrity that is returned is the one that the response must
/// have.
///
/// # Errors
/// What to refuse a request with; an indication is dropped without a word. A refusal must not be signed.
pub fn check_short_term(
    message: &Message<'_>,
    key_of: impl FnOnce(&str) -> Option<Arc<Key>>,
) -> Result<(Arc<Key>, Integrity), Rejection> {
    let (Some(integrity), Some(username)) = (message.integrity(), message.username()) else {
        return Err(Rejection::BadRequest);
    };
    let key = key_of(username).ok_or(Rejection::Unauthenticated)?;
    match message.check_integrity(&key) {
        Ok(()) => Ok((key, integrity)),
        Err(_) => Err(Rejection::Unauthenticated),
    }
}

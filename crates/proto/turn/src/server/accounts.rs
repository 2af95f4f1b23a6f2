use std::collections::BTreeMap;

use stun::credential::SharedSecret;
use stun::{Message, PasswordAlgorithm, PasswordHash};

use super::config::Auth;

/// Who may use the server, by name. No password is kept: only what signs messages in this realm.
#[derive(Debug)]
pub(super) struct Accounts {
    realm: String,
    /// By MD5 and by SHA-256.
    users: BTreeMap<String, [PasswordHash; 2]>,
    secrets: Vec<SharedSecret>,
}

/// What a username is good for.
#[derive(Debug)]
pub(super) enum Found {
    /// An account.
    Account(PasswordHash),
    /// A time-limited username whose time is over, with the right signature.
    Expired,
    /// Nothing.
    Nobody,
    /// Somebody else has to be asked.
    Elsewhere,
}

impl Accounts {
    pub(super) fn new(realm: &str, auth: Auth) -> Self {
        let users = auth.users.iter().map(|user| (user.name().to_owned(), user.hashes(realm))).collect();
        Self { realm: realm.to_owned(), users, secrets: auth.shared_secrets }
    }

    /// Whether it is the name of somebody on the list.
    pub(super) fn lists(&self, username: &str) -> bool {
        self.users.contains_key(username)
    }

    /// The account that `username` names in `request`. `unix_now` is what time-limited names are held against;
    /// `None` if they shall be good for ever.
    pub(super) fn find(
        &self,
        request: &Message<'_>,
        username: &str,
        algorithm: PasswordAlgorithm,
        unix_now: Option<u64>,
    ) -> Found {
        if let Some([md5, sha256]) = self.users.get(username) {
            return Found::Account(if algorithm == PasswordAlgorithm::Md5 { *md5 } else { *sha256 });
        }
        let mut found = Found::Nobody;
        for secret in &self.secrets {
            // The password as of 1970, when no username had expired.
            let Some(password) = secret.password_at(username, 0) else { return Found::Nobody };
            let hash = PasswordHash::new(algorithm, username, &self.realm, &password);
            let signed = request.check_integrity(&hash.key()).is_ok();
            let expired = unix_now.is_some_and(|now| secret.password_at(username, now).is_none());
            match (signed, expired) {
                (true, true) => return Found::Expired,
                (true, false) => return Found::Account(hash),
                (false, _) => found = Found::Account(hash),
            }
        }
        found
    }
}

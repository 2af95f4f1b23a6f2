use std::collections::BTreeMap;
use std::sync::Arc;

use stun::credential::{Account, SharedSecret};
use stun::{Key, Message, PasswordAlgorithm};

use super::config::Auth;

/// Who may use the server, by name.
#[derive(Debug)]
pub(super) struct Accounts {
    realm: String,
    passwords: BTreeMap<String, Password>,
    secrets: Vec<SharedSecret>,
}

struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}

/// What a username is good for.
#[derive(Debug)]
pub(super) enum Found {
    /// An account.
    Account(Account),
    /// A time-limited username whose time is over, with the right signature.
    Expired,
    /// Nothing.
    Nobody,
}

impl Accounts {
    pub(super) fn new(realm: &str, auth: Auth) -> Self {
        let passwords = auth.users.into_iter().map(|user| (user.name, Password(user.password))).collect();
        Self { realm: realm.to_owned(), passwords, secrets: auth.shared_secrets }
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
        if let Some(Password(password)) = self.passwords.get(username) {
            return Found::Account(self.account(username, algorithm, password));
        }
        let mut found = Found::Nobody;
        for secret in &self.secrets {
            // The password as of 1970, when no username had expired.
            let Some(password) = secret.password_at(username, 0) else { return Found::Nobody };
            let account = self.account(username, algorithm, &password);
            let signed = request.check_integrity(&account.key).is_ok();
            let expired = unix_now.is_some_and(|now| secret.password_at(username, now).is_none());
            match (signed, expired) {
                (true, true) => return Found::Expired,
                (true, false) => return Found::Account(account),
                (false, _) => found = Found::Account(account),
            }
        }
        found
    }

    fn account(&self, username: &str, algorithm: PasswordAlgorithm, password: &str) -> Account {
        let key = Arc::new(Key::long_term(algorithm, username, &self.realm, password));
        Account { username: username.to_owned(), key }
    }
}

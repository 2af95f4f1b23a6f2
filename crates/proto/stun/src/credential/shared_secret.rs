use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto::HmacSha1Key;

use crate::opaque::prepared;

/// Shorter secrets can be found by trying, from any one credential that was handed out.
const SHORTEST: usize = 8;

/// Values of examples and manuals: whoever guesses at a secret tries these first.
const EXAMPLES: [&str; 13] = [
    "changeme",
    "change-me",
    "secret123",
    "password",
    "12345678",
    "your-secret",
    "yoursecret",
    "mysecret",
    "my-secret",
    "static-auth-secret",
    "north-south",
    "logen-logen",
    "openrelayprojectsecret",
];

/// What a TURN server and a web application share, so that the application can hand out credentials that
/// expire.
///
/// The username is `timestamp:user`, the time in Unix seconds at which it expires; the password is
/// base64(HMAC-SHA1(secret, username)). Nothing is stored: the server recomputes the password from the
/// username. This is the form that browsers' back ends use (draft-uberti-behave-turn-rest).
#[derive(Clone)]
pub struct SharedSecret(HmacSha1Key);

impl SharedSecret {
    /// A shared secret.
    ///
    /// # Errors
    /// If it is short, or stands in manuals: then it protects nothing.
    pub fn new(secret: &str) -> Result<Self, WeakSecret> {
        if secret.trim().len() < SHORTEST || EXAMPLES.contains(&secret.trim().to_ascii_lowercase().as_str()) {
            return Err(WeakSecret);
        }
        Ok(Self(HmacSha1Key::new(secret.as_bytes())))
    }

    /// Username and password for `user`, valid until `expires_unix`.
    ///
    /// The name is as [`opaque_string`](crate::opaque_string) has it, so that the password is right for clients that send it
    /// that way and for those that send it as they got it.
    pub fn credentials(&self, user: &str, expires_unix: u64) -> (String, String) {
        let username = format!("{expires_unix}:{}", prepared(user));
        let password = self.password(&username);
        (username, password)
    }

    /// The password that goes with a username, unless it has expired at `now_unix` or is not of this form.
    pub fn password_at(&self, username: &str, now_unix: u64) -> Option<String> {
        let time = username.split_once(':').map_or(username, |(time, _)| time);
        let digits = !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit());
        let expires: u64 = time.parse().ok().filter(|_| digits)?;
        (now_unix <= expires).then(|| self.password(username))
    }

    fn password(&self, username: &str) -> String {
        STANDARD.encode(self.0.sign(&[username.as_bytes()]))
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}

/// Username and password for `user`, valid until `expires_unix`: [`SharedSecret`] for once.
///
/// # Errors
/// If the secret is short, or stands in manuals.
pub fn rest_credentials(secret: &str, user: &str, expires_unix: u64) -> Result<(String, String), WeakSecret> {
    Ok(SharedSecret::new(secret)?.credentials(user, expires_unix))
}

/// The secret protects nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "the shared secret must have at least {SHORTEST} characters and must not be one from a manual; make one with `openssl rand -hex 32`"
)]
pub struct WeakSecret;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_what_other_back_ends_compute() {
        // echo -n 1700000000:alice | openssl dgst -sha1 -hmac 0123456789abcdef -binary | base64
        let (username, password) = rest_credentials("0123456789abcdef", "alice", 1_700_000_000).unwrap();
        assert_eq!(username, "1700000000:alice");
        assert_eq!(password, "QmpguVhgm8LJZp0MkvqhyKEkXps=");
    }

    #[test]
    fn credentials_are_good_for_clients_that_prepare_names_and_for_others() {
        let secret = SharedSecret::new("0123456789abcdef").unwrap();
        let (username, password) = secret.credentials("Jose\u{301}", 1000);
        assert_eq!(username, "1000:José");
        assert_eq!(secret.password_at(&prepared(&username), 1000), Some(password));
    }

    #[test]
    fn credentials_expire() {
        let secret = SharedSecret::new("0123456789abcdef").unwrap();
        let (username, password) = secret.credentials("alice", 1000);
        assert_eq!(secret.password_at(&username, 1000), Some(password));
        assert_eq!(secret.password_at(&username, 1001), None);
    }

    #[test]
    fn usernames_without_a_time_have_no_password() {
        let secret = SharedSecret::new("0123456789abcdef").unwrap();
        for username in
            ["", "alice", ":alice", "+9:alice", "-1:alice", "9e9:a", "99999999999999999999999:a", " 9:a"]
        {
            assert_eq!(secret.password_at(username, 0), None, "{username}");
        }
        assert!(secret.password_at("9", 0).is_some(), "the user's name may be left out");
    }

    #[test]
    fn empty_and_default_secrets_are_refused() {
        for weak in ["", "  ", "        ", "short", "changeme", "ChangeMe", "static-auth-secret"] {
            assert_eq!(SharedSecret::new(weak).err(), Some(WeakSecret), "{weak:?}");
        }
    }
}

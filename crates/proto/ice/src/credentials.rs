use std::fmt;

use sansio::Rng;

/// The username fragment and password of one agent in one ICE session (RFC 8445 §5.3).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// 4 to 256 characters; the session's name.
    pub ufrag: String,
    /// 22 to 256 characters; what checks to this agent are signed with.
    pub pwd: String,
}

/// Credentials that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The username fragment has fewer than 4 or more than 256 characters.
    #[error("the ice-ufrag must have 4 to 256 characters")]
    UfragLength,
    /// The password has fewer than 22 or more than 256 characters.
    #[error("the ice-pwd must have 22 to 256 characters")]
    PwdLength,
    /// A character that cannot be in them.
    #[error("the ice-ufrag or ice-pwd has a character that is not allowed")]
    Character,
}

impl Credentials {
    /// Credentials as the other side sent them.
    ///
    /// # Errors
    /// If they are shorter or longer than RFC 8839 §5.4 allows, or have characters that would not survive SDP
    /// or the USERNAME attribute. Printable characters outside of `ice-char` are let through, because some
    /// agents send them.
    pub fn new(ufrag: &str, pwd: &str) -> Result<Self, CredentialsError> {
        if !(4..=256).contains(&ufrag.len()) {
            return Err(CredentialsError::UfragLength);
        }
        if !(22..=256).contains(&pwd.len()) {
            return Err(CredentialsError::PwdLength);
        }
        if ufrag.contains(':') || !ufrag.bytes().chain(pwd.bytes()).all(|byte| byte.is_ascii_graphic()) {
            return Err(CredentialsError::Character);
        }
        Ok(Self { ufrag: ufrag.to_owned(), pwd: pwd.to_owned() })
    }

    /// Fresh ones: 48 random bits of username fragment and 144 of password; RFC 8445 §5.3 asks for 24 and 128.
    pub(crate) fn generate(rng: &mut Rng) -> Self {
        Self { ufrag: ice_chars(rng, 8), pwd: ice_chars(rng, 24) }
    }
}

/// `count` characters of 6 random bits each, from the alphabet of RFC 8839 §5.1's `ice-char`.
fn ice_chars(rng: &mut Rng, count: usize) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = vec![0; count];
    rng.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 63)])).collect()
}

impl fmt::Debug for Credentials {
    /// Without the password: credentials end up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.ufrag)
    }
}

#[cfg(test)]
mod tests {
    use sansio::Seed;

    use super::*;

    #[test]
    fn generated_credentials_are_valid_and_differ() {
        let mut rng = Rng::new(Seed::from(1));
        let one = Credentials::generate(&mut rng);
        let two = Credentials::generate(&mut rng);
        assert_ne!(one, two);
        assert_eq!(Credentials::new(&one.ufrag, &one.pwd), Ok(one.clone()));
        assert!(!format!("{one:?}").contains(&one.pwd));
    }

    #[test]
    fn unusable_credentials_are_refused() {
        let pwd = "p".repeat(22);
        assert_eq!(Credentials::new("abc", &pwd), Err(CredentialsError::UfragLength));
        assert_eq!(Credentials::new("abcd", &pwd[1..]), Err(CredentialsError::PwdLength));
        assert_eq!(Credentials::new("ab:d", &pwd), Err(CredentialsError::Character));
        assert_eq!(Credentials::new("ab\nd", &pwd), Err(CredentialsError::Character));
    }
}

//! What must not stand in a command line: shared secrets, users, the token. They come from files, from the environment,
//! or from standard input.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use stun::credential::{SharedSecret, TokenKey};
use turn::{Auth, ThirdParty, User};

use super::args::Options;
use super::settings::Inquire;
use crate::failure::{Failure, Kind};

/// What the environment may hold instead of a file.
const SECRET: &str = "STERNA_SECRET";
const TOKEN: &str = "STERNA_TOKEN";
const AUTH_TOKEN: &str = "STERNA_AUTH_TOKEN";
const STUN_PARTNER_SECRET: &str = "STERNA_STUN_PARTNER_SECRET";
/// Fewer characters than this can be tried out.
const SHORTEST_PASSWORD: usize = 8;
/// The longest file of secrets or users.
const LONGEST: u64 = 16 << 20;

/// Who may use the server.
#[derive(Clone)]
pub(crate) struct Secrets {
    pub(crate) auth: Auth,
    /// What new credentials are made with.
    pub(crate) maker: Option<SharedSecret>,
    /// What `/ice-servers` asks for.
    pub(crate) token: Option<Token>,
    /// What the web service of `--auth-url` knows us by.
    pub(crate) auth_token: Option<String>,
}

/// A token, compared in constant time.
#[derive(Clone)]
pub(crate) struct Token([u8; 32]);

impl Token {
    fn new(text: &str) -> Self {
        Self(crypto::sha256(&[text.as_bytes()]))
    }

    /// Whether `text` is the token.
    pub(crate) fn is(&self, text: &str) -> bool {
        crypto::equal(&self.0, &crypto::sha256(&[text.as_bytes()]))
    }
}

impl Secrets {
    /// What the options name. Empty if they name nothing.
    pub(crate) fn read(options: &Options) -> Result<Self, Failure> {
        let mut texts = options.secrets.clone();
        let mut whence = "the key `secret` of the settings file".to_owned();
        if let Some(path) = &options.secret_file {
            texts = lines(&read(path, "secret file")?).map(str::to_owned).collect();
            whence = path.display().to_string();
            if texts.is_empty() {
                let message = format!(
                    "{whence} holds no secret: put one into it, such as `openssl rand -hex 32` prints"
                );
                return Err(Failure::new(Kind::File, message));
            }
        } else if let Some(text) = environment(SECRET)? {
            (texts, whence) = (lines(&text).map(str::to_owned).collect(), SECRET.to_owned());
        }
        let secrets = texts.iter().map(|text| {
            SharedSecret::new(text).map_err(|error| {
                Failure::new(Kind::Usage, format!("the secret of {whence} is weak: {error}"))
            })
        });
        let shared_secrets = secrets.collect::<Result<Vec<_>, _>>()?;
        let users = options.users_file.as_deref().map(users).transpose()?.unwrap_or_default();
        let token = match &options.token_file {
            Some(path) => Some(token(&path.display().to_string(), read(path, "token file")?.trim())?),
            None => environment(TOKEN)?.map(|text| token(TOKEN, text.trim())).transpose()?,
        };
        let lookup = Inquire::of(options).map(|inquire| inquire.rules());
        let third_party = third_party(options)?;
        Ok(Self {
            maker: shared_secrets.first().cloned(),
            auth: Auth { shared_secrets, users, third_party, lookup },
            token,
            auth_token: auth_token(options)?,
        })
    }

    /// Whether anybody may use the server.
    pub(crate) fn is_empty(&self) -> bool {
        self.auth.is_empty()
    }

    /// With a secret that nobody but this process knows, unless there is one.
    pub(crate) fn or_of_our_own(mut self, own: &SharedSecret) -> Self {
        if self.maker.is_none() {
            self.auth.shared_secrets.push(own.clone());
            self.maker = Some(own.clone());
        }
        self
    }

    /// What to say if there is none.
    pub(crate) fn missing() -> Failure {
        Failure::new(
            Kind::Usage,
            "nobody could use this server: it has neither a secret nor users, and nobody to ask. Put what `openssl rand -hex 32` prints \
             into a file that only it can read, and name the file with --secret-file (or STERNA_SECRET_FILE, or \
             secret-file in the settings file)",
        )
    }
}

/// What this server and its partner in NAT discovery share, if the options name it.
pub(super) fn stun_partner(options: &Options) -> Result<Option<String>, Failure> {
    let (text, whence) = match &options.stun_partner_secret_file {
        Some(path) => (Some(read(path, "secret file")?), path.display().to_string()),
        None => (environment(STUN_PARTNER_SECRET)?, STUN_PARTNER_SECRET.to_owned()),
    };
    let Some(text) = text else { return Ok(None) };
    let secret = lines(&text).next().unwrap_or_default();
    SharedSecret::new(secret)
        .map_err(|error| Failure::new(Kind::Usage, format!("the secret of {whence} is weak: {error}")))?;
    Ok(Some(secret.to_owned()))
}

/// Whether a secret is named, good or not.
pub(super) fn are_named(options: &Options) -> bool {
    !options.secrets.is_empty() || options.secret_file.is_some() || std::env::var_os(SECRET).is_some()
}

/// The keys of access tokens, `name:base64`, one a line.
fn third_party(options: &Options) -> Result<Option<ThirdParty>, Failure> {
    let (Some(path), Some(name)) = (&options.access_token_keys_file, &options.access_token_name) else {
        return Ok(None);
    };
    let key = |line: &str| {
        let (kid, key) = line.split_once(':').filter(|(kid, _)| !kid.is_empty())?;
        let key = base64::engine::general_purpose::STANDARD.decode(key.trim()).ok()?;
        Some(TokenKey::new(kid, key.try_into().ok()?))
    };
    let text = read(path, "keys file")?;
    let keys = lines(&text).map(key).collect::<Option<Vec<_>>>().filter(|keys| !keys.is_empty());
    let Some(keys) = keys else {
        let message = format!(
            "{} is no file of keys: each line is NAME:KEY, where the key is 32 bytes in base64, such as `openssl rand \
             -base64 32` prints",
            path.display()
        );
        return Err(Failure::new(Kind::File, message));
    };
    Ok(Some(ThirdParty { server_name: name.clone(), keys }))
}

/// A token that goes into a header.
fn auth_token(options: &Options) -> Result<Option<String>, Failure> {
    let (text, whence) = match &options.auth_token_file {
        Some(path) => (Some(read(path, "token file")?), path.display().to_string()),
        None => (environment(AUTH_TOKEN)?, AUTH_TOKEN.to_owned()),
    };
    let Some(text) = text else { return Ok(None) };
    let text = text.trim();
    if text.is_empty() || text.contains(|c: char| c.is_control() || !c.is_ascii()) {
        let message = format!("the token of {whence} is empty, or has characters that no header may have");
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(Some(text.to_owned()))
}

fn token(whence: &str, text: &str) -> Result<Token, Failure> {
    if text.len() < 16 {
        let message = format!(
            "the token of {whence} is shorter than 16 characters, and could be guessed: make one with \
             `openssl rand -hex 32`"
        );
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(Token::new(text))
}

/// A file's text; `-` is standard input, up to its end.
fn read(path: &Path, what: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().take(LONGEST).read_to_string(&mut text),
        _ => std::fs::File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text)),
    };
    read.map(|_| text).map_err(|error| Failure::file(&format!("read the {what}"), path, &error))
}

fn environment(name: &str) -> Result<Option<String>, Failure> {
    match std::env::var(name) {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => Ok(Some(text)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(Failure::new(Kind::Usage, format!("{name} is not text in UTF-8")))
        }
    }
}

/// The lines that say something.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Whether a password is good enough to let anybody in.
pub(crate) fn check_password(password: &str) -> Result<(), &'static str> {
    if password.chars().count() < SHORTEST_PASSWORD {
        return Err("the password is shorter than 8 characters, and could be guessed: choose a longer one");
    }
    // What is no good as a secret is no good here.
    if SharedSecret::new(password).is_err() {
        return Err("the password stands in manuals, where everybody looks first: choose another one");
    }
    Ok(())
}

/// `name:password`, or `name md5:… sha256:…` with hashes of it in the server's realm, one a line.
fn users(path: &Path) -> Result<Vec<User>, Failure> {
    let text = read(path, "users file")?;
    let user = |line: &str| {
        if let Ok(user) = User::from_line(line) {
            return Ok(user);
        }
        match line.split_once(':').filter(|(name, password)| !name.is_empty() && !password.is_empty()) {
            None => {
                Err("this is no user; `sterna credentials hash NAME` prints what belongs there".to_owned())
            }
            Some((name, password)) => match check_password(password) {
                Ok(()) => Ok(User::new(name, password)),
                Err(why) => Err(format!(
                    "{why}, and write what `sterna credentials hash NAME --realm REALM` makes of it"
                )),
            },
        }
    };
    let mut users = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        users.push(user(line).map_err(|why| {
            Failure::new(Kind::File, format!("{}, line {}: {why}", path.display(), number + 1))
        })?);
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::tests::options;
    use crate::transfer::scratch::Scratch;

    fn secrets(arguments: &[&str]) -> Result<Secrets, Failure> {
        Secrets::read(&options(&[&["relay"], arguments].concat()).unwrap())
    }

    #[test]
    fn several_secrets_are_good_and_the_first_makes_credentials() {
        let scratch = Scratch::new("secrets");
        let file = scratch.write("s", b"# new\nb7c1e0b1b7a94bd29ab1\n\n 9f0c5a4e9fd94fe1a9c0 \n");
        let secrets = secrets(&["--secret-file", file.to_str().unwrap()]).unwrap();
        assert_eq!(secrets.auth.shared_secrets.len(), 2);
        let (_, password) = secrets.maker.unwrap().credentials("a", 1);
        assert_eq!(password, SharedSecret::new("b7c1e0b1b7a94bd29ab1").unwrap().credentials("a", 1).1);
    }

    #[test]
    fn weak_and_missing_secrets_are_refused_without_being_shown() {
        let scratch = Scratch::new("weak-secrets");
        let weak = scratch.write("weak", b"hunter2\n");
        let failure = secrets(&["--secret-file", weak.to_str().unwrap()]).err().unwrap();
        assert!(
            failure.message.contains("openssl rand") && !failure.message.contains("hunter2"),
            "{failure}"
        );
        let empty = scratch.write("empty", b"# nothing\n");
        let failure = secrets(&["--secret-file", empty.to_str().unwrap()]).err().unwrap();
        assert!(failure.message.contains("holds no secret"), "{failure}");
        let missing = scratch.path("missing");
        let failure = secrets(&["--secret-file", missing.to_str().unwrap()]).err().unwrap();
        assert!(failure.kind == Kind::File && failure.message.contains("secret file"), "{failure}");
        let token = secrets(&["--token-file", weak.to_str().unwrap()]).err().unwrap();
        assert!(token.message.contains("16 characters"), "{token}");
    }

    #[test]
    fn keys_of_access_tokens_are_32_bytes_with_a_name() {
        let scratch = Scratch::new("token-keys");
        let key = base64::engine::general_purpose::STANDARD.encode([7; 32]);
        let keys = |text: &str| {
            let file = scratch.write("keys", text.as_bytes());
            secrets(&[
                "--access-token-keys-file",
                file.to_str().unwrap(),
                "--access-token-name",
                "turn.example.org",
            ])
        };
        let good = keys(&format!("# of our partner\nnew:{key}\nold:{key}\n")).unwrap();
        let third_party = good.auth.third_party.unwrap();
        let kids: Vec<&str> = third_party.keys.iter().map(TokenKey::kid).collect();
        assert_eq!((third_party.server_name.as_str(), kids), ("turn.example.org", vec!["new", "old"]));
        for bad in ["", "short:AAAA", &key, &format!(":{key}")] {
            let failure = keys(bad).err().unwrap();
            assert!(failure.message.contains("32 bytes") && !failure.message.contains(&key), "{failure}");
        }
    }

    #[test]
    fn a_user_that_is_none_is_named_by_its_line() {
        let scratch = Scratch::new("users");
        let file = scratch.write("u", b"# people\nalice:wonderland\n\nbob\n");
        let failure = secrets(&["--users-file", file.to_str().unwrap()]).err().unwrap();
        assert!(failure.message.contains("line 4"), "{failure}");
    }

    #[test]
    fn a_password_that_can_be_guessed_is_refused_without_being_shown() {
        let scratch = Scratch::new("weak-users");
        let file = scratch.write("u", b"alice:wonderland\nbob:hunter2\n");
        let failure = secrets(&["--users-file", file.to_str().unwrap()]).err().unwrap();
        for word in ["line 2", "8 characters", "credentials hash"] {
            assert!(failure.message.contains(word), "{failure}");
        }
        assert!(!failure.message.contains("hunter2"), "{failure}");
        for known in ["12345678", "ChangeMe", "secret123"] {
            let file = scratch.write("u", format!("alice:{known}\n").as_bytes());
            let failure = secrets(&["--users-file", file.to_str().unwrap()]).err().unwrap();
            assert!(
                failure.message.contains("stands in manuals") && !failure.message.contains(known),
                "{failure}"
            );
        }
        let file = scratch.write("u", "carol:zwölfzei\n".as_bytes());
        assert!(secrets(&["--users-file", file.to_str().unwrap()]).is_ok(), "eight characters are enough");
    }
}

//! What is kept from one run to the next: the account's key, and the certificate with its own.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

use super::Acme;
use crate::failure::Failure;
use crate::relay::privileges::Person;
use crate::relay::tls;
use crate::transfer::protocol::hex;

/// A folder that belongs to the server alone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    domains: Vec<String>,
    account: PathBuf,
}

impl Store {
    pub(crate) fn new(acme: &Acme) -> Self {
        // An account is with one authority.
        let authority = &hex(&crypto::sha256(&[acme.directory.as_bytes()]))[..12];
        let account = acme.state.join(format!("account-{authority}.json"));
        Self { folder: acme.state.clone(), domains: acme.domains.clone(), account }
    }

    /// The certificate's chain, and before it the key: one file, so that they change together.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.domains[0]))
    }

    /// Makes the folder, if it is not there, for whom the server becomes.
    pub(crate) fn prepare(&self, person: Option<&Person>) -> Result<(), Failure> {
        if self.folder.is_dir() {
            return Ok(());
        }
        let make = || {
            let mut builder = DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&self.folder)?;
            #[cfg(unix)]
            if let Some(person) = person {
                std::os::unix::fs::chown(&self.folder, Some(person.uid), Some(person.gid))?;
            }
            let _ = person;
            Ok(())
        };
        make().map_err(|error: io::Error| Failure::file("make the folder", &self.folder, &error))
    }

    /// Whether something can be kept there: better known now than when the certificate has been made.
    pub(crate) fn try_out(&self) -> Result<(), Failure> {
        let probe = self.folder.join("probe");
        let tried = write(&probe, b"").and_then(|()| fs::remove_file(&probe));
        tried.map_err(|error| Failure::file("write to --acme-state", &self.folder, &error))
    }

    pub(super) fn account(&self) -> Option<String> {
        fs::read_to_string(&self.account).ok()
    }

    pub(super) fn keep_account(&self, json: &str) -> io::Result<()> {
        write(&self.account, json.as_bytes())
    }

    /// The authority does not know it any more.
    pub(super) fn forget_account(&self) {
        let _ = fs::remove_file(&self.account);
    }

    pub(super) fn keep_certificate(&self, pem: &str) -> io::Result<()> {
        write(&self.certificate(), pem.as_bytes())
    }

    /// From when until when the certificate is good that is kept, Unix time. `None`: there is none for all of the domains.
    pub(super) fn validity(&self) -> Option<(u64, u64)> {
        let path = self.certificate();
        let (chain, _) = tls::read(&path, &path).ok()?;
        let first = chain.first()?;
        self.names_all(first).then(|| crypto::validity(first)).flatten()
    }

    fn names_all(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(parsed) = ParsedCertificate::try_from(certificate) else { return false };
        let names = self.domains.iter().map(|domain| ServerName::try_from(domain.as_str()));
        names.into_iter().all(|name| name.is_ok_and(|name| verify_server_name(&parsed, &name).is_ok()))
    }
}

/// Writes all of a file or nothing, so that nobody else can read it.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let _ = fs::remove_file(&new);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::scratch::Scratch;

    fn store(scratch: &Scratch, domains: &[&str]) -> Store {
        Store::new(&Acme {
            domains: domains.iter().map(|name| (*name).to_owned()).collect(),
            email: None,
            directory: "https://ca.example/directory".to_owned(),
            state: scratch.path("state"),
            ca: None,
        })
    }

    #[test]
    fn keys_are_for_nobody_else_and_the_folder_has_to_take_them() {
        let scratch = Scratch::new("acme-store");
        let store = store(&scratch, &["turn.example.org"]);
        assert!(store.try_out().unwrap_err().message.contains("acme-state"));
        store.prepare(None).unwrap();
        store.try_out().unwrap();
        assert_eq!(store.account(), None);
        store.keep_account("{}").unwrap();
        assert_eq!(store.account().as_deref(), Some("{}"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!((mode(&store.folder), mode(&store.account)), (0o700, 0o600));
        }
        store.forget_account();
        assert_eq!(store.account(), None);
    }

    #[test]
    fn a_certificate_for_other_names_is_none() {
        let scratch = Scratch::new("acme-names");
        let one = store(&scratch, &["a.example"]);
        one.prepare(None).unwrap();
        assert_eq!(one.validity(), None);
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        one.keep_certificate(&(made.signing_key.serialize_pem() + &made.cert.pem())).unwrap();
        assert_eq!(one.validity(), crypto::validity(made.cert.der()));
        assert!(one.validity().is_some());
        assert_eq!(store(&scratch, &["a.example", "b.example"]).validity(), None);
        one.keep_certificate("half a ke").unwrap();
        assert_eq!(one.validity(), None);
    }
}

//! `--acme-domain`: a certificate that a certificate authority makes for this server while it runs (RFC 8555), and makes
//! anew in time. The authority connects to the server's own TLS port to see whose the name is (RFC 8737).
//!
//! The certificate lands in a file, and from there it goes the way of all certificates: the file is read again when it
//! changes, and no session notices.

mod keeper;
mod order;
mod store;

use std::net::IpAddr;
use std::path::PathBuf;

pub(crate) use self::keeper::{Keeper, Renewals};
pub(crate) use self::store::Store;
use super::args::Options;
use super::settings::host;
use crate::failure::{Failure, Kind};

/// Who makes a certificate, for whom, and where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Acme {
    /// Never empty, in lower case.
    pub(crate) domains: Vec<String>,
    pub(crate) email: Option<String>,
    /// The authority's address.
    pub(crate) directory: String,
    pub(crate) state: PathBuf,
    /// Authorities that the directory's own certificate may come from, besides the system's.
    pub(crate) ca: Option<PathBuf>,
}

impl Acme {
    pub(super) fn gather(options: &Options) -> Result<Option<Self>, Failure> {
        let usage = |message: String| Err(Failure::new(Kind::Usage, message));
        let Some(first) = options.acme_domain.first() else { return Ok(None) };
        if !options.acme_accept_terms {
            return usage(format!(
                "--acme-domain {first} has {} make a certificate, which has terms of service: read them there, and say \
                 --acme-accept-terms (acme-accept-terms = true)",
                options.acme_directory
            ));
        }
        let Some(state) = options.acme_state.clone() else {
            return usage(format!(
                "--acme-domain {first} needs a folder for keys and certificate, which only this server can read: \
                 --acme-state /var/lib/sterna/acme"
            ));
        };
        let domains = options.acme_domain.iter().map(|name| domain(name)).collect::<Result<Vec<_>, _>>()?;
        if !options.acme_directory.starts_with("https://") {
            return usage(format!(
                "--acme-directory {} is no address that begins with https://",
                options.acme_directory
            ));
        }
        if options.acme_email.as_ref().is_some_and(|email| !email.contains('@') || email.contains([' ', ':']))
        {
            return usage("--acme-email is an address such as admin@example.org".to_owned());
        }
        let (email, directory) = (options.acme_email.clone(), options.acme_directory.clone());
        Ok(Some(Self { domains, email, directory, state, ca: options.acme_ca.clone() }))
    }
}

fn domain(name: &str) -> Result<String, Failure> {
    let name = name.trim().to_ascii_lowercase();
    if name.parse::<IpAddr>().is_ok() || host(&name).is_err() {
        let message =
            format!("--acme-domain {name} is no name that leads to this server, such as turn.example.org");
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(name)
}

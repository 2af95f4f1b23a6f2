//! The server's certificate: from files, or made on the spot.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::settings::Tls;
use crate::failure::{Failure, Kind};
use crate::transfer::protocol::hex;

/// What TLS listeners need.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, for self-signed ones: what a person can compare.
    pub(crate) fingerprint: Option<String>,
    /// The certificate in PEM, for self-signed ones: what `--ca` takes.
    pub(crate) pem: Option<String>,
}

impl Identity {
    /// Reads the files, or makes a certificate for `names`.
    pub(crate) fn load(tls: &Tls, names: &[IpAddr]) -> Result<Self, Failure> {
        match tls {
            Tls::SelfSigned => Self::make(names),
            Tls::Files { certificate, key } => {
                let read = |what: &str, path: &std::path::Path| {
                    std::fs::read(path)
                        .map_err(|error| Failure::file(&format!("read the {what}"), path, &error))
                };
                let bad = |what: &str, path: &std::path::Path| {
                    Failure::new(Kind::File, format!("{} holds no {what} in PEM", path.display()))
                };
                let chain = CertificateDer::pem_slice_iter(&read("certificate", certificate)?)
                    .collect::<Result<Vec<_>, _>>()
                    .ok()
                    .filter(|chain| !chain.is_empty())
                    .ok_or_else(|| bad("certificate", certificate))?;
                let private =
                    PrivateKeyDer::from_pem_slice(&read("key", key)?).map_err(|_| bad("private key", key))?;
                let config = config(chain, private).map_err(|error| {
                    let message = format!("{} and {}: {error}", certificate.display(), key.display());
                    Failure::new(Kind::File, message)
                })?;
                Ok(Self { config, fingerprint: None, pem: None })
            }
        }
    }

    fn make(names: &[IpAddr]) -> Result<Self, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Other, format!("cannot make a certificate: {error}"))
        };
        let mut subjects = vec!["localhost".to_owned()];
        subjects.extend(names.iter().map(IpAddr::to_string));
        let made = rcgen::generate_simple_self_signed(subjects).map_err(|error| failed(&error))?;
        let der = made.cert.der().clone();
        let private = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let fingerprint = hex(&crypto::sha256(&[&der]));
        let pem = made.cert.pem();
        let config = config(vec![der], private).map_err(|error| failed(&error))?;
        Ok(Self { config, fingerprint: Some(fingerprint), pem: Some(pem) })
    }
}

fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::scratch::Scratch;

    #[test]
    fn a_certificate_is_made_where_there_is_none() {
        let identity = Identity::load(&Tls::SelfSigned, &[[127, 0, 0, 1].into()]).unwrap();
        assert_eq!(identity.fingerprint.unwrap().len(), 64);
        assert!(identity.pem.unwrap().contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let scratch = Scratch::new("tls");
        let tls =
            Tls::Files { certificate: scratch.write("c.pem", b"rubbish"), key: scratch.path("missing.pem") };
        let failure = Identity::load(&tls, &[]).unwrap_err();
        assert!(failure.kind == Kind::File && failure.message.contains("c.pem"), "{failure}");
    }
}

//! The server's certificate: from files, read again when they change, or made on the spot.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use crypto::Certificate;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::settings::Tls;
use crate::failure::{Failure, Kind};
use crate::transfer::protocol::hex;

/// What TLS and DTLS listeners need.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    config: ServerConfig,
    /// The same for DTLS, if its key is one that can be used there.
    pub(crate) dtls: Option<Certificate>,
    current: Arc<Current>,
    /// SHA-256 of the certificate, for self-signed ones: what a person can compare.
    pub(crate) fingerprint: Option<String>,
    /// The certificate in PEM, for self-signed ones: what `--ca` takes.
    pub(crate) pem: Option<String>,
}

/// The certificate of handshakes that begin from now on.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl Identity {
    /// Reads the files, or makes a certificate for `names`.
    pub(crate) fn load(tls: &Tls, names: &[IpAddr]) -> Result<Self, Failure> {
        match tls {
            Tls::SelfSigned => Self::make(names),
            Tls::Files { certificate, key } => Self::with(Pair::read(certificate, key)?, None, None),
        }
    }

    /// What TLS listeners need that offer these protocols (RFC 7301).
    pub(crate) fn speaking(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// Reads the files again, for handshakes that begin from now on, and returns what DTLS is to show. If they are no
    /// good, all stays as it is.
    pub(crate) fn renew(&self, tls: &Tls) -> Result<Option<Certificate>, Failure> {
        let Tls::Files { certificate, key } = tls else { return Ok(None) };
        let Pair { certified, plain } = Pair::read(certificate, key)?;
        *self.current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
        Ok(Some(plain))
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
        let pair = Pair::new(vec![der], private).map_err(|error| failed(&error))?;
        Self::with(pair, Some(fingerprint), Some(pem))
    }

    fn with(pair: Pair, fingerprint: Option<String>, pem: Option<String>) -> Result<Self, Failure> {
        let Pair { certified, plain } = pair;
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::new(Kind::Other, error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        let dtls = Some(plain).filter(|plain| dtls::check_key(plain).is_ok());
        Ok(Self { config, dtls, current, fingerprint, pem })
    }
}

/// A chain and its key, which belong together.
struct Pair {
    certified: CertifiedKey,
    /// The first of the chain, as DTLS takes it.
    plain: Certificate,
}

impl Pair {
    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, rustls::Error> {
        let der = chain.first().map(|first| first.to_vec()).unwrap_or_default();
        let plain = Certificate { der, private_key_der: key.secret_der().to_vec() };
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Ok(Self { certified: CertifiedKey::from_der(chain, key, &provider)?, plain })
    }

    fn read(certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let (chain, private) = read(certificate, key)?;
        Self::new(chain, private).map_err(|error| {
            let message = format!("{} and {}: {error}", certificate.display(), key.display());
            Failure::new(Kind::File, message)
        })
    }
}

type Pem = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read(certificate: &Path, key: &Path) -> Result<Pem, Failure> {
    let read = |what: &str, path: &Path| {
        std::fs::read(path).map_err(|error| Failure::file(&format!("read the {what}"), path, &error))
    };
    let bad = |what: &str, path: &Path| {
        Failure::new(Kind::File, format!("{} holds no {what} in PEM", path.display()))
    };
    let chain = CertificateDer::pem_slice_iter(&read("certificate", certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .ok()
        .filter(|chain| !chain.is_empty())
        .ok_or_else(|| bad("certificate", certificate))?;
    let private = PrivateKeyDer::from_pem_slice(&read("key", key)?).map_err(|_| bad("private key", key))?;
    Ok((chain, private))
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
    fn dtls_has_the_certificate_too_if_its_key_is_ecdsa() {
        assert!(Identity::load(&Tls::SelfSigned, &[]).unwrap().dtls.is_some());
        let scratch = Scratch::new("tls-rsa");
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let certificate =
            rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&made).unwrap();
        let tls = Tls::Files {
            certificate: scratch.write("c.pem", certificate.pem().as_bytes()),
            key: scratch.write("k.pem", made.serialize_pem().as_bytes()),
        };
        assert!(Identity::load(&tls, &[]).unwrap().dtls.is_none(), "Ed25519 is good for TLS alone");
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let scratch = Scratch::new("tls");
        let tls =
            Tls::Files { certificate: scratch.write("c.pem", b"rubbish"), key: scratch.path("missing.pem") };
        let failure = Identity::load(&tls, &[]).unwrap_err();
        assert!(failure.kind == Kind::File && failure.message.contains("c.pem"), "{failure}");
    }

    #[test]
    fn a_new_certificate_is_taken_and_a_bad_one_is_not() {
        let scratch = Scratch::new("tls-renewal");
        let write = || {
            let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            scratch.write("c.pem", made.cert.pem().as_bytes());
            scratch.write("k.pem", made.signing_key.serialize_pem().as_bytes());
            made.cert.der().clone()
        };
        let first = write();
        let tls = Tls::Files { certificate: scratch.path("c.pem"), key: scratch.path("k.pem") };
        let identity = Identity::load(&tls, &[]).unwrap();
        let shown = || identity.current.0.read().unwrap().cert[0].clone();
        assert_eq!(shown(), first);
        let second = write();
        identity.renew(&tls).unwrap();
        assert_eq!(shown(), second);
        scratch.write("k.pem", b"half a ke");
        assert!(identity.renew(&tls).is_err());
        assert_eq!(shown(), second, "the old one stays");
        // A key that is not that of the certificate.
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        scratch.write("k.pem", other.signing_key.serialize_pem().as_bytes());
        assert!(identity.renew(&tls).is_err());
        assert_eq!(shown(), second);
    }
}

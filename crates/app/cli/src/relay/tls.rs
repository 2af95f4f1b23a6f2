//! The server's certificate: from files, read again when they change, or made on the spot.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use crypto::Certificate;
use relay::ACME_TLS;
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
    /// Answers to a certificate authority, if one may ask.
    challenges: Option<Challenges>,
}

/// The certificate of handshakes that begin from now on.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl Current {
    fn read(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a certificate authority is shown that wants to see whose a name is (RFC 8737), by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges(Arc<RwLock<HashMap<String, Arc<CertifiedKey>>>>);

impl Challenges {
    /// From now on, who asks for `name` sees `digest`, 32 bytes.
    pub(crate) fn put(&self, name: &str, digest: &[u8]) -> Result<(), Box<dyn std::error::Error>> {
        let key = rcgen::KeyPair::generate()?;
        let mut wanted = rcgen::CertificateParams::new([name.to_owned()])?;
        wanted.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
        let made = wanted.self_signed(&key)?;
        let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let key = rustls::crypto::aws_lc_rs::default_provider().key_provider.load_private_key(private)?;
        // Not examined: rustls would not take it for a certificate, as no client is meant to.
        self.write().insert(name.to_owned(), Arc::new(CertifiedKey::new(vec![made.der().clone()], key)));
        Ok(())
    }

    /// Nobody is asking any more.
    pub(crate) fn clear(&self) {
        self.write().clear();
    }

    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&name.to_ascii_lowercase()).cloned()
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows a certificate authority what it asks for, and all others the certificate.
#[derive(Debug)]
struct Resolver {
    current: Arc<Current>,
    challenges: Option<Challenges>,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asks = hello.alpn().is_some_and(|mut offered| offered.any(|name| name == ACME_TLS));
        match &self.challenges {
            Some(challenges) if asks => challenges.find(hello.server_name()?),
            _ => Some(self.current.read()),
        }
    }
}

impl Identity {
    /// Reads the files, or makes a certificate for `names`. Where an authority is going to make one, and has not yet, one
    /// of our own keeps its place.
    pub(crate) fn load(tls: &Tls, names: &[IpAddr], acme: bool) -> Result<Self, Failure> {
        let challenges = acme.then(Challenges::default);
        match tls {
            Tls::SelfSigned => Self::make(names),
            Tls::Files { certificate, key } => match Pair::read(certificate, key) {
                Err(_) if acme => Self::with(Pair::made(names)?.0, challenges),
                pair => Self::with(pair?, challenges),
            },
        }
    }

    /// What TLS listeners need that offer these protocols (RFC 7301).
    pub(crate) fn speaking(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.alpn_protocols.extend(self.challenges.is_some().then(|| ACME_TLS.to_vec()));
        Arc::new(config)
    }

    /// Where answers to a certificate authority are left, if one may ask.
    pub(crate) fn challenges(&self) -> Option<Challenges> {
        self.challenges.clone()
    }

    /// Until when the certificate is good, Unix time.
    pub(crate) fn until(&self) -> Option<u64> {
        crypto::validity(self.current.read().cert.first()?).map(|(_, until)| until)
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
        let (pair, pem) = Pair::made(names)?;
        let fingerprint = Some(hex(&crypto::sha256(&[&pair.plain.der])));
        Ok(Self { fingerprint, pem: Some(pem), ..Self::with(pair, None)? })
    }

    fn with(pair: Pair, challenges: Option<Challenges>) -> Result<Self, Failure> {
        let Pair { certified, plain } = pair;
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let resolver = Resolver { current: current.clone(), challenges: challenges.clone() };
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::new(Kind::Other, error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        let dtls = Some(plain).filter(|plain| dtls::check_key(plain).is_ok());
        Ok(Self { config, dtls, current, fingerprint: None, pem: None, challenges })
    }
}

/// A chain and its key, which belong together.
struct Pair {
    certified: CertifiedKey,
    /// The same as DTLS takes it.
    plain: Certificate,
}

impl Pair {
    fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Self, rustls::Error> {
        let mut certificates = chain.iter().map(|one| one.to_vec());
        let der = certificates.next().unwrap_or_default();
        let chain_above = certificates.collect();
        let plain = Certificate { der, private_key_der: key.secret_der().to_vec(), chain: chain_above };
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        Ok(Self { certified: CertifiedKey::from_der(chain, key, &provider)?, plain })
    }

    /// A self-signed one, and its certificate in PEM.
    fn made(names: &[IpAddr]) -> Result<(Self, String), Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(Kind::Other, format!("cannot make a certificate: {error}"))
        };
        let mut subjects = vec!["localhost".to_owned()];
        subjects.extend(names.iter().map(IpAddr::to_string));
        let made = rcgen::generate_simple_self_signed(subjects).map_err(|error| failed(&error))?;
        let private = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let pair = Self::new(vec![made.cert.der().clone()], private).map_err(|error| failed(&error))?;
        Ok((pair, made.cert.pem()))
    }

    fn read(certificate: &Path, key: &Path) -> Result<Self, Failure> {
        let (chain, private) = read(certificate, key)?;
        Self::new(chain, private).map_err(|error| {
            let message = format!("{} and {}: {error}", certificate.display(), key.display());
            Failure::new(Kind::File, message)
        })
    }
}

pub(super) type Pem = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A chain and a key, of PEM files that may be one.
pub(super) fn read(certificate: &Path, key: &Path) -> Result<Pem, Failure> {
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
#[path = "../../tests/station/chain.rs"]
pub(super) mod chain;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::scratch::Scratch;

    #[test]
    fn a_certificate_is_made_where_there_is_none() {
        let identity = Identity::load(&Tls::SelfSigned, &[[127, 0, 0, 1].into()], false).unwrap();
        assert_eq!(identity.fingerprint.unwrap().len(), 64);
        assert!(identity.pem.unwrap().contains("BEGIN CERTIFICATE"));
    }

    #[test]
    fn dtls_has_the_certificate_too_if_its_key_is_ecdsa() {
        assert!(Identity::load(&Tls::SelfSigned, &[], false).unwrap().dtls.is_some());
        let scratch = Scratch::new("tls-rsa");
        let made = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let certificate =
            rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&made).unwrap();
        let tls = Tls::Files {
            certificate: scratch.write("c.pem", certificate.pem().as_bytes()),
            key: scratch.write("k.pem", made.serialize_pem().as_bytes()),
        };
        assert!(Identity::load(&tls, &[], false).unwrap().dtls.is_none(), "Ed25519 is good for TLS alone");
    }

    #[test]
    fn a_file_that_is_no_certificate_is_named() {
        let scratch = Scratch::new("tls");
        let tls =
            Tls::Files { certificate: scratch.write("c.pem", b"rubbish"), key: scratch.path("missing.pem") };
        let failure = Identity::load(&tls, &[], false).unwrap_err();
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
        let identity = Identity::load(&tls, &[], false).unwrap();
        let shown = || identity.current.read().cert[0].clone();
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

    #[test]
    fn until_the_authority_has_made_one_there_is_one_of_our_own() {
        let scratch = Scratch::new("tls-acme");
        let path = scratch.path("both.pem");
        let tls = Tls::Files { certificate: path.clone(), key: path };
        assert!(Identity::load(&tls, &[], false).is_err(), "of files that are named, none may be missing");
        let identity = Identity::load(&tls, &[], true).unwrap();
        assert!(identity.dtls.is_some() && identity.until().is_some());
        let offers = |identity: &Identity| identity.speaking(&["stun.turn"]).alpn_protocols.len();
        assert_eq!(offers(&identity), 2);
        assert_eq!(
            offers(&Identity::load(&Tls::SelfSigned, &[], false).unwrap()),
            1,
            "nobody is going to ask"
        );
        // Key and chain in one file.
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        scratch.write("both.pem", (made.signing_key.serialize_pem() + &made.cert.pem()).as_bytes());
        identity.renew(&tls).unwrap();
        assert_eq!(identity.current.read().cert[0], *made.cert.der());
    }

    #[test]
    fn an_authority_is_shown_what_it_asks_for_and_only_while_it_asks() {
        let challenges = Challenges::default();
        challenges.put("turn.example.org", &[7; 32]).unwrap();
        let shown = challenges.find("TURN.example.org").unwrap().cert[0].to_vec();
        // RFC 8737 §3: id-pe-acmeIdentifier, critical, with the digest.
        let extension =
            [&[0x06, 8, 0x2b, 6, 1, 5, 5, 7, 1, 31, 1, 1, 0xff, 4, 34, 4, 32][..], &[7; 32]].concat();
        assert!(shown.windows(extension.len()).any(|window| window == extension), "{shown:x?}");
        assert!(challenges.find("other.example.org").is_none());
        challenges.clear();
        assert!(challenges.find("turn.example.org").is_none());
    }
}

//! Whether the certificate that a server shows inside DTLS is one to trust. (Inside TLS, rustls looks by itself.)

use std::sync::Arc;
use std::time::Duration;

use driver::CertificateDer;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};

/// Goes by the system's authorities, and some more.
#[derive(Clone, Debug)]
pub(super) struct Judge(Option<Arc<WebPkiServerVerifier>>);

/// What is known of a certificate that is for the server's name, and not out of date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// Somebody has signed it whom this machine trusts.
    Trusted,
    /// This machine does not know who has signed it: an authority of the operator's own, or one above which the server does
    /// not show the way inside DTLS.
    Unverified,
}

impl Trust {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Unverified => "unverified",
        }
    }
}

impl Judge {
    pub(super) fn new(authorities: &[CertificateDer<'static>]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(driver::system_authorities());
        roots.add_parsable_certificates(authorities.iter().cloned());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Self(WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build().ok())
    }

    /// `shown`: the server's own in DER, and `chain` what it shows to vouch for it. `now`: Unix time.
    pub(super) fn check(
        &self,
        shown: &[u8],
        chain: &[Vec<u8>],
        name: &str,
        now: Duration,
    ) -> Result<Trust, String> {
        let refused = |error: &dyn std::fmt::Display| {
            format!("the certificate that the server shows is not one of {name} ({error})")
        };
        let certificate = CertificateDer::from(shown);
        let name = ServerName::try_from(name).map_err(|error| refused(&error))?;
        let parsed = ParsedCertificate::try_from(&certificate).map_err(|error| refused(&error))?;
        verify_server_name(&parsed, &name).map_err(|error| refused(&error))?;
        let (from, until) = crypto::validity(shown).ok_or_else(|| refused(&"it cannot be read"))?;
        if !(from..=until).contains(&now.as_secs()) {
            return Err(refused(&"it has expired, or is not valid yet"));
        }
        // Without any authority nobody is trusted.
        let Some(verifier) = &self.0 else { return Ok(Trust::Unverified) };
        let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| der.as_slice().into()).collect();
        match verifier.verify_server_cert(&certificate, &chain, &name, &[], UnixTime::since_unix_epoch(now)) {
            Ok(_) => Ok(Trust::Trusted),
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => Ok(Trust::Unverified),
            Err(error) => Err(refused(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_for_this_name_and_this_time_or_no_good() {
        let now = Duration::from_secs(crate::relay::unix_time());
        let mut wanted = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let good = wanted.self_signed(&key).unwrap().der().clone();
        let (strange, sure) = (Judge::new(&[]), Judge::new(std::slice::from_ref(&good)));
        assert_eq!(strange.check(&good, &[], "localhost", now), Ok(Trust::Unverified));
        assert_eq!(sure.check(&good, &[], "localhost", now), Ok(Trust::Trusted));
        assert!(sure.check(&good, &[], "example.org", now).unwrap_err().contains("example.org"));
        assert!(sure.check(b"rubbish", &[], "localhost", now).is_err());
        wanted.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let old = wanted.self_signed(&key).unwrap();
        assert!(strange.check(old.der(), &[], "localhost", now).unwrap_err().contains("expired"));
    }

    #[test]
    fn who_trusts_the_root_alone_trusts_what_an_authority_below_it_has_signed() {
        let now = Duration::from_secs(crate::relay::unix_time());
        let made = crate::relay::tls::chain::Chain::new();
        let judge = Judge::new(std::slice::from_ref(made.root.der()));
        let (leaf, middle) = (made.leaf.der(), made.middle.der());
        assert_eq!(judge.check(leaf, &[middle.to_vec()], "localhost", now), Ok(Trust::Trusted));
        assert_eq!(judge.check(leaf, &[], "localhost", now), Ok(Trust::Unverified), "the way up is missing");
    }
}

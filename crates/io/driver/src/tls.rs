//! The TLS client's configuration.

use std::sync::{Arc, OnceLock};

use rustls::{ClientConfig, KeyLogFile, RootCertStore};
use rustls_pki_types::CertificateDer;

/// A client configuration with the system's roots and `authorities`.
///
/// The system's roots are read once per process, off the runtime's threads, when they are first needed.
pub(crate) async fn client_config(authorities: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    static SYSTEM: OnceLock<RootCertStore> = OnceLock::new();
    let system = match SYSTEM.get() {
        Some(roots) => roots.clone(),
        None => {
            let roots =
                tokio::task::spawn_blocking(system_roots).await.unwrap_or_else(|_| RootCertStore::empty());
            SYSTEM.get_or_init(|| roots).clone()
        }
    };
    let mut roots = system;
    for authority in authorities {
        if let Err(error) = roots.add(authority.clone()) {
            tracing::warn!(%error, "an extra certificate authority is not a certificate; ignored");
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // Writes only if the environment names a file in SSLKEYLOGFILE.
    config.key_log = Arc::new(KeyLogFile::new());
    Arc::new(config)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_authorities());
    roots
}

/// The certificates of the authorities that the system trusts, read from its files.
pub fn system_authorities() -> Vec<CertificateDer<'static>> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(%error, "some of the system's certificates cannot be read");
    }
    found.certs
}

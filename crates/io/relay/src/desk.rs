use std::sync::{Arc, PoisonError, RwLock};

use crypto::Certificate;
use dtls::{ConfigError, Server, Verdict};
use sansio::{Path, Time};

/// Who looks at DTLS clients before they have a session. The certificate that they are shown may change meanwhile.
#[derive(Clone, Debug)]
pub(crate) struct Desk(Arc<RwLock<Arc<Server>>>);

impl Desk {
    pub(crate) fn new(server: Server) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(server))))
    }

    pub(crate) fn renew(&self, certificate: Certificate) -> Result<(), ConfigError> {
        let renewed = self.server().renewed(certificate)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(renewed);
        Ok(())
    }

    pub(crate) fn server(&self) -> Arc<Server> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks at a hello that came by `path`.
    pub(crate) fn examine(&self, now: Time, path: &Path, hello: &[u8]) -> Verdict {
        self.server().examine(now, path.to_string().as_bytes(), hello)
    }

    /// Whether a hello shows that its sender is where he says. Costs next to nothing if it does not even try.
    pub(crate) fn believes(&self, now: Time, path: &Path, hello: &[u8]) -> bool {
        dtls::brings_cookie(hello) && matches!(self.examine(now, path, hello), Verdict::Proven(_))
    }
}

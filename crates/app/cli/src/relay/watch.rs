//! Files that are replaced from time to time: certificates, mostly.

use std::path::PathBuf;
use std::time::SystemTime;

use super::settings::Tls;

/// Looks at the certificate's files. By asking, not by being told: what replaces them may be a link far up the path, as
/// in Kubernetes, or lie on a file system that tells nothing.
pub(super) struct Watch {
    files: Vec<PathBuf>,
    seen: Vec<Mark>,
}

/// What tells one content of a file from another: length, time of its last change, and where that can be had its number.
type Mark = Option<(u64, SystemTime, u64)>;

impl Watch {
    pub(super) fn new(tls: Option<&Tls>) -> Self {
        let files = match tls {
            Some(Tls::Files { certificate, key }) => vec![certificate.clone(), key.clone()],
            _ => Vec::new(),
        };
        let mut watch = Self { files, seen: Vec::new() };
        watch.has_changed();
        watch
    }

    /// Whether a file is another than the last time.
    pub(super) fn has_changed(&mut self) -> bool {
        let marks: Vec<Mark> = self.files.iter().map(mark).collect();
        std::mem::replace(&mut self.seen, marks) != self.seen
    }
}

fn mark(path: &PathBuf) -> Mark {
    let found = std::fs::metadata(path).ok()?;
    #[cfg(unix)]
    let number = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let number = 0;
    Some((found.len(), found.modified().ok()?, number))
}

//! What went wrong, for a person and for a program.

use std::fmt;
use std::process::ExitCode;

/// Why a command ended without doing its job. Each kind has a stable name and an exit code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Something that has no kind of its own.
    Other,
    /// Wrong use: the command line or a configuration file.
    Usage,
    /// The server is not there, not a Sterna server, or not trustworthy.
    Server,
    /// The code or link is wrong, dead or was used before.
    Code,
    /// The two machines found no path to each other.
    Connection,
    /// The other side vanished, stopped or refused.
    Peer,
    /// A file could not be read or written.
    File,
    /// What arrived is not what was sent.
    Checksum,
    /// This machine lacks what the command needs: root, a program, a device.
    Machine,
    /// Ctrl-C.
    Interrupted,
}

impl Kind {
    /// The name in `--json` output. Never changes.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Other => "failed",
            Self::Usage => "usage",
            Self::Server => "server",
            Self::Code => "code",
            Self::Connection => "connection",
            Self::Peer => "peer",
            Self::File => "file",
            Self::Checksum => "checksum",
            Self::Machine => "machine",
            Self::Interrupted => "interrupted",
        }
    }

    /// The exit code. Never changes; listed in the README.
    pub(crate) fn exit(self) -> u8 {
        match self {
            Self::Other => 1,
            Self::Usage => 2,
            Self::Server => 3,
            Self::Code => 4,
            Self::Connection => 5,
            Self::Peer => 6,
            Self::File => 7,
            Self::Checksum => 8,
            Self::Machine => 9,
            Self::Interrupted => 130,
        }
    }
}

/// The end of a command that did not do its job: one clear line that says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    /// What the doctor says of a connection that failed.
    pub(crate) verdicts: Vec<sterna::Verdict>,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), verdicts: Vec::new() }
    }

    /// An end that a report before it has explained: only the exit code is left to tell.
    pub(crate) fn told(kind: Kind) -> Self {
        Self::new(kind, "")
    }

    /// A file operation that failed, with the advice that fits its error.
    pub(crate) fn file(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let path = path.display();
        let message = match error.kind() {
            ErrorKind::NotFound => format!("cannot {what} {path}: it does not exist; check the name"),
            ErrorKind::PermissionDenied => format!("cannot {what} {path}: permission denied"),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
                format!(
                    "cannot {what} {path}: the disk is full; make room and run the same command again to go on"
                )
            }
            _ => format!("cannot {what} {path}: {error}"),
        };
        Self::new(Kind::File, message)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.exit())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

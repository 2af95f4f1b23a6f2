use std::fmt;
use std::io;

/// Why the kernel lab could not be built.
#[derive(Debug)]
#[non_exhaustive]
pub enum LabError {
    /// The process may not make network namespaces.
    NotRoot,
    /// A program is not installed.
    Missing {
        /// Its name.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The machine has no TUN devices, and the NAT that was asked for needs one.
    NoTun(io::Error),
    /// The kernel lab has nothing to build this from.
    NotOffered {
        /// What was asked for.
        what: String,
        /// Why not.
        why: &'static str,
    },
    /// Somebody said stop.
    Stopped,
    /// A program said no.
    Failed {
        /// The command and what it was fed.
        command: String,
        /// What it wrote on standard error.
        message: String,
    },
    /// A program could not be run, or a file not be read.
    Io {
        /// What was tried.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
}

impl LabError {
    /// Whether the machine lacks something that the lab needs, so that a person's test run should skip it.
    pub fn is_lacking(&self) -> bool {
        matches!(self, Self::NotRoot | Self::Missing { .. } | Self::NoTun(_))
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRoot => f.write_str("the kernel lab makes network namespaces and needs root; try sudo"),
            Self::Missing { program, package } => {
                write!(f, "the kernel lab needs `{program}`; try apt-get install {package}")
            }
            Self::NoTun(error) => write!(
                f,
                "the kernel lab cannot open /dev/net/tun ({error}), which its userspace NATs need; try modprobe tun"
            ),
            Self::NotOffered { what, why } => write!(f, "the kernel lab does not offer {what}: {why}"),
            Self::Stopped => f.write_str("stopped"),
            Self::Failed { command, message } => write!(f, "`{command}` failed: {}", message.trim()),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
        }
    }
}

impl std::error::Error for LabError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } | Self::NoTun(source) => Some(source),
            _ => None,
        }
    }
}

//! What can go wrong between here and a running Envoy.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;

/// A step that failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// Envoy's admin endpoint answered in a way that cannot be used.
    Admin {
        /// The path that was asked for.
        path: String,
        /// The answer's first line, or what is wrong with it.
        answer: String,
    },
    /// A download is not the one that is pinned.
    Checksum {
        /// The file.
        path: PathBuf,
        /// Its SHA-256, in hex.
        found: String,
        /// The pinned one.
        pinned: &'static str,
    },
    /// A program ended with a failure.
    Command {
        /// Its command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it wrote, as far as it was kept.
        output: String,
    },
    /// The container engine refused.
    #[cfg(feature = "container")]
    Container(testcontainers::TestcontainersError),
    /// A file, a socket or a program could not be used.
    Io {
        /// What was tried.
        step: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Envoy does not serve: it ended, refused the policy or took too long.
    NotReady {
        /// Which of these.
        reason: String,
        /// The end of its log.
        log: String,
    },
    /// A shipped configuration has no such place.
    Shipped {
        /// The place, or the parser's message.
        place: String,
    },
    /// Asked for something that is not there on this machine or in this build.
    Unsupported(String),
}

impl Error {
    /// Names the step that an I/O error belongs to, for `map_err`.
    pub(crate) fn io(step: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let step = step.into();
        move |source| Self::Io { step, source }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Admin { path, answer } => write!(f, "envoy's admin endpoint, {path}: {answer}"),
            Self::Checksum { path, found, pinned } => {
                write!(f, "{}: SHA-256 is {found}, pinned is {pinned}", path.display())
            }
            Self::Command { command, status, output } => write!(f, "`{command}`: {status}\n{output}"),
            #[cfg(feature = "container")]
            Self::Container(error) => write!(f, "container engine: {error}"),
            Self::Io { step, source } => write!(f, "{step}: {source}"),
            Self::NotReady { reason, log } => write!(f, "envoy is not ready: {reason}; its log ends with\n{log}"),
            Self::Shipped { place } => write!(f, "shipped configuration: {place}"),
            Self::Unsupported(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            #[cfg(feature = "container")]
            Self::Container(error) => Some(error),
            Self::Admin { .. }
            | Self::Checksum { .. }
            | Self::Command { .. }
            | Self::NotReady { .. }
            | Self::Shipped { .. }
            | Self::Unsupported(_) => None,
        }
    }
}

#[cfg(feature = "container")]
impl From<testcontainers::TestcontainersError> for Error {
    fn from(error: testcontainers::TestcontainersError) -> Self {
        Self::Container(error)
    }
}

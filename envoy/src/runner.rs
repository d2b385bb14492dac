//! Where Envoy runs, and what both places have in common.

use std::env;
use std::path::{Path, PathBuf};

use crate::Error;

/// Where Envoy runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Runner {
    /// In a container, on the host's network.
    #[cfg(feature = "container")]
    Container,
    /// As a child of this process.
    Process,
}

impl Runner {
    /// What `$PORTCULLIS_ENVOY_RUNNER` says: `process`, which is the default, or `container`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for anything else, and for `container` without the feature of that name.
    pub fn from_env() -> Result<Self, Error> {
        match env::var("PORTCULLIS_ENVOY_RUNNER").as_deref().unwrap_or("process") {
            #[cfg(feature = "container")]
            "container" => Ok(Self::Container),
            "process" => Ok(Self::Process),
            other => Err(Error::Unsupported(format!("PORTCULLIS_ENVOY_RUNNER={other} is not in this build"))),
        }
    }
}

/// A started Envoy, killed when this value is dropped.
pub(crate) trait Running: Send + Sync {
    /// Whether it is there no more.
    fn ended(&mut self) -> Result<bool, Error>;
    /// All that it wrote so far.
    fn log(&self) -> Result<String, Error>;
    /// Its process, where this machine can see it.
    fn pid(&self) -> Option<u32>;
}

/// Envoy's command line, and the folder that all its files are in.
pub(crate) struct Arguments {
    folder: PathBuf,
    list: Vec<String>,
}

impl Arguments {
    /// The file with the bootstrap, in the folder.
    pub(crate) const BOOTSTRAP: &str = "bootstrap.json";
    /// The file that Envoy writes its admin endpoint's address to, in the folder.
    pub(crate) const ADMIN: &str = "admin";

    pub(crate) fn new(folder: &Path, workers: u32) -> Self {
        let file = |name: &str| folder.join(name).display().to_string();
        let pairs = [
            ("--config-path", file(Self::BOOTSTRAP)),
            ("--admin-address-path", file(Self::ADMIN)),
            ("--concurrency", workers.to_string()),
            ("--log-level", "info".into()),
            // The access log waits this long; by default ten seconds, longer than a test.
            ("--file-flush-interval-msec", "50".into()),
        ];
        let mut list = vec!["--disable-hot-restart".to_owned()];
        list.extend(pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]));
        Self { folder: folder.into(), list }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The command line after the program's name.
    pub(crate) fn list(&self) -> &[String] {
        &self.list
    }
}

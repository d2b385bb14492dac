//! The files of one Envoy: what it starts from, the module, and the filter with its policy, which it watches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::{self, FailurePolicy};
use crate::error::Error;
use crate::scratch::{Scratch, copy, replace};

/// A folder with the files of one Envoy; dropped, it is gone.
pub(crate) struct Files {
    folder: Scratch,
    variables: BTreeMap<String, String>,
    failure_policy: FailurePolicy,
}

impl Files {
    /// No file yet, in `folder`; what the variables and the failure policy of each filter will be.
    pub(crate) fn new(folder: Scratch, variables: BTreeMap<String, String>, failure_policy: FailurePolicy) -> Self {
        Self { folder, variables, failure_policy }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The file of this name.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where the filter of the first listener is.
    pub(crate) fn filter(&self) -> PathBuf {
        self.join("portcullis.json")
    }

    /// Where that of the second one is.
    pub(crate) fn second_filter(&self) -> PathBuf {
        self.join("second.json")
    }

    /// Takes a copy of a module: a build while Envoy runs changes nothing, and a container sees only this folder.
    pub(crate) fn put_module(&self, module: &Path) -> Result<(), Error> {
        copy(module, &self.module())
    }

    /// Puts a policy in place, in a file of a filter.
    pub(crate) fn put_policy(&self, file: &Path, policy: &Value) -> Result<(), Error> {
        replace(file, &config::filter(&self.module(), policy, &self.variables, self.failure_policy)?)
    }

    fn module(&self) -> PathBuf {
        self.join("portcullis.wasm")
    }
}

//! Folders that go away, files that appear whole, programs that are run to their end.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;

/// A folder that only this user can read, removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes one in `parent`, which is made too if it is not there.
    pub(crate) fn new(parent: &Path) -> Result<Self, Error> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(parent).map_err(Error::io(parent.display().to_string()))?;
        loop {
            let path = parent.join(format!("portcullis-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
            match DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self(path.clone())).map_err(Error::io(path.display().to_string())),
            }
        }
    }

    /// The path of `name` in this folder.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A failure cannot be reported here; a folder then stays in the system's temporary one.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Puts a file in place by a rename, so that a reader sees the old one or the new one, never a part.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let next = path.with_extension("next");
    fs::write(&next, bytes).and_then(|()| fs::rename(&next, path)).map_err(Error::io(path.display().to_string()))
}

/// Copies a file.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    fs::copy(from, to).map(drop).map_err(Error::io(format!("copy {} to {}", from.display(), to.display())))
}

/// Runs a program to its end and returns what it wrote to its standard output.
pub(crate) fn run(command: &mut Command) -> Result<String, Error> {
    let line = format!("{command:?}");
    let output = command.output().map_err(Error::io(line.clone()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(Error::Command { command: line, status: output.status, output: text(&output.stdout) + &text(&output.stderr) })
}

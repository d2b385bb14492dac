//! Envoy in a container, through testcontainers.
//!
//! The image is `$PORTCULLIS_ENVOY_IMAGE`, or one that is built here once from the Envoy of [`crate::binary`], so that no
//! image registry is needed: `FROM scratch`, the binary, and the libraries that `ldd` names. The container is on the host's
//! network, so that its ports and its backend's are where a process would have them, and sees one folder of the host.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use testcontainers::core::Mount;
use testcontainers::runners::SyncRunner;
use testcontainers::{Container, GenericImage, ImageExt};

use crate::runner::{Arguments, Running};
use crate::scratch::{Scratch, copy, run};
use crate::{Error, binary};

/// The image's name and tag; it is built if it is not there.
///
/// # Errors
/// [`Error::Command`] with the engine's words where it is not running or cannot build.
pub fn image() -> Result<String, Error> {
    if let Ok(image) = env::var("PORTCULLIS_ENVOY_IMAGE") {
        return Ok(image);
    }
    // One build is enough for the tests of one process, and one look at 100 MB of binary.
    static BUILT: Mutex<Option<String>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(image) = &*built {
        return Ok(image.clone());
    }
    let program = binary::find()?;
    let checksum = binary::sha256(&program)?;
    let image = format!("portcullis-envoy:{}", checksum.get(..16).unwrap_or(&checksum));
    let images = run(Command::new("docker").args(["image", "ls", "--quiet", &image]))?;
    if images.trim().is_empty() {
        eprintln!("docker: building {image}");
        build(&program, &image)?;
    }
    Ok(built.insert(image).clone())
}

fn build(program: &Path, image: &str) -> Result<(), Error> {
    let context = Scratch::new(&env::temp_dir())?;
    add(&context, program, Path::new(PROGRAM))?;
    for library in libraries(&run(Command::new("ldd").arg(program))?) {
        add(&context, &library, &library)?;
    }
    fs::write(context.join("Dockerfile"), include_str!("../image/Dockerfile")).map_err(Error::io("Dockerfile"))?;
    run(Command::new("docker").args(["build", "--quiet", "--tag", image]).arg(context.path())).map(drop)
}

/// Puts a file of this machine where the image shall have it.
fn add(context: &Scratch, from: &Path, to: &Path) -> Result<(), Error> {
    let to = context.join("rootfs").join(to.strip_prefix("/").unwrap_or(to));
    let folder = to.parent().unwrap_or(&to);
    fs::create_dir_all(folder).map_err(Error::io(folder.display().to_string()))?;
    copy(from, &to)
}

/// The files in an answer of ldd: `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn libraries(ldd: &str) -> Vec<PathBuf> {
    ldd.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect()
}

/// Starts it.
pub(crate) fn start(arguments: &Arguments) -> Result<Box<dyn Running>, Error> {
    let image = image()?;
    let (name, tag) = image.rsplit_once(':').unwrap_or((&image, "latest"));
    let folder = arguments.folder().display().to_string();
    let container = GenericImage::new(name, tag)
        .with_entrypoint(PROGRAM)
        .with_network("host")
        .with_mount(Mount::bind_mount(&folder, &folder))
        .with_cmd(arguments.list())
        .start()?;
    Ok(Box::new(container))
}

impl Running for Container<GenericImage> {
    fn ended(&mut self) -> Result<bool, Error> {
        Ok(!self.is_running()?)
    }

    fn log(&self) -> Result<String, Error> {
        let bytes = [self.stderr_to_vec()?, self.stdout_to_vec()?].concat();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn pid(&self) -> Option<u32> {
        None
    }
}

/// Where Envoy is in its images.
const PROGRAM: &str = "/usr/local/bin/envoy";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_the_paths_that_ldd_names() {
        let ldd = "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f6d)\n\t/lib64/ld.so.2 (0x00007f6d)\n";
        assert_eq!(libraries(ldd), [PathBuf::from("/lib/libc.so.6"), "/lib64/ld.so.2".into()]);
    }
}

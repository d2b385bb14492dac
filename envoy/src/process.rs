//! Envoy as a child of this process.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::runner::{Arguments, Running};
use crate::{Error, binary};

/// Starts it; its output goes to a file below the folder, which it watches: in the folder itself a trace would have a line about each of its lines.
pub(crate) fn start(arguments: &Arguments) -> Result<Box<dyn Running>, Error> {
    let program = binary::find()?;
    let output = arguments.folder().join("output");
    let log = output.join("log");
    let child = fs::create_dir(&output)
        .and_then(|()| File::create(&log))
        .and_then(|output| {
            let errors = output.try_clone()?;
            Command::new(&program).args(arguments.list()).stdin(Stdio::null()).stdout(output).stderr(errors).spawn()
        })
        .map_err(Error::io(program.display().to_string()))?;
    Ok(Box::new(Process { child, log }))
}

struct Process {
    child: Child,
    log: PathBuf,
}

impl Running for Process {
    fn ended(&mut self) -> Result<bool, Error> {
        self.child.try_wait().map(|status| status.is_some()).map_err(Error::io("wait for envoy"))
    }

    fn log(&self) -> Result<String, Error> {
        let bytes = fs::read(&self.log).map_err(Error::io(self.log.display().to_string()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn pid(&self) -> Option<u32> {
        Some(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

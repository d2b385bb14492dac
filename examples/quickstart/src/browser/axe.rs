//! What keeps people from using the page, as axe-core finds it: npm fetches it into the target folder.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::driver::Browser;

const MANIFESTS: [(&str, &str); 3] = [
    (".npmrc", include_str!("../../axe/.npmrc")),
    ("package.json", include_str!("../../axe/package.json")),
    ("package-lock.json", include_str!("../../axe/package-lock.json")),
];

/// The script, fetched into `folder` unless what is there is of the same lock file.
///
/// # Errors
/// No npm, or one that fetches nothing.
pub(super) fn script(folder: &Path) -> Result<String, Box<dyn Error>> {
    let stamp = folder.join("node_modules").join("installed");
    let (_, lock) = MANIFESTS[2];
    if fs::read_to_string(&stamp).ok().as_deref() != Some(lock) {
        fs::create_dir_all(folder)?;
        for (name, text) in MANIFESTS {
            fs::write(folder.join(name), text)?;
        }
        let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        let npm = Command::new("npm").args(arguments).current_dir(folder).output();
        let npm = npm.map_err(|error| format!("npm: {error}; Debian's package npm has it"))?;
        if !npm.status.success() {
            return Err(format!("npm ci: {}", String::from_utf8_lossy(&npm.stderr)).into());
        }
        fs::write(&stamp, lock)?;
    }
    Ok(fs::read_to_string(folder.join("node_modules/axe-core/axe.min.js"))?)
}

/// How many rules the page breaks, all of it unfolded, and which, with the first element of each.
pub(super) fn violations(browser: &Browser, script: &str) -> String {
    browser.tell(&format!("{script};\n{RUN}"), json!([]))
}

const RUN: &str = "
    const done = arguments[arguments.length - 1];
    const folded = [...document.querySelectorAll('details:not([open])')];
    folded.forEach((details) => (details.open = true));
    axe.run().then(({ violations, passes }) => {
        folded.forEach((details) => (details.open = false));
        const told = violations.map(({ id, nodes }) => `${id} at ${nodes[0].target}`);
        done(passes.length === 0 ? 'nothing was looked at' : [`${violations.length} violations`, ...told].join(', '));
    });
";

//! Keys whose feature does not exist yet: refused as long as they ask for it, so that no one relies on what is not there.

use super::error::ConfigError;
use super::raw::RawPolicy;

/// Refuses the first such key.
///
/// # Errors
/// [`ConfigError`] "not supported yet" with the key's path.
pub(super) fn check(raw: &RawPolicy) -> Result<(), ConfigError> {
    match first(raw) {
        Some(path) => Err(ConfigError::new(path, "not supported yet")),
        None => Ok(()),
    }
}

fn first(raw: &RawPolicy) -> Option<String> {
    let keys = [("log.spikes", raw.log.as_ref().is_some_and(|log| log.spikes.is_some()))];
    keys.into_iter().find(|(_, asked)| *asked).map(|(path, _)| path.to_owned())
}

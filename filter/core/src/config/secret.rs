//! Where the secrets of a policy are.

use super::error::{Built, ConfigError};
use super::raw::RawSecret;
use crate::secret::Secret;

/// Variables of the environment, by name.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a secret.
pub(super) fn secret(source: &RawSecret, environment: Environment<'_>) -> Built<Secret<Vec<u8>>> {
    let value = match (&source.env, &source.inline) {
        (Some(name), None) => environment(name)
            .ok_or_else(|| ConfigError::new("env", "no such variable in vm_config.environment_variables"))?,
        (None, Some(value)) => value.clone(),
        (None, None) | (Some(_), Some(_)) => return Err(ConfigError::new("", "needs one of env and inline")),
    };
    Ok(Secret::new(value.into_bytes()))
}

/// Warns of a secret, at the path `at`, that stands in the policy itself.
pub(super) fn warn_of_inline(source: &RawSecret, at: &str, warnings: &mut Vec<String>) {
    if source.inline.is_some() {
        warnings.push(format!("{at}.inline: a secret in the configuration is seen by all who see it"));
    }
}

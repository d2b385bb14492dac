//! Where the secrets of a policy are.

use super::findings::Findings;
use super::raw::RawSecret;
use crate::secret::Secret;

/// Variables of the environment, by name.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a secret, and warns of one that stands in the policy itself.
pub(super) fn secret(
    source: &RawSecret,
    environment: Environment<'_>,
    found: &mut Findings,
) -> Option<Secret<Vec<u8>>> {
    let value = match (&source.env, &source.inline) {
        (Some(name), None) => {
            environment(name).or_else(|| found.refuse("env", "no such variable in vm_config.environment_variables"))?
        }
        (None, Some(value)) => {
            found.warn("inline", "a secret in the configuration is seen by all who see it");
            value.clone()
        }
        (None, None) | (Some(_), Some(_)) => return found.refuse("", "needs one of env and inline"),
    };
    Some(Secret::new(value.into_bytes()))
}

//! The keys of what ends a credential before its time: a list that is fetched, and logouts that a provider posts.

use core::time::Duration;
use std::rc::Rc;

use super::error::{Built, ConfigError, each, within};
use super::raw::{RawLogout, RawRevocation};
use super::values::Span;
use crate::http::authority::Authority;
use crate::http::path;
use crate::identity::feed::RemoteFeed;
use crate::identity::location::Location;
use crate::policy::Fail;
use crate::token::Provider;
use crate::token::rules::{LogoutRules, RevocationRules};

/// How often a list is fetched: each worker asks for itself, and the longest time is that which a revoked credential is accepted.
const REFRESH_MIN: Duration = Duration::from_secs(1);
const REFRESH_MAX: Duration = Duration::from_secs(60 * 60);
const REFRESH: Duration = Duration::from_secs(15);

/// How long a request for a list may take: a handshake waits so long for the first one.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How many proxies a logout is sent on to at most.
const PEERS_MAX: usize = 64;

/// Builds how a list of what is revoked counts.
pub(super) fn revocation(raw: &RawRevocation, fail: Fail) -> Built<RevocationRules> {
    let cluster = cluster(raw.cluster.as_deref()).map_err(within("cluster"))?;
    let path = target(raw.path.as_deref()).map_err(within("path"))?;
    // A cluster's name is the authority of what is asked of it, where it can be one.
    if Authority::parse(cluster.as_bytes()).is_err() {
        return Err(ConfigError::new("cluster", "this name cannot be the :authority of a request"));
    }
    let refresh = raw.refresh.map_or(REFRESH, |Span(span)| span);
    if !(REFRESH_MIN..=REFRESH_MAX).contains(&refresh) {
        return Err(ConfigError::new("refresh", "from 1s to 1h"));
    }
    let location = Location { authority: cluster.clone(), path: path.into() };
    let feed = RemoteFeed { cluster, location, refresh, timeout: TIMEOUT };
    Ok(RevocationRules { feed: Rc::new(feed), admits_unknown: fail == Fail::Open })
}

/// Builds where logout tokens are posted.
pub(super) fn logout(raw: &RawLogout, providers: &[Provider]) -> Built<LogoutRules> {
    let path = target(raw.path.as_deref()).map_err(within("path"))?;
    if path.contains('?') {
        return Err(ConfigError::new("path", "has no query"));
    }
    let name = raw.provider.as_deref().ok_or_else(|| ConfigError::new("provider", "is required"))?;
    let named = providers.iter().enumerate().find(|(_, provider)| provider.name == name);
    let (provider, rules) = match named {
        Some((index, provider)) => (index, &provider.rules),
        None => return Err(ConfigError::new("provider", "there is no provider of this name")),
    };
    // Logout tokens of one issuer, or for one client, must not end the sessions of another.
    if rules.issuer.is_none() || rules.audiences.is_empty() {
        return Err(ConfigError::new("provider", "needs an issuer and audiences"));
    }
    let peers = each("peers", raw.peers.as_deref(), |name: &String| cluster(Some(name)))?;
    if peers.len() > PEERS_MAX {
        return Err(ConfigError::new("peers", "at most 64"));
    }
    Ok(LogoutRules { path: path::canonical(path.as_bytes()), provider, peers })
}

fn cluster(name: Option<&str>) -> Built<Box<str>> {
    match name {
        None => Err(ConfigError::new("", "is required")),
        Some("") => Err(ConfigError::new("", "must not be empty")),
        Some(name) => Ok(name.into()),
    }
}

/// A path as a request has it, with its query where there is one.
fn target(path: Option<&str>) -> Built<&str> {
    let path = path.ok_or_else(|| ConfigError::new("", "is required"))?;
    let is_target = path.starts_with('/') && path.len() <= PATH_LEN_MAX;
    if is_target && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        Ok(path)
    } else {
        Err(ConfigError::new("", "expected a path such as /revoked.json"))
    }
}

/// The longest path, in bytes: what browsers and servers agree on.
const PATH_LEN_MAX: usize = 2_048;

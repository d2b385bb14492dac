//! The keys of what ends a credential before its time: a list that is fetched, and logouts that a provider posts.

use core::time::Duration;
use std::rc::Rc;

use super::findings::Findings;
use super::raw::{RawLogout, RawProvider, RawRevocation};
use super::values::span_within;
use crate::cluster::Cluster;
use crate::http::authority::Authority;
use crate::http::path;
use crate::identity::feed::RemoteFeed;
use crate::identity::location::Location;
use crate::policy::Fail;
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
pub(super) fn revocation(raw: &RawRevocation, fail: Fail, found: &mut Findings) -> Option<RevocationRules> {
    let cluster = found.within("cluster", |found| cluster(raw.cluster.as_ref(), found));
    // A cluster's alias or name is the authority of what is asked of it, where it can be one.
    let authority = cluster.as_ref().map(|cluster| cluster.alias().map_or(&**cluster, |alias| alias));
    if authority.is_some_and(|authority| Authority::parse(authority.as_bytes()).is_err()) {
        found.fault("cluster", "this name cannot be the :authority of a request");
    }
    let path = found.within("path", |found| target(raw.path.as_deref(), found));
    let refresh = span_within("refresh", raw.refresh, REFRESH, REFRESH_MIN..=REFRESH_MAX, "from 1s to 1h", found);
    let location = Location { authority: authority?.into(), path: path?.into() };
    let cluster = cluster?;
    let feed = RemoteFeed { cluster, location, refresh, timeout: TIMEOUT };
    Some(RevocationRules { feed: Rc::new(feed), admits_unknown: fail == Fail::Open })
}

/// Builds where logout tokens are posted.
pub(super) fn logout(raw: &RawLogout, providers: &[RawProvider], found: &mut Findings) -> Option<LogoutRules> {
    let path = found.within("path", |found| target(raw.path.as_deref(), found));
    if path.is_some_and(|path| path.contains('?')) {
        found.fault("path", "has no query");
    }
    let provider = found.within("provider", |found| logout_provider(raw.provider.as_deref(), providers, found));
    let peers = found.each("peers", raw.peers.as_deref(), |peer: &Cluster, found| cluster(Some(peer), found));
    if peers.len() > PEERS_MAX {
        found.fault("peers", "at most 64");
    }
    Some(LogoutRules { path: path::canonical(path?.as_bytes()), provider: provider?, peers })
}

fn logout_provider(name: Option<&str>, providers: &[RawProvider], found: &mut Findings) -> Option<usize> {
    let name = name.or_else(|| found.refuse("", "is required"))?;
    let index = providers.iter().position(|provider| provider.name.as_deref() == Some(name));
    let Some((index, provider)) = index.and_then(|index| Some((index, providers.get(index)?))) else {
        return found.refuse("", "there is no provider of this name");
    };
    // Logout tokens of one issuer, or for one client, must not end the sessions of another.
    if provider.issuer.is_none() || provider.audiences.as_ref().is_none_or(Vec::is_empty) {
        return found.refuse("", "needs an issuer and audiences");
    }
    Some(index)
}

fn cluster(cluster: Option<&Cluster>, found: &mut Findings) -> Option<Cluster> {
    match cluster {
        None => found.refuse("", "is required"),
        Some(cluster) if cluster.is_unnamed() => found.refuse("", "must not be empty"),
        Some(cluster) => Some(cluster.clone()),
    }
}

/// A path as a request has it, with its query where there is one.
fn target<'a>(path: Option<&'a str>, found: &mut Findings) -> Option<&'a str> {
    let path = path.or_else(|| found.refuse("", "is required"))?;
    let is_target = path.starts_with('/') && path.len() <= PATH_LEN_MAX;
    if is_target && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
        Some(path)
    } else {
        found.expected("a path such as /revoked.json")
    }
}

/// The longest path, in bytes: what browsers and servers agree on.
const PATH_LEN_MAX: usize = 2_048;

//! Which policy a request is under: of the first route that matches it, in whatever way it is read.

use core::cell::RefCell;
use std::borrow::Cow;
use std::rc::{Rc, Weak};

use super::{Fail, Policy};
use crate::cluster::{Bindings, Cluster};
use crate::http::authority::{Authority, AuthorityPattern};
use crate::http::path;
use crate::mode::Mode;

/// The policy of the whole gate: one for everything, and others for some routes.
#[derive(Clone, Debug)]
pub struct Policies {
    base: Rc<Policy>,
    routes: Vec<Route>,
    /// The aliases of clusters in them, each once.
    aliases: Vec<Rc<str>>,
    /// The same policies as requests had them bound, the last first.
    bound: RefCell<Vec<Rc<Self>>>,
    /// Where these are bound: to what, and the policies that name the aliases.
    origin: Option<(Rc<Bindings>, Weak<Self>)>,
}

/// In how many ways policies are bound at once, each with its key sets and its copies of rules: one more takes the place of the one that no request
/// had for longest.
const BOUND_MAX: usize = 8;

/// A policy of its own for some requests.
#[derive(Clone, Debug)]
pub struct Route {
    /// Which requests.
    pub matcher: RouteMatch,
    /// What holds for them.
    pub policy: Rc<Policy>,
}

/// Which requests a route means: all that is written has to hold.
#[derive(Clone, Debug, Default)]
pub struct RouteMatch {
    /// The authority.
    pub host: Option<AuthorityPattern>,
    /// The whole path.
    pub path: Option<PathPattern>,
    /// The first segments of the path, without a slash at the end: `/chat` means `/chat` and `/chat/room`, not `/chatter`.
    pub path_prefix: Option<PathPattern>,
}

/// What a route says of a path.
#[derive(Clone, Debug)]
pub struct PathPattern {
    /// As [`path::canonical`] writes it.
    pub written: String,
    /// As [`path::folded`] does.
    pub folded: String,
}

impl PathPattern {
    /// What means `path`.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self { written: path::canonical(path.as_bytes()), folded: path::folded(path.as_bytes()) }
    }

    const fn of(&self, case: Case) -> &str {
        match case {
            Case::Any => self.folded.as_str(),
            Case::Written => self.written.as_str(),
        }
    }
}

impl Policies {
    /// A base policy and the routes that depart from it, in the order in which they are tried.
    #[must_use]
    pub fn new(base: Policy, routes: Vec<Route>) -> Self {
        let mut policies =
            Self { base: Rc::new(base), routes, aliases: Vec::new(), bound: RefCell::default(), origin: None };
        let mut aliases = Vec::new();
        let mut note = |cluster: &Cluster| {
            aliases.extend(cluster.alias().filter(|alias| !aliases.contains(*alias)).cloned());
        };
        policies.all().for_each(|policy| policy.see_clusters(&mut note));
        policies.aliases = aliases;
        policies
    }

    /// The aliases of clusters that a request's route has to name.
    #[must_use]
    pub fn aliases(&self) -> &[Rc<str>] {
        &self.aliases
    }

    /// A line for the log about clusters that are not known before a request comes.
    #[must_use]
    pub fn waits(&self) -> Option<String> {
        let names = |line: String, alias: &Rc<str>| line + " " + alias;
        let line = "portcullis: nothing is fetched before a request's route names the clusters of".to_owned();
        (!self.aliases.is_empty()).then(|| self.aliases.iter().fold(line, names))
    }

    /// What these are bound to.
    #[must_use]
    pub fn bindings(&self) -> Option<&Rc<Bindings>> {
        self.origin.as_ref().map(|(bindings, _)| bindings)
    }

    /// The policies that these come from: themselves, unless they are bound.
    #[must_use]
    pub fn origin(self: &Rc<Self>) -> Rc<Self> {
        let origin = self.origin.as_ref().and_then(|(_, origin)| origin.upgrade());
        origin.unwrap_or_else(|| Rc::clone(self))
    }

    /// The same with the names that `bindings` have for the aliases, and whether they are new.
    #[must_use]
    pub fn bound(self: &Rc<Self>, bindings: &Rc<Bindings>) -> (Rc<Self>, bool) {
        let mut all = self.bound.borrow_mut();
        let is_same = |bound: &Rc<Self>| {
            let own = bound.bindings();
            own.is_some_and(|own| self.aliases.iter().all(|alias| own.name(alias) == bindings.name(alias)))
        };
        let known = all.iter().position(is_same).map(|index| all.remove(index));
        let is_new = known.is_none();
        let bound = known.unwrap_or_else(|| {
            let mut routes = self.routes.clone();
            routes.iter_mut().for_each(|route| route.policy = Rc::new(route.policy.bound(bindings)));
            Rc::new(Self {
                base: Rc::new(self.base.bound(bindings)),
                routes,
                aliases: Vec::new(),
                bound: RefCell::default(),
                origin: Some((Rc::clone(bindings), Rc::downgrade(self))),
            })
        });
        all.insert(0, Rc::clone(&bound));
        all.truncate(BOUND_MAX);
        (bound, is_new)
    }

    /// The policy where no route matches.
    #[must_use]
    pub const fn base(&self) -> &Rc<Policy> {
        &self.base
    }

    /// The routes, in the order in which they are tried.
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// All policies, the base first.
    pub fn all(&self) -> impl Iterator<Item = &Policy> {
        core::iter::once(&*self.base).chain(self.routes.iter().map(|route| &*route.policy))
    }

    /// How many parts and rules of all policies are only monitored.
    #[must_use]
    pub fn monitored_count(&self) -> usize {
        self.all().map(Policy::monitored_count).sum()
    }

    /// The names of all rules that a message can match.
    pub fn rule_names(&self) -> impl Iterator<Item = &Rc<str>> {
        let sides = self.all().flat_map(|policy| policy.messages.iter());
        sides.filter_map(|side| side.content.patterns.as_ref()).flat_map(|patterns| patterns.names())
    }

    /// The policy of a request: of the first route that matches it, in whatever way it is read.
    ///
    /// # Errors
    /// [`Ambiguous`] where its readings fall under different policies.
    pub fn select(&self, place: &Place) -> Result<&Rc<Policy>, Ambiguous<'_>> {
        let all = self.meanings(place);
        let (policy, others) = all.split_first().map_or((&self.base, &[][..]), |(first, others)| (*first, others));
        if others.iter().all(|other| Rc::ptr_eq(other, policy)) {
            return Ok(policy);
        }
        let modes = all.iter().map(|policy| policy.modes.strictest());
        let mode = modes.reduce(Mode::or).unwrap_or(Mode::Enforce);
        Err(Ambiguous { policy, mode, fail: strictest(&all) })
    }

    /// What a policy of these is called in logs: `base`, or its route's path.
    #[must_use]
    pub fn label(&self, policy: &Rc<Policy>) -> Cow<'static, str> {
        match self.routes.iter().position(|route| Rc::ptr_eq(&route.policy, policy)) {
            Some(index) => format!("routes[{index}]").into(),
            None => "base".into(),
        }
    }

    /// What a fault does to a request before it is judged, by the strictest of the policies that it may be under; `None` where nothing
    /// is known of it.
    #[must_use]
    pub fn fail(&self, place: Option<&Place>) -> Fail {
        match place {
            Some(place) => strictest(&self.meanings(place)),
            None if self.all().all(|policy| policy.fail == Fail::Open) => Fail::Open,
            None => Fail::Closed,
        }
    }

    /// The policies that the readings of a request fall under, first that of the request as it is written. Where not all readings are
    /// known it may be any.
    fn meanings(&self, place: &Place) -> Vec<&Rc<Policy>> {
        if self.routes.is_empty() {
            return vec![&self.base];
        }
        let has = |part: fn(&RouteMatch) -> bool| self.routes.iter().any(|route| part(&route.matcher));
        let has_paths = has(|matcher| matcher.path.is_some() || matcher.path_prefix.is_some());
        let has_hosts = has(|matcher| matcher.host.is_some());
        let written = || vec![place.path.clone()];
        let readings = if has_paths { path::readings(&place.path) } else { Some(written()) };
        let is_known = readings.is_some() && (!has_hosts || place.authority.is_some());

        // An upstream may not look at a port, which is then anybody's to choose; but one that a route names is meant.
        let is_named = place.authority.as_ref().is_some_and(|authority| {
            let hosts = self.routes.iter().filter_map(|route| route.matcher.host.as_ref());
            hosts.filter(|pattern| pattern.port.is_some()).any(|pattern| pattern.matches(authority))
        });
        let ports = if has_hosts && !is_named { &[Port::Written, Port::Any][..] } else { &[Port::Written] };
        let cases = if has_paths { &[Case::Written, Case::Any][..] } else { &[Case::Written] };

        let mut found = Vec::new();
        for path in readings.unwrap_or_else(written) {
            let folded = path::folds(&path).then(|| path::folded(&path));
            let written = path::canonical(&path);
            for case in cases {
                let path = match case {
                    Case::Any => folded.as_ref().unwrap_or(&written),
                    Case::Written => &written,
                };
                for port in ports {
                    let reading = Reading { authority: place.authority.as_ref(), port: *port, path, case: *case };
                    let route = self.routes.iter().find(|route| route.matcher.matches(&reading));
                    found.push(route.map_or(&self.base, |route| &route.policy));
                }
            }
        }
        if !is_known {
            found.push(&self.base);
            found.extend(self.routes.iter().map(|route| &route.policy));
        }
        found
    }
}

/// A request whose readings fall under different policies.
#[derive(Clone, Copy, Debug)]
pub struct Ambiguous<'a> {
    /// The policy of the request as it is written.
    pub policy: &'a Rc<Policy>,
    /// Whether it is refused: unless none of those policies refuses anything.
    pub mode: Mode,
    /// What a fault does: by the strictest of its policies.
    pub fail: Fail,
}

/// What a fault does to a request that may be under any of these policies.
fn strictest(policies: &[&Rc<Policy>]) -> Fail {
    if policies.iter().all(|policy| policy.fail == Fail::Open) { Fail::Open } else { Fail::Closed }
}

/// What a request asks for, as routes see it. A connection keeps it, for the routes of later policies.
#[derive(Debug, Default)]
pub struct Place {
    authority: Option<Authority>,
    path: Vec<u8>,
}

impl Place {
    /// The place that `target` leads to; `authority` with its port, `None` where it is not known.
    #[must_use]
    pub fn new(authority: Option<Authority>, target: &[u8]) -> Self {
        let path = path::written(target);
        // A byte more than has readings, so that it is seen to be too long.
        let path = path.get(..=path::LEN_MAX).unwrap_or(path);
        Self { authority, path: path.to_vec() }
    }

    /// The authority, where it is known.
    #[must_use]
    pub const fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }
}

/// One way of reading what a request asks for.
struct Reading<'a> {
    authority: Option<&'a Authority>,
    port: Port,
    path: &'a str,
    case: Case,
}

/// How a port is read.
#[derive(Clone, Copy)]
enum Port {
    Any,
    Written,
}

/// How letters are read.
#[derive(Clone, Copy)]
enum Case {
    Any,
    Written,
}

impl RouteMatch {
    fn matches(&self, reading: &Reading<'_>) -> bool {
        let host = |pattern: &AuthorityPattern| {
            reading.authority.is_some_and(|own| match reading.port {
                Port::Any => pattern.host.matches(&own.host),
                Port::Written => pattern.matches(own),
            })
        };
        let exactly = |exact: &PathPattern| reading.path == exact.of(reading.case);
        let within = |prefix: &PathPattern| {
            let rest = reading.path.strip_prefix(prefix.of(reading.case));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.host.as_ref().is_none_or(host)
            && self.path.as_ref().is_none_or(exactly)
            && self.path_prefix.as_ref().is_none_or(within)
    }
}

#[cfg(test)]
mod tests;

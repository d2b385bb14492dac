//! Starts an Envoy with Portcullis before a backend.
//!
//! ```no_run
//! # fn main() -> Result<(), portcullis_envoy::Error> {
//! let module = portcullis_envoy::module::build()?;
//! let policy = serde_json::json!({"require_tls": false, "origin": {"allow": ["https://app.example.com"]}});
//! let envoy = portcullis_envoy::Launch::new(module, policy, ([127, 0, 0, 1], 8080).into()).start()?;
//! println!("ws://{}", envoy.address());
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use crate::config::{Bootstrap, BufferLimits, FailurePolicy, Position};
use crate::files::Files;
use crate::instance::Envoy;
use crate::runner::{Arguments, Runner};
use crate::scratch::{Scratch, copy, replace};
use crate::{Error, process};

/// What to start. Everything has a default but the module, its policy and the backend.
#[derive(Clone)]
#[must_use]
pub struct Launch {
    module: PathBuf,
    policy: Value,
    second_policy: Option<Value>,
    upstream: SocketAddr,
    rate_limit_service: Option<SocketAddr>,
    services: BTreeMap<String, SocketAddr>,
    trusted_hops: u32,
    remote_address: bool,
    routes: Vec<(String, String, Value)>,
    certificate: Option<(String, String)>,
    variables: BTreeMap<String, String>,
    workers: u32,
    buffer_limits: BufferLimits,
    delayed_close: Option<String>,
    path_rules: bool,
    failure_policy: FailurePolicy,
    filter: bool,
    neighbours: BTreeMap<Position, Neighbour>,
    first: Option<Value>,
    backend: Option<Runner>,
}

/// A filter beside Portcullis.
#[derive(Clone)]
struct Neighbour {
    module: PathBuf,
    configuration: String,
}

impl Launch {
    /// One worker with `module` and `policy` before `upstream`, plaintext, as [`Runner::from_env`] says.
    pub fn new(module: impl Into<PathBuf>, policy: Value, upstream: SocketAddr) -> Self {
        Self {
            module: module.into(),
            policy,
            second_policy: None,
            upstream,
            rate_limit_service: None,
            services: BTreeMap::new(),
            trusted_hops: 0,
            remote_address: true,
            routes: Vec::new(),
            certificate: None,
            variables: BTreeMap::new(),
            workers: 1,
            buffer_limits: BufferLimits::default(),
            delayed_close: None,
            path_rules: true,
            failure_policy: FailurePolicy::default(),
            filter: true,
            neighbours: BTreeMap::new(),
            first: None,
            backend: None,
        }
    }

    /// Adds a listener like the first, whose filter has the same names as the first one's and a policy of its own that does not change.
    pub fn second_listener(mut self, policy: Value) -> Self {
        self.second_policy = Some(policy);
        self
    }

    /// Adds a cluster `ratelimit`, HTTP/2 in plain text, with a rate limit service at `address`: for the policy's
    /// `limits.global.cluster`. The service need not run.
    pub fn rate_limit_service(mut self, address: SocketAddr) -> Self {
        self.rate_limit_service = Some(address);
        self
    }

    /// Adds a cluster `name`, HTTP/1.1 in plain text, with a service at `address`, which need not run.
    pub fn service(mut self, name: &str, address: SocketAddr) -> Self {
        self.services.insert(name.into(), address);
        self
    }

    /// Believes `X-Forwarded-For`, as behind so many proxies: the last but so many of its addresses is the client's.
    pub fn trusted_hops(mut self, count: u32) -> Self {
        self.trusted_hops = count;
        self
    }

    /// Leaves `use_remote_address` out, as Envoy's own defaults do: what stands last in `X-Forwarded-For` is the client's address.
    pub fn without_remote_address(mut self) -> Self {
        self.remote_address = false;
        self
    }

    /// Adds a route for what begins with `path`, which has `metadata` for `filter`.
    pub fn route(mut self, path: &str, filter: &str, metadata: Value) -> Self {
        self.routes.push((path.into(), filter.into(), metadata));
        self
    }

    /// Serves TLS with this certificate chain and key.
    pub fn tls(mut self, certificate_pem: &str, key_pem: &str) -> Self {
        self.certificate = Some((certificate_pem.into(), key_pem.into()));
        self
    }

    /// Sets a variable that `{"env": name}` in the policy finds.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    /// How many worker threads, each with a VM of its own.
    pub fn concurrency(mut self, workers: u32) -> Self {
        self.workers = workers;
        self
    }

    /// The buffer limits that hold.
    pub fn buffer_limits(mut self, limits: BufferLimits) -> Self {
        self.buffer_limits = limits;
        self
    }

    /// How long a peer may take to end its connection after the last answer, such as `0.1s`.
    pub fn delayed_close(mut self, span: &str) -> Self {
        self.delayed_close = Some(span.into());
        self
    }

    /// Paths reach the filter as they come, not as `config/edge.yaml` normalises them.
    pub fn without_path_rules(mut self) -> Self {
        self.path_rules = false;
        self
    }

    /// Another module.
    pub fn module(mut self, module: impl Into<PathBuf>) -> Self {
        self.module = module.into();
        self
    }

    /// What becomes of a worker whose module has trapped.
    pub fn failure_policy(mut self, policy: FailurePolicy) -> Self {
        self.failure_policy = policy;
        self
    }

    /// Leaves the filter out: Envoy alone, to compare with. The module need not exist then.
    pub fn without_filter(mut self) -> Self {
        self.filter = false;
        self
    }

    /// Adds a filter of another `module` to the first listener, which reads `configuration`: one in each position.
    pub fn neighbour(mut self, position: Position, module: impl Into<PathBuf>, configuration: &str) -> Self {
        self.neighbours.insert(position, Neighbour { module: module.into(), configuration: configuration.into() });
        self
    }

    /// Adds a filter of Envoy's own in front of all others, as its `http_filters` have it.
    pub fn first_filter(mut self, filter: Value) -> Self {
        self.first = Some(filter);
        self
    }

    /// Where it runs, whatever the environment says.
    pub fn backend(mut self, backend: Runner) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Starts Envoy and waits until it serves with the policy.
    ///
    /// # Errors
    /// [`Error::NotReady`] with the end of the log where Envoy ends, refuses the policy or takes more than a minute;
    /// those of [`crate::binary::find`] where there is no Envoy.
    pub fn start(self) -> Result<Envoy, Error> {
        let folder = Scratch::new(&env::temp_dir())?;
        let files = Files::new(folder, self.variables.clone(), self.failure_policy);
        replace(&files.join(Arguments::BOOTSTRAP), &self.bootstrap(&files)?.to_bytes())?;
        // How many filters have to be in force before Envoy serves.
        let mut filter_count = 0;
        if self.filter {
            files.put_module(&self.module)?;
            files.put_policy(&files.filter(), &self.policy)?;
            filter_count += 1;
            if let Some(policy) = &self.second_policy {
                files.put_policy(&files.second_filter(), policy)?;
                filter_count += 1;
            }
        }
        for (position, neighbour) in &self.neighbours {
            copy(&neighbour.module, &files.join(&neighbour_file(*position)))?;
        }
        let arguments = Arguments::new(files.path(), self.workers);
        let running = match self.backend.map_or_else(Runner::from_env, Ok)? {
            Runner::Process => process::start(&arguments)?,
            #[cfg(feature = "container")]
            Runner::Container => crate::container::start(&arguments)?,
        };
        Envoy::new(running, files, self.policy, filter_count)
    }

    fn bootstrap(&self, files: &Files) -> Result<Bootstrap, Error> {
        let mut bootstrap = Bootstrap::shipped(self.upstream)?;
        for (name, address) in &self.services {
            bootstrap.service(name, *address)?;
        }
        if let Some(address) = self.rate_limit_service {
            bootstrap.rate_limit_service(address)?;
        }
        if self.trusted_hops > 0 {
            bootstrap.trusted_hops(self.trusted_hops)?;
        }
        if !self.remote_address {
            bootstrap.without_remote_address()?;
        }
        for (path, filter, metadata) in &self.routes {
            bootstrap.route(path, filter, metadata)?;
        }
        match &self.certificate {
            Some((chain, key)) => bootstrap.certificate(chain, key)?,
            None => bootstrap.without_tls()?,
        }
        if self.buffer_limits == BufferLimits::EnvoyDefaults {
            bootstrap.without_buffer_limits()?;
        }
        if !self.path_rules {
            bootstrap.without_path_rules()?;
        }
        if let Some(span) = &self.delayed_close {
            bootstrap.delayed_close(span)?;
        }
        if self.filter {
            bootstrap.filter_file(files.path(), &files.filter())?;
        } else {
            bootstrap.without_filter()?;
        }
        // After what both have.
        if self.second_policy.is_some() {
            bootstrap.second_listener(files.path(), &files.second_filter())?;
        }
        for (position, neighbour) in &self.neighbours {
            let module = files.join(&neighbour_file(*position));
            bootstrap.neighbour(*position, &module, &neighbour.configuration)?;
        }
        if let Some(filter) = &self.first {
            bootstrap.first_filter(filter.clone())?;
        }
        Ok(bootstrap)
    }
}

impl fmt::Debug for Launch {
    // The key, the variables and the policy may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

fn neighbour_file(position: Position) -> String {
    format!("{}.wasm", position.name())
}

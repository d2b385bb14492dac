//! The gate, as the demo calls it: an Envoy with the module and TLS, before one backend.

use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portcullis_envoy::peer::certificate::Certificate;
use portcullis_envoy::peer::client::Client;
use portcullis_envoy::{Envoy, Launch, Update, binary, module};
use serde_json::Value;

use crate::policy::{HOST, SECRET_VARIABLE, TICKET_KEY_VARIABLE};
use crate::progress;
use crate::tokens::Keys;

/// How long the filter takes a policy for one that may not be in force everywhere yet. One that is put back sooner is taken for one that was
/// replaced, by the requests that come within this time.
pub(crate) const SETTLING: Duration = Duration::from_millis(1_200);

/// A running Envoy and the certificate its clients see. It ends when it is dropped.
pub(crate) struct Gate {
    pub(crate) envoy: Envoy,
    pub(crate) certificate: Certificate,
}

/// Builds the module and gets an Envoy, the two long steps, and returns the path of the module.
///
/// # Errors
/// A module that does not build, or no Envoy.
pub(crate) fn prepare() -> Result<PathBuf, Box<dyn Error>> {
    let module = progress::step("building the module", module::build)?;
    progress::step("fetching Envoy, unless there is one", binary::find)?;
    Ok(module)
}

impl Gate {
    /// Starts an Envoy with this policy before `upstream`.
    ///
    /// # Errors
    /// An Envoy that does not start, or refuses its configuration.
    pub(crate) fn open(
        module: &Path,
        keys: &Keys,
        policy: Value,
        upstream: SocketAddr,
    ) -> Result<Self, Box<dyn Error>> {
        Self::start(launch(module, keys, policy, upstream))
    }

    /// Starts an Envoy with this policy and one worker before `upstream`, in plain text, behind a proxy that gives the client's
    /// address in `X-Forwarded-For`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) fn open_behind_proxy(
        module: &Path,
        keys: &Keys,
        policy: Value,
        upstream: SocketAddr,
    ) -> Result<Envoy, Box<dyn Error>> {
        let launch = launch(module, keys, policy, upstream).trusted_hops(1);
        Ok(progress::step("starting Envoy", || launch.start())?)
    }

    /// Starts an Envoy without the filter, to compare with.
    ///
    /// # Errors
    /// An Envoy that does not start.
    pub(crate) fn open_without_filter(module: &Path, upstream: SocketAddr) -> Result<Self, Box<dyn Error>> {
        Self::start(Launch::new(module, Value::Null, upstream).without_filter())
    }

    fn start(launch: Launch) -> Result<Self, Box<dyn Error>> {
        let certificate = Certificate::generate(&[HOST])?;
        let launch = launch.tls(&certificate.certificate_pem, &certificate.key_pem).concurrency(WORKERS);
        let envoy = progress::step("starting Envoy", || launch.start())?;
        Ok(Self { envoy, certificate })
    }

    /// A client of it.
    ///
    /// # Errors
    /// A certificate that is none.
    pub(crate) fn client(&self) -> std::io::Result<Client> {
        Client::tls(self.envoy.address(), HOST, &self.certificate.ca_pem)
    }

    /// Host and port of the backend's page.
    pub(crate) fn authority(&self) -> String {
        format!("localhost:{}", self.envoy.address().port())
    }

    /// Where a browser finds the backend's page.
    pub(crate) fn origin(&self) -> String {
        format!("https://{}", self.authority())
    }

    /// Puts this policy in place, with the gate's own origin on its list: the port is known only now. Returns what is in force then.
    ///
    /// # Errors
    /// A policy without a list of origins, or one that Envoy refuses.
    pub(crate) fn admit_own_page(&self, mut policy: Value) -> Result<Value, Box<dyn Error>> {
        let origins = policy.pointer_mut("/origin/allow").and_then(Value::as_array_mut);
        origins.ok_or("the policy lists no origins")?.push(self.origin().into());
        match self.envoy.update_policy(&policy)? {
            Update::Accepted => Ok(policy),
            Update::Rejected => Err("the policy with the gate's own origin was refused".into()),
        }
    }
}

fn launch(module: &Path, keys: &Keys, policy: Value, upstream: SocketAddr) -> Launch {
    Launch::new(module, policy, upstream)
        .env(SECRET_VARIABLE, keys.secret())
        .env(TICKET_KEY_VARIABLE, keys.ticket_key())
}

/// Two show that a decision does not depend on the worker.
const WORKERS: u32 = 2;

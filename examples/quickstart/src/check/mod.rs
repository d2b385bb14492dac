//! `cargo demo -- --check`: good and bad clients against the demo's own gate, each with the answer it must get.
//!
//! The cases are tables, one module a concept. Each case has a mark that its path carries, so that what reached the
//! backend can be told apart; they run a few at a time, and the table is printed in order.

mod authorize;
mod envelopes;
mod fail_open;
mod forgeries;
mod frames;
mod json;
mod limits;
mod origins;
mod paths;
mod patterns;
mod reasons;
mod reload;
mod report;
mod rule_sets;
mod scene;
mod service;
mod sources;
mod tickets;
mod times;
mod upgrades;
mod upstream;

use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use portcullis_envoy::Envoy;
use portcullis_envoy::peer::backend::Backend;
use portcullis_envoy::peer::client::Client;
use serde_json::Value;

use crate::gate::{self, Gate};
use crate::playground::Playground;
use crate::policy::policy;
use crate::progress;
use crate::provider::Provider;
use crate::tokens::Keys;
use scene::{Case, Scene, Stage, echo};

/// Plays all cases; succeeds when every one got what it expected.
///
/// # Errors
/// No module, no Envoy, or one that does not start.
pub(crate) fn run() -> Result<ExitCode, Box<dyn Error>> {
    let keys = Arc::new(Keys::generate()?);
    let mut policy = policy(&keys);
    forgeries::add_providers(&mut policy);
    add_routes(&mut policy);
    let module = gate::prepare()?;
    let backend = Backend::start(upstream::mode())?;
    let gate = Gate::open(&module, &keys, policy.clone(), backend.address())?;
    let crowd = Gate::open_behind_proxy(&module, &keys, limits::tighten(policy.clone()), backend.address())?;
    let reload = Gate::open_behind_proxy(&module, &keys, reload::policy(reload::LONG), backend.address())?;
    let provider = Arc::new(Provider::new(Arc::clone(&keys)));
    let playground = Arc::new(Playground::new(Arc::clone(&keys)));
    let service = crate::backend::start(Arc::clone(&provider), playground)?;
    let service = Gate::open(&module, &keys, policy, service)?;
    provider.tell(service.client()?);
    let stage = Stage {
        client: gate.client()?,
        plain: Client::plain(gate.envoy.address()),
        crowd: Client::plain(crowd.address()),
        reload: Mutex::new(reload),
        service: service.client()?,
        token: keys.corp().text()?,
        backend,
        keys,
    };
    progress::say("playing the cases…");
    let cases = [
        sources::cases(),
        forgeries::cases(),
        origins::cases(),
        upgrades::cases(),
        paths::cases(),
        frames::cases(),
        json::cases(),
        envelopes::cases(),
        authorize::cases(),
        patterns::cases(),
        rule_sets::cases(),
        limits::cases(),
        times::cases(),
        reload::cases(),
        fail_open::cases(),
        upstream::cases(),
        service::cases(),
        tickets::cases(),
    ];
    let cases: Vec<Case> = cases.into_iter().flatten().collect();
    let mut tally = report::play(&stage, &cases);
    let reload = stage.reload.lock().unwrap_or_else(PoisonError::into_inner);
    let gates = [&gate.envoy, &service.envoy, &crowd, &reload];
    let after = Scene { stage: &stage, mark: "after".into() };
    tally.row("after all that: a good client", "echo", &echo(&mut stage.client.open(&after.upgrade())?, "hello")?);
    tally.row("Envoy's log", "has the refusals, no credential", log(&stage, &gates)?);
    reasons::report(&mut tally, &gates)?;
    Ok(tally.finish())
}

/// Adds what the cases ask for to the demo's own routes.
fn add_routes(policy: &mut Value) {
    let routes = [
        paths::routes(),
        frames::routes(),
        json::routes(),
        envelopes::routes(),
        authorize::routes(),
        patterns::routes(),
        rule_sets::routes(),
        times::routes(),
        fail_open::routes(),
    ];
    if let Some(own) = policy["routes"].as_array_mut() {
        own.extend(routes.into_iter().flatten());
    }
}

/// What became of good and bad credentials in Envoy's log.
fn log(stage: &Stage, gates: &[&Envoy]) -> Result<&'static str, Box<dyn Error>> {
    let signature = stage.token.rsplit('.').next().unwrap_or_default();
    let logs = gates.iter().map(|gate| gate.log()).collect::<Result<Vec<_>, _>>()?.concat();
    Ok(match logs.contains("portcullis_credential_invalid") {
        false => "has no refusals",
        true if logs.contains(signature) || logs.contains(TOKEN_START) => "has a credential",
        true => "has the refusals, no credential",
    })
}

/// How every token begins: base64url of `{"`.
const TOKEN_START: &str = "eyJ";

//! What a handshake with a token costs an Envoy: with the filter, and with Envoy's own `jwt_authn` in its place, which checks the token and
//! nothing else. From the client's connection to its end. Beside them, an Envoy without either, and one with the least filter of the SDK,
//! which judges nothing: what any filter of this kind costs.
//!
//! ```text
//! first sight   each token comes once; jwt_authn as it is by default
//! seen before   one token comes again and again; jwt_authn with its cache
//! ```

use std::path::Path;

use jsonwebtoken::Algorithm;
use portcullis_envoy::peer::client::Upgrade;
use portcullis_envoy::{Envoy, Launch, module};
use serde_json::{Value, json};

use crate::load::{Backend, ask, open_by};
use crate::process::Process;
use crate::tokens::{AUDIENCE, ISSUER, Issuer};
use crate::{Outcome, bare, median, policy, sdk, settle, sorted, with};

/// Handshakes of one measurement.
const COUNT: u64 = 200;

/// What a handshake may cost in multiples of one with `jwt_authn`.
const FIRST_MAX: f64 = 1.5;
const SEEN_MAX: f64 = 1.1;

const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::ES256, Algorithm::ES384, Algorithm::PS256, Algorithm::EdDSA];

/// Those for which there is a goal.
const GOALS: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// A policy that takes tokens of `issuer`.
pub(crate) fn with_auth(mut policy: Value, issuer: &Issuer) -> Outcome<Value> {
    policy["auth"] = json!({"providers": [{
        "name": "idp", "issuer": ISSUER, "audiences": [AUDIENCE],
        "algorithms": ALGORITHMS, "jwks": {"inline": issuer.key_set()?},
    }]});
    Ok(policy)
}

/// Envoy's own filter, with a cache of `cached` tokens.
pub(crate) fn jwt_authn(backend: &Backend, issuer: &Issuer, cached: Option<u32>) -> Outcome<Launch> {
    let mut provider = json!({
        "issuer": ISSUER, "audiences": [AUDIENCE], "local_jwks": {"inline_string": issuer.key_set()?.to_string()},
    });
    if let Some(size) = cached {
        provider["jwt_cache_config"] = json!({"jwt_cache_size": size});
    }
    let config = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": {"idp": provider},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "idp"}}],
    });
    Ok(bare(backend).first_filter(json!({"name": "envoy.filters.http.jwt_authn", "typed_config": config})))
}

/// CPU time of Envoy for one of these handshakes, in microseconds.
fn cost(envoy: &Envoy, backend: &Backend, tokens: &[String]) -> Outcome<f64> {
    let process = Process::of(envoy)?;
    settle(envoy, backend)?;
    let before = process.cpu()?;
    for token in tokens {
        drop(open_by(envoy.address(), &Upgrade::to("/bench").header("Authorization", format!("Bearer {token}")))?);
        drop(backend.take());
    }
    settle(envoy, backend)?;
    Ok((process.cpu()? - before).as_secs_f64() * 1e6 / tokens.len() as f64)
}

/// What a check of a signature costs: a handshake with a forged token, less one whose algorithm no key is for; in microseconds, by Envoy's own
/// arithmetic where it knows the algorithm, and by the filter's.
fn checks(module: &Path, backend: &Backend, issuer: &Issuer, rounds: u64) -> Outcome<()> {
    let policy = with_auth(policy(json!({"utf8": false})), issuer)?;
    let own = module::build_with(&["own_signatures", "trap"])?;
    let envoys = [with(module, policy.clone(), backend).start()?, with(&own, policy, backend).start()?];
    let refused = |envoy: &Envoy, algorithm| {
        let tokens = (0..COUNT).map(|number| issuer.forged(algorithm, number)).collect::<Outcome<Vec<_>>>()?;
        let process = Process::of(envoy)?;
        let before = process.cpu()?;
        for token in &tokens {
            let upgrade = Upgrade::to("/bench").header("Authorization", format!("Bearer {token}"));
            let status = ask(envoy.address(), &upgrade)?.1.status();
            if status != 401 {
                return Err(format!("{status} for a forged token").into());
            }
        }
        settle(envoy, backend)?;
        Outcome::Ok((process.cpu()? - before).as_secs_f64() * 1e6 / COUNT as f64)
    };
    println!("\n{:<20} {:>8} {:>8}", "a check, µs", "host", "own");
    envoys.iter().try_for_each(|envoy| refused(envoy, Algorithm::RS512).map(drop))?;
    for algorithm in ALGORITHMS {
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (costs, envoy) in costs.iter_mut().zip(&envoys) {
                let without = refused(envoy, Algorithm::RS512)?;
                costs.push(refused(envoy, algorithm)? - without);
            }
        }
        let [host, own] = costs.map(|costs| median(&sorted(costs.into_iter())));
        println!("{:<20} {host:>8.0} {own:>8.0}", format!("{algorithm:?}"));
    }
    Ok(())
}

/// Measures so many rounds of each. Returns whether no row is over its goal.
pub(crate) fn run([module, neighbour]: [&Path; 2], backend: &Backend, rounds: u64) -> Outcome<bool> {
    let issuer = Issuer::new()?;
    let bare = bare(backend).start()?;
    let sdk = sdk(neighbour, backend, "read 14").start()?;
    let plain = jwt_authn(backend, &issuer, None)?.start()?;
    let cached = jwt_authn(backend, &issuer, Some(1_000))?.start()?;
    let filter = with(module, with_auth(policy(json!({"utf8": false})), &issuer)?, backend).start()?;
    let mut number = 0;
    let mut tokens = |algorithm, count| {
        let tokens = (0..count).map(|_| {
            number += 1;
            issuer.token(algorithm, number)
        });
        tokens.collect::<Outcome<Vec<_>>>()
    };
    // Until the module's hot paths are compiled, and buffers have grown.
    for envoy in [&bare, &sdk, &plain, &cached, &filter] {
        cost(envoy, backend, &tokens(Algorithm::ES256, COUNT)?)?;
    }
    println!(
        "{:<20} {:>8} {:>8} {:>12} {:>8}  {:>8} {:>8} {:>8}  {:>5}",
        "CPU of Envoy", "bare µs", "SDK µs", "jwt_authn µs", "with µs", "ratio", "min", "max", "goal"
    );
    let mut is_good = true;
    for (name, is_seen) in [("first sight", false), ("seen before", true)] {
        for algorithm in ALGORITHMS {
            let other = if is_seen { &cached } else { &plain };
            let mut costs = Vec::new();
            for _ in 0..rounds {
                let tokens = if is_seen {
                    let token = tokens(algorithm, 1)?;
                    // Now it is.
                    [other, &filter].iter().try_for_each(|envoy| cost(envoy, backend, &token).map(drop))?;
                    token.into_iter().cycle().take(COUNT as usize).collect()
                } else {
                    tokens(algorithm, COUNT)?
                };
                costs.push([
                    cost(&bare, backend, &tokens)?,
                    cost(&sdk, backend, &tokens)?,
                    cost(other, backend, &tokens)?,
                    cost(&filter, backend, &tokens)?,
                ]);
            }
            let [bare, sdk, other, with] =
                [0, 1, 2, 3].map(|index| median(&sorted(costs.iter().map(|costs| costs[index]))));
            let ratios = sorted(costs.iter().map(|[_, _, other, with]| with / other));
            let found = median(&ratios);
            print!("{:<20} {bare:>8.0} {sdk:>8.0} {other:>12.0} {with:>8.0}", format!("{algorithm:?}, {name}"));
            print!("  {found:>7.2}x {:>7.2}x {:>7.2}x", ratios[0], ratios[ratios.len() - 1]);
            if GOALS.contains(&algorithm) {
                let goal = if is_seen { SEEN_MAX } else { FIRST_MAX };
                is_good &= found <= goal;
                print!("  {goal:>4.1}x{}", if found > goal { "  over" } else { "" });
            }
            println!();
        }
    }
    checks(module, backend, &issuer, rounds)?;
    Ok(is_good)
}

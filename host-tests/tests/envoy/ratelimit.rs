//! A rate limit service as a fleet of Envoys has it: gRPC before limits of Kuadrant's limitador before counters in Redis.
//!
//! It is real but for its size. Each descriptor of a request is counted by itself; the request is over its limit where one of
//! them is. All that was asked is written down. The callers are synchronous, and everything is on loopback.
//!
//! ```text
//! Envoy ──┐
//!         ├──gRPC──▶ RateLimitServer ──▶ limitador: which limits ──▶ redis::Counters ──▶ redis-server (a process)
//! Envoy ──┘          asked()
//! ```

mod redis;
mod tests;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{Code, DescriptorStatus};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf;
use limitador::RateLimiter;
use limitador::limit::Limit;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, async_trait};

use self::redis::{Counters, Redis};

/// A running service; it ends, and its Redis with it, when it is dropped.
pub(crate) struct RateLimitServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    serving: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    _redis: Redis,
}

/// One request, and what became of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Asked {
    pub(crate) domain: String,
    /// The entries of each descriptor.
    pub(crate) descriptors: Vec<Vec<(String, String)>>,
    pub(crate) hits_addend: u32,
    pub(crate) allowed: bool,
}

/// At most so many hits an hour in [`DOMAIN`], for descriptors that have all of `variables` and of which all `conditions`
/// hold, such as `message_type == 'chat'`. Each combination of the variables' values counts for itself.
pub(crate) fn limit(hits_max: u64, conditions: &[&str], variables: &[&str]) -> Limit {
    let id = format!("{hits_max} {conditions:?} {variables:?}");
    let conditions = conditions.iter().map(|&condition| condition.try_into().expect("an expression"));
    let variables = variables.iter().map(|&variable| variable.try_into().expect("an expression"));
    let (conditions, variables): (Vec<_>, Vec<_>) = (conditions.collect(), variables.collect());
    Limit::with_id(id, DOMAIN, hits_max, 3_600, conditions, variables)
}

impl RateLimitServer {
    /// Starts one, with a Redis of its own, on free ports of 127.0.0.1.
    pub(crate) fn start(limits: impl IntoIterator<Item = Limit>) -> Self {
        Self::start_at(0, limits)
    }

    /// As [`Self::start`], at a port of one that was stopped.
    pub(crate) fn start_at(port: u16, limits: impl IntoIterator<Item = Limit>) -> Self {
        let redis = Redis::start();
        let limiter = RateLimiter::new_with_storage(Box::new(Counters::of(&redis)));
        limits.into_iter().for_each(|limit| assert!(limiter.add_limit(limit), "a limit that is there already"));
        let asked = Arc::new(Mutex::default());
        let service = RateLimitServiceServer::new(Service { limiter, asked: Arc::clone(&asked) });

        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a port to listen on");
        listener.set_nonblocking(true).expect("a socket of tokio's kind");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener)));
                // Nobody sends: it ends by being dropped. The runtime then cuts every connection, as a process that is
                // killed does; Envoy would hold one open for ever.
                let _ = stopped.await;
            });
        });
        Self { address, asked, serving: Some((stop, thread)), _redis: redis }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends it: its connections are cut, and new ones refused.
    pub(crate) fn stop(&mut self) {
        if let Some((stop, thread)) = self.serving.take() {
            drop(stop);
            // It panics only in a test that has failed already.
            let _ = thread.join();
        }
    }
}

impl Drop for RateLimitServer {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Service {
    limiter: RateLimiter,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Service {
    /// Counts one descriptor, unless that is over a limit of it.
    fn count(
        &self,
        domain: &str,
        descriptor: &RateLimitDescriptor,
        hits_addend: u64,
    ) -> Result<DescriptorStatus, Status> {
        let values = entries(descriptor).collect::<HashMap<_, _>>().into();
        let checked = self.limiter.check_rate_limited_and_update(&domain.into(), &values, hits_addend);
        let checked = checked.map_err(|error| Status::internal(error.to_string()))?;
        // The limit that has least left is the one that refuses, if one does.
        let nearest = checked.counters.iter().min_by_key(|counter| counter.remaining());
        Ok(DescriptorStatus {
            code: if checked.limited { Code::OverLimit } else { Code::Ok }.into(),
            limit_remaining: nearest.and_then(|counter| counter.remaining()?.try_into().ok()).unwrap_or_default(),
            duration_until_reset: nearest.and_then(|counter| counter.expires_in()).map(duration),
            ..DescriptorStatus::default()
        })
    }
}

#[async_trait]
impl RateLimitService for Service {
    async fn should_rate_limit(
        &self,
        request: Request<RateLimitRequest>,
    ) -> Result<Response<RateLimitResponse>, Status> {
        let RateLimitRequest { domain, descriptors, hits_addend } = request.into_inner();
        // "If not set, a default of 1 is used", and a descriptor's own number comes first (rls.proto, ratelimit.proto).
        let hits = |descriptor: &RateLimitDescriptor| {
            descriptor.hits_addend.as_ref().map_or_else(|| u64::from(hits_addend.max(1)), |own| own.value)
        };
        let statuses = descriptors.iter().map(|descriptor| self.count(&domain, descriptor, hits(descriptor)));
        let statuses = statuses.collect::<Result<Vec<_>, _>>()?;
        let allowed = statuses.iter().all(|status| status.code() == Code::Ok);
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(Asked {
            domain,
            descriptors: descriptors.iter().map(|descriptor| entries(descriptor).collect()).collect(),
            hits_addend,
            allowed,
        });
        let overall_code = if allowed { Code::Ok } else { Code::OverLimit }.into();
        Ok(Response::new(RateLimitResponse { overall_code, statuses, ..RateLimitResponse::default() }))
    }
}

fn entries(descriptor: &RateLimitDescriptor) -> impl Iterator<Item = (String, String)> {
    descriptor.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone()))
}

fn duration(span: Duration) -> protobuf::Duration {
    let seconds = span.as_secs().try_into().expect("an hour at most");
    protobuf::Duration { seconds, nanos: span.subsec_nanos().try_into().expect("less than a second") }
}

/// The domain of all limits here, as in the policy's documentation.
pub(crate) const DOMAIN: &str = "portcullis";

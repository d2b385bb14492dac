//! The host: one VM, its root contexts, its streams, and clocks that only a test moves.

use std::collections::BTreeMap;
use std::mem;
use std::{cell::RefCell, fmt, rc::Rc, time::Duration};

use wasmtime::{AsContextMut, Linker, Module, Store};

use crate::{
    abi,
    guest::Guest,
    headers::Headers,
    profile::{Faults, Profile, Wakeups},
    state::{GrpcCall, HttpCall, Log, Metric, Shared, State},
    stream::{Action, Side, Stream},
    wasi,
};

/// A stream, by the id of its context.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct StreamId(pub u32);

/// The module trapped: in Envoy all streams of the worker are lost.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trap(pub String);

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One VM with the module in it.
pub struct Host {
    store: Store<State>,
    next_context: u32,
    fuel: u64,
}

impl Host {
    /// Loads the module: `_initialize`, the first root context, `proxy_on_vm_start`.
    ///
    /// # Errors
    ///
    /// [`Trap`] where the module imports what no host has, traps, or refuses to start.
    pub fn load(module: &Module, profile: Profile) -> Result<Self, Trap> {
        Self::load_into(Rc::default(), module, profile)
    }

    /// Loads the module as [`Self::load`] does, into another VM of the same proxy: a worker more, with the same clock, data and queues.
    ///
    /// # Errors
    ///
    /// As those of [`Self::load`].
    pub fn load_beside(&self, module: &Module, profile: Profile) -> Result<Self, Trap> {
        Self::load_into(self.state().sharing(), module, profile)
    }

    fn load_into(shared: Rc<RefCell<Shared>>, module: &Module, profile: Profile) -> Result<Self, Trap> {
        let mut linker = Linker::new(module.engine());
        let mut store = Store::new(module.engine(), State::new(profile, shared));
        let instance = abi::define(&mut linker)
            .and_then(|()| wasi::define(&mut linker))
            .and_then(|()| store.set_fuel(FUEL))
            .and_then(|()| linker.instantiate(&mut store, module));
        store.data_mut().instance = Some(instance.map_err(trap)?);
        let mut host = Self { store, next_context: FIRST_ROOT, fuel: FUEL };
        host.enter(|guest| guest.invoke("_initialize", &[]))?;
        let root = host.open_root()?;
        match host.enter(|guest| guest.callback(root, "proxy_on_vm_start", &[0]))? {
            Some(0) => Err(Trap("proxy_on_vm_start refused".to_owned())),
            _ => Ok(host),
        }
    }

    /// Another root context in the same VM, as a second filter with the same `vm_config` has.
    ///
    /// # Errors
    ///
    /// [`Trap`], as every call that follows.
    pub fn open_root(&mut self) -> Result<u32, Trap> {
        let root = self.next_context;
        self.next_context += 1;
        self.store.data_mut().roots.insert(root, 0);
        self.enter(|guest| guest.callback(root, "proxy_on_context_create", &[0]))?;
        Ok(root)
    }

    /// Gives the first root its plugin configuration. False: refused.
    pub fn configure(&mut self, policy: &[u8]) -> Result<bool, Trap> {
        self.configure_root(FIRST_ROOT, policy)
    }

    /// Gives `root` its plugin configuration.
    pub fn configure_root(&mut self, root: u32, policy: &[u8]) -> Result<bool, Trap> {
        self.store.data_mut().configuration = Some(policy.to_vec());
        let fuel = mem::replace(&mut self.fuel, CONFIGURE_FUEL);
        let answer = self.enter(|guest| guest.callback(root, "proxy_on_configure", &[policy.len() as u32]));
        self.fuel = fuel;
        self.store.data_mut().configuration = None;
        Ok(answer? != Some(0))
    }

    /// A stream of the first root.
    pub fn open_stream(&mut self) -> Result<StreamId, Trap> {
        self.open_stream_of(FIRST_ROOT)
    }

    /// A stream of `root`.
    pub fn open_stream_of(&mut self, root: u32) -> Result<StreamId, Trap> {
        let id = self.next_context;
        self.next_context += 1;
        self.store.data_mut().streams.insert(id, Stream { root, ..Stream::default() });
        self.enter(|guest| guest.callback(id, "proxy_on_context_create", &[root]))?;
        Ok(StreamId(id))
    }

    /// The request's head arrives.
    pub fn request_headers(&mut self, stream: StreamId, headers: &Headers, end: bool) -> Result<Action, Trap> {
        self.enter(|guest| guest.headers(stream.0, Side::Request, headers.clone(), end))
    }

    /// Bytes from the client arrive.
    pub fn request_body(&mut self, stream: StreamId, bytes: &[u8], end: bool) -> Result<Action, Trap> {
        self.enter(|guest| guest.body(stream.0, Side::Request, bytes, end))
    }

    /// Trailers end the client's body. Whether the filter lets them go on.
    pub fn request_trailers(&mut self, stream: StreamId) -> Result<bool, Trap> {
        let answer = self.enter(|guest| guest.callback(stream.0, "proxy_on_request_trailers", &[1]))?;
        Ok(answer == Some(0))
    }

    /// The upstream's head arrives.
    pub fn response_headers(&mut self, stream: StreamId, headers: &Headers, end: bool) -> Result<Action, Trap> {
        self.enter(|guest| guest.headers(stream.0, Side::Response, headers.clone(), end))
    }

    /// Bytes from the upstream arrive.
    pub fn response_body(&mut self, stream: StreamId, bytes: &[u8], end: bool) -> Result<Action, Trap> {
        self.enter(|guest| guest.body(stream.0, Side::Response, bytes, end))
    }

    /// The stream is over, for whatever reason.
    pub fn delete(&mut self, stream: StreamId) -> Result<(), Trap> {
        self.enter(|guest| guest.end(stream.0))
    }

    /// Calls any export with any arguments, in the name of the context that the first one gives.
    pub fn call(&mut self, export: &str, context: u32, arguments: &[u32]) -> Result<Option<u32>, Trap> {
        self.enter(|guest| guest.callback(context, export, arguments))
    }

    /// Lets the roots that asked for a tick have one, after the wake-ups that are due.
    pub fn tick(&mut self) -> Result<(), Trap> {
        self.enter(wake)?;
        let roots = self.state().roots.iter().filter(|(_, period)| **period > 0).map(|(root, _)| *root);
        for root in roots.collect::<Vec<_>>() {
            self.enter(|guest| guest.callback(root, "proxy_on_tick", &[]))?;
        }
        Ok(())
    }

    /// When the first root wants its next tick; 0 is never.
    pub fn tick_period(&self) -> Duration {
        Duration::from_millis(self.state().roots[&FIRST_ROOT])
    }

    /// Wakes the readers of queues that were written to, which a host whose wake-ups are late has put off.
    pub fn wake(&mut self) -> Result<(), Trap> {
        self.enter(wake)
    }

    /// Moves the clocks of all VMs. Nothing else happens: call [`Self::tick`] for that.
    pub fn advance(&mut self, span: Duration) {
        self.state().shared().now += u64::try_from(span.as_nanos()).expect("a span of less than 584 years");
    }

    /// Has the clocks of all VMs go on so far with each look at them, as if work were done in between.
    pub fn labour(&mut self, span: Duration) {
        self.state().shared().look = u64::try_from(span.as_nanos()).expect("a span of less than 584 years");
    }

    /// The calls of gRPC services so far.
    pub fn grpc_calls(&self) -> &[GrpcCall] {
        &self.state().grpc_calls
    }

    /// The service answers a call, or another one that it was never asked.
    pub fn grpc_receive(&mut self, token: u32, answer: &[u8]) -> Result<(), Trap> {
        self.store.data_mut().grpc_answer = Some(answer.to_vec());
        let outcome = self.grpc_end("proxy_on_grpc_receive", token, answer.len() as u32);
        self.store.data_mut().grpc_answer = None;
        outcome
    }

    /// A call fails with this status of gRPC.
    pub fn grpc_close(&mut self, token: u32, status: u32) -> Result<(), Trap> {
        self.grpc_end("proxy_on_grpc_close", token, status)
    }

    fn grpc_end(&mut self, callback: &str, token: u32, argument: u32) -> Result<(), Trap> {
        let calls = &mut self.store.data_mut().grpc_calls;
        let root = calls.iter_mut().find(|call| call.token == token).map_or(FIRST_ROOT, |call| {
            call.waits = false;
            call.root
        });
        self.enter(|guest| guest.callback(root, callback, &[token, argument])).map(drop)
    }

    /// The requests of the filter's own so far.
    pub fn http_calls(&self) -> &[HttpCall] {
        &self.state().http_calls
    }

    /// A request of the filter's own is answered with these fields, `:status` among them, or another one that it never made; without any
    /// field, it has failed.
    pub fn http_respond(&mut self, token: u32, fields: &[(&str, &str)], body: &[u8]) -> Result<(), Trap> {
        let state = self.store.data_mut();
        let context = state.http_calls.iter_mut().find(|call| call.token == token).map_or(FIRST_ROOT, |call| {
            call.waits = false;
            call.context
        });
        let headers = fields.iter().fold(Headers::default(), |headers, (name, value)| headers.with(name, value));
        state.http_answer = Some((headers, body.to_vec()));
        let arguments = [token, fields.len() as u32, body.len() as u32, 0];
        let outcome = self.enter(|guest| guest.callback(context, "proxy_on_http_call_response", &arguments)).map(drop);
        self.store.data_mut().http_answer = None;
        outcome
    }

    /// What the VMs share under `key`.
    pub fn shared(&self, key: &str) -> Option<Vec<u8>> {
        self.state().shared().data(key.as_bytes()).ok().map(|(value, _)| value)
    }

    /// Shares `value` under `key`, whatever was there.
    pub fn share(&mut self, key: &str, value: &[u8]) {
        let written = self.state().shared().write(key.into(), value.to_vec(), 0);
        written.expect("a write that does not compare");
    }

    /// Which calls fail from now on.
    pub fn inject(&mut self, faults: Faults) {
        self.store.data_mut().profile.faults = faults;
    }

    /// Sets a property, such as `connection.tls_version`, of all streams; `None` removes it.
    pub fn property(&mut self, path: &str, value: Option<&[u8]>) {
        let properties = &mut self.store.data_mut().properties;
        match value {
            Some(value) => drop(properties.insert(path.to_owned(), value.to_vec())),
            None => drop(properties.remove(path)),
        }
    }

    /// What became of a stream, which stays readable after its end.
    pub fn stream(&self, stream: StreamId) -> &Stream {
        &self.state().streams[&stream.0]
    }

    /// Seconds since 1970 on the host's clock.
    pub fn now_seconds(&self) -> u64 {
        self.state().shared().now / 1_000_000_000
    }

    /// The log so far.
    pub fn logs(&self) -> &[Log] {
        &self.state().logs
    }

    /// Every metric.
    pub fn metrics(&self) -> &[Metric] {
        &self.state().metrics
    }

    /// The value of a metric; 0 where it is not defined.
    pub fn metric(&self, name: &str) -> i64 {
        self.metrics().iter().find(|metric| metric.name == name).map_or(0, |metric| metric.value)
    }

    /// Every name that was defined as a metric, repeats kept.
    pub fn definitions(&self) -> &[String] {
        &self.state().definitions
    }

    /// How often the filter made a call.
    pub fn calls(&self, name: &str) -> u64 {
        self.state().calls.get(name).copied().unwrap_or(0)
    }

    /// How often the filter made each call.
    pub fn call_counts(&self) -> &BTreeMap<&'static str, u64> {
        &self.state().calls
    }

    /// The size of the module's memory in bytes: it never shrinks.
    ///
    /// # Errors
    ///
    /// [`Trap`] for a module that exports no memory.
    pub fn memory_len(&mut self) -> Result<usize, Trap> {
        Guest(self.store.as_context_mut()).memory_len().map_err(trap)
    }

    /// Lets a turn take so many instructions, for messages that are longer than any that a policy allows by default.
    pub const fn allow_instructions(&mut self, count: u64) {
        self.fuel = count;
    }

    /// How many instructions of the module the last turn took.
    pub fn instructions(&self) -> u64 {
        self.fuel - self.store.get_fuel().expect("an engine that counts")
    }

    /// What the filter did that a host may answer badly: a second reply, bytes written to no buffer, a call for a dead stream.
    pub fn misuses(&self) -> &[String] {
        &self.state().misuses
    }

    fn state(&self) -> &State {
        self.store.data()
    }

    /// Runs one turn of the event loop: what the test does, then the queues that it woke.
    fn enter<T>(&mut self, run: impl FnOnce(&mut Guest<'_>) -> wasmtime::Result<T>) -> Result<T, Trap> {
        self.store.set_fuel(self.fuel).map_err(trap)?;
        let mut guest = Guest(self.store.as_context_mut());
        let outcome = run(&mut guest).map_err(trap)?;
        if guest.state().profile.wakeups == Wakeups::Prompt {
            wake(&mut guest).map_err(trap)?;
        }
        Ok(outcome)
    }
}

/// Calls the readers of queues that were written to.
fn wake(guest: &mut Guest<'_>) -> wasmtime::Result<()> {
    loop {
        let vm = guest.state().vm;
        let Some((root, token)) = guest.state().shared().wakeup(vm) else { return Ok(()) };
        guest.callback(root, "proxy_on_queue_ready", &[token])?;
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state().fmt(f)
    }
}

fn trap(error: wasmtime::Error) -> Trap {
    Trap(format!("{error:?}"))
}

/// The root context that a host begins with.
pub const FIRST_ROOT: u32 = 1;

/// Instructions for one turn, about: one that needs more, or never ends, counts as a trap.
const FUEL: u64 = 100_000_000;

/// And for reading a policy, which may take a second: patterns are worked out then.
const CONFIGURE_FUEL: u64 = 30_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::module;

    #[track_caller]
    fn check_load(text: &str, expected: Result<(), &str>) {
        let module = module::compile(text.as_bytes());
        let outcome = Host::load(&module, Profile::default()).map(drop);
        match (&outcome, expected) {
            (Ok(()), Ok(())) => {}
            (Err(Trap(message)), Err(part)) if message.contains(part) => {}
            _ => panic!("{outcome:?}, where {expected:?} is due"),
        }
    }

    #[test]
    fn a_module_loads_only_on_what_envoy_gives_it() {
        check_load(r#"(module)"#, Ok(()));
        check_load(r#"(module (import "env" "proxy_log" (func (param i32 i32 i32) (result i32))))"#, Ok(()));
        check_load(r#"(module (import "env" "proxy_log" (func (param i32))))"#, Err("incompatible import type"));
        check_load(r#"(module (import "env" "proxy_levitate" (func)))"#, Err("unknown import"));
    }

    #[test]
    fn a_loop_without_end_is_a_trap() {
        check_load(r#"(module (func (export "_initialize") (loop (br 0))))"#, Err("all fuel consumed"));
    }

    #[test]
    fn a_refused_start_is_a_trap() {
        let refuse = r#"(module (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 0)))"#;
        check_load(refuse, Err("proxy_on_vm_start refused"));
    }
}

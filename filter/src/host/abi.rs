//! The proxy-wasm ABI 0.2.1, call by call: the only unsafe code there is, beside the count of the heap.
//!
//! Every wrapper returns `Result`. The SDK is not used: its getters panic on a status they do not know or a value that is
//! not UTF-8, and its dispatcher holds a borrow while a callback runs, so a host that re-enters (a local reply that runs
//! the response callbacks at once) traps the VM.

#![expect(unsafe_code, reason = "the ABI is raw pointers")]

use core::ptr::{null, null_mut};
use std::alloc::{Layout, alloc};

use portcullis_core::effect::{Flow, Level};
use portcullis_core::port::HostError;

/// `proxy_status_t`: there is nothing of that name.
const NOT_FOUND: u32 = 1;

/// `proxy_status_t`: somebody else was first.
const CAS_MISMATCH: u32 = 8;

/// What came of a call.
pub(crate) type Hosted<T> = Result<T, HostError>;

/// `proxy_action_t`: what the host is told to do with the headers or bytes in hand. The last two are not among its names, but Envoy has them
/// from the beginning (`StopIterationAndWatermark` for bodies, `StopAllIterationAndWatermark` for headers).
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// They go on.
    Forward = 0,
    /// They stay in the host.
    Hold = 1,
    /// Bytes stay in the host, which slows their sender down rather than append the next ones to them.
    HoldStreaming = 2,
    /// Headers stay in the host, and whatever comes behind them.
    HoldAll = 4,
}

impl From<Flow> for Action {
    fn from(flow: Flow) -> Self {
        match flow {
            Flow::Forward => Self::Forward,
            Flow::Hold => Self::Hold,
            Flow::Wait => Self::HoldAll,
        }
    }
}

/// `proxy_buffer_type_t`.
#[derive(Clone, Copy)]
pub(crate) enum BufferType {
    RequestBody = 0,
    ResponseBody = 1,
    HttpAnswer = 4,
    GrpcAnswer = 5,
    PluginConfiguration = 7,
}

/// `proxy_map_type_t`.
#[derive(Clone, Copy)]
pub(crate) enum MapType {
    RequestHeaders = 0,
    ResponseHeaders = 2,
    HttpAnswer = 6,
}

/// `proxy_stream_type_t`.
#[derive(Clone, Copy)]
pub(crate) enum StreamType {
    Request = 0,
    Response = 1,
}

/// `proxy_log_level_t`.
#[derive(Clone, Copy)]
pub(crate) enum LogLevel {
    Info = 2,
    Warn = 3,
    Critical = 5,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::Info => Self::Info,
            Level::Warn => Self::Warn,
        }
    }
}

/// `proxy_metric_type_t`.
#[derive(Clone, Copy)]
pub(crate) enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

#[rustfmt::skip] // One call a line.
mod import {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, text: *const u8, len: usize) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_get_buffer_bytes(buffer: u32, start: usize, max: usize, data: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_set_buffer_bytes(buffer: u32, start: usize, max: usize, data: *const u8, len: usize) -> u32;
        pub(super) fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_add_header_map_value(map: u32, name: *const u8, name_len: usize, value: *const u8, value_len: usize) -> u32;
        pub(super) fn proxy_replace_header_map_value(map: u32, name: *const u8, name_len: usize, value: *const u8, value_len: usize) -> u32;
        pub(super) fn proxy_remove_header_map_value(map: u32, name: *const u8, name_len: usize) -> u32;
        pub(super) fn proxy_get_property(path: *const u8, path_len: usize, data: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_set_property(path: *const u8, path_len: usize, value: *const u8, len: usize) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32, details: *const u8, details_len: usize, body: *const u8, body_len: usize, headers: *const u8,
            headers_len: usize, grpc_status: i32
        ) -> u32;
        pub(super) fn proxy_continue_stream(stream: u32) -> u32;
        pub(super) fn proxy_close_stream(stream: u32) -> u32;
        pub(super) fn proxy_define_metric(kind: u32, name: *const u8, len: usize, id: *mut u32) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, offset: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
        pub(super) fn proxy_set_effective_context(context: u32) -> u32;
        pub(super) fn proxy_register_shared_queue(name: *const u8, len: usize, id: *mut u32) -> u32;
        pub(super) fn proxy_enqueue_shared_queue(id: u32, data: *const u8, len: usize) -> u32;
        pub(super) fn proxy_dequeue_shared_queue(id: u32, data: *mut *mut u8, len: *mut usize) -> u32;
        pub(super) fn proxy_get_shared_data(key: *const u8, key_len: usize, data: *mut *mut u8, len: *mut usize, version: *mut u32) -> u32;
        pub(super) fn proxy_set_shared_data(key: *const u8, key_len: usize, data: *const u8, len: usize, version: u32) -> u32;
        pub(super) fn proxy_grpc_call(
            upstream: *const u8, upstream_len: usize, service: *const u8, service_len: usize, method: *const u8, method_len: usize,
            metadata: *const u8, metadata_len: usize, message: *const u8, message_len: usize, timeout_millis: u32, token: *mut u32
        ) -> u32;
        pub(super) fn proxy_http_call(
            cluster: *const u8, cluster_len: usize, fields: *const u8, fields_len: usize, body: *const u8, body_len: usize,
            trailers: *const u8, trailers_len: usize, timeout_millis: u32, token: *mut u32
        ) -> u32;
        pub(super) fn proxy_call_foreign_function(
            name: *const u8, name_len: usize, arguments: *const u8, arguments_len: usize, data: *mut *mut u8, len: *mut usize
        ) -> u32;
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    }
}

const fn done(status: u32) -> Hosted<()> {
    if status == 0 { Ok(()) } else { Err(HostError) }
}

/// Memory for the host to write into; it comes back to us through [`take`].
pub(crate) fn allocate(len: usize) -> *mut u8 {
    match Layout::array::<u8>(len) {
        // SAFETY: the layout is not empty.
        Ok(layout) if len > 0 => unsafe { alloc(layout) },
        Ok(_) | Err(_) => null_mut(),
    }
}

/// Runs `call` with places for a pointer and a length, and takes over the memory that the host filled in.
fn take(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Hosted<Vec<u8>> {
    take_found(call)?.ok_or(HostError)
}

/// Likewise; `None` where the host has found nothing.
fn take_found(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Hosted<Option<Vec<u8>>> {
    let (mut data, mut len) = (null_mut::<u8>(), 0_usize);
    match call(&raw mut data, &raw mut len) {
        NOT_FOUND => return Ok(None),
        status => done(status)?,
    }
    if data.is_null() || len == 0 {
        return Ok(Some(Vec::new()));
    }
    // SAFETY: the host got this memory from `allocate(len)`, filled it, and forgets it.
    Ok(Some(unsafe { Vec::from_raw_parts(data, len, len) }))
}

/// Writes a line to the host's log. There is nobody to tell when that fails.
pub(crate) fn log(level: LogLevel, text: &str) {
    // SAFETY: the pointer and length are of one live string.
    let _ = unsafe { import::proxy_log(level as u32, text.as_ptr(), text.len()) };
}

/// Nanoseconds since the Unix epoch.
pub(crate) fn current_time() -> Hosted<u64> {
    let mut time = 0;
    // SAFETY: the place outlives the call.
    done(unsafe { import::proxy_get_current_time_nanoseconds(&raw mut time) })?;
    Ok(time)
}

/// Nanoseconds on a clock that never goes back, the same for all workers of a process.
pub(crate) fn monotonic_time() -> Hosted<u64> {
    const CLOCK_MONOTONIC: u32 = 1;
    let mut time = 0;
    // SAFETY: the place outlives the call.
    done(unsafe { import::clock_time_get(CLOCK_MONOTONIC, 0, &raw mut time) })?;
    Ok(time)
}

/// Has the root context ticked every `millis` milliseconds.
pub(crate) fn set_tick_period(millis: u32) -> Hosted<()> {
    // SAFETY: no pointers.
    done(unsafe { import::proxy_set_tick_period_milliseconds(millis) })
}

/// Copies at most `max` bytes of a buffer from `start` on.
pub(crate) fn buffer(buffer: BufferType, start: usize, max: usize) -> Hosted<Vec<u8>> {
    // SAFETY: `take` passes live places.
    take(|data, len| unsafe { import::proxy_get_buffer_bytes(buffer as u32, start, max, data, len) })
}

/// Puts `bytes` in place of a part of a buffer. Envoy knows three: `(0, 0)` prepends, `(0, all or more)` replaces,
/// `(all or more, 0)` appends.
pub(crate) fn set_buffer(buffer: BufferType, start: usize, max: usize, bytes: &[u8]) -> Hosted<()> {
    // SAFETY: the pointer and length are of one live slice.
    done(unsafe { import::proxy_set_buffer_bytes(buffer as u32, start, max, bytes.as_ptr(), bytes.len()) })
}

/// Puts `bytes` into a buffer that is empty. Envoy keeps what all filters of a chain hold of one direction in one buffer: what lies in it is another
/// filter's and nobody has judged it, so nothing is let go with it.
pub(crate) fn fill_buffer(kind: BufferType, bytes: &[u8]) -> Hosted<()> {
    if buffer(kind, 0, 1)?.is_empty() { set_buffer(kind, 0, 0, bytes) } else { Err(HostError) }
}

/// All fields of a header map, serialised as the ABI says.
pub(crate) fn header_map(map: MapType) -> Hosted<Vec<u8>> {
    // SAFETY: `take` passes live places.
    take(|data, len| unsafe { import::proxy_get_header_map_pairs(map as u32, data, len) })
}

/// Adds a line to a header map.
pub(crate) fn add_header(map: MapType, name: &str, value: &[u8]) -> Hosted<()> {
    let (map, name_len, value_len) = (map as u32, name.len(), value.len());
    // SAFETY: the pointers and lengths are of live slices.
    done(unsafe { import::proxy_add_header_map_value(map, name.as_ptr(), name_len, value.as_ptr(), value_len) })
}

/// Puts one line in place of all of that name.
pub(crate) fn replace_header(map: MapType, name: &str, value: &[u8]) -> Hosted<()> {
    let (map, name_len, value_len) = (map as u32, name.len(), value.len());
    // SAFETY: the pointers and lengths are of live slices.
    done(unsafe { import::proxy_replace_header_map_value(map, name.as_ptr(), name_len, value.as_ptr(), value_len) })
}

/// Takes all lines of that name out of a header map.
pub(crate) fn remove_header(map: MapType, name: &str) -> Hosted<()> {
    // SAFETY: the pointer and length are of one live string.
    done(unsafe { import::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// A property of the stream; its path is joined by NUL.
pub(crate) fn property(path: &str) -> Hosted<Vec<u8>> {
    // SAFETY: the path is live, and `take` passes live places.
    take(|data, len| unsafe { import::proxy_get_property(path.as_ptr(), path.len(), data, len) })
}

/// Sets a property of the stream, which Envoy keeps in its filter state under `wasm.` and the name.
pub(crate) fn set_property(name: &str, value: &str) -> Hosted<()> {
    // SAFETY: the pointers and lengths are of live strings.
    done(unsafe { import::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) })
}

/// Answers the request in place of the upstream; `headers` serialised as the ABI says.
pub(crate) fn send_local_response(status: u16, details: &str, body: &str, headers: &[u8]) -> Hosted<()> {
    const NO_GRPC: i32 = -1;
    // SAFETY: the pointers and lengths are of live slices.
    done(unsafe {
        import::proxy_send_local_response(
            status.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NO_GRPC,
        )
    })
}

/// Lets what a paused direction holds go on.
pub(crate) fn continue_stream(stream: StreamType) -> Hosted<()> {
    // SAFETY: no pointers.
    done(unsafe { import::proxy_continue_stream(stream as u32) })
}

/// Resets the stream.
pub(crate) fn close_stream(stream: StreamType) -> Hosted<()> {
    // SAFETY: no pointers.
    done(unsafe { import::proxy_close_stream(stream as u32) })
}

/// Makes a metric, or finds the one of this name.
pub(crate) fn define_metric(kind: MetricType, name: &str) -> Hosted<u32> {
    let mut id = 0;
    // SAFETY: the name is live, and the place outlives the call.
    done(unsafe { import::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Adds to a metric.
pub(crate) fn increment_metric(id: u32, offset: i64) -> Hosted<()> {
    // SAFETY: no pointers.
    done(unsafe { import::proxy_increment_metric(id, offset) })
}

/// Adds one value to a histogram.
pub(crate) fn record_metric(id: u32, value: u64) -> Hosted<()> {
    // SAFETY: no pointers.
    done(unsafe { import::proxy_record_metric(id, value) })
}

/// Makes the following calls speak of another stream.
pub(crate) fn set_effective_context(context: u32) -> Hosted<()> {
    // SAFETY: no pointers.
    done(unsafe { import::proxy_set_effective_context(context) })
}

/// Registers this VM as the reader of a queue.
pub(crate) fn register_queue(name: &str) -> Hosted<u32> {
    let mut id = 0;
    // SAFETY: the name is live, and the place outlives the call.
    done(unsafe { import::proxy_register_shared_queue(name.as_ptr(), name.len(), &raw mut id) })?;
    Ok(id)
}

/// Wakes the reader of a queue in the next turn of its event loop.
pub(crate) fn enqueue(queue: u32) -> Hosted<()> {
    // SAFETY: an empty item.
    done(unsafe { import::proxy_enqueue_shared_queue(queue, null(), 0) })
}

/// What all VMs of the process share under `key`, and its version; `None` where nothing is.
pub(crate) fn shared(key: &str) -> Hosted<Option<(Vec<u8>, u32)>> {
    let mut version = 0;
    // SAFETY: the key is live, `take` passes live places, and the one for the version outlives the call.
    let data = take_found(|data, len| unsafe {
        import::proxy_get_shared_data(key.as_ptr(), key.len(), data, len, &raw mut version)
    })?;
    Ok(data.map(|data| (data, version)))
}

/// Shares `data` under `key`, where that is still of `version`, or whatever it is. Returns whether it was.
pub(crate) fn set_shared(key: &str, data: &[u8], version: Option<u32>) -> Hosted<bool> {
    let version = version.unwrap_or_default();
    // SAFETY: the pointers and lengths are of live slices.
    let status = unsafe { import::proxy_set_shared_data(key.as_ptr(), key.len(), data.as_ptr(), data.len(), version) };
    match status {
        CAS_MISMATCH => Ok(false),
        status => done(status).map(|()| true),
    }
}

/// Asks a method of a gRPC service, without metadata. The answer comes to the root context, under the token that this gives.
pub(crate) fn grpc_call(upstream: &[u8], service: &str, method: &str, message: &[u8], millis: u32) -> Hosted<u32> {
    let mut token = 0;
    // SAFETY: the pointers and lengths are of live slices, and the place outlives the call.
    done(unsafe {
        import::proxy_grpc_call(
            upstream.as_ptr(),
            upstream.len(),
            service.as_ptr(),
            service.len(),
            method.as_ptr(),
            method.len(),
            null(),
            0,
            message.as_ptr(),
            message.len(),
            millis,
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// Sends a request to a cluster; `fields` serialised as the ABI says. The answer comes to the context in hand, under the token that this gives.
pub(crate) fn http_call(cluster: &str, fields: &[u8], body: &[u8], millis: u32) -> Hosted<u32> {
    // No trailers: a list of none.
    const NOTHING: [u8; 4] = [0; 4];
    let mut token = 0;
    // SAFETY: the pointers and lengths are of live slices, and the place outlives the call.
    done(unsafe {
        import::proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            fields.as_ptr(),
            fields.len(),
            body.as_ptr(),
            body.len(),
            NOTHING.as_ptr(),
            NOTHING.len(),
            millis,
            &raw mut token,
        )
    })?;
    Ok(token)
}

/// Calls a function of the host's own; an error where it has none of this name.
pub(crate) fn call_foreign_function(name: &str, arguments: &[u8]) -> Hosted<Vec<u8>> {
    let (arguments, arguments_len) = (arguments.as_ptr(), arguments.len());
    // SAFETY: the pointers and lengths are of live slices, and `take` passes live places.
    take(|data, len| unsafe {
        import::proxy_call_foreign_function(name.as_ptr(), name.len(), arguments, arguments_len, data, len)
    })
}

/// Takes one item out of a queue; an error when it is empty.
pub(crate) fn dequeue(queue: u32) -> Hosted<Vec<u8>> {
    // SAFETY: `take` passes live places.
    take(|data, len| unsafe { import::proxy_dequeue_shared_queue(queue, data, len) })
}

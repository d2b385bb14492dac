//! The entry points of the ABI. Each passes on to [`Vm`]; the one function that says `Continue` to the host is here.

#![expect(unsafe_code, reason = "exported symbols are `#[unsafe(no_mangle)]`")]

use crate::calls::Token;
use crate::host::abi;
use crate::host::abi::{Action, LogLevel};
use crate::stream::StreamContext;
use crate::vm::Vm;

/// What the host is told; of a stream that we do not know nothing goes on.
fn action(action: Option<Action>) -> u32 {
    action.unwrap_or(Action::Hold) as u32
}

thread_local! {
    static VM: Vm = Vm::default();
}

/// A panic cannot happen; if one does, its message may hold a peer's bytes, so only the place is logged.
fn log_panics_without_their_message() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        abi::log(LogLevel::Critical, &format!("portcullis: panicked at {place}"));
    }));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Without this export the linker wraps every other one in a call of all constructors before and all destructors after.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: the linker makes it, and the host calls this once, before anything else.
    unsafe { __wasm_call_ctors() };
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(len: usize) -> *mut u8 {
    abi::allocate(len)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_root: u32, _len: usize) -> bool {
    log_panics_without_their_message();
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(context: u32, parent: u32) {
    VM.with(|vm| vm.create(context, parent));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, len: usize) -> bool {
    VM.with(|vm| vm.configure(root, len))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    VM.with(|vm| vm.tick(root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_queue_ready(root: u32, _queue: u32) {
    VM.with(|vm| vm.wake(root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_receive(_root: u32, token: u32, len: usize) {
    VM.with(|vm| vm.receive(Token::Grpc(token), len));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_grpc_close(_root: u32, token: u32, _status: u32) {
    VM.with(|vm| vm.fail(Token::Grpc(token)));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(_root: u32, token: u32, _fields: usize, len: usize, _trailers: usize) {
    VM.with(|vm| vm.receive(Token::Http(token), len));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(context: u32, _fields: usize, end: bool) -> u32 {
    action(VM.with(|vm| vm.run(context, |stream| stream.request_headers(end))))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(context: u32, len: usize, end: bool) -> u32 {
    #[cfg(feature = "trap")]
    crate::trap::receive(len);
    action(VM.with(|vm| vm.run(context, |stream| stream.request_body(len, end))))
}

/// Trailers are the end of a body that did not say so.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(context: u32, _fields: usize) -> u32 {
    action(VM.with(|vm| vm.run(context, |stream| stream.request_body(0, true))))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(context: u32, _fields: usize, _end: bool) -> u32 {
    action(VM.with(|vm| vm.run(context, StreamContext::response_headers)))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(context: u32, len: usize, end: bool) -> u32 {
    action(VM.with(|vm| vm.run(context, |stream| stream.response_body(len, end))))
}

/// Right before the host writes its own log, which prints what is known by now: the end of the stream.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_log(context: u32) {
    VM.with(|vm| vm.end(context));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_done(context: u32) -> bool {
    VM.with(|vm| vm.end(context));
    true
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(context: u32) {
    VM.with(|vm| vm.delete(context));
}

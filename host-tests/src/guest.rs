//! The module from the host's side: its memory, its callbacks, and what a host does when a callback has returned.

use std::mem;

use wasmtime::{AsContextMut, Extern, Memory, Result, StoreContextMut, Val, bail, format_err};

use crate::{
    headers::Headers,
    profile::{Replies, status},
    state::{Deferred, State},
    stream::{Action, LocalReply, Side},
};

/// Why a call of the module is not answered with OK.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The call answers this number.
    Status(u32),
    /// The module trapped in a callback from inside the call.
    Trap(wasmtime::Error),
}

impl From<u32> for Refusal {
    fn from(status: u32) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Refusal {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// The running module.
pub(crate) struct Guest<'a>(pub(crate) StoreContextMut<'a, State>);

impl Guest<'_> {
    pub(crate) fn state(&mut self) -> &mut State {
        self.0.data_mut()
    }

    /// Calls an export. One that is missing is skipped, as Envoy does.
    pub(crate) fn invoke(&mut self, name: &str, arguments: &[u32]) -> Result<Option<u32>> {
        let instance =
            self.state().instance.ok_or_else(|| format_err!("{name} is called before the module is there"))?;
        let Some(function) = instance.get_func(&mut self.0, name) else { return Ok(None) };
        let arguments: Vec<Val> = arguments.iter().map(|argument| Val::I32(argument.cast_signed())).collect();
        let mut results = vec![Val::I32(0); function.ty(&self.0).results().len()];
        function.call(&mut self.0, &arguments, &mut results)?;
        Ok(results.first().and_then(Val::i32).map(i32::cast_unsigned))
    }

    /// Runs a callback of `context`, then what the filter asked for meanwhile.
    pub(crate) fn callback(&mut self, context: u32, name: &str, arguments: &[u32]) -> Result<Option<u32>> {
        let state = self.state();
        let outer = (mem::replace(&mut state.current, context), mem::take(&mut state.effective));
        let answer = self.invoke(name, &[&[context], arguments].concat());
        (self.state().current, self.state().effective) = outer;
        while let Some((context, action)) = self.state().deferred.pop_front() {
            self.perform(context, action)?;
        }
        answer
    }

    /// `proxy_on_{request,response}_headers`.
    pub(crate) fn headers(&mut self, context: u32, side: Side, headers: Headers, end: bool) -> Result<Action> {
        let count = headers.0.len() as u32;
        if let Some(stream) = self.state().streams.get_mut(&context) {
            let flow = stream.flow_mut(side);
            (flow.headers, flow.begun) = (headers, true);
        }
        let answer = self.callback(context, callback_name(side, "headers"), &[count, end.into()])?;
        let action = action(answer, HOLD_ALL)?;
        if let Some(stream) = self.state().streams.get_mut(&context)
            && stream.is_open()
        {
            let flow = stream.flow_mut(side);
            flow.passed |= action == Action::Continue;
            if answer == Some(HOLD_ALL) && !flow.passed {
                flow.behind = Some(Vec::new());
            }
        }
        Ok(action)
    }

    /// `proxy_on_{request,response}_body`.
    pub(crate) fn body(&mut self, context: u32, side: Side, bytes: &[u8], end: bool) -> Result<Action> {
        let bodies = self.state().profile.bodies;
        let mut stream = self.state().streams.get_mut(&context);
        if let Some(behind) = stream.as_mut().and_then(|stream| stream.flow_mut(side).behind.as_mut()) {
            behind.extend(bytes);
            return Ok(Action::Pause);
        }
        let size = stream.map_or(bytes.len(), |stream| stream.receive(side, bytes, bodies));
        let answer = self.callback(context, callback_name(side, "body"), &[size as u32, end.into()])?;
        let action = action(answer, HOLD_STREAMING)?;
        if let Some(stream) = self.state().streams.get_mut(&context) {
            stream.settle(side, action, bodies);
        }
        Ok(action)
    }

    /// Ends a stream as Envoy does: log, done, delete. Once is enough.
    pub(crate) fn end(&mut self, context: u32) -> Result<()> {
        let Some(stream) = self.state().streams.get_mut(&context) else { return Ok(()) };
        if mem::replace(&mut stream.ended, true) {
            return Ok(());
        }
        if !mem::replace(&mut stream.logged, true) {
            self.callback(context, "proxy_on_log", &[])?;
        }
        self.callback(context, "proxy_on_done", &[])?;
        self.callback(context, "proxy_on_delete", &[])?;
        if let Some(stream) = self.state().streams.get_mut(&context) {
            stream.deleted = true;
        }
        Ok(())
    }

    /// Does at once, or puts off to the end of the callback, what changes the course of the stream.
    pub(crate) fn perform_or_defer(&mut self, action: Deferred) -> Result<()> {
        let context = self.state().context();
        match (self.state().profile.replies, &action) {
            (Replies::Reentrant, Deferred::Close | Deferred::Reply(_)) => self.perform(context, action),
            (Replies::Deferred, _) | (Replies::Reentrant, Deferred::Continue(_) | Deferred::GrpcClose(_)) => {
                self.state().deferred.push_back((context, action));
                Ok(())
            }
        }
    }

    fn perform(&mut self, context: u32, action: Deferred) -> Result<()> {
        if let Deferred::GrpcClose(token) = action {
            return self.callback(context, "proxy_on_grpc_close", &[token, UNAVAILABLE]).map(drop);
        }
        let Some(stream) = self.state().streams.get_mut(&context).filter(|stream| !stream.deleted) else {
            self.state().misuses.push(format!("{action:?} on a stream that is gone"));
            return Ok(());
        };
        match action {
            Deferred::Continue(side) => {
                stream.resume(side);
                if let Some(behind) = stream.flow_mut(side).behind.take() {
                    self.body(context, side, &behind, false)?;
                }
            }
            Deferred::GrpcClose(_) => {}
            Deferred::Reply(reply) if stream.reply.is_none() && !stream.response.passed => {
                self.reply(context, reply)?
            }
            Deferred::Reply(_) if stream.reply.is_some() => {
                self.state().misuses.push("a second local reply".to_owned());
            }
            // The response has begun: all that is left is a reset.
            Deferred::Close | Deferred::Reply(_) => {
                stream.reset = true;
                self.end(context)?;
            }
        }
        Ok(())
    }

    /// Answers the client. The reply passes the filter's own response callbacks, unless the upstream's response is on its way through them.
    fn reply(&mut self, context: u32, reply: LocalReply) -> Result<()> {
        let re_entrant = self.state().profile.replies == Replies::Reentrant;
        let Some(stream) = self.state().streams.get_mut(&context) else { return Ok(()) };
        let headers = Headers::from_iter([(":status", reply.status.to_string())]);
        let headers = Headers([headers.0, reply.headers.0.clone()].concat());
        let body = reply.body.clone();
        let direct = stream.response.begun;
        stream.reply = Some(reply);
        if !direct {
            self.headers(context, Side::Response, headers, body.is_empty())?;
            if !body.is_empty() {
                self.body(context, Side::Response, &body, true)?;
            }
        }
        if re_entrant && let Some(stream) = self.state().streams.get_mut(&context) {
            stream.logged = true;
            self.callback(context, "proxy_on_log", &[])?;
        }
        Ok(())
    }

    /// Copies `len` bytes out of the module's memory.
    pub(crate) fn read(&mut self, address: u64, len: u64) -> Result<Vec<u8>, Refusal> {
        let memory = self.memory()?;
        let end = address.checked_add(len).ok_or(status::INVALID_MEMORY_ACCESS)?;
        let bytes = memory.data(&self.0).get(address as usize..end as usize);
        Ok(bytes.ok_or(status::INVALID_MEMORY_ACCESS)?.to_vec())
    }

    /// Copies `bytes` into the module's memory.
    pub(crate) fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), Refusal> {
        let memory = self.memory()?;
        memory.write(&mut self.0, address as usize, bytes).map_err(|_| status::INVALID_MEMORY_ACCESS.into())
    }

    /// Hands `bytes` over in memory that the module allocates, and writes where they are. Nothing at all is the null pointer.
    pub(crate) fn give(&mut self, bytes: &[u8], address_at: u64, len_at: u64) -> Result<(), Refusal> {
        let len = u32::try_from(bytes.len()).map_err(|_| status::INVALID_MEMORY_ACCESS)?;
        let mut address = 0;
        if len > 0 {
            address = self.invoke("proxy_on_memory_allocate", &[len])?.unwrap_or(0);
            if address == 0 {
                return Err(status::INVALID_MEMORY_ACCESS.into());
            }
            self.write(address.into(), bytes)?;
        }
        self.write(address_at, &address.to_le_bytes())?;
        self.write(len_at, &len.to_le_bytes())
    }

    pub(crate) fn memory_len(&mut self) -> Result<usize> {
        Ok(self.memory()?.data_size(&self.0))
    }

    fn memory(&mut self) -> Result<Memory> {
        let instance = self.state().instance;
        match instance.and_then(|instance| instance.get_export(self.0.as_context_mut(), "memory")) {
            Some(Extern::Memory(memory)) => Ok(memory),
            _ => bail!("the module exports no memory"),
        }
    }
}

/// What a headers callback answers so that no body callback comes before it is continued (Envoy's `StopAllIterationAndWatermark`).
const HOLD_ALL: u32 = 4;

/// What a body callback answers so that the sender is slowed down (`StopIterationAndWatermark`). That is not seen here.
const HOLD_STREAMING: u32 = 2;

/// The status of gRPC for a service that is not there.
const UNAVAILABLE: u32 = 14;

fn callback_name(side: Side, part: &str) -> &'static str {
    match (side, part) {
        (Side::Request, "headers") => "proxy_on_request_headers",
        (Side::Request, _) => "proxy_on_request_body",
        (Side::Response, "headers") => "proxy_on_response_headers",
        (Side::Response, _) => "proxy_on_response_body",
    }
}

/// Reads a callback's answer, which has one more pause beside the usual one.
fn action(answer: Option<u32>, other_pause: u32) -> Result<Action> {
    match answer {
        None | Some(0) => Ok(Action::Continue),
        Some(1) => Ok(Action::Pause),
        Some(other) if other == other_pause => Ok(Action::Pause),
        Some(other) => bail!("a callback answered {other}, which is no action"),
    }
}

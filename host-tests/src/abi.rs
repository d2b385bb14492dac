//! The calls of proxy-wasm ABI 0.2.1, answered as Envoy 1.40 answers them (`source/extensions/common/wasm/context.cc` and
//! proxy-wasm-cpp-host's `exports.cc`).

use std::time::Duration;

use wasmtime::{AsContextMut, Engine, FuncType, Linker, Result, Val, ValType};

use crate::{
    guest::{Guest, Refusal},
    headers::Headers,
    profile::{Bodies, status},
    state::{Deferred, GrpcCall, HttpCall, Log, State},
    stream::{LocalReply, Side},
};

/// The arguments of a call; those that it does not have are 0.
pub(crate) type Arguments = [u64; 12];

/// What a call does. Its only result is a status.
pub(crate) type Handler = fn(&mut Guest<'_>, Arguments) -> Result<(), Refusal>;

/// Defines every call of the ABI: `i` is a 32-bit parameter, `l` one of 64 bits.
pub(crate) fn define(linker: &mut Linker<State>) -> Result<()> {
    for (name, parameters, handler) in CALLS {
        let signature = signature(linker.engine(), parameters);
        linker.func_new("env", name, signature, move |mut caller, arguments, results| {
            let mut guest = Guest(caller.as_context_mut());
            results[0] = Val::I32(answer(&mut guest, name, handler, arguments)?);
            Ok(())
        })?;
    }
    Ok(())
}

pub(crate) fn signature(engine: &Engine, parameters: &str) -> FuncType {
    let parameters = parameters.chars().map(|kind| if kind == 'l' { ValType::I64 } else { ValType::I32 });
    FuncType::new(engine, parameters, [ValType::I32])
}

/// Counts a call and carries it out, unless it is to fail.
pub(crate) fn answer(guest: &mut Guest<'_>, name: &'static str, handler: Handler, values: &[Val]) -> Result<i32> {
    let state = guest.state();
    let count = state.calls.entry(name).or_default();
    *count += 1;
    if let Some(number) = state.profile.faults.status(name, *count) {
        return Ok(number.cast_signed());
    }
    let mut arguments = Arguments::default();
    for (argument, value) in arguments.iter_mut().zip(values) {
        *argument = match value {
            Val::I64(value) => value.cast_unsigned(),
            other => other.i32().map_or(0, |value| value.cast_unsigned().into()),
        };
    }
    match handler(guest, arguments) {
        Ok(()) => Ok(status::OK.cast_signed()),
        Err(Refusal::Status(number)) => Ok(number.cast_signed()),
        Err(Refusal::Trap(error)) => Err(error),
    }
}

const CALLS: [(&str, &str, Handler); 34] = [
    ("proxy_add_header_map_value", "iiiii", |guest, arguments| edit(guest, arguments, Headers::add)),
    ("proxy_call_foreign_function", "iiiiii", |guest, [name, name_len, argument, len, address_at, len_at, ..]| {
        let foreign = guest.state().profile.foreign.ok_or(status::NOT_FOUND)?;
        let name = String::from_utf8(guest.read(name, name_len)?).map_err(|_| status::BAD_ARGUMENT)?;
        let result = foreign(&name, &guest.read(argument, len)?)?;
        guest.give(&result, address_at, len_at)
    }),
    ("proxy_close_stream", "i", |guest, [kind, ..]| {
        side(kind)?;
        Ok(guest.perform_or_defer(Deferred::Close)?)
    }),
    ("proxy_continue_stream", "i", |guest, [kind, ..]| {
        let side = side(kind)?;
        Ok(guest.perform_or_defer(Deferred::Continue(side))?)
    }),
    ("proxy_define_metric", "iiii", |guest, [kind, name, len, id_at, ..]| {
        let name = guest.read(name, len)?;
        let id = guest.state().define(kind, String::from_utf8(name).map_err(|_| status::BAD_ARGUMENT)?);
        guest.write(id_at, &id.to_le_bytes())
    }),
    ("proxy_dequeue_shared_queue", "iii", |guest, [token, address_at, len_at, ..]| {
        let item = guest.state().shared().dequeue(token)?;
        guest.give(&item, address_at, len_at)
    }),
    ("proxy_done", "", |_, _| Ok(())),
    ("proxy_enqueue_shared_queue", "iii", |guest, [token, item, len, ..]| {
        let item = guest.read(item, len)?;
        Ok(guest.state().shared().enqueue(token, item)?)
    }),
    ("proxy_get_buffer_bytes", "iiiii", get_buffer),
    ("proxy_get_buffer_status", "iii", |guest, [kind, len_at, flags_at, ..]| {
        let len = buffer(guest, kind)?.map_or(0, |buffer| buffer.len()) as u32;
        guest.write(len_at, &len.to_le_bytes())?;
        guest.write(flags_at, &[0; 4])
    }),
    ("proxy_get_current_time_nanoseconds", "i", |guest, [at, ..]| {
        let now = guest.state().shared().now;
        guest.write(at, &now.to_le_bytes())
    }),
    ("proxy_get_header_map_pairs", "iii", |guest, [kind, address_at, len_at, ..]| {
        let bytes = headers(guest, kind)?.encode();
        let bytes = guest.state().profile.garble.map_or_else(|| bytes.clone(), |garble| garble(bytes.clone()));
        guest.give(&bytes, address_at, len_at)
    }),
    ("proxy_get_header_map_value", "iiiii", |guest, [kind, name, len, address_at, len_at, ..]| {
        let name = guest.read(name, len)?;
        let value = headers(guest, kind)?.first(&name).ok_or(status::NOT_FOUND)?.to_vec();
        guest.give(&value, address_at, len_at)
    }),
    ("proxy_get_log_level", "i", |guest, [at, ..]| guest.write(at, &2_u32.to_le_bytes())),
    ("proxy_get_metric", "ii", |guest, [id, at, ..]| {
        let value = guest.state().metric(id)?.value;
        guest.write(at, &value.to_le_bytes())
    }),
    ("proxy_get_property", "iiii", |guest, [path, len, address_at, len_at, ..]| {
        let path = String::from_utf8(guest.read(path, len)?).map_err(|_| status::NOT_FOUND)?;
        let value = guest.state().properties.get(&path.replace('\0', ".")).cloned().ok_or(status::NOT_FOUND)?;
        guest.give(&value, address_at, len_at)
    }),
    ("proxy_get_shared_data", "iiiii", |guest, [key, len, address_at, len_at, version_at, ..]| {
        let key = guest.read(key, len)?;
        let (value, version) = guest.state().shared().data(&key)?;
        guest.give(&value, address_at, len_at)?;
        guest.write(version_at, &version.to_le_bytes())
    }),
    ("proxy_get_status", "iii", |_, _| Err(status::UNIMPLEMENTED.into())),
    ("proxy_grpc_call", "iiiiiiiiiiii", grpc_call),
    ("proxy_http_call", "iiiiiiiiii", http_call),
    ("proxy_increment_metric", "il", |guest, [id, offset, ..]| {
        let metric = guest.state().metric(id)?;
        match (metric.kind, offset.cast_signed()) {
            (0, 1..) | (1, _) => metric.value += offset.cast_signed(),
            _ => return Err(status::BAD_ARGUMENT.into()),
        }
        Ok(())
    }),
    ("proxy_log", "iii", |guest, [level, text, len, ..]| {
        let text = String::from_utf8_lossy(&guest.read(text, len)?).into_owned();
        let level = u32::try_from(level).ok().filter(|level| *level <= 5).ok_or(status::BAD_ARGUMENT)?;
        guest.state().logs.push(Log { level, text });
        Ok(())
    }),
    ("proxy_record_metric", "il", |guest, [id, value, ..]| {
        let metric = guest.state().metric(id)?;
        match metric.kind {
            0 => metric.value += value.cast_signed(),
            1 => metric.value = value.cast_signed(),
            _ => metric.value += 1,
        }
        Ok(())
    }),
    ("proxy_register_shared_queue", "iii", |guest, [name, len, token_at, ..]| {
        let name = guest.read(name, len)?;
        let reader = (guest.state().vm, guest.state().context());
        let token = guest.state().shared().register(name, reader);
        guest.write(token_at, &token.to_le_bytes())
    }),
    ("proxy_remove_header_map_value", "iii", |guest, [kind, name, len, ..]| {
        edit(guest, [kind, name, len, 0, 0, 0, 0, 0, 0, 0, 0, 0], |headers, name, _| headers.remove(name))
    }),
    ("proxy_replace_header_map_value", "iiiii", |guest, arguments| edit(guest, arguments, Headers::replace)),
    ("proxy_resolve_shared_queue", "iiiii", |guest, [_, _, name, len, token_at, ..]| {
        let name = guest.read(name, len)?;
        let token = guest.state().shared().resolve(&name)?;
        guest.write(token_at, &token.to_le_bytes())
    }),
    ("proxy_send_local_response", "iiiiiiii", send_local_response),
    ("proxy_set_buffer_bytes", "iiiii", set_buffer),
    ("proxy_set_effective_context", "i", |guest, [context, ..]| {
        let context = context as u32;
        if !guest.state().is_live(context) {
            return Err(status::BAD_ARGUMENT.into());
        }
        guest.state().effective = context;
        Ok(())
    }),
    ("proxy_set_header_map_pairs", "iii", |guest, [kind, pairs, len, ..]| {
        let pairs = guest.read(pairs, len)?;
        *headers(guest, kind)? = Headers::decode(&pairs).ok_or(status::BAD_ARGUMENT)?;
        Ok(())
    }),
    ("proxy_set_property", "iiii", |guest, [path, len, value, value_len, ..]| {
        let (path, value) = (guest.read(path, len)?, guest.read(value, value_len)?);
        let [path, value] = [path, value].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        guest.state().stream().ok_or(status::NOT_FOUND)?.state.insert(path, value);
        Ok(())
    }),
    ("proxy_set_shared_data", "iiiii", |guest, [key, key_len, value, len, version, ..]| {
        let (key, value) = (guest.read(key, key_len)?, guest.read(value, len)?);
        Ok(guest.state().shared().write(key, value, version as u32)?)
    }),
    ("proxy_set_tick_period_milliseconds", "i", |guest, [period, ..]| {
        let root = guest.state().root();
        guest.state().roots.entry(root).and_modify(|current| *current = period);
        Ok(())
    }),
];

/// The one cluster that there is, as a `GrpcService` of Envoy names it.
const RATE_LIMIT_SERVICE: &[u8] = b"\x0a\x0b\x0a\x09ratelimit";

/// A cluster that there is not, of those that requests of the filter's own go to: every other one is there.
const UNKNOWN_CLUSTER: &str = "unknown";

/// Not 0, which is what a filter finds where nothing was written.
const FIRST_CALL_TOKEN: u32 = 1;

fn side(kind: u64) -> Result<Side, u32> {
    match kind {
        0 => Ok(Side::Request),
        1 => Ok(Side::Response),
        _ => Err(status::BAD_ARGUMENT),
    }
}

/// A buffer. Outside of its callbacks a body that is not held reads as an empty one, and what is written to it is lost.
fn buffer<'a>(guest: &'a mut Guest<'_>, kind: u64) -> Result<Option<&'a mut Vec<u8>>, u32> {
    let bodies = guest.state().profile.bodies;
    let side = match kind {
        0 => Side::Request,
        1 => Side::Response,
        4 => return Ok(guest.state().http_answer.as_mut().map(|(_, body)| body)),
        5 => return Ok(guest.state().grpc_answer.as_mut()),
        7 => return Ok(guest.state().configuration.as_mut()),
        _ => return Err(status::NOT_FOUND),
    };
    let flow = guest.state().stream().ok_or(status::NOT_FOUND)?.flow_mut(side);
    match flow.buffer(bodies) {
        None if bodies == Bodies::ChunkByChunk => Err(status::NOT_FOUND),
        buffer => Ok(buffer),
    }
}

fn get_buffer(guest: &mut Guest<'_>, [kind, start, len, address_at, len_at, ..]: Arguments) -> Result<(), Refusal> {
    let buffer: &[u8] = buffer(guest, kind)?.map_or(&[], |buffer| buffer);
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let end = start.saturating_add(len as usize).min(buffer.len());
    // Envoy would read past the end here.
    let bytes = buffer.get(start..end).ok_or(status::BAD_ARGUMENT)?.to_vec();
    // Envoy writes no pointer where there is nothing to read.
    if bytes.is_empty() { Ok(()) } else { guest.give(&bytes, address_at, len_at) }
}

fn set_buffer(guest: &mut Guest<'_>, [kind, start, len, data, data_len, ..]: Arguments) -> Result<(), Refusal> {
    let data = guest.read(data, data_len)?;
    let Some(buffer) = buffer(guest, kind)? else {
        guest.state().misuses.push("bytes written to a body that is not there".to_owned());
        return Ok(());
    };
    match (start, len) {
        (0, 0) => drop(buffer.splice(..0, data)),
        (0, _) if len >= buffer.len() as u64 => *buffer = data,
        (1.., _) if start >= buffer.len() as u64 => buffer.extend(data),
        _ => return Err(status::BAD_ARGUMENT.into()),
    }
    Ok(())
}

/// The answer comes to the root context, also where a stream asks.
fn grpc_call(
    guest: &mut Guest<'_>,
    [upstream, upstream_len, service, service_len, method, method_len, _, _, message, message_len, timeout, token_at]: Arguments,
) -> Result<(), Refusal> {
    let upstream = guest.read(upstream, upstream_len)?;
    let method = [guest.read(service, service_len)?, guest.read(method, method_len)?].join(&b'/');
    let message = guest.read(message, message_len)?;
    let root = guest.state().root();
    let token = guest.state().grpc_calls.len() as u32 + FIRST_CALL_TOKEN;
    let method = String::from_utf8(method).map_err(|_| status::BAD_ARGUMENT)?;
    let waits = upstream == RATE_LIMIT_SERVICE;
    guest.state().grpc_calls.push(GrpcCall {
        token,
        root,
        method,
        message,
        timeout: Duration::from_millis(timeout),
        waits,
    });
    if !waits {
        guest.state().deferred.push_back((root, Deferred::GrpcClose(token)));
        return Err(status::INTERNAL_FAILURE.into());
    }
    guest.write(token_at, &token.to_le_bytes())
}

/// The answer comes to the context in hand. A cluster that does not exist is none that can be asked.
fn http_call(
    guest: &mut Guest<'_>,
    [cluster, cluster_len, fields, fields_len, body, body_len, _, _, timeout, token_at, ..]: Arguments,
) -> Result<(), Refusal> {
    let cluster = String::from_utf8(guest.read(cluster, cluster_len)?).map_err(|_| status::BAD_ARGUMENT)?;
    let fields = Headers::decode(&guest.read(fields, fields_len)?).ok_or(status::BAD_ARGUMENT)?;
    let body = guest.read(body, body_len)?;
    if cluster == UNKNOWN_CLUSTER
        || [":method", ":path", ":authority"].iter().any(|name| fields.first(name.as_bytes()).is_none())
    {
        return Err(status::BAD_ARGUMENT.into());
    }
    let (token, context) = (guest.state().http_calls.len() as u32 + FIRST_CALL_TOKEN, guest.state().context());
    let timeout = Duration::from_millis(timeout);
    guest.state().http_calls.push(HttpCall { token, context, cluster, fields, body, timeout, waits: true });
    guest.write(token_at, &token.to_le_bytes())
}

fn headers<'a>(guest: &'a mut Guest<'_>, kind: u64) -> Result<&'a mut Headers, u32> {
    let side = match kind {
        0 => Side::Request,
        2 => Side::Response,
        6 => return guest.state().http_answer.as_mut().map(|(fields, _)| fields).ok_or(status::BAD_ARGUMENT),
        _ => return Err(status::BAD_ARGUMENT),
    };
    let stream = guest.state().stream().ok_or(status::BAD_ARGUMENT)?;
    stream.flow_mut(side).headers_in_hand().ok_or(status::BAD_ARGUMENT)
}

fn edit(
    guest: &mut Guest<'_>,
    [kind, name, name_len, value, value_len, ..]: Arguments,
    edit: fn(&mut Headers, &[u8], &[u8]),
) -> Result<(), Refusal> {
    let (name, value) = (guest.read(name, name_len)?, guest.read(value, value_len)?);
    // Envoy holds header bytes to be valid and may crash where they are not.
    if name.is_empty() || [name.as_slice(), &value].iter().any(|part| part.iter().any(|byte| b"\0\r\n".contains(byte)))
    {
        guest.state().misuses.push("a header that HTTP/1.1 cannot carry".to_owned());
    }
    edit(headers(guest, kind)?, &name, &value);
    Ok(())
}

fn send_local_response(
    guest: &mut Guest<'_>,
    [http_status, details, details_len, body, body_len, pairs, pairs_len, ..]: Arguments,
) -> Result<(), Refusal> {
    let details = String::from_utf8_lossy(&guest.read(details, details_len)?).into_owned();
    let body = guest.read(body, body_len)?;
    let headers = Headers::decode(&guest.read(pairs, pairs_len)?).unwrap_or_else(|| {
        guest.state().misuses.push("a local reply with header pairs that lie".to_owned());
        Headers::default()
    });
    let reply = LocalReply { status: http_status as u32, details, headers, body };
    Ok(guest.perform_or_defer(Deferred::Reply(reply))?)
}

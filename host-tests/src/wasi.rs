//! The calls of WASI preview 1 that Envoy answers, as it answers them: no files, no arguments, two clocks, output into the log.

use wasmtime::{AsContextMut, FuncType, Linker, Result, Val, ValType, bail};

use crate::{
    abi::{self, Arguments, Handler},
    guest::{Guest, Refusal},
    state::{Log, State},
};

/// Defines the calls. A module that imports another one does not load.
pub(crate) fn define(linker: &mut Linker<State>) -> Result<()> {
    for (name, parameters, handler) in CALLS {
        let signature = abi::signature(linker.engine(), parameters);
        linker.func_new(MODULE, name, signature, move |mut caller, arguments, results| {
            let mut guest = Guest(caller.as_context_mut());
            results[0] = Val::I32(abi::answer(&mut guest, name, handler, arguments)?);
            Ok(())
        })?;
    }
    let exit = FuncType::new(linker.engine(), [ValType::I32], []);
    linker.func_new(MODULE, "proc_exit", exit, |_, arguments, _| bail!("exit with {:?}", arguments[0]))?;
    Ok(())
}

const MODULE: &str = "wasi_snapshot_preview1";

const EBADF: u32 = 8;
const ENOSYS: u32 = 52;
const ENOTSUP: u32 = 58;

const CALLS: [(&str, &str, Handler); 11] = [
    ("args_get", "ii", |_, _| Ok(())),
    ("args_sizes_get", "ii", |guest, [count_at, size_at, ..]| {
        guest.write(count_at, &[0; 4])?;
        guest.write(size_at, &[0; 4])
    }),
    ("clock_time_get", "ili", |guest, [clock, _, at, ..]| {
        let time = match clock {
            0 => guest.state().shared().now,
            1 => guest.state().shared().look(),
            _ => return Err(ENOTSUP.into()),
        };
        guest.write(at, &time.to_le_bytes())
    }),
    ("environ_get", "ii", |guest, [mut pointer_at, mut string_at, ..]| {
        for variable in environment(guest) {
            guest.write(pointer_at, &(string_at as u32).to_le_bytes())?;
            guest.write(string_at, &variable)?;
            (pointer_at, string_at) = (pointer_at + 4, string_at + variable.len() as u64);
        }
        Ok(())
    }),
    ("environ_sizes_get", "ii", |guest, [count_at, size_at, ..]| {
        let variables = environment(guest);
        guest.write(count_at, &(variables.len() as u32).to_le_bytes())?;
        guest.write(size_at, &(variables.concat().len() as u32).to_le_bytes())
    }),
    ("fd_close", "i", |_, _| Ok(())),
    ("fd_fdstat_get", "ii", |guest, [fd, at, ..]| match fd {
        1 | 2 => guest.write(at, &[&[0; 8][..], &64_u64.to_le_bytes(), &[0; 8]].concat()),
        _ => Err(EBADF.into()),
    }),
    ("fd_read", "iiii", |_, _| Err(ENOSYS.into())),
    ("fd_seek", "ilii", |_, _| Ok(())),
    ("fd_write", "iiii", fd_write),
    ("random_get", "ii", |guest, [at, len, ..]| {
        // The same bytes in each run, so that a test that fails fails again; others in each call and VM, as names are made of them.
        let call_count = guest.state().calls.get("random_get").copied().unwrap_or(0);
        let mut mixed = (u64::from(guest.state().vm) << 32) | call_count;
        let bytes: Vec<u8> = (0..len)
            .map(|index| {
                mixed = (mixed ^ index).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                (mixed >> 56) as u8
            })
            .collect();
        guest.write(at, &bytes)
    }),
];

fn environment(guest: &mut Guest<'_>) -> Vec<Vec<u8>> {
    let variables = &guest.state().profile.environment;
    variables.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

fn fd_write(guest: &mut Guest<'_>, [fd, vectors, count, written_at, ..]: Arguments) -> Result<(), Refusal> {
    let level = match fd {
        1 => 2,
        2 => 4,
        _ => return Err(EBADF.into()),
    };
    let mut text = Vec::new();
    for index in 0..count {
        let vector = guest.read(vectors + 8 * index, 8)?;
        let (address, len) = vector.split_at(4);
        let number = |bytes: &[u8]| bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
        text.extend(guest.read(number(address), number(len))?);
    }
    guest.write(written_at, &(text.len() as u32).to_le_bytes())?;
    let text = String::from_utf8_lossy(&text).trim_end_matches('\n').to_owned();
    guest.state().logs.push(Log { level, text });
    Ok(())
}

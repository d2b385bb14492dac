//! Runs a test binary built for `wasm32-wasip1`, so that portcullis-core is tested where `usize` has 32 bits.
//!
//! Cargo calls it as `wasi-runner TEST.wasm ARGUMENT…` (`CARGO_TARGET_WASM32_WASIP1_RUNNER`) and takes its exit code for the test's.
//! It speaks as much of [WASI preview 1] as libtest needs: arguments, environment, clocks, random bytes, standard output, exit.
//! Every other call answers `ENOSYS`: a test that wants files or sockets gets an error, never the machine's. A panic traps, as it
//! does in the shipped module, and ends the run with libtest's last line naming the test.
//!
//! [WASI preview 1]: https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    ops::Range,
    path::Path,
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use wasmtime::{
    Caller, Config, Engine, Extern, ExternType, Linker, Module, OptLevel, RegallocAlgorithm, Result, Store, Trap, Val,
    error::Context, format_err,
};

fn main() -> ExitCode {
    let Some(path) = env::args_os().nth(1) else {
        eprintln!("usage: wasi-runner TEST.wasm [ARGUMENT…]");
        return ExitCode::from(2);
    };
    let arguments = env::args_os().skip(1).map(|argument| argument.as_encoded_bytes().to_vec());
    let environment =
        env::vars_os().map(|(name, value)| [name.as_encoded_bytes(), b"=", value.as_encoded_bytes()].concat());
    let guest = Guest {
        arguments: Strings(arguments.collect()),
        environment: Strings(environment.collect()),
        started: Instant::now(),
        exit_code: None,
    };
    match run(path.as_ref(), guest) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("wasi-runner: {error:?}");
            ExitCode::FAILURE
        }
    }
}

/// What the test binary is told of its host.
struct Guest {
    arguments: Strings,
    environment: Strings,
    started: Instant,
    exit_code: Option<i32>,
}

/// The exit code of the test binary.
fn run(path: &Path, guest: Guest) -> Result<u8> {
    let mut config = Config::new();
    // A test binary is compiled once and run for a second: the quickest compiler settings win.
    config.cranelift_opt_level(OptLevel::None);
    config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
    let engine = Engine::new(&config)?;
    let module = Module::from_file(&engine, path)?;
    let mut linker = Linker::new(&engine);
    define_refusals(&mut linker, &module)?;
    linker.allow_shadowing(true);
    define_answers(&mut linker)?;

    let mut store = Store::new(&engine, guest);
    let instance = linker.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    let outcome = start.call(&mut store, ());
    match (store.data().exit_code, outcome) {
        (Some(code), _) => Ok(u8::try_from(code).unwrap_or(u8::MAX)),
        (None, Ok(())) => Ok(0),
        (None, Err(error)) if error.is::<Trap>() => Err(error.context("the test binary trapped")),
        (None, Err(error)) => Err(error),
    }
}

const WASI: &str = "wasi_snapshot_preview1";

/// Error numbers of WASI preview 1.
const SUCCESS: i32 = 0;
const EBADF: i32 = 8;
const EINVAL: i32 = 28;
const ENOSYS: i32 = 52;

fn define_answers(linker: &mut Linker<Guest>) -> Result<()> {
    linker.func_wrap(WASI, "args_sizes_get", |caller: Caller<'_, Guest>, count: u32, size: u32| {
        write_sizes(caller, |guest| &guest.arguments, count, size)
    })?;
    linker.func_wrap(WASI, "args_get", |caller: Caller<'_, Guest>, pointers: u32, bytes: u32| {
        write_strings(caller, |guest| &guest.arguments, pointers, bytes)
    })?;
    linker.func_wrap(WASI, "environ_sizes_get", |caller: Caller<'_, Guest>, count: u32, size: u32| {
        write_sizes(caller, |guest| &guest.environment, count, size)
    })?;
    linker.func_wrap(WASI, "environ_get", |caller: Caller<'_, Guest>, pointers: u32, bytes: u32| {
        write_strings(caller, |guest| &guest.environment, pointers, bytes)
    })?;
    linker.func_wrap(
        WASI,
        "clock_time_get",
        |mut caller: Caller<'_, Guest>, clock: u32, _precision: u64, out: u32| {
            let elapsed = match clock {
                0 => SystemTime::now().duration_since(UNIX_EPOCH)?,
                1 => caller.data().started.elapsed(),
                _ => return Ok(EINVAL),
            };
            write(&mut caller, out, &u64::try_from(elapsed.as_nanos())?.to_le_bytes())
        },
    )?;
    linker.func_wrap(WASI, "random_get", |mut caller: Caller<'_, Guest>, bytes: u32, len: u32| {
        let mut random = vec![0; usize::try_from(len)?];
        File::open("/dev/urandom")?.read_exact(&mut random)?;
        write(&mut caller, bytes, &random)
    })?;
    linker.func_wrap(WASI, "fd_write", write_vectors)?;
    // No directory is open, and libtest stops asking at the first EBADF.
    linker.func_wrap(WASI, "fd_prestat_get", |_fd: u32, _out: u32| EBADF)?;
    linker.func_wrap(WASI, "sched_yield", || SUCCESS)?;
    linker.func_wrap(WASI, "proc_exit", |mut caller: Caller<'_, Guest>, code: i32| -> Result<()> {
        caller.data_mut().exit_code = Some(code);
        Err(format_err!("exit code {code}"))
    })?;
    Ok(())
}

/// Answers `ENOSYS` to every call of WASI that the test binary imports. An import from elsewhere fails the instantiation.
fn define_refusals(linker: &mut Linker<Guest>, module: &Module) -> Result<()> {
    for import in module.imports().filter(|import| import.module() == WASI) {
        let ExternType::Func(signature) = import.ty() else { continue };
        linker.func_new(WASI, import.name(), signature, |_caller, _arguments, results| {
            results.fill(Val::I32(ENOSYS));
            Ok(())
        })?;
    }
    Ok(())
}

/// Arguments, or `NAME=value` pairs.
struct Strings(Vec<Vec<u8>>);

fn write_sizes(mut caller: Caller<'_, Guest>, strings: fn(&Guest) -> &Strings, count: u32, size: u32) -> Result<i32> {
    let Strings(strings) = strings(caller.data());
    let string_count = u32::try_from(strings.len())?;
    let byte_count = u32::try_from(strings.iter().map(|string| string.len() + 1).sum::<usize>())?;
    write(&mut caller, count, &string_count.to_le_bytes())?;
    write(&mut caller, size, &byte_count.to_le_bytes())
}

/// Writes the strings one after the other, each closed by a zero byte, and a pointer to each.
fn write_strings(
    mut caller: Caller<'_, Guest>,
    strings: fn(&Guest) -> &Strings,
    pointers: u32,
    bytes: u32,
) -> Result<i32> {
    let mut addresses = Vec::new();
    let mut contents = Vec::new();
    for string in &strings(caller.data()).0 {
        addresses.extend((bytes + u32::try_from(contents.len())?).to_le_bytes());
        contents.extend_from_slice(string);
        contents.push(0);
    }
    write(&mut caller, pointers, &addresses)?;
    write(&mut caller, bytes, &contents)
}

/// `fd_write`: the vectors are pairs of address and length.
fn write_vectors(mut caller: Caller<'_, Guest>, fd: u32, vectors: u32, vector_count: u32, written: u32) -> Result<i32> {
    let mut contents = Vec::new();
    for index in 0..vector_count {
        let address = read_u32(&mut caller, vectors + 8 * index)?;
        let len = read_u32(&mut caller, vectors + 8 * index + 4)?;
        contents.extend_from_slice(read(&mut caller, address, len)?);
    }
    match fd {
        1 => io::stdout().write_all(&contents).and_then(|()| io::stdout().flush())?,
        2 => io::stderr().write_all(&contents)?,
        _ => return Ok(EBADF),
    }
    write(&mut caller, written, &u32::try_from(contents.len())?.to_le_bytes())
}

fn read_u32(caller: &mut Caller<'_, Guest>, address: u32) -> Result<u32> {
    Ok(u32::from_le_bytes(read(caller, address, 4)?.try_into()?))
}

fn read<'a>(caller: &'a mut Caller<'_, Guest>, address: u32, len: u32) -> Result<&'a [u8]> {
    let range = range(address, usize::try_from(len)?)?;
    memory(caller)?.get(range).context("read outside of the memory")
}

fn write(caller: &mut Caller<'_, Guest>, address: u32, bytes: &[u8]) -> Result<i32> {
    let range = range(address, bytes.len())?;
    memory(caller)?.get_mut(range).context("write outside of the memory")?.copy_from_slice(bytes);
    Ok(SUCCESS)
}

fn range(address: u32, len: usize) -> Result<Range<usize>> {
    let start = usize::try_from(address)?;
    Ok(start..start.checked_add(len).context("an address outside of the memory")?)
}

fn memory<'a>(caller: &'a mut Caller<'_, Guest>) -> Result<&'a mut [u8]> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => Ok(memory.data_mut(caller)),
        _ => Err(format_err!("the test binary exports no memory")),
    }
}

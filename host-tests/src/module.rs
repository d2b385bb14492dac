//! The module under test: built by the test run, so that it is never a stale one.

use std::{fs, sync::LazyLock};

use wasmtime::{Config, Engine, Module, OptLevel, RegallocAlgorithm};

/// The bytes of the release `portcullis.wasm`.
pub fn bytes() -> &'static [u8] {
    &BYTES
}

/// The release `portcullis.wasm`, compiled once for this process.
pub fn filter() -> &'static Module {
    static FILTER: LazyLock<Module> = LazyLock::new(|| compile(bytes()));
    &FILTER
}

/// Compiles a module for [`crate::Host`].
pub fn compile(bytes: &[u8]) -> Module {
    static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
        let mut config = Config::new();
        // A test runs for a second: the quickest compiler settings win.
        config.cranelift_opt_level(OptLevel::None);
        config.cranelift_regalloc_algorithm(RegallocAlgorithm::SinglePass);
        config.consume_fuel(true);
        Engine::new(&config).expect("an engine for this machine")
    });
    Module::new(&ENGINE, bytes).expect("a valid module")
}

static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let file = portcullis_envoy::module::build().expect("the filter builds");
    fs::read(file).expect("the module that was built")
});

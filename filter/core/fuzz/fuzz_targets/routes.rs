//! `cargo fuzz run routes`: see [`portcullis_fuzz::routes`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::routes(data));

#[cfg(not(fuzzing))]
fn main() {}

//! `cargo fuzz run differential`: see [`portcullis_fuzz::differential`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::differential(data));

#[cfg(not(fuzzing))]
fn main() {}

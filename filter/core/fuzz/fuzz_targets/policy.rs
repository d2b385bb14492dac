//! `cargo fuzz run policy`: see [`portcullis_fuzz::policy`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::policy(data));

#[cfg(not(fuzzing))]
fn main() {}

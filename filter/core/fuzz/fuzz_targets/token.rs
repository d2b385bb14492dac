//! `cargo fuzz run token`: see [`portcullis_fuzz::token`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::token(data));

#[cfg(not(fuzzing))]
fn main() {}

//! `cargo fuzz run cookie`: see [`portcullis_fuzz::cookie`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::cookie(data));

#[cfg(not(fuzzing))]
fn main() {}

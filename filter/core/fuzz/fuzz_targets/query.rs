//! `cargo fuzz run query`: see [`portcullis_fuzz::query`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::query(data));

#[cfg(not(fuzzing))]
fn main() {}

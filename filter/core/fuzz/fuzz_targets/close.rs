//! `cargo fuzz run close`: see [`portcullis_fuzz::close`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::close(data));

#[cfg(not(fuzzing))]
fn main() {}

//! `cargo fuzz run deflate`: see [`portcullis_fuzz::deflate`].

#![cfg_attr(fuzzing, no_main)]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portcullis_fuzz::deflate(data));

#[cfg(not(fuzzing))]
fn main() {}
